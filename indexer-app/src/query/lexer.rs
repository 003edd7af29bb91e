//! From text to tokens. Every text has some; nothing is an error.

use super::Field;

/// A token of a query. Texts are parts of the query as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `(`
    Open,
    /// `)`
    Close,
    /// A hyphen before something.
    Not,
    /// `OR` by itself.
    Or,
    /// `AND` by itself.
    And,
    /// Anything without spaces.
    Word(&'a str),
    /// Words between quotes.
    Phrase(&'a str),
    /// The name of a field and its values, none of which is empty.
    Field(Field, Vec<Value<'a>>),
    /// The quote before was never closed.
    OpenQuote,
}

/// One of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// As it was typed, without quotes.
    pub(super) text: &'a str,
    /// Whether there were quotes.
    pub(super) quoted: bool,
}

/// All tokens of a text, whose length is bounded by who calls.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '(' | ')' => {
                tokens.push(if first == '(' { Token::Open } else { Token::Close });
                rest = &rest[1..];
            }
            '-' => {
                let after = rest.trim_start_matches('-');
                // Several hyphens are a dash, and so is one that stands alone.
                let excludes = rest.len() - after.len() == 1
                    && after.starts_with(|next: char| !next.is_whitespace() && next != ')');
                if excludes {
                    tokens.push(Token::Not);
                }
                rest = after;
            }
            '"' => {
                let (inside, outside) = quoted(&rest[1..], &mut tokens);
                tokens.push(Token::Phrase(inside));
                rest = outside;
            }
            _ => {
                let end = rest.find(ends_word).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = after;
                match word.split_once(':').and_then(|(name, _)| Some((Field::of_name(name)?, name.len() + 1)))
                {
                    Some((field, skipped)) => {
                        // A value in quotes is not part of the word.
                        let whole = &text[text.len() - word.len() - after.len()..];
                        let (values, outside) = values(&whole[skipped..], &mut tokens);
                        rest = outside;
                        tokens.push(Token::Field(field, values));
                    }
                    None => tokens.push(match word {
                        "OR" => Token::Or,
                        "AND" => Token::And,
                        word => Token::Word(word),
                    }),
                }
            }
        }
        rest = rest.trim_start();
    }
    tokens
}

fn ends_word(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '(' | ')')
}

/// What stands before the next quote, and what behind it. A quote that is never closed reaches to the end.
fn quoted<'a>(after: &'a str, tokens: &mut Vec<Token<'a>>) -> (&'a str, &'a str) {
    after.split_once('"').unwrap_or_else(|| {
        tokens.push(Token::OpenQuote);
        (after, "")
    })
}

/// The values of a field, parted by `|`, and what is behind them.
fn values<'a>(text: &'a str, tokens: &mut Vec<Token<'a>>) -> (Vec<Value<'a>>, &'a str) {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let value = if let Some(after) = rest.strip_prefix('"') {
            let (inside, outside) = quoted(after, tokens);
            rest = outside;
            Value { text: inside.trim(), quoted: true }
        } else {
            let end = rest.find(|character| ends_word(character) || character == '|').unwrap_or(rest.len());
            let (text, outside) = rest.split_at(end);
            rest = outside;
            Value { text, quoted: false }
        };
        if !value.text.is_empty() {
            values.push(value);
        }
        match rest.strip_prefix('|') {
            Some(after) => rest = after,
            None => return (values, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Value<'_> {
        Value { text, quoted: false }
    }

    #[test]
    fn words_quotes_and_signs_are_told_apart() {
        use Token::{Close, Not, Open, Or, Phrase, Word};
        assert_eq!(
            tokens(" a-b -c \"d  e\"f (g OR h)i "),
            [
                Word("a-b"),
                Not,
                Word("c"),
                Phrase("d  e"),
                Word("f"),
                Open,
                Word("g"),
                Or,
                Word("h"),
                Close,
                Word("i")
            ]
        );
        assert_eq!(tokens("- --x -- -) or"), [Word("x"), Close, Word("or")]);
        assert_eq!(tokens("-(a)"), [Not, Open, Word("a"), Close]);
        assert_eq!(tokens("\"a b"), [Token::OpenQuote, Phrase("a b")]);
    }

    #[test]
    fn fields_have_values_between_bars_with_or_without_quotes() {
        use crate::query::{Number, Trait};
        let kind = Field::Trait(Trait::Kind);
        assert_eq!(
            tokens("TYPE:video|audio|\"x y\" z"),
            [
                Token::Field(kind, vec![plain("video"), plain("audio"), Value { text: "x y", quoted: true }]),
                Token::Word("z")
            ]
        );
        assert_eq!(
            tokens("size:>1gb)"),
            [Token::Field(Field::Number(Number::Size), vec![plain(">1gb")]), Token::Close]
        );
        assert_eq!(tokens("type:||"), [Token::Field(kind, vec![])]);
        assert_eq!(tokens("type: x"), [Token::Field(kind, vec![]), Token::Word("x")]);
        assert_eq!(tokens("http://a:b foo:bar"), [Token::Word("http://a:b"), Token::Word("foo:bar")]);
        assert_eq!(
            tokens("file:\"a b\"|c\"d\""),
            [
                Token::Field(Field::File, vec![Value { text: "a b", quoted: true }, plain("c")]),
                Token::Phrase("d")
            ]
        );
    }
}
