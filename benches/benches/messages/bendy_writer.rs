//! The peer in encoding: `bendy` writing the same datagrams.
//!
//! Its encoder returns a vector of its own for each document and checks the order of the keys.

use std::net::{IpAddr, SocketAddr};

use bendy::encoding::{Encoder, Error, SingleItemEncoder, SortedDictEncoder};
use krpc::{ClientVersion, CompactNode, Method, Want, encode};

/// Bytes that a value is put together in, used again and again.
pub(crate) type Scratch = Vec<u8>;

pub(crate) fn query(query: &encode::Query<'_>) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new();
    encoder.emit_dict(|mut outer| {
        outer.emit_pair_with(b"a", |a| a.emit_dict(|a| arguments(query, a)))?;
        bytes(&mut outer, b"q", query.method.name())?;
        if query.read_only {
            outer.emit_pair(b"ro", 1)?;
        }
        bytes(&mut outer, b"t", query.tid)?;
        version(&mut outer, query.version)?;
        bytes(&mut outer, b"y", b"q")
    })?;
    encoder.get_output()
}

fn arguments(query: &encode::Query<'_>, mut a: SortedDictEncoder<'_>) -> Result<(), Error> {
    if let Method::Put { cas: Some(cas), .. } = query.method {
        a.emit_pair(b"cas", cas)?;
    }
    bytes(&mut a, b"id", query.id.as_bytes())?;
    match query.method {
        Method::Ping => {}
        Method::FindNode { target } | Method::SampleInfohashes { target } => {
            bytes(&mut a, b"target", target.as_bytes())?;
        }
        Method::GetPeers { info_hash, noseed, scrape } => {
            bytes(&mut a, b"info_hash", info_hash.as_bytes())?;
            flag(&mut a, b"noseed", noseed)?;
            flag(&mut a, b"scrape", scrape)?;
        }
        Method::AnnouncePeer { info_hash, port, implied_port, seed, token, name } => {
            flag(&mut a, b"implied_port", implied_port)?;
            bytes(&mut a, b"info_hash", info_hash.as_bytes())?;
            optional(&mut a, b"n", name)?;
            a.emit_pair(b"port", port)?;
            flag(&mut a, b"seed", seed)?;
            bytes(&mut a, b"token", token)?;
        }
        Method::Get { target, seq } => {
            integer(&mut a, b"seq", seq)?;
            bytes(&mut a, b"target", target.as_bytes())?;
        }
        Method::Put { value, token, key, signature, seq, salt, cas: _ } => {
            optional(&mut a, b"k", key.map(AsRef::as_ref))?;
            optional(&mut a, b"salt", salt)?;
            integer(&mut a, b"seq", seq)?;
            optional(&mut a, b"sig", signature.map(AsRef::as_ref))?;
            bytes(&mut a, b"token", token)?;
            raw(&mut a, b"v", value)?;
        }
        Method::Unknown { target, .. } => {
            if let Some(target) = target {
                bytes(&mut a, b"target", target.as_bytes())?;
            }
        }
    }
    if query.want != Want::default() {
        a.emit_pair_with(b"want", |want| {
            want.emit_list(|list| {
                if query.want.n4 {
                    list.emit_bytes(b"n4")?;
                }
                if query.want.n6 {
                    list.emit_bytes(b"n6")?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

pub(crate) fn reply(reply: &encode::Reply<'_>, scratch: &mut Scratch) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new();
    encoder.emit_dict(|mut outer| {
        if let Some(ip) = reply.ip {
            endpoint(scratch, ip);
            bytes(&mut outer, b"ip", scratch)?;
        }
        outer.emit_pair_with(b"r", |r| r.emit_dict(|r| results(reply, scratch, r)))?;
        raw(&mut outer, b"t", reply.tid.raw())?;
        version(&mut outer, reply.version)?;
        bytes(&mut outer, b"y", b"r")
    })?;
    encoder.get_output()
}

fn results(
    reply: &encode::Reply<'_>,
    scratch: &mut Scratch,
    mut r: SortedDictEncoder<'_>,
) -> Result<(), Error> {
    optional(&mut r, b"BFpe", reply.bloom_peers.map(AsRef::as_ref))?;
    optional(&mut r, b"BFsd", reply.bloom_seeds.map(AsRef::as_ref))?;
    bytes(&mut r, b"id", reply.id.as_bytes())?;
    integer(&mut r, b"interval", reply.interval.map(i64::from))?;
    optional(&mut r, b"k", reply.key.map(AsRef::as_ref))?;
    if let Some(list) = reply.nodes {
        nodes(scratch, list.iter().filter(|node| node.addr.is_ipv4()));
        bytes(&mut r, b"nodes", scratch)?;
    }
    if let Some(list) = reply.nodes6 {
        nodes(scratch, list.iter().filter(|node| node.addr.is_ipv6()));
        bytes(&mut r, b"nodes6", scratch)?;
    }
    if let Some(num) = reply.num {
        r.emit_pair(b"num", num)?;
    }
    if let Some(samples) = reply.samples {
        scratch.clear();
        for sample in samples {
            scratch.extend_from_slice(sample.as_bytes());
        }
        bytes(&mut r, b"samples", scratch)?;
    }
    integer(&mut r, b"seq", reply.seq)?;
    optional(&mut r, b"sig", reply.signature.map(AsRef::as_ref))?;
    optional(&mut r, b"token", reply.token)?;
    if let Some(value) = reply.value {
        raw(&mut r, b"v", value)?;
    }
    if !reply.values.is_empty() {
        r.emit_pair_with(b"values", |values| {
            values.emit_list(|list| {
                for addr in reply.values {
                    endpoint(scratch, *addr);
                    list.emit_bytes(scratch)?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

pub(crate) fn error(error: &encode::Error<'_>, scratch: &mut Scratch) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new();
    encoder.emit_dict(|mut outer| {
        outer.emit_pair_with(b"e", |e| {
            e.emit_list(|list| {
                list.emit_int(error.code.0)?;
                list.emit_bytes(error.text.as_bytes())
            })
        })?;
        if let Some(ip) = error.ip {
            endpoint(scratch, ip);
            bytes(&mut outer, b"ip", scratch)?;
        }
        raw(&mut outer, b"t", error.tid.raw())?;
        version(&mut outer, error.version)?;
        bytes(&mut outer, b"y", b"e")
    })?;
    encoder.get_output()
}

fn bytes(dict: &mut SortedDictEncoder<'_>, key: &[u8], value: &[u8]) -> Result<(), Error> {
    dict.emit_pair_with(key, |item: SingleItemEncoder<'_>| item.emit_bytes(value))
}

fn optional(dict: &mut SortedDictEncoder<'_>, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
    value.map_or(Ok(()), |value| bytes(dict, key, value))
}

fn integer(dict: &mut SortedDictEncoder<'_>, key: &[u8], value: Option<i64>) -> Result<(), Error> {
    value.map_or(Ok(()), |value| dict.emit_pair(key, value))
}

fn flag(dict: &mut SortedDictEncoder<'_>, key: &[u8], set: bool) -> Result<(), Error> {
    if set { dict.emit_pair(key, 1) } else { Ok(()) }
}

/// A value that is a string of known length already (`4:abcd`): its content. bendy takes no raw values.
fn raw(dict: &mut SortedDictEncoder<'_>, key: &[u8], value: &[u8]) -> Result<(), Error> {
    let content = value.iter().position(|byte| *byte == b':').map_or(value, |colon| &value[colon + 1..]);
    bytes(dict, key, content)
}

fn version(dict: &mut SortedDictEncoder<'_>, version: Option<ClientVersion>) -> Result<(), Error> {
    version.map_or(Ok(()), |version| bytes(dict, b"v", version.as_bytes()))
}

fn nodes<'a>(scratch: &mut Scratch, nodes: impl Iterator<Item = &'a CompactNode>) {
    scratch.clear();
    for node in nodes {
        scratch.extend_from_slice(node.id.as_bytes());
        append(scratch, node.addr);
    }
}

fn endpoint(scratch: &mut Scratch, endpoint: SocketAddr) {
    scratch.clear();
    append(scratch, endpoint);
}

fn append(scratch: &mut Scratch, endpoint: SocketAddr) {
    match endpoint.ip() {
        IpAddr::V4(ip) => scratch.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => scratch.extend_from_slice(&ip.octets()),
    }
    scratch.extend_from_slice(&endpoint.port().to_be_bytes());
}
