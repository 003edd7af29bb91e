//! The settings of uTP.

use std::time::Duration;

use super::packet::HEADER_BYTES;

/// Settings of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtpConfig {
    /// Connections at a time, those that are being closed included.
    pub connections_max: usize,
    /// Of these, connections that others have opened; 0 accepts none.
    pub accepted_max: usize,
    /// Of these, connections from one IP address.
    pub accepted_per_ip_max: usize,
    /// Of these, connections whose opener has not yet shown that it receives what we send: the sender of a SYN may
    /// be anybody.
    pub half_open_max: usize,
    /// The largest datagram sent. 1232 bytes are the smallest that IPv6 promises to carry (1280), less the headers of IPv6
    /// and UDP; tunnels and odd links of IPv4 carry them too, so that no search for the path's limit is needed.
    pub datagram_bytes_max: usize,
    /// What the other side may send beyond a gap, in bytes: the window that is advertised. 256 KiB are the largest
    /// window of requests, 16 pieces of 16 KiB.
    pub receive_window_bytes: usize,
    /// Bytes written that one connection holds until they are acknowledged.
    pub send_buffer_bytes_max: usize,
    /// What waits behind gaps, of all connections together.
    pub reassembly_bytes_max: usize,
    /// A connection from which nothing came for so long is over. Clients keep theirs alive every 29 s.
    pub idle_timeout: Duration,
    /// How long the last bytes of a connection that was closed may take.
    pub linger: Duration,
    /// Resets a second in answer to packets for connections that do not exist. Each is smaller than what it answers, so
    /// that nothing is gained by making us send them; beyond this, they are not sent.
    pub resets_per_second_max: u32,
}

impl Default for UtpConfig {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            accepted_max: 0,
            accepted_per_ip_max: 4,
            half_open_max: 64,
            datagram_bytes_max: 1232,
            receive_window_bytes: 256 << 10,
            send_buffer_bytes_max: 256 << 10,
            reassembly_bytes_max: 16 << 20,
            idle_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(3),
            resets_per_second_max: 50,
        }
    }
}

impl UtpConfig {
    /// Payload of one packet.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.datagram_bytes_max.clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX) - HEADER_BYTES
    }
}

/// The least that any path carries (RFC 791, less headers).
const DATAGRAM_BYTES_MIN: usize = 512;
/// The most that Ethernet carries (1500, less the headers of IPv4 and UDP).
const DATAGRAM_BYTES_MAX: usize = 1472;
