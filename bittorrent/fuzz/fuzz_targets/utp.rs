//! An endpoint of uTP with a connection that stands: the input says what comes, from whom, and how long to wait.
//!
//! Each step is a byte that says what to do, a byte that says how much, and for a datagram 8 bytes that change the header of
//! a plausible packet.
#![no_main]

use std::time::Duration;

use bittorrent::{
    CloseHow,
    utp::{Packet, PacketKind, SelectiveAck, SeqNr, Utp, UtpAction, UtpConfig, UtpOutput},
};
use libfuzzer_sys::fuzz_target;

const HELD_MAX: usize = 16 << 10;

fuzz_target!(|input: &[u8]| {
    let config = UtpConfig {
        accepted_max: 6,
        accepted_per_ip_max: 6,
        half_open_max: 3,
        connections_max: 8,
        reassembly_bytes_max: HELD_MAX,
        ..UtpConfig::default()
    };
    let them = |number: u8| ([127, 0, 0, number], 6881).into();
    let (mut now, mut out) = (Duration::from_secs(1), UtpOutput::new());
    let mut utp = Utp::new(config, [1; 32]);
    let handle = utp.connect(now, them(1)).expect("there is room");
    utp.tick(now, &mut out);
    let syn = out
        .drain()
        .find_map(|action| match action {
            UtpAction::Send { datagram, .. } => {
                Packet::parse(datagram).ok().map(|p| (p.connection_id, p.seq))
            }
            _ => None,
        })
        .expect("a SYN");
    let payload = [7; 1400];
    let mut rest = input;
    while let [what, how_much, tail @ ..] = rest {
        rest = tail;
        match what & 7 {
            0 => now += Duration::from_millis(u64::from(*how_much) * 40),
            1 => {
                let _ = utp.write(handle, &payload[..usize::from(*how_much) * 5]);
            }
            2 => utp.close(now, handle, CloseHow::Flush, &mut out),
            3 => utp.datagram(now, them(*how_much), tail, &mut out),
            _ => {
                let Some((header, tail)) = tail.split_first_chunk::<8>() else { break };
                rest = tail;
                let [kind, id, seq, ack, window, bits, a, b] = *header;
                use PacketKind as K;
                let kinds = [K::Data, K::State, K::Fin, K::Syn, K::Reset, K::Data, K::State, K::Data];
                let bits = [bits, a, b, 0];
                let packet = Packet {
                    kind: kinds[usize::from(kind % 8)],
                    connection_id: syn.0.wrapping_add(u16::from(id % 4)),
                    timestamp: u32::from_be_bytes([a, b, seq, ack]),
                    timestamp_difference: u32::from_be_bytes([b, a, ack, seq]),
                    window: u32::from(window) << 8,
                    seq: SeqNr(0xfffa).plus(u16::from(seq)),
                    ack: syn.1.plus(u16::from(ack)).minus(2),
                    selective_ack: SelectiveAck::new(&bits).filter(|_| bits[0] != 0),
                    payload: &payload[..usize::from(*how_much) * 5],
                };
                let mut datagram = Vec::new();
                packet.write(&mut datagram);
                utp.datagram(now, them(1 + id / 128), &datagram, &mut out);
            }
        }
        utp.tick(now, &mut out);
        assert!(utp.next_deadline().is_none_or(|due| due > now));
        assert!(utp.bytes_held() <= HELD_MAX);
        assert!(utp.len() <= 8);
        for action in out.drain() {
            if let UtpAction::Send { datagram, .. } = action {
                assert!(datagram.len() <= 1232);
                assert!(Packet::parse(datagram).is_ok());
            }
        }
    }
    for _ in 0..100 {
        now += Duration::from_secs(10);
        utp.tick(now, &mut out);
        out.drain().for_each(drop);
    }
    assert!(utp.is_empty() && utp.bytes_held() == 0);
});
