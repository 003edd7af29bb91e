//! What an engine has told so far.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use krpc::InfoHash;
use mainline::{Event, HashSource, LookupReport, Peer, VisitOutcome};

#[derive(Default)]
pub struct Findings {
    pub sampled: BTreeSet<InfoHash>,
    pub asked_for: BTreeSet<InfoHash>,
    pub announced: Vec<(InfoHash, SocketAddr, Option<Vec<u8>>)>,
    pub peers: BTreeMap<InfoHash, Vec<Peer>>,
    pub done: Vec<LookupReport>,
    pub replied: BTreeSet<SocketAddr>,
    pub visits: u64,
    pub removed: BTreeSet<SocketAddr>,
    pub external: Vec<IpAddr>,
    pub reseeds: u32,
    /// A running hash over all packets sent and events told: two runs are the same or they are not.
    pub trace: u64,
}

impl Findings {
    pub(super) fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Hash { info_hash, source } => {
                mix(&mut self.trace, info_hash.as_bytes());
                match source {
                    HashSource::Sampled { .. } => {
                        self.sampled.insert(*info_hash);
                    }
                    HashSource::GetPeers { .. } => {
                        self.asked_for.insert(*info_hash);
                    }
                    HashSource::Announced { peer, name, .. } => {
                        self.announced.push((*info_hash, *peer, name.map(<[u8]>::to_vec)));
                    }
                }
            }
            Event::Peers { info_hash, peers, .. } => {
                self.peers.entry(*info_hash).or_default().extend_from_slice(peers);
            }
            Event::LookupDone(report) => self.done.push(*report),
            Event::Visit(record) => {
                mix(&mut self.trace, record.id.as_bytes());
                self.visits += 1;
                if record.outcome == VisitOutcome::Replied {
                    self.replied.insert(record.addr);
                }
                if record.removed {
                    self.removed.insert(record.addr);
                }
            }
            Event::ExternalAddress { external, .. } => self.external.push(*external),
            Event::Reachability { .. } => {}
            Event::Reseeded => self.reseeds += 1,
        }
    }
}

pub(super) fn mix(trace: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *trace = (*trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
    }
}
