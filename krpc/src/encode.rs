//! From messages to datagrams: always canonical, always appended to a buffer of the caller.
//!
//! Nothing here allocates beyond that buffer, and nothing is cut: the caller decides what fits
//! [`DATAGRAM_MAX`], with [`Query::encoded_len`], [`Reply::encoded_len`] and [`Reply::room`].

use std::net::{IpAddr, SocketAddr};

use crate::bencode::{Length, Sink, Writer};
use crate::{ClientVersion, CompactNode, ErrorCode, InfoHash, Method, NodeId, Tid, Want};

/// The most bytes of a datagram that we send: what passes every path without being fragmented,
/// with room for tunnels.
pub const DATAGRAM_MAX: usize = 1024;

/// A query to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The content of the transaction id. 4 bytes are understood by every client; some are silent
    /// for any other length, some answer long ones with an empty id (measured).
    pub tid: &'a [u8],
    /// Our id.
    pub id: NodeId,
    /// Our program.
    pub version: Option<ClientVersion>,
    /// We answer no queries (BEP 43).
    pub read_only: bool,
    /// Which families of contacts to ask for (BEP 32).
    pub want: Want,
    /// What is asked.
    pub method: Method<'a>,
}

impl Query<'_> {
    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// How many bytes [`Query::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        length(|out| self.write(out))
    }

    fn write<S: Sink>(&self, out: &mut S) {
        let mut w = Writer::new(out);
        w.raw(b"d1:ad");
        self.arguments(&mut w);
        w.raw(b"e1:q");
        w.bytes(self.method.name());
        if self.read_only {
            w.raw(b"2:roi1e");
        }
        w.raw(b"1:t");
        w.bytes(self.tid);
        version(&mut w, self.version);
        w.raw(b"1:y1:qe");
    }

    /// The entries of `a` in their order; the id stands where `i`, `d` belong among them.
    fn arguments<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Method::Put { cas: Some(cas), .. } = self.method {
            w.raw(b"3:cas");
            w.int(cas);
        }
        w.raw(b"2:id20:");
        w.raw(self.id.as_bytes());
        match self.method {
            Method::Ping => {}
            Method::FindNode { target } | Method::SampleInfohashes { target } => {
                point(w, b"6:target20:", &target);
            }
            Method::GetPeers { info_hash, noseed, scrape } => {
                point(w, b"9:info_hash20:", &info_hash.as_id());
                flag(w, b"6:noseedi1e", noseed);
                flag(w, b"6:scrapei1e", scrape);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token, name } => {
                flag(w, b"12:implied_porti1e", implied_port);
                point(w, b"9:info_hash20:", &info_hash.as_id());
                string(w, b"1:n", name);
                w.raw(b"4:port");
                w.int(i64::from(port));
                flag(w, b"4:seedi1e", seed);
                string(w, b"5:token", Some(token));
            }
            Method::Get { target, seq } => {
                integer(w, b"3:seq", seq);
                point(w, b"6:target20:", &target);
            }
            Method::Put { value, token, key, signature, seq, salt, cas: _ } => {
                string(w, b"1:k", key.map(AsRef::as_ref));
                string(w, b"4:salt", salt);
                integer(w, b"3:seq", seq);
                string(w, b"3:sig", signature.map(AsRef::as_ref));
                string(w, b"5:token", Some(token));
                w.raw(b"1:v");
                w.raw(value);
            }
            Method::Unknown { name: _, target } => {
                if let Some(target) = target {
                    point(w, b"6:target20:", &target);
                }
            }
        }
        match self.want {
            Want { n4: false, n6: false } => {}
            Want { n4: true, n6: false } => w.raw(b"4:wantl2:n4e"),
            Want { n4: false, n6: true } => w.raw(b"4:wantl2:n6e"),
            Want { n4: true, n6: true } => w.raw(b"4:wantl2:n42:n6e"),
        }
    }
}

/// An answer to be sent. Begin with [`Reply::new`] and set what the method needs.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The transaction id of the query, echoed verbatim.
    pub tid: Tid<'a>,
    /// Our id.
    pub id: NodeId,
    /// Our program.
    pub version: Option<ClientVersion>,
    /// The endpoint of the asker as we see it (`ip`, BEP 42 wants it in every reply).
    pub ip: Option<SocketAddr>,
    /// Contacts with IPv4 endpoints (others are left out); `None` leaves out `nodes`.
    pub nodes: Option<&'a [CompactNode]>,
    /// Contacts with IPv6 endpoints (others are left out); `None` leaves out `nodes6`.
    pub nodes6: Option<&'a [CompactNode]>,
    /// Peers, of any family; none leaves out `values`.
    pub values: &'a [SocketAddr],
    /// The token for a later announce.
    pub token: Option<&'a [u8]>,
    /// Info-hashes that we store (BEP 51); present but empty says that we support it.
    pub samples: Option<&'a [InfoHash]>,
    /// How many info-hashes we store (BEP 51).
    pub num: Option<u64>,
    /// Seconds until other samples can be had, 0 to 21600 (BEP 51).
    pub interval: Option<u32>,
    /// Bloom filter of seeds (BEP 33).
    pub bloom_seeds: Option<&'a [u8; 256]>,
    /// Bloom filter of downloaders (BEP 33).
    pub bloom_peers: Option<&'a [u8; 256]>,
    /// A stored item as bencoded bytes (BEP 44).
    pub value: Option<&'a [u8]>,
    /// The public key of a stored mutable item (BEP 44).
    pub key: Option<&'a [u8; 32]>,
    /// The signature of a stored mutable item (BEP 44).
    pub signature: Option<&'a [u8; 64]>,
    /// The sequence number of a stored mutable item (BEP 44).
    pub seq: Option<i64>,
}

impl<'a> Reply<'a> {
    /// The reply that says no more than that we are here, which is the answer to a ping.
    pub const fn new(tid: Tid<'a>, id: NodeId) -> Self {
        Self {
            tid,
            id,
            version: None,
            ip: None,
            nodes: None,
            nodes6: None,
            values: &[],
            token: None,
            samples: None,
            num: None,
            interval: None,
            bloom_seeds: None,
            bloom_peers: None,
            value: None,
            key: None,
            signature: None,
            seq: None,
        }
    }

    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// How many bytes [`Reply::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        length(|out| self.write(out))
    }

    /// How many more items of `size` encoded bytes fit a datagram of [`DATAGRAM_MAX`] bytes beside
    /// what is set: [`CompactNode::LEN_V4`] or [`LEN_V6`](CompactNode::LEN_V6) for contacts,
    /// [`InfoHash::LEN`] for samples, [`VALUE_LEN_V4`] or [`VALUE_LEN_V6`] for peers.
    ///
    /// Set a list to `Some(&[])` first, so that its key is accounted for; the growth of its length
    /// prefix and the frame of `values` are.
    pub fn room(&self, size: usize) -> usize {
        // "6:valuesle" around peers, or three more digits of a list's length.
        const FRAME: usize = 10;
        DATAGRAM_MAX.saturating_sub(self.encoded_len() + FRAME) / size.max(1)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        let mut w = Writer::new(out);
        w.raw(b"d");
        if let Some(ip) = self.ip {
            w.raw(b"2:ip");
            endpoint(&mut w, ip);
        }
        w.raw(b"1:rd");
        string(&mut w, b"4:BFpe", self.bloom_peers.map(AsRef::as_ref));
        string(&mut w, b"4:BFsd", self.bloom_seeds.map(AsRef::as_ref));
        w.raw(b"2:id20:");
        w.raw(self.id.as_bytes());
        integer(&mut w, b"8:interval", self.interval.map(i64::from));
        string(&mut w, b"1:k", self.key.map(AsRef::as_ref));
        if let Some(list) = self.nodes {
            nodes(&mut w, b"5:nodes", list, SocketAddr::is_ipv4, CompactNode::LEN_V4);
        }
        if let Some(list) = self.nodes6 {
            nodes(&mut w, b"6:nodes6", list, SocketAddr::is_ipv6, CompactNode::LEN_V6);
        }
        integer(&mut w, b"3:num", self.num.map(|num| i64::try_from(num).unwrap_or(i64::MAX)));
        if let Some(samples) = self.samples {
            w.raw(b"7:samples");
            w.length(samples.len() * InfoHash::LEN);
            for sample in samples {
                w.raw(sample.as_bytes());
            }
        }
        integer(&mut w, b"3:seq", self.seq);
        string(&mut w, b"3:sig", self.signature.map(AsRef::as_ref));
        string(&mut w, b"5:token", self.token);
        if let Some(value) = self.value {
            w.raw(b"1:v");
            w.raw(value);
        }
        if !self.values.is_empty() {
            w.raw(b"6:valuesl");
            for addr in self.values {
                endpoint(&mut w, *addr);
            }
            w.end();
        }
        w.raw(b"e1:t");
        w.raw(self.tid.raw());
        version(&mut w, self.version);
        w.raw(b"1:y1:re");
    }
}

/// Bytes of an IPv4 peer in `values`.
pub const VALUE_LEN_V4: usize = 8;
/// Bytes of an IPv6 peer in `values`.
pub const VALUE_LEN_V6: usize = 21;

/// An error to be sent instead of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Error<'a> {
    /// The transaction id of the query, echoed verbatim.
    pub tid: Tid<'a>,
    /// The code.
    pub code: ErrorCode,
    /// What went wrong, for people.
    pub text: &'a str,
    /// Our program.
    pub version: Option<ClientVersion>,
    /// The endpoint of the asker as we see it (BEP 42).
    pub ip: Option<SocketAddr>,
}

impl Error<'_> {
    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// How many bytes [`Error::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        length(|out| self.write(out))
    }

    fn write<S: Sink>(&self, out: &mut S) {
        let mut w = Writer::new(out);
        w.raw(b"d1:el");
        w.int(self.code.0);
        w.bytes(self.text.as_bytes());
        w.end();
        if let Some(ip) = self.ip {
            w.raw(b"2:ip");
            endpoint(&mut w, ip);
        }
        w.raw(b"1:t");
        w.raw(self.tid.raw());
        version(&mut w, self.version);
        w.raw(b"1:y1:ee");
    }
}

fn length(write: impl FnOnce(&mut Length)) -> usize {
    let mut length = Length::default();
    write(&mut length);
    length.0
}

fn version<S: Sink>(w: &mut Writer<'_, S>, version: Option<ClientVersion>) {
    if let Some(version) = version {
        w.raw(b"1:v4:");
        w.raw(version.as_bytes());
    }
}

fn point<S: Sink>(w: &mut Writer<'_, S>, key: &[u8], point: &NodeId) {
    w.raw(key);
    w.raw(point.as_bytes());
}

fn flag<S: Sink>(w: &mut Writer<'_, S>, entry: &[u8], set: bool) {
    if set {
        w.raw(entry);
    }
}

fn string<S: Sink>(w: &mut Writer<'_, S>, key: &[u8], value: Option<&[u8]>) {
    if let Some(value) = value {
        w.raw(key);
        w.bytes(value);
    }
}

fn integer<S: Sink>(w: &mut Writer<'_, S>, key: &[u8], value: Option<i64>) {
    if let Some(value) = value {
        w.raw(key);
        w.int(value);
    }
}

fn nodes<S: Sink>(
    w: &mut Writer<'_, S>,
    key: &[u8],
    list: &[CompactNode],
    belongs: fn(&SocketAddr) -> bool,
    size: usize,
) {
    let count = list.iter().filter(|node| belongs(&node.addr)).count();
    w.raw(key);
    w.length(count * size);
    for node in list.iter().filter(|node| belongs(&node.addr)) {
        w.raw(node.id.as_bytes());
        addr(w, node.addr);
    }
}

/// An endpoint as a string of 6 or 18 bytes.
fn endpoint<S: Sink>(w: &mut Writer<'_, S>, endpoint: SocketAddr) {
    w.raw(if endpoint.is_ipv4() { b"6:" } else { b"18:" });
    addr(w, endpoint);
}

fn addr<S: Sink>(w: &mut Writer<'_, S>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => w.raw(&ip.octets()),
        IpAddr::V6(ip) => w.raw(&ip.octets()),
    }
    w.raw(&addr.port().to_be_bytes());
}
