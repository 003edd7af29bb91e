//! A connection that somebody opened to us and that the program has not taken yet.

use std::{fmt, net::SocketAddr};

/// A connection waiting for the program: take it with [`Cmd::accept`](crate::Cmd::accept), or drop it to refuse it.
pub struct Incoming {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) link: Link,
}

/// What carries the connection.
pub(crate) enum Link {
    /// A real socket.
    Tcp(tokio::net::TcpStream),
    /// A connection of the simulator.
    #[cfg(feature = "sim")]
    Virtual(crate::sim::VirtualLink),
}

impl Incoming {
    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({} -> {})", self.peer, self.local)
    }
}
