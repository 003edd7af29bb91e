//! From a datagram to a [`Message`]: one pass over the bytes, no tree, no token list.
//!
//! The type of a message (`y`) comes last in a sorted dictionary, so the fields of `a` and `r` are
//! gathered in one place first and made into a query or a reply afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bencode::{Error, KeyOrder, Limits, Reader, Shape};
use crate::{
    ClientVersion, ErrorCode, ErrorReply, InfoHash, Kind, Message, Method, NodeId, Nodes, Oddities,
    ParseError, Query, Reply, Samples, Tid, Values, Want, read_addr,
};

/// Parses a whole datagram; see [`Message::parse`].
pub(crate) fn message(datagram: &[u8]) -> Result<Message<'_>, ParseError> {
    if datagram.first().is_some_and(|first| *first != b'd') {
        return Err(ParseError::NotADict);
    }
    if datagram.len() < Message::LEN_MIN {
        return Err(ParseError::TooShort);
    }
    let mut envelope = Envelope::default();
    envelope.read(datagram, None)?;
    if envelope.has_arguments && envelope.has_reply {
        // Both bodies went into the same place. Now that the type is known, read the right one.
        let body = if envelope.kind == Some(b"q") { Body::Arguments } else { Body::Reply };
        envelope = Envelope::default();
        envelope.oddities = Oddities::QUERY_AND_REPLY;
        envelope.read(datagram, Some(body))?;
    }
    envelope.finish()
}

/// The transaction id of a datagram whose content was refused, if it is a query.
#[cold]
pub(crate) fn tid_of_query(datagram: &[u8]) -> Option<Tid<'_>> {
    let mut envelope = Envelope::default();
    envelope.read(datagram, Some(Body::Arguments)).ok()?;
    if envelope.kind == Some(b"q") { envelope.tid.map(Tid::new) } else { None }
}

/// The dictionary of a query's arguments, or that of a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Arguments,
    Reply,
}

/// The outer dictionary, as far as it was read.
#[derive(Default)]
struct Envelope<'a> {
    tid: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    version: Option<ClientVersion>,
    ip: Option<SocketAddr>,
    read_only: Option<bool>,
    error: Option<(Option<ErrorCode>, &'a [u8])>,
    has_arguments: bool,
    has_reply: bool,
    fields: Fields<'a>,
    oddities: Oddities,
}

/// Everything that can stand in `a` or `r`.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    info_hash: Option<&'a [u8]>,
    token: Option<&'a [u8]>,
    nodes: Option<&'a [u8]>,
    nodes6: Option<&'a [u8]>,
    values: Option<Values<'a>>,
    samples: Option<&'a [u8]>,
    bloom_seeds: Option<&'a [u8]>,
    bloom_peers: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    want: Option<Want>,
    port: Option<i64>,
    implied_port: Option<bool>,
    seed: Option<bool>,
    noseed: Option<bool>,
    scrape: Option<bool>,
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

impl<'a> Envelope<'a> {
    /// Reads the outer dictionary; with `only`, the fields of that body alone.
    fn read(&mut self, datagram: &'a [u8], only: Option<Body>) -> Result<(), Error> {
        let mut reader = Reader::new(datagram, Limits::KRPC)?;
        let mut order = KeyOrder::default();
        reader.enter_dict()?;
        while let Some(key) = reader.next_key()? {
            order.see(key);
            match key {
                b"t" => {
                    let raw = reader.raw()?;
                    self.first(self.tid.is_none());
                    self.tid.get_or_insert(raw);
                }
                b"y" => bytes(&mut reader, &mut self.kind, &mut self.oddities)?,
                b"q" => bytes(&mut reader, &mut self.method, &mut self.oddities)?,
                b"r" => {
                    self.has_reply = self.body(&mut reader, self.has_reply, only == Some(Body::Arguments))?;
                }
                b"a" => {
                    self.has_arguments =
                        self.body(&mut reader, self.has_arguments, only == Some(Body::Reply))?;
                }
                b"v" => self.version(&mut reader)?,
                b"ip" => self.ip(&mut reader)?,
                b"ro" => flag(&mut reader, &mut self.read_only, &mut self.oddities)?,
                b"e" => self.error(&mut reader)?,
                _ => reader.skip()?,
            }
        }
        self.note_order(&order);
        if !reader.rest().is_empty() {
            self.oddities |= Oddities::TRAILING_BYTES;
        }
        if reader.padded_length() {
            self.oddities |= Oddities::PADDED_LENGTH;
        }
        Ok(())
    }

    /// Reads `a` or `r` into the fields, unless it was `seen` before or is to be left out. Returns
    /// whether such a dictionary has been seen by now.
    fn body(&mut self, reader: &mut Reader<'a>, seen: bool, leave_out: bool) -> Result<bool, Error> {
        if seen || leave_out || reader.peek() != Some(Shape::Dict) {
            if seen {
                self.oddities |= Oddities::DUPLICATE_KEYS;
            } else if !leave_out {
                self.oddities |= Oddities::BAD_FIELD;
            }
            reader.skip()?;
            return Ok(seen);
        }
        let order = self.fields.read(reader, &mut self.oddities)?;
        self.note_order(&order);
        Ok(true)
    }

    fn version(&mut self, reader: &mut Reader<'a>) -> Result<(), Error> {
        let before = self.version;
        self.first(before.is_none());
        let Some(bytes) = reader.bytes_or_skip()? else {
            self.oddities |= Oddities::BAD_VERSION;
            return Ok(());
        };
        if before.is_none() {
            let mut version = [0; 4];
            for (byte, given) in version.iter_mut().zip(bytes) {
                *byte = *given;
            }
            if bytes.len() != version.len() {
                self.oddities |= Oddities::BAD_VERSION;
            }
            // Less than two letters name nobody.
            if bytes.len() >= 2 {
                self.version = Some(ClientVersion::from_bytes(version));
            }
        }
        Ok(())
    }

    fn ip(&mut self, reader: &mut Reader<'a>) -> Result<(), Error> {
        let bytes = reader.bytes_or_skip()?;
        self.first(self.ip.is_none());
        match bytes.and_then(external_addr) {
            Some(addr) => {
                self.ip.get_or_insert(addr);
            }
            None => self.oddities |= Oddities::BAD_FIELD,
        }
        Ok(())
    }

    /// Reads `e`, which should be `[code, text]` and can be anything.
    fn error(&mut self, reader: &mut Reader<'a>) -> Result<(), Error> {
        self.first(self.error.is_none());
        let (mut code, mut text) = (None, None);
        match reader.peek() {
            Some(Shape::List) => {
                reader.enter_list()?;
                let mut items = 0;
                while reader.next_item()? {
                    match reader.peek() {
                        Some(Shape::Int) if items == 0 => code = reader.int_or_skip()?,
                        Some(Shape::Bytes) if items == 1 => text = reader.bytes_or_skip()?,
                        // In the wrong place, but there can be no doubt what it is.
                        Some(Shape::Bytes) if items == 0 => text = reader.bytes_or_skip()?,
                        _ => reader.skip()?,
                    }
                    items += 1;
                }
                if code.is_none() || text.is_none() || items != 2 {
                    self.oddities |= Oddities::BAD_ERROR;
                }
            }
            Some(Shape::Bytes) => {
                text = reader.bytes_or_skip()?;
                self.oddities |= Oddities::BAD_ERROR;
            }
            _ => {
                code = reader.int_or_skip()?;
                self.oddities |= Oddities::BAD_ERROR;
            }
        }
        self.error.get_or_insert((code.map(ErrorCode), text.unwrap_or_default()));
        Ok(())
    }

    /// Takes note of a repeated key unless this is its `first` value.
    #[inline]
    fn first(&mut self, first: bool) {
        if !first {
            self.oddities |= Oddities::DUPLICATE_KEYS;
        }
    }

    #[inline]
    fn note_order(&mut self, order: &KeyOrder<'_>) {
        if order.unsorted() {
            self.oddities |= Oddities::UNSORTED_KEYS;
        }
        if order.duplicate() {
            self.oddities |= Oddities::DUPLICATE_KEYS;
        }
    }

    /// Makes a message of what was read.
    #[inline(always)]
    fn finish(&mut self) -> Result<Message<'a>, ParseError> {
        let kind = self.kind.ok_or(ParseError::MissingType)?;
        let tid = self.tid.map(Tid::new);
        let tid = match kind {
            b"q" | b"r" | b"e" => tid.ok_or(ParseError::MissingTransaction)?,
            _ => return Err(ParseError::UnknownType),
        };
        if self.error.is_some() && self.has_reply {
            self.oddities |= Oddities::ERROR_AND_REPLY;
        }
        let kind = match kind {
            b"q" => Kind::Query(self.query()?),
            b"r" => Kind::Reply(self.reply()?),
            _ => Kind::Error(self.error_reply()),
        };
        Ok(Message {
            tid,
            version: self.version,
            ip: self.ip,
            read_only: self.read_only.unwrap_or(false),
            kind,
            oddities: self.oddities,
        })
    }

    #[inline(always)]
    fn query(&mut self) -> Result<Query<'a>, ParseError> {
        let method = self.method.ok_or(ParseError::MissingMethod)?;
        if !self.has_arguments {
            return Err(ParseError::MissingArguments);
        }
        let fields = &self.fields;
        let id = fields.id.ok_or(ParseError::MissingId)?;
        let id = NodeId::try_from(id).map_err(|_| ParseError::BadId)?;
        let method = match method {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: fields.target()? },
            b"get_peers" => Method::GetPeers {
                info_hash: fields.info_hash()?,
                noseed: fields.noseed.unwrap_or(false),
                scrape: fields.scrape.unwrap_or(false),
            },
            b"announce_peer" => self.announce_peer()?,
            b"sample_infohashes" => Method::SampleInfohashes { target: fields.target()? },
            b"get" => Method::Get { target: fields.target()?, seq: fields.seq },
            b"put" => self.put()?,
            name => Method::Unknown {
                name,
                target: fields.target().or_else(|_| fields.info_hash().map(|hash| hash.as_id())).ok(),
            },
        };
        Ok(Query { id, want: self.fields.want.unwrap_or_default(), method })
    }

    fn announce_peer(&mut self) -> Result<Method<'a>, ParseError> {
        let fields = &self.fields;
        let implied_port = fields.implied_port.unwrap_or(false);
        let port = fields.port.and_then(|port| u16::try_from(port).ok());
        let port = match port {
            None | Some(0) if !implied_port => return Err(ParseError::BadPort),
            port => port.unwrap_or(0),
        };
        Ok(Method::AnnouncePeer {
            info_hash: fields.info_hash()?,
            port,
            implied_port,
            seed: fields.seed.unwrap_or(false),
            token: fields.token.ok_or(ParseError::MissingToken)?,
            name: fields.name,
        })
    }

    fn put(&mut self) -> Result<Method<'a>, ParseError> {
        let fields = &self.fields;
        Ok(Method::Put {
            value: fields.value.ok_or(ParseError::MissingValue)?,
            token: fields.token.ok_or(ParseError::MissingToken)?,
            key: sized(fields.key, &mut self.oddities),
            signature: sized(fields.signature, &mut self.oddities),
            seq: fields.seq,
            cas: fields.cas,
            salt: fields.salt,
        })
    }

    #[inline(always)]
    fn reply(&mut self) -> Result<Reply<'a>, ParseError> {
        if !self.has_reply {
            return Err(ParseError::MissingReply);
        }
        let fields = &self.fields;
        let oddities = &mut self.oddities;
        let id = match fields.id {
            Some(id) => Some(NodeId::try_from(id).map_err(|_| ParseError::BadId)?),
            None => {
                *oddities |= Oddities::NO_ID;
                None
            }
        };
        let mut list = |raw: Option<&'a [u8]>, list: fn(&'a [u8]) -> Option<Nodes<'a>>| match raw {
            None => Nodes::EMPTY,
            Some(raw) => list(raw).unwrap_or_else(|| {
                *oddities |= Oddities::BAD_NODES;
                Nodes::EMPTY
            }),
        };
        let nodes = list(fields.nodes, Nodes::v4);
        let nodes6 = list(fields.nodes6, Nodes::v6);
        let samples = fields.samples.map(|raw| {
            Samples::new(raw).unwrap_or_else(|| {
                *oddities |= Oddities::BAD_SAMPLES;
                Samples::EMPTY
            })
        });
        Ok(Reply {
            id,
            nodes,
            nodes6,
            token: fields.token,
            values: fields.values.unwrap_or(Values::EMPTY),
            samples,
            num: ranged(fields.num, oddities),
            interval: ranged(fields.interval, oddities),
            bloom_seeds: sized(fields.bloom_seeds, oddities),
            bloom_peers: sized(fields.bloom_peers, oddities),
            port: ranged(fields.seen_port, oddities),
            value: fields.value,
            key: sized(fields.key, oddities),
            signature: sized(fields.signature, oddities),
            seq: fields.seq,
        })
    }

    fn error_reply(&mut self) -> ErrorReply<'a> {
        let (code, text) = self.error.unwrap_or_else(|| {
            self.oddities |= Oddities::BAD_ERROR;
            (None, &[])
        });
        // A query's id would be the asker's; only `r` tells who sends the error.
        let id = if self.has_reply { self.fields.id } else { None };
        ErrorReply { code, text, id: id.and_then(|id| NodeId::try_from(id).ok()) }
    }
}

impl<'a> Fields<'a> {
    /// Reads the dictionary that stands next.
    #[inline]
    fn read(&mut self, reader: &mut Reader<'a>, oddities: &mut Oddities) -> Result<KeyOrder<'a>, Error> {
        let mut order = KeyOrder::default();
        reader.enter_dict()?;
        while let Some(key) = reader.next_key()? {
            order.see(key);
            match key {
                b"id" => bytes(reader, &mut self.id, oddities)?,
                b"target" => bytes(reader, &mut self.target, oddities)?,
                b"info_hash" => bytes(reader, &mut self.info_hash, oddities)?,
                b"nodes" => bytes(reader, &mut self.nodes, oddities)?,
                b"nodes6" => bytes(reader, &mut self.nodes6, oddities)?,
                b"token" => bytes(reader, &mut self.token, oddities)?,
                b"values" => values(reader, &mut self.values, oddities)?,
                b"p" => int(reader, &mut self.seen_port, oddities)?,
                b"samples" => bytes(reader, &mut self.samples, oddities)?,
                b"num" => int(reader, &mut self.num, oddities)?,
                b"interval" => int(reader, &mut self.interval, oddities)?,
                b"want" => want(reader, &mut self.want, oddities)?,
                b"port" => int(reader, &mut self.port, oddities)?,
                b"implied_port" => flag(reader, &mut self.implied_port, oddities)?,
                b"seed" => flag(reader, &mut self.seed, oddities)?,
                b"n" => bytes(reader, &mut self.name, oddities)?,
                b"noseed" => flag(reader, &mut self.noseed, oddities)?,
                b"scrape" => flag(reader, &mut self.scrape, oddities)?,
                b"BFsd" => bytes(reader, &mut self.bloom_seeds, oddities)?,
                b"BFpe" => bytes(reader, &mut self.bloom_peers, oddities)?,
                b"v" => {
                    let raw = reader.raw()?;
                    if self.value.is_some() {
                        *oddities |= Oddities::DUPLICATE_KEYS;
                    }
                    self.value.get_or_insert(raw);
                }
                b"k" => bytes(reader, &mut self.key, oddities)?,
                b"sig" => bytes(reader, &mut self.signature, oddities)?,
                b"salt" => bytes(reader, &mut self.salt, oddities)?,
                b"seq" => int(reader, &mut self.seq, oddities)?,
                b"cas" => int(reader, &mut self.cas, oddities)?,
                _ => reader.skip()?,
            }
        }
        Ok(order)
    }

    #[inline]
    fn target(&self) -> Result<NodeId, ParseError> {
        let target = self.target.ok_or(ParseError::MissingTarget)?;
        NodeId::try_from(target).map_err(|_| ParseError::BadTarget)
    }

    #[inline]
    fn info_hash(&self) -> Result<InfoHash, ParseError> {
        let info_hash = self.info_hash.ok_or(ParseError::MissingInfoHash)?;
        InfoHash::try_from(info_hash).map_err(|_| ParseError::BadInfoHash)
    }
}

/// Reads a string into `slot`, unless an earlier one is there.
#[inline]
fn bytes<'a>(
    reader: &mut Reader<'a>,
    slot: &mut Option<&'a [u8]>,
    oddities: &mut Oddities,
) -> Result<(), Error> {
    let value = reader.bytes_or_skip()?;
    keep(slot, value, oddities);
    Ok(())
}

/// Reads an integer into `slot`, unless an earlier one is there.
#[inline]
fn int(reader: &mut Reader<'_>, slot: &mut Option<i64>, oddities: &mut Oddities) -> Result<(), Error> {
    let value = reader.int_or_skip()?;
    keep(slot, value, oddities);
    Ok(())
}

/// Reads a flag (any integer but 0) into `slot`, unless an earlier one is there.
fn flag(reader: &mut Reader<'_>, slot: &mut Option<bool>, oddities: &mut Oddities) -> Result<(), Error> {
    let value = reader.int_or_skip()?;
    keep(slot, value.map(|value| value != 0), oddities);
    Ok(())
}

#[inline]
fn keep<T>(slot: &mut Option<T>, value: Option<T>, oddities: &mut Oddities) {
    if slot.is_some() {
        *oddities |= Oddities::DUPLICATE_KEYS;
    } else if value.is_none() {
        *oddities |= Oddities::BAD_FIELD;
    } else {
        *slot = value;
    }
}

/// Reads a list of endpoints into `slot`, unless an earlier one is there.
fn values<'a>(
    reader: &mut Reader<'a>,
    slot: &mut Option<Values<'a>>,
    oddities: &mut Oddities,
) -> Result<(), Error> {
    if reader.peek() != Some(Shape::List) {
        reader.skip()?;
        keep(slot, None, oddities);
        return Ok(());
    }
    reader.enter_list()?;
    let items = reader.rest();
    let mut len = 0;
    loop {
        // Nearly every list is made of these alone.
        let (mut rest, mut run) = (reader.rest(), 0);
        while let [b'6', b':', _, _, _, _, _, _, after @ ..] = rest {
            rest = after;
            run += 1;
        }
        reader.advance(rest, run)?;
        len += run as usize;
        if !reader.next_item()? {
            break;
        }
        match reader.bytes_or_skip()? {
            Some(item) if item.len() == 6 || item.len() == 18 => len += 1,
            _ => *oddities |= Oddities::BAD_VALUES,
        }
    }
    // Without the `e` that is behind us as well.
    let items = &items[..items.len() - reader.rest().len() - 1];
    keep(slot, Some(Values::new(items, len)), oddities);
    Ok(())
}

/// Reads the wanted families (a list, or one string) into `slot`, unless earlier ones are there.
fn want(reader: &mut Reader<'_>, slot: &mut Option<Want>, oddities: &mut Oddities) -> Result<(), Error> {
    let mut want = Want::default();
    let mut add = |item: Option<&[u8]>| match item {
        Some(b"n4") => want.n4 = true,
        Some(b"n6") => want.n6 = true,
        // BEP 32: strings that are not known are ignored.
        Some(_) => {}
        None => *oddities |= Oddities::BAD_FIELD,
    };
    if reader.peek() == Some(Shape::List) {
        reader.enter_list()?;
        while reader.next_item()? {
            add(reader.bytes_or_skip()?);
        }
    } else {
        add(reader.bytes_or_skip()?);
    }
    keep(slot, Some(want), oddities);
    Ok(())
}

/// BEP 42's `ip`: address and port; older clients send the address alone.
fn external_addr(bytes: &[u8]) -> Option<SocketAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), 0));
    }
    if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        return Some(SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), 0));
    }
    read_addr(bytes)
}

/// The number when `T` can hold it.
#[inline]
fn ranged<T: TryFrom<i64>>(value: Option<i64>, oddities: &mut Oddities) -> Option<T> {
    let value = value?;
    let ranged = T::try_from(value).ok();
    if ranged.is_none() {
        *oddities |= Oddities::BAD_FIELD;
    }
    ranged
}

/// The string when it has exactly `N` bytes.
#[inline]
fn sized<'a, const N: usize>(bytes: Option<&'a [u8]>, oddities: &mut Oddities) -> Option<&'a [u8; N]> {
    let sized = bytes?.try_into().ok();
    if sized.is_none() {
        *oddities |= Oddities::BAD_FIELD;
    }
    sized
}
