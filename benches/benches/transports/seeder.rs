//! A peer that has the info dict, and everything that it will say about it, ready.

use bittorrent::mse::{CryptoMethods, Responder, Streams, torrent_key};
use krpc::InfoHash;
use rand::{SeedableRng as _, rngs::StdRng};

/// Bytes of `ut_metadata` in a piece (BEP 9).
const PIECE_BYTES: usize = 16 << 10;
const HANDSHAKE_BYTES: usize = 68;

pub(crate) struct Seeder {
    /// What is said next: after the handshake, then after the requests.
    lines: std::vec::IntoIter<Vec<u8>>,
    heard: usize,
    encryption: Option<Encryption>,
}

struct Encryption {
    info_hash: InfoHash,
    responder: Responder,
    rng: StdRng,
    streams: Option<Streams>,
}

impl Seeder {
    pub(crate) fn new(raw: &[u8], info_hash: InfoHash, encrypted: Option<CryptoMethods>) -> Self {
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05".to_vec();
        hello.extend_from_slice(info_hash.as_bytes());
        hello.extend_from_slice(b"-LT2110-abcdefghijkl");
        let offer = format!("d1:md11:ut_metadatai2ee13:metadata_sizei{}e1:v10:libtorrente", raw.len());
        extended(&mut hello, 0, &[offer.as_bytes()]);
        let mut pieces = Vec::with_capacity(raw.len() + 200);
        for (index, piece) in raw.chunks(PIECE_BYTES).enumerate() {
            let header = format!("d8:msg_typei1e5:piecei{index}e10:total_sizei{}ee", raw.len());
            extended(&mut pieces, 2, &[header.as_bytes(), piece]);
        }
        let encryption = encrypted.map(|methods| {
            let mut rng = StdRng::from_seed([1; 32]);
            let responder = Responder::new(methods, &mut rng);
            Encryption { info_hash, responder, rng, streams: None }
        });
        Self { lines: vec![hello, pieces].into_iter(), heard: 0, encryption }
    }

    /// Bytes have come; what is answered is appended to `out`.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        let before = self.heard;
        if let Some(Encryption { info_hash, responder, rng, streams }) = &mut self.encryption {
            if streams.is_none() {
                let mut initial = Vec::new();
                let find = |key: &[u8; 20]| (*key == torrent_key(info_hash)).then_some(*info_hash);
                match responder.receive(&mut bytes, find, rng, &mut initial, out) {
                    Ok(met) => *streams = met.map(|met| met.streams),
                    Err(error) => panic!("{error}"),
                }
                self.heard += initial.len();
            }
            if let Some(streams) = streams {
                let mut plain = bytes.to_vec();
                streams.incoming.apply(&mut plain);
                self.heard += plain.len();
            }
        } else {
            self.heard += bytes.len();
        }
        let from = out.len();
        let greeted = before < HANDSHAKE_BYTES && self.heard >= HANDSHAKE_BYTES;
        let asked = before >= HANDSHAKE_BYTES && self.heard > before;
        if greeted || asked {
            out.extend(self.lines.next().unwrap_or_default());
        }
        if let Some(Encryption { streams: Some(streams), .. }) = &mut self.encryption {
            streams.outgoing.apply(&mut out[from..]);
        }
    }
}

fn extended(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let len = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend_from_slice(&[20, id]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
