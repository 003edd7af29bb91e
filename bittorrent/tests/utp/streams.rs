//! Streams arrive whole, whatever the network does.

use std::time::Duration;

use bittorrent::{
    CloseHow, Disconnect,
    utp::{Packet, PacketKind, UtpConfig, UtpWriteError},
};
use proptest::prelude::*;

use crate::network::{FINE, Network, Weather, accepting, addr, text};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_connection_takes_one_round_trip_and_carries_bytes_both_ways() {
    let mut network = Network::new(FINE, 1);
    let a = network.add(1, UtpConfig::default(), Duration::ZERO);
    let b = network.add(2, accepting(), 77 * SECOND);
    let start = network.now;
    let ours = network.connect(a, b);
    network.write(a, ours, b"ping");
    network.run_until(start + Duration::from_millis(20));
    assert_eq!(network.host(a).opened, [ours], "after one round trip");
    network.run_until(start + Duration::from_millis(30));
    let (theirs, from) = network.host(b).accepted[0];
    assert_eq!((from, &network.host(b).got[&theirs][..]), (a, &b"ping"[..]));
    network.write(b, theirs, b"pong");
    network.run_until(start + Duration::from_millis(50));
    assert_eq!(network.host(a).got[&ours], b"pong");
    // The connection, ping and its acknowledgement, pong and its acknowledgement.
    let kinds: Vec<_> = network.wire.iter().map(|(.., d)| Packet::parse(d).unwrap().kind).collect();
    use PacketKind as K;
    assert_eq!(kinds, [K::Syn, K::State, K::Data, K::State, K::Data, K::State]);
    let syn = Packet::parse(&network.wire[0].3).unwrap();
    let (answer, data) =
        (Packet::parse(&network.wire[1].3).unwrap(), Packet::parse(&network.wire[2].3).unwrap());
    assert_eq!(answer.connection_id, syn.connection_id);
    assert_eq!(answer.ack, syn.seq);
    assert_eq!(data.connection_id, syn.connection_id.wrapping_add(1));
    assert_eq!(
        (data.seq, data.ack),
        (syn.seq.plus(1), answer.seq.minus(1)),
        "the answer has no number of its own"
    );
    assert_eq!(Packet::parse(&network.wire[4].3).unwrap().seq, answer.seq);
}

#[test]
fn a_close_in_good_order_delivers_everything_and_leaves_nothing_behind() {
    let (mut network, (a, ours), (b, theirs)) = Network::pair(FINE, 2);
    let bytes = text(100_000, 1);
    network.write(b, theirs, &bytes);
    network.at(b, |utp, now, out| utp.close(now, theirs, CloseHow::Flush, out));
    assert_eq!(network.at(b, |utp, _, _| utp.write(theirs, b"x")), Err(UtpWriteError::Gone));
    network.run_for(2 * SECOND);
    assert_eq!(network.host(a).got[&ours], bytes);
    assert_eq!(network.host(a).closed, [(ours, Disconnect::Eof)]);
    assert_eq!(network.host(b).closed, [], "who closes is not told that it is closed");
    assert!(network.host(a).utp.is_empty() && network.host(b).utp.is_empty());
    assert_eq!(network.host(b).utp.counters().lingered_out, 0);
}

#[test]
fn an_abandoned_connection_is_reset() {
    let (mut network, (a, ours), (b, theirs)) = Network::pair(FINE, 3);
    network.at(a, |utp, now, out| utp.close(now, ours, CloseHow::Reset, out));
    network.run_for(SECOND);
    assert_eq!(network.host(b).closed, [(theirs, Disconnect::Reset)]);
    assert!(network.host(a).utp.is_empty() && network.host(b).utp.is_empty());
}

#[test]
fn a_port_that_takes_no_connections_refuses_and_a_silent_one_times_out() {
    let mut network = Network::new(FINE, 4);
    let a = network.add(1, UtpConfig::default(), Duration::ZERO);
    let b = network.add(2, UtpConfig::default(), Duration::ZERO);
    let refused = network.connect(a, b);
    let silent = network.connect(a, addr(9));
    network.run_for(SECOND);
    assert_eq!(network.host(a).closed, [(refused, Disconnect::Refused)]);
    network.run_for(10 * SECOND);
    assert_eq!(network.host(a).closed[1..], [(silent, Disconnect::Timeout)]);
    let syns = network.wire.iter().filter(|(_, _, to, _)| *to == addr(9)).count();
    assert_eq!(syns, 3);
    assert!(network.host(a).utp.is_empty());
}

#[test]
fn a_partner_that_vanishes_is_noticed_and_given_up() {
    let (mut network, (a, ours), (b, _)) = Network::pair(FINE, 5);
    network.hosts.remove(&b);
    network.write(a, ours, b"anybody?");
    let before = network.wire.len();
    network.run_for(70 * SECOND);
    assert_eq!(network.host(a).closed, [(ours, Disconnect::Timeout)]);
    assert!(network.wire.len() - before <= 8, "no more than one packet for each wait");
    assert!(network.host(a).utp.is_empty());
}

#[test]
fn an_idle_connection_is_kept_alive_on_both_sides() {
    let (mut network, (a, ours), (b, theirs)) = Network::pair(FINE, 6);
    let before = network.wire.len();
    network.run_for(600 * SECOND);
    let packets = network.wire.len() - before;
    assert!((30..60).contains(&packets), "{packets} packets in ten minutes");
    assert_eq!((network.host(a).closed.len(), network.host(b).closed.len()), (0, 0));
    network.write(b, theirs, b"still here");
    network.run_for(SECOND);
    assert!(network.host(a).got[&ours].ends_with(b"still here"));
    assert_eq!(network.host(b).utp.counters().retransmitted, 0);
}

#[test]
fn datagrams_fit_every_path() {
    let (mut network, (a, ours), (b, theirs)) = Network::pair(FINE, 7);
    network.write(a, ours, &text(200_000, 1));
    network.write(b, theirs, &text(200_000, 2));
    network.run_for(5 * SECOND);
    assert_eq!(network.host(a).got[&ours].len(), 200_000);
    let longest = network.wire.iter().map(|(.., datagram)| datagram.len()).max();
    assert_eq!(longest, Some(1232));
    let full = network.wire.iter().filter(|(.., datagram)| datagram.len() == 1232).count();
    assert!(full >= 2 * (200_000 / 1212), "bytes go in full packets: {full}");
}

#[test]
fn writes_beyond_the_buffer_are_refused_whole() {
    let (mut network, (a, ours), (b, theirs)) = Network::pair(FINE, 8);
    network.write(a, ours, &text(200 << 10, 1));
    let full = network.at(a, |utp, _, _| utp.write(ours, &[0; 100 << 10]));
    assert_eq!(full, Err(UtpWriteError::Full));
    network.run_for(5 * SECOND);
    assert_eq!(network.host(b).got[&theirs].len(), 5 + (200 << 10));
    assert_eq!(network.host(a).utp.unacknowledged(ours), 0);
    assert_eq!(network.at(a, |utp, _, _| utp.write(ours, &[0; 100 << 10])), Ok(()));
}

#[test]
fn through_a_narrow_link_the_queue_stays_near_the_target() {
    // 1 Mbit/s, with a queue without end: whoever fills it makes everybody wait.
    let (mut network, (a, ours), (b, theirs)) =
        Network::pair(Weather { rate: 125_000, latency: Duration::from_millis(20), ..FINE }, 9);
    let begun = network.now;
    let mut written = 5;
    while network.now < begun + 30 * SECOND {
        if network.host(a).utp.unacknowledged(ours) < 100_000 {
            network.write(a, ours, &text(50_000, written as u64));
            written += 50_000;
        }
        if network.now < begun + 10 * SECOND {
            // What the start overshoots is not held against it.
            network.longest_queue = Duration::ZERO;
        }
        network.run_for(Duration::from_millis(50));
    }
    let rate = network.host(b).got[&theirs].len() as f64 / 30.0;
    assert!(rate > 100_000.0, "the link is used: {rate} of 125000 bytes a second");
    assert!(network.longest_queue < Duration::from_millis(150), "waits of {:?}", network.longest_queue);
    assert_eq!(network.host(a).utp.counters().retransmitted, 0);
}

/// Sends `there` and `back` at once, closes, and checks what came. Returns how long it took.
fn exchange(weather: Weather, seed: u64, there: usize, back: usize, chunk: usize) -> Duration {
    let (mut network, (a, ours), (b, theirs)) = Network::pair(weather, seed);
    let (to_b, to_a) = (text(there, seed), text(back, !seed));
    let begun = network.now;
    for bytes in to_b.chunks(chunk) {
        network.write(a, ours, bytes);
    }
    for bytes in to_a.chunks(chunk) {
        network.write(b, theirs, bytes);
    }
    let done = |network: &mut Network| {
        network.host(a).got.get(&ours).map_or(0, Vec::len) == back
            && network.host(b).got[&theirs].len() == 5 + there
    };
    while !done(&mut network) {
        network.run_for(SECOND / 10);
        assert!(
            network.now < begun + 600 * SECOND,
            "it takes too long: {:?}",
            network.host(a).utp.counters()
        );
        assert_eq!(network.hosts.values().map(|host| host.closed.len()).sum::<usize>(), 0);
    }
    let took = network.now - begun;
    assert_eq!(&network.host(b).got[&theirs][5..], to_b);
    if back > 0 {
        assert_eq!(network.host(a).got[&ours], to_a);
    }
    network.at(a, |utp, now, out| utp.close(now, ours, CloseHow::Flush, out));
    network.run_for(180 * SECOND);
    assert!(network.host(a).utp.is_empty(), "nothing is left");
    assert!(network.host(b).utp.is_empty(), "nothing is left");
    assert_eq!(network.host(a).utp.bytes_held() + network.host(b).utp.bytes_held(), 0);
    took
}

#[test]
fn a_fifth_lost_a_fifth_twice_and_a_fifth_late_is_survived() {
    let storm = Weather { loss: 20, duplication: 20, reordering: 20, ..FINE };
    for seed in 0..4 {
        // An info dict of 64 KiB.
        let took = exchange(storm, 100 + seed, 500, 64 << 10, 1000);
        assert!(took < 60 * SECOND, "{took:?}");
    }
}

#[test]
fn numbers_wrap_around_in_a_long_stream() {
    // More than 65536 packets of the smallest size allowed.
    let mut network = Network::new(Weather { latency: Duration::from_millis(1), ..FINE }, 11);
    let small = UtpConfig { datagram_bytes_max: 512, ..accepting() };
    let (a, b) = (network.add(1, small, Duration::ZERO), network.add(2, small, Duration::ZERO));
    let ours = network.connect(a, b);
    let block = text(200_000, 3);
    let blocks = 70_000 * 492 / block.len();
    for _ in 0..blocks {
        network.write(a, ours, &block);
        while network.host(a).utp.unacknowledged(ours) > 0 {
            network.run_for(Duration::from_millis(20));
        }
        network.wire.clear();
        let (theirs, _) = network.host(b).accepted[0];
        assert!(network.host(b).got.remove(&theirs).unwrap() == block);
    }
    assert_eq!(network.host(a).utp.counters().retransmitted, 0);
    assert!(network.host(a).utp.counters().sent > 70_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_arrive_whole_whatever_the_network_does(
        loss in 0..15_u32,
        duplication in 0..30_u32,
        reordering in 0..50_u32,
        latency_ms in 1..150_u64,
        there in 0..40_000_usize,
        back in 0..40_000_usize,
        chunk in 100..20_000_usize,
        seed in any::<u64>(),
    ) {
        let latency = Duration::from_millis(latency_ms);
        exchange(Weather { loss, duplication, reordering, latency, rate: 0 }, seed, there, back, chunk);
    }
}
