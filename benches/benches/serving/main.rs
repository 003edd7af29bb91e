//! What an answer costs: CPU time of a server for each query that it answers, of this project, of the least that a server can
//! do, and of other libraries, under the same load.
//!
//! `cargo bench -p benches --bench serving -- [--seconds 1] [--rounds 5] [--only ours,floor]`
//!
//! Each server is a process of its own and knows the same synthetic swarm of 2,000 nodes. The load comes from this process over
//! loopback: 40,000 addresses ask by turns, so that budgets for single remotes are seldom used up; limits that have a
//! switch are lifted. The first run builds the other libraries (`benches/peers`, some minutes) and installs
//! libtorrent's wheel; both need the network once.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, clippy::unwrap_used, unreachable_pub, reason = "shared with the tests of the program")]
#[path = "../../../indexer-app/tests/libtorrent/environment.rs"]
mod environment;
mod floor;
mod kind;
mod load;
mod ours;
mod participant;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use benches::Table;
use kind::Kind;
use load::{Load, Outcome};
use participant::{Participant, Who};
use swarm::{Swarm, SwarmConfig};

/// Nodes of the swarm that everybody knows.
const NODES: usize = 2_000;

/// How long everybody may fill their tables.
const WARM_UP: Duration = Duration::from_secs(15);

/// Torrents announced to everybody: more than an answer shows.
const TORRENTS: u32 = 60;

/// The most of the floor that an answer may cost.
const TARGET: f64 = 1.4;

struct Plan {
    length: Duration,
    rounds: usize,
    who: Vec<Who>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = match arguments.peek().map(String::as_str) {
        Some("--be-the-floor") => be(arguments, |bind, rest| floor::serve(bind, &rest)),
        Some("--be-ours") => be(arguments, |bind, rest| {
            ours::serve(bind, rest.iter().filter_map(|addr| addr.parse().ok()).collect())
        }),
        _ => plan(arguments).and_then(|plan| compare(&plan)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Is one of the servers.
fn be(
    arguments: impl Iterator<Item = String>,
    serve: impl FnOnce(SocketAddr, Vec<String>) -> Result<(), String>,
) -> Result<(), String> {
    let mut arguments = arguments.skip(1);
    let bind = arguments.next().and_then(|bind| bind.parse().ok()).ok_or("where to serve?")?;
    serve(bind, arguments.collect())
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let all = [Who::Floor, Who::Ours, Who::Libtorrent, Who::Mainline, Who::Rqbit];
    let mut plan = Plan { length: Duration::from_secs(1), rounds: 5, who: all.to_vec() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--seconds" => {
                let seconds = value().parse().map_err(|_| "--seconds needs a number".to_owned())?;
                plan.length = Duration::from_secs_f64(seconds);
            }
            "--rounds" => plan.rounds = value().parse().map_err(|_| "--rounds needs a number".to_owned())?,
            "--only" => {
                let names = value();
                plan.who.retain(|who| names.split(',').any(|name| who.name().starts_with(name)));
            }
            other => return Err(format!("{other:?} is none of --seconds S, --rounds N, --only NAMES")),
        }
    }
    // The floor gives the answers of this project.
    if !plan.who.contains(&Who::Ours) {
        plan.who.insert(0, Who::Ours);
    }
    Ok(plan)
}

fn compare(plan: &Plan) -> Result<(), String> {
    if plan.who.iter().any(|who| matches!(who, Who::Mainline | Who::Rqbit)) {
        eprintln!("building the other libraries (some minutes when it is the first time) ...");
        participant::peers()?;
    }
    let config =
        SwarmConfig { nodes: NODES, torrents: 0, stale_share: 0.0, flood_limit: 0, ..SwarmConfig::default() };
    let swarm = Swarm::start(config).map_err(|error| format!("the swarm cannot be started: {error}"))?;
    let bootstrap: Vec<String> = swarm.bootstrap().iter().map(SocketAddr::to_string).collect();

    let mut servers = Vec::new();
    for who in plan.who.iter().filter(|who| **who != Who::Floor) {
        servers.push(Participant::start(*who, &bootstrap)?);
    }
    std::thread::sleep(WARM_UP);
    let mut load = Load::new()?;
    for server in &servers {
        let accepted = load.announce(server.addr, TORRENTS)?;
        eprintln!("{}: {accepted} of {TORRENTS} announces accepted", server.who.name());
    }
    if plan.who.contains(&Who::Floor) {
        let ours = servers.iter().find(|server| server.who == Who::Ours).ok_or("nobody of ours")?;
        let mut answers = Vec::new();
        for kind in Kind::ALL {
            let answer = load.ask_once(ours.addr, kind)?.ok_or("no answer of ours to copy")?;
            answers.push(floor::prepared(load.query_len(kind), &answer));
        }
        servers.insert(0, Participant::start(Who::Floor, &answers)?);
        std::thread::sleep(Duration::from_millis(200));
    }

    println!(
        "CPU time of the server for each answer, us, best of {} rounds of {:.1} s (median); by turns\n",
        plan.rounds,
        plan.length.as_secs_f64()
    );
    for kind in Kind::ALL {
        let mut figures: Vec<Figure> = Vec::new();
        for server in &servers {
            if load.ask_once(server.addr, kind)?.is_some_and(|answer| answer_is_reply(&answer)) {
                figures.push(Figure::default());
            } else {
                figures.push(Figure { unanswered: true, ..Figure::default() });
            }
        }
        for _ in 0..plan.rounds {
            for (server, figure) in servers.iter().zip(&mut figures).filter(|(_, figure)| !figure.unanswered)
            {
                let before = server.cpu()?;
                let outcome = load.run(server.addr, kind, plan.length)?;
                figure.add(server.cpu()?.saturating_sub(before), outcome);
            }
        }
        show(kind, &servers, &mut figures);
    }
    println!("target: {TARGET} of the floor, and less than every other library");
    Ok(())
}

fn answer_is_reply(answer: &[u8]) -> bool {
    krpc::Message::parse(answer).is_ok_and(|message| matches!(message.kind, krpc::Kind::Reply(_)))
}

/// What was measured of one server and kind.
#[derive(Clone, Debug, Default)]
struct Figure {
    unanswered: bool,
    us: Vec<f64>,
    total: Outcome,
    seconds: f64,
}

impl Figure {
    fn add(&mut self, cpu: Duration, outcome: Outcome) {
        self.us.push(cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64);
        self.total.asked += outcome.asked;
        self.total.answered += outcome.answered;
        self.total.bytes += outcome.bytes;
        self.total.contacts += outcome.contacts;
        self.seconds += cpu.as_secs_f64();
    }

    fn best(&self) -> f64 {
        self.us.first().copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        self.us.get(self.us.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn show(kind: Kind, servers: &[Participant], figures: &mut [Figure]) {
    for figure in figures.iter_mut() {
        figure.us.sort_by(f64::total_cmp);
    }
    let floor = servers.iter().zip(&*figures).find(|(server, _)| server.who == Who::Floor);
    let floor = floor.map_or((f64::NAN, f64::NAN), |(_, figure)| (figure.best(), figure.median()));
    let mut table =
        Table::new([kind.name(), "us an answer", "of the floor", "answered", "bytes", "contacts"]);
    for (server, figure) in servers.iter().zip(&*figures) {
        if figure.unanswered {
            let dash = || "-".to_owned();
            table.row([server.who.name().to_owned(), dash(), dash(), "none".to_owned(), dash(), dash()]);
            continue;
        }
        let total = figure.total;
        let each = |count: u64| count as f64 / total.answered.max(1) as f64;
        table.row([
            server.who.name().to_owned(),
            format!("{:.2} ({:.2})", figure.best(), figure.median()),
            format!("{:.2} ({:.2})", figure.best() / floor.0, figure.median() / floor.1),
            format!("{:.1} %", 100.0 * total.answered as f64 / total.asked.max(1) as f64),
            format!("{:.0}", each(total.bytes)),
            format!("{:.1}", each(total.contacts)),
        ]);
    }
    println!("{table}");
}
