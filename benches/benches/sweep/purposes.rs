//! What the queries of a sweep were for, as seen from outside.

use std::collections::HashMap;
use std::net::SocketAddr;

use krpc::{Kind, Message, Method};
use swarm::world::World;

/// Why a query was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The first one to a node that is there.
    FirstToLive,
    /// The first one to nobody.
    FirstToDead,
    /// Another one to a node that is there, of which nothing was heard yet.
    AgainToLive,
    /// Another one to nobody.
    AgainToDead,
    /// A sampling of a node that has answered before.
    LaterSample,
    /// A find_node to a node that has answered before.
    LaterFind,
    /// Anything else.
    Other,
}

impl Purpose {
    pub(crate) const ALL: [Purpose; 7] = [
        Purpose::FirstToLive,
        Purpose::FirstToDead,
        Purpose::AgainToLive,
        Purpose::AgainToDead,
        Purpose::LaterSample,
        Purpose::LaterFind,
        Purpose::Other,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Purpose::FirstToLive => "first, live",
            Purpose::FirstToDead => "first, dead",
            Purpose::AgainToLive => "again, live",
            Purpose::AgainToDead => "again, dead",
            Purpose::LaterSample => "later sample",
            Purpose::LaterFind => "later find",
            Purpose::Other => "other",
        }
    }
}

/// What has gone to whom.
pub(crate) struct Purposes {
    remotes: HashMap<SocketAddr, Remote>,
    counts: [u64; Purpose::ALL.len()],
}

struct Remote {
    open: bool,
    asked: bool,
    heard: bool,
}

impl Purposes {
    pub(crate) fn new(world: &World) -> Purposes {
        let remote = |open| Remote { open, asked: false, heard: false };
        let remotes = world.nodes.iter().map(|node| (node.addr, remote(node.is_open())));
        Purposes { remotes: remotes.collect(), counts: [0; Purpose::ALL.len()] }
    }

    /// Something has come from a remote.
    pub(crate) fn heard(&mut self, from: SocketAddr) {
        if let Some(remote) = self.remotes.get_mut(&from) {
            remote.heard = true;
        }
    }

    /// A query, if it is one, goes to a remote.
    pub(crate) fn sent(&mut self, to: SocketAddr, payload: &[u8]) {
        let Ok(Message { kind: Kind::Query(query), .. }) = Message::parse(payload) else { return };
        let purpose = match self.remotes.get_mut(&to) {
            None => Purpose::Other,
            Some(remote) => {
                let again = std::mem::replace(&mut remote.asked, true);
                match (remote.open, again, remote.heard, query.method) {
                    (true, false, false, _) => Purpose::FirstToLive,
                    (false, false, ..) => Purpose::FirstToDead,
                    (true, true, false, _) => Purpose::AgainToLive,
                    (false, true, ..) => Purpose::AgainToDead,
                    (true, _, true, Method::SampleInfohashes { .. }) => Purpose::LaterSample,
                    (true, _, true, Method::FindNode { .. }) => Purpose::LaterFind,
                    (true, _, true, _) => Purpose::Other,
                }
            }
        };
        self.counts[purpose as usize] += 1;
    }

    /// Queries for a purpose so far.
    pub(crate) fn of(&self, purpose: Purpose) -> u64 {
        self.counts[purpose as usize]
    }
}
