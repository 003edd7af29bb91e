//! What the benchmarks of this folder share: CPU time of a thread, rounds that take turns, tables, torrents by the million.
//!
//! A benchmark measures a piece of this project and, in the same run and by turns with it, a floor (the least
//! that any program has to do) or a peer (a library that does the same). The figures are in `README.md`.

pub mod corpus;
mod cpu_clock;
mod rounds;
mod table;

pub use cpu_clock::thread_cpu_time;
pub use rounds::{Contender, Cost, take_turns};
pub use table::Table;
