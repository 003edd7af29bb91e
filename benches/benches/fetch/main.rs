//! What a fetch costs over real sockets: an info dict of 30 KiB from an ideal peer on this machine.
//!
//! `cargo bench -p benches --bench fetch`
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::panic, reason = "a benchmark of fetches that fail is worth nothing")]
#![expect(clippy::disallowed_methods, reason = "what is measured takes real time")]

mod floor;
mod info;
mod ours;
mod seeders;

use std::{cell::Cell, error::Error, net::SocketAddr, time::Duration, time::Instant};

use benches::{Contender, Cost, Table, take_turns};
use info::{INFO_BYTES, Info};
use ours::Job;
use seeders::Seeders;

const ROUNDS: usize = 9;
/// Fetches in a round.
const FETCHES: u32 = 2_048;

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == seeders::ROLE) {
        return Ok(seeders::serve(std::env::args().any(|argument| argument == seeders::SILENT))?);
    }
    let (seeders, info) = (Seeders::start(false)?, Info::new());
    println!(
        "a fetch of {INFO_BYTES} bytes over loopback, CPU time of our side in us, system included, best of {ROUNDS} rounds\n\
         (median); the seeders are a process of their own. floor: connect, ask for everything at once, read, hash\n"
    );
    let walls = [const { Cell::new(Duration::ZERO) }; 6];
    let timed = |row: usize, work: &dyn Fn()| {
        let begun = Instant::now();
        work();
        walls[row].set(walls[row].get() + begun.elapsed());
        u64::from(FETCHES)
    };
    let floor = |row: usize, at_once: u32| {
        let (seeders, info) = (&seeders, &info);
        Contender::new(move || {
            timed(row, &|| {
                if let Err(error) = floor::fetch(seeders, info, FETCHES, at_once) {
                    panic!("{error}");
                }
            })
        })
    };
    let ours = |row: usize, at_once: u32| {
        let job = Job {
            hash: info.hash,
            fetches: FETCHES,
            at_once,
            peers: 1,
            addr: |number, port| SocketAddr::from((seeders::ip(number), port)),
            port: seeders.port,
            every_second: |_, _| true,
        };
        Contender::new(move || {
            timed(row, &|| assert_eq!(ours::run(job.clone()), FETCHES, "all were fetched"))
        })
    };
    let names = [
        "floor, one by one",
        "floor, 64 at a time",
        "1 at a time",
        "64 at a time",
        "256 at a time",
        "1,024 at a time",
    ];
    let costs = take_turns(
        ROUNDS,
        [floor(0, 1), floor(1, 64), ours(2, 1), ours(3, 64), ours(4, 256), ours(5, 1_024)],
    );
    let mut table = Table::new(["", "us", "fetches/s by CPU", "by the clock"]);
    for ((name, Cost { min_ns, median_ns }), wall) in names.into_iter().zip(costs).zip(walls) {
        let us = format!("{:.1} ({:.1})", min_ns / 1e3, median_ns / 1e3);
        let by_clock = (ROUNDS + 1) as f64 * f64::from(FETCHES) / wall.get().as_secs_f64();
        table.row([name.to_owned(), us, format!("{:.0}", 1e9 / median_ns), format!("{by_clock:.0}")]);
    }
    println!("{table}");
    Ok(())
}
