//! The messages of KRPC: BEP 5, with what BEP 32, 33, 42, 43, 44 and 51 add.

use std::fmt;
use std::net::SocketAddr;

use crate::bencode::{Limits, Reader};
use crate::{
    ClientVersion, ErrorCode, InfoHash, NodeId, Nodes, Oddities, ParseError, Samples, Values, parse,
};

/// One datagram, understood. Everything borrows the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The transaction id (`t`).
    pub tid: Tid<'a>,
    /// The sender's program (`v`).
    pub version: Option<ClientVersion>,
    /// Our endpoint as the sender sees it (`ip`, BEP 42). Port 0 when only an address was sent.
    pub ip: Option<SocketAddr>,
    /// The sender answers no queries and wants to be in no routing table (`ro`, BEP 43).
    pub read_only: bool,
    /// What is said.
    pub kind: Kind<'a>,
    /// What was unusual.
    pub oddities: Oddities,
}

impl<'a> Message<'a> {
    /// The shortest datagram that can be a message; libtorrent's bound as well.
    pub const LEN_MIN: usize = 15;

    /// Reads a datagram in one pass and without allocating.
    ///
    /// Where a key occurs twice the first one counts, as in libtorrent. Optional fields of a wrong
    /// type count as absent and show in [`Message::oddities`].
    ///
    /// # Errors
    /// The reason to drop the datagram; see [`Tid::to_refuse`] for those that deserve an answer.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        parse::message(datagram)
    }
}

/// What a message says.
// A reply is larger than a query, but messages live on the stack for the time of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `y` is `q`.
    Query(Query<'a>),
    /// `y` is `r`.
    Reply(Reply<'a>),
    /// `y` is `e`.
    Error(ErrorReply<'a>),
}

/// A question that a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The id of the asking node.
    pub id: NodeId,
    /// Which kinds of contacts the answer should hold (BEP 32).
    pub want: Want,
    /// What is asked.
    pub method: Method<'a>,
}

/// The methods of the DHT and their arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there?
    Ping,
    /// Which nodes do you know near `target`?
    FindNode {
        /// The point of the keyspace to come near to.
        target: NodeId,
    },
    /// Which peers do you know for a torrent, or else which nodes near its key?
    GetPeers {
        /// The torrent's key.
        info_hash: InfoHash,
        /// Leave out seeds (BEP 33).
        noseed: bool,
        /// Add the bloom filters of seeds and peers (BEP 33).
        scrape: bool,
    },
    /// The asking node takes part in a torrent.
    AnnouncePeer {
        /// The torrent's key.
        info_hash: InfoHash,
        /// The port of the announced peer. Not 0 unless `implied_port`, and then to be ignored.
        port: u16,
        /// The source port of the datagram is the peer's port.
        implied_port: bool,
        /// The peer is a seed (BEP 33).
        seed: bool,
        /// The token that an earlier get_peers was answered with.
        token: &'a [u8],
        /// The torrent's name according to the peer (`n`): untrusted, any bytes.
        name: Option<&'a [u8]>,
    },
    /// Which info-hashes do you store (BEP 51)?
    SampleInfohashes {
        /// Where the nodes of the answer should be near to.
        target: NodeId,
    },
    /// Read a stored item (BEP 44).
    Get {
        /// The item's key.
        target: NodeId,
        /// Only send a mutable item when it is newer than this.
        seq: Option<i64>,
    },
    /// Store an item (BEP 44).
    Put {
        /// The value, as bencoded bytes.
        value: &'a [u8],
        /// The token that an earlier get was answered with.
        token: &'a [u8],
        /// The public key of a mutable item.
        key: Option<&'a [u8; 32]>,
        /// The signature of a mutable item.
        signature: Option<&'a [u8; 64]>,
        /// The sequence number of a mutable item.
        seq: Option<i64>,
        /// Only store when the stored sequence number is this.
        cas: Option<i64>,
        /// Distinguishes several items of one key.
        salt: Option<&'a [u8]>,
    },
    /// A method that is none of the above.
    Unknown {
        /// Its name.
        name: &'a [u8],
        /// Its `target` or else its `info_hash`, when one has 20 bytes: then it is to be answered
        /// as find_node, else with error 204.
        target: Option<NodeId>,
    },
}

impl<'a> Method<'a> {
    /// The name as it stands in `q`.
    pub const fn name(&self) -> &'a [u8] {
        match *self {
            Self::Ping => b"ping",
            Self::FindNode { .. } => b"find_node",
            Self::GetPeers { .. } => b"get_peers",
            Self::AnnouncePeer { .. } => b"announce_peer",
            Self::SampleInfohashes { .. } => b"sample_infohashes",
            Self::Get { .. } => b"get",
            Self::Put { .. } => b"put",
            Self::Unknown { name, .. } => name,
        }
    }

    /// The point of the keyspace that the question is about, when it is about one.
    pub const fn target(&self) -> Option<NodeId> {
        match *self {
            Self::Ping | Self::Put { .. } => None,
            Self::FindNode { target } | Self::SampleInfohashes { target } | Self::Get { target, .. } => {
                Some(target)
            }
            Self::GetPeers { info_hash, .. } | Self::AnnouncePeer { info_hash, .. } => {
                Some(info_hash.as_id())
            }
            Self::Unknown { target, .. } => target,
        }
    }
}

/// Which address families of contacts are wanted (BEP 32). Neither: those of the family that the
/// query came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Want {
    /// `n4`: contacts with IPv4 endpoints, in `nodes`.
    pub n4: bool,
    /// `n6`: contacts with IPv6 endpoints, in `nodes6`.
    pub n6: bool,
}

/// An answer. Which method it answers only the one who asked knows (from `t`), so every field that
/// any method has is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The id of the answering node. Some answers of the wild have none.
    pub id: Option<NodeId>,
    /// Contacts with IPv4 endpoints.
    pub nodes: Nodes<'a>,
    /// Contacts with IPv6 endpoints (BEP 32).
    pub nodes6: Nodes<'a>,
    /// What an announce or put to this node has to carry.
    pub token: Option<&'a [u8]>,
    /// Peers of the torrent asked for. rTorrent 0.9.8 swaps the bytes of the ports, see
    /// [`ClientVersion::swaps_ports`].
    pub values: Values<'a>,
    /// Info-hashes that the node stores; present means it supports BEP 51.
    pub samples: Option<Samples<'a>>,
    /// How many info-hashes the node stores in all (BEP 51).
    pub num: Option<u64>,
    /// After how many seconds other samples can be had (BEP 51 says 0 to 21600; given as sent).
    pub interval: Option<u32>,
    /// Bloom filter of the seeds of the torrent (`BFsd`, BEP 33).
    pub bloom_seeds: Option<&'a [u8; 256]>,
    /// Bloom filter of the downloaders of the torrent (`BFpe`, BEP 33).
    pub bloom_peers: Option<&'a [u8; 256]>,
    /// Our source port as the node sees it (`p`, sent by libtorrent).
    pub port: Option<u16>,
    /// A stored item as bencoded bytes (`v`, BEP 44).
    pub value: Option<&'a [u8]>,
    /// The public key of a stored mutable item (`k`, BEP 44).
    pub key: Option<&'a [u8; 32]>,
    /// The signature of a stored mutable item (`sig`, BEP 44).
    pub signature: Option<&'a [u8; 64]>,
    /// The sequence number of a stored mutable item (BEP 44).
    pub seq: Option<i64>,
}

/// An error that a node sends instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// The code, when one was sent.
    pub code: Option<ErrorCode>,
    /// The text: untrusted, any bytes, empty when none was sent.
    pub text: &'a [u8],
    /// The id of the node, when the error carries an `r` as well (libtorrent's do).
    pub id: Option<NodeId>,
}

/// A transaction id as it arrived: any bencoded value, to be echoed verbatim.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tid<'a> {
    raw: &'a [u8],
}

impl<'a> Tid<'a> {
    /// The transaction id whose bencoded form is `raw`, or `None` when `raw` is not one whole value.
    pub fn from_raw(raw: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(raw, Limits::KRPC).ok()?;
        reader.skip().ok()?;
        reader.rest().is_empty().then_some(Self { raw })
    }

    /// Where to send error 203 when `datagram` was dropped because of `error`: the transaction
    /// id, if the cause lies in a query that can be answered. Reads the datagram once more, for
    /// such answers are rare (and should be rate-limited).
    pub fn to_refuse(error: ParseError, datagram: &'a [u8]) -> Option<Self> {
        if error.is_answerable() { parse::tid_of_query(datagram) } else { None }
    }

    /// Bytes that the parser knows to be one value.
    #[inline]
    pub(crate) const fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The bencoded form, to be echoed.
    #[inline]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The content when it is a string, as it should be.
    #[inline]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self.raw {
            // What we send ourselves, and so what comes back to us.
            [b'4', b':', bytes @ ..] => Some(bytes),
            raw => Reader::new(raw, Limits::KRPC).ok()?.bytes().ok(),
        }
    }
}

impl fmt::Debug for Tid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw.escape_ascii())
    }
}
