//! A peer connection cut into messages.

use std::io;
use std::time::Duration;

use bittorrent::mse::CryptoMethods;
use krpc::InfoHash;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;

use crate::encryption::Encryption;
use crate::peer_wire::{EXTENDED, HANDSHAKE, Handshake, MESSAGE_MAX, PROTOCOL};

/// Bytes read at a time.
const READ: usize = 4 << 10;

/// A connection and what has arrived on it without having been understood yet: at most one message and one read.
pub(crate) struct Wire {
    link: Link,
    encryption: Option<Encryption>,
    random: StdRng,
    buffer: Vec<u8>,
}

/// What carries it.
pub(crate) enum Link {
    Tcp(TcpStream),
    /// This end of what a uTP connection brings and takes.
    Utp(DuplexStream),
}

impl Wire {
    /// `random` is for the keys of an encrypted connection.
    pub(crate) fn new(link: Link, random: StdRng) -> Self {
        Self { link, encryption: None, random, buffer: Vec::new() }
    }

    /// The first bytes of a connection, after the handshake of the encryption if it is encrypted; none if they are not those
    /// of a peer, or plain where `plain` is not taken. `find` is given a
    /// [`torrent_key`](bittorrent::mse::torrent_key).
    pub(crate) async fn handshake(
        &mut self,
        plain: bool,
        find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
    ) -> io::Result<Option<Handshake>> {
        loop {
            // The first bytes tell whether the connection is encrypted.
            if self.encryption.is_none() && self.buffer.len() >= PROTOCOL.len() {
                let is_plain = self.buffer.starts_with(PROTOCOL);
                if is_plain && !plain {
                    return Ok(None);
                }
                if !is_plain {
                    self.encryption = Some(Encryption::new(CryptoMethods::BOTH, &mut self.random));
                    let came = std::mem::take(&mut self.buffer);
                    if !self.decrypt(&came, &find).await? {
                        return Ok(None);
                    }
                    continue;
                }
            }
            if let Some(bytes) = self.buffer.first_chunk::<HANDSHAKE>() {
                let handshake = Handshake::parse(bytes);
                self.buffer.drain(..HANDSHAKE);
                return Ok(handshake);
            }
            let mut came = Vec::with_capacity(READ);
            if self.link.read(&mut came).await? == 0 {
                return Ok(None);
            }
            if !self.decrypt(&came, &find).await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; false when the peer has closed. May be dropped while it waits.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        let from = self.buffer.len();
        self.buffer.reserve(READ);
        let open = self.link.read(&mut self.buffer).await? > 0;
        if self.encryption.is_some() {
            let came = self.buffer.split_off(from);
            self.decrypt(&came, |_| None).await?;
        }
        Ok(open)
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
        match &mut self.encryption {
            None => self.link.write(bytes).await,
            Some(encryption) => {
                let mut encrypted = bytes.to_vec();
                encryption.encrypt(&mut encrypted);
                self.link.write(&encrypted).await
            }
        }
    }

    /// Reads and forgets until the peer closes.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        while self.fill().await? {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes the end of the connection a reset; by uTP it stays an end.
    pub(crate) fn resets(&self) -> io::Result<()> {
        match &self.link {
            // Closing a socket that lingers for no time sends a reset instead of an end.
            Link::Tcp(stream) => socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Link::Utp(_) => Ok(()),
        }
    }

    /// Takes what came to the buffer, through the encryption if there is one; false if that leads nowhere.
    async fn decrypt(
        &mut self,
        came: &[u8],
        find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
    ) -> io::Result<bool> {
        let Some(encryption) = &mut self.encryption else {
            self.buffer.extend_from_slice(came);
            return Ok(true);
        };
        let mut answer = Vec::new();
        let Some(plain) = encryption.receive(came, find, &mut self.random, &mut answer) else {
            return Ok(false);
        };
        self.buffer.extend_from_slice(&plain);
        if !answer.is_empty() {
            self.link.write(&answer).await?;
        }
        Ok(true)
    }
}

impl Link {
    async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read_buf(buffer).await,
            Self::Utp(stream) => stream.read_buf(buffer).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Utp(stream) => stream.write_all(bytes).await,
        }
    }
}
