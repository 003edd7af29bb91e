//! Message stream encryption (MSE, also called protocol encryption): what peers that refuse plain connections want.
//!
//! It hides what a connection is from somebody who looks at its bytes, and does not more: nobody is authenticated, the
//! key exchange is weak and RC4 is broken. No BEP describes it; the description is the page "Message Stream Encryption"
//! of Vuze's wiki, and what libtorrent does.
//!
//! ```text
//! 1  A → B   Ya, PadA
//! 2  B → A   Yb, PadB
//! 3  A → B   HASH("req1", S), HASH("req2", SKEY) xor HASH("req3", S), RC4(VC, crypto_provide, PadC, IA)
//! 4  B → A   RC4(VC, crypto_select, PadD), payload
//! 5  A → B   payload
//! ```
//!
//! [`Initiator`] is A and [`Responder`] is B. Both take bytes in any portions, keep no more than the one field that is
//! being read, and give up after at most [`OPENING_BYTES_MAX`] bytes that do not continue as they must; how long all
//! this may take is for the owner to say. Both end with [`Streams`], which transform payload in place.
//!
//! ```
//! use bittorrent::mse::{CryptoMethods, Initiator, Responder};
//! use krpc::InfoHash;
//! use rand::{SeedableRng as _, rngs::StdRng};
//!
//! let mut rng = StdRng::from_seed([7; 32]);
//! let info_hash = InfoHash::from_bytes([1; 20]);
//! let (mut to_b, mut to_a, mut first) = (Vec::new(), Vec::new(), Vec::new());
//! let mut a = Initiator::start(info_hash, CryptoMethods::BOTH, b"hello", &mut rng, &mut to_b);
//! let mut b = Responder::new(CryptoMethods::RC4, &mut rng);
//!
//! // B answers with its key, A identifies the torrent, B chooses RC4.
//! b.receive(&mut &to_b[..], |_| None, &mut rng, &mut first, &mut to_a)?;
//! to_b.clear();
//! a.receive(&mut &to_a[..], &mut to_b)?;
//! to_a.clear();
//! let known = |key: &_| (*key == bittorrent::mse::torrent_key(&info_hash)).then_some(info_hash);
//! let met = b.receive(&mut &to_b[..], known, &mut rng, &mut first, &mut to_a)?.expect("all of it came");
//! let mut streams = a.receive(&mut &to_a[..], &mut Vec::new())?.expect("all of it came");
//! assert_eq!((met.info_hash, &first[..]), (info_hash, &b"hello"[..]));
//!
//! let mut bytes = *b"payload";
//! streams.outgoing.apply(&mut bytes);
//! assert_ne!(&bytes, b"payload");
//! # Ok::<(), bittorrent::mse::MseError>(())
//! ```

mod crypto_methods;
mod error;
mod initiator;
mod key_exchange;
mod responder;
mod secrets;
mod streams;

pub use crypto_methods::CryptoMethods;
pub use error::MseError;
pub use initiator::Initiator;
pub use key_exchange::{PublicKey, PublicKeyError};
pub use responder::{Met, Responder};
pub use secrets::torrent_key;
pub use streams::{Cipher, Streams};

/// The longest pad, for each of the four.
pub const PAD_BYTES_MAX: usize = 512;

/// The most that either side sends before the other can tell that it speaks this protocol: its key, a pad, and the hash
/// that ends the pad.
pub const OPENING_BYTES_MAX: usize = PublicKey::LEN + PAD_BYTES_MAX + 20;

/// The verification constant: eight zero bytes, by which the other side finds the beginning of the encrypted part.
const VC: [u8; 8] = [0; 8];
