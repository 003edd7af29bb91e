//! What the runtime adds to a message: the same datagrams in a plain loop and in turns, from the lane of a reader to the
//! lane of the sender.
//!
//! `cargo bench -p benches --bench turn`
//!
//! No sockets: the system calls that receive and send cost the same with any runtime, and far more.
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod echo;
mod load;
mod serving;

use std::cell::RefCell;

use benches::{Contender, Table, take_turns};
use load::{Contest, Load};

/// Rounds of each contender.
const ROUNDS: usize = 31;

/// Ports of the program, and datagrams that come to each between two turns: a busy program, a quiet one, an idle one.
const SHAPES: [(u16, usize); 4] = [(1, 64), (4, 64), (4, 8), (1, 1)];

fn main() {
    println!("one turn, ns CPU time a message, best of {ROUNDS} rounds (median)\n");
    let mut table = Table::new(["", "ports", "datagrams/port", "bare loop", "turn", "overhead"]);
    for load in Load::ALL {
        for (ports, fill) in SHAPES {
            let contest = RefCell::new(Contest::new(load, ports, fill));
            let bare = Contender::new(|| contest.borrow_mut().bare());
            let turns = Contender::new(|| contest.borrow_mut().turns());
            let [bare, turn] = take_turns(ROUNDS, [bare, turns]);
            table.row([
                load.name().to_owned(),
                ports.to_string(),
                fill.to_string(),
                format!("{:.0} ({:.0})", bare.min_ns, bare.median_ns),
                format!("{:.0} ({:.0})", turn.min_ns, turn.median_ns),
                format!("{:.0} ({:.0})", turn.min_ns - bare.min_ns, turn.median_ns - bare.median_ns),
            ]);
        }
    }
    println!("{table}");
}
