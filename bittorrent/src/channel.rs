//! What lies between a session and the bytes on the wire: nothing, or encryption.

use std::time::Duration;

use krpc::InfoHash;
use rand::{SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};

use crate::{
    Slot, TransportPolicy,
    mse::{CryptoMethods, Initiator, MseError, Streams},
};

/// The state of a connection's encryption.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Bytes go as they are.
    Plain,
    /// Encryption is wanted, and the connection does not stand yet.
    Closed,
    /// The handshake goes on; then the session's first bytes follow, if they did not go with it.
    Opening(Box<Initiator>, Vec<u8>),
    /// Bytes go through it.
    Open(Streams),
}

impl Channel {
    pub(crate) const fn new(encrypted: bool) -> Self {
        if encrypted { Self::Closed } else { Self::Plain }
    }

    /// The connection stands: sends the session's first bytes, or with encryption what leads to them.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        policy: &TransportPolicy,
        info_hash: InfoHash,
        slot: Slot,
        out: &mut Vec<u8>,
        first: impl FnOnce(&mut Vec<u8>),
    ) {
        match self {
            Self::Closed => {
                let mut initial = Vec::new();
                first(&mut initial);
                // Each connection has keys of its own; the seed alone makes them unknown to others.
                let seed = Sha256::new()
                    .chain_update(policy.seed)
                    .chain_update(info_hash.as_bytes())
                    .chain_update(slot.number().to_be_bytes())
                    .chain_update(now.as_nanos().to_be_bytes())
                    .finalize();
                let mut rng = StdRng::from_seed(seed.into());
                // Transmission 3.00 takes a first payload that came with the handshake for plain when it has chosen
                // plaintext, though it is always encrypted, and hangs up. Where that can be chosen it must wait.
                let waits = policy.methods.contains(CryptoMethods::PLAINTEXT);
                let with_handshake = if waits { &[][..] } else { &initial };
                let initiator = Initiator::start(info_hash, policy.methods, with_handshake, &mut rng, out);
                let after_it = if waits { initial } else { Vec::new() };
                *self = Self::Opening(Box::new(initiator), after_it);
            }
            _ => first(out),
        }
    }

    /// Takes what belongs to the handshake from `input`, and decrypts the rest: into `scratch`, if it needs to be. What the
    /// session is to see is returned.
    pub(crate) fn receive<'a>(
        &mut self,
        mut input: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], MseError> {
        if let Self::Opening(initiator, first) = self {
            let Some(mut streams) = initiator.receive(&mut input, out)? else { return Ok(&[]) };
            streams.outgoing.apply(first);
            out.append(first);
            *self = Self::Open(streams);
        }
        match self {
            Self::Open(streams) if streams.method() != CryptoMethods::PLAINTEXT => {
                scratch.clear();
                scratch.extend_from_slice(input);
                streams.incoming.apply(scratch);
                Ok(scratch)
            }
            _ => Ok(input),
        }
    }

    /// Lets the session write, and encrypts what it has written.
    pub(crate) fn write<T>(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let from = out.len();
        let result = write(out);
        if let Self::Open(streams) = self
            && let Some(written) = out.get_mut(from..)
        {
            streams.outgoing.apply(written);
        }
        result
    }
}
