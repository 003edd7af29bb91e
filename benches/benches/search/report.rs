//! The table of a run.

use benches::Table;

use crate::latency::{Quantiles, Took};

/// What queries of one class and order took, and the one that took longest.
pub(crate) struct Row {
    pub(crate) class: &'static str,
    pub(crate) sort: String,
    pub(crate) took: Vec<Took>,
    pub(crate) worst: String,
}

/// Prints what each class took, each order, and all of them.
pub(crate) fn report(rows: &[Row]) {
    let mut table =
        Table::new(["class, ms", "p50", "p99", "max", "CPU p50", "CPU p99", "CPU max", "slowest"]);
    let mut line = |name: String, rows: &[&Row]| {
        let took = || rows.iter().flat_map(|row| &row.took);
        let slowest = rows.iter().max_by(|a, b| {
            let longest = |row: &Row| row.took.iter().map(|took| took.wall).fold(0.0, f64::max);
            longest(a).total_cmp(&longest(b))
        });
        let (wall, cpu) =
            (Quantiles::of(took().map(|took| took.wall)), Quantiles::of(took().map(|took| took.cpu)));
        let slowest = slowest.map(|row| format!("{} by {}", row.worst, row.sort)).unwrap_or_default();
        table.row([name].into_iter().chain(wall.cells()).chain(cpu.cells()).chain([slowest]));
    };
    let mut classes: Vec<&str> = rows.iter().map(|row| row.class).collect();
    classes.dedup();
    for class in classes {
        let of: Vec<&Row> = rows.iter().filter(|row| row.class == class).collect();
        line(class.to_owned(), &of);
    }
    let mut sorts: Vec<&str> = rows.iter().map(|row| row.sort.as_str()).collect();
    sorts.sort_unstable();
    sorts.dedup();
    for sort in sorts {
        let of: Vec<&Row> = rows.iter().filter(|row| row.sort == sort).collect();
        line(format!("by {sort}"), &of);
    }
    let all: Vec<&Row> = rows.iter().collect();
    line(format!("all {} answers", rows.iter().map(|row| row.took.len()).sum::<usize>()), &all);
    println!("{table}");
}
