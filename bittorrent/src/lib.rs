//! From an info-hash to a verified info dict, and from that to a torrent.
//!
//! Everything here is a state machine or a parser: no socket, no clock, no randomness of its own. Time is an argument
//! (`now`, since an origin of the owner's choice), bytes come in as slices, and what is to be done comes out as
//! [`Action`]s in a reused [`Output`].
//!
//! - [`Fetch`] gets one info dict from several peers over the peer wire (BEP 3, 9, 10) and verifies it.
//! - [`MetadataServer`] gives info dicts to peers that ask for them.
//! - [`mse`] is the message stream encryption that some peers insist on.
//! - [`Torrent`] is what an info dict (v1, v2 or hybrid; BEP 3, 47, 52) says, with its names made readable.
//! - [`utp`] is uTP (BEP 29): connections over UDP, the only ones that some peers take.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use bittorrent::{Action, Candidate, Fetch, FetchConfig, InfoLimits, Output, PeerId, PeerSource, Torrent};
//!
//! let config = Arc::new(FetchConfig::new(PeerId::from_bytes(*b"-ix0100-0123456789ab")));
//! config.check()?;
//! let info_hash = "b1f2ba65b6cbbae4dd9f5fddcbc67d03d8b4e0f1".parse()?;
//! let (mut out, now) = (Output::new(), Duration::ZERO);
//!
//! // An endpoint is offered, and the fetch wants a connection to it.
//! let mut fetch = Fetch::new(info_hash, config, now);
//! fetch.add_candidate(now, Candidate::new("127.0.0.1:6881".parse()?, PeerSource::Lookup), &mut out);
//! let Some(Action::Connect { slot, .. }) = out.drain().next() else { panic!("a connect") };
//!
//! // The connection stands, and the fetch opens the conversation. Then bytes go to `peer_data`, the end of the connection
//! // to `peer_closed`, and time to `tick` at `next_deadline`, until `Done` or `Failed` comes out.
//! fetch.peer_opened(now, slot, &mut out);
//! let Some(Action::Write { bytes, .. }) = out.drain().next() else { panic!("a handshake") };
//! assert!(bytes.starts_with(b"\x13BitTorrent protocol"));
//!
//! // The bytes that `Done` brings are read as a torrent.
//! let raw = b"d6:lengthi700e4:name8:file.iso12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
//! let torrent = Torrent::parse(raw, &InfoLimits::default())?;
//! assert_eq!((torrent.name.as_str(), torrent.total_size), ("file.iso", 700));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod assembly;
mod byte_budget;
mod candidates;
mod channel;
mod counters;
mod display_safe;
pub mod extension_handshake;
mod fetch;
mod fetch_config;
mod file_list;
mod file_tree;
pub mod handshake;
mod info_dict;
mod metadata_server;
pub mod mse;
mod names;
mod outcome;
mod peer_fault;
mod peer_id;
mod peer_session;
mod request_pipeline;
mod torrent;
mod transport;
pub mod ut_metadata;
pub mod ut_pex;
pub mod utp;
pub mod wire;

pub use action::{Action, CloseHow, Output, Slot};
pub use byte_budget::ByteBudget;
pub use candidates::{Admission, Candidate, PeerSource};
pub use counters::{FetchCounters, TransportCounters};
pub use display_safe::{display_safe, display_safe_path};
pub use fetch::Fetch;
pub use fetch_config::{ConfigError, ENDPOINTS_CEILING, FetchConfig};
pub use handshake::{Handshake, HandshakeReader};
pub use info_dict::{InfoError, InfoLimits, SOURCE_BYTES_MAX};
pub use metadata_server::{GivingConfig, GivingEnd, Handover, MetadataServer};
pub use outcome::{
    ConnectFailure, Disconnect, FailReason, FetchFailure, Fetched, PeerOutcome, PeerReport, Stage, VerifiedBy,
};
pub use peer_fault::PeerFault;
pub use peer_id::PeerId;
pub use peer_session::{PeerEvent, PeerLimits, PeerSession, PeerTimer};
pub use request_pipeline::WINDOW_MAX;
pub use torrent::{File, Hashes, Torrent, TorrentOddities, Version};
pub use transport::{Transport, TransportPolicy, TransportSet};
