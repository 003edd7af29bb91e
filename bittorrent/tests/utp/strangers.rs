//! Packets that no honest partner sends.

use std::{net::SocketAddr, time::Duration};

use bittorrent::{
    Disconnect,
    utp::{Packet, PacketKind, SelectiveAck, SeqNr, Utp, UtpConfig, UtpConnectError, UtpHandle},
};
use proptest::prelude::*;

use crate::network::{FINE, Network, accepting, addr, text};

const SECOND: Duration = Duration::from_secs(1);

/// A packet without anything of interest.
fn packet(kind: PacketKind, connection_id: u16, seq: SeqNr, ack: SeqNr) -> Packet<'static> {
    Packet {
        kind,
        connection_id,
        timestamp: 1,
        timestamp_difference: 2,
        window: 1 << 20,
        seq,
        ack,
        selective_ack: None,
        payload: b"",
    }
}

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.write(&mut bytes);
    bytes
}

/// A connection of ours to a partner that the test plays itself.
struct Played {
    network: Network,
    us: SocketAddr,
    them: SocketAddr,
    handle: UtpHandle,
    /// The id of packets to us.
    id: u16,
    /// The number that our next packet has.
    our_seq: SeqNr,
}

impl Played {
    fn new() -> Self {
        let mut network = Network::new(FINE, 1);
        let us = network.add(1, UtpConfig::default(), Duration::ZERO);
        let them = addr(2);
        let handle = network.connect(us, them);
        let syn = network.wire[0].3.clone();
        let syn = Packet::parse(&syn).unwrap();
        let mut played = Self { network, us, them, handle, id: syn.connection_id, our_seq: syn.seq.plus(1) };
        played.say(&packet(PacketKind::State, played.id, SeqNr(1000), syn.seq));
        assert_eq!(played.network.host(us).opened, [handle]);
        played.network.wire.clear();
        played
    }

    fn say(&mut self, packet: &Packet<'_>) {
        let (them, datagram) = (self.them, bytes(packet));
        self.network.at(self.us, |utp, now, out| utp.datagram(now, them, &datagram, out));
    }

    /// What we have sent since the last call.
    fn sent(&mut self) -> Vec<(PacketKind, u16, SeqNr, SeqNr, usize)> {
        let wire = std::mem::take(&mut self.network.wire);
        let read = |d: &[u8]| {
            let p = Packet::parse(d).unwrap();
            (p.kind, p.connection_id, p.seq, p.ack, p.payload.len())
        };
        wire.iter().map(|(.., datagram)| read(datagram)).collect()
    }

    fn utp(&mut self) -> &mut Utp {
        &mut self.network.host(self.us).utp
    }
}

#[test]
fn acknowledgements_of_what_was_never_sent_are_ignored_with_all_they_carry() {
    let mut played = Played::new();
    for ahead in [0, 1, 5, 1000, 0x7000] {
        let lie = Packet {
            payload: b"evil",
            ..packet(PacketKind::Data, played.id, SeqNr(1000), played.our_seq.plus(ahead))
        };
        played.say(&lie);
    }
    assert_eq!(played.utp().counters().acks_invalid, 5);
    assert_eq!(played.sent(), []);
    let (us, handle) = (played.us, played.handle);
    assert!(!played.network.host(us).got.contains_key(&handle));
    let honest = Packet {
        payload: b"good",
        ..packet(PacketKind::Data, played.id, SeqNr(1000), played.our_seq.minus(1))
    };
    played.say(&honest);
    assert_eq!(played.network.host(us).got[&handle], b"good");
}

#[test]
fn selective_acknowledgements_of_anything_do_no_harm() {
    let mut played = Played::new();
    let (us, handle) = (played.us, played.handle);
    played.network.write(us, handle, &text(3000, 1));
    let all = [0xff; 32];
    let lie = Packet {
        selective_ack: SelectiveAck::new(&all),
        ..packet(PacketKind::State, played.id, SeqNr(1000), played.our_seq.minus(1))
    };
    played.say(&lie);
    // Of three packets the last two count as arrived; the first is still sent again until it is acknowledged.
    assert_eq!(played.utp().unacknowledged(handle), 3000);
    played.network.run_for(2 * SECOND);
    let repeated = played.sent().iter().filter(|(_, _, seq, ..)| *seq == played.our_seq).count();
    assert!(repeated >= 2, "sent {repeated} times");
    played.say(&packet(PacketKind::State, played.id, SeqNr(1000), played.our_seq.plus(2)));
    assert_eq!(played.utp().unacknowledged(handle), 0);
}

#[test]
fn a_closed_window_is_tried_now_and_then_and_opens_again() {
    let mut played = Played::new();
    let (us, handle) = (played.us, played.handle);
    let shut =
        Packet { window: 0, ..packet(PacketKind::State, played.id, SeqNr(1000), played.our_seq.minus(1)) };
    played.say(&shut);
    played.network.write(us, handle, &text(3000, 1));
    assert_eq!(played.sent(), []);
    played.network.run_for(4 * SECOND);
    assert_eq!(played.sent(), [], "nothing goes into a closed window");
    played.network.run_for(2 * SECOND);
    let tries = played.sent();
    assert_eq!((tries[0].0, tries[0].2, tries[0].4), (PacketKind::Data, played.our_seq, 1212));
    assert!(tries.len() <= 2, "{tries:?}");
    played.say(&packet(PacketKind::State, played.id, SeqNr(1000), played.our_seq));
    let payload: usize = played.sent().iter().map(|sent| sent.4).sum();
    assert_eq!(payload, 3000 - 1212, "all the rest follows");
}

#[test]
fn a_window_of_a_few_bytes_gets_a_few_bytes() {
    let mut played = Played::new();
    let (us, handle) = (played.us, played.handle);
    let narrow =
        Packet { window: 7, ..packet(PacketKind::State, played.id, SeqNr(1000), played.our_seq.minus(1)) };
    played.say(&narrow);
    played.network.write(us, handle, &text(5000, 1));
    assert_eq!(played.sent().iter().map(|sent| sent.4).collect::<Vec<_>>(), [7]);
}

#[test]
fn payload_beyond_a_gap_is_kept_only_within_the_window() {
    let mut played = Played::new();
    let ack = played.our_seq.minus(1);
    let payload = [7; 1400];
    for ahead in 1..400 {
        let data =
            Packet { payload: &payload, ..packet(PacketKind::Data, played.id, SeqNr(1000).plus(ahead), ack) };
        played.say(&data);
    }
    let held = played.utp().bytes_held();
    assert!(held <= 256 << 10 && held > (256 << 10) - 1400, "{held}");
    let counters = *played.utp().counters();
    assert_eq!(counters.reassembly_refused + counters.out_of_window, 399 - held as u64 / 1400);
    let windows: Vec<_> =
        played.network.wire.iter().map(|(.., datagram)| Packet::parse(datagram).unwrap().window).collect();
    assert!(windows.is_sorted_by(|a, b| a >= b) && *windows.last().unwrap() < 1400);
    let (us, handle) = (played.us, played.handle);
    played.say(&Packet { payload: b"!", ..packet(PacketKind::Data, played.id, SeqNr(1000), ack) });
    assert_eq!(played.network.host(us).got[&handle].len(), 1 + held);
    assert_eq!(played.utp().bytes_held(), 0);
}

#[test]
fn all_connections_together_keep_no_more_than_the_memory_allows() {
    let mut network = Network::new(FINE, 1);
    let config = UtpConfig { reassembly_bytes_max: 10_000, ..UtpConfig::default() };
    let us = network.add(1, config, Duration::ZERO);
    for number in 2..12 {
        network.connect(us, addr(number));
        let syn = network.wire.last().unwrap().3.clone();
        let syn = Packet::parse(&syn).unwrap();
        let answer = bytes(&packet(PacketKind::State, syn.connection_id, SeqNr(5), syn.seq));
        let data = packet(PacketKind::Data, syn.connection_id, SeqNr(6), syn.seq);
        let data = bytes(&Packet { payload: &[0; 1400], ..data });
        for datagram in [answer, data] {
            network.at(us, |utp, now, out| utp.datagram(now, addr(number), &datagram, out));
        }
    }
    assert_eq!(network.host(us).utp.bytes_held(), 7 * 1400);
    assert_eq!(network.host(us).utp.counters().reassembly_refused, 3);
    network.run_for(100 * SECOND);
    assert_eq!((network.host(us).utp.len(), network.host(us).utp.bytes_held()), (0, 0));
}

#[test]
fn a_flood_of_syns_takes_the_places_of_half_open_connections_and_no_others() {
    let mut network = Network::new(FINE, 1);
    let config = UtpConfig { half_open_max: 10, ..accepting() };
    let us = network.add(1, config, Duration::ZERO);
    let friend = network.add(2, UtpConfig::default(), Duration::ZERO);
    let early = network.connect(friend, us);
    network.write(friend, early, b"early");
    network.run_for(SECOND);
    network.wire.clear();
    // From made-up addresses: nobody hears the answers.
    for number in 0..10_000_u16 {
        let from = SocketAddr::from(([127, 1, (number >> 8) as u8, number as u8], 5));
        let syn = bytes(&packet(PacketKind::Syn, number, SeqNr(number), SeqNr(0)));
        network.at(us, |utp, now, out| utp.datagram(now, from, &syn, out));
    }
    let host = network.host(us);
    assert_eq!((host.utp.len(), host.accepted.len()), (11, 1));
    assert_eq!(host.utp.counters().syns_refused, 9_990);
    assert_eq!(host.utp.counters().resets_sent, 50, "of one second");
    let sent: usize = network.wire.iter().map(|(.., datagram)| datagram.len()).sum();
    assert_eq!(sent, 60 * 20, "no more than came, and far less of it");
    network.write(friend, early, b" and late");
    network.run_for(7 * SECOND);
    let (handle, _) = network.host(us).accepted[0];
    assert_eq!(network.host(us).got[&handle], b"early and late");
    assert_eq!(network.host(us).utp.len(), 1, "the places are free again");
    assert_eq!(network.host(us).utp.counters().half_open_expired, 10);
    let late = network.connect(friend, us);
    network.write(friend, late, b"x");
    network.run_for(SECOND);
    assert_eq!(network.host(us).accepted.len(), 2);
}

#[test]
fn one_address_has_a_few_connections() {
    let mut network = Network::new(FINE, 1);
    let us = network.add(1, UtpConfig { accepted_per_ip_max: 3, ..accepting() }, Duration::ZERO);
    let greedy = network.add(2, UtpConfig::default(), Duration::ZERO);
    for _ in 0..5 {
        let handle = network.connect(greedy, us);
        network.write(greedy, handle, b"x");
    }
    network.run_for(SECOND);
    assert_eq!((network.host(us).accepted.len(), network.host(greedy).closed.len()), (3, 2));
    assert!(network.host(greedy).closed.iter().all(|(_, why)| *why == Disconnect::Refused));
}

#[test]
fn the_answer_to_a_syn_must_know_its_number() {
    let mut network = Network::new(FINE, 1);
    let us = network.add(1, UtpConfig::default(), Duration::ZERO);
    network.connect(us, addr(2));
    let syn = network.wire[0].3.clone();
    let syn = Packet::parse(&syn).unwrap();
    for (kind, ack) in [
        (PacketKind::State, syn.seq.plus(1)),
        (PacketKind::State, SeqNr(syn.seq.0 ^ 0x8000)),
        (PacketKind::Data, syn.seq),
        (PacketKind::Fin, syn.seq),
    ] {
        let guess = bytes(&packet(kind, syn.connection_id, SeqNr(5), ack));
        network.at(us, |utp, now, out| utp.datagram(now, addr(2), &guess, out));
    }
    let right = bytes(&packet(PacketKind::State, syn.connection_id, SeqNr(5), syn.seq));
    network.at(us, |utp, now, out| utp.datagram(now, addr(3), &right, out));
    assert_eq!(network.host(us).opened.len(), 0);
    network.at(us, |utp, now, out| utp.datagram(now, addr(2), &right, out));
    assert_eq!(network.host(us).opened.len(), 1);
}

#[test]
fn a_reset_with_either_id_ends_a_connection_and_one_with_another_does_not() {
    for (shift, ends) in [(0, true), (1, true), (2, false), (0xffff, false)] {
        let mut played = Played::new();
        let id = played.id.wrapping_add(shift);
        played.say(&packet(PacketKind::Reset, id, SeqNr(1), SeqNr(1)));
        let (us, handle) = (played.us, played.handle);
        let expected = if ends { vec![(handle, Disconnect::Reset)] } else { vec![] };
        assert_eq!(played.network.host(us).closed, expected, "{shift}");
        assert_eq!(played.sent(), [], "a reset is never answered");
    }
}

#[test]
fn a_reset_ends_a_connection_whatever_state_it_is_in() {
    // One that we have asked for.
    let mut network = Network::new(FINE, 1);
    let us = network.add(1, accepting(), Duration::ZERO);
    let asked = network.connect(us, addr(2));
    let syn = network.wire[0].3.clone();
    let id = Packet::parse(&syn).unwrap().connection_id;
    let reset = bytes(&packet(PacketKind::Reset, id, SeqNr(1), SeqNr(1)));
    network.at(us, |utp, now, out| utp.datagram(now, addr(2), &reset, out));
    assert_eq!(network.host(us).closed, [(asked, Disconnect::Refused)]);
    // One that somebody has asked for and not used.
    let syn = bytes(&packet(PacketKind::Syn, 77, SeqNr(1), SeqNr(0)));
    network.at(us, |utp, now, out| utp.datagram(now, addr(3), &syn, out));
    assert_eq!(network.host(us).utp.len(), 1);
    let reset = bytes(&packet(PacketKind::Reset, 78, SeqNr(1), SeqNr(1)));
    network.at(us, |utp, now, out| utp.datagram(now, addr(3), &reset, out));
    assert_eq!((network.host(us).utp.len(), network.host(us).closed.len()), (0, 1), "nobody knew of it");
    // One whose last bytes are on their way.
    let mut played = Played::new();
    let (us, handle) = (played.us, played.handle);
    played.network.write(us, handle, &text(3000, 1));
    played.network.at(us, |utp, now, out| utp.close(now, handle, bittorrent::CloseHow::Flush, out));
    assert_eq!(played.utp().len(), 1);
    played.say(&packet(PacketKind::Reset, played.id, SeqNr(1), SeqNr(1)));
    assert_eq!((played.utp().len(), played.utp().bytes_held()), (0, 0));
    assert_eq!(played.network.host(us).closed, [], "who has closed is told nothing");
}

#[test]
fn what_comes_after_the_end_or_says_otherwise_is_not_part_of_the_stream() {
    let mut played = Played::new();
    let (us, handle) = (played.us, played.handle);
    let ack = played.our_seq.minus(1);
    let say = |played: &mut Played, kind, seq, payload: &'static [u8]| {
        let id = played.id;
        played.say(&Packet { payload, ..packet(kind, id, SeqNr(seq), ack) });
    };
    say(&mut played, PacketKind::Fin, 1002, b"");
    // Another end, earlier and later, and payload beyond the end.
    say(&mut played, PacketKind::Fin, 1001, b"");
    say(&mut played, PacketKind::Fin, 1004, b"");
    say(&mut played, PacketKind::Data, 1003, b"beyond");
    say(&mut played, PacketKind::Data, 1001, b"two");
    assert_eq!(played.network.host(us).closed, [], "the beginning is missing");
    say(&mut played, PacketKind::Data, 1000, b"one");
    say(&mut played, PacketKind::Data, 1000, b"another one");
    let host = played.network.host(us);
    assert_eq!(
        (&host.got[&handle][..], &host.closed[..]),
        (&b"onetwo"[..], &[(handle, Disconnect::Eof)][..])
    );
}

#[test]
fn packets_for_nobody_are_answered_by_a_reset_within_bounds() {
    let mut played = Played::new();
    let stray = packet(PacketKind::Data, played.id.wrapping_add(100), SeqNr(77), SeqNr(1));
    played.say(&stray);
    let sent = played.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, sent[0].1, sent[0].3), (PacketKind::Reset, stray.connection_id, SeqNr(77)));
    for _ in 0..200 {
        played.say(&stray);
    }
    assert_eq!(played.utp().counters().resets_sent, 50);
    assert_eq!(played.utp().counters().resets_suppressed, 151);
}

#[test]
fn with_all_places_taken_those_that_are_being_closed_give_way() {
    let mut network = Network::new(FINE, 1);
    let us = network.add(1, UtpConfig { connections_max: 2, ..UtpConfig::default() }, Duration::ZERO);
    let them = network.add(2, accepting(), Duration::ZERO);
    let (one, _two) = (network.connect(us, them), network.connect(us, them));
    network.run_for(SECOND);
    let full = network.at(us, |utp, now, _| utp.connect(now, them));
    assert_eq!(full, Err(UtpConnectError::Full));
    network.at(us, |utp, now, out| utp.close(now, one, bittorrent::CloseHow::Flush, out));
    assert_eq!(network.host(us).utp.len(), 2, "its end is on the way");
    assert!(network.at(us, |utp, now, _| utp.connect(now, them)).is_ok());
    assert_eq!(network.host(us).utp.len(), 2);
}

#[derive(Clone, Debug)]
struct Made {
    from: u8,
    wait_ms: u16,
    kind: u8,
    id_shift: i8,
    seq_shift: i16,
    ack_shift: i16,
    window: u32,
    payload: usize,
    bits: Option<[u8; 4]>,
    cut: Option<usize>,
    write: usize,
}

fn made() -> impl Strategy<Value = Made> {
    let small = || prop_oneof![6 => -3..20_i16, 1 => any::<i16>()];
    let numbers = (0..2_u8, 0..2000_u16, 0..6_u8, -2..4_i8, small(), small());
    let rest =
        (any::<u32>(), 0..1500_usize, prop::option::of(any::<[u8; 4]>()), prop::option::of(0..40_usize));
    (numbers, rest, 0..3000_usize).prop_map(
        |((from, wait_ms, kind, id_shift, seq_shift, ack_shift), (window, payload, bits, cut), write)| Made {
            from,
            wait_ms,
            kind,
            id_shift,
            seq_shift,
            ack_shift,
            window,
            payload,
            bits,
            cut,
            write,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_packets_break_the_bounds(packets in prop::collection::vec(made(), 1..120)) {
        let config = UtpConfig { reassembly_bytes_max: 20_000, connections_max: 8, ..accepting() };
        let mut network = Network::new(FINE, 1);
        let us = network.add(1, config, Duration::ZERO);
        let handle = network.connect(us, addr(2));
        let syn = network.wire[0].3.clone();
        let syn = Packet::parse(&syn).unwrap();
        let answer = bytes(&packet(PacketKind::State, syn.connection_id, SeqNr(0xfffb), syn.seq));
        network.at(us, |utp, now, out| utp.datagram(now, addr(2), &answer, out));
        let payload = [1; 1500];
        for made in packets {
            use PacketKind as K;
            let kind = [K::Data, K::Fin, K::State, K::Reset, K::Syn, K::Data][usize::from(made.kind)];
            let packet = Packet {
                kind,
                connection_id: syn.connection_id.wrapping_add_signed(made.id_shift.into()),
                timestamp: made.window,
                timestamp_difference: !made.window,
                window: made.window,
                seq: SeqNr(0xfffb_u16.wrapping_add_signed(made.seq_shift)),
                ack: SeqNr(syn.seq.0.wrapping_add_signed(made.ack_shift)),
                selective_ack: made.bits.as_ref().and_then(|bits| SelectiveAck::new(bits)),
                payload: &payload[..made.payload],
            };
            let mut datagram = bytes(&packet);
            if let Some(cut) = made.cut {
                datagram.truncate(cut);
            }
            let from = addr(2 + made.from);
            network.at(us, |utp, now, out| utp.datagram(now, from, &datagram, out));
            let _ = network.at(us, |utp, _, _| utp.write(handle, &payload[..made.write.min(1500)]));
            network.run_for(Duration::from_millis(made.wait_ms.into()));
            let host = network.host(us);
            prop_assert!(host.utp.bytes_held() <= 20_000);
            prop_assert!(host.utp.len() <= 8);
            prop_assert!(host.closed.len() <= 1 + host.accepted.len(), "closed once");
        }
        network.run_for(200 * SECOND);
        let host = network.host(us);
        prop_assert_eq!((host.utp.len(), host.utp.bytes_held(), host.utp.next_deadline()), (0, 0, None));
    }
}
