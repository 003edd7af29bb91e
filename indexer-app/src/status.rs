//! What the program shows of itself while it works: one live block on a terminal, log lines elsewhere.

use std::{fmt, io, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::db::RunLimit;

/// Redraws of the live block a second, at most.
const REDRAWS_PER_SECOND: u8 = 4;

/// Between two log lines where there is no terminal.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// The numbers at one moment. Counts are since the start of the program unless a field says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the start.
    pub uptime: Duration,
    /// Virtual nodes of ours.
    pub virtual_nodes: usize,
    /// UDP ports that are bound.
    pub ports: usize,
    /// Nodes in our routing tables, verified.
    pub contacts: usize,
    /// Nodes that we know of.
    pub known_nodes: usize,
    /// DHT packets received per second, over the last second.
    pub packets_in_rate: f64,
    /// DHT packets sent per second, over the last second.
    pub packets_out_rate: f64,
    /// Info-hashes that nobody had put into the database before.
    pub hashes_new: u64,
    /// Of these, by source, for every thousand DHT packets sent.
    pub new_per_1000_packets: Vec<(&'static str, f64)>,
    /// Distinct info-hashes that the database knew already.
    pub hashes_known: u64,
    /// Lookups for peers in flight.
    pub lookups: usize,
    /// Info-hashes being fetched.
    pub fetching: usize,
    /// Info-hashes fetched and verified.
    pub fetched: u64,
    /// Info-hashes that could not be fetched, by reason, most frequent first.
    pub failed: Vec<(&'static str, u64)>,
    /// Torrents that the database has acknowledged.
    pub stored: u64,
    /// Torrents acknowledged per second, over the last ten seconds.
    pub stored_rate: f64,
    /// Info-hashes waiting in memory.
    pub waiting: usize,
    /// Info-hashes waiting in the database.
    pub backlog: Option<u64>,
    /// Torrents in the database.
    pub torrents: Option<u64>,
    /// Stored torrents whose words and types were made again by newer rules.
    pub made_again: u64,
    /// The database.
    pub database: DatabaseState,
    /// Why nothing new is taken in, if it is not.
    pub ingest_stopped: Option<String>,
    /// The sweep of a one-shot run or the newest one: nodes visited, and still to visit.
    pub sweep: (u64, u64),
    /// Budgets and queues.
    pub limits: Vec<RunLimit>,
}

/// What is known of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseState {
    /// No answer yet.
    #[default]
    Starting,
    /// The last session succeeded.
    Up,
    /// The last session failed, and why.
    Down(String),
}

impl fmt::Display for DatabaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Up => f.write_str("up"),
            Self::Down(why) => write!(f, "DOWN: {why}"),
        }
    }
}

impl Snapshot {
    /// Info-hashes that could not be fetched, over all reasons.
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().map(|(_, count)| count).sum()
    }

    /// New info-hashes for every thousand DHT packets sent, over all sources.
    pub fn yield_total(&self) -> f64 {
        self.new_per_1000_packets.iter().map(|(_, rate)| rate).sum()
    }

    fn block(&self) -> String {
        let failed: String =
            self.failed.iter().take(4).map(|(reason, count)| format!("  {reason} {count}")).collect();
        let yields: String =
            self.new_per_1000_packets.iter().map(|(source, rate)| format!("  {source} {rate:.1}")).collect();
        let backlog = self.backlog.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        let torrents = self.torrents.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        let made_again = match self.made_again {
            0 => String::new(),
            number => format!(", {number} of them made again by newer rules"),
        };
        let budgets: Vec<_> = self.limits.iter().filter_map(budget).collect();
        let queues: Vec<_> = self.limits.iter().filter_map(queue).collect();
        let held: Vec<_> = self.limits.iter().filter_map(held).collect();
        let stopped =
            self.ingest_stopped.as_ref().map_or_else(String::new, |why| format!("   INGEST STOPPED: {why}"));
        format!(
            "\nup       {}   database {}{stopped}\n\
               dht      {} nodes on {} ports, {} contacts, {} nodes known\n\
               packets  {:.0}/s in, {:.0}/s out   sweep: {} nodes visited, {} to go\n\
               budgets  {}\n\
               queues   {}\n\
               held     {} in the last minute\n\
               hashes   {} new, {} known   {} wait, {} in the backlog\n\
               yield    new hashes per 1000 packets:{yields}\n\
               fetches  {} in flight, {} lookups   {} fetched, {} failed{failed}\n\
               stored   {} in this run, {:.1}/s   {torrents} torrents in all{made_again}",
            whole_seconds(self.uptime),
            self.database,
            self.virtual_nodes,
            self.ports,
            self.contacts,
            self.known_nodes,
            self.packets_in_rate,
            self.packets_out_rate,
            self.sweep.0,
            self.sweep.1,
            budgets.join(", "),
            listed(&queues),
            listed(&held),
            self.hashes_new,
            self.hashes_known,
            self.waiting,
            backlog,
            self.fetching,
            self.lookups,
            self.fetched,
            self.failed_total(),
            self.stored,
            self.stored_rate,
        )
    }
}

/// A budget in a few words: what was used of what is allowed. Those of each remote have no use that could be told in a number.
fn budget(limit: &RunLimit) -> Option<String> {
    let (period, used) = (limit.period?, limit.used?);
    let period = if period == Duration::from_secs(60) { "min" } else { "s" };
    Some(format!("{used}/{} {}/{period}", limit.allowed, limit.name))
}

/// A queue that holds something, in a few words.
fn queue(limit: &RunLimit) -> Option<String> {
    let used = limit.used.filter(|used| limit.period.is_none() && *used > 0)?;
    (!SHOWN_ELSEWHERE.contains(&limit.name.as_str())).then(|| format!("{used} {}", limit.name))
}

/// How often a limit held something back in the last minute, if it did.
fn held(limit: &RunLimit) -> Option<String> {
    (limit.held_lately > 0).then(|| format!("{} {}x", limit.name, limit.held_lately))
}

fn listed(parts: &[String]) -> String {
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// Queues and tables that have a place of their own in the block.
const SHOWN_ELSEWHERE: [&str; 4] = ["nodes known", "contacts", "fetches", "backlog"];

/// Each line cut to the width of the terminal: a wrapped line would leave its end behind at the next redraw.
fn fit(block: &str, columns: usize) -> String {
    let columns = columns.saturating_sub(1);
    block.lines().map(|line| line.chars().take(columns).collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// `duration` without fractions, for people.
pub fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

/// Where status and log go: standard error, so that standard output stays for results.
#[derive(Clone, Debug)]
pub struct Screen {
    multi: MultiProgress,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// A live block if standard error is a terminal.
    pub fn new(live: bool) -> Self {
        let target = if live {
            ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { multi: MultiProgress::with_draw_target(target), bar: None }
    }

    /// Starts the live block, if there is one.
    pub fn start(&mut self) {
        if !self.multi.is_hidden() {
            let bar = self.multi.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
    }

    /// Shows a snapshot. Cheap: the terminal is written to at most four times a second.
    pub fn show(&self, snapshot: &Snapshot, last_logged: &mut Option<Duration>) {
        if let Some(bar) = &self.bar {
            bar.set_message(fit(&snapshot.block(), usize::from(console::Term::stderr().size().1)));
            return;
        }
        if last_logged.is_none_or(|last| snapshot.uptime.saturating_sub(last) >= LOG_PERIOD) {
            *last_logged = Some(snapshot.uptime);
            tracing::info!(
                contacts = snapshot.contacts,
                known_nodes = snapshot.known_nodes,
                packets_in = %format_args!("{:.0}/s", snapshot.packets_in_rate),
                packets_out = %format_args!("{:.0}/s", snapshot.packets_out_rate),
                new = snapshot.hashes_new,
                new_per_1000_packets = %format_args!("{:.1}", snapshot.yield_total()),
                known = snapshot.hashes_known,
                fetching = snapshot.fetching,
                fetched = snapshot.fetched,
                failed = snapshot.failed_total(),
                stored = snapshot.stored,
                made_again = snapshot.made_again,
                waiting = snapshot.waiting,
                database = %snapshot.database,
                ingest = snapshot.ingest_stopped.as_deref().unwrap_or("on"),
                "crawling"
            );
        }
    }

    /// Ends the live block and leaves its last state on the terminal.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }

    /// A bar for work of `total` parts (`None`: nobody knows), or `None` where there is no terminal.
    pub fn bar(&self, total: Option<u64>) -> Option<ProgressBar> {
        if self.multi.is_hidden() {
            return None;
        }
        let template = match total {
            Some(_) => "{bar:30} {human_pos} of about {human_len} {per_sec:.dim} {eta:.dim} {msg}",
            None => "{spinner} {human_pos} {per_sec:.dim} {msg}",
        };
        let bar = self.multi.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Some(bar)
    }

    /// Shows a text as the live block; `false`: there is no terminal for it.
    pub fn show_text(&mut self, text: &str) -> bool {
        if self.bar.is_none() {
            self.start();
        }
        let Some(bar) = &self.bar else { return false };
        bar.set_message(fit(text, usize::from(console::Term::stderr().size().1)));
        true
    }

    /// Takes the live block away.
    pub fn hide_text(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints a line above the live block.
    pub fn print(&self, line: &str) {
        self.multi.suspend(|| {
            use io::Write;
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }
}

/// Log lines go above the live block.
impl<'a> MakeWriter<'a> for Screen {
    type Writer = ScreenWriter;

    fn make_writer(&'a self) -> ScreenWriter {
        ScreenWriter(self.multi.clone())
    }
}

/// Writes one formatted log event.
#[derive(Debug)]
pub struct ScreenWriter(MultiProgress);

impl io::Write for ScreenWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, period: Option<u64>, allowed: u64, used: Option<u64>, held_lately: u64) -> RunLimit {
        let (name, period) = (name.to_owned(), period.map(Duration::from_secs));
        RunLimit { name, period, allowed, used, held: 2 * held_lately, held_lately }
    }

    #[test]
    fn the_block_has_every_number_and_fits_the_terminal() {
        let snapshot = Snapshot {
            uptime: Duration::from_millis(61_500),
            virtual_nodes: 8,
            contacts: 1234,
            hashes_new: 77,
            new_per_1000_packets: vec![("sampled", 812.25), ("announced", 3.0)],
            failed: vec![("connect timeout", 5), ("refused", 2)],
            stored: 42,
            stored_rate: 3.25,
            torrents: Some(1042),
            made_again: 500,
            database: DatabaseState::Down("gone".to_owned()),
            ingest_stopped: Some("the disk is full".to_owned()),
            limits: vec![
                limit("packets", Some(1), 150, Some(148), 12),
                limit("new endpoints", Some(60), 1_200, Some(7), 0),
                limit("queries to one IP", Some(1), 1, None, 3),
                limit("visits in flight", None, 512, Some(99), 0),
                limit("answers waiting", None, 4_096, Some(0), 0),
            ],
            ..Snapshot::default()
        };
        let block = snapshot.block();
        for part in [
            "up       1m 1s",
            "DOWN: gone   INGEST STOPPED: the disk is full\n",
            "8 nodes on 0 ports, 1234 contacts",
            "budgets  148/150 packets/s, 7/1200 new endpoints/min\n",
            "queues   99 visits in flight\n",
            "held     packets 12x, queries to one IP 3x in the last minute\n",
            "77 new",
            "new hashes per 1000 packets:  sampled 812.2  announced 3.0",
            "0 fetched, 7 failed",
            "connect timeout 5",
            "42 in this run, 3.2/s",
            "1042 torrents in all, 500 of them made again",
        ] {
            assert!(block.contains(part), "{part:?} is not in {block}");
        }
        assert!(fit(&block, 40).lines().all(|line| line.chars().count() < 40));
        assert_eq!(fit(&block, 40).lines().count(), block.lines().count());
    }
}
