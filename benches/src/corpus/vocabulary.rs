//! Words of ten scripts, invented, by rank: the lower, the more frequent and the shorter.

use rand::{RngExt as _, rngs::StdRng};

/// A way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// English and its neighbours, without accents.
    Latin,
    /// Latin with accents.
    Accented,
    /// Russian and its neighbours.
    Cyrillic,
    /// Chinese.
    Han,
    /// Japanese, mostly Kana.
    Kana,
    /// Korean.
    Hangul,
    /// Arabic and Persian.
    Arabic,
    /// Hindi and its neighbours.
    Devanagari,
    /// Greek.
    Greek,
    /// Hebrew.
    Hebrew,
    /// Thai.
    Thai,
}

impl Script {
    /// All of them; Latin stands twice, with and without accents.
    pub const ALL: [Self; 11] = [
        Self::Latin,
        Self::Accented,
        Self::Cyrillic,
        Self::Han,
        Self::Kana,
        Self::Hangul,
        Self::Arabic,
        Self::Devanagari,
        Self::Greek,
        Self::Hebrew,
        Self::Thai,
    ];

    /// Words, and how many titles of a hundred are written so.
    fn size(self) -> (usize, u32) {
        match self {
            Self::Latin => (250_000, 55),
            Self::Accented => (40_000, 6),
            Self::Cyrillic => (80_000, 13),
            Self::Han => (40_000, 8),
            Self::Kana => (20_000, 5),
            Self::Hangul => (20_000, 3),
            Self::Arabic => (20_000, 3),
            Self::Devanagari => (10_000, 2),
            Self::Greek => (10_000, 2),
            Self::Hebrew => (10_000, 1),
            Self::Thai => (10_000, 2),
        }
    }

    /// Whether words stand beside each other without spaces.
    pub fn is_spaceless(self) -> bool {
        matches!(self, Self::Han | Self::Kana | Self::Thai)
    }

    /// What words are put together from.
    fn syllables(self) -> Vec<String> {
        let pairs = |consonants: &str, vowels: &str| -> Vec<String> {
            let vowels: Vec<&str> = vowels.split(' ').collect();
            consonants
                .split(' ')
                .flat_map(|consonant| vowels.iter().map(move |vowel| format!("{consonant}{vowel}")))
                .collect()
        };
        let range = |first: u32, count: u32, step: u32| -> Vec<String> {
            (0..count).filter_map(|index| char::from_u32(first + index * step)).map(String::from).collect()
        };
        match self {
            Self::Latin => {
                pairs("b c d f g h j k l m n p r s t v w z st tr br gr sh ch", "a e i o u ai ou ee")
            }
            Self::Accented => pairs("b c d f g l m n p r s t v ç ñ š ž ł", "a é i ó u ü ä ø è ê"),
            Self::Cyrillic => pairs("б в г д ж з к л м н п р с т ф х ц ч ш щ", "а е и о у ы ю я"),
            Self::Han => range(0x4e00, 2_500, 7),
            Self::Kana => {
                let mut kana = range(0x3042, 70, 1);
                kana.extend(range(0x30a2, 70, 1));
                kana
            }
            Self::Hangul => range(0xac00, 1_500, 7),
            Self::Arabic => pairs("ب ت ث ج ح خ د ر ز س ش ص ط ع غ ف ق ك ل م ن ه", "ا و ي"),
            Self::Devanagari => pairs("क ख ग घ च ज ट ड त द न प ब भ म य र ल व श स ह", "ा ि ी ु े ो"),
            Self::Greek => pairs("β γ δ ζ θ κ λ μ ν π ρ σ τ φ χ", "α ε η ι ο υ ω ά έ"),
            Self::Hebrew => pairs("ב ג ד ה ז ח ט כ ל מ נ ס ע פ צ ק ר ש ת", "א ו י"),
            Self::Thai => pairs("ก ข ค ง จ ช ด ต ท น บ ป พ ม ย ร ล ว ส ห", "า ี ู ะ ิ"),
        }
    }

    /// What some words end with.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Latin => &["", "n", "r", "s", "l", "", "t", "m"],
            Self::Accented => &["", "n", "s", ""],
            Self::Cyrillic => &["", "й", "н", "ть", "в", ""],
            Self::Greek => &["ς", "ν", ""],
            _ => &[""],
        }
    }
}

/// The words of one script, one text and where each ends.
#[derive(Debug)]
struct Words {
    text: String,
    ends: Vec<u32>,
}

/// All words.
#[derive(Debug)]
pub struct Vocabulary {
    scripts: Vec<Words>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::new()
    }
}

impl Vocabulary {
    /// Makes them.
    pub fn new() -> Self {
        Self { scripts: Script::ALL.map(Words::of).into() }
    }

    /// How many words a script has.
    pub fn len(&self, script: Script) -> usize {
        self.scripts[script as usize].ends.len()
    }

    /// Whether a script has no words.
    pub fn is_empty(&self, script: Script) -> bool {
        self.len(script) == 0
    }

    /// The word of a rank, from 0; ranks beyond the last are the last.
    pub fn word(&self, script: Script, rank: usize) -> &str {
        self.scripts[script as usize].word(rank)
    }

    /// A word, each as often as Zipf's law says: the one of rank r as the r-th part of the first.
    pub fn draw(&self, script: Script, random: &mut StdRng) -> &str {
        let words = &self.scripts[script as usize];
        let rank = (words.ends.len() as f64).powf(random.random::<f64>()) as usize;
        words.word(rank.saturating_sub(1))
    }

    /// A script, as often as titles are written in it.
    pub fn script(random: &mut StdRng) -> Script {
        let mut rest = random.random_range(0..100);
        for script in Script::ALL {
            let (_, share) = script.size();
            if rest < share {
                return script;
            }
            rest -= share;
        }
        Script::Latin
    }
}

impl Words {
    fn of(script: Script) -> Self {
        let (count, _) = script.size();
        let (syllables, endings) = (script.syllables(), script.endings());
        let mut words = Self { text: String::new(), ends: Vec::with_capacity(count) };
        for rank in 0..count {
            // Neighbouring ranks differ in their first syllable. The first words have one, all have as many as tell them apart.
            let mut rest = rank;
            loop {
                words.text.push_str(&syllables[rest % syllables.len()]);
                rest /= syllables.len();
                if rest == 0 {
                    break;
                }
                rest -= 1;
            }
            words.text.push_str(endings[rank % endings.len()]);
            words.ends.push(words.text.len() as u32);
        }
        words
    }

    fn word(&self, rank: usize) -> &str {
        let rank = rank.min(self.ends.len() - 1);
        let start = if rank == 0 { 0 } else { self.ends[rank - 1] as usize };
        &self.text[start..self.ends[rank] as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn nearly_all_words_differ() {
        let vocabulary = Vocabulary::new();
        for script in Script::ALL {
            let count = vocabulary.len(script);
            let distinct: HashSet<&str> = (0..count).map(|rank| vocabulary.word(script, rank)).collect();
            assert!(distinct.len() * 20 > count * 19, "{script:?}: {} of {count}", distinct.len());
        }
        assert!(Script::ALL.iter().map(|script| vocabulary.len(*script)).sum::<usize>() > 400_000);
    }

    #[test]
    fn words_come_as_often_as_their_rank_says() {
        let vocabulary = Vocabulary::new();
        let mut random = StdRng::seed_from_u64(5);
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for _ in 0..200_000 {
            *counts.entry(vocabulary.draw(Script::Latin, &mut random)).or_default() += 1;
        }
        let of = |rank| f64::from(counts.get(vocabulary.word(Script::Latin, rank)).copied().unwrap_or(0));
        let ratio = of(1) / of(19);
        assert!((7.0..15.0).contains(&ratio), "rank 2 comes {ratio} times as often as rank 20");
        assert!(counts.len() > 30_000, "{} different ones", counts.len());
    }
}
