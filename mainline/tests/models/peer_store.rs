//! Announced peers beside a map of all that were ever announced.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::InfoHash;
use mainline::peer_store::{
    PEER_LIFETIME, PEERS_PER_ADDRESS, PEERS_PER_TORRENT_MAX, PEERS_PER_TORRENT_MEAN, PeerStore, SAMPLES_MAX,
    Selection, Stored,
};

use super::Script;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let torrents_max = script.below(48);
    let mut store = PeerStore::new(torrents_max, &[1; 32]);
    let mut model: HashMap<(InfoHash, SocketAddr), (Duration, bool)> = HashMap::new();
    let mut now = Duration::from_secs(1);
    while let Some(what) = script.next() {
        let info_hash = InfoHash::from_bytes([script.byte() % 64; 20]);
        let known = store.contains(&info_hash);
        match what % 8 {
            0 => now += script.pause(),
            1..=4 => {
                let (host, port) = (script.byte(), 1 + u16::from(what >> 3));
                let peer = if host % 4 == 0 {
                    SocketAddr::from((Ipv6Addr::new(0x2a00, host.into(), 0, 0, 0, 0, 0, 1), port))
                } else {
                    SocketAddr::from((Ipv4Addr::new(64, host, 1, 1), port))
                };
                let seed = host % 3 == 0;
                let stored = store.announce(now, info_hash, peer, seed);
                assert_eq!(stored == Stored::Refused, torrents_max == 0);
                if stored == Stored::Refreshed {
                    let (at, _) = model[&(info_hash, peer)];
                    assert!(known && now < at + PEER_LIFETIME);
                }
                model.insert((info_hash, peer), (now, seed));
            }
            5 => {
                let selection = Selection { v4: what & 8 != 0, v6: what & 16 != 0, noseed: what & 32 != 0 };
                let mut told = Vec::new();
                let most = script.below(150);
                store.select(now, &info_hash, selection, most, &mut told);
                assert!(told.len() <= most.min(PEERS_PER_TORRENT_MAX) && (known || told.is_empty()));
                for peer in &told {
                    let (at, seed) = model[&(info_hash, *peer)];
                    assert!(now < at + Duration::from_secs(1) + PEER_LIFETIME);
                    assert!(if peer.is_ipv4() { selection.v4 } else { selection.v6 });
                    assert!(!(selection.noseed && seed));
                }
                let mut all = Vec::new();
                let any = store.scrape(now, &info_hash, |ip, _| all.push(ip));
                assert_eq!(any, !all.is_empty());
                all.sort_unstable();
                assert!(all.chunk_by(|a, b| a == b).all(|same| same.len() <= PEERS_PER_ADDRESS));
                told.sort_unstable();
                let count = told.len();
                told.dedup();
                assert_eq!(told.len(), count);
            }
            6 => {
                let sample = store.sample(now);
                assert!(sample.hashes.len() <= SAMPLES_MAX && sample.num <= torrents_max);
                let mut hashes = sample.hashes.to_vec();
                hashes.sort_unstable();
                hashes.dedup();
                assert_eq!(hashes.len(), sample.hashes.len());
                assert!(hashes.iter().all(|hash| model.keys().any(|(known, _)| known == hash)));
            }
            _ => store.sweep(now, script.below(64)),
        }
        assert!(store.len() <= torrents_max && store.peers() <= torrents_max * PEERS_PER_TORRENT_MEAN);
        assert!(store.peers() >= store.len() && store.is_empty() == (store.peers() == 0));
    }
    let end = now + PEER_LIFETIME + Duration::from_secs(1);
    (0..64).for_each(|_| store.sweep(end, 64));
    assert!(store.is_empty());
}
