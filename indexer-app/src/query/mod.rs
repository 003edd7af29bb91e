//! The language of searches: the same in the shell, in the library and wherever else somebody types.
//!
//! | typed | means |
//! |---|---|
//! | `a b` | both words, in the name; or else in name and file paths together |
//! | `"a b"` | these words, next to each other and in this order |
//! | `a*` | words that begin with `a` |
//! | `-a`, `-"a b"`, `-size:<1mb`, `-(a b)` | not this |
//! | `a OR b`, `a (b OR c)` | one of them; `OR` binds less than standing side by side. `AND` means nothing |
//! | `file:a`, `file:"a b"`, `file:a*` | in a path of a file |
//! | `type:video`, `ext:mkv`, `lang:en`, `res:1080p`, `codec:x265`, `source:bluray`, `group:name` | what the torrent is ([`crate::kinds`]) |
//! | `season:2`, `episode:5`, `year:1999`, `year:>2000` | numbers of the work; all numbers take `>`, `>=`, `<`, `<=`, `low..high` |
//! | `size:>1gb`, `size:1gb..4gb`, `size:700mb` | bytes in all files: `kb` is 1000, `k` and `kib` are 1024; without a sign what is that much when rounded as it is written |
//! | `files:<10`, `seeders:>5`, `leechers:0` | how many; what nobody has told yet is 0 |
//! | `added:<7d`, `seen:1d..30d` | age: `s`, `min`, `h`, `d`, `w`, `mo`, `y`; without a sign at most so old |
//! | `added:2024-05`, `added:>=2024-05-01` | days, by UTC |
//! | `hash:0123ab` | the beginning of an info-hash, or all of it |
//!
//! Several values of a field are parted by `|`: `ext:mkv|mp4`. Words come from the [tokeniser](crate::tokeniser) that made the index.
//!
//! No text is an error. What is odd is taken as words, what is too much is left out, and a [`Note`] says so. Whatever was
//! read can be written again ([`Expr`] is `Display`), and reading that gives the same.

mod ast;
mod lexer;
mod note;
mod parse;
mod text;
mod traits;
mod value;

pub use ast::{Days, Expr, Field, Moment, Number, Range, Span, Term, Text, Trait};
pub use note::Note;
pub use parse::{DEPTH_MAX, QUERY_BYTES_MAX, Query, TERMS_MAX, parse};
pub use text::{Clause, Lexeme};
pub(crate) use text::{holds, placed};
pub(crate) use traits::mark;
