//! What of a torrent is in the index.

use benches::corpus::Item;
use indexer_app::{
    db::{name_lexemes, path_lexemes},
    file_list::is_single,
    kinds::classify_and_mark,
    tokeniser::Lexemes,
};
use tantivy::{
    TantivyDocument,
    schema::{FAST, Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{PreTokenizedString, Token},
};

/// Names of the fields that results are sorted by.
pub(crate) const ADDED_AT: &str = "added_at";
pub(crate) const TOTAL_SIZE: &str = "total_size";
pub(crate) const POPULARITY: &str = "popularity";
pub(crate) const FILE_COUNT: &str = "file_count";
pub(crate) const SEEDERS: &str = "seeders";

/// The fields, which answer for the columns and indexes of the program's tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// Words of the name with their places; stored as it is shown.
    pub(crate) name: Field,
    /// Words of name and paths, without places and without how often: paths are matched and never ranked.
    pub(crate) paths: Field,
    /// What the torrent is.
    pub(crate) mark: Field,
    /// Stored, for results are told by it.
    info_hash: Field,
    added_at: Field,
    total_size: Field,
    popularity: Field,
    file_count: Field,
    seeders: Field,
}

impl Fields {
    pub(crate) fn new() -> (Schema, Self) {
        // Words come as tokens and marks as they are: nothing is to be split.
        let words = |option| TextFieldIndexing::default().set_tokenizer("raw").set_index_option(option);
        let placed = words(IndexRecordOption::WithFreqsAndPositions);
        let plain = TextOptions::default()
            .set_indexing_options(words(IndexRecordOption::Basic).set_fieldnorms(false));
        let mut schema = Schema::builder();
        let fields = Self {
            name: schema.add_text_field("name", TextOptions::default().set_indexing_options(placed) | STORED),
            paths: schema.add_text_field("paths", plain.clone()),
            mark: schema.add_text_field("mark", plain),
            info_hash: schema.add_bytes_field("info_hash", STORED),
            added_at: schema.add_u64_field(ADDED_AT, FAST | STORED),
            total_size: schema.add_u64_field(TOTAL_SIZE, FAST | STORED),
            popularity: schema.add_u64_field(POPULARITY, FAST | STORED),
            file_count: schema.add_u64_field(FILE_COUNT, FAST | STORED),
            seeders: schema.add_u64_field(SEEDERS, FAST | STORED),
        };
        (schema.build(), fields)
    }

    /// A torrent with the words and marks that the program would store. `now` is in seconds.
    pub(crate) fn document(&self, item: Item, now: u64) -> TantivyDocument {
        let (_, marks) = classify_and_mark(&item.name, &item.files);
        let mut document = TantivyDocument::new();
        if let Some(paths) = words_of_paths(&item) {
            document.add_pre_tokenized_text(self.paths, tokens(&paths, String::new()));
        }
        for mark in marks {
            document.add_text(self.mark, mark);
        }
        document.add_bytes(self.info_hash, &item.info_hash);
        document.add_u64(self.added_at, now - u64::from(item.age_s));
        document.add_u64(self.total_size, item.files.iter().map(|(_, length)| length).sum());
        document.add_u64(self.popularity, u64::try_from(item.popularity).unwrap_or_default());
        document.add_u64(self.file_count, item.files.len() as u64);
        document.add_u64(self.seeders, u64::from(item.seeders));
        document.add_pre_tokenized_text(self.name, tokens(&name_lexemes(&item.name, &[]), item.name));
        document
    }
}

/// The words of name and paths, unless the name says it all.
pub(crate) fn words_of_paths(item: &Item) -> Option<Lexemes> {
    let total_size = item.files.iter().map(|(_, length)| length).sum();
    let is_single = is_single(&item.name, total_size, &item.files);
    (!is_single).then(|| path_lexemes(&item.name, &item.files))
}

/// Lexemes as tokens, once for each of their places. Those of one lexeme ascend, which is all that the index needs.
fn tokens(lexemes: &Lexemes, text: String) -> PreTokenizedString {
    let token = |lexeme: &str, position| Token { position, text: lexeme.to_owned(), ..Token::default() };
    let mut tokens = Vec::new();
    for (lexeme, positions) in lexemes.iter() {
        if positions.is_empty() {
            tokens.push(token(lexeme, 0));
        }
        tokens.extend(positions.iter().map(|position| token(lexeme, usize::from(*position))));
    }
    PreTokenizedString { text, tokens }
}
