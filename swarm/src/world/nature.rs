//! What a node is like: the clients of the real network, and those that mean harm.

use krpc::ClientVersion;

/// The behaviour of a node. What is said of clients was read in their sources or measured on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// libtorrent 2: at most 20 samples, the same ones for 6 h when it stores 20 or more, fresh ones when fewer; keeps
    /// one contact for each IP and prefers ids that BEP 42 allows; ignores an IP for 300 s after 50 packets within 10 s,
    /// counted over all its ports, and always ignores the ranges of some clouds. Unknown queries with a target are
    /// answered as find_node.
    Libtorrent,
    /// mldht: other 20 samples every 300 s; hears 10 packets of an IP at once and 2 a second after that.
    Mldht,
    /// Answers everything. Other 20 samples each time that so many seconds have passed (bitmagnet says 10).
    Sampling {
        /// Seconds, as told in `interval`.
        interval: u32,
    },
    /// jech/dht, so Transmission: silent on methods that it does not know.
    Silent,
    /// The Rust crate `mainline`: answers only to transaction ids of 4 bytes, with up to 20 contacts, and is silent on
    /// methods that it does not know.
    FourByteIds,
    /// rTorrent: answers methods that it does not know with error 204, and writes ports of peers in the wrong byte order.
    Refusing,
    /// Answers sample_infohashes as if it were find_node.
    Confusing,
    /// Nobody is there. Such an endpoint stays in the tables of others: half of those in the real network do.
    Dead,
    /// Answers, but what it says is not so.
    Lying(Lie),
}

/// How a lying node lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Random bytes, with and without a valid envelope.
    Garbage,
    /// Names nodes that do not exist, close to whatever is asked for.
    Neighbours,
    /// Another id each time.
    Ids,
    /// As much as fits into a datagram, and more: contacts and hashes that do not exist.
    Oversized,
    /// Filters of ones for whatever is scraped (BEP 33): crowds that do not exist.
    Crowds,
}

impl Lie {
    /// Each of them.
    pub const ALL: [Lie; 5] = [Lie::Garbage, Lie::Neighbours, Lie::Ids, Lie::Oversized, Lie::Crowds];
}

impl Nature {
    /// Whether it answers, and truthfully.
    pub fn answers(self) -> bool {
        !matches!(self, Nature::Dead | Nature::Lying(_))
    }

    /// Whether it answers sample_infohashes (BEP 51), and truthfully.
    pub fn samples(self) -> bool {
        self.interval().is_some()
    }

    /// What it tells in `interval`, in seconds, when it supports BEP 51.
    pub fn interval(self) -> Option<u32> {
        match self {
            Nature::Libtorrent => Some(LIBTORRENT_INTERVAL),
            Nature::Mldht => Some(MLDHT_INTERVAL),
            Nature::Sampling { interval } => Some(interval),
            _ => None,
        }
    }

    /// `v` of its messages.
    pub fn version(self) -> ClientVersion {
        ClientVersion::from_bytes(match self {
            Nature::Libtorrent | Nature::Sampling { .. } => *b"LT\x02\x01",
            Nature::Mldht => *b"ml\x01\x00",
            Nature::Silent => *b"TR\x03\x00",
            Nature::FourByteIds => *b"RS\x00\x08",
            Nature::Refusing => *b"lt\x0d\x80",
            _ => *b"XX\x00\x00",
        })
    }

    /// Contacts in its answers.
    pub(super) fn answer_len(self) -> usize {
        if self == Nature::FourByteIds { 20 } else { super::tables::BUCKET }
    }
}

/// The default of `dht_sample_infohashes_interval` in libtorrent.
const LIBTORRENT_INTERVAL: u32 = 21_600;

const MLDHT_INTERVAL: u32 = 300;
