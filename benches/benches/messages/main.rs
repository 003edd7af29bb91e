//! What a message costs: decoding beside `bendy` reading the same fields, encoding beside `bendy` and a copy of the bytes.
//!
//! `cargo bench -p benches --bench messages`
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::panic, reason = "a benchmark of contenders that disagree is worth nothing")]

mod bendy_reader;
mod bendy_writer;
#[path = "../../../krpc/tests/corpus/mod.rs"]
#[expect(dead_code, reason = "who sent a packet matters to its tests, not to its time")]
mod corpus;
mod kinds;
mod letters;

use std::hint::black_box;

use benches::{Contender, Cost, Table, take_turns};
use krpc::Message;
use letters::{Letter, Lists};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Rounds of each contender.
const ROUNDS: usize = 41;

/// Messages in a round: some hundred microseconds to some milliseconds.
const MESSAGES: usize = 6_000;

fn main() {
    let recorded = kinds::recorded();
    decode_table(&recorded);
    encode_table(&recorded);
}

fn decode_table(recorded: &[Vec<u8>]) {
    let (both, refused): (Vec<_>, Vec<_>) = recorded.iter().cloned().partition(|packet| {
        let (Ok(message), Some(bendy)) = (Message::parse(packet), bendy_reader::read(packet)) else {
            return false;
        };
        assert!(bendy.says_the_same_as(&message), "two readings of {}", packet.escape_ascii());
        true
    });
    println!(
        "decode, ns CPU time a message, best of {ROUNDS} rounds (median); {} recorded packets, without {} whose keys\n\
         or lengths bendy refuses. copy: the bytes are copied. tokens: bendy walks over the tokens and keeps nothing.\n",
        recorded.len(),
        refused.len()
    );
    let mut table = Table::new(["", "packets", "bytes", "krpc", "bendy", "copy", "tokens", "bendy/krpc"]);
    decode_row(&mut table, "mixed corpus", &both);
    for group in kinds::groups(&both) {
        decode_row(&mut table, group.name, &group.packets);
    }
    println!("{table}");
}

fn decode_row(table: &mut Table, name: &str, packets: &[Vec<u8>]) {
    if packets.is_empty() {
        return;
    }
    let order = order(packets.len());
    let packets_in_order = || order.iter().map(|index| packets[*index].as_slice());
    let krpc = || {
        for packet in packets_in_order() {
            black_box(&Message::parse(black_box(packet)));
        }
        order.len() as u64
    };
    let bendy = || {
        for packet in packets_in_order() {
            black_box(&bendy_reader::read(black_box(packet)));
        }
        order.len() as u64
    };
    let mut buffer = Vec::with_capacity(1 << 16);
    let copy = || {
        for packet in packets_in_order() {
            buffer.clear();
            buffer.extend_from_slice(black_box(packet));
            black_box(&buffer);
        }
        order.len() as u64
    };
    let tokens = || {
        for packet in packets_in_order() {
            black_box(
                bendy::decoding::Decoder::new(black_box(packet)).tokens().filter(Result::is_ok).count(),
            );
        }
        order.len() as u64
    };
    let contenders =
        [Contender::new(krpc), Contender::new(bendy), Contender::new(copy), Contender::new(tokens)];
    let [krpc, bendy, copy, tokens] = take_turns(ROUNDS, contenders);
    let bytes = packets.iter().map(Vec::len).sum::<usize>() / packets.len();
    table.row([
        name.to_owned(),
        packets.len().to_string(),
        bytes.to_string(),
        cost(krpc),
        cost(bendy),
        cost(copy),
        cost(tokens),
        format!("{:.1}", bendy.min_ns / krpc.min_ns),
    ]);
}

fn encode_table(recorded: &[Vec<u8>]) {
    println!(
        "encode, ns CPU time a message, best of {ROUNDS} rounds (median), into a buffer that is used again.\n\
         copy: the finished datagram is copied into that buffer.\n"
    );
    let mut table = Table::new(["", "messages", "bytes", "krpc", "bendy", "copy", "bendy/krpc", "krpc/copy"]);
    encode_row(&mut table, "mixed corpus", recorded);
    for group in kinds::groups(recorded) {
        encode_row(&mut table, group.name, &group.packets);
    }
    println!("{table}");
}

fn encode_row(table: &mut Table, name: &str, packets: &[Vec<u8>]) {
    let messages: Vec<_> = packets.iter().filter_map(|packet| Message::parse(packet).ok()).collect();
    let lists: Vec<_> = messages.iter().map(Lists::of).collect();
    let letters: Vec<_> =
        messages.iter().zip(&lists).filter_map(|(message, lists)| Letter::of(message, lists)).collect();
    if letters.is_empty() {
        return;
    }
    let mut scratch = Vec::with_capacity(1 << 16);
    let datagrams: Vec<_> = letters
        .iter()
        .map(|letter| {
            let mut datagram = Vec::new();
            letter.write(&mut datagram);
            let of_bendy = letter.write_with_bendy(&mut scratch);
            assert!(datagram == of_bendy, "{}\n{}", datagram.escape_ascii(), of_bendy.escape_ascii());
            datagram
        })
        .collect();
    let order = order(letters.len());
    let (mut out, mut copied) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
    let krpc = || {
        for index in &order {
            out.clear();
            black_box(&letters[*index]).write(&mut out);
            black_box(&out);
        }
        order.len() as u64
    };
    let bendy = || {
        for index in &order {
            black_box(black_box(&letters[*index]).write_with_bendy(&mut scratch));
        }
        order.len() as u64
    };
    let copy = || {
        for index in &order {
            copied.clear();
            copied.extend_from_slice(black_box(&datagrams[*index]));
            black_box(&copied);
        }
        order.len() as u64
    };
    let contenders = [Contender::new(krpc), Contender::new(bendy), Contender::new(copy)];
    let [krpc, bendy, copy] = take_turns(ROUNDS, contenders);
    table.row([
        name.to_owned(),
        letters.len().to_string(),
        (datagrams.iter().map(Vec::len).sum::<usize>() / datagrams.len()).to_string(),
        cost(krpc),
        cost(bendy),
        cost(copy),
        format!("{:.1}", bendy.min_ns / krpc.min_ns),
        format!("{:.1}", krpc.min_ns / copy.min_ns),
    ]);
}

/// [`MESSAGES`] indices below `count`: all of them, shuffled, then all of them shuffled in another way, and so on.
/// Messages from a network come in no order that a processor could learn.
fn order(count: usize) -> Vec<usize> {
    let mut random = StdRng::from_seed([1; 32]);
    let mut order = Vec::with_capacity(MESSAGES + count);
    let mut all: Vec<usize> = (0..count).collect();
    while order.len() < MESSAGES {
        all.shuffle(&mut random);
        order.extend_from_slice(&all);
    }
    order
}

fn cost(cost: Cost) -> String {
    format!("{:.0} ({:.0})", cost.min_ns, cost.median_ns)
}
