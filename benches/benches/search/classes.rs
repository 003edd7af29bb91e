//! What people type, by classes that ask different things of a search.

use benches::corpus::{Corpus, Script, Vocabulary};
use indexer_app::tokeniser::{Kind, tokenise};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Queries of one kind.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) queries: Vec<String>,
    /// Words that must all be there, if the query is nothing else: what a bare `tsquery` can ask as well.
    pub(crate) is_plain: bool,
}

/// Makes one query of a class.
type MakeQuery = fn(&mut Maker<'_>) -> String;

/// All classes, with so many queries each, about the torrents 0 to `torrents` of the corpus.
pub(crate) fn classes(corpus: &Corpus, torrents: u64, each: usize) -> Vec<Class> {
    let mut maker = Maker { corpus, torrents, random: StdRng::seed_from_u64(7) };
    let plain = [
        "rare word",
        "middle word",
        "common word",
        "two words",
        "common and rare",
        "two common",
        "three words",
    ];
    let kinds: [(&'static str, MakeQuery); 24] = [
        ("rare word", |make| make.latin(20_000, 250_000)),
        ("middle word", |make| make.latin(300, 5_000)),
        ("common word", |make| make.latin(0, 40)),
        ("two words", |make| make.of_a_name(2)),
        ("three words", |make| make.of_a_name(3)),
        ("common and rare", |make| format!("{} {}", make.latin(0, 40), make.latin(5_000, 100_000))),
        ("two common", |make| format!("{} {}", make.latin(0, 40), make.latin(0, 40))),
        ("tags", |make| format!("{} {}", make.one(&TAGS), make.one(&TAGS))),
        ("phrase", |make| format!("\"{}\"", make.of_a_name(2))),
        ("phrase of common words", |make| format!("\"{} {}\"", make.latin(0, 40), make.latin(0, 40))),
        ("prefix", |make| format!("{}*", cut(&make.latin(300, 20_000), 4))),
        ("short prefix", |make| format!("{}*", cut(&make.latin(0, 300), 2))),
        ("not", |make| format!("{} -{}", make.latin(0, 300), make.latin(0, 100))),
        ("or", |make| format!("{} OR {}", make.latin(100, 5_000), make.latin(5_000, 100_000))),
        ("other scripts", |make| make.other_script()),
        ("words of paths", |make| make.of_a_path()),
        ("file:", |make| format!("file:{}", make.latin(300, 20_000))),
        ("type:", |make| {
            format!("type:{} {}", make.one(&["video", "audio", "book", "software"]), make.latin(0, 2_000))
        }),
        ("type: alone", |make| {
            format!("type:{}", make.one(&["video", "audio", "book", "software", "image"]))
        }),
        ("ext:", |make| {
            format!("ext:{} {}", make.one(&["mkv", "mp3", "epub", "flac", "iso"]), make.latin(0, 2_000))
        }),
        ("size and files", |make| {
            format!("{} size:>{}gb files:<10", make.latin(0, 1_000), make.random.random_range(1..8))
        }),
        ("seeders and age", |make| {
            format!("{} seeders:>{} added:<365d", make.latin(0, 1_000), make.random.random_range(1..20))
        }),
        ("no hit", |make| format!("{}zq{}", make.latin(0, 1_000), make.random.random_range(0..1_000_000))),
        ("nothing typed", |_| String::new()),
    ];
    kinds
        .into_iter()
        .map(|(name, make)| Class {
            name,
            queries: (0..if name == "nothing typed" { 1 } else { each }).map(|_| make(&mut maker)).collect(),
            is_plain: plain.contains(&name),
        })
        .collect()
}

const TAGS: [&str; 8] = ["1080p", "720p", "x264", "x265", "BluRay", "WEB-DL", "FLAC", "HEVC"];

struct Maker<'a> {
    corpus: &'a Corpus,
    torrents: u64,
    random: StdRng,
}

impl Maker<'_> {
    /// A Latin word of a rank between these.
    fn latin(&mut self, least: usize, below: usize) -> String {
        let rank = self.random.random_range(least..below);
        self.corpus.vocabulary().word(Script::Latin, rank).to_owned()
    }

    fn one(&mut self, list: &[&str]) -> String {
        list[self.random.random_range(0..list.len())].to_owned()
    }

    /// Neighbouring words of a name that has enough of them.
    fn of_a_name(&mut self, count: usize) -> String {
        loop {
            let number = self.random.random_range(0..self.torrents);
            let words = words(&self.corpus.item(number).name);
            if words.len() >= count {
                let start = self.random.random_range(0..=words.len() - count);
                return words[start..start + count].join(" ");
            }
        }
    }

    /// Two words of a path.
    fn of_a_path(&mut self) -> String {
        loop {
            let number = self.random.random_range(0..self.torrents);
            let files = self.corpus.item(number).files;
            let (path, _) = &files[self.random.random_range(0..files.len())];
            let words = words(&path.join(" "));
            if files.len() > 1 && words.len() >= 2 {
                let start = self.random.random_range(0..=words.len() - 2);
                return words[start..start + 2].join(" ");
            }
        }
    }

    fn other_script(&mut self) -> String {
        loop {
            let script = Vocabulary::script(&mut self.random);
            if script != Script::Latin {
                return self.corpus.vocabulary().draw(script, &mut self.random).to_owned();
            }
        }
    }
}

fn cut(word: &str, letters: usize) -> &str {
    word.char_indices().nth(letters).map_or(word, |(end, _)| &word[..end])
}

/// The words of a text, as the index has them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    tokenise(text, 0, |token| {
        if token.kind == Kind::Word {
            words.push(token.text.to_owned());
        }
    });
    words
}

/// All words of a text as a `tsquery`.
pub(crate) fn all_of(text: &str) -> String {
    let words: Vec<String> = words(text).iter().map(|word| format!("'{word}'")).collect();
    words.join(" & ")
}
