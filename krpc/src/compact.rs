//! Compact addresses: 6 and 18 byte endpoints, 26 and 38 byte nodes, 20 byte samples (BEP 5, 32, 51).
//!
//! The lists here borrow the bytes of the message and decode as they are walked. Endpoints are
//! given as they stand in the message: port 0, our own address or a private one are not filtered,
//! because whom to speak to is a decision of the caller (and one that the caller counts).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bencode::{Limits, Reader};
use crate::{InfoHash, NodeId};

/// A node as others tell it: its id and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompactNode {
    /// The node's id, as told.
    pub id: NodeId,
    /// Its UDP endpoint, as told.
    pub addr: SocketAddr,
}

impl CompactNode {
    /// Bytes of a node with an IPv4 endpoint.
    pub const LEN_V4: usize = 26;
    /// Bytes of a node with an IPv6 endpoint.
    pub const LEN_V6: usize = 38;
}

/// Reads a compact endpoint: 6 bytes (IPv4 and port) or 18 (IPv6 and port), else `None`.
///
/// An IPv4 address mapped into IPv6 becomes IPv4, so that one endpoint has one form.
#[inline]
pub fn read_addr(bytes: &[u8]) -> Option<SocketAddr> {
    match *bytes {
        [a, b, c, d, high, low] => {
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low])))
        }
        [ref ip @ .., high, low] => {
            let ip: [u8; 16] = ip.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), u16::from_be_bytes([high, low])))
        }
        _ => None,
    }
}

/// The nodes of a `nodes` or `nodes6` string.
#[derive(Clone, Copy)]
pub struct Nodes<'a> {
    raw: &'a [u8],
    stride: usize,
}

impl<'a> Nodes<'a> {
    /// The list of a `nodes` string, or `None` when its length is not a multiple of 26.
    #[inline]
    pub const fn v4(raw: &'a [u8]) -> Option<Self> {
        if raw.len().is_multiple_of(CompactNode::LEN_V4) {
            Some(Self { raw, stride: CompactNode::LEN_V4 })
        } else {
            None
        }
    }

    /// The list of a `nodes6` string, or `None` when its length is not a multiple of 38.
    #[inline]
    pub const fn v6(raw: &'a [u8]) -> Option<Self> {
        if raw.len().is_multiple_of(CompactNode::LEN_V6) {
            Some(Self { raw, stride: CompactNode::LEN_V6 })
        } else {
            None
        }
    }

    /// A list without nodes.
    pub const EMPTY: Nodes<'static> = Nodes { raw: &[], stride: CompactNode::LEN_V4 };

    /// How many nodes there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.raw.len() / self.stride
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The bytes of the list as received.
    #[inline]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Walks the nodes in the order of the message.
    #[inline]
    pub fn iter(&self) -> NodesIter<'a> {
        NodesIter { chunks: self.raw.chunks_exact(self.stride) }
    }
}

impl<'a> IntoIterator for Nodes<'a> {
    type Item = CompactNode;
    type IntoIter = NodesIter<'a>;

    #[inline]
    fn into_iter(self) -> NodesIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Nodes<'a> {
    type Item = CompactNode;
    type IntoIter = NodesIter<'a>;

    #[inline]
    fn into_iter(self) -> NodesIter<'a> {
        self.iter()
    }
}

impl PartialEq for Nodes<'_> {
    /// Lists are equal when they hold the same nodes: an empty one has no family.
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw && (self.stride == other.stride || self.raw.is_empty())
    }
}

impl Eq for Nodes<'_> {}

impl fmt::Debug for Nodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Iterator over [`Nodes`].
#[derive(Clone, Debug)]
pub struct NodesIter<'a> {
    chunks: std::slice::ChunksExact<'a, u8>,
}

impl Iterator for NodesIter<'_> {
    type Item = CompactNode;

    #[inline]
    fn next(&mut self) -> Option<CompactNode> {
        let (id, addr) = self.chunks.next()?.split_first_chunk::<20>()?;
        Some(CompactNode { id: NodeId::from_bytes(*id), addr: read_addr(addr)? })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl ExactSizeIterator for NodesIter<'_> {}

/// The peers of a `values` list: strings of 6 and 18 bytes, which may be mixed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Values<'a> {
    /// What stands between the `l` and the `e` of the list, known to be well-formed.
    items: &'a [u8],
    /// How many of the items are endpoints.
    len: usize,
}

impl<'a> Values<'a> {
    /// A list without peers.
    pub const EMPTY: Values<'static> = Values { items: &[], len: 0 };

    /// Items of a list that the parser has read, of which `len` are endpoints.
    #[inline]
    pub(crate) const fn new(items: &'a [u8], len: usize) -> Self {
        Self { items, len }
    }

    /// How many peers there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Walks the peers in the order of the message; items that are no endpoint are passed over.
    #[inline]
    pub fn iter(&self) -> ValuesIter<'a> {
        ValuesIter { items: self.items, left: self.len }
    }
}

impl<'a> IntoIterator for Values<'a> {
    type Item = SocketAddr;
    type IntoIter = ValuesIter<'a>;

    #[inline]
    fn into_iter(self) -> ValuesIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Values<'a> {
    type Item = SocketAddr;
    type IntoIter = ValuesIter<'a>;

    #[inline]
    fn into_iter(self) -> ValuesIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Iterator over [`Values`].
#[derive(Clone, Debug)]
pub struct ValuesIter<'a> {
    items: &'a [u8],
    left: usize,
}

impl Iterator for ValuesIter<'_> {
    type Item = SocketAddr;

    #[inline]
    fn next(&mut self) -> Option<SocketAddr> {
        while self.left > 0 {
            if let [b'6', b':', a, b, c, d, high, low, ref rest @ ..] = *self.items {
                self.items = rest;
                self.left -= 1;
                return read_addr(&[a, b, c, d, high, low]);
            }
            let mut reader = Reader::new(self.items, Limits::KRPC).ok()?;
            let item = reader.bytes_or_skip().ok()?;
            self.items = reader.rest();
            if let Some(addr) = item.and_then(read_addr) {
                self.left -= 1;
                return Some(addr);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ValuesIter<'_> {}

/// The info-hashes of a `samples` string (BEP 51).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Samples<'a> {
    raw: &'a [u8],
}

impl<'a> Samples<'a> {
    /// A list without samples: what a node that supports BEP 51 and stores nothing sends.
    pub const EMPTY: Samples<'static> = Samples { raw: &[] };

    /// The list of a `samples` string, or `None` when its length is not a multiple of 20.
    #[inline]
    pub const fn new(raw: &'a [u8]) -> Option<Self> {
        if raw.len().is_multiple_of(InfoHash::LEN) { Some(Self { raw }) } else { None }
    }

    /// How many samples there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.raw.len() / InfoHash::LEN
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Walks the samples; the i-th begins at byte 20 i.
    #[inline]
    pub fn iter(&self) -> SamplesIter<'a> {
        SamplesIter { chunks: self.raw.chunks_exact(InfoHash::LEN) }
    }
}

impl<'a> IntoIterator for Samples<'a> {
    type Item = InfoHash;
    type IntoIter = SamplesIter<'a>;

    #[inline]
    fn into_iter(self) -> SamplesIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Samples<'a> {
    type Item = InfoHash;
    type IntoIter = SamplesIter<'a>;

    #[inline]
    fn into_iter(self) -> SamplesIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Samples<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Iterator over [`Samples`].
#[derive(Clone, Debug)]
pub struct SamplesIter<'a> {
    chunks: std::slice::ChunksExact<'a, u8>,
}

impl Iterator for SamplesIter<'_> {
    type Item = InfoHash;

    #[inline]
    fn next(&mut self) -> Option<InfoHash> {
        InfoHash::try_from(self.chunks.next()?).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl ExactSizeIterator for SamplesIter<'_> {}
