//! Numbers, ages and days as people write them.

use super::{Days, Moment, Number, Range, Span};

/// Greatest number: what the database counts in.
const VALUE_MAX: u64 = i64::MAX as u64;

/// Greatest age: a thousand years; beyond that times cannot be told.
const AGE_MAX: u64 = 1_000 * 31_556_952;

/// Digits behind the point that are read.
const DECIMALS_MAX: usize = 9;

/// Units of bytes, as GNU tools have them: `kb` is decimal, `k` and `kib` are binary.
const SIZES: [(&str, u64); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
    ("p", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("pib", 1 << 50),
];

/// Units of age in seconds. There is no `m`, which means minutes to some and months to others.
const AGES: [(&str, u64); 7] = [
    ("s", 1),
    ("min", 60),
    ("h", 3_600),
    ("d", 86_400),
    ("w", 7 * 86_400),
    ("mo", 2_629_746),
    ("y", 31_556_952),
];

/// A value that was read, and whether its range was written from the greater to the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read<T> {
    pub(super) value: T,
    pub(super) turned: bool,
}

/// How the value of a field is compared.
enum Shape<'a> {
    Above(&'a str),
    AtLeast(&'a str),
    Below(&'a str),
    AtMost(&'a str),
    About(&'a str),
    Between(Option<&'a str>, Option<&'a str>),
}

/// Reads the value of a number field; `None`: it is none.
pub(super) fn number(of: Number, text: &str) -> Option<Read<Range>> {
    let units: &[(&str, u64)] = if of == Number::Size { &SIZES } else { &SIZES[..1] };
    let exact = |text: &str| quantity(text, units).map(|quantity| quantity.value);
    let range = |low, high| Some(Read { value: Range { low, high }, turned: false });
    match shape(text) {
        Shape::Above(text) => range(Some(exact(text)?.saturating_add(1).min(VALUE_MAX)), None),
        Shape::AtLeast(text) => range(Some(exact(text)?), None),
        // Nothing is below nothing.
        Shape::Below(text) => range(None, Some(exact(text)?.checked_sub(1)?)),
        Shape::AtMost(text) => range(None, Some(exact(text)?)),
        Shape::About(text) => match quantity(text, units) {
            Some(Quantity { value, step }) => {
                let (below, above) = (step / 2, (step.max(1) - 1) / 2);
                range(Some(value.saturating_sub(below)), Some(value.saturating_add(above).min(VALUE_MAX)))
            }
            None => {
                // `1999-2003`
                let (low, high) = text.split_once('-')?;
                Some(ordered(Some(exact(low)?), Some(exact(high)?)))
            }
        },
        Shape::Between(low, high) => {
            let (low, high) = (low.map(exact), high.map(exact));
            if low == Some(None) || high == Some(None) {
                return None;
            }
            Some(ordered(low.flatten(), high.flatten()))
        }
    }
}

/// Reads the value of a field of time; `None`: it is none.
pub(super) fn time(_: Moment, text: &str) -> Option<Read<Span>> {
    ages(text).or_else(|| days(text))
}

fn ages(text: &str) -> Option<Read<Span>> {
    let age = |text: &str| quantity(text, &AGES).map(|quantity| quantity.value.min(AGE_MAX));
    let span = |low, high| Some(Read { value: Span::Age(Range { low, high }), turned: false });
    match shape(text) {
        Shape::Above(text) | Shape::AtLeast(text) => span(Some(age(text)?), None),
        Shape::Below(text) | Shape::AtMost(text) | Shape::About(text) => span(None, Some(age(text)?)),
        Shape::Between(low, high) => {
            let (low, high) = (low.map(age), high.map(age));
            if low == Some(None) || high == Some(None) {
                return None;
            }
            let Read { value, turned } = ordered(low.flatten(), high.flatten());
            Some(Read { value: Span::Age(value), turned })
        }
    }
}

fn days(text: &str) -> Option<Read<Span>> {
    let span = |first, last| Some(Read { value: Span::Days(Days { first, last }), turned: false });
    match shape(text) {
        Shape::Above(text) => span(Some(period(text)?.1 + 1), None),
        Shape::AtLeast(text) => span(Some(period(text)?.0), None),
        Shape::Below(text) => span(None, Some(period(text)?.0.checked_sub(1)?)),
        Shape::AtMost(text) => span(None, Some(period(text)?.1)),
        Shape::About(text) => {
            let (first, last) = period(text)?;
            span(Some(first), Some(last))
        }
        Shape::Between(low, high) => {
            let (low, high) = (low.map(period), high.map(period));
            if low == Some(None) || high == Some(None) {
                return None;
            }
            let (low, high) = (low.flatten(), high.flatten());
            let (turned, low, high) = match (low, high) {
                (Some(low), Some(high)) if low.0 > high.1 => (true, Some(high), Some(low)),
                other => (false, other.0, other.1),
            };
            let days = Days { first: low.map(|(first, _)| first), last: high.map(|(_, last)| last) };
            Some(Read { value: Span::Days(days), turned })
        }
    }
}

fn shape(text: &str) -> Shape<'_> {
    if let Some(rest) = text.strip_prefix(">=") {
        Shape::AtLeast(rest)
    } else if let Some(rest) = text.strip_prefix("<=") {
        Shape::AtMost(rest)
    } else if let Some(rest) = text.strip_prefix('>') {
        Shape::Above(rest)
    } else if let Some(rest) = text.strip_prefix('<') {
        Shape::Below(rest)
    } else if let Some((low, high)) =
        text.split_once("..").filter(|(low, high)| !(low.is_empty() && high.is_empty()))
    {
        let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
        Shape::Between(given(low), given(high))
    } else {
        Shape::About(text.strip_prefix('=').unwrap_or(text))
    }
}

fn ordered(low: Option<u64>, high: Option<u64>) -> Read<Range> {
    match (low, high) {
        (Some(low), Some(high)) if low > high => {
            Read { value: Range { low: Some(high), high: Some(low) }, turned: true }
        }
        _ => Read { value: Range { low, high }, turned: false },
    }
}

/// A number with a unit, and what a one in its last digit is worth.
struct Quantity {
    value: u64,
    step: u64,
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<Quantity> {
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.contains('.') || (number.contains('.') && part.is_empty()) {
        return None;
    }
    // Digits only: what does not fit is as much as there can be.
    let whole = whole.parse::<u64>().unwrap_or(VALUE_MAX);
    let part = &part[..part.len().min(DECIMALS_MAX)];
    let scale = 10_u128.pow(part.len() as u32);
    let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let value = (u128::from(whole) * scale + part) * u128::from(unit) / scale;
    let step = u128::from(unit) / scale;
    Some(Quantity {
        value: u64::try_from(value).unwrap_or(VALUE_MAX).min(VALUE_MAX),
        step: u64::try_from(step).unwrap_or(VALUE_MAX),
    })
}

/// The first and the last day of a year, a month or a day, as in `2024`, `2024-05`, `2024-05-01`.
fn period(text: &str) -> Option<(u32, u32)> {
    let parts: Vec<&str> = text.split('-').collect();
    let shaped = |part: &&str, digits| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [year] if shaped(year, 4) => Some((day(year, 1, 1)?, day(year, 12, 31)?)),
        [year, month] if shaped(year, 4) && shaped(month, 2) => {
            let month: u32 = month.parse().ok()?;
            let last =
                if month == 12 { day(year, 12, 31)? } else { day(year, month + 1, 1)?.checked_sub(1)? };
            Some((day(year, month, 1)?, last))
        }
        [year, month, date] if shaped(year, 4) && shaped(month, 2) && shaped(date, 2) => {
            let at = day(year, month.parse().ok()?, date.parse().ok()?)?;
            Some((at, at))
        }
        _ => None,
    }
}

/// Days since 1970-01-01.
fn day(year: &str, month: u32, day: u32) -> Option<u32> {
    let midnight = humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:02}T00:00:00Z")).ok()?;
    let since = midnight.duration_since(std::time::UNIX_EPOCH).ok()?;
    u32::try_from(since.as_secs() / 86_400).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Option<(Option<u64>, Option<u64>)> {
        number(Number::Size, text).map(|read| (read.value.low, read.value.high))
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(size(">=1gb"), Some((Some(1_000_000_000), None)));
        assert_eq!(size(">1GB"), Some((Some(1_000_000_001), None)));
        assert_eq!(size("<1k"), Some((None, Some(1_023))));
        assert_eq!(size("<=1.5KiB"), Some((None, Some(1_536))));
        assert_eq!(size("1gb..4gb"), Some((Some(1_000_000_000), Some(4_000_000_000))));
        assert_eq!(size("1gb.."), Some((Some(1_000_000_000), None)));
        assert_eq!(size("..4g"), Some((None, Some(4 << 30))));
        assert_eq!(size("1gb-2gb"), Some((Some(1_000_000_000), Some(2_000_000_000))));
    }

    #[test]
    fn a_size_without_a_sign_is_what_rounds_to_it() {
        assert_eq!(size("700mb"), Some((Some(699_500_000), Some(700_499_999))));
        assert_eq!(size("1.5gb"), Some((Some(1_450_000_000), Some(1_549_999_999))));
        assert_eq!(size("1234"), Some((Some(1_234), Some(1_234))));
        assert_eq!(size("=5b"), Some((Some(5), Some(5))));
        assert_eq!(size("0kb"), Some((Some(0), Some(499))));
    }

    #[test]
    fn what_is_too_much_is_as_much_as_there_can_be() {
        assert_eq!(size(">=99999999999999999999999999pb"), Some((Some(VALUE_MAX), None)));
        assert_eq!(size(">99999999tb"), Some((Some(VALUE_MAX), None)));
        assert_eq!(size("0.00000000000000000001kb"), Some((Some(0), Some(0))));
    }

    #[test]
    fn odd_numbers_are_none() {
        for odd in
            ["", "x", "gb", ">", "1xb", "1..x", "..", ".5gb", "1.gb", "1.2.3gb", "-1", ">-1", "<0", "１"]
        {
            assert_eq!(size(odd), None, "{odd}");
        }
        assert_eq!(number(Number::Files, "3kb"), None);
    }

    #[test]
    fn a_range_that_is_turned_is_turned_round() {
        let read = number(Number::Files, "9..3").unwrap();
        assert_eq!(read, Read { value: Range { low: Some(3), high: Some(9) }, turned: true });
        assert!(time(Moment::Added, "2024-05..2023").unwrap().turned);
    }

    fn span(text: &str) -> Option<Span> {
        time(Moment::Added, text).map(|read| read.value)
    }

    #[test]
    fn ages_are_counted_back_and_days_forward() {
        let age = |low, high| Some(Span::Age(Range { low, high }));
        assert_eq!(span("<7d"), age(None, Some(604_800)));
        assert_eq!(span("7d"), age(None, Some(604_800)));
        assert_eq!(span(">1.5h"), age(Some(5_400), None));
        assert_eq!(span("1d..1w"), age(Some(86_400), Some(604_800)));
        let days = |first, last| Some(Span::Days(Days { first, last }));
        assert_eq!(span("1970-01-02"), days(Some(1), Some(1)));
        assert_eq!(span("1970-02"), days(Some(31), Some(58)));
        assert_eq!(span("1971"), days(Some(365), Some(729)));
        assert_eq!(span(">1970-01"), days(Some(31), None));
        assert_eq!(span("<1970-02-01"), days(None, Some(30)));
        assert_eq!(span("1970-12..1971"), days(Some(334), Some(729)));
        for odd in ["", "7", "7m", "2024-13", "2024-02-30", "1969", "x", "2024-1", "1d..2024", "<1970-01-01"]
        {
            assert_eq!(span(odd), None, "{odd}");
        }
    }
}
