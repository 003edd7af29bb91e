//! One UDP socket that is at every loopback address at once.
//!
//! Bound to 0.0.0.0, it gets what is sent to any address of 127.0.0.0/8, since the whole block is local; IP_PKTINFO
//! tells which one, and makes the answer leave from there. Nothing else of the machine is touched: datagrams to
//! other addresses are dropped on arrival, and [`Datagrams::send`] refuses other destinations.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::address;
use crate::error::SwarmError;

/// Largest datagram taken; longer ones are cut and fail to parse.
pub(crate) const DATAGRAM_MAX: usize = 4_096;
/// Kernel buffer asked for: some seconds of a fast crawler's queries. The system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long a receive waits, and so how late the end of the swarm is noticed.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(50);

pub(crate) struct Datagrams {
    socket: UdpSocket,
    control: Vec<u8>,
}

/// A datagram's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) from: SocketAddrV4,
    /// The loopback address that it was sent to.
    pub(crate) to: Ipv4Addr,
    pub(crate) len: usize,
}

impl Datagrams {
    pub(crate) fn bind(port: u16) -> Result<Self, SwarmError> {
        let open = || -> io::Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
            Ok(socket.into())
        };
        let socket = open().map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => SwarmError::PortInUse { protocol: "UDP", port },
            _ => SwarmError::System { action: "open its UDP port", source },
        })?;
        Ok(Self { socket, control: nix::cmsg_space!(in_pktinfo) })
    }

    pub(crate) fn port(&self) -> Result<u16, SwarmError> {
        let address = self.socket.local_addr();
        Ok(address.map_err(|source| SwarmError::System { action: "name its UDP port", source })?.port())
    }

    /// Waits up to 50 ms for a datagram between loopback addresses.
    pub(crate) fn receive(&mut self, buffer: &mut [u8; DATAGRAM_MAX]) -> io::Result<Option<Envelope>> {
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let control = Some(&mut self.control[..]);
        let message = match recvmsg::<SockaddrIn>(fd, &mut parts, control, MsgFlags::empty()) {
            Ok(message) => message,
            // A refused earlier answer is reported on the next call; it concerns nobody.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut to = None;
        for header in message.cmsgs()? {
            if let ControlMessageOwned::Ipv4PacketInfo(info) = header {
                to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
            }
        }
        let from = message.address.map(SocketAddrV4::from);
        Ok(from
            .zip(to)
            .filter(|(from, to)| address::is_loopback(from) && to.is_loopback())
            .map(|(from, to)| Envelope { from, to, len: message.bytes }))
    }

    /// Sends to a loopback address, from a loopback address.
    pub(crate) fn send(&self, from: Ipv4Addr, to: SocketAddrV4, datagram: &[u8]) -> io::Result<()> {
        assert!(
            address::is_loopback(&to) && from.is_loopback(),
            "the swarm stays on loopback, not {from} to {to}"
        );
        let source = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: u32::from(from).to_be() },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let parts = [IoSlice::new(datagram)];
        let control = [ControlMessage::Ipv4PacketInfo(&source)];
        sendmsg(
            self.socket.as_raw_fd(),
            &parts,
            &control,
            MsgFlags::MSG_DONTWAIT,
            Some(&SockaddrIn::from(to)),
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_loopback_address_is_answered_from_itself() {
        let mut datagrams = Datagrams::bind(0).unwrap();
        let port = datagrams.port().unwrap();
        let client = UdpSocket::bind("127.0.0.77:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; DATAGRAM_MAX];
        for ip in [Ipv4Addr::new(127, 1, 2, 3), Ipv4Addr::new(127, 255, 0, 9), Ipv4Addr::new(127, 0, 0, 1)] {
            client.send_to(b"ping", (ip, port)).unwrap();
            let envelope = loop {
                if let Some(envelope) = datagrams.receive(&mut buffer).unwrap() {
                    break envelope;
                }
            };
            assert_eq!((envelope.to, &buffer[..envelope.len]), (ip, &b"ping"[..]));
            datagrams.send(envelope.to, envelope.from, b"pong").unwrap();
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"pong"[..], SocketAddrV4::new(ip, port).into()));
        }
    }

    #[test]
    #[should_panic(expected = "stays on loopback")]
    fn nothing_is_sent_to_the_world() {
        let datagrams = Datagrams::bind(0).unwrap();
        let _ = datagrams.send(Ipv4Addr::LOCALHOST, "192.0.2.1:6881".parse().unwrap(), b"x");
    }

    #[test]
    fn a_port_that_is_taken_is_named_in_the_error() {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = Datagrams::bind(port).err().unwrap();
        assert!(error.to_string().starts_with(&format!("UDP port {port} is already in use")), "{error}");
    }
}
