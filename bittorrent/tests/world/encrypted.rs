//! Peers behind message stream encryption, and peers that are not there.

use std::time::Duration;

use bittorrent::{
    Disconnect,
    mse::{CryptoMethods, Responder, Streams, torrent_key},
};
use krpc::InfoHash;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{Connect, Peer, Reply};

/// Speaks with nobody who does not encrypt.
pub struct Encrypted<P> {
    inner: P,
    info_hash: InfoHash,
    responder: Responder,
    streams: Option<Streams>,
    rng: StdRng,
    heard: bool,
}

impl<P: Peer> Encrypted<P> {
    pub fn new(inner: P, info_hash: InfoHash, accepted: CryptoMethods) -> Self {
        let mut rng = StdRng::from_seed([8; 32]);
        let responder = Responder::new(accepted, &mut rng);
        Self { inner, info_hash, responder, streams: None, rng, heard: false }
    }
}

impl<P: Peer> Peer for Encrypted<P> {
    fn receive(&mut self, now: Duration, bytes: &[u8], reply: &mut Reply) {
        let plain = !self.heard && bytes.starts_with(b"\x13BitTorrent protocol");
        self.heard = true;
        if plain {
            return reply.close(Duration::ZERO, Disconnect::Eof);
        }
        let (mut input, mut payload, mut out) = (bytes, Vec::new(), Vec::new());
        if self.streams.is_none() {
            let find = |key: &[u8; 20]| (*key == torrent_key(&self.info_hash)).then_some(self.info_hash);
            match self.responder.receive(&mut input, find, &mut self.rng, &mut payload, &mut out) {
                Err(_) => return reply.close(Duration::ZERO, Disconnect::Eof),
                Ok(met) => self.streams = met.map(|met| met.streams),
            }
            if !out.is_empty() {
                reply.send(Duration::ZERO, out);
            }
        }
        let Some(streams) = &mut self.streams else { return };
        let initial = payload.len();
        if initial > 0 && streams.method() == CryptoMethods::PLAINTEXT {
            // As Transmission 3.00 does, which forgets to decrypt it.
            return reply.close(Duration::ZERO, Disconnect::Eof);
        }
        payload.extend_from_slice(input);
        streams.incoming.apply(&mut payload[initial..]);
        let mut answer = Reply::default();
        self.inner.receive(now, &payload, &mut answer);
        answer.transform(|bytes| streams.outgoing.apply(bytes));
        reply.what.extend(answer.what);
    }

    fn wake(&mut self, now: Duration, reply: &mut Reply) {
        let Some(streams) = &mut self.streams else { return };
        let mut answer = Reply::default();
        self.inner.wake(now, &mut answer);
        answer.transform(|bytes| streams.outgoing.apply(bytes));
        reply.what.extend(answer.what);
    }
}

/// Nothing is ever heard from here.
pub struct Void;

impl Peer for Void {
    fn connect(&mut self) -> Connect {
        Connect::Void
    }

    fn receive(&mut self, _now: Duration, _bytes: &[u8], _reply: &mut Reply) {}
}

/// Takes the connection, and closes it when something is said.
pub struct Mute;

impl Peer for Mute {
    fn receive(&mut self, _now: Duration, _bytes: &[u8], reply: &mut Reply) {
        reply.close(Duration::ZERO, Disconnect::Eof);
    }
}

/// Takes the connection, and waits for something else than what is said.
pub struct Patient;

impl Peer for Patient {
    fn receive(&mut self, _now: Duration, _bytes: &[u8], _reply: &mut Reply) {}
}
