//! Words that may have been meant: trigrams to look them up by, and how far two words are apart.

/// Shortest and longest word that is learned and put right. Shorter ones are like too many others; longer ones are no words.
pub const WORD_CHARS: std::ops::RangeInclusive<usize> = 4..=32;

/// Whether it is a word that people misspell: letters only.
pub fn is_word(lexeme: &str) -> bool {
    lexeme.chars().all(char::is_alphabetic) && WORD_CHARS.contains(&lexeme.chars().count())
}

/// The trigrams of a word with two spaces before it and one behind, each once.
pub fn trigrams(word: &str) -> Vec<String> {
    let mut grams: Vec<String> = Vec::new();
    for gram in windows(word) {
        if !grams.contains(&gram) {
            grams.push(gram);
        }
    }
    grams
}

/// Pairs of neighbouring trigrams, and the first with the last: a mistake touches at most four neighbouring ones, so a word of
/// five letters keeps at least one pair.
pub fn pairs(word: &str) -> Vec<[String; 2]> {
    let grams: Vec<String> = windows(word).collect();
    let mut pairs: Vec<[String; 2]> =
        grams.windows(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect();
    if let [first, .., last] = grams.as_slice() {
        pairs.push([first.clone(), last.clone()]);
    }
    pairs
}

fn windows(word: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = [' ', ' '].into_iter().chain(word.chars()).chain([' ']).collect();
    let grams: Vec<String> = characters.windows(3).map(|gram| gram.iter().collect()).collect();
    grams.into_iter()
}

/// Letters that have to be inserted, removed, replaced or swapped with their neighbour to make one word of the other (optimal string
/// alignment); `None` when it is more than `most`.
pub fn distance(left: &str, right: &str, most: usize) -> Option<usize> {
    let left: Vec<char> = left.chars().take(WORD_CHARS.end() + 1).collect();
    let right: Vec<char> = right.chars().take(WORD_CHARS.end() + 1).collect();
    if left.len().abs_diff(right.len()) > most {
        return None;
    }
    // Three rows of the table of distances between beginnings: of this letter of the left word, of the one before, and of that before it.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut cost = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        if row.iter().all(|cost| *cost > most) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distances_count_single_mistakes() {
        for (left, right, expected) in [
            ("ubuntu", "ubuntu", 0),
            ("ubunut", "ubuntu", 1),
            ("ubutu", "ubuntu", 1),
            ("ubunntu", "ubuntu", 1),
            ("ubumtu", "ubuntu", 1),
            ("horzion", "horizon", 1),
            ("hroiznn", "horizon", 2),
            ("война", "воина", 1),
        ] {
            assert_eq!(distance(left, right, 2), Some(expected), "{left} {right}");
            assert_eq!(distance(right, left, 2), Some(expected), "{right} {left}");
        }
        assert_eq!(distance("abcdef", "fedcba", 2), None);
        assert_eq!(distance("short", "shortening", 2), None);
    }

    #[test]
    fn trigrams_have_the_ends_of_the_word() {
        assert_eq!(trigrams("word"), ["  w", " wo", "wor", "ord", "rd "]);
        assert_eq!(trigrams("aaaaa"), ["  a", " aa", "aaa", "aa "]);
        assert!(is_word("horizon") && is_word("война"));
        assert!(!is_word("x264") && !is_word("abc") && !is_word(&"a".repeat(33)));
    }

    proptest! {
        #[test]
        fn a_word_with_one_mistake_shares_a_pair_of_trigrams(
            word in "[a-e]{5,12}", at in 0_usize..12, kind in 0..4, letter in "[a-z]"
        ) {
            let mut letters: Vec<char> = word.chars().collect();
            let at = at % letters.len();
            let letter = letter.chars().next().unwrap();
            match kind {
                0 => letters[at] = letter,
                1 => letters.insert(at, letter),
                2 => drop(letters.remove(at)),
                _ => letters.swap(at, (at + 1) % word.len().max(1)),
            }
            // Swapping the last with the first is no mistake of one place.
            prop_assume!(kind != 3 || at + 1 < word.len());
            let wrong: String = letters.into_iter().collect();
            prop_assert!(distance(&wrong, &word, 1).is_some());
            let grams = trigrams(&word);
            prop_assert!(pairs(&wrong).iter().any(|pair| pair.iter().all(|gram| grams.contains(gram))), "{}", wrong);
        }
    }
}
