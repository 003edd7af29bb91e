//! Nanoseconds a message for parsing the recorded packets, with `bendy` beside it, and for encoding.
//!
//! `cargo run --release -p krpc --example measure`

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use bendy::decoding::FromBencode;
use bendy::value::Value;
use krpc::{Kind, Message, NodeId, encode};

/// Every packet of the corpus that is a message.
fn packets() -> Vec<Vec<u8>> {
    include_str!("../tests/corpus/packets.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').nth(3))
        .map(|hex| {
            (0..hex.len())
                .step_by(2)
                .filter_map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
                .collect::<Vec<u8>>()
        })
        .filter(|packet| Message::parse(packet).is_ok())
        .collect()
}

/// The best of many rounds, each over all `items`, in nanoseconds an item.
fn best_ns<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..40 {
        let start = Instant::now();
        for _ in 0..50 {
            for item in items {
                work(item);
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (50 * items.len()) as f64);
    }
    best
}

fn row(name: &str, packets: &[Vec<u8>]) {
    let bytes = packets.iter().map(Vec::len).sum::<usize>() / packets.len().max(1);
    let parse = best_ns(packets, |packet| {
        black_box(Message::parse(black_box(packet)).is_ok());
    });
    // The least that bendy can do: tokens, no values, no tree.
    let tokens = best_ns(packets, |packet| {
        black_box(bendy::decoding::Decoder::new(black_box(packet)).tokens().filter(Result::is_ok).count());
    });
    // What reading a message with bendy's own types takes.
    let tree = best_ns(packets, |packet| {
        let mut decoder = bendy::decoding::Decoder::new(black_box(packet)).with_max_depth(10);
        let object = decoder.next_object().ok().flatten();
        black_box(object.map(|object| Value::decode_bencode_object(object).is_ok()));
    });
    println!(
        "{name:<22} {:>4} packets {bytes:>5} bytes {parse:>8.1} {tokens:>8.1} {:>5.1}x {tree:>8.1} {:>5.1}x",
        packets.len(),
        tokens / parse,
        tree / parse
    );
}

fn main() {
    let packets = packets();
    println!(
        "parse                                   mean  krpc ns   tokens only by bendy   values by bendy"
    );
    row("mixed corpus", &packets);
    let group = |belongs: &dyn Fn(&Kind<'_>) -> bool| -> Vec<Vec<u8>> {
        packets.iter().filter(|p| Message::parse(p).is_ok_and(|m| belongs(&m.kind))).cloned().collect()
    };
    row("queries", &group(&|kind| matches!(kind, Kind::Query(_))));
    row("errors", &group(&|kind| matches!(kind, Kind::Error(_))));
    row(
        "replies to ping",
        &group(&|kind| matches!(kind, Kind::Reply(r) if r.nodes.is_empty() && r.values.is_empty())),
    );
    row(
        "replies with nodes",
        &group(&|kind| matches!(kind, Kind::Reply(r) if !r.nodes.is_empty() && r.samples.is_none())),
    );
    row("replies with values", &group(&|kind| matches!(kind, Kind::Reply(r) if !r.values.is_empty())));
    row("replies with samples", &group(&|kind| matches!(kind, Kind::Reply(r) if r.samples.is_some())));

    println!("\nencode                                               ns");
    let id = NodeId::from_bytes([7; 20]);
    let mut out = Vec::with_capacity(2048);
    let messages: Vec<Message<'_>> =
        packets.iter().filter_map(|packet| Message::parse(packet).ok()).collect();
    let queries: Vec<encode::Query<'_>> = messages
        .iter()
        .filter_map(|message| match message.kind {
            Kind::Query(query) => Some(encode::Query {
                tid: b"abcd",
                id,
                version: message.version,
                read_only: false,
                want: query.want,
                method: query.method,
            }),
            _ => None,
        })
        .collect();
    let ns = best_ns(&queries, |query| {
        out.clear();
        query.encode(&mut out);
        black_box(&out);
    });
    println!("{:<22} {:>4} {:>25.1}", "queries", queries.len(), ns);
    let lists: Vec<_> = messages
        .iter()
        .filter_map(|message| match message.kind {
            Kind::Reply(reply) => Some((
                message,
                reply,
                reply.nodes.iter().collect::<Vec<_>>(),
                reply.values.iter().collect::<Vec<_>>(),
            )),
            _ => None,
        })
        .collect();
    let replies: Vec<encode::Reply<'_>> = lists
        .iter()
        .map(|(message, reply, nodes, values)| encode::Reply {
            version: message.version,
            ip: message.ip,
            nodes: Some(nodes),
            values,
            token: reply.token,
            ..encode::Reply::new(message.tid, id)
        })
        .collect();
    let ns = best_ns(&replies, |reply| {
        out.clear();
        reply.encode(&mut out);
        black_box(&out);
    });
    println!("{:<22} {:>4} {:>25.1}", "replies", replies.len(), ns);
}
