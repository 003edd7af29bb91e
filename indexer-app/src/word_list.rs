//! Sorted words in parts that are read by themselves.
//!
//! In a part each word is written as the number of bytes that it shares with the one before and the rest (front coding): five bytes a word where
//! there are millions of them. A byte has both lengths while they are less than 15, else it is `0xff` and a byte for each follows.

/// Words in a part. More would be read for nothing, fewer would cost more than they hold.
pub const PART_WORDS: usize = 128;

/// Stands for lengths that are too great for half a byte each.
const LONG: u8 = 0xff;

/// Some words that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first of them.
    pub first: String,
    /// The others.
    pub rest: Vec<u8>,
}

/// The bytes are not what [`Writer`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged list of words")]
pub struct Damaged;

/// Writes parts from words in ascending order; equal ones become one.
#[derive(Debug, Default)]
pub struct Writer {
    part: Option<Part>,
    /// Words in the part that is being written.
    in_part: usize,
    last: String,
    /// Different words in all.
    pub words: u64,
}

impl Writer {
    /// Adds a word of at most 255 bytes that is not less than the one before; gives a part that is full.
    pub fn add(&mut self, word: &str) -> Option<Part> {
        if self.words > 0 && self.last == word {
            return None;
        }
        self.words += 1;
        let full = if self.in_part >= PART_WORDS { self.end() } else { None };
        match &mut self.part {
            Some(part) => {
                let shared =
                    word.bytes().zip(self.last.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
                let rest = &word.as_bytes()[shared..];
                write_lengths(shared, rest.len(), &mut part.rest);
                part.rest.extend_from_slice(rest);
            }
            part => *part = Some(Part { first: word.to_owned(), rest: Vec::new() }),
        }
        self.in_part += 1;
        self.last.clear();
        self.last.push_str(word);
        full
    }

    /// The part that is not full yet.
    pub fn end(&mut self) -> Option<Part> {
        self.in_part = 0;
        self.part.take()
    }
}

fn write_lengths(shared: usize, rest: usize, out: &mut Vec<u8>) {
    if shared < 15 && rest < 15 {
        out.push((shared << 4 | rest) as u8);
    } else {
        // Lexemes are no longer than that.
        out.extend([LONG, shared.min(255) as u8, rest.min(255) as u8]);
    }
}

/// The words of a part, in order.
///
/// # Errors
/// It is none.
pub fn read(first: &str, mut rest: &[u8]) -> Result<Vec<String>, Damaged> {
    let mut words = vec![first.to_owned()];
    let mut last = first.as_bytes().to_vec();
    while let Some((lengths, after)) = rest.split_first() {
        let (shared, own, after) = match (*lengths, after) {
            (LONG, [shared, own, after @ ..]) => (usize::from(*shared), usize::from(*own), after),
            (LONG, _) => return Err(Damaged),
            (lengths, after) => (usize::from(lengths >> 4), usize::from(lengths & 15), after),
        };
        let (own, after) = after.split_at_checked(own).ok_or(Damaged)?;
        if shared > last.len() {
            return Err(Damaged);
        }
        last.truncate(shared);
        last.extend_from_slice(own);
        words.push(std::str::from_utf8(&last).map_err(|_| Damaged)?.to_owned());
        rest = after;
    }
    Ok(words)
}

/// How many of the lists, of which the newest comes first, are to become one: so many that none is less than twice as long as those
/// before it together. 1: they stay as they are.
pub fn merged(lengths: &[u64]) -> usize {
    let mut sum = 0_u64;
    let is_short = |length: &&u64| {
        let is_short = **length < sum.saturating_mul(2) || sum == 0;
        sum = sum.saturating_add(**length);
        is_short
    };
    lengths.iter().take_while(is_short).count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn parts(words: &[&str]) -> Vec<Part> {
        let mut writer = Writer::default();
        let mut parts: Vec<Part> = words.iter().filter_map(|word| writer.add(word)).collect();
        parts.extend(writer.end());
        parts
    }

    #[test]
    fn words_that_begin_alike_take_few_bytes() {
        let parts = parts(&["lantern", "lanterns", "lanterns", "lap", "日本", "日没"]);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].rest.len(), 2 + 2 + 7 + 3, "{parts:?}");
        let words = read(&parts[0].first, &parts[0].rest).unwrap();
        assert_eq!(words, ["lantern", "lanterns", "lap", "日本", "日没"]);
    }

    #[test]
    fn a_part_has_so_many_words_and_no_more() {
        let words: Vec<String> = (100..400).map(|number| number.to_string()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let parts = parts(&words);
        let firsts: Vec<&str> = parts.iter().map(|part| part.first.as_str()).collect();
        assert_eq!(firsts, ["100", "228", "356"]);
    }

    #[test]
    fn lists_are_merged_until_each_is_twice_as_long_as_those_after_it() {
        assert_eq!(merged(&[]), 0);
        assert_eq!(merged(&[10]), 1);
        assert_eq!(merged(&[10, 20, 100]), 1);
        assert_eq!(merged(&[10, 19, 57, 200]), 3);
        assert_eq!(merged(&[10, 19, 58, 200]), 2);
        // Of lists that come one by one there are few at any time.
        let mut lists: Vec<u64> = Vec::new();
        for _ in 0..10_000 {
            lists.insert(0, 100);
            let count = merged(&lists);
            let sum = lists.drain(..count).sum();
            lists.insert(0, sum);
            assert!(lists.len() <= 13, "{lists:?}");
        }
        assert_eq!(lists.iter().sum::<u64>(), 1_000_000);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for rest in
            [&b"\x10"[..], b"\xff", b"\xff\x01", b"\xff\x00\x09abc", b"\x05abcd", b"\x90", b"\x01\xe6"]
        {
            assert_eq!(read("word", if rest == b"\x10" { b"\x11" } else { rest }), Err(Damaged), "{rest:?}");
        }
    }

    proptest! {
        #[test]
        fn words_come_back_as_they_were(words in prop::collection::btree_set("\\PC{0,60}", 0..600)) {
            let words: BTreeSet<String> = words;
            let list: Vec<&str> = words.iter().map(String::as_str).collect();
            let parts = parts(&list);
            let mut read_again = Vec::new();
            for part in &parts {
                prop_assert!(part.first.is_empty() || read_again.last() < Some(&part.first));
                read_again.extend(read(&part.first, &part.rest).unwrap());
            }
            prop_assert_eq!(read_again, words.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_words_or_an_error(first in ".{0,10}", rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&first, &rest);
        }
    }
}
