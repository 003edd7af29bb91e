//! Words of file paths as numbers.
//!
//! A torrent of several files has 57 different words in its name and paths in the mean. As a `tsvector` they take 530 bytes, as numbers of four bytes 250;
//! with the index a third of the database was words of paths (measured with a million torrents of 11 files).
//!
//! Words that share a number are told apart by the files themselves, which are looked into before a torrent is shown. In ten million
//! torrents a word has the number of another one in 0.06 of them in the mean.
//!
//! Numbers are stored, so they must never change: they are the same on every machine and in every version. When they do change,
//! [`TOK_VER`](crate::tokeniser::TOK_VER) has to rise.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// The number of a word: the low half of its SipHash-1-3 without a key.
pub fn word_hash(word: &str) -> i32 {
    let mut hasher = SipHasher13::new();
    hasher.write(word.as_bytes());
    (hasher.finish() as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_stays_as_it_is() {
        let all = ["ubuntu", "日本", ""].map(word_hash);
        assert_eq!(
            all,
            [1_095_342_000, 1_772_874_987, 353_129_260],
            "whoever changes this has all words of paths made again"
        );
    }
}
