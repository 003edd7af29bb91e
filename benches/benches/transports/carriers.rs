//! What lies between the fetch and the seeder: nothing, or both ends of a uTP connection.

use std::{net::SocketAddr, time::Duration};

use bittorrent::utp::{Utp, UtpAction, UtpConfig, UtpHandle, UtpOutput};

use crate::seeder::Seeder;

pub(crate) trait Carrier {
    /// Takes what the fetch writes.
    fn write(&mut self, bytes: &[u8]);
    /// Brings it to the seeder, and the answer back.
    fn exchange(&mut self, now: Duration, deliver: &mut dyn FnMut(&[u8]));
}

pub(crate) struct Direct {
    seeder: Seeder,
    answer: Vec<u8>,
}

pub(crate) struct OverUtp {
    seeder: Seeder,
    answer: Vec<u8>,
    ours: Utp,
    theirs: Utp,
    our_out: UtpOutput,
    their_out: UtpOutput,
    us: SocketAddr,
    them: SocketAddr,
    handle: UtpHandle,
    accepted: Option<UtpHandle>,
}

impl Direct {
    pub(crate) fn new(seeder: Seeder) -> Self {
        Self { seeder, answer: Vec::new() }
    }
}

impl Carrier for Direct {
    fn write(&mut self, bytes: &[u8]) {
        self.seeder.receive(bytes, &mut self.answer);
    }

    fn exchange(&mut self, _now: Duration, deliver: &mut dyn FnMut(&[u8])) {
        deliver(&self.answer);
        self.answer.clear();
    }
}

impl OverUtp {
    pub(crate) fn new(seeder: Seeder, now: Duration, them: SocketAddr) -> Self {
        let mut ours = Utp::new(UtpConfig::default(), [1; 32]);
        let theirs = Utp::new(UtpConfig { accepted_max: 1, ..UtpConfig::default() }, [2; 32]);
        let Ok(handle) = ours.connect(now, them) else { panic!("no room") };
        Self {
            seeder,
            answer: Vec::new(),
            ours,
            theirs,
            our_out: UtpOutput::new(),
            their_out: UtpOutput::new(),
            us: ([127, 0, 0, 2], 6881).into(),
            them,
            handle,
            accepted: None,
        }
    }
}

impl Carrier for OverUtp {
    fn write(&mut self, bytes: &[u8]) {
        if self.ours.write(self.handle, bytes).is_err() {
            panic!("no room for a few requests");
        }
    }

    fn exchange(&mut self, now: Duration, deliver: &mut dyn FnMut(&[u8])) {
        let mut delivered = false;
        // Each turn carries one batch in each direction.
        for _ in 0..TURNS_MAX {
            self.ours.tick(now, &mut self.our_out);
            for action in self.our_out.drain() {
                match action {
                    UtpAction::Send { datagram, .. } => {
                        self.theirs.datagram(now, self.us, datagram, &mut self.their_out);
                    }
                    UtpAction::Data { bytes, .. } => {
                        delivered = true;
                        deliver(bytes);
                    }
                    UtpAction::Opened(_) => {}
                    action => panic!("{action:?}"),
                }
            }
            if delivered {
                return;
            }
            for action in self.their_out.drain() {
                match action {
                    UtpAction::Accepted { handle, .. } => self.accepted = Some(handle),
                    UtpAction::Data { bytes, .. } => self.seeder.receive(bytes, &mut self.answer),
                    action => panic!("{action:?}"),
                }
            }
            if let Some(handle) = self.accepted
                && !self.answer.is_empty()
            {
                if self.theirs.write(handle, &self.answer).is_err() {
                    panic!("no room for an info dict");
                }
                self.answer.clear();
            }
            self.theirs.tick(now, &mut self.their_out);
            for action in self.their_out.drain() {
                if let UtpAction::Send { datagram, .. } = action {
                    self.ours.datagram(now, self.them, datagram, &mut self.our_out);
                }
            }
        }
    }
}

/// More than an exchange takes.
const TURNS_MAX: usize = 50;
