//! The answering side of message stream encryption, in front of a conversation.

use bittorrent::mse::{CryptoMethods, Responder, Streams};
use krpc::InfoHash;
use rand::rngs::StdRng;

/// Decrypts what comes and encrypts what goes. The machine is the one of the `bittorrent` crate, which is tried against real
/// libtorrent sessions on both sides: another one here would only be tried against that.
#[derive(Debug)]
pub(crate) struct Encryption {
    state: State,
}

#[derive(Debug)]
enum State {
    Opening(Box<Responder>),
    Open(Streams),
}

impl Encryption {
    /// Waits for the other side's key.
    pub(crate) fn new(accepted: CryptoMethods, random: &mut StdRng) -> Self {
        Self { state: State::Opening(Box::new(Responder::new(accepted, random))) }
    }

    /// Returns what the bytes say, and appends to `out` what the handshake wants sent. `find` is given a
    /// [`torrent_key`](bittorrent::mse::torrent_key). `None`: this is no encryption that leads anywhere.
    pub(crate) fn receive(
        &mut self,
        mut input: &[u8],
        find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
        random: &mut StdRng,
        out: &mut Vec<u8>,
    ) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        if let State::Opening(responder) = &mut self.state {
            let met = responder.receive(&mut input, find, random, &mut plain, out).ok()?;
            if let Some(met) = met {
                self.state = State::Open(met.streams);
            }
        }
        if let State::Open(streams) = &mut self.state {
            let from = plain.len();
            plain.extend_from_slice(input);
            streams.incoming.apply(&mut plain[from..]);
        }
        Some(plain)
    }

    /// Encrypts what the peer says after the handshake.
    pub(crate) fn encrypt(&mut self, bytes: &mut [u8]) {
        if let State::Open(streams) = &mut self.state {
            streams.outgoing.apply(bytes);
        }
    }
}
