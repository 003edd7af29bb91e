//! The tables and the engine under random operations, each beside a model that is too simple to be wrong.
//!
//! An input is a string of bytes that says what is done. The tests draw such strings at random, the fuzz targets search for
//! those that reach something new. Whatever the bytes are, nothing may panic, grow beyond its bounds or differ from its model.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each program uses a part of it")]

pub mod contacts;
pub mod engine;
pub mod limiter;
pub mod paced_queue;
pub mod peer_store;
pub mod transactions;

use std::time::Duration;

/// What is left of an input.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(input: &'a [u8]) -> Script<'a> {
        Script(input)
    }

    /// The next byte; `None` at the end.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte, 0 after the end.
    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        some
    }

    /// A pause: mostly milliseconds, now and then hours, rarely months.
    pub fn pause(&mut self) -> Duration {
        let byte = u64::from(self.byte());
        match byte {
            0..200 => Duration::from_millis(byte * 5),
            200..240 => Duration::from_secs(byte - 199),
            240..254 => Duration::from_secs((byte - 239) * 600),
            _ => Duration::from_secs((byte - 253) * 40 * 86_400),
        }
    }
}
