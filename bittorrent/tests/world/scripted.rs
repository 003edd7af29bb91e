//! Peers that do what a test tells them, and nothing else.

use std::time::Duration;

use bittorrent::Disconnect;

use super::{Connect, Peer, Reply};

/// Answers what comes by a script: each step waits until so many bytes have been received in all, then acts.
pub struct Scripted {
    steps: Vec<(usize, Step)>,
    received: usize,
    next: usize,
}

#[derive(Clone)]
pub enum Step {
    Send(Duration, Vec<u8>),
    Close(Disconnect),
}

/// Our handshake has 68 bytes.
pub const HANDSHAKE: usize = 68;
/// And the extension handshake behind it 6 + 35.
pub const EXTENSION_HANDSHAKE: usize = HANDSHAKE + 41;

impl Scripted {
    pub fn new(steps: Vec<(usize, Step)>) -> Self {
        Self { steps, received: 0, next: 0 }
    }

    fn go_on(&mut self, reply: &mut Reply) {
        while let Some((needed, step)) = self.steps.get(self.next)
            && self.received >= *needed
        {
            self.next += 1;
            match step.clone() {
                Step::Send(after, bytes) => reply.send(after, bytes),
                Step::Close(why) => reply.close(Duration::ZERO, why),
            }
        }
    }
}

impl Peer for Scripted {
    fn opened(&mut self, reply: &mut Reply) {
        self.go_on(reply);
    }

    fn receive(&mut self, _now: Duration, bytes: &[u8], reply: &mut Reply) {
        self.received += bytes.len();
        self.go_on(reply);
    }
}

/// Cannot be connected to.
pub struct Unreachable(pub Disconnect);

impl Peer for Unreachable {
    fn connect(&mut self) -> Connect {
        Connect::Fail(self.0)
    }

    fn receive(&mut self, _now: Duration, _bytes: &[u8], _reply: &mut Reply) {}
}

pub fn send(bytes: Vec<u8>) -> Step {
    Step::Send(Duration::ZERO, bytes)
}
