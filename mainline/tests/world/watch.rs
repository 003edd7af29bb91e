//! Watches what an engine sends: budgets of remotes, and faces shown to them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{Kind, Message, Method, NodeId};
use mainline::PortIndex;

#[derive(Default)]
pub struct Watch {
    parties: HashMap<IpAddr, Party>,
    /// Who of us a remote has seen at a port of ours.
    faces: HashMap<(SocketAddr, PortIndex), NodeId>,
    /// From which port, as whom, a remote was asked.
    askers: HashMap<SocketAddr, (PortIndex, NodeId)>,
    /// When a remote was sampled last.
    sampled: HashMap<SocketAddr, Duration>,
    pub queries: u64,
    pub samplings: u64,
    pub answers: u64,
    pub bytes: u64,
    pub sample_pause_min: Option<Duration>,
    /// What was wrong, as sentences.
    pub wrongs: Vec<String>,
}

#[derive(Default)]
struct Party {
    /// Time until which the bucket of queries is not full.
    bucket: Duration,
    /// The last four packets.
    last: [Option<Duration>; 4],
}

impl Watch {
    pub fn sent(&mut self, now: Duration, port: PortIndex, to: SocketAddr, payload: &[u8]) {
        self.bytes += payload.len() as u64;
        let message = Message::parse(payload).unwrap();
        if payload.len() > 1_024 {
            self.wrong(format!("{} bytes to {to}", payload.len()));
        }
        let face = match message.kind {
            Kind::Query(query) => {
                self.queries += 1;
                assert_eq!(message.tid.bytes().map(<[u8]>::len), Some(4));
                if self.askers.insert(to, (port, query.id)).is_some_and(|before| before != (port, query.id)) {
                    self.wrong(format!("{to} was asked by a second one of us"));
                }
                if let Method::SampleInfohashes { .. } = query.method {
                    self.samplings += 1;
                    if let Some(before) = self.sampled.insert(to, now) {
                        let pause = now - before;
                        self.sample_pause_min =
                            Some(self.sample_pause_min.map_or(pause, |least| least.min(pause)));
                    }
                }
                if let Method::AnnouncePeer { .. } = query.method {
                    self.wrong(format!("announced to {to}"));
                }
                let bucket = &mut self.parties.entry(to.ip()).or_default().bucket;
                // A bucket of 3 that gets one a second: full_at - now is what is missing.
                let missing = bucket.saturating_sub(now);
                if missing > Duration::from_millis(2_000) {
                    self.wrongs.push(format!("too many queries to {to} at {now:?}"));
                }
                *bucket = now + missing + Duration::from_secs(1);
                Some(query.id)
            }
            Kind::Reply(reply) => {
                self.answers += 1;
                reply.id
            }
            Kind::Error(_) => {
                self.answers += 1;
                None
            }
        };
        if let Some(face) = face
            && self.faces.insert((to, port), face).is_some_and(|before| before != face)
        {
            self.wrong(format!("{to} has seen two of us at one port"));
        }
        let last = &mut self.parties.entry(to.ip()).or_default().last;
        let crowded = last[0].is_some_and(|oldest| now < oldest + Duration::from_secs(1));
        last.rotate_left(1);
        last[3] = Some(now);
        if crowded {
            self.wrong(format!("five packets in a second to {to} at {now:?}"));
        }
    }

    /// From which port, as whom, a remote was asked.
    pub fn asked_by(&self, remote: SocketAddr) -> Option<(PortIndex, NodeId)> {
        self.askers.get(&remote).copied()
    }

    pub fn assert_polite(&self) {
        assert!(self.wrongs.is_empty(), "{} wrongs, the first: {:?}", self.wrongs.len(), &self.wrongs[..1]);
    }

    fn wrong(&mut self, what: String) {
        self.wrongs.push(what);
    }
}
