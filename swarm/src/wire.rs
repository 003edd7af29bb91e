//! A peer connection cut into messages.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer_wire::{EXTENDED, HANDSHAKE, Handshake, MESSAGE_MAX};

/// Bytes read at a time.
const READ: usize = 4 << 10;

/// A connection and what has arrived on it without having been understood yet: at most one message and one read.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The first bytes of a connection; none if they are not a plain handshake.
    pub(crate) async fn handshake(&mut self) -> io::Result<Option<Handshake>> {
        let mut bytes = [0; HANDSHAKE];
        self.stream.read_exact(&mut bytes).await?;
        Ok(Handshake::parse(&bytes))
    }

    /// Waits for more bytes; false when the peer has closed. May be dropped while it waits.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// The payload of the next extended message among what has arrived; others are skipped.
    pub(crate) fn next_extended(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some((length, rest)) = self.buffer.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > MESSAGE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
            }
            let Some(message) = rest.get(..length) else { return Ok(None) };
            let payload = match message {
                [EXTENDED, payload @ ..] => Some(payload.to_vec()),
                _ => None,
            };
            self.buffer.drain(..4 + length);
            if payload.is_some() {
                return Ok(payload);
            }
        }
        Ok(None)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads and forgets until the peer closes.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        while self.fill().await? {
            self.buffer.clear();
        }
        Ok(())
    }
}
