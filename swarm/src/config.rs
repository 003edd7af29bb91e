//! What a swarm is made of: how many of everything, how it behaves, how much of it is hostile.

use std::time::Duration;

use crate::address::{NODE_ADDRESSES, PEER_ADDRESSES};
use crate::error::SwarmError;
use crate::visitors::ARRIVALS_MAX;

/// Torrents a swarm can have: their list is kept as 32-bit indices and is built before the start returns.
pub const TORRENTS_MAX: usize = 1_000_000;

/// Everything that decides what a swarm is and does. Two swarms with equal configurations are equal, down to every
/// byte of every info dict, apart from the ports when those are left to the system.
#[derive(Clone, Debug, PartialEq)]
pub struct SwarmConfig {
    /// Seed of every id, address, torrent and habit. Default 1.
    pub seed: u64,
    /// Live DHT nodes, each at an address of its own. 1 to 4,000,000. Default 2,000.
    pub nodes: usize,
    /// Torrents that are announced and seeded. 0 to [`TORRENTS_MAX`]. Default 5,000.
    pub torrents: usize,
    /// The UDP port that all nodes share. 0, the default, lets the system choose.
    pub dht_port: u16,
    /// The TCP port that all seeders share. 0, the default, lets the system choose.
    pub peer_port: u16,
    /// Share of dead nodes among all the contacts that live nodes know, 0.0 to 0.9. They have an address and never
    /// answer. Default 0.3.
    pub stale_share: f64,
    /// Share of live nodes without BEP 51, 0.0 to 1.0: half of them stay silent when sampled, half answer with
    /// error 204. Default 0.2.
    pub without_sampling_share: f64,
    /// Time for which a node repeats the same samples, and which it advertises (whole seconds, at most 6 h as BEP 51
    /// says). Default 5 s: a demonstration cannot wait for the six hours of real clients.
    pub sample_interval: Duration,
    /// Packets within 10 s from one address to one node after which this node ignores the address for 300 s, as
    /// libtorrent does. At most 64; 0 turns it off. Default 50.
    pub flood_limit: u32,
    /// How seeders serve metadata. Default: mostly prompt ones.
    pub habits: Habits,
    /// How many seeders cannot be reached by everybody, or by nobody. Default: none.
    pub doors: Doors,
    /// How many seeders mean harm. Default: none.
    pub hostility: Hostility,
    /// Whether the first seeder of every torrent is honest whatever `hostility` says, and there whatever `doors` says, so that every torrent can be
    /// fetched by who looks long enough. Default true.
    pub one_honest_seeder: bool,
    /// TCP connections that are served at a time, 1 to 50,000; more wait in the listen backlog. Default 1,024.
    pub connections_max: usize,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 2_000,
            torrents: 5_000,
            dht_port: 0,
            peer_port: 0,
            stale_share: 0.3,
            without_sampling_share: 0.2,
            sample_interval: Duration::from_secs(5),
            flood_limit: 50,
            habits: Habits::default(),
            doors: Doors::default(),
            hostility: Hostility::default(),
            one_honest_seeder: true,
            connections_max: 1_024,
        }
    }
}

impl SwarmConfig {
    /// Nodes in all: the live ones and the dead ones that make `stale_share` of the contacts.
    pub(crate) fn population(&self) -> usize {
        (self.nodes as f64 / (1.0 - self.stale_share)).round() as usize
    }

    pub(crate) fn check(&self) -> Result<(), SwarmError> {
        let fail = |setting, problem: String| Err(SwarmError::Setting { setting, problem });
        let share = |value: f64, most: f64| (0.0..=most).contains(&value);
        if !share(self.stale_share, 0.9) {
            return fail("stale_share", format!("{} is not between 0 and 0.9", self.stale_share));
        }
        if self.nodes == 0 || self.population() > NODE_ADDRESSES {
            let most = (NODE_ADDRESSES as f64 * (1.0 - self.stale_share)) as usize;
            return fail("nodes", format!("{} is not between 1 and {most}", self.nodes));
        }
        if self.torrents > TORRENTS_MAX.min(PEER_ADDRESSES) {
            return fail("torrents", format!("{} is more than {TORRENTS_MAX}", self.torrents));
        }
        if !share(self.without_sampling_share, 1.0) {
            let value = self.without_sampling_share;
            return fail("without_sampling_share", format!("{value} is not between 0 and 1"));
        }
        if self.sample_interval > Duration::from_secs(21_600) {
            return fail("sample_interval", "longer than the 6 h that BEP 51 allows".into());
        }
        if self.flood_limit as usize > ARRIVALS_MAX {
            return fail("flood_limit", format!("{} is more than {ARRIVALS_MAX}", self.flood_limit));
        }
        if !(1..=50_000).contains(&self.connections_max) {
            let value = self.connections_max;
            return fail("connections_max", format!("{value} is not between 1 and 50000"));
        }
        let habits = &self.habits;
        let parts = [habits.one_at_a_time, habits.ticking, habits.slow];
        if !parts.iter().all(|part| share(*part, 1.0)) || !share(parts.iter().sum(), 1.0 + 1e-9) {
            return fail("habits", "shares are negative or add up to more than 1".into());
        }
        if habits.tick.is_zero() || habits.slow_piece.is_zero() {
            return fail("habits", "periods of nothing".into());
        }
        let doors = [self.doors.dead, self.doors.utp_only, self.doors.encrypted_only];
        if !doors.iter().all(|part| share(*part, 1.0)) || !share(doors.iter().sum(), 1.0 + 1e-9) {
            return fail("doors", "shares are negative or add up to more than 1".into());
        }
        if self.one_honest_seeder && self.doors.dead > 0.95 {
            return fail("doors", "at most 95 % may be dead beside one_honest_seeder".into());
        }
        let shares = self.hostility.shares();
        // The sum of ten shares that make a whole may miss it by a rounding.
        let whole = 1.0 + 1e-9;
        if !shares.iter().all(|(part, _)| share(*part, whole)) || !share(self.hostility.total(), whole) {
            return fail("hostility", "shares are negative or add up to more than 1".into());
        }
        Ok(())
    }
}

/// How seeders answer metadata requests: shares of all seeders, together at most 1; the rest answers promptly, up to
/// ten requests at once and further ones a second later, as libtorrent does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habits {
    /// Serves one request at a time and drops what arrives meanwhile, as rTorrent does. Default 0.1.
    pub one_at_a_time: f64,
    /// Answers on a timer, as Transmission does. Default 0.2.
    pub ticking: f64,
    /// Period of that timer. Default 500 ms; Transmission's is 2 to 3 s.
    pub tick: Duration,
    /// Answers one request after another, slowly. Default 0.
    pub slow: f64,
    /// What a slow one takes for each. Default 2 s.
    pub slow_piece: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            one_at_a_time: 0.1,
            ticking: 0.2,
            tick: Duration::from_millis(500),
            slow: 0.0,
            slow_piece: Duration::from_secs(2),
        }
    }
}

/// How seeders are reached: shares of all, together at most 1; the rest takes plain and encrypted connections over TCP. All 0
/// by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Doors {
    /// Nobody is there: by the number of the seeder connections are refused, or not answered.
    pub dead: f64,
    /// Takes uTP alone, plain and encrypted, and closes TCP connections when the first byte has come. Each needs a file.
    pub utp_only: f64,
    /// Takes encrypted connections over TCP alone, and closes others when their handshake has come.
    pub encrypted_only: f64,
}

/// Shares of all seeders that mean harm, each 0.0 to 1.0, together at most 1. All 0 by default.
///
/// What each does is told at the variants of [`Hostile`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hostility {
    /// Share of [`Hostile::Silent`].
    pub silent: f64,
    /// Share of [`Hostile::Reset`].
    pub reset: f64,
    /// Share of [`Hostile::WrongSize`].
    pub wrong_size: f64,
    /// Share of [`Hostile::WrongBytes`].
    pub wrong_bytes: f64,
    /// Share of [`Hostile::WrongPiece`].
    pub wrong_piece: f64,
    /// Share of [`Hostile::Slow`].
    pub slow: f64,
    /// Share of [`Hostile::Endless`].
    pub endless: f64,
    /// Share of [`Hostile::Oversized`].
    pub oversized: f64,
    /// Share of [`Hostile::Rejecting`].
    pub rejecting: f64,
    /// Share of [`Hostile::NoMetadata`].
    pub no_metadata: f64,
}

impl Hostility {
    /// Every kind of harm in equal parts, `total` (0.0 to 1.0) of all seeders together.
    pub fn of_every_kind(total: f64) -> Self {
        let share = total / 10.0;
        Self {
            silent: share,
            reset: share,
            wrong_size: share,
            wrong_bytes: share,
            wrong_piece: share,
            slow: share,
            endless: share,
            oversized: share,
            rejecting: share,
            no_metadata: share,
        }
    }

    /// The shares of all kinds added up.
    pub fn total(&self) -> f64 {
        self.shares().iter().map(|(share, _)| share).sum()
    }

    pub(crate) fn shares(&self) -> [(f64, Hostile); 10] {
        [
            (self.silent, Hostile::Silent),
            (self.reset, Hostile::Reset),
            (self.wrong_size, Hostile::WrongSize),
            (self.wrong_bytes, Hostile::WrongBytes),
            (self.wrong_piece, Hostile::WrongPiece),
            (self.slow, Hostile::Slow),
            (self.endless, Hostile::Endless),
            (self.oversized, Hostile::Oversized),
            (self.rejecting, Hostile::Rejecting),
            (self.no_metadata, Hostile::NoMetadata),
        ]
    }
}

/// What a hostile seeder does. Each is something that was seen from peers in the wild or found as the way to hurt an
/// existing crawler; a correct one gives each up by its own reason and fetches from the next peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hostile {
    /// Accepts the connection and never writes a byte.
    Silent,
    /// Answers the handshake, then resets the connection in the middle of the first metadata piece.
    Reset,
    /// Says a false `metadata_size`: one piece more, one byte less, or nearly 2 GiB, by address; serves as if it were true.
    WrongSize,
    /// Serves pieces of the right length with one byte turned over, so that only the hash tells.
    WrongBytes,
    /// Answers with data messages for pieces that nobody asked for: huge and negative indices, and a wrong `total_size`.
    WrongPiece,
    /// Sends everything right, one byte every 400 ms.
    Slow,
    /// After the handshakes sends valid messages of unknown types without end and no metadata.
    Endless,
    /// Announces a message of 4 GiB and begins to send it.
    Oversized,
    /// Rejects every request.
    Rejecting,
    /// Speaks the extension protocol without offering `ut_metadata`.
    NoMetadata,
}
