//! What one turn costs a message: datagram in, `update`, datagram out, against the same work in a plain loop.
//!
//! `cargo run --release -p tea-runtime --example turn_overhead` prints nanoseconds a message, the best of several
//! rounds. No sockets: the system calls that receive and send cost the same with any runtime and far more.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tea_runtime::{
    Cmd, Config, Context, Datagram, InMemory, Never, PreparedBatch, Program, Sub, Time, UdpPort,
};

/// The work: sums the bytes and answers with the sum and the first half of the payload.
struct Work {
    handled: u64,
}

impl Work {
    fn answer(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.handled += 1;
        let sum = payload
            .iter()
            .fold(self.handled, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        out.extend_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(&payload[..payload.len() / 2]);
    }
}

impl Program for Work {
    type Flags = u16;
    type Msg = (u16, Datagram);
    type Key = u16;
    type Effect = Never;

    fn init(ports: u16, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { handled: u64::from(ports) << 32 }
    }

    fn update(&mut self, (port, datagram): Self::Msg, _: &Context, cmd: &mut Cmd<Self>) {
        cmd.send(port, datagram.from(), |out| self.answer(datagram.payload(), out));
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        for port in 0..(self.handled >> 32) as u16 {
            let bind = SocketAddr::from(([127, 0, 0, 1], port));
            sub.udp(port, UdpPort::new(bind), |port, datagram| (port, datagram));
        }
    }
}

const ROUNDS: u32 = 15;
const TURNS: u32 = 2000;

fn main() {
    let payload = [0x5a; 100];
    let from = SocketAddr::from(([10, 0, 0, 1], 6881));
    println!("ports  datagrams/turn  bare ns  turn ns  overhead ns");
    for (ports, fill) in [(1, 64), (4, 64), (16, 64), (4, 8), (1, 1)] {
        let messages = u32::from(ports) * fill;
        let batch = PreparedBatch::new((0..fill).map(|_| (from, &payload[..])));
        let config = Config { check_subscriptions: false, ..Config::default() };
        let mut program = InMemory::<Work>::new(config, ports);
        let mut now = Time::ZERO;
        let (mut bare, mut turn) = (f64::INFINITY, f64::INFINITY);
        // By turns, so that a busy machine disturbs both.
        for _ in 0..ROUNDS {
            bare = bare.min(bare_round(&payload, messages));
            turn = turn.min(turn_round(&mut program, &mut now, ports, &batch));
        }
        println!("{ports:5}  {messages:14}  {bare:7.1}  {turn:7.1}  {:11.1}", turn - bare);
    }
}

/// Delivers a batch to each port and takes a turn, again and again; only the turns are timed.
fn turn_round(program: &mut InMemory<Work>, now: &mut Time, ports: u16, batch: &PreparedBatch) -> f64 {
    let (mut spent, mut messages) = (Duration::ZERO, 0);
    for _ in 0..TURNS {
        *now = *now + Duration::from_micros(100);
        for port in 0..ports {
            assert!(program.deliver(port, batch));
        }
        let begin = Instant::now();
        messages += program.turn(*now);
        spent += begin.elapsed();
    }
    nanos(spent, messages)
}

/// The same work without a runtime: a loop that answers into one buffer.
fn bare_round(payload: &[u8], messages: u32) -> f64 {
    let (mut work, mut out) = (Work { handled: 0 }, Vec::with_capacity(1 << 20));
    let mut spent = Duration::ZERO;
    for _ in 0..TURNS {
        let begin = Instant::now();
        for _ in 0..messages {
            work.answer(black_box(payload), &mut out);
        }
        black_box(&out);
        out.clear();
        spent += begin.elapsed();
    }
    nanos(spent, TURNS * messages)
}

fn nanos(spent: Duration, messages: u32) -> f64 {
    spent.as_nanos() as f64 / f64::from(messages.max(1))
}
