//! What a call of the DHT asks for: datagrams to send and events to act on, in buffers that
//! are used again and again, so that a warm engine allocates nothing.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use krpc::{CompactNode, InfoHash};

use crate::config::PortIndex;
use crate::event::{Event, HashSource, LookupId, LookupReport, Peer, VisitRecord};
use crate::reachability::Reachability;

/// Something the program has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send a datagram.
    Send {
        /// From this port.
        port: PortIndex,
        /// To this address.
        to: SocketAddr,
        /// These bytes.
        payload: &'a [u8],
    },
}

/// Actions and events of one or several calls, in order.
///
/// Hand it to the engine, read [`actions`](Output::actions) and [`events`](Output::events), then
/// [`clear`](Output::clear) it: it keeps its memory.
#[derive(Debug, Default)]
pub struct Output {
    sends: Vec<Send>,
    bytes: Vec<u8>,
    events: Vec<Stored>,
    hashes: Vec<InfoHash>,
    peers: Vec<Peer>,
}

impl Output {
    /// An empty output.
    pub fn new() -> Output {
        Output::default()
    }

    /// Forgets everything that was read, keeping the memory.
    pub fn clear(&mut self) {
        self.sends.clear();
        self.bytes.clear();
        self.events.clear();
        self.hashes.clear();
        self.peers.clear();
    }

    /// What has to be done, in order.
    pub fn actions(&self) -> impl Iterator<Item = Action<'_>> {
        self.sends.iter().map(|send| Action::Send {
            port: send.port,
            to: send.to,
            payload: &self.bytes[range(&send.payload)],
        })
    }

    /// What has become known, in order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.events.iter().flat_map(move |stored| {
            let (one, samples) = match stored {
                Stored::Samples { by, hashes } => (None, Some((*by, range(hashes)))),
                other => (Some(self.event(other)), None),
            };
            let samples = samples.into_iter().flat_map(move |(by, hashes)| {
                self.hashes[hashes]
                    .iter()
                    .map(move |hash| Event::Hash { info_hash: *hash, source: HashSource::Sampled { by } })
            });
            one.into_iter().flatten().chain(samples)
        })
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.events.is_empty()
    }

    /// Datagrams to send.
    pub fn sends(&self) -> usize {
        self.sends.len()
    }

    /// Encodes a datagram in place. Returns its length.
    pub(crate) fn send(
        &mut self,
        port: PortIndex,
        to: SocketAddr,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        self.try_send(port, to, encode).1
    }

    /// Encodes a datagram in place; one without a byte is not sent. Returns what `encode` did, and the length.
    pub(crate) fn try_send<T>(
        &mut self,
        port: PortIndex,
        to: SocketAddr,
        encode: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> (T, usize) {
        let start = self.bytes.len();
        let result = encode(&mut self.bytes);
        let length = self.bytes.len() - start;
        if length > 0 {
            self.sends.push(Send { port, to, payload: start as u32..self.bytes.len() as u32 });
        }
        (result, length)
    }

    pub(crate) fn samples(&mut self, by: CompactNode, samples: impl Iterator<Item = InfoHash>) -> usize {
        let start = self.hashes.len() as u32;
        self.hashes.extend(samples);
        let hashes = start..self.hashes.len() as u32;
        let count = hashes.len();
        if count > 0 {
            self.events.push(Stored::Samples { by, hashes });
        }
        count
    }

    pub(crate) fn asked_for(&mut self, info_hash: InfoHash, from: SocketAddr) {
        self.events.push(Stored::GetPeers { info_hash, from });
    }

    pub(crate) fn announced(
        &mut self,
        info_hash: InfoHash,
        from: SocketAddr,
        peer: SocketAddr,
        seed: bool,
        name: Option<&[u8]>,
    ) {
        let name = name.map(|name| {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(name);
            start..self.bytes.len() as u32
        });
        self.events.push(Stored::Announced { info_hash, from, peer, seed, name });
    }

    pub(crate) fn peers(
        &mut self,
        lookup: LookupId,
        info_hash: InfoHash,
        from: SocketAddr,
        peers: impl Iterator<Item = Peer>,
    ) -> usize {
        let start = self.peers.len() as u32;
        self.peers.extend(peers);
        let peers = start..self.peers.len() as u32;
        let count = peers.len();
        if count > 0 {
            self.events.push(Stored::Peers { lookup, info_hash, from, peers });
        }
        count
    }

    pub(crate) fn lookup_done(&mut self, report: LookupReport) {
        self.events.push(Stored::LookupDone(report));
    }

    pub(crate) fn visit(&mut self, record: VisitRecord) {
        self.events.push(Stored::Visit(record));
    }

    pub(crate) fn external_address(&mut self, local: IpAddr, external: IpAddr) {
        self.events.push(Stored::ExternalAddress { local, external });
    }

    pub(crate) fn reachability(&mut self, port: PortIndex, state: Reachability) {
        self.events.push(Stored::Reachability { port, state });
    }

    pub(crate) fn reseeded(&mut self) {
        self.events.push(Stored::Reseeded);
    }

    fn event(&self, stored: &Stored) -> Option<Event<'_>> {
        Some(match stored {
            Stored::Samples { .. } => return None,
            Stored::GetPeers { info_hash, from } => {
                Event::Hash { info_hash: *info_hash, source: HashSource::GetPeers { from: *from } }
            }
            Stored::Announced { info_hash, from, peer, seed, name } => Event::Hash {
                info_hash: *info_hash,
                source: HashSource::Announced {
                    from: *from,
                    peer: *peer,
                    seed: *seed,
                    name: name.as_ref().map(|name| &self.bytes[range(name)]),
                },
            },
            Stored::Peers { lookup, info_hash, from, peers } => Event::Peers {
                lookup: *lookup,
                info_hash: *info_hash,
                from: *from,
                peers: &self.peers[range(peers)],
            },
            Stored::LookupDone(report) => Event::LookupDone(*report),
            Stored::Visit(record) => Event::Visit(*record),
            Stored::ExternalAddress { local, external } => {
                Event::ExternalAddress { local: *local, external: *external }
            }
            Stored::Reachability { port, state } => Event::Reachability { port: *port, state: *state },
            Stored::Reseeded => Event::Reseeded,
        })
    }
}

#[derive(Debug)]
struct Send {
    port: PortIndex,
    to: SocketAddr,
    payload: Range<u32>,
}

/// An event whose lists are ranges of the arenas.
#[derive(Debug)]
enum Stored {
    Samples {
        by: CompactNode,
        hashes: Range<u32>,
    },
    GetPeers {
        info_hash: InfoHash,
        from: SocketAddr,
    },
    Announced {
        info_hash: InfoHash,
        from: SocketAddr,
        peer: SocketAddr,
        seed: bool,
        name: Option<Range<u32>>,
    },
    Peers {
        lookup: LookupId,
        info_hash: InfoHash,
        from: SocketAddr,
        peers: Range<u32>,
    },
    LookupDone(LookupReport),
    Visit(VisitRecord),
    ExternalAddress {
        local: IpAddr,
        external: IpAddr,
    },
    Reachability {
        port: PortIndex,
        state: Reachability,
    },
    Reseeded,
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use krpc::NodeId;

    #[test]
    fn actions_and_events_come_out_as_they_went_in() {
        let mut out = Output::new();
        let addr: SocketAddr = "192.0.2.1:6881".parse().unwrap();
        let by = CompactNode { id: NodeId::ZERO, addr };
        let hash = |n| InfoHash::from_bytes([n; 20]);
        for _ in 0..2 {
            assert!(out.is_empty());
            out.send(PortIndex(1), addr, |buffer| buffer.extend_from_slice(b"one"));
            out.announced(hash(1), addr, addr, true, Some(b"name"));
            assert_eq!(out.try_send(PortIndex(1), addr, |_| 7), (7, 0));
            out.send(PortIndex(2), addr, |buffer| buffer.extend_from_slice(b"three"));
            assert_eq!(out.samples(by, [hash(2), hash(3)].into_iter()), 2);
            assert_eq!(out.samples(by, std::iter::empty()), 0);
            out.asked_for(hash(4), addr);
            let payloads: Vec<&[u8]> = out.actions().map(|Action::Send { payload, .. }| payload).collect();
            assert_eq!(payloads, [&b"one"[..], b"three"]);
            let sampled = HashSource::Sampled { by };
            let announced = HashSource::Announced { from: addr, peer: addr, seed: true, name: Some(b"name") };
            let events: Vec<Event<'_>> = out.events().collect();
            assert_eq!(
                events,
                [
                    Event::Hash { info_hash: hash(1), source: announced },
                    Event::Hash { info_hash: hash(2), source: sampled },
                    Event::Hash { info_hash: hash(3), source: sampled },
                    Event::Hash { info_hash: hash(4), source: HashSource::GetPeers { from: addr } },
                ]
            );
            out.clear();
        }
    }
}
