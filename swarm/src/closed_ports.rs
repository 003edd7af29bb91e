//! Ports where nobody takes a connection.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::SwarmError;

/// Held as long as the swarm runs, so that nobody else gets the ports.
#[derive(Debug)]
pub(crate) struct ClosedPorts {
    /// Bound, and nobody listens: connections are refused.
    refusing: Socket,
    /// Its queue is full and nobody empties it: the system does not answer.
    silent: Socket,
    _queued: Vec<Socket>,
}

impl ClosedPorts {
    pub(crate) fn bind() -> Result<Self, SwarmError> {
        let failed = |source| SwarmError::System { action: "open ports where nobody is", source };
        let refusing = bound().map_err(failed)?;
        let silent = bound().map_err(failed)?;
        silent.listen(0).map_err(failed)?;
        let port = port_of(&silent).map_err(failed)?;
        let fill = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            // Whether it stands at once or waits, it takes a place.
            let _ = socket.connect(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)));
            Ok(socket)
        };
        let queued: io::Result<Vec<Socket>> = (0..QUEUED).map(|_| fill()).collect();
        Ok(Self { refusing, silent, _queued: queued.map_err(failed)? })
    }

    /// The port that refuses and the one that does not answer.
    pub(crate) fn ports(&self) -> Result<(u16, u16), SwarmError> {
        let failed = |source| SwarmError::System { action: "name ports where nobody is", source };
        Ok((port_of(&self.refusing).map_err(failed)?, port_of(&self.silent).map_err(failed)?))
    }
}

fn bound() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))?;
    Ok(socket)
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    Ok(socket.local_addr()?.as_socket().map_or(0, |addr| addr.port()))
}

/// A queue of 0 holds one; another for systems that round up.
const QUEUED: usize = 2;
