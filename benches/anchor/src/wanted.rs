//! From what was typed to queries of tantivy, by the program's own reading of it.

use indexer_app::{
    kinds::kind_mark,
    query::{Clause, Expr, Lexeme, Term as Condition, Trait, parse},
};
use tantivy::{
    Term,
    query::{BooleanQuery, Occur, PhrasePrefixQuery, PhraseQuery, Query, TermQuery},
    schema::{Field, IndexRecordOption},
};

use crate::fields::Fields;

/// What is looked for.
pub(crate) struct Wanted {
    /// In names and marks.
    pub(crate) names: Box<dyn Query>,
    /// In names and paths together, but not in names alone; `None` when there are no words.
    pub(crate) paths: Option<Box<dyn Query>>,
}

impl Wanted {
    pub(crate) fn read(fields: &Fields, query: &str) -> Result<Self, String> {
        let mut parts = Parts { fields, names: Vec::new(), paths: Vec::new(), has_words: false };
        parts.add(&parse(query).expr.ok_or("nothing was typed")?)?;
        let names: Box<dyn Query> = Box::new(BooleanQuery::intersection(parts.names));
        let paths = parts.has_words.then(|| -> Box<dyn Query> {
            let paths = parts.paths.into_iter().map(|part| (Occur::Must, part));
            let names = [(Occur::MustNot, names.box_clone())];
            Box::new(BooleanQuery::new(paths.chain(names).collect()))
        });
        Ok(Self { names, paths })
    }
}

/// What must all hold.
struct Parts<'a> {
    fields: &'a Fields,
    names: Vec<Box<dyn Query>>,
    paths: Vec<Box<dyn Query>>,
    has_words: bool,
}

impl Parts<'_> {
    fn add(&mut self, expr: &Expr) -> Result<(), String> {
        match expr {
            Expr::All(parts) => parts.iter().try_for_each(|part| self.add(part)),
            Expr::Term(Condition::Text(text)) => {
                self.has_words = true;
                text.clauses().iter().try_for_each(|clause| self.add_clause(clause))
            }
            Expr::Term(Condition::Trait(Trait::Kind, kind)) => {
                let mark = term(self.fields.mark, &kind_mark(kind.parse()?));
                self.names.push(Box::new(TermQuery::new(mark.clone(), IndexRecordOption::Basic)));
                self.paths.push(Box::new(TermQuery::new(mark, IndexRecordOption::Basic)));
                Ok(())
            }
            other => Err(format!("{other} is not asked here")),
        }
    }

    fn add_clause(&mut self, clause: &Clause) -> Result<(), String> {
        let (name, paths) = (self.fields.name, self.fields.paths);
        let together = match clause.as_slice() {
            [single] => word(name, single, IndexRecordOption::WithFreqs),
            several if several.iter().any(|lexeme| lexeme.prefix) => {
                return Err("beginnings of words in a phrase are not asked here".to_owned());
            }
            several => {
                let mut place = 0;
                let placed = several.iter().map(|lexeme| {
                    place += lexeme.distance as usize;
                    (place, term(name, &lexeme.text))
                });
                Box::new(PhraseQuery::new_with_offset(placed.collect()))
            }
        };
        self.names.push(together);
        self.paths.extend(clause.iter().map(|lexeme| word(paths, lexeme, IndexRecordOption::Basic)));
        Ok(())
    }
}

fn word(field: Field, lexeme: &Lexeme, option: IndexRecordOption) -> Box<dyn Query> {
    let term = term(field, &lexeme.text);
    if !lexeme.prefix {
        return Box::new(TermQuery::new(term, option));
    }
    // Without words before it this is a range of the dictionary.
    let mut range = PhrasePrefixQuery::new(vec![term]);
    range.set_max_expansions(u32::MAX);
    Box::new(range)
}

fn term(field: Field, text: &str) -> Term {
    Term::from_field_text(field, text)
}
