//! What it costs to get a datagram in and another one out: CPU time of a server that sends everything back, and how many it
//! sends back in a second.
//!
//! `cargo bench -p benches --bench echo -- [--seconds 1] [--rounds 5]`
//!
//! Each server is a process of its own: the runtime with an echo in it, as it is configured in the row, and as the floor
//! `recvmmsg` and `sendmmsg` on blocking sockets, a thread a port. The load comes from this process over loopback.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod client;
mod floor;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use benches::Table;
use client::Client;
use server::{Kind, Server};

/// Datagrams that wait to come back at a time: a busy program, and one that has something to do now and then.
const WINDOWS: [usize; 2] = [256, 8];

/// The servers. The floor stands before those that are compared with it.
const SERVERS: [(u16, Kind); 10] = [
    (1, Kind::Floor),
    (1, Kind::Runtime { io_threads: 0, batched: true }),
    (1, Kind::Runtime { io_threads: 0, batched: false }),
    (1, Kind::Runtime { io_threads: 1, batched: true }),
    (4, Kind::Floor),
    (4, Kind::Runtime { io_threads: 0, batched: true }),
    (4, Kind::Runtime { io_threads: 0, batched: false }),
    (4, Kind::Runtime { io_threads: 1, batched: true }),
    (4, Kind::Runtime { io_threads: 1, batched: false }),
    (4, Kind::Runtime { io_threads: 2, batched: true }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((role, rest)) if role == "--be" => server::be(rest),
        _ => compare(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// The value behind a flag.
fn value(arguments: &[String], flag: &str, default: u64) -> Result<u64, String> {
    let Some(at) = arguments.iter().position(|argument| argument == flag) else { return Ok(default) };
    let value = arguments.get(at + 1).ok_or(format!("{flag} needs a number"))?;
    value.parse().map_err(|error| format!("{flag} {value}: {error}"))
}

/// Rounds of one server under one load.
#[derive(Clone, Default)]
struct Measured {
    /// CPU time for each datagram that came back, microseconds.
    cpu: Vec<f64>,
    /// How many came back in a second.
    per_second: Vec<f64>,
}

fn compare(arguments: &[String]) -> Result<(), String> {
    let length = Duration::from_secs(value(arguments, "--seconds", 1)?);
    let rounds = value(arguments, "--rounds", 5)?;
    println!("echo of 100 bytes, best of {rounds} rounds (median)\n");
    let mut client = Client::new()?;
    for window in WINDOWS {
        let mut measured = vec![Measured::default(); SERVERS.len()];
        // By turns, so that whatever disturbs the machine disturbs all of them.
        for _ in 0..rounds {
            for ((ports, kind), measured) in SERVERS.iter().zip(&mut measured) {
                let server = Server::start(*kind, *ports)?;
                client.run(server.ports(), window, length / 10)?;
                let before = server.cpu()?;
                let came = client.run(server.ports(), window, length)?;
                let spent = server.cpu()? - before;
                measured.cpu.push(spent.as_secs_f64() * 1e6 / came.max(1) as f64);
                measured.per_second.push(came as f64 / length.as_secs_f64());
            }
        }
        println!("{window} datagrams under way");
        let mut table = Table::new(["", "ports", "CPU us a datagram", "of the floor", "datagrams/s"]);
        let mut floor = 0.0;
        for ((ports, kind), measured) in SERVERS.iter().zip(&mut measured) {
            measured.cpu.sort_unstable_by(f64::total_cmp);
            measured.per_second.sort_unstable_by(|a, b| b.total_cmp(a));
            let [cpu, per_second] =
                [&measured.cpu, &measured.per_second].map(|values| (values[0], values[values.len() / 2]));
            if *kind == Kind::Floor {
                floor = cpu.0;
            }
            table.row([
                kind.to_string(),
                ports.to_string(),
                format!("{:.2} ({:.2})", cpu.0, cpu.1),
                format!("{:.2}", cpu.0 / floor),
                format!("{:.0} ({:.0})", per_second.0, per_second.1),
            ]);
        }
        println!("{table}");
    }
    Ok(())
}
