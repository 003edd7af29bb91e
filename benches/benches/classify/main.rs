//! What it costs to say what a torrent is, beside what else is done to a torrent before it is stored: making the words of its name and
//! paths, and packing its list of files.
//!
//! `cargo bench -p benches --bench classify`
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]

use std::hint::black_box;

use benches::{
    Contender, Table,
    corpus::{Corpus, Files, Item},
    take_turns,
};
use indexer_app::{file_list, kinds, tokeniser::Lexemes};

/// Rounds of each contender.
const ROUNDS: usize = 31;

/// Torrents in a round.
const TORRENTS: u64 = 1_000;

fn main() {
    println!("one torrent, us CPU time, best of {ROUNDS} rounds (median)\n");
    let mut table = Table::new(["files", "classified and marked", "words made", "list packed"]);
    for files in [Files::Each(1), Files::Each(11), Files::Each(35)] {
        let corpus = Corpus::new(7, files);
        let items: Vec<Item> = (0..TORRENTS).map(|number| corpus.item(number)).collect();
        let each = |work: &dyn Fn(&Item)| {
            items.iter().for_each(work);
            TORRENTS
        };
        let classify = Contender::new(|| {
            each(&|item| drop(black_box(kinds::classify_and_mark(&item.name, black_box(&item.files)))))
        });
        let tokenise = Contender::new(|| {
            each(&|item| {
                let (mut name, mut paths) = (Lexemes::new(4_096), Lexemes::new(20_000));
                name.add(&item.name);
                item.files.iter().flat_map(|(path, _)| path).for_each(|part| paths.add_unplaced(part));
                black_box((name, paths));
            })
        });
        let pack = Contender::new(|| {
            each(&|item| drop(black_box(file_list::pack(&item.name, black_box(&item.files)))))
        });
        let costs = take_turns(ROUNDS, [classify, tokenise, pack]);
        let cells =
            costs.map(|cost| format!("{:.1} ({:.1})", cost.min_ns / 1_000.0, cost.median_ns / 1_000.0));
        let count = items[0].files.len().to_string();
        let [classified, words, packed] = cells;
        table.row([count, classified, words, packed]);
    }
    println!("{table}");
}
