//! Peers that have the info dict and serve it, each in the manner of a client that was measured.

use std::{collections::VecDeque, time::Duration};

use bittorrent::{Disconnect, ut_metadata::PIECE_BYTES};

use super::{Peer, Reply};

/// How a client answers requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Each at once.
    Prompt,
    /// Up to 10 at once, the others on a tick of 1 s.
    Libtorrent,
    /// What has gathered, on a tick of 2.5 s.
    Transmission,
    /// One; what comes while it stands is dropped.
    Rtorrent,
    /// One after another, each taking so long.
    Slow(Duration),
}

pub struct Honest {
    pub raw: Vec<u8>,
    pub habit: Habit,
    pub client: &'static str,
    pub peer_id: [u8; 20],
    pub ut_metadata: u8,
    /// Sent between the handshakes: a bitfield, haves, unchoke, port.
    pub chatter: Vec<u8>,
    /// Leaves after so many pieces.
    pub pieces_max: usize,
    inbox: Vec<u8>,
    greeted: bool,
    their_id: u8,
    waiting: VecDeque<i64>,
    busy: bool,
    served: usize,
}

impl Honest {
    pub fn new(raw: &[u8], habit: Habit) -> Self {
        let (client, peer_id) = match habit {
            Habit::Rtorrent => ("libTorrent 0.13.8", *b"-lt0D80-rrrrrrrrrrrr"),
            Habit::Transmission => ("Transmission 3.00", *b"-TR3000-tttttttttttt"),
            _ => ("libtorrent/2.1.1", *b"-LT2110-llllllllllll"),
        };
        Self {
            raw: raw.to_vec(),
            habit,
            client,
            peer_id,
            ut_metadata: 3,
            chatter: Vec::new(),
            pieces_max: usize::MAX,
            inbox: Vec::new(),
            greeted: false,
            their_id: 0,
            waiting: VecDeque::new(),
            busy: false,
            served: 0,
        }
    }

    pub fn with_chatter(raw: &[u8]) -> Self {
        let mut peer = Self::new(raw, Habit::Libtorrent);
        peer.chatter = [
            &b"\0\0\x20\x01\x05"[..],
            &[0xff; 8192],
            b"\0\0\0\x01\x01\0\0\0\0\0\0\0\x05\x04\0\0\0\x07\0\0\0\x03\x09\x1a\xe1",
        ]
        .concat();
        peer
    }

    fn serve(&mut self, piece: i64, after: Duration, reply: &mut Reply) {
        if self.served == self.pieces_max {
            return reply.close(after, Disconnect::Eof);
        }
        self.served += 1;
        let start = piece as usize * PIECE_BYTES;
        let bytes = &self.raw[start..self.raw.len().min(start + PIECE_BYTES)];
        reply.send(after, data(self.their_id, piece, self.raw.len() as i64, bytes));
    }
}

impl Peer for Honest {
    fn receive(&mut self, _now: Duration, bytes: &[u8], reply: &mut Reply) {
        self.inbox.extend_from_slice(bytes);
        if !self.greeted && self.inbox.len() >= 68 {
            self.greeted = true;
            let theirs: Vec<u8> = self.inbox.drain(..68).collect();
            let mut hello = handshake(&theirs[28..48], &self.peer_id);
            hello.extend_from_slice(&self.chatter);
            hello.extend(extension_handshake(self.ut_metadata, self.raw.len() as i64, self.client));
            reply.send(Duration::ZERO, hello);
        }
        while self.greeted && self.inbox.len() >= 4 {
            let len = u32::from_be_bytes(self.inbox[..4].try_into().unwrap()) as usize;
            if self.inbox.len() < 4 + len {
                break;
            }
            let message: Vec<u8> = self.inbox.drain(..4 + len).skip(4).collect();
            match message[..2] {
                [20, 0] => self.their_id = number_after(&message, b"11:ut_metadatai") as u8,
                [20, id] if id == self.ut_metadata => {
                    assert_eq!(number_after(&message, b"8:msg_typei"), 0, "an honest peer is only asked");
                    let piece = number_after(&message, b"5:piecei");
                    match self.habit {
                        Habit::Prompt => self.serve(piece, Duration::ZERO, reply),
                        Habit::Rtorrent if self.busy => {}
                        Habit::Rtorrent => {
                            self.busy = true;
                            self.waiting.push_back(piece);
                            reply.wake(Duration::from_millis(15));
                        }
                        Habit::Libtorrent | Habit::Transmission | Habit::Slow(_) => {
                            self.waiting.push_back(piece);
                            if !self.busy {
                                self.busy = true;
                                reply.wake(match self.habit {
                                    Habit::Libtorrent => Duration::ZERO,
                                    Habit::Slow(each) => each,
                                    _ => Duration::from_millis(2500),
                                });
                            }
                        }
                    }
                }
                _ => panic!("unexpected message {}", message.escape_ascii()),
            }
        }
    }

    fn wake(&mut self, _now: Duration, reply: &mut Reply) {
        let (count, again) = match self.habit {
            Habit::Libtorrent => (10, Duration::from_secs(1)),
            Habit::Transmission => (usize::MAX, Duration::from_millis(2500)),
            Habit::Slow(each) => (1, each),
            _ => (1, Duration::ZERO),
        };
        for _ in 0..count {
            let Some(piece) = self.waiting.pop_front() else { break };
            self.serve(piece, Duration::ZERO, reply);
        }
        self.busy = !self.waiting.is_empty();
        if self.busy {
            reply.wake(again);
        }
    }
}

pub fn handshake(info_hash: &[u8], peer_id: &[u8; 20]) -> Vec<u8> {
    [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05"[..], info_hash, peer_id].concat()
}

pub fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32 + 2).to_be_bytes();
    [&len[..], &[20, id], payload].concat()
}

pub fn extension_handshake(ut_metadata: u8, size: i64, client: &str) -> Vec<u8> {
    let text = format!(
        "d1:md11:ut_metadatai{ut_metadata}e6:ut_pexi1ee13:metadata_sizei{size}e4:reqqi500e1:v{}:{client}e",
        client.len()
    );
    extended(0, text.as_bytes())
}

pub fn data(id: u8, piece: i64, total: i64, bytes: &[u8]) -> Vec<u8> {
    let header = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total}ee");
    extended(id, &[header.as_bytes(), bytes].concat())
}

pub fn reject(id: u8, piece: i64) -> Vec<u8> {
    extended(id, format!("d8:msg_typei2e5:piecei{piece}ee").as_bytes())
}

/// The number that follows `key`.
pub fn number_after(message: &[u8], key: &[u8]) -> i64 {
    let at = message.windows(key.len()).position(|window| window == key).expect("the key") + key.len();
    let end = message[at..].iter().position(|byte| *byte == b'e').expect("the end") + at;
    std::str::from_utf8(&message[at..end]).unwrap().parse().unwrap()
}
