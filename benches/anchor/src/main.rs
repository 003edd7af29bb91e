//! tantivy with the words and the queries of the search benchmark: what the same searches take by an engine that is made for
//! nothing else, as the anchor of the figures beside it.
//!
//! `cargo run --release --locked --manifest-path benches/anchor/Cargo.toml --target-dir target/anchor -- [--torrents 500000,2000000]
//! [--files 11] [--each 20] [--tries 3] [--data DIR] [--keep]`
//!
//! An index of each size is made (kept for the next run with `--keep`) and asked on one thread, warm.
//!
//! What it answers with is what the program answers with: two pages of 20 in every order, names first and paths where names leave
//! room, and how many there are, which here is always counted. It differs in this: nobody else reads or writes, there is no
//! connection and no process in between, no list of files is stored, so that a phrase is not looked for in paths (its words are), and
//! text is ranked by BM25.
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[expect(dead_code, reason = "shared with the search benchmark")]
#[path = "../../benches/search/classes.rs"]
mod classes;
mod fields;
mod index;
#[path = "../../benches/search/latency.rs"]
mod latency;
mod order;
mod pages;
#[path = "../../benches/search/report.rs"]
mod report;
mod wanted;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use benches::{
    corpus::{Corpus, Files},
    thread_cpu_time,
};
use classes::{Class, classes};
use index::{Ready, ready};
use indexer_app::search::Sort;
use latency::Took;
use pages::{Page, Pages};
use report::{Row, report};

/// Classes that are asked beside the plain ones: those that need words, their places, or a mark, and no more.
const CLASSES: [&str; 6] =
    ["phrase", "phrase of common words", "prefix", "tags", "words of paths", "type: alone"];

struct Plan {
    torrents: Vec<u64>,
    files: f64,
    each: usize,
    tries: usize,
    data: PathBuf,
    keep: bool,
}

fn main() -> ExitCode {
    match plan(std::env::args().skip(1)).and_then(|plan| measure(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan {
        torrents: vec![500_000, 2_000_000],
        files: 11.0,
        each: 20,
        tries: 3,
        data: std::env::temp_dir().join("indexer-bench-anchor"),
        keep: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
        match argument.as_str() {
            "--torrents" => plan.torrents = value().split(',').map(number).collect::<Result<_, _>>()?,
            "--files" => plan.files = number(&value())? as f64,
            "--each" => plan.each = number(&value())? as usize,
            "--tries" => plan.tries = number(&value())? as usize,
            "--data" => plan.data = value().into(),
            "--keep" => plan.keep = true,
            other => return Err(format!("{other:?} is no argument: see the top of this benchmark")),
        }
    }
    Ok(plan)
}

fn measure(plan: &Plan) -> Result<(), String> {
    let corpus = Corpus::new(1, Files::Mean(plan.files));
    for count in plan.torrents.iter().copied() {
        let directory = plan.data.join(format!("anchor_{count}_{}", plan.files));
        let Ready { index, made } = ready(&directory, &corpus, count)?;
        let pages = Pages::of(&index).map_err(said)?;
        println!("{}", pages.sizes().map_err(said)?);
        if let Some(made) = made {
            println!("{made}\n");
        }
        let mut classes = classes(&corpus, count, plan.each);
        classes.retain(|class| class.is_plain || CLASSES.contains(&class.name));
        println!(
            "{count} torrents by tantivy, warm: best of {} tries of {} queries a class\n",
            plan.tries, plan.each
        );
        report(&asked(&pages, &classes, plan.tries)?);
        if !plan.keep {
            std::fs::remove_dir_all(&directory).map_err(said)?;
        }
    }
    Ok(())
}

fn asked(pages: &Pages, classes: &[Class], tries: usize) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for class in classes {
        let (mut hits, mut answers) = (0, 0_u64);
        for sort in Sort::ALL {
            let (mut took, mut worst) = (Vec::new(), (0.0, String::new()));
            for query in &class.queries {
                let (_, found) = ask(pages, query, sort)?;
                (hits, answers) = (hits + found, answers + 1);
                let mut best: Vec<Took> = Vec::new();
                for _ in 0..tries {
                    let (tried, _) = ask(pages, query, sort)?;
                    if best.is_empty() {
                        best = tried;
                    } else {
                        for (best, tried) in best.iter_mut().zip(&tried) {
                            best.wall = best.wall.min(tried.wall);
                            best.cpu = best.cpu.min(tried.cpu);
                        }
                    }
                }
                let longest = best.iter().map(|took| took.wall).fold(0.0, f64::max);
                if longest > worst.0 {
                    worst = (longest, query.clone());
                }
                took.extend(best);
            }
            rows.push(Row { class: class.name, sort: sort.to_string(), took, worst: worst.1 });
        }
        // Whoever compares wants to know that the same was found.
        eprintln!("{}: {:.1} hits counted for a query", class.name, hits as f64 / answers as f64);
    }
    Ok(rows)
}

/// What the first page took and, where there is one, the second; and how many the first one counted.
fn ask(pages: &Pages, query: &str, sort: Sort) -> Result<(Vec<Took>, usize), String> {
    let (mut took, mut at, mut found) = (Vec::new(), Some(0), None);
    while let Some(first) = at.filter(|_| took.len() < 2) {
        let (begun, before) = (Instant::now(), thread_cpu_time());
        let Page { hits, count, next } = pages.page(query, sort, first)?;
        let (wall, cpu) = (begun.elapsed(), thread_cpu_time() - before);
        std::hint::black_box(hits);
        took.push(Took { wall: wall.as_secs_f64() * 1e3, cpu: cpu.as_secs_f64() * 1e3 });
        found.get_or_insert(count);
        at = next;
    }
    Ok((took, found.unwrap_or_default()))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
