//! Searching: what is asked, how it is ordered, and what comes back. What can be typed says [`crate::query`].
//!
//! Names are searched first; what only names and file paths together match comes after. With a `file:` condition words may stand in
//! either from the beginning, and torrents that are one file named as themselves come first.
//!
//! # Relevance
//!
//! `(text + 0.001) × (1 + 0.2 × popularity) × (1 + 0.5 × 2^(−age / 30 days))`
//!
//! - *text*: cover density (`ts_rank_cd`) of the words that are asked for in the name, divided by 1 + the logarithm of its length: words
//!   close together in a short name are worth most. It is 0 where only paths match, and `0.001` keeps the rest in order there.
//! - *popularity*: log2 bucket of the score, which grows with announces and decays ([`POPULARITY_WEIGHT`]).
//! - *age*: since the torrent was stored. A new one is worth half more than an old one ([`FRESHNESS_WEIGHT`], [`FRESHNESS_HALF_LIFE`]); its age
//!   is that at the first page, so that later pages agree with it.
//!
//! # Bounded work
//!
//! Whatever is asked, a page costs a bounded number of rows: few hits are fetched by an index and sorted; many are found by walking the
//! index of the order until the page is full. Which of them is less work is reckoned from the planner's estimates. The orders have the
//! [signatures](crate::signature) of names in their indexes, so most rows that lack a word are passed over without a look at the table. What no index
//! helps with is walked too, a window of rows at a time: then a page may hold fewer torrents than asked for and say that there are more.
//! What matches so much that not all can be ranked is ranked among the most popular, up to 5,000 of them.
//!
//! Beginnings of words stand for up to 256 words of paths, and for those that a running indexer has read, some seconds after they were stored; names are
//! searched for all of them, at once.

mod cursor;
mod plan;

use std::{fmt, str::FromStr, time::Duration};

pub use cursor::Cursor;
pub(crate) use cursor::{Position, Stage};
pub(crate) use plan::{Costs, Fetching, Plan, Walk, plan};

use crate::{db::TorrentSummary, query::Note};

/// Torrents on a page at most.
pub const PAGE_MAX: u32 = 500;

/// How much a bucket of popularity adds to relevance.
pub const POPULARITY_WEIGHT: f64 = 0.2;

/// How much newness adds to relevance, for a torrent of this moment.
pub const FRESHNESS_WEIGHT: f64 = 0.5;

/// How long it takes until newness adds half as much.
pub const FRESHNESS_HALF_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// How long a search may take: a hundred times what it should.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was typed: any text of any length.
    pub query: String,
    /// In which order.
    pub sort: Sort,
    /// Torrents on the page, 1 to [`PAGE_MAX`].
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// Whether to tell what kinds of torrents there are among all that match.
    pub facets: bool,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl Request {
    /// The first page of 20 by relevance, without facets, within [`TIMEOUT`].
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            query: query.into(),
            sort: Sort::Relevance,
            limit: 20,
            cursor: None,
            facets: false,
            timeout: TIMEOUT,
        }
    }
}

/// In which order torrents come. Those that are equal in it come in another order that is always the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// By how well the name matches, times popularity, times newness; by popularity when no words are asked for.
    #[default]
    Relevance,
    /// Latest added first.
    Newest,
    /// Earliest added first.
    Oldest,
    /// Largest first.
    Size,
    /// Most seeders first, as last told; those of which none are known come last, latest added first.
    Seeders,
    /// Most files first; of as many, latest added first.
    Files,
    /// Highest score first.
    Popularity,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Relevance,
        Self::Newest,
        Self::Oldest,
        Self::Size,
        Self::Seeders,
        Self::Files,
        Self::Popularity,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Size => "size",
            Self::Seeders => "seeders",
            Self::Files => "files",
            Self::Popularity => "popularity",
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no order; there are {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The torrent.
    pub torrent: TorrentSummary,
    /// How relevant it is; 0 when another order was asked for.
    pub relevance: f64,
    /// The file whose path matched, when the name alone did not; components joined by `/`.
    pub matched_file: Option<String>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The number of torrents whose name matches, and of those whose paths do as far as they were looked for.
    pub number: u64,
    /// Whether it was counted; else it is the planner's estimate.
    pub exact: bool,
}

/// What kinds of torrents there are among those that match, the most frequent first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// By type.
    pub types: Vec<(String, u64)>,
    /// By extension; a torrent may have several.
    pub extensions: Vec<(String, u64)>,
    /// By size.
    pub sizes: Vec<(String, u64)>,
    /// By year, where it is known.
    pub years: Vec<(String, u64)>,
    /// Torrents that were looked at.
    pub sampled: u64,
    /// Whether these are all that match; else numbers are estimates, reckoned from those that were looked at.
    pub exact: bool,
}

/// One page of results.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The torrents in their order.
    pub hits: Vec<Hit>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<Cursor>,
    /// How many there are in all.
    pub count: Count,
    /// Whether torrents may be missing or out of order because not all were looked at: they are too many, or their words have not been learned or made
    /// again yet.
    pub approximate: bool,
    /// What was odd in the query.
    pub notes: Vec<Note>,
    /// When they were asked for.
    pub facets: Option<Facets>,
    /// When nothing matches: a query like this one that something matches.
    pub did_you_mean: Option<String>,
}
