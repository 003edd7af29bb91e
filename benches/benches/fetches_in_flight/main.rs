//! What fetches hold and cost that wait: for connections, and for peers that say nothing.
//!
//! `cargo bench -p benches --bench fetches_in_flight`
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::panic, reason = "a benchmark of fetches that fail is worth nothing")]

#[path = "../fetch/info.rs"]
#[allow(dead_code, reason = "a part of what the other benchmark uses")]
mod info;
#[path = "../fetch/ours.rs"]
mod ours;
#[path = "../whole_program/process_figures.rs"]
#[allow(dead_code, reason = "a part of what the other benchmarks use")]
mod process_figures;
#[path = "../fetch/seeders.rs"]
#[allow(dead_code, reason = "a part of what the other benchmark uses")]
mod seeders;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
};

use benches::{Table, thread_cpu_time};
use info::Info;
use ours::Job;
use seeders::Seeders;
use socket2::{Domain, Socket, Type};

/// The argument that makes this program one of the rows; fetches, peers of each, and whether connections come about follow.
const ROLE: &str = "--be-the-fetches";

/// Seconds after which connections stand, and during which nothing happens.
const SETTLED_AFTER: u64 = 2;
const SECONDS: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == seeders::ROLE) {
        return Ok(seeders::serve(arguments.iter().any(|argument| argument == seeders::SILENT))?);
    }
    if let Some(at) = arguments.iter().position(|argument| argument == ROLE) {
        let numbers: Vec<u32> = arguments[at + 1..].iter().filter_map(|number| number.parse().ok()).collect();
        let [fetches, peers, standing] = numbers[..] else { return Err(ROLE.into()) };
        return hold(fetches, peers, standing == 1);
    }
    println!(
        "fetches whose peers say nothing, or do not take connections; bytes beyond those of a run with one fetch\n"
    );
    let mut table = Table::new([
        "fetches",
        "peers each",
        "connections",
        "allocated, each",
        "RSS, each",
        "RSS, MiB",
        "CPU to begin, s",
        "CPU waiting, of a core",
    ]);
    for (name, fetches, peers, standing) in
        [("stand", 4_000, 4, 1), ("being made", 4_000, 4, 0), ("stand", 10_000, 1, 1)]
    {
        let one = measure(1, 1, standing)?;
        let all = measure(fetches, peers, standing)?;
        let connections = f64::from(fetches * peers);
        let each = |of: fn(&Figures) -> f64| format!("{:.0}", (of(&all) - of(&one)) / connections);
        table.row([
            fetches.to_string(),
            peers.to_string(),
            format!("{connections} {name}"),
            each(|figures| figures.allocated),
            each(|figures| figures.rss),
            format!("{:.0}", all.rss / f64::from(1 << 20)),
            format!("{:.2}", all.cpu_begin),
            format!("{:.2} %", 100.0 * all.cpu_waiting),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// What a run with waiting fetches said of itself.
#[derive(Clone, Copy, Debug)]
struct Figures {
    allocated: f64,
    rss: f64,
    cpu_begin: f64,
    cpu_waiting: f64,
}

fn measure(fetches: u32, peers: u32, standing: u32) -> Result<Figures, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).args([fetches, peers, standing].map(|number| number.to_string()));
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [allocated, rss, cpu_begin, cpu_waiting] = numbers[..] else {
        return Err(format!("{fetches} fetches have said {text:?}").into());
    };
    Ok(Figures { allocated, rss, cpu_begin, cpu_waiting })
}

/// Is a row: begins the fetches, looks at itself, and says what it saw.
fn hold(fetches: u32, peers: u32, standing: bool) -> Result<(), Box<dyn Error>> {
    let seeders = Seeders::start(true)?;
    // Nobody takes connections there: when its queue is full, what comes is not answered.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    deaf.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    deaf.listen(0)?;
    let deaf_port = deaf.local_addr()?.as_socket().map_or(0, |addr| addr.port());
    let job = Job {
        hash: Info::new().hash,
        fetches,
        at_once: fetches,
        peers,
        addr: |number, port| SocketAddr::from((seeders::ip(number), port)),
        port: if standing { seeders.port } else { deaf_port },
        every_second: look,
    };
    let counted = allocation_counter::measure(|| {
        ours::run(job);
    });
    println!("{}", counted.bytes_max);
    FIGURES.with_borrow(|[rss, begin, waiting]| println!("{rss} {begin} {waiting}"));
    Ok(())
}

thread_local! {
    /// RSS, CPU time until everything was begun, and share of a core since then.
    static FIGURES: std::cell::RefCell<[f64; 3]> = const { std::cell::RefCell::new([0.0; 3]) };
}

fn look(second: u64, _open: usize) -> bool {
    let cpu = thread_cpu_time().as_secs_f64();
    FIGURES.with_borrow_mut(|figures| {
        if second == SETTLED_AFTER {
            figures[1] = cpu;
        }
        if second == SECONDS {
            figures[0] = process_figures::rss(std::process::id()) as f64;
            figures[2] = (cpu - figures[1]) / (SECONDS - SETTLED_AFTER) as f64;
        }
    });
    second < SECONDS
}
