//! The connections of fetches: what the resolver wants done as commands, and what becomes of them as its events.

mod utp_ports;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bittorrent::{CloseHow, Disconnect, Slot};
use tea_runtime::{Close, CloseReason, Cmd, StreamLimits};

pub(super) use utp_ports::{UtpEvent, UtpPorts};

use super::{
    indexer::Indexer,
    message::{Key, Msg},
    resolver::Wire,
};

/// What happens to a connection, whatever carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening<'a> {
    /// It stands.
    Opened,
    /// Bytes have come.
    Data(&'a [u8]),
    /// It is gone, or was not made.
    Closed(Disconnect),
}

/// Connections by TCP, which the runtime keeps, and by uTP, which are kept here.
#[derive(Debug)]
pub(super) struct Connections {
    connect_from: Vec<IpAddr>,
    /// Those by uTP.
    pub(super) utp: UtpPorts,
}

/// How uTP is used.
#[derive(Clone, Copy, Debug)]
pub struct UtpPlan {
    /// From this, numbers that nobody is to guess are drawn.
    pub seed: [u8; 32],
    /// Packets sent in all.
    pub packets_per_second: u32,
}

impl Connections {
    /// None yet. `utp` is `None`: uTP is not used.
    pub(super) fn new(
        connect_from: Vec<IpAddr>,
        ports: &[SocketAddr],
        utp: Option<UtpPlan>,
        connections_max: usize,
        accepted_max: usize,
        loopback_only: bool,
    ) -> Self {
        let utp_ports = UtpPorts::new(ports, utp, connections_max, accepted_max, loopback_only);
        Self { connect_from, utp: utp_ports }
    }

    /// Does on the network what a fetch wants done.
    pub(super) fn carry(
        &mut self,
        now: Duration,
        cmd: &mut Cmd<Indexer>,
        job: u32,
        slot: Slot,
        wire: Wire<'_>,
    ) {
        self.act(now, cmd, Key::Peer { fetch: job, slot: slot.number() }, job, wire);
    }

    /// Does on the network what is wanted of a connection. `turn` decides from which of our addresses and ports it is made.
    pub(super) fn act(&mut self, now: Duration, cmd: &mut Cmd<Indexer>, key: Key, turn: u32, wire: Wire<'_>) {
        match wire {
            Wire::Connect { addr, transport, .. } if transport.is_utp() => {
                self.utp.connect(now, key, addr, turn);
            }
            Wire::Connect { addr, timeout, .. } => {
                let limits = StreamLimits {
                    connect_timeout: timeout,
                    // The fetch has time limits of its own for each stage; these are for what escapes it.
                    idle_timeout: STREAM_IDLE,
                    lifetime_max: STREAM_LIFETIME,
                    read_bytes_max: STREAM_BYTES_MAX,
                    write_queue_bytes_max: STREAM_WRITES_MAX,
                    bind: local_for(&self.connect_from, addr.ip(), turn),
                    ..StreamLimits::default()
                };
                cmd.connect(key, addr, limits, Msg::Stream);
            }
            Wire::Write(bytes) => {
                if !self.utp.write(now, key, bytes) {
                    cmd.write(key, |buffer| buffer.extend_from_slice(bytes));
                }
            }
            Wire::Close(how) => {
                if !self.utp.close(now, key, how) {
                    let how = match how {
                        CloseHow::Flush => Close::Flush,
                        CloseHow::Reset => Close::Reset,
                    };
                    cmd.close(key, how);
                }
            }
        }
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

/// Handshakes and ten requests are less than 2 KiB; what is given at once on a connection that goes on are 128 KiB, and a
/// second of it twice as much.
const STREAM_WRITES_MAX: usize = 512 << 10;

/// Of connections that others open: beyond the longest time that we give them.
pub(super) fn visitor_limits() -> StreamLimits {
    StreamLimits {
        idle_timeout: Duration::from_secs(60),
        lifetime_max: Duration::from_secs(150),
        // What may be skipped, and some messages.
        read_bytes_max: 8 << 20,
        write_queue_bytes_max: STREAM_WRITES_MAX,
        ..StreamLimits::default()
    }
}

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
