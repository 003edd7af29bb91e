//! One connection to a peer that talks, from the peer's side.

use std::{collections::VecDeque, time::Duration};

use krpc::InfoHash;
use rand::{RngExt as _, rngs::StdRng};

use super::nature::{Habit, Lie, Nature};
use crate::peer_wire::{
    EXTENDED, HANDSHAKE, Handshake, Introduction, MESSAGE_MAX, PIECE, Said, extension_handshake, handshake,
    metadata_data, metadata_reject, said,
};

/// What a peer does next.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Written to the other side.
    pub(super) bytes: Vec<u8>,
    /// It wants to be woken after this.
    pub(super) wake_after: Option<Duration>,
    /// Then it closes.
    pub(super) closes: bool,
}

/// The state of a conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    info_hash: InfoHash,
    raw: Vec<u8>,
    habit: Habit,
    slow_piece: Duration,
    inbox: Vec<u8>,
    greeted: bool,
    /// The other side's number for ut_metadata.
    their_id: u8,
    waiting: VecDeque<i64>,
    /// Woken some time, or serving a piece.
    busy: bool,
}

impl Conversation {
    pub(super) fn new(nature: Nature, info_hash: InfoHash, mut raw: Vec<u8>, slow_piece: Duration) -> Self {
        let habit = match nature {
            Nature::UtpOnly { habit, .. } | Nature::EncryptedOnly { habit, .. } | Nature::Plain { habit } => {
                habit
            }
            Nature::Liar(_) | Nature::Dead { .. } => Habit::Libtorrent,
        };
        match nature {
            Nature::Liar(Lie::Bytes) => raw.chunks_mut(PIECE).for_each(|piece| piece[0] ^= 1),
            Nature::Liar(Lie::Longer) => raw.resize(raw.len() + PIECE, b'x'),
            Nature::Liar(Lie::Shorter) => raw.truncate(raw.len() - 1),
            _ => {}
        }
        Self {
            info_hash,
            raw,
            habit,
            slow_piece,
            inbox: Vec::new(),
            greeted: false,
            their_id: 0,
            waiting: VecDeque::new(),
            busy: false,
        }
    }

    /// Bytes have come, decrypted if need be.
    pub(super) fn receive(&mut self, bytes: &[u8], random: &mut StdRng, turn: &mut Turn) {
        self.inbox.extend_from_slice(bytes);
        if !self.greeted {
            let Some(first) = self.inbox.first_chunk::<HANDSHAKE>() else { return };
            let known = Handshake::parse(first).filter(|theirs| theirs.info_hash == self.info_hash);
            if known.is_none_or(|theirs| !theirs.extended) {
                turn.closes = true;
                return;
            }
            self.greeted = true;
            self.inbox.drain(..HANDSHAKE);
            let (peer_id, client) = match self.habit {
                Habit::Libtorrent | Habit::Slow => (b"-LT2000-llllllllllll", "libtorrent/2.0.9"),
                Habit::Transmission => (b"-TR4050-tttttttttttt", "Transmission 4.0.5"),
                Habit::Rtorrent => (b"-lt0D80-rrrrrrrrrrrr", "libTorrent 0.13.8"),
            };
            turn.bytes.extend_from_slice(&handshake(&self.info_hash, peer_id));
            turn.bytes.extend_from_slice(&extension_handshake(&Introduction {
                ut_metadata: Some(UT_METADATA),
                metadata_size: Some(self.raw.len() as u64),
                client,
                requests_max: 250,
            }));
        }
        while let Some(length) = self.inbox.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > MESSAGE_MAX {
                turn.closes = true;
                return;
            }
            let Some(message) = self.inbox.get(4..4 + length) else { return };
            let said = match message {
                [EXTENDED, payload @ ..] => said(payload, UT_METADATA),
                _ => Said::Other,
            };
            self.inbox.drain(..4 + length);
            match said {
                Said::Introduction { ut_metadata } => self.their_id = ut_metadata.unwrap_or(0),
                Said::Request { piece } => self.requested(piece, random, turn),
                Said::Other => {}
            }
        }
    }

    /// The time has come that it asked for.
    pub(super) fn wake(&mut self, turn: &mut Turn) {
        let (count, again) = match self.habit {
            Habit::Libtorrent => (AT_ONCE, Duration::from_secs(1)),
            Habit::Transmission => (usize::MAX, TICK),
            Habit::Rtorrent => (1, Duration::ZERO),
            Habit::Slow => (1, self.slow_piece),
        };
        for _ in 0..count {
            let Some(piece) = self.waiting.pop_front() else { break };
            self.serve(piece, turn);
        }
        self.busy = !self.waiting.is_empty();
        if self.busy {
            turn.wake_after = Some(again);
        }
    }

    fn requested(&mut self, piece: i64, random: &mut StdRng, turn: &mut Turn) {
        if self.habit == Habit::Rtorrent && self.busy || self.waiting.len() >= WAITING_MAX {
            return;
        }
        self.waiting.push_back(piece);
        if !self.busy {
            self.busy = true;
            turn.wake_after = Some(match self.habit {
                Habit::Libtorrent => Duration::ZERO,
                // Somewhere in the period of its timer.
                Habit::Transmission => TICK.mul_f64(random.random()),
                Habit::Rtorrent => Duration::from_millis(15),
                Habit::Slow => self.slow_piece,
            });
        }
    }

    fn serve(&self, piece: i64, turn: &mut Turn) {
        if self.their_id == 0 {
            return;
        }
        let index = usize::try_from(piece).unwrap_or(usize::MAX);
        let message = match self.raw.chunks(PIECE).nth(index) {
            Some(data) => metadata_data(self.their_id, piece, self.raw.len() as u64, data),
            None => metadata_reject(self.their_id, piece),
        };
        turn.bytes.extend_from_slice(&message);
    }
}

/// The number under which requests come.
const UT_METADATA: u8 = 3;
/// Answers that libtorrent gives at a time.
const AT_ONCE: usize = 10;
/// Transmission's timer: 2 to 3 s.
const TICK: Duration = Duration::from_millis(2_500);
/// Requests kept; the others are dropped.
const WAITING_MAX: usize = 250;
