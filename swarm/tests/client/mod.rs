//! A DHT and peer-wire client written by hand for these tests, so that the swarm is not judged by its own code.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

/// Longer than any answer takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to tell silence from an answer.
pub const SILENCE: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dict(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    /// Reads one value; returns it and what follows.
    pub fn read(input: &[u8]) -> Option<(Value, &[u8])> {
        match input.first()? {
            b'i' => {
                let end = input.iter().position(|byte| *byte == b'e')?;
                let number = std::str::from_utf8(&input[1..end]).ok()?.parse().ok()?;
                Some((Value::Int(number), &input[end + 1..]))
            }
            b'l' | b'd' => {
                let (mut items, mut rest) = (Vec::new(), &input[1..]);
                while *rest.first()? != b'e' {
                    let (item, after) = Value::read(rest)?;
                    items.push(item);
                    rest = after;
                }
                let value = if input[0] == b'l' {
                    Value::List(items)
                } else {
                    let pairs = items.chunks(2).map(|pair| (pair[0].bytes().to_vec(), pair[1].clone()));
                    Value::Dict(pairs.collect())
                };
                Some((value, &rest[1..]))
            }
            _ => {
                let colon = input.iter().position(|byte| *byte == b':')?;
                let len: usize = std::str::from_utf8(&input[..colon]).ok()?.parse().ok()?;
                let rest = &input[colon + 1..];
                Some((Value::Bytes(rest.get(..len)?.to_vec()), &rest[len..]))
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Dict(pairs) => pairs.get(key.as_bytes()),
            _ => None,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            other => panic!("{other:?} is no string"),
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }
}

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [bytes.len().to_string().as_bytes(), b":", bytes].concat()
}

/// A contact in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    pub id: [u8; 20],
    pub addr: SocketAddr,
}

pub fn endpoint(six: &[u8]) -> SocketAddr {
    let ip: [u8; 4] = six[..4].try_into().unwrap();
    SocketAddr::V4(SocketAddrV4::new(ip.into(), u16::from_be_bytes([six[4], six[5]])))
}

pub fn contacts(reply: &Value) -> Vec<Contact> {
    let Some(nodes) = reply.get("nodes") else { return Vec::new() };
    let nodes = nodes.bytes().chunks_exact(26);
    nodes.map(|n| Contact { id: n[..20].try_into().unwrap(), addr: endpoint(&n[20..]) }).collect()
}

pub fn values(reply: &Value) -> Vec<SocketAddr> {
    reply.get("values").map_or_else(Vec::new, |v| v.list().iter().map(|v| endpoint(v.bytes())).collect())
}

pub fn samples(reply: &Value) -> Vec<[u8; 20]> {
    reply
        .get("samples")
        .map_or_else(Vec::new, |s| s.bytes().chunks_exact(20).map(|h| h.try_into().unwrap()).collect())
}

pub fn distance(a: &[u8; 20], b: &[u8; 20]) -> [u8; 20] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

pub struct Dht {
    socket: UdpSocket,
    next: u32,
}

impl Dht {
    pub fn new(bind: &str) -> Self {
        Self { socket: UdpSocket::bind((bind, 0)).unwrap(), next: 0 }
    }

    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends raw bytes and gives back the whole next datagram from there within `patience`.
    pub fn exchange(&mut self, to: SocketAddr, datagram: &[u8], patience: Duration) -> Option<Vec<u8>> {
        self.socket.send_to(datagram, to).unwrap();
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) if from == to => return Some(buffer[..len].to_vec()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A query; `arguments` are bencoded pairs that sort after `id`. The answer carries our transaction.
    pub fn ask_within(
        &mut self,
        to: SocketAddr,
        method: &str,
        arguments: &[u8],
        patience: Duration,
    ) -> Option<Value> {
        self.next += 1;
        let tid = self.next.to_be_bytes();
        let query = [
            &b"d1:ad2:id20:a crawler of testing"[..],
            arguments,
            b"e1:q",
            &string(method.as_bytes()),
            b"1:t",
            &string(&tid),
            b"1:y1:qe",
        ]
        .concat();
        let answer = self.exchange(to, &query, patience)?;
        let (value, rest) = Value::read(&answer).expect("an answer is bencode");
        assert!(rest.is_empty(), "bytes after an answer");
        assert_eq!(value.get("t").unwrap().bytes(), tid, "an answer echoes the transaction");
        Some(value)
    }

    /// The `r` of the answer to a query that must be answered.
    pub fn ask(&mut self, to: SocketAddr, method: &str, arguments: &[u8]) -> Value {
        let answer = self.ask_within(to, method, arguments, PATIENCE).expect("an answer");
        answer.get("r").unwrap_or_else(|| panic!("{answer:?} is no reply")).clone()
    }

    pub fn find_node(&mut self, to: SocketAddr, target: &[u8; 20]) -> Value {
        self.ask(to, "find_node", &[b"6:target", &string(target)[..]].concat())
    }

    pub fn get_peers(&mut self, to: SocketAddr, hash: &[u8; 20]) -> Value {
        self.ask(to, "get_peers", &[b"9:info_hash", &string(hash)[..]].concat())
    }

    /// The reply of a node that samples, the error code of one that does not know how, or nothing.
    pub fn sample(&mut self, to: SocketAddr, target: &[u8; 20]) -> Option<Result<Value, i64>> {
        let arguments = [b"6:target", &string(target)[..]].concat();
        let answer = self.ask_within(to, "sample_infohashes", &arguments, SILENCE)?;
        Some(match answer.get("r") {
            Some(reply) => Ok(reply.clone()),
            None => Err(answer.get("e").unwrap().list()[0].int()),
        })
    }
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// All pieces arrived; whether they are right is for the caller to say.
    All(Vec<u8>),
    /// The peer closed in order, after so many bytes.
    Closed(usize),
    /// The peer reset the connection.
    Reset,
    /// Nothing more came for a while, after so many bytes.
    Stalled(usize),
    /// The peer has no metadata to give.
    NotOffered,
    /// The peer rejected the request.
    Rejected,
    /// The peer broke the protocol: what it did.
    Broken(String),
}

/// Fetches metadata with `at_once` outstanding requests; each read waits `patience`.
pub fn fetch(peer: SocketAddr, hash: &[u8; 20], at_once: usize, patience: Duration) -> Fetched {
    let mut stream = TcpStream::connect_timeout(&peer, PATIENCE).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut input = Input { stream: stream.try_clone().unwrap(), buffer: Vec::new(), received: 0 };
    let handshake =
        [b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0", &hash[..], b"-XX0000-abcdefghijkl"].concat();
    stream.write_all(&handshake).unwrap();
    fetch_from(&mut stream, &mut input, hash, at_once).unwrap_or_else(|end| end)
}

struct Input {
    stream: TcpStream,
    buffer: Vec<u8>,
    received: usize,
}

impl Input {
    fn take(&mut self, len: usize) -> Result<Vec<u8>, Fetched> {
        let mut part = [0; 4096];
        while self.buffer.len() < len {
            match self.stream.read(&mut part) {
                Ok(0) => return Err(Fetched::Closed(self.received)),
                Ok(count) => {
                    self.received += count;
                    self.buffer.extend_from_slice(&part[..count]);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Fetched::Reset),
                Err(_) => return Err(Fetched::Stalled(self.received)),
            }
        }
        Ok(self.buffer.drain(..len).collect())
    }

    /// The next extended message, among at most 1,000 messages.
    fn extended(&mut self) -> Result<Vec<u8>, Fetched> {
        for _ in 0..1_000 {
            let len = u32::from_be_bytes(self.take(4)?.try_into().unwrap()) as usize;
            if len > 1 << 20 {
                return Err(Fetched::Broken(format!("a message of {len} bytes")));
            }
            let message = self.take(len)?;
            if message.first() == Some(&20) {
                return Ok(message[1..].to_vec());
            }
        }
        Err(Fetched::Broken("a thousand messages of no use".into()))
    }
}

fn fetch_from(
    stream: &mut TcpStream,
    input: &mut Input,
    hash: &[u8; 20],
    at_once: usize,
) -> Result<Fetched, Fetched> {
    let answer = input.take(68)?;
    assert_eq!(answer[..20], *b"\x13BitTorrent protocol");
    assert_eq!(answer[25] & 0x10, 0x10, "the extension protocol is spoken");
    assert_eq!(answer[28..48], *hash);
    let hello = b"\x14\0d1:md11:ut_metadatai7eee";
    stream.write_all(&[&(hello.len() as u32).to_be_bytes()[..], hello].concat()).unwrap();
    let introduction = loop {
        let message = input.extended()?;
        if message[0] == 0 {
            break Value::read(&message[1..]).unwrap().0;
        }
    };
    let id = introduction.get("m").and_then(|m| m.get("ut_metadata")).map(Value::int);
    let size = introduction.get("metadata_size").map(Value::int);
    let (Some(id), Some(size)) = (id, size) else { return Ok(Fetched::NotOffered) };
    if size > 16 << 20 {
        return Ok(Fetched::Broken(format!("metadata of {size} bytes")));
    }
    let mut missing: Vec<usize> = (0..(size as usize).div_ceil(16_384)).rev().collect();
    let mut metadata = vec![0; size as usize];
    let mut outstanding = 0;
    loop {
        while outstanding < at_once {
            let Some(piece) = missing.pop() else { break };
            let request = format!("d8:msg_typei0e5:piecei{piece}ee");
            let message = [&[20, id as u8], request.as_bytes()].concat();
            stream
                .write_all(&[&(message.len() as u32).to_be_bytes()[..], &message].concat())
                .map_err(|_| Fetched::Reset)?;
            outstanding += 1;
        }
        if outstanding == 0 {
            return Ok(Fetched::All(metadata));
        }
        let message = input.extended()?;
        if message[0] != 7 {
            continue;
        }
        let (header, data) = Value::read(&message[1..]).unwrap();
        if header.get("msg_type").unwrap().int() == 2 {
            return Ok(Fetched::Rejected);
        }
        let (piece, total) = (header.get("piece").unwrap().int(), header.get("total_size").unwrap().int());
        let from = piece.wrapping_mul(16_384);
        if total != size || piece < 0 || from >= size || data.len() as i64 != (size - from).min(16_384) {
            return Ok(Fetched::Broken(format!("piece {piece} of {total} bytes, {} bytes long", data.len())));
        }
        metadata[from as usize..from as usize + data.len()].copy_from_slice(data);
        outstanding -= 1;
    }
}
