//! Looking into the files of a torrent that may match: whether it does, and by which path.

use crate::{
    file_list,
    query::{Clause, Expr, Lexeme, Term, Text, holds, placed},
};

/// Tokens with their positions.
type Tokens = Vec<(u32, String)>;

/// Whether the torrent matches, and the path that has most of the words. `known` says of all terms that are no words whether they hold. Unless
/// the torrent `may_not` match, only words that share their numbers with others can make that it does not. A list that is too
/// long to be unpacked is believed.
pub(super) fn look_into(
    expr: &Expr,
    name: &str,
    fmt: i16,
    data: &[u8],
    known: &[bool],
    may_not: bool,
) -> (bool, Option<String>) {
    let Ok(files) = file_list::unpack(name, fmt, data) else { return (true, None) };
    let wanted = wanted(expr);
    let mut best: Option<(usize, String)> = None;
    let mut texts = Texts { name: Vec::new(), paths: Vec::with_capacity(files.len()) };
    for (path, _) in &files {
        let path = path.join("/");
        let tokens = placed(&path);
        let has = |lexeme: &&Lexeme| tokens.iter().any(|(_, token)| lexeme.is(token));
        let count = wanted.iter().filter(has).count();
        if best.as_ref().is_none_or(|(most, _)| count > *most) {
            best = Some((count, path));
        }
        if count == wanted.len() && !may_not {
            // None has more, and these are the words themselves.
            return (true, best.map(|(_, path)| path));
        }
        texts.paths.push(tokens);
    }
    texts.name = placed(name);
    let holds = texts.matches(expr, &mut known.iter().copied());
    (holds, best.map(|(_, path)| path).filter(|_| holds))
}

/// What is asked for and not excluded.
fn wanted(expr: &Expr) -> Vec<Lexeme> {
    let mut wanted = Vec::new();
    expr.for_each_term(&mut |term, negated| {
        if let (Term::Text(text) | Term::File(text), false) = (term, negated) {
            wanted.extend(text.clauses().into_iter().flatten());
        }
    });
    wanted
}

struct Texts {
    name: Tokens,
    paths: Vec<Tokens>,
}

impl Texts {
    /// Every term is looked at, so that each takes what is known of it.
    fn matches(&self, expr: &Expr, known: &mut impl Iterator<Item = bool>) -> bool {
        match expr {
            Expr::All(parts) => {
                let each: Vec<bool> = parts.iter().map(|part| self.matches(part, known)).collect();
                each.into_iter().all(|holds| holds)
            }
            Expr::Any(parts) => {
                let each: Vec<bool> = parts.iter().map(|part| self.matches(part, known)).collect();
                each.into_iter().any(|holds| holds)
            }
            Expr::Not(inner) => !self.matches(inner, known),
            Expr::Term(Term::Text(text)) => self.have(text),
            Expr::Term(Term::File(text)) => {
                let clauses = text.clauses();
                self.paths.iter().any(|path| clauses.iter().all(|clause| holds(clause, path)))
            }
            Expr::Term(_) => known.next().unwrap_or(false),
        }
    }

    /// Words may stand apart, in the name and in paths; neighbours stand together in one of them.
    fn have(&self, text: &Text) -> bool {
        let has =
            |clause: &Clause| holds(clause, &self.name) || self.paths.iter().any(|path| holds(clause, path));
        text.clauses().iter().all(has)
    }
}
