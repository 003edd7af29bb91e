//! Transports in use allocate nothing for a packet, and little for a connection.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use allocation_counter::measure;
use bittorrent::{
    Action, Candidate, Fetch, FetchConfig, Output, PeerId, PeerSource, Transport, TransportSet,
    utp::{Utp, UtpAction, UtpConfig, UtpHandle, UtpOutput},
};
use krpc::InfoHash;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Two endpoints whose datagrams reach each other at once; of those in between, `loses` says which do not.
struct Pair {
    now: Duration,
    ends: [Utp; 2],
    outs: [UtpOutput; 2],
    addrs: [SocketAddr; 2],
    handles: [Option<UtpHandle>; 2],
    received: [usize; 2],
    carried: usize,
}

impl Pair {
    fn new() -> Self {
        let config = UtpConfig { accepted_max: 1, ..UtpConfig::default() };
        let mut pair = Self {
            now: Duration::from_secs(1),
            ends: [1, 2].map(|seed| Utp::new(config, [seed; 32])),
            outs: Default::default(),
            addrs: [1, 2].map(|number| ([127, 0, 0, number], 1).into()),
            handles: [None, None],
            received: [0, 0],
            carried: 0,
        };
        let handle = pair.ends[0].connect(pair.now, pair.addrs[1]).unwrap();
        pair.handles[0] = Some(handle);
        pair.ends[0].write(handle, b"hello").unwrap();
        pair.run(|_| false);
        assert!(pair.handles[1].is_some());
        pair
    }

    /// Carries datagrams until nobody has anything to send.
    fn run(&mut self, loses: impl Fn(usize) -> bool) {
        let mut idle = false;
        while !idle {
            idle = true;
            self.now += MILLISECOND;
            for from in [0, 1] {
                let [first, second] = &mut self.ends;
                let (sender, receiver) = if from == 0 { (first, second) } else { (second, first) };
                let [first, second] = &mut self.outs;
                let (out, answers) = if from == 0 { (first, second) } else { (second, first) };
                sender.tick(self.now, out);
                for action in out.drain() {
                    match action {
                        UtpAction::Send { datagram, .. } => {
                            idle = false;
                            self.carried += 1;
                            if !loses(self.carried) {
                                receiver.datagram(self.now, self.addrs[from], datagram, answers);
                            }
                        }
                        UtpAction::Data { bytes, .. } => self.received[from] += bytes.len(),
                        UtpAction::Accepted { handle, .. } => self.handles[from] = Some(handle),
                        UtpAction::Opened(_) => {}
                        UtpAction::Closed { .. } => panic!("nobody closes"),
                    }
                }
            }
        }
    }

    /// Sends so many bytes from the second to the first, which asks with a few.
    fn exchange(&mut self, bytes: &[u8], loses: impl Fn(usize) -> bool) {
        self.ends[0].write(self.handles[0].unwrap(), &bytes[..60]).unwrap();
        self.run(&loses);
        self.ends[1].write(self.handles[1].unwrap(), bytes).unwrap();
        self.run(&loses);
        while self.ends[1].unacknowledged(self.handles[1].unwrap()) > 0 {
            self.now += Duration::from_millis(500);
            self.run(&loses);
        }
    }
}

#[test]
fn a_warm_utp_connection_allocates_nothing_for_a_packet() {
    let mut pair = Pair::new();
    let bytes = vec![7; 100_000];
    for _ in 0..5 {
        pair.exchange(&bytes, |_| false);
    }
    let (carried, received) = (pair.carried, pair.received[0]);
    let used = measure(|| {
        for _ in 0..10 {
            pair.exchange(&bytes, |_| false);
        }
    });
    assert_eq!(pair.received[0] - received, 1_000_000);
    assert!(pair.carried - carried > 826, "full packets and their acknowledgements");
    assert_eq!(used.count_total, 0);
}

#[test]
fn losses_are_repaired_in_memory_that_is_used_again() {
    let mut pair = Pair::new();
    let bytes = vec![7; 100_000];
    let every_17th = |number: usize| number.is_multiple_of(17);
    for _ in 0..20 {
        pair.exchange(&bytes, every_17th);
    }
    let carried = pair.carried;
    let used = measure(|| {
        for _ in 0..10 {
            pair.exchange(&bytes, every_17th);
        }
    });
    assert_eq!(pair.received[0], 3_000_000);
    let packets = (pair.carried - carried) as u64;
    assert!(used.count_total * 20 < packets, "{} allocations for {packets} packets", used.count_total);
}

#[test]
fn a_connection_that_is_being_made_takes_little_memory() {
    let mut utp = Utp::new(UtpConfig::default(), [1; 32]);
    let mut out = UtpOutput::new();
    let used = measure(|| {
        for port in 1..=1000 {
            utp.connect(Duration::ZERO, ([127, 0, 0, 1], port).into()).unwrap();
        }
        utp.tick(Duration::ZERO, &mut out);
    });
    // The output holds a SYN for each.
    assert_eq!(out.drain().count(), 1000);
    let each = used.bytes_current / 1000;
    println!("{each} bytes for a uTP connection");
    assert!(each < 1200, "uTP: {each} bytes");

    for transport in Transport::ALL {
        let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-000000000000"));
        config.transports.allowed = TransportSet::of(&[transport]);
        let config = Arc::new(config);
        let mut out = Output::new();
        let mut fetches = Vec::with_capacity(100);
        let used = measure(|| {
            for number in 0..100 {
                let hash = InfoHash::from_bytes([number; 20]);
                let mut fetch = Fetch::new(hash, Arc::clone(&config), Duration::ZERO);
                for peer in 1..=4 {
                    let candidate = Candidate::new(([127, 0, 0, 1], peer).into(), PeerSource::Lookup);
                    fetch.add_candidate(Duration::ZERO, candidate, &mut out);
                }
                let slots: Vec<_> = out
                    .drain()
                    .filter_map(|action| match action {
                        Action::Connect { slot, .. } => Some(slot),
                        _ => None,
                    })
                    .collect();
                for slot in slots {
                    fetch.peer_opened(Duration::ZERO, slot, &mut out);
                    out.drain().for_each(drop);
                }
                fetches.push(fetch);
            }
        });
        let each = used.bytes_current / 400;
        println!("{each} bytes for a connection of a fetch by {}", transport.label());
        assert!(each < 2048, "{transport:?}: {each} bytes for each of four connections of a fetch");
    }
}
