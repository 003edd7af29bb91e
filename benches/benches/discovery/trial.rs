//! A crawler in a world for some time.

use std::collections::HashSet;
use std::time::Duration;

use krpc::InfoHash;
use swarm::world::{Manners, Watch, World};

use crate::crawler::{Crawler, Outbox, TICK};

pub(crate) struct Trial<C> {
    pub(crate) world: World,
    pub(crate) crawler: C,
    pub(crate) watch: Watch,
    /// True info-hashes learned.
    pub(crate) found: HashSet<InfoHash>,
    /// Distinct hashes that nobody has: made up by lying nodes, or by libtorrent to look after its tables.
    pub(crate) made_up: HashSet<InfoHash>,
    out: Outbox,
    next_tick: Duration,
}

/// How far a trial has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) hours: f64,
    pub(crate) queries: u64,
    pub(crate) answers: u64,
    pub(crate) found: usize,
    pub(crate) exist: usize,
}

impl<C: Crawler> Trial<C> {
    pub(crate) fn new(mut world: World, crawler: C) -> Trial<C> {
        for addr in crawler.addrs() {
            world.attach(*addr);
        }
        let manners = Manners { sample_pause: Duration::from_secs(300), ..Manners::default() };
        let next_tick = world.now;
        Trial {
            world,
            crawler,
            watch: Watch::new(manners),
            found: HashSet::new(),
            made_up: HashSet::new(),
            out: Outbox::default(),
            next_tick,
        }
    }

    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            if let Some(packet) = self.world.next(self.next_tick.min(end)) {
                self.crawler.receive(self.world.now, &packet, &mut self.out);
            } else if self.world.now < self.next_tick {
                return;
            } else {
                self.next_tick += TICK;
                self.crawler.tick(self.world.now, &mut self.out);
            }
            self.empty_outbox();
        }
    }

    pub(crate) fn point(&self) -> Point {
        Point {
            hours: self.world.now.as_secs_f64() / 3_600.0,
            queries: self.watch.queries,
            answers: self.watch.answers,
            found: self.found.len(),
            exist: self.world.truth.values().filter(|torrent| torrent.offered.is_some()).count(),
        }
    }

    fn empty_outbox(&mut self) {
        for packet in self.out.sends.drain(..) {
            self.watch.sent(self.world.now, packet.from, packet.to, &packet.bytes);
            self.world.send(packet.from, packet.to, packet.bytes);
        }
        for info_hash in self.out.hashes.drain(..) {
            if self.world.truth.contains_key(&info_hash) {
                self.found.insert(info_hash);
            } else if self.made_up.len() < MADE_UP_MAX {
                self.made_up.insert(info_hash);
            }
        }
    }
}

/// Liars can make up any number.
const MADE_UP_MAX: usize = 1_000_000;
