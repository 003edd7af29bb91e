//! The connections of fetches: what the resolver wants done as commands, and what becomes of them as its events.

use std::{net::IpAddr, time::Duration};

use bittorrent::{Disconnect, Slot};
use tea_runtime::{Close, CloseReason, Cmd, StreamLimits};

use super::{
    indexer::Indexer,
    message::{Key, Msg},
    resolver::Wire,
};

/// Does on the network what a fetch wants done.
pub(super) fn carry(cmd: &mut Cmd<Indexer>, connect_from: &[IpAddr], job: u32, slot: Slot, wire: Wire<'_>) {
    let key = Key::Peer { fetch: job, slot: slot.number() };
    match wire {
        Wire::Connect { addr, timeout } => {
            let limits = StreamLimits {
                connect_timeout: timeout,
                // The fetch has time limits of its own for each stage; these are for what escapes it.
                idle_timeout: STREAM_IDLE,
                lifetime_max: STREAM_LIFETIME,
                read_bytes_max: STREAM_BYTES_MAX,
                write_queue_bytes_max: STREAM_WRITES_MAX,
                bind: connect_from.get(job as usize % connect_from.len().max(1)).copied(),
                ..StreamLimits::default()
            };
            cmd.connect(key, addr, limits, Msg::Stream);
        }
        Wire::Write(bytes) => cmd.write(key, |buffer| buffer.extend_from_slice(bytes)),
        Wire::Flush => cmd.close(key, Close::Flush),
        Wire::Reset => cmd.close(key, Close::Reset),
    }
}

/// What the end of a stream means to a fetch.
pub(super) fn disconnect(reason: &CloseReason) -> Disconnect {
    match reason {
        CloseReason::Eof => Disconnect::Eof,
        CloseReason::Reset => Disconnect::Reset,
        CloseReason::Refused => Disconnect::Refused,
        CloseReason::Unreachable => Disconnect::Unreachable,
        CloseReason::ConnectTimeout
        | CloseReason::IdleTimeout
        | CloseReason::LifetimeExceeded
        | CloseReason::WriteTimeout => Disconnect::Timeout,
        CloseReason::Overload => Disconnect::Overload,
        _ => Disconnect::Other,
    }
}

/// Beyond the longest stage of a fetch.
const STREAM_IDLE: Duration = Duration::from_secs(30);

/// Beyond the longest fetch.
const STREAM_LIFETIME: Duration = Duration::from_secs(900);

/// Twice the largest info dict that can be asked for, and what is skipped beside it.
const STREAM_BYTES_MAX: u64 = 576 << 20;

/// Handshakes and ten requests are less than 2 KiB.
const STREAM_WRITES_MAX: usize = 64 << 10;
