//! The socket of a UDP port: receives and sends many datagrams with one system call where the system can, else one by one.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU8, Ordering},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::{
    UdpPort,
    inbox::{Expectation, Inbox},
    mmsg,
    outbox::Outgoing,
};

/// A bound socket that never blocks.
pub(crate) struct PortSocket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Whether to receive many at once.
    recvmmsg: Call,
    /// Whether to send many at once.
    sendmmsg: Call,
}

/// What became of some datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// How many of them the kernel took or refused; the others are to be sent when the socket has space again.
    pub(crate) done: usize,
    /// How many it took.
    pub(crate) datagrams: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How many it refused.
    pub(crate) refused: u64,
}

impl PortSocket {
    /// Binds. Needs to be on the thread, or entered the tokio runtime, that will wait for it.
    pub(crate) fn bind(port: &UdpPort, batched: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(port.bind), Type::DGRAM, Some(Protocol::UDP))?;
        if port.bind.is_ipv6() {
            // So that IPv4 and IPv6 may share a port number, and no address comes as ::ffff:a.b.c.d.
            socket.set_only_v6(true)?;
        }
        // The kernel silently gives less than asked for if its limit (net.core.rmem_max) is lower; that is no reason to stop.
        if let Err(error) = socket.set_recv_buffer_size(port.recv_buffer_bytes) {
            tracing::debug!(bind = %port.bind, %error, "receive buffer not set");
        }
        socket.set_nonblocking(true)?;
        socket.bind(&port.bind.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, recvmmsg: Call::new(batched), sendmmsg: Call::new(batched) })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives up to `count_max` datagrams of up to `bytes_max` bytes, what is longer cut off, and hands each to `take`. Without
    /// an error at least one came.
    pub(crate) fn receive(
        &self,
        expectation: &mut Expectation,
        count_max: usize,
        bytes_max: usize,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<()> {
        Inbox::with(bytes_max, |inbox| {
            let asked = expectation.ask(count_max);
            self.receive_into(inbox, asked)?;
            let mut received = 0;
            for (from, payload) in inbox.arrived() {
                take(from, payload);
                received += 1;
            }
            expectation.learn(asked, received);
            Ok(())
        })
    }

    fn receive_into(&self, inbox: &mut Inbox, count: usize) -> io::Result<()> {
        if self.recvmmsg.is_usable() {
            match self.receive_many(inbox, count) {
                Err(error) if self.recvmmsg.is_refused(&error) => self.one_by_one("recvmmsg", &error),
                result => return result,
            }
        }
        let (slots, arrived) = inbox.slots();
        for slot in slots.take(count) {
            match self.socket.try_recv_from(slot) {
                Ok(datagram) => arrived.push(datagram),
                // Nothing more, or an error that is told before the next datagram.
                Err(_) if !arrived.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// When fewer come than were asked for, the kernel has no more. Saying so to tokio at once spares the call that would only
    /// find it out; what arrives after that wakes the reader again.
    fn receive_many(&self, inbox: &mut Inbox, count: usize) -> io::Result<()> {
        let mut received = 0;
        let result = self.socket.try_io(Interest::READABLE, || {
            received = mmsg::receive(&self.socket, inbox, count, self.local.is_ipv6())?;
            if received < count { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if received == 0 {
            return result;
        }
        self.recvmmsg.works();
        Ok(())
    }

    /// Gives datagrams, whose bytes lie in `arena`, to the kernel until it has no more space. What it refuses is given up and
    /// does not keep the others from leaving.
    ///
    /// Goes to the socket directly instead of through tokio's readiness, which is unknown until the first wake-up: what a
    /// program sends right after binding would all have to wait.
    pub(crate) fn send(&self, arena: &[u8], datagrams: &[Outgoing]) -> Sent {
        let mut sent = Sent::default();
        loop {
            let (first, rest) = match &datagrams[sent.done..] {
                [] => return sent,
                [first, rest @ ..] => (first, rest),
            };
            let mut about = None;
            if self.sendmmsg.is_usable() && !rest.is_empty() {
                match mmsg::send(&self.socket, arena, &datagrams[sent.done..], self.local.is_ipv6()) {
                    Ok(count) => {
                        self.sendmmsg.works();
                        sent.took(&datagrams[sent.done..][..count]);
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                    // About the first, about an earlier one, or about the call: sending the first alone tells.
                    Err(error) => about = Some(error),
                }
            }
            match self.send_one(first.to, first.payload(arena)) {
                Ok(()) => {
                    if let Some(error) = about.filter(|error| self.sendmmsg.is_refused(error)) {
                        self.one_by_one("sendmmsg", &error);
                    }
                    sent.took(std::slice::from_ref(first));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(_) => {
                    sent.done += 1;
                    sent.refused += 1;
                }
            }
        }
    }

    /// Waits until the socket has space and sends as [`send`](Self::send); at least one is done.
    pub(crate) async fn send_when_writable(&self, arena: &[u8], datagrams: &[Outgoing]) -> io::Result<Sent> {
        self.socket
            .async_io(Interest::WRITABLE, || {
                let sent = self.send(arena, datagrams);
                if sent.done == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent) }
            })
            .await
    }

    fn send_one(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let (socket, to) = (SockRef::from(&self.socket), to.into());
        match socket.send_to(payload, &to) {
            // An ICMP answer to an earlier datagram is reported here, and this one was not sent.
            Err(error) if is_about_another_datagram(&error) => socket.send_to(payload, &to).map(drop),
            result => result.map(drop),
        }
    }

    fn one_by_one(&self, call: &str, error: &io::Error) {
        tracing::debug!(local = %self.local, call, %error, "not available: datagrams go one by one");
    }
}

/// Whether a system call for many datagrams is there to be used.
struct Call(AtomicU8);

impl Call {
    const UNTRIED: u8 = 0;
    const WORKS: u8 = 1;
    const UNUSABLE: u8 = 2;

    fn new(wanted: bool) -> Self {
        Self(AtomicU8::new(if wanted { Self::UNTRIED } else { Self::UNUSABLE }))
    }

    fn is_usable(&self) -> bool {
        self.0.load(Ordering::Relaxed) != Self::UNUSABLE
    }

    fn works(&self) {
        if self.0.load(Ordering::Relaxed) == Self::UNTRIED {
            self.0.store(Self::WORKS, Ordering::Relaxed);
        }
    }

    /// Whether `error` says that the system has no such call or that a sandbox forbids it. Then it is not used any more. Once
    /// it has worked it is there: a firewall too says "not permitted", about a datagram.
    fn is_refused(&self, error: &io::Error) -> bool {
        let refused = self.0.load(Ordering::Relaxed) == Self::UNTRIED
            && matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied);
        if refused {
            self.0.store(Self::UNUSABLE, Ordering::Relaxed);
        }
        refused
    }
}

impl Sent {
    fn took(&mut self, datagrams: &[Outgoing]) {
        self.done += datagrams.len();
        self.datagrams += datagrams.len() as u64;
        self.bytes += datagrams.iter().map(|datagram| datagram.len() as u64).sum::<u64>();
    }
}

/// Whether the kernel reports on a socket call what an ICMP message said about an earlier datagram. Such an error says
/// nothing about the socket: anybody on the path can cause it.
pub(crate) fn is_about_another_datagram(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_icmp_answer_is_not_an_error_of_the_port() {
        for errno in [/* ECONNREFUSED */ 111, /* EHOSTUNREACH */ 113, /* ENETUNREACH */ 101] {
            assert!(is_about_another_datagram(&io::Error::from_raw_os_error(errno)), "errno {errno}");
        }
        assert!(!is_about_another_datagram(&io::Error::from_raw_os_error(/* EBADF */ 9)));
    }

    #[test]
    fn a_call_that_the_system_lacks_or_forbids_is_tried_once() {
        for errno in [/* EPERM */ 1, /* ENOSYS */ 38] {
            let call = Call::new(true);
            assert!(
                call.is_usable() && call.is_refused(&io::Error::from_raw_os_error(errno)),
                "errno {errno}"
            );
            assert!(!call.is_usable());
        }
        assert!(!Call::new(false).is_usable());
    }

    #[test]
    fn a_call_that_has_worked_stays_usable_whatever_a_firewall_says() {
        let call = Call::new(true);
        assert!(!call.is_refused(&io::Error::from_raw_os_error(/* EMSGSIZE */ 90)));
        call.works();
        assert!(!call.is_refused(&io::Error::from_raw_os_error(/* EPERM */ 1)));
        assert!(call.is_usable());
    }
}
