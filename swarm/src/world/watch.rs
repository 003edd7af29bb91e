//! Looks at the datagrams that an outsider sends as the remotes see them.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{Kind, Message, Method, NodeId};

/// What is expected of an outsider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manners {
    /// Queries to one IP that may come at once; after that one a second.
    pub burst: u32,
    /// Packets to one IP within any second, answers included.
    pub packets_per_second: usize,
    /// Whether one remote may see several ids.
    pub many_ids: bool,
    /// Whether the same remote may be sampled again within this time.
    pub sample_pause: Duration,
}

impl Default for Manners {
    /// One query a second after a burst of 3, 4 packets a second, one id for each remote. A pause between samplings is looked at, but not asked for.
    fn default() -> Manners {
        Manners { burst: 3, packets_per_second: 4, many_ids: false, sample_pause: Duration::ZERO }
    }
}

/// What an outsider has sent. It grows with the number of remotes, by some 300 bytes each.
#[derive(Debug, Default)]
pub struct Watch {
    /// What is expected.
    pub manners: Manners,
    /// Queries sent.
    pub queries: u64,
    /// Those of them that were sample_infohashes.
    pub samplings: u64,
    /// Replies and errors sent.
    pub answers: u64,
    /// Bytes sent, without headers.
    pub bytes: u64,
    /// Most packets to one IP in any second.
    pub peak_second: usize,
    /// Most packets to one IP in any ten seconds.
    pub peak_ten_seconds: usize,
    /// Shortest time between two samplings of one remote.
    pub sample_pause_min: Option<Duration>,
    /// What was wrong, as sentences; the first 100 of them.
    pub wrongs: Vec<String>,
    /// How much was wrong.
    pub wrong: u64,
    parties: HashMap<IpAddr, Party>,
    /// Under which id a remote has seen an endpoint of ours.
    faces: HashMap<(SocketAddr, SocketAddr), NodeId>,
    /// From which endpoint, under which id, a remote was asked.
    askers: HashMap<SocketAddr, (SocketAddr, NodeId)>,
    /// When a remote was sampled last.
    sampled: HashMap<SocketAddr, Duration>,
}

#[derive(Debug, Default)]
struct Party {
    /// Time until which the allowance of queries is not full again.
    full_at: Duration,
    /// The packets of the last ten seconds.
    recent: VecDeque<Duration>,
}

impl Watch {
    /// A watch with other expectations than the usual ones.
    pub fn new(manners: Manners) -> Watch {
        Watch { manners, ..Watch::default() }
    }

    /// Takes note of a datagram that an outsider sends.
    pub fn sent(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.bytes += payload.len() as u64;
        if payload.len() > krpc::encode::DATAGRAM_MAX {
            self.complain(|| format!("{} bytes to {to}", payload.len()));
        }
        let face = match Message::parse(payload).map(|message| (message.tid, message.kind)) {
            Ok((tid, Kind::Query(query))) => {
                self.queries += 1;
                if tid.bytes().is_none_or(|tid| tid.len() != 4) {
                    self.complain(|| format!("a transaction id that is not of 4 bytes to {to}"));
                }
                self.asked(now, from, to, query.id, &query.method);
                Some(query.id)
            }
            Ok((_, Kind::Reply(reply))) => {
                self.answers += 1;
                reply.id
            }
            Ok((_, Kind::Error(_))) => {
                self.answers += 1;
                None
            }
            Err(error) => {
                self.complain(|| format!("what is no message ({error}) to {to}"));
                None
            }
        };
        if let Some(face) = face
            && self.faces.insert((to, from), face).is_some_and(|before| before != face)
            && !self.manners.many_ids
        {
            self.complain(|| format!("{to} has seen two of us at one port"));
        }
        self.count(now, to);
    }

    /// From which endpoint, under which id, a remote was asked last.
    pub fn asked_by(&self, remote: SocketAddr) -> Option<(SocketAddr, NodeId)> {
        self.askers.get(&remote).copied()
    }

    /// Remote endpoints that were asked something.
    pub fn remotes(&self) -> usize {
        self.askers.len()
    }

    /// Datagrams sent.
    pub fn packets(&self) -> u64 {
        self.queries + self.answers
    }

    /// That nothing was wrong.
    ///
    /// # Panics
    /// When something was, with the first sentence about it.
    pub fn assert_polite(&self) {
        assert!(self.wrong == 0, "{} wrongs, the first: {:?}", self.wrong, self.wrongs.first());
    }

    fn asked(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, id: NodeId, method: &Method<'_>) {
        if self.askers.insert(to, (from, id)).is_some_and(|before| before != (from, id))
            && !self.manners.many_ids
        {
            self.complain(|| format!("{to} was asked by a second one of us"));
        }
        if let Method::SampleInfohashes { .. } = method {
            self.samplings += 1;
            if let Some(before) = self.sampled.insert(to, now) {
                let pause = now.saturating_sub(before);
                self.sample_pause_min = Some(self.sample_pause_min.map_or(pause, |least| least.min(pause)));
                if pause < self.manners.sample_pause {
                    self.complain(|| format!("{to} was sampled again after {pause:?}"));
                }
            }
        }
        if let Method::AnnouncePeer { .. } = method {
            self.complain(|| format!("announced to {to}"));
        }
        let full_at = &mut self.parties.entry(to.ip()).or_default().full_at;
        // The time until the allowance is full is what is missing in it.
        let missing = full_at.saturating_sub(now);
        *full_at = now + missing + Duration::from_secs(1);
        if missing > Duration::from_secs(u64::from(self.manners.burst.saturating_sub(1))) {
            self.complain(|| format!("too many queries to {to} at {now:?}"));
        }
    }

    fn count(&mut self, now: Duration, to: SocketAddr) {
        let recent = &mut self.parties.entry(to.ip()).or_default().recent;
        while recent.front().is_some_and(|first| now >= *first + Duration::from_secs(10)) {
            recent.pop_front();
        }
        recent.push_back(now);
        let ten_seconds = recent.len();
        let second = recent.iter().rev().take_while(|at| now < **at + Duration::from_secs(1)).count();
        self.peak_ten_seconds = self.peak_ten_seconds.max(ten_seconds);
        self.peak_second = self.peak_second.max(second);
        if second > self.manners.packets_per_second {
            self.complain(|| format!("{second} packets in a second to {to} at {now:?}"));
        }
    }

    fn complain(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.wrongs.len() < WRONGS_MAX {
            self.wrongs.push(what());
        }
    }
}

/// Sentences that a watch keeps: enough to see what is wrong.
const WRONGS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use krpc::{Want, encode};

    use super::*;

    const US: &str = "90.0.0.7:6881";

    fn query(id: u8, method: Method<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let id = NodeId::from_bytes([id; 20]);
        encode::Query { tid: b"abcd", id, version: None, read_only: false, want: Want::default(), method }
            .encode(&mut bytes);
        bytes
    }

    fn watched(sent: &[(u64, u8)]) -> Watch {
        let mut watch = Watch::default();
        for (ms, id) in sent {
            let now = Duration::from_millis(*ms);
            watch.sent(now, US.parse().unwrap(), "64.1.1.1:1".parse().unwrap(), &query(*id, Method::Ping));
        }
        watch
    }

    #[test]
    fn three_queries_at_once_and_one_a_second_are_polite_and_more_are_not() {
        let polite = watched(&[(0, 1), (0, 1), (0, 1), (1_000, 1), (2_000, 1)]);
        polite.assert_polite();
        assert_eq!((polite.peak_second, polite.peak_ten_seconds), (3, 5));
        let pushy = watched(&[(0, 1), (0, 1), (0, 1), (900, 1)]);
        assert_eq!(pushy.wrongs, ["too many queries to 64.1.1.1:1 at 900ms"]);
    }

    #[test]
    fn a_second_id_is_noticed() {
        assert_eq!(watched(&[(0, 1), (5_000, 2)]).wrong, 2);
    }

    #[test]
    fn the_shortest_pause_between_samplings_is_told() {
        let mut watch = Watch::new(Manners { sample_pause: Duration::from_secs(300), ..Manners::default() });
        for secs in [0, 400, 600] {
            let sample = query(1, Method::SampleInfohashes { target: NodeId::ZERO });
            watch.sent(
                Duration::from_secs(secs),
                US.parse().unwrap(),
                "64.1.1.1:1".parse().unwrap(),
                &sample,
            );
        }
        assert_eq!(watch.sample_pause_min, Some(Duration::from_secs(200)));
        assert_eq!(watch.wrongs, ["64.1.1.1:1 was sampled again after 200s"]);
    }
}
