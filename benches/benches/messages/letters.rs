//! Messages that are ready to be written by either encoder.

use std::net::SocketAddr;

use krpc::{CompactNode, InfoHash, Kind, Message, NodeId, encode};

use crate::bendy_writer;

/// What is to be written: everything that was read from a packet, ready for an encoder.
pub(crate) enum Letter<'a> {
    Query(encode::Query<'a>),
    Reply(encode::Reply<'a>),
    Error(encode::Error<'a>),
}

/// The lists of a reply, which an encoder borrows.
#[derive(Default)]
pub(crate) struct Lists {
    nodes: Vec<CompactNode>,
    nodes6: Vec<CompactNode>,
    values: Vec<SocketAddr>,
    samples: Vec<InfoHash>,
}

impl Lists {
    pub(crate) fn of(message: &Message<'_>) -> Self {
        match message.kind {
            Kind::Reply(reply) => Self {
                nodes: reply.nodes.iter().collect(),
                nodes6: reply.nodes6.iter().collect(),
                values: reply.values.iter().collect(),
                samples: reply.samples.into_iter().flatten().collect(),
            },
            _ => Self::default(),
        }
    }
}

impl<'a> Letter<'a> {
    /// `None`: bendy cannot write it, as it takes no raw values.
    pub(crate) fn of(message: &Message<'a>, lists: &'a Lists) -> Option<Self> {
        let tid = message.tid.bytes()?;
        Some(match message.kind {
            Kind::Query(query) => Self::Query(encode::Query {
                tid,
                id: query.id,
                version: message.version,
                read_only: message.read_only,
                want: query.want,
                method: query.method,
            }),
            Kind::Reply(reply) => Self::Reply(encode::Reply {
                tid: message.tid,
                id: reply.id.unwrap_or(NodeId::ZERO),
                version: message.version,
                ip: message.ip,
                nodes: (!lists.nodes.is_empty()).then_some(&lists.nodes),
                nodes6: (!lists.nodes6.is_empty()).then_some(&lists.nodes6),
                values: &lists.values,
                token: reply.token,
                samples: reply.samples.map(|_| &lists.samples[..]),
                num: reply.num,
                interval: reply.interval,
                bloom_seeds: reply.bloom_seeds,
                bloom_peers: reply.bloom_peers,
                value: reply.value,
                key: reply.key,
                signature: reply.signature,
                seq: reply.seq,
            }),
            Kind::Error(error) => Self::Error(encode::Error {
                tid: message.tid,
                code: error.code?,
                text: std::str::from_utf8(error.text).ok()?,
                version: message.version,
                ip: message.ip,
            }),
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Query(query) => query.encode(out),
            Self::Reply(reply) => reply.encode(out),
            Self::Error(error) => error.encode(out),
        }
    }

    pub(crate) fn write_with_bendy(&self, scratch: &mut bendy_writer::Scratch) -> Vec<u8> {
        let written = match self {
            Self::Query(query) => bendy_writer::query(query),
            Self::Reply(reply) => bendy_writer::reply(reply, scratch),
            Self::Error(error) => bendy_writer::error(error, scratch),
        };
        written.unwrap_or_else(|error| panic!("bendy cannot write a message: {error}"))
    }
}
