//! The queries that are asked.

use krpc::{InfoHash, Method, NodeId, Want, encode};
use rand::rngs::StdRng;

/// A query that any server should answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Whether it is there.
    Ping,
    /// Its contacts closest to a random point.
    FindNode,
    /// The peers of a torrent that nobody announced: contacts and a token.
    GetPeers,
    /// Hashes that were announced, and contacts.
    SampleInfohashes,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Ping, Self::FindNode, Self::GetPeers, Self::SampleInfohashes];

    /// Its name in KRPC.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find_node",
            Self::GetPeers => "get_peers",
            Self::SampleInfohashes => "sample_infohashes",
        }
    }

    /// Appends such a query about a random point, from a sender that answers nobody (BEP 43): nothing is then to be done
    /// but to answer.
    pub(crate) fn encode(self, tid: [u8; 4], random: &mut StdRng, out: &mut Vec<u8>) {
        let point = NodeId::random(random);
        let method = match self {
            Self::Ping => Method::Ping,
            Self::FindNode => Method::FindNode { target: point },
            Self::GetPeers => Method::GetPeers {
                info_hash: InfoHash::from_bytes(*point.as_bytes()),
                noseed: false,
                scrape: false,
            },
            Self::SampleInfohashes => Method::SampleInfohashes { target: point },
        };
        query(tid, NodeId::random(random), method).encode(out);
    }
}

/// A query as all of them are.
pub(crate) fn query(tid: [u8; 4], id: NodeId, method: Method<'_>) -> QueryBytes<'_> {
    QueryBytes { tid, id, method }
}

/// A query that owns its transaction id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryBytes<'a> {
    tid: [u8; 4],
    id: NodeId,
    method: Method<'a>,
}

impl QueryBytes<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Self { tid, id, method } = *self;
        encode::Query { tid: &tid, id, version: None, read_only: true, want: Want::default(), method }
            .encode(out);
    }
}
