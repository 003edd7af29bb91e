//! How many allocations a message takes once every buffer has its size: decoded, encoded, and handled in a turn.
//!
//! `cargo bench -p benches --bench allocations`
//!
//! A program of its own, since counting makes each allocation slower, which would tell on the times of `bendy`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]

#[path = "../messages/bendy_reader.rs"]
mod bendy_reader;
#[path = "../messages/bendy_writer.rs"]
mod bendy_writer;
#[path = "../../../krpc/tests/corpus/mod.rs"]
#[expect(dead_code, reason = "who sent a packet matters to its tests, not to its allocations")]
mod corpus;
#[path = "../turn/echo.rs"]
mod echo;
#[path = "../messages/kinds.rs"]
mod kinds;
#[path = "../messages/letters.rs"]
mod letters;
#[path = "../turn/load.rs"]
mod load;
#[path = "../turn/serving.rs"]
mod serving;

use std::hint::black_box;

use benches::Table;
use krpc::Message;
use letters::{Letter, Lists};
use load::{Contest, Load};

fn main() {
    let recorded = kinds::recorded();
    println!("allocations a message, once warm\n");
    let mut table = Table::new(["", "messages", "decode", "bendy's decode", "encode", "bendy's encode"]);
    messages_row(&mut table, "mixed corpus", &recorded);
    for group in kinds::groups(&recorded) {
        messages_row(&mut table, group.name, &group.packets);
    }
    println!("{table}");

    let mut table = Table::new(["", "messages", "bare", "turn"]);
    for load in Load::ALL {
        let mut contest = Contest::new(load, 4, 64);
        table.row([
            load.name().to_owned(),
            contest.messages().to_string(),
            each(|| contest.bare()),
            each(|| contest.turns()),
        ]);
    }
    println!("{table}");
}

fn messages_row(table: &mut Table, name: &str, packets: &[Vec<u8>]) {
    let messages: Vec<_> = packets.iter().filter_map(|packet| Message::parse(packet).ok()).collect();
    let lists: Vec<_> = messages.iter().map(Lists::of).collect();
    let letters: Vec<_> =
        messages.iter().zip(&lists).filter_map(|(message, lists)| Letter::of(message, lists)).collect();
    if letters.is_empty() {
        return;
    }
    let readable: Vec<_> = packets
        .iter()
        .zip(&messages)
        .filter(|(packet, message)| {
            bendy_reader::read(packet).is_some_and(|read| read.says_the_same_as(message))
        })
        .map(|(packet, _)| packet)
        .collect();
    let (mut out, mut scratch) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
    let decode =
        each(|| packets.iter().filter(|packet| black_box(Message::parse(packet)).is_ok()).count() as u64);
    let bendy_decode = each(|| {
        readable.iter().filter(|packet| black_box(bendy_reader::read(packet)).is_some()).count() as u64
    });
    let encode = each(|| {
        for letter in &letters {
            out.clear();
            letter.write(&mut out);
        }
        letters.len() as u64
    });
    let bendy_encode = each(|| {
        for letter in &letters {
            black_box(letter.write_with_bendy(&mut scratch));
        }
        letters.len() as u64
    });
    table.row([name.to_owned(), letters.len().to_string(), decode, bendy_decode, encode, bendy_encode]);
}

/// Allocations for each operation of a round, the first of which only warms up.
fn each(mut round: impl FnMut() -> u64) -> String {
    round();
    let mut operations = 0;
    let allocations = allocation_counter::measure(|| operations = round());
    format!("{:.2}", allocations.count_total as f64 / operations.max(1) as f64)
}
