//! Looking into the files of a torrent that may match: whether it does, and by which path.

use crate::{
    file_list,
    query::{Clause, Expr, Lexeme, Term, Text, holds, placed},
    tokeniser::tokenise,
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
    let (best, all_are_there) = best(&wanted, name, &files);
    let holds = (all_are_there && !may_not) || {
        let paths = files.iter().map(|(path, _)| placed(&path.join("/"))).collect();
        Texts { name: placed(name), paths }.matches(expr, &mut known.iter().copied())
    };
    (holds, best.filter(|_| holds).map(|path| path.join("/")))
}

/// The first of the paths that have most of the words, and whether all words stand in the name or in paths.
fn best<'a>(wanted: &[Lexeme], name: &str, files: &'a [file_list::File]) -> (Option<&'a [String]>, bool) {
    let found = |text: &str| {
        let mut found = vec![false; wanted.len()];
        tokenise(text, 0, |token| {
            for (lexeme, found) in wanted.iter().zip(&mut found) {
                *found |= lexeme.is(token.text);
            }
        });
        found
    };
    let with = |into: &mut Vec<bool>, other: &[bool]| {
        into.iter_mut().zip(other).for_each(|(into, other)| *into |= other);
    };
    let mut all = found(name);
    let mut best: Option<(usize, &[String])> = None;
    // Folders repeat from file to file.
    let (mut folders, mut in_folders) = (&[][..], vec![false; wanted.len()]);
    for (path, _) in files {
        let (file, parents) =
            path.split_last().map_or((None, &[][..]), |(file, parents)| (Some(file), parents));
        if parents != folders {
            (folders, in_folders) = (parents, vec![false; wanted.len()]);
            parents.iter().for_each(|folder| with(&mut in_folders, &found(folder)));
        }
        let mut here = in_folders.clone();
        file.into_iter().for_each(|file| with(&mut here, &found(file)));
        let count = here.iter().filter(|found| **found).count();
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, path));
        }
        with(&mut all, &here);
        if count == wanted.len() {
            // None has more.
            break;
        }
    }
    (best.map(|(_, path)| path), all.into_iter().all(|found| found))
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
