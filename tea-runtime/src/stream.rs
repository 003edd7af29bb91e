//! TCP streams as the program sees them: bytes in, bytes out, limits on everything.
//!
//! Framing belongs to the program.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;

/// What happened on a stream. `Opened` comes first, `Closed` last and once; after [`Cmd::close`](crate::Cmd::close)
/// nothing comes any more, so that the key is free at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The connection stands.
    Opened {
        /// Our end.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// Bytes in the order in which they were sent, at most [`StreamLimits::chunk_bytes_max`] at a time.
    Data(Bytes),
    /// The stream is gone, and why.
    Closed(CloseReason),
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The other side closed in good order. Half-open streams are not supported: what is still queued is dropped.
    Eof,
    /// Nobody listens there.
    Refused,
    /// The host or its network cannot be reached.
    Unreachable,
    /// No connection within [`StreamLimits::connect_timeout`].
    ConnectTimeout,
    /// Nothing was received for [`StreamLimits::idle_timeout`].
    IdleTimeout,
    /// The stream lived for [`StreamLimits::lifetime_max`].
    LifetimeExceeded,
    /// The other side took nothing for [`StreamLimits::write_timeout`].
    WriteTimeout,
    /// The other side reset the connection.
    Reset,
    /// More than [`StreamLimits::read_bytes_max`] was received.
    TooMuchReceived,
    /// More than [`StreamLimits::write_queue_bytes_max`] was waiting to be sent.
    TooMuchQueued,
    /// The runtime has as many streams as it may have; nothing was opened.
    Overload,
    /// The runtime is stopping.
    Stopping,
    /// Anything else that the operating system reports.
    Io(io::ErrorKind),
}

/// The limits of one stream. Every stream has all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Until the connection stands.
    pub connect_timeout: Duration,
    /// Between two arrivals of bytes. While received bytes wait for the program the time stands still.
    pub idle_timeout: Duration,
    /// From open to close, whatever happens on it.
    pub lifetime_max: Duration,
    /// For the other side to take some of the queued bytes; each time that it does the time starts anew. After
    /// [`Close::Flush`] also for its answer to our FIN.
    pub write_timeout: Duration,
    /// Received in all.
    pub read_bytes_max: u64,
    /// Queued for sending at a time.
    pub write_queue_bytes_max: usize,
    /// Received at a time.
    pub chunk_bytes_max: usize,
    /// Local address to connect from; `None` lets the system choose.
    pub bind: Option<std::net::IpAddr>,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(3600),
            write_timeout: Duration::from_secs(10),
            read_bytes_max: 64 << 20,
            write_queue_bytes_max: 1 << 20,
            chunk_bytes_max: 16 << 10,
            bind: None,
        }
    }
}

/// How the program ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Send what is queued, then close (FIN).
    Flush,
    /// Drop what is queued and reset (RST): frees the port and the peer at once.
    Reset,
}
