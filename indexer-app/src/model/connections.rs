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
                bind: local_for(connect_from, addr.ip(), job),
                ..StreamLimits::default()
            };
            cmd.connect(key, addr, limits, Msg::Stream);
        }
        Wire::Write(bytes) => cmd.write(key, |buffer| buffer.extend_from_slice(bytes)),
        Wire::Flush => cmd.close(key, Close::Flush),
        Wire::Reset => cmd.close(key, Close::Reset),
    }
}

/// The local address to connect from: in turn one of those of the peer's family; none when there is none, so that the system
/// chooses.
fn local_for(connect_from: &[IpAddr], peer: IpAddr, turn: u32) -> Option<IpAddr> {
    let of_family = || connect_from.iter().filter(|local| local.is_ipv4() == peer.is_ipv4());
    of_family().nth(turn as usize % of_family().count().max(1)).copied()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_reached_from_an_address_of_its_own_family() {
        let locals = ["127.0.0.1", "::1", "127.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let (four, six): (IpAddr, IpAddr) = ("127.9.9.9".parse().unwrap(), "::1".parse().unwrap());
        assert_eq!(
            [0, 1, 2].map(|turn| local_for(&locals, four, turn)),
            [0, 2, 0].map(|at| Some(locals[at]))
        );
        assert_eq!([0, 1].map(|turn| local_for(&locals, six, turn)), [Some(locals[1]); 2]);
        assert_eq!(local_for(&locals[..1], six, 5), None);
    }
}
