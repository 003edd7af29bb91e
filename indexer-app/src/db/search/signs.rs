//! What the signature of a name must have for the torrent to match: which rows of an order need not be looked at.

use crate::{
    query::{Expr, Term},
    signature::Signature,
};

/// Alternatives that are told apart; what has more of them is looked at.
const ALTERNATIVES_MAX: usize = 8;

/// Bits that every torrent has that matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    all: Signature,
    /// Of each list at least one.
    any: Vec<Vec<Signature>>,
}

impl Signs {
    /// Of a condition, from the lexemes that each of its terms requires.
    pub(super) fn of(expr: Option<&Expr>, lexemes: &impl Fn(&Term) -> Vec<String>) -> Self {
        let mut signs = Self::default();
        if let Some(expr) = expr {
            signs.add(expr, lexemes);
        }
        signs
    }

    fn add(&mut self, expr: &Expr, lexemes: &impl Fn(&Term) -> Vec<String>) {
        match expr {
            Expr::All(parts) => parts.iter().for_each(|part| self.add(part, lexemes)),
            Expr::Any(parts) => {
                let parts: Vec<Signature> =
                    parts.iter().map(|part| Self::of(Some(part), lexemes).all).collect();
                if parts.len() <= ALTERNATIVES_MAX && !parts.iter().any(|part| part.is_empty()) {
                    self.any.push(parts);
                }
            }
            // What is excluded may be there by mistake.
            Expr::Not(_) => {}
            Expr::Term(term) => {
                self.all = lexemes(term).iter().fold(self.all, |all, lexeme| all.with(lexeme));
            }
        }
    }

    /// Whether every signature has them.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty()
    }

    /// The condition on the signature of a row.
    pub(super) fn sql(&self, row: &str) -> String {
        // At least means equal here. The planner takes equality for rare, and would sort what comes in order already.
        let has =
            |signature: Signature| format!("({row}.signature & {bits}) >= {bits}", bits = signature.to_i64());
        let mut all = vec![has(self.all)];
        all.extend(self.any.iter().map(|list| {
            let list: Vec<String> = list.iter().map(|one| has(*one)).collect();
            format!("({})", list.join(" or "))
        }));
        all.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::search::lexemes::required, query::parse, search::Stage};

    fn signs(text: &str, stage: Stage) -> Signs {
        Signs::of(parse(text).expr.as_ref(), &|term| required(term, stage, false))
    }

    fn all(lexemes: &[&str]) -> Signs {
        Signs { all: Signature::of(lexemes.iter().copied()), any: Vec::new() }
    }

    #[test]
    fn whole_words_and_marks_are_required_and_nothing_else_is() {
        let names = |text| signs(text, Stage::Names);
        assert_eq!(names("Foo \"bar baz\" type:video -qux new* size:>1"), all(&["foo", "bar", "baz", ":t1"]));
        assert_eq!(names("season:2 year:1999"), all(&[":s02", ":y1999"]));
        assert!(names("new* -foo file:bar").is_empty());
        assert_eq!(signs("foo type:video file:bar", Stage::Paths), all(&[":t1"]), "words may stand in paths");
    }

    #[test]
    fn of_alternatives_one_is_required_unless_one_of_them_can_be_anything() {
        let either = signs("foo (bar OR \"baz qux\")", Stage::Names);
        assert_eq!(either.all, Signature::of(["foo"]));
        assert_eq!(either.any, [vec![Signature::of(["bar"]), Signature::of(["baz", "qux"])]]);
        assert!(signs("bar OR new*", Stage::Names).is_empty());
        assert!(signs("bar OR -foo", Stage::Names).is_empty());
    }
}
