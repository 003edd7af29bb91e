//! Bencode, node ids, compact addresses and KRPC messages of the BitTorrent Mainline DHT.
//!
//! Bytes in, messages out, and back: the crate knows no socket, no clock and no source of
//! randomness of its own. [`Message::parse`] reads one datagram in a single pass, borrows
//! everything from it and allocates nothing; the types in [`encode`] append to a buffer of the
//! caller. What arrives is read leniently (real clients send unsorted keys, odd lengths, trailing
//! bytes) and what was odd is reported as [`Oddities`]; what is sent is always canonical.
//!
//! ```
//! use krpc::{InfoHash, Kind, Message, Method, NodeId, Tid, Want, encode};
//!
//! // Ask for the peers of a torrent...
//! let mut datagram = Vec::new();
//! encode::Query {
//!     tid: b"\x00\x00\x00\x2a",
//!     id: NodeId::from_bytes(*b"abcdefghij0123456789"),
//!     version: None,
//!     read_only: false,
//!     want: Want::default(),
//!     method: Method::GetPeers {
//!         info_hash: InfoHash::from_bytes(*b"mnopqrstuvwxyz123456"),
//!         noseed: false,
//!         scrape: false,
//!     },
//! }
//! .encode(&mut datagram);
//!
//! // ...and be the one who is asked.
//! let message = Message::parse(&datagram)?;
//! assert_eq!(message.tid.bytes(), Some(&b"\x00\x00\x00\x2a"[..]));
//! let Kind::Query(query) = message.kind else { panic!("a query was sent") };
//! assert_eq!(query.method.name(), b"get_peers");
//!
//! // Answer it with one peer and a token.
//! let mut answer = Vec::new();
//! encode::Reply {
//!     token: Some(b"aoeusnth"),
//!     values: &["192.0.2.7:6881".parse()?],
//!     ..encode::Reply::new(message.tid, NodeId::from_bytes(*b"0123456789abcdefghij"))
//! }
//! .encode(&mut answer);
//! assert_eq!(
//!     answer,
//!     b"d1:rd2:id20:0123456789abcdefghij5:token8:aoeusnth6:valuesl6:\xc0\x00\x02\x07\x1a\xe1ee1:t4:\x00\x00\x00\x2a1:y1:re"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bencode;
pub mod bep42;
pub mod bep44;
pub mod bloom;
mod client;
mod compact;
pub mod encode;
mod error;
mod id;
mod message;
mod oddities;
mod parse;

pub use client::ClientVersion;
pub use compact::{CompactNode, Nodes, NodesIter, Samples, SamplesIter, Values, ValuesIter, read_addr};
pub use error::{ErrorCode, ParseError};
pub use id::{Distance, IdError, InfoHash, NodeId};
pub use message::{ErrorReply, Kind, Message, Method, Query, Reply, Tid, Want};
pub use oddities::Oddities;
