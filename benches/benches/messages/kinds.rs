//! The types of messages, and which packets are of which.

use krpc::{Kind, Message, Method, NodeId, Want, encode};

use crate::corpus;

/// One type of message with its recorded packets.
#[derive(Debug)]
pub(crate) struct Group {
    /// What it is.
    pub(crate) name: &'static str,
    /// The datagrams.
    pub(crate) packets: Vec<Vec<u8>>,
}

/// Every type, in the order of the tables.
const TYPES: [&str; 15] = [
    "query ping",
    "query find_node",
    "query get_peers",
    "query announce_peer",
    "query sample_infohashes",
    "query get",
    "query put",
    "query of another method",
    "reply to ping",
    "reply with nodes",
    "reply with nodes, token",
    "reply with values",
    "reply with bloom filters",
    "reply with samples",
    "error",
];

/// Which of [`TYPES`] a message is.
fn type_of(message: &Message<'_>) -> &'static str {
    match message.kind {
        Kind::Query(query) => match query.method {
            Method::Ping => "query ping",
            Method::FindNode { .. } => "query find_node",
            Method::GetPeers { .. } => "query get_peers",
            Method::AnnouncePeer { .. } => "query announce_peer",
            Method::SampleInfohashes { .. } => "query sample_infohashes",
            Method::Get { .. } => "query get",
            Method::Put { .. } => "query put",
            Method::Unknown { .. } => "query of another method",
        },
        Kind::Reply(reply) => {
            if reply.samples.is_some() {
                "reply with samples"
            } else if reply.bloom_seeds.is_some() {
                "reply with bloom filters"
            } else if !reply.values.is_empty() {
                "reply with values"
            } else if reply.nodes.is_empty() && reply.nodes6.is_empty() {
                "reply to ping"
            } else if reply.token.is_some() {
                "reply with nodes, token"
            } else {
                "reply with nodes"
            }
        }
        Kind::Error(_) => "error",
    }
}

/// Every recorded packet that is a message, in the order of the recording.
pub(crate) fn recorded() -> Vec<Vec<u8>> {
    corpus::packets()
        .into_iter()
        .map(|packet| packet.bytes)
        .filter(|packet| Message::parse(packet).is_ok())
        .collect()
}

/// The packets by type. Nobody was recorded putting an item, so that one is made.
pub(crate) fn groups(packets: &[Vec<u8>]) -> Vec<Group> {
    let put = put();
    TYPES
        .into_iter()
        .map(|name| {
            let is_of_type =
                |packet: &&Vec<u8>| Message::parse(packet).is_ok_and(|message| type_of(&message) == name);
            Group { name, packets: packets.iter().chain([&put]).filter(is_of_type).cloned().collect() }
        })
        .collect()
}

fn put() -> Vec<u8> {
    let mut datagram = Vec::new();
    encode::Query {
        tid: b"abcd",
        id: NodeId::from_bytes([1; 20]),
        version: None,
        read_only: false,
        want: Want::default(),
        method: Method::Put {
            value: b"5:value",
            token: b"a token",
            key: Some(&[3; 32]),
            signature: Some(&[4; 64]),
            seq: Some(7),
            cas: Some(6),
            salt: Some(b"salt"),
        },
    }
    .encode(&mut datagram);
    datagram
}
