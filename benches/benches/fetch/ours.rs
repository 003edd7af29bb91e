//! What the program does for a fetch: the state machine of `bittorrent` over the streams of the runtime.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bittorrent::{
    Action, Candidate, CloseHow, Disconnect, Fetch, FetchConfig, Output, PeerId, PeerSource, Slot,
};
use krpc::InfoHash;
use tea_runtime::{
    Close, CloseReason, Cmd, Config, Context, Never, Program, Runtime, StreamEvent, StreamLimits, Sub,
};

/// What is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) hash: InfoHash,
    /// Fetches in all, and at a time.
    pub(crate) fetches: u32,
    pub(crate) at_once: u32,
    /// Endpoints of each.
    pub(crate) peers: u32,
    pub(crate) addr: fn(u32, u16) -> SocketAddr,
    pub(crate) port: u16,
    /// Called once a second with the number of connections that stand; ends the run by `false`.
    pub(crate) every_second: fn(u64, usize) -> bool,
}

/// Fetches everything, or until it is told to end; returns how many were.
pub(crate) fn run(job: Job) -> u32 {
    let config = Config { streams_max: 18_000, ..Config::default() };
    match Runtime::new(config).run_blocking::<Fetcher>(job) {
        Ok(fetcher) => fetcher.done,
        Err(error) => panic!("{error}"),
    }
}

struct Fetcher {
    job: Job,
    config: Arc<FetchConfig>,
    fetches: HashMap<u32, Fetch>,
    begun: u32,
    done: u32,
    open: usize,
    seconds: u64,
    out: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Peer { fetch: u32, slot: u16 },
    Pace,
    Second,
}

enum Msg {
    Stream(Key, StreamEvent),
    Pace,
    Second,
}

impl Program for Fetcher {
    type Flags = Job;
    type Msg = Msg;
    type Key = Key;
    type Effect = Never;

    fn init(job: Job, cx: &Context, cmd: &mut Cmd<Self>) -> Self {
        let config = Arc::new(FetchConfig::new(PeerId::from_bytes(*b"-ix0100-abcdefghijkl")));
        let (fetches, out) = (HashMap::new(), Output::new());
        let mut fetcher = Self { job, config, fetches, begun: 0, done: 0, open: 0, seconds: 0, out };
        for _ in 0..fetcher.job.at_once {
            fetcher.begin(cx.now.since_start(), cmd);
        }
        fetcher
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        match msg {
            Msg::Stream(Key::Peer { fetch: id, slot }, event) => {
                let Some(fetch) = self.fetches.get_mut(&id) else { return };
                let slot = Slot::from_number(slot);
                match event {
                    StreamEvent::Opened { .. } => {
                        self.open += 1;
                        fetch.peer_opened(now, slot, &mut self.out);
                    }
                    StreamEvent::Data(bytes) => fetch.peer_data(now, slot, &bytes, &mut self.out),
                    StreamEvent::Closed(CloseReason::Stopping) => return,
                    StreamEvent::Closed(reason) => {
                        self.open -= 1;
                        let why = match reason {
                            CloseReason::Eof => Disconnect::Eof,
                            CloseReason::Reset => Disconnect::Reset,
                            reason => panic!("a stream ended: {reason:?}"),
                        };
                        fetch.peer_closed(now, slot, why, &mut self.out);
                    }
                    _ => {}
                }
                self.carry_out(id, now, cmd);
            }
            Msg::Stream(..) => {}
            Msg::Pace => {
                // As the resolver does it.
                let due: Vec<u32> = self
                    .fetches
                    .iter()
                    .filter(|(_, fetch)| fetch.next_deadline().is_some_and(|deadline| deadline <= now))
                    .map(|(id, _)| *id)
                    .collect();
                for id in due {
                    if let Some(fetch) = self.fetches.get_mut(&id) {
                        fetch.tick(now, &mut self.out);
                    }
                    self.carry_out(id, now, cmd);
                }
            }
            Msg::Second => {
                self.seconds += 1;
                if !(self.job.every_second)(self.seconds, self.open) {
                    cmd.quit();
                }
            }
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.every(Key::Pace, PACE, |_, _| Msg::Pace);
        sub.every(Key::Second, Duration::from_secs(1), |_, _| Msg::Second);
    }
}

impl Fetcher {
    fn begin(&mut self, now: Duration, cmd: &mut Cmd<Self>) {
        if self.begun == self.job.fetches {
            return;
        }
        let id = self.begun;
        self.begun += 1;
        let fetch = Fetch::new(self.job.hash, Arc::clone(&self.config), now);
        let fetch = self.fetches.entry(id).insert_entry(fetch).into_mut();
        for peer in 0..self.job.peers {
            let addr = (self.job.addr)(id * self.job.peers + peer, self.job.port);
            fetch.add_candidate(now, Candidate::new(addr, PeerSource::Lookup), &mut self.out);
        }
        fetch.no_more_candidates(now, &mut self.out);
        self.carry_out(id, now, cmd);
    }

    fn carry_out(&mut self, id: u32, now: Duration, cmd: &mut Cmd<Self>) {
        let key = |slot: Slot| Key::Peer { fetch: id, slot: slot.number() };
        let mut over = false;
        for action in self.out.drain() {
            match action {
                Action::Connect { slot, addr, timeout, .. } => {
                    // The limits of the program.
                    let limits = StreamLimits {
                        connect_timeout: timeout,
                        idle_timeout: Duration::from_secs(30),
                        lifetime_max: Duration::from_secs(900),
                        read_bytes_max: 576 << 20,
                        write_queue_bytes_max: 64 << 10,
                        ..StreamLimits::default()
                    };
                    cmd.connect(key(slot), addr, limits, Msg::Stream);
                }
                Action::Write { slot, bytes } => {
                    cmd.write(key(slot), |buffer| buffer.extend_from_slice(bytes));
                }
                Action::Close { slot, how } => {
                    self.open -= 1;
                    let close = match how {
                        CloseHow::Flush => Close::Flush,
                        CloseHow::Reset => Close::Reset,
                    };
                    cmd.close(key(slot), close);
                }
                Action::Done(_) => over = true,
                // The seeders of this benchmark tell of nobody.
                Action::Exchanged { .. } => {}
                Action::Failed(failure) => panic!("a fetch failed: {failure:?}"),
                Action::Report(_) | Action::Liar(_) => {}
            }
        }
        if over {
            self.fetches.remove(&id);
            self.done += 1;
            self.begin(now, cmd);
            if self.done == self.job.fetches {
                cmd.quit();
            }
        }
    }
}

/// How often the program looks for what is due.
const PACE: Duration = Duration::from_millis(25);
