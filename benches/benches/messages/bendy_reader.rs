//! The peer in decoding: `bendy` reading a datagram into the same fields.
//!
//! Written as somebody who has `bendy` and wants to be fast would write it: one pass, nothing collected, everything borrowed.
//! It does a little less than `krpc`: no list of oddities, no check of the items of `values`, no lenient reading of what
//! clients get wrong. Ids and lists of nodes are the types of `krpc` in both.

use std::net::SocketAddr;

use bendy::decoding::{Decoder, DictDecoder, Error, Object};
use krpc::{
    ClientVersion, ErrorCode, ErrorReply, InfoHash, Kind, Message, Method, NodeId, Nodes, Query, Reply,
    Samples, Values, Want, read_addr,
};

/// What [`Message`] holds, with `values` beside the reply as the raw list, since only `krpc` can make its own.
#[derive(Debug)]
pub(crate) struct BendyMessage<'a> {
    tid: &'a [u8],
    version: Option<ClientVersion>,
    ip: Option<SocketAddr>,
    read_only: bool,
    kind: Kind<'a>,
    values: &'a [u8],
}

#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    info_hash: Option<&'a [u8]>,
    token: Option<&'a [u8]>,
    nodes: Option<&'a [u8]>,
    nodes6: Option<&'a [u8]>,
    values: &'a [u8],
    samples: Option<&'a [u8]>,
    bloom_seeds: Option<&'a [u8]>,
    bloom_peers: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    want: Want,
    port: Option<i64>,
    implied_port: bool,
    seed: bool,
    noseed: bool,
    scrape: bool,
    num: Option<i64>,
    interval: Option<i64>,
    seen_port: Option<i64>,
    value: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
    salt: Option<&'a [u8]>,
    seq: Option<i64>,
    cas: Option<i64>,
}

/// Reads a datagram; `None` when it is not a message, or not one that `bendy` takes (it wants sorted, unique keys).
pub(crate) fn read(datagram: &[u8]) -> Option<BendyMessage<'_>> {
    let (mut tid, mut kind, mut method, mut version, mut ip) = (None, None, None, None, None);
    let (mut read_only, mut body, mut error) = (false, false, None);
    let mut fields = Fields::default();
    let mut decoder = Decoder::new(datagram).with_max_depth(10);
    let mut outer = decoder.next_object().ok()??.try_into_dictionary().ok()?;
    while let Some((key, value)) = outer.next_pair().ok()? {
        match key {
            b"a" | b"r" => {
                fields.read(value.try_into_dictionary().ok()?).ok()?;
                body = true;
            }
            b"e" => error = Some(error_list(value).ok()?),
            b"ip" => ip = read_addr(value.try_into_bytes().ok()?),
            b"q" => method = Some(value.try_into_bytes().ok()?),
            b"ro" => read_only = integer(value).ok()? != 0,
            b"t" => tid = Some(value.try_into_bytes().ok()?),
            b"v" => {
                let bytes = value.try_into_bytes().ok()?;
                version = <[u8; 4]>::try_from(bytes).ok().map(ClientVersion::from_bytes);
            }
            b"y" => kind = Some(value.try_into_bytes().ok()?),
            // What is not read is skipped when it is dropped.
            _ => {}
        }
    }
    let kind = match kind? {
        b"q" if body => Kind::Query(fields.query(method?)?),
        b"r" if body => Kind::Reply(fields.reply()?),
        b"e" => {
            let (code, text) = error?;
            let id = fields.id.and_then(|id| NodeId::try_from(id).ok());
            Kind::Error(ErrorReply { code: code.map(ErrorCode), text, id })
        }
        _ => return None,
    };
    Some(BendyMessage { tid: tid?, version, ip, read_only, kind, values: fields.values })
}

impl<'a> Fields<'a> {
    fn read(&mut self, mut dict: DictDecoder<'_, 'a>) -> Result<(), Error> {
        while let Some((key, value)) = dict.next_pair()? {
            match key {
                b"BFpe" => self.bloom_peers = Some(value.try_into_bytes()?),
                b"BFsd" => self.bloom_seeds = Some(value.try_into_bytes()?),
                b"cas" => self.cas = Some(integer(value)?),
                b"id" => self.id = Some(value.try_into_bytes()?),
                b"implied_port" => self.implied_port = integer(value)? != 0,
                b"info_hash" => self.info_hash = Some(value.try_into_bytes()?),
                b"interval" => self.interval = Some(integer(value)?),
                b"k" => self.key = Some(value.try_into_bytes()?),
                b"n" => self.name = Some(value.try_into_bytes()?),
                b"nodes" => self.nodes = Some(value.try_into_bytes()?),
                b"nodes6" => self.nodes6 = Some(value.try_into_bytes()?),
                b"noseed" => self.noseed = integer(value)? != 0,
                b"num" => self.num = Some(integer(value)?),
                b"p" => self.seen_port = Some(integer(value)?),
                b"port" => self.port = Some(integer(value)?),
                b"salt" => self.salt = Some(value.try_into_bytes()?),
                b"samples" => self.samples = Some(value.try_into_bytes()?),
                b"scrape" => self.scrape = integer(value)? != 0,
                b"seed" => self.seed = integer(value)? != 0,
                b"seq" => self.seq = Some(integer(value)?),
                b"sig" => self.signature = Some(value.try_into_bytes()?),
                b"target" => self.target = Some(value.try_into_bytes()?),
                b"token" => self.token = Some(value.try_into_bytes()?),
                b"v" => {
                    self.value = match value {
                        Object::List(list) => Some(list.into_raw()?),
                        Object::Dict(dict) => Some(dict.into_raw()?),
                        // bendy tells no span of these.
                        Object::Bytes(bytes) => Some(bytes),
                        Object::Integer(digits) => Some(digits.as_bytes()),
                    }
                }
                b"values" => self.values = value.try_into_list()?.into_raw()?,
                b"want" => {
                    let mut list = value.try_into_list()?;
                    while let Some(item) = list.next_object()? {
                        match item.try_into_bytes()? {
                            b"n4" => self.want.n4 = true,
                            b"n6" => self.want.n6 = true,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn query(&self, method: &'a [u8]) -> Option<Query<'a>> {
        let target = |bytes: Option<&[u8]>| NodeId::try_from(bytes?).ok();
        let info_hash = || InfoHash::try_from(self.info_hash?).ok();
        let method = match method {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: target(self.target)? },
            b"get_peers" => {
                Method::GetPeers { info_hash: info_hash()?, noseed: self.noseed, scrape: self.scrape }
            }
            b"announce_peer" => Method::AnnouncePeer {
                info_hash: info_hash()?,
                port: u16::try_from(self.port?).ok()?,
                implied_port: self.implied_port,
                seed: self.seed,
                token: self.token?,
                name: self.name,
            },
            b"sample_infohashes" => Method::SampleInfohashes { target: target(self.target)? },
            b"get" => Method::Get { target: target(self.target)?, seq: self.seq },
            b"put" => Method::Put {
                value: self.value?,
                token: self.token?,
                key: self.key.and_then(|key| key.try_into().ok()),
                signature: self.signature.and_then(|signature| signature.try_into().ok()),
                seq: self.seq,
                cas: self.cas,
                salt: self.salt,
            },
            name => Method::Unknown { name, target: target(self.target).or_else(|| target(self.info_hash)) },
        };
        Some(Query { id: NodeId::try_from(self.id?).ok()?, want: self.want, method })
    }

    fn reply(&self) -> Option<Reply<'a>> {
        let id = match self.id {
            Some(id) => Some(NodeId::try_from(id).ok()?),
            None => None,
        };
        Some(Reply {
            id,
            nodes: self.nodes.map_or(Some(Nodes::EMPTY), Nodes::v4)?,
            nodes6: self.nodes6.map_or(Some(Nodes::EMPTY), Nodes::v6)?,
            token: self.token,
            values: Values::EMPTY,
            samples: self.samples.and_then(Samples::new),
            num: self.num.and_then(|num| num.try_into().ok()),
            interval: self.interval.and_then(|interval| interval.try_into().ok()),
            bloom_seeds: self.bloom_seeds.and_then(|filter| filter.try_into().ok()),
            bloom_peers: self.bloom_peers.and_then(|filter| filter.try_into().ok()),
            port: self.seen_port.and_then(|port| port.try_into().ok()),
            value: self.value,
            key: self.key.and_then(|key| key.try_into().ok()),
            signature: self.signature.and_then(|signature| signature.try_into().ok()),
            seq: self.seq,
        })
    }
}

fn error_list<'a>(value: Object<'_, 'a>) -> Result<(Option<i64>, &'a [u8]), Error> {
    let mut list = value.try_into_list()?;
    let code = list.next_object()?.map(integer).transpose()?;
    let text = list.next_object()?.map(Object::try_into_bytes).transpose()?;
    Ok((code, text.unwrap_or_default()))
}

fn integer(value: Object<'_, '_>) -> Result<i64, Error> {
    Ok(value.try_into_integer()?.parse()?)
}

impl BendyMessage<'_> {
    /// Whether it says what `message` says: a comparison of speeds means nothing otherwise.
    pub(crate) fn says_the_same_as(&self, message: &Message<'_>) -> bool {
        let (mut kind, mut values) = (message.kind, Values::EMPTY);
        match &mut kind {
            Kind::Reply(reply) => {
                values = std::mem::replace(&mut reply.values, Values::EMPTY);
                reply.value = reply.value.map(content);
            }
            Kind::Query(Query { method: Method::Put { value, .. }, .. }) => *value = content(value),
            _ => {}
        }
        let mut peers = Vec::new();
        if !self.values.is_empty() {
            let mut decoder = Decoder::new(self.values);
            let list = decoder.next_object().ok().flatten().and_then(|list| list.try_into_list().ok());
            let Some(mut list) = list else { return false };
            while let Ok(Some(item)) = list.next_object() {
                peers.extend(item.try_into_bytes().ok().and_then(read_addr));
            }
        }
        message.tid.bytes() == Some(self.tid)
            && message.version == self.version
            && message.ip == self.ip
            && message.read_only == self.read_only
            && kind == self.kind
            && values.iter().eq(peers)
    }
}

/// A bencoded string without its length; other values as they are.
fn content(value: &[u8]) -> &[u8] {
    match value.iter().position(|byte| *byte == b':') {
        Some(colon) if value[0].is_ascii_digit() => &value[colon + 1..],
        _ => value,
    }
}
