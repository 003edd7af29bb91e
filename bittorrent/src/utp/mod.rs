//! uTP (BEP 29): connections over UDP that give way to other traffic. Some peers take nothing else.
//!
//! [`Utp`] is one UDP socket's worth of connections, as a state machine: datagrams and the time go in, datagrams and the
//! events of streams come out as [`UtpAction`]s. It may share the socket with a DHT: [`is_utp`] tells the datagrams apart.
//!
//! What real clients do and BEP 29 does not say, or says otherwise:
//!
//! - The answer to a SYN carries the number that its sender's first payload will have, so that `ack_nr` is one less
//!   afterwards. The picture in the BEP has it one higher.
//! - First numbers and ids are random, since otherwise anybody could write into a connection that he cannot see.
//! - A reset may carry either id of a connection.
//!
//! ```
//! use std::time::Duration;
//!
//! use bittorrent::utp::{Utp, UtpAction, UtpConfig, UtpOutput};
//!
//! let (ours, theirs) = ("127.0.0.1:1".parse()?, "127.0.0.1:2".parse()?);
//! let (now, mut out) = (Duration::ZERO, UtpOutput::new());
//! let mut utp = Utp::new(UtpConfig::default(), [1; 32]);
//! let connection = utp.connect(now, theirs)?;
//! utp.write(connection, b"hello")?;
//!
//! // Packets leave with the tick, which is due at once. The first asks for the connection.
//! assert_eq!(utp.next_deadline(), Some(Duration::ZERO));
//! utp.tick(now, &mut out);
//! let Some(UtpAction::Send { to, datagram }) = out.drain().next() else { panic!("a SYN") };
//! assert_eq!((to, datagram.len()), (theirs, 20));
//!
//! // The other side takes connections.
//! let mut peer = Utp::new(UtpConfig { accepted_max: 1, ..UtpConfig::default() }, [2; 32]);
//! let mut answer = UtpOutput::new();
//! peer.datagram(now, ours, datagram, &mut answer);
//! peer.tick(now, &mut answer);
//! # let Some(UtpAction::Send { datagram, .. }) = answer.drain().next() else { panic!("an answer") };
//! # utp.datagram(now, theirs, datagram, &mut out);
//! # assert_eq!(out.drain().next(), Some(UtpAction::Opened(connection)));
//! # utp.tick(now, &mut out);
//! # let Some(UtpAction::Send { datagram, .. }) = out.drain().next() else { panic!("data") };
//! # peer.datagram(now, ours, datagram, &mut answer);
//! # assert!(answer.drain().any(|action| matches!(action, UtpAction::Data { bytes: b"hello", .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod connection;
mod counters;
mod endpoint;
mod ledbat;
mod output;
mod packet;
mod reassembly;
mod rtt;
mod send_queue;
mod sequence;
mod timers;

pub use config::UtpConfig;
pub use counters::UtpCounters;
pub use endpoint::{Utp, UtpConnectError, UtpHandle, UtpWriteError};
pub use output::{UtpAction, UtpOutput};
pub use packet::{HEADER_BYTES, Packet, PacketError, PacketKind, SelectiveAck, is_utp};
pub use sequence::SeqNr;
