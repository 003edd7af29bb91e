//! What a world of peers is made of.

use std::{net::SocketAddr, time::Duration};

use krpc::InfoHash;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use sha1::{Digest as _, Sha1};

use super::nature::{Endpoint, Habit, Lie, Nature, Tcp};

/// Everything that decides what a world is; equal plans make equal worlds.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerPlan {
    /// Seed of every length, byte, nature and time. Default 1.
    pub seed: u64,
    /// Torrents, at most 500,000. Default 1,000.
    pub torrents: u32,
    /// Fewest and most endpoints of a torrent, from 1 to 32. Default 4 to 16. At least one of each torrent is honest.
    pub endpoints: (u32, u32),
    /// The most honest endpoints of a torrent, at least 1; what would be another is dead or lies. Default: any number.
    pub honest_max: u32,
    /// What the endpoints are like.
    pub shares: PeerShares,
    /// What a slow peer takes for a piece. Default 2 s.
    pub slow_piece: Duration,
    /// The middle length of an info dict, bytes; the logarithms of lengths are normally distributed with a deviation of 1.3,
    /// so that one in twenty is more than eight times as long. Default 16 KiB.
    pub info_bytes: u32,
}

/// Shares of all endpoints, together at most 1; the rest takes plain connections, is honest and not slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerShares {
    /// Nobody is there. Default 0.4.
    pub dead: f64,
    /// Takes uTP alone. Default 0.15.
    pub utp_only: f64,
    /// Takes encrypted connections alone. Default 0.15.
    pub encrypted_only: f64,
    /// Lies about bytes or size. Default 0.05.
    pub liars: f64,
    /// Is slow. Default 0.1.
    pub slow: f64,
}

impl Default for PeerPlan {
    fn default() -> Self {
        Self {
            seed: 1,
            torrents: 1_000,
            endpoints: (4, 16),
            honest_max: u32::MAX,
            shares: PeerShares::default(),
            slow_piece: Duration::from_secs(2),
            info_bytes: 16 << 10,
        }
    }
}

impl Default for PeerShares {
    fn default() -> Self {
        Self { dead: 0.4, utp_only: 0.15, encrypted_only: 0.15, liars: 0.05, slow: 0.1 }
    }
}

impl PeerPlan {
    /// Every endpoint of a torrent, in no order.
    pub(super) fn endpoints_of(&self, torrent: u32) -> impl Iterator<Item = Endpoint> + use<> {
        let mut random = self.random(torrent, b"endpoints");
        let (fewest, most) = self.endpoints;
        let count = random.random_range(fewest.max(1)..=most.clamp(fewest.max(1), ENDPOINTS_MAX));
        let mut natures: Vec<Nature> = (0..count).map(|_| self.shares.nature(&mut random)).collect();
        if !natures.iter().any(|nature| nature.is_honest()) {
            let place = random.random_range(0..natures.len());
            // Honest ones as they come: half of all endpoints are.
            while let Some(nature) = natures.get_mut(place).filter(|nature| !nature.is_honest()) {
                *nature = self.shares.nature(&mut random);
            }
        }
        let mut honest = 0;
        for nature in &mut natures {
            honest += u32::from(nature.is_honest());
            while nature.is_honest() && honest > self.honest_max.max(1) {
                *nature = self.shares.nature(&mut random);
            }
        }
        let round_trips: Vec<Duration> =
            natures.iter().map(|_| Duration::from_millis(random.random_range(20..400))).collect();
        natures.into_iter().zip(round_trips).enumerate().map(move |(place, (nature, round_trip))| {
            let number = torrent * ENDPOINTS_MAX + place as u32;
            let ip = std::net::Ipv4Addr::from(FIRST_ADDRESS + number);
            Endpoint { addr: SocketAddr::from((ip, PORT)), nature, round_trip }
        })
    }

    /// The torrent and the place among its endpoints of whoever has this address.
    pub(super) fn place_of(&self, addr: SocketAddr) -> Option<(u32, usize)> {
        let std::net::IpAddr::V4(ip) = addr.ip() else { return None };
        let number = u32::from(ip).checked_sub(FIRST_ADDRESS)?;
        let torrent = number / ENDPOINTS_MAX;
        (torrent < self.torrents && addr.port() == PORT)
            .then_some((torrent, (number % ENDPOINTS_MAX) as usize))
    }

    /// The info dict of a torrent: bytes that look random, as a fetch looks at their hash alone.
    pub(super) fn info_dict(&self, torrent: u32) -> Vec<u8> {
        let mut random = self.random(torrent, b"info dict");
        // The sum of twelve is as good as normally distributed, with a deviation of 1 (Irwin and Hall).
        let deviation = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let bytes = f64::from(self.info_bytes) * (LENGTH_DEVIATION * deviation).exp();
        let mut raw = vec![0; (bytes as usize).clamp(INFO_BYTES_MIN, INFO_BYTES_MAX)];
        random.fill_bytes(&mut raw);
        raw
    }

    pub(super) fn info_hash(&self, torrent: u32) -> InfoHash {
        InfoHash::from_bytes(Sha1::digest(self.info_dict(torrent)).into())
    }

    fn random(&self, torrent: u32, topic: &[u8]) -> StdRng {
        let sha1 = Sha1::new().chain_update(topic).chain_update(self.seed.to_be_bytes());
        let digest = sha1.chain_update(torrent.to_be_bytes()).finalize();
        let mut seed = [0; 32];
        for (byte, drawn) in seed.iter_mut().zip(digest) {
            *byte = drawn;
        }
        StdRng::from_seed(seed)
    }
}

impl PeerShares {
    fn nature(&self, random: &mut StdRng) -> Nature {
        let mut lot: f64 = random.random();
        let mut falls_to = |share: f64| {
            lot -= share;
            lot < 0.0
        };
        if falls_to(self.dead) {
            Nature::Dead { refuses: random.random_bool(0.5) }
        } else if falls_to(self.utp_only) {
            let tcp = match random.random_range(0..3) {
                0 => Tcp::Closes,
                1 => Tcp::Refuses,
                _ => Tcp::Silent,
            };
            Nature::UtpOnly { tcp, habit: habit(random) }
        } else if falls_to(self.encrypted_only) {
            Nature::EncryptedOnly { waits: random.random_bool(0.25), habit: habit(random) }
        } else if falls_to(self.liars) {
            Nature::Liar(match random.random_range(0..4) {
                0 => Lie::Longer,
                1 => Lie::Shorter,
                _ => Lie::Bytes,
            })
        } else if falls_to(self.slow) {
            Nature::Plain { habit: Habit::Slow }
        } else {
            Nature::Plain { habit: habit(random) }
        }
    }
}

/// The clients of honest peers: about what is met in the wild.
fn habit(random: &mut StdRng) -> Habit {
    match random.random_range(0..10) {
        0..6 => Habit::Libtorrent,
        6..9 => Habit::Transmission,
        _ => Habit::Rtorrent,
    }
}

/// Endpoints of one torrent, each with an address of its own.
const ENDPOINTS_MAX: u32 = 32;
/// 127.0.0.0: nothing is sent, but should anything be, it does not leave the machine.
const FIRST_ADDRESS: u32 = 0x7f00_0000;
const PORT: u16 = 6881;
const LENGTH_DEVIATION: f64 = 1.3;
const INFO_BYTES_MIN: usize = 100;
const INFO_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_in_the_shares_that_were_asked_for_and_one_of_each_torrent_is_honest() {
        let plan = PeerPlan { torrents: 4_000, ..PeerPlan::default() };
        let mut counts = [0_u32; 6];
        for torrent in 0..plan.torrents {
            let endpoints: Vec<_> = plan.endpoints_of(torrent).collect();
            assert!((4..=16).contains(&endpoints.len()));
            assert!(endpoints.iter().any(|endpoint| endpoint.nature.is_honest()));
            for (place, endpoint) in endpoints.iter().enumerate() {
                assert_eq!(plan.place_of(endpoint.addr), Some((torrent, place)));
                counts[match endpoint.nature {
                    Nature::Dead { .. } => 0,
                    Nature::UtpOnly { .. } => 1,
                    Nature::EncryptedOnly { .. } => 2,
                    Nature::Liar(_) => 3,
                    Nature::Plain { habit: Habit::Slow } => 4,
                    Nature::Plain { .. } => 5,
                }] += 1;
            }
        }
        let total = f64::from(counts.iter().sum::<u32>());
        for (count, share) in counts.into_iter().zip([0.4, 0.15, 0.15, 0.05, 0.1, 0.15]) {
            assert!((f64::from(count) / total - share).abs() < 0.01, "{count} of {total} for {share}");
        }
    }

    #[test]
    fn a_torrent_may_have_one_honest_endpoint_alone() {
        let plan = PeerPlan { honest_max: 1, ..PeerPlan::default() };
        for torrent in 0..plan.torrents {
            assert_eq!(plan.endpoints_of(torrent).filter(|endpoint| endpoint.nature.is_honest()).count(), 1);
        }
    }

    #[test]
    fn info_dicts_have_the_lengths_that_were_asked_for() {
        let plan = PeerPlan::default();
        let mut lengths: Vec<_> = (0..1_000).map(|torrent| plan.info_dict(torrent).len()).collect();
        lengths.sort_unstable();
        assert!((14_000..19_000).contains(&lengths[500]), "{}", lengths[500]);
        assert!((100_000..180_000).contains(&lengths[950]), "{}", lengths[950]);
        assert_eq!(plan.info_dict(7), plan.info_dict(7));
        assert_eq!(plan.info_hash(7).as_bytes()[..], Sha1::digest(plan.info_dict(7))[..]);
    }
}
