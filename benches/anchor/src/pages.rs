//! Pages of results, found as the program finds them: names first, and paths for what is left of a page.

use std::time::SystemTime;

use benches::Table;
use indexer_app::search::Sort;
use tantivy::{
    DocAddress, Index, Order, Searcher, TantivyDocument,
    collector::{Count, SortKeyComputer, TopDocs, sort_key::SortByStaticFastValue},
    query::Query,
    space_usage::PerFieldSpaceUsage,
};

use crate::{
    fields::{ADDED_AT, FILE_COUNT, Fields, POPULARITY, SEEDERS, TOTAL_SIZE},
    order::Relevance,
    said,
    wanted::Wanted,
};

/// Torrents on a page.
const PAGE: usize = 20;

/// A page.
pub(crate) struct Page {
    /// What is shown.
    pub(crate) hits: Vec<TantivyDocument>,
    /// Those that match by name and, if paths were looked at, by those: all of them.
    pub(crate) count: usize,
    /// How many stand before the next page, if there is one.
    pub(crate) next: Option<usize>,
}

/// An index that is asked.
pub(crate) struct Pages {
    searcher: Searcher,
    fields: Fields,
    /// Seconds since 1970.
    as_of: u64,
}

impl Pages {
    pub(crate) fn of(index: &Index) -> tantivy::Result<Self> {
        let as_of = SystemTime::UNIX_EPOCH.elapsed().map(|time| time.as_secs()).unwrap_or_default();
        // Both are made alike, here and when it was written.
        let (_, fields) = Fields::new();
        Ok(Self { searcher: index.reader()?.searcher(), fields, as_of })
    }

    /// The page that so many torrents stand before.
    pub(crate) fn page(&self, query: &str, sort: Sort, first: usize) -> Result<Page, String> {
        let Wanted { names, paths } = Wanted::read(&self.fields, query)?;
        let sort = if sort == Sort::Relevance && paths.is_none() { Sort::Popularity } else { sort };
        let (mut found, mut count) = self.top(&names, sort, true, first, PAGE).map_err(said)?;
        // A page that names have just filled is followed by one of paths, if there are any.
        if let Some(paths) = paths.filter(|_| count <= first + PAGE) {
            let (before, room) = (first.saturating_sub(count), PAGE - found.len());
            let (more, others) = self.top(&paths, sort, false, before, room.max(1)).map_err(said)?;
            found.extend(more.into_iter().take(room));
            count += others;
        }
        let hits = found.iter().map(|address| self.searcher.doc(*address)).collect::<Result<_, _>>();
        let next = (count > first + PAGE).then_some(first + PAGE);
        Ok(Page { hits: hits.map_err(said)?, count, next })
    }

    /// The torrents of a stage, and how many there are in it.
    fn top(
        &self,
        query: &dyn Query,
        sort: Sort,
        has_text: bool,
        first: usize,
        limit: usize,
    ) -> tantivy::Result<(Vec<DocAddress>, usize)> {
        let by = |field: &str, order| (SortByStaticFastValue::<u64>::for_field(field), order);
        let newest = || by(ADDED_AT, Order::Desc);
        let range = (first, limit);
        match sort {
            Sort::Relevance => self.top_by(query, range, Relevance { as_of: self.as_of, has_text }),
            Sort::Newest => self.top_by(query, range, newest()),
            Sort::Oldest => self.top_by(query, range, by(ADDED_AT, Order::Asc)),
            Sort::Size => self.top_by(query, range, by(TOTAL_SIZE, Order::Desc)),
            Sort::Seeders => self.top_by(query, range, (by(SEEDERS, Order::Desc), newest())),
            Sort::Files => self.top_by(query, range, (by(FILE_COUNT, Order::Desc), newest())),
            Sort::Popularity => self.top_by(query, range, (by(POPULARITY, Order::Desc), newest())),
        }
    }

    fn top_by(
        &self,
        query: &dyn Query,
        (first, limit): (usize, usize),
        key: impl SortKeyComputer + Send + 'static,
    ) -> tantivy::Result<(Vec<DocAddress>, usize)> {
        let top = TopDocs::with_limit(limit).and_offset(first).order_by(key);
        let (top, count) = self.searcher.search(query, &(top, Count))?;
        Ok((top.into_iter().map(|(_, address)| address).collect(), count))
    }

    /// What the index takes on the disk.
    pub(crate) fn sizes(&self) -> std::io::Result<Table> {
        let usage = self.searcher.space_usage()?;
        let sum = |bytes: &dyn Fn(&tantivy::space_usage::SegmentSpaceUsage) -> u64| {
            usage.segments().iter().map(bytes).sum::<u64>()
        };
        let words = |name: &str| {
            sum(&|segment| {
                of_field(segment.termdict(), name)
                    + of_field(segment.postings(), name)
                    + of_field(segment.positions(), name)
                    + of_field(segment.fieldnorms(), name)
            })
        };
        let torrents = self.searcher.num_docs();
        let gigabytes = |bytes: u64| format!("{:.3}", bytes as f64 / torrents.max(1) as f64 * 1e6 / 1e9);
        let mut table = Table::new(["GB for a million torrents", "GB"]);
        let columns = sum(&|segment| segment.fast_fields().total().get_bytes());
        let store = sum(&|segment| segment.store().total().get_bytes());
        let all = sum(&|segment| segment.total().get_bytes());
        table.row(["words of paths".to_owned(), gigabytes(words("paths"))]);
        table.row(["words of names".to_owned(), gigabytes(words("name"))]);
        table.row(["marks".to_owned(), gigabytes(words("mark"))]);
        table.row(["columns of the orders".to_owned(), gigabytes(columns)]);
        table.row(["what is shown".to_owned(), gigabytes(store)]);
        table.row([format!("all, of {torrents} in {} segments", usage.segments().len()), gigabytes(all)]);
        Ok(table)
    }
}

fn of_field(usage: &PerFieldSpaceUsage, name: &str) -> u64 {
    let fields = usage.fields().filter(|field| field.field_name() == name);
    fields.map(|field| field.total().get_bytes()).sum()
}

#[cfg(test)]
mod tests {
    use benches::corpus::{Corpus, Files};
    use indexer_app::{
        db::name_lexemes,
        kinds::{Kind, classify_and_mark, kind_mark},
        query::{Clause, Expr, Lexeme, Term, parse},
        tokeniser::Lexemes,
    };

    use super::*;
    use crate::{classes::classes, fields::words_of_paths, index::make};

    const TORRENTS: u64 = 1_500;

    fn places<'a>(lexemes: &'a Lexemes, wanted: &Lexeme) -> Vec<&'a [u16]> {
        lexemes.iter().filter(|(text, _)| wanted.is(text)).map(|(_, places)| places).collect()
    }

    fn stands(lexemes: &Lexemes, clause: &Clause, placed: bool) -> bool {
        let mut starts: Option<Vec<u32>> = None;
        let mut distance = 0;
        for lexeme in clause {
            distance += lexeme.distance;
            let places = places(lexemes, lexeme);
            if places.is_empty() {
                return false;
            }
            if placed {
                let here: Vec<u32> =
                    places.concat().iter().map(|place| u32::from(*place).wrapping_sub(distance)).collect();
                let before = starts.unwrap_or_else(|| here.clone());
                starts = Some(before.into_iter().filter(|start| here.contains(start)).collect());
            }
        }
        starts.is_none_or(|starts| !starts.is_empty())
    }

    #[test]
    fn as_many_are_found_as_by_looking_at_each() {
        let corpus = Corpus::new(1, Files::Mean(11.0));
        let (schema, fields) = Fields::new();
        let index = Index::create_in_ram(schema);
        make(&index, fields, &corpus, TORRENTS).unwrap();
        let pages = Pages::of(&index).unwrap();
        let torrents: Vec<_> = (0..TORRENTS)
            .map(|number| {
                let item = corpus.item(number);
                let (_, marks) = classify_and_mark(&item.name, &item.files);
                (name_lexemes(&item.name, &marks), words_of_paths(&item))
            })
            .collect();
        let (mut compared, mut by_paths) = (0, 0);
        for class in classes(&corpus, TORRENTS, 30) {
            for query in class.queries {
                let Ok(page) = pages.page(&query, Sort::Newest, 0) else { continue };
                let parts = match parse(&query).expr.unwrap() {
                    Expr::All(parts) => parts,
                    single => vec![single],
                };
                // Marks stand among the words of the name.
                let holds = |name: &Lexemes, words: &Lexemes, placed| {
                    parts.iter().all(|part| match part {
                        Expr::Term(Term::Text(text)) => {
                            text.clauses().iter().all(|clause| stands(words, clause, placed))
                        }
                        Expr::Term(Term::Trait(_, value)) => {
                            name.contains(&kind_mark(value.parse::<Kind>().unwrap()))
                        }
                        other => panic!("{other}"),
                    })
                };
                let by_name = |(name, _): &&(Lexemes, _)| holds(name, name, true);
                let names = torrents.iter().filter(by_name).count();
                let others = torrents.iter().filter(|torrent| !by_name(torrent));
                let paths = others
                    .filter(|(name, paths)| paths.as_ref().is_some_and(|paths| holds(name, paths, false)))
                    .count();
                let has_words = class.name != "type: alone";
                let has_paths = names <= PAGE && has_words;
                assert_eq!(page.count, names + if has_paths { paths } else { 0 }, "{query}");
                assert_eq!(page.hits.len(), page.count.min(PAGE), "{query}");
                compared += 1;
                by_paths += usize::from(has_paths && paths > 0);
            }
        }
        assert!(compared > 300 && by_paths > 50, "{compared} {by_paths}");
    }
}
