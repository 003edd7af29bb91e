//! The orders of results: by what rows are sorted, what comes after a position, and which index has them so.

use std::time::{Duration, SystemTime};

use super::parameters::Parameters;
use crate::{
    query::{Moment, Number, Term},
    search::{FRESHNESS_HALF_LIFE, FRESHNESS_WEIGHT, POPULARITY_WEIGHT, Position, Sort},
};

/// An order. Rows have `key`, `added_at` and `info_hash`, in this or another succession.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    sort: Sort,
}

impl Order {
    /// The order that is meant: without words nothing is more relevant than another, and what is popular comes first.
    pub(super) fn of(sort: Sort, has_words: bool) -> Self {
        Self { sort: if sort == Sort::Relevance && !has_words { Sort::Popularity } else { sort } }
    }

    pub(super) fn is(self, sort: Sort) -> bool {
        self.sort == sort
    }

    /// The key of a row of `torrents t` and, for seeders, `torrent_stats s`.
    pub(super) fn key(self, ranked: Option<&str>, as_of: SystemTime, p: &mut Parameters) -> String {
        match self.sort {
            Sort::Newest | Sort::Oldest => "0::int8".to_owned(),
            Sort::Size => "t.total_size".to_owned(),
            Sort::Files => "t.file_count::int8".to_owned(),
            Sort::Popularity => "t.popularity::int8".to_owned(),
            Sort::Seeders => "coalesce(s.seeders, 0)::int8".to_owned(),
            Sort::Relevance => {
                let text = match ranked {
                    Some(words) => format!("ts_rank_cd(t.tsv, {}, 1)", p.tsquery(words)),
                    None => "0".to_owned(),
                };
                let half_life = FRESHNESS_HALF_LIFE.as_secs();
                format!(
                    "(({text} + 0.001) * (1 + {POPULARITY_WEIGHT} * t.popularity) * (1 + {FRESHNESS_WEIGHT} * power(2,
                        -greatest(extract(epoch from {as_of} - t.added_at), 0)::float8 / {half_life})) * 1e9)::int8",
                    as_of = p.time(as_of)
                )
            }
        }
    }

    /// What rows `row` with a `key` are sorted by.
    pub(super) fn by(self, row: &str) -> String {
        match self.sort {
            Sort::Newest => format!("{row}.added_at desc, {row}.info_hash"),
            // The index of the newest, backwards.
            Sort::Oldest => format!("{row}.added_at, {row}.info_hash desc"),
            Sort::Size | Sort::Relevance => format!("{row}.key desc, {row}.info_hash"),
            Sort::Popularity | Sort::Files => format!("{row}.key desc, {row}.added_at desc, {row}.info_hash"),
            Sort::Seeders => format!(
                "{row}.key desc, case when {row}.key = 0 then {row}.added_at end desc, {row}.info_hash"
            ),
        }
    }

    /// What holds for rows `row` with a `key` that come after a position.
    pub(super) fn after(self, row: &str, at: Position, p: &mut Parameters) -> String {
        match self.sort {
            Sort::Newest | Sort::Oldest => self.after_in_index(row, at, p),
            Sort::Size | Sort::Relevance => after_key(&format!("{row}.key"), row, at, p),
            Sort::Popularity | Sort::Files => after_key_and_time(&format!("{row}.key"), row, at, p),
            Sort::Seeders if at.key > 0 => after_key(&format!("{row}.key"), row, at, p),
            Sort::Seeders => format!("({row}.key <= 0 and {})", newer(row, at, p)),
        }
    }

    /// The columns of the index that has the order, behind the type and before the signature.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self.sort {
            Sort::Newest | Sort::Oldest | Sort::Seeders => &["added_at"],
            Sort::Size => &["total_size"],
            Sort::Files => &["file_count", "added_at"],
            Sort::Popularity | Sort::Relevance => &["popularity", "added_at"],
        }
    }

    /// Whether that index has an order of its own for each type.
    pub(super) fn is_by_kind(self) -> bool {
        matches!(self.sort, Sort::Size | Sort::Files)
    }

    /// These columns of a walk under other names, for [`Self::by_walked`].
    pub(super) fn walked(self, row: &str) -> String {
        let columns = self.columns().iter().map(|column| format!("{row}.{column} as walked_{column}"));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// The order of the index, by the columns of a walk.
    pub(super) fn by_walked(self, row: &str) -> String {
        self.by_columns(&format!("{row}.walked_"), row)
    }

    fn by_columns(self, before: &str, row: &str) -> String {
        let (sign, of_equals) = if self.sort == Sort::Oldest { ("", " desc") } else { (" desc", "") };
        let columns = self.columns().iter().map(|column| format!("{before}{column}{sign}, "));
        format!("{}{row}.info_hash{of_equals}", columns.collect::<String>())
    }

    /// What that index alone sorts rows of `torrents` by.
    pub(super) fn by_in_index_alone(self, row: &str) -> String {
        let sign = if self.sort == Sort::Oldest { "" } else { " desc" };
        let columns = self.columns().iter().chain(&["signature"]);
        let columns: Vec<String> = columns.map(|column| format!("{row}.{column}{sign}")).collect();
        columns.join(", ")
    }

    /// The key of a row as that index alone has it.
    pub(super) fn key_in_index_alone(self, row: &str) -> String {
        match self.sort {
            Sort::Newest | Sort::Oldest | Sort::Seeders => "0::int8".to_owned(),
            Sort::Size => format!("{row}.total_size"),
            Sort::Files => format!("{row}.file_count::int8"),
            Sort::Popularity | Sort::Relevance => format!("{row}.popularity::int8"),
        }
    }

    /// When a row was added, as that index alone has it.
    pub(super) fn added_in_index_alone(self, row: &str) -> String {
        if self.sort == Sort::Size { "to_timestamp(0)".to_owned() } else { format!("{row}.added_at") }
    }

    /// What holds for rows that come after a position, and for those that this index cannot tell from it.
    pub(super) fn place_in_index_alone(self, row: &str, at: Position, p: &mut Parameters) -> String {
        match self.sort {
            Sort::Newest | Sort::Seeders => format!("{row}.added_at <= {}", p.time(at.added_at())),
            Sort::Oldest => format!("{row}.added_at >= {}", p.time(at.added_at())),
            Sort::Size => format!("{row}.total_size <= {}", p.number(at.key)),
            Sort::Files | Sort::Popularity | Sort::Relevance => {
                let (key, time) = (p.number(at.key), p.time(at.added_at()));
                format!("({row}.{}, {row}.added_at) <= ({key}, {time})", self.columns()[0])
            }
        }
    }

    /// Whether that index tells two positions apart.
    pub(super) fn tells_apart(self, one: Position, other: Position) -> bool {
        let (key, added) = (one.key != other.key, one.added_us != other.added_us);
        match self.sort {
            Sort::Newest | Sort::Oldest | Sort::Seeders => added,
            Sort::Size => key,
            Sort::Files | Sort::Popularity | Sort::Relevance => key || added,
        }
    }

    /// The position before all that this index cannot tell from one.
    pub(super) fn before_equals(self, at: Position) -> Position {
        let byte = if self.sort == Sort::Oldest { u8::MAX } else { 0 };
        Position { info_hash: krpc::InfoHash::from_bytes([byte; 20]), ..at }
    }

    /// What rows of `torrents` are sorted by as an index has them, and equal ones by their hashes.
    pub(super) fn by_in_index(self, row: &str) -> String {
        self.by_columns(&format!("{row}."), row)
    }

    /// What holds for rows of `torrents` that come after a position, so that an index can seek it.
    pub(super) fn after_in_index(self, row: &str, at: Position, p: &mut Parameters) -> String {
        match self.sort {
            Sort::Oldest => {
                let (time, hash) = (p.time(at.added_at()), p.bytes(at.info_hash.as_bytes()));
                format!(
                    "({row}.added_at >= {time} and ({row}.added_at > {time} or {row}.info_hash < {hash}))"
                )
            }
            Sort::Size => after_key(&format!("{row}.total_size"), row, at, p),
            Sort::Files => after_key_and_time(&format!("{row}.file_count"), row, at, p),
            Sort::Newest | Sort::Seeders => newer(row, at, p),
            Sort::Popularity | Sort::Relevance => {
                after_key_and_time(&format!("{row}.popularity"), row, at, p)
            }
        }
    }

    /// Whether a condition on numbers or times makes the walk begin or end elsewhere.
    pub(super) fn is_bounded_by(self, term: &Term) -> bool {
        match self.sort {
            Sort::Newest | Sort::Oldest => matches!(term, Term::Time(Moment::Added, _)),
            Sort::Size => matches!(term, Term::Number(Number::Size, _)),
            Sort::Files => matches!(term, Term::Number(Number::Files, _)),
            Sort::Seeders | Sort::Popularity | Sort::Relevance => false,
        }
    }
}

fn after_key(column: &str, row: &str, at: Position, p: &mut Parameters) -> String {
    let (key, hash) = (p.number(at.key), p.bytes(at.info_hash.as_bytes()));
    format!("({column} <= {key} and ({column} < {key} or {row}.info_hash > {hash}))")
}

fn newer(row: &str, at: Position, p: &mut Parameters) -> String {
    let (time, hash) = (p.time(at.added_at()), p.bytes(at.info_hash.as_bytes()));
    format!("({row}.added_at <= {time} and ({row}.added_at < {time} or {row}.info_hash > {hash}))")
}

fn after_key_and_time(column: &str, row: &str, at: Position, p: &mut Parameters) -> String {
    let key = p.number(at.key);
    format!("({column} <= {key} and ({column} < {key} or {}))", newer(row, at, p))
}

impl Position {
    /// When the row was added. A position that nobody has handed out may name a time that does not exist.
    fn added_at(&self) -> SystemTime {
        time_of(self.added_us)
    }
}

/// A time from microseconds since 1970.
pub(super) fn time_of(microseconds: i64) -> SystemTime {
    /// PostgreSQL knows no later times; nor, by half, earlier ones.
    const SECONDS_MAX: u64 = 200_000 * 31_556_952;
    let distance = Duration::from_micros(microseconds.unsigned_abs());
    let time = if distance.as_secs() > SECONDS_MAX {
        None
    } else if microseconds < 0 {
        // Before 4713 BC there is none.
        SystemTime::UNIX_EPOCH.checked_sub(distance.min(Duration::from_secs(6_000 * 31_556_952)))
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Microseconds since 1970.
pub(super) fn microseconds(time: SystemTime) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}
