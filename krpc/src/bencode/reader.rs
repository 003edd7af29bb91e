//! The reader: one pass, no allocation, no recursion, everything bounded.

/// Bounds on what a [`Reader`] is willing to walk through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many lists and dictionaries may be open at once; more than [`Limits::DEPTH_MAX`] counts as that.
    pub depth: u16,
    /// How many values (a key is one too) may be read or skipped.
    pub tokens: u32,
    /// How long the input may be; more than [`Limits::BYTES_MAX`] counts as that.
    pub bytes: usize,
}

impl Limits {
    /// Hard bound of `depth`: one bit of a fixed stack for each open list or dictionary.
    pub const DEPTH_MAX: u16 = 256;

    /// Hard bound of `bytes`: ten times as much fits 32 bits, so that a length prefix can be added
    /// up without overflow on any machine.
    pub const BYTES_MAX: usize = 256 << 20;

    /// A DHT packet. Depth and tokens are those of libtorrent, so whoever wants to be understood
    /// by most of the network stays below; the length is that of the largest UDP datagram.
    pub const KRPC: Self = Self { depth: 10, tokens: 500, bytes: 65_507 };

    /// An info dict: depth and tokens are those of libtorrent, the length is the most that any
    /// client is known to accept (32 MiB).
    pub const INFO_DICT: Self = Self { depth: 100, tokens: 3_000_000, bytes: 32 << 20 };

    /// An extension handshake or the header of a ut_metadata message (BEP 9, 10).
    pub const EXTENSION: Self = Self { depth: 10, tokens: 1_000, bytes: 1 << 20 };
}

/// Why input is not bencode, or more of it than we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends inside a value.
    #[error("the input ends inside a value")]
    Truncated,
    /// A length prefix is greater than what is left of the input.
    #[error("a string is said to be longer than the input")]
    LengthBeyondEnd,
    /// A byte stands where no value (or key, or separator) can begin.
    #[error("a byte stands where it has no meaning")]
    UnexpectedByte,
    /// An integer is written with leading zeros, as `-0`, or without digits.
    #[error("an integer is not in its only form")]
    BadInteger,
    /// An integer does not fit 64 bits; only reading it as a number fails, skipping does not.
    #[error("an integer does not fit 64 bits")]
    IntegerOverflow,
    /// A value has another type than the one asked for.
    #[error("a value has another type than expected")]
    WrongType,
    /// A key of a dictionary is not a string.
    #[error("a key is not a string")]
    KeyNotString,
    /// More lists and dictionaries are open than [`Limits::depth`].
    #[error("nested too deeply")]
    TooDeep,
    /// More values than [`Limits::tokens`].
    #[error("too many values")]
    TooManyTokens,
    /// The input is longer than [`Limits::bytes`].
    #[error("the input is too long")]
    TooLong,
}

/// What kind of value stands next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `i...e`
    Int,
    /// `n:...`
    Bytes,
    /// `l...e`
    List,
    /// `d...e`
    Dict,
}

/// A cursor over bencoded bytes.
///
/// Values are pulled in the order of the input; whatever is not wanted must be [skipped](Reader::skip).
/// Everything returned borrows the input. After an error the position is unspecified, the reader
/// stays safe to use and sensible use of it is over.
///
/// Strict: integers have one form (no leading zeros, no `-0`), keys are strings, every length is
/// checked before it is used. Lenient: keys may come in any order and repeat (see
/// [`KeyOrder`](super::KeyOrder)), length prefixes may have leading zeros (every DHT client
/// measured takes them; see [`Reader::padded_length`]), bytes may follow the value (see [`Reader::rest`]).
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
    tokens_left: u32,
    depth_left: u16,
    padded_length: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `input`.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the input is longer than the limits allow.
    #[inline]
    pub const fn new(input: &'a [u8], limits: Limits) -> Result<Self, Error> {
        if input.len() > limits.bytes || input.len() > Limits::BYTES_MAX {
            return Err(Error::TooLong);
        }
        let depth = if limits.depth > Limits::DEPTH_MAX { Limits::DEPTH_MAX } else { limits.depth };
        Ok(Self {
            rest: input,
            len: input.len(),
            tokens_left: limits.tokens,
            depth_left: depth,
            padded_length: false,
        })
    }

    /// Opens the dictionary that stands next; its entries follow by [`Reader::next_key`].
    ///
    /// # Errors
    /// [`Error::WrongType`] when it is none, [`Error::TooDeep`], [`Error::TooManyTokens`], [`Error::Truncated`].
    #[inline]
    pub fn enter_dict(&mut self) -> Result<(), Error> {
        self.enter(b'd')
    }

    /// Opens the list that stands next; its items follow by [`Reader::next_item`].
    ///
    /// # Errors
    /// As [`Reader::enter_dict`].
    #[inline]
    pub fn enter_list(&mut self) -> Result<(), Error> {
        self.enter(b'l')
    }

    /// The next key of the open dictionary, or `None` at its end, which is then behind us. After a
    /// key its value must be read or skipped.
    ///
    /// # Errors
    /// [`Error::KeyNotString`] and those of a string.
    #[inline]
    pub fn next_key(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match *self.rest {
            [b'0'..=b'9', ..] => self.bytes().map(Some),
            [b'e', ref rest @ ..] => {
                self.leave(rest);
                Ok(None)
            }
            [_, ..] => Err(Error::KeyNotString),
            [] => Err(Error::Truncated),
        }
    }

    /// Whether another item of the open list stands next; at its end (`false`) the list is behind us.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    #[inline]
    pub fn next_item(&mut self) -> Result<bool, Error> {
        match *self.rest {
            [b'e', ref rest @ ..] => {
                self.leave(rest);
                Ok(false)
            }
            [_, ..] => Ok(true),
            [] => Err(Error::Truncated),
        }
    }

    /// The string that stands next.
    ///
    /// # Errors
    /// [`Error::WrongType`] when it is another value, else the reason why it is no string.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let (len, tail) = match *self.rest {
            // Nearly every key, and most short values.
            [digit @ b'0'..=b'9', b':', ref tail @ ..] => (usize::from(digit - b'0'), tail),
            _ => self.long_prefix()?,
        };
        let Some((bytes, rest)) = tail.split_at_checked(len) else { return Err(Error::LengthBeyondEnd) };
        self.spend()?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The integer that stands next.
    ///
    /// # Errors
    /// [`Error::WrongType`] when it is another value, [`Error::IntegerOverflow`] when it is one
    /// that 64 bits cannot hold, else the reason why it is no integer.
    #[inline]
    pub fn int(&mut self) -> Result<i64, Error> {
        let (negative, digits) = self.digits()?;
        number(negative, digits).ok_or(Error::IntegerOverflow)
    }

    /// The string that stands next, or `None` when it is another value, which is skipped.
    ///
    /// # Errors
    /// As [`Reader::skip`].
    #[inline]
    pub fn bytes_or_skip(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.rest {
            [b'0'..=b'9', ..] => self.bytes().map(Some),
            _ => self.skip().map(|()| None),
        }
    }

    /// The integer that stands next, or `None` when it is another value or does not fit 64 bits;
    /// either is skipped.
    ///
    /// # Errors
    /// As [`Reader::skip`].
    #[inline]
    pub fn int_or_skip(&mut self) -> Result<Option<i64>, Error> {
        match self.rest {
            [b'i', ..] => {
                let (negative, digits) = self.digits()?;
                Ok(number(negative, digits))
            }
            _ => self.skip().map(|()| None),
        }
    }

    /// Passes over the value that stands next, whatever it is, checking its form.
    ///
    /// # Errors
    /// The reason why it is no value, [`Error::TooDeep`] or [`Error::TooManyTokens`].
    #[inline]
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.rest {
            [b'0'..=b'9', ..] => self.bytes().map(|_| ()),
            [b'i', ..] => self.digits().map(|_| ()),
            [b'l' | b'd', ..] => self.skip_nested(),
            [_, ..] => Err(Error::UnexpectedByte),
            [] => Err(Error::Truncated),
        }
    }

    /// The bytes of the value that stands next, exactly as they are in the input: what an
    /// info-hash is computed from, and what is echoed verbatim.
    ///
    /// # Errors
    /// As [`Reader::skip`].
    #[inline]
    pub fn raw(&mut self) -> Result<&'a [u8], Error> {
        let before = self.rest;
        self.skip()?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// What stands next, or `None` at the end of the input, the end of a container, or before a
    /// byte that begins no value.
    #[inline]
    pub fn peek(&self) -> Option<Shape> {
        match self.rest {
            [b'0'..=b'9', ..] => Some(Shape::Bytes),
            [b'i', ..] => Some(Shape::Int),
            [b'l', ..] => Some(Shape::List),
            [b'd', ..] => Some(Shape::Dict),
            _ => None,
        }
    }

    /// Everything from the current position on: after a value, the bytes that follow it (such as
    /// the piece behind a ut_metadata header).
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes of the input are behind us.
    #[inline]
    pub const fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Whether some length prefix so far had leading zeros.
    #[inline]
    pub const fn padded_length(&self) -> bool {
        self.padded_length
    }

    /// Passes `len` bytes that the caller knows to hold `tokens` whole values.
    #[inline]
    pub(crate) fn advance(&mut self, rest: &'a [u8], tokens: u32) -> Result<(), Error> {
        self.tokens_left = self.tokens_left.checked_sub(tokens).ok_or(Error::TooManyTokens)?;
        self.rest = rest;
        Ok(())
    }

    /// The length prefix that stands next, and what follows its colon.
    #[inline]
    fn long_prefix(&mut self) -> Result<(usize, &'a [u8]), Error> {
        let Some((first, mut tail)) = self.rest.split_first() else { return Err(Error::Truncated) };
        let mut len = usize::from(first.wrapping_sub(b'0'));
        if len > 9 {
            return Err(not_a(*first));
        }
        loop {
            let Some((byte, after)) = tail.split_first() else { return Err(Error::Truncated) };
            tail = after;
            let digit = usize::from(byte.wrapping_sub(b'0'));
            if digit > 9 {
                return if *byte == b':' { Ok((len, tail)) } else { Err(Error::UnexpectedByte) };
            }
            self.padded_length |= len == 0;
            // Digits only make it longer, so this bound also keeps the product from overflowing.
            if len > self.len {
                return Err(Error::LengthBeyondEnd);
            }
            len = len * 10 + digit;
        }
    }

    #[inline]
    fn enter(&mut self, opening: u8) -> Result<(), Error> {
        let [first, rest @ ..] = self.rest else { return Err(Error::Truncated) };
        if *first != opening {
            return Err(not_a(*first));
        }
        self.spend()?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Error::TooDeep)?;
        self.rest = rest;
        Ok(())
    }

    #[inline]
    fn leave(&mut self, rest: &'a [u8]) {
        // Saturating: a caller may leave more containers than it entered, which harms nobody.
        self.depth_left = self.depth_left.saturating_add(1).min(Limits::DEPTH_MAX);
        self.rest = rest;
    }

    #[inline]
    fn spend(&mut self) -> Result<(), Error> {
        self.tokens_left = self.tokens_left.checked_sub(1).ok_or(Error::TooManyTokens)?;
        Ok(())
    }

    /// The sign and the digits of the integer that stands next, in its only form.
    #[inline]
    fn digits(&mut self) -> Result<(bool, &'a [u8]), Error> {
        let (negative, tail) = match self.rest {
            [b'i', b'-', tail @ ..] => (true, tail),
            [b'i', tail @ ..] => (false, tail),
            [first, ..] => return Err(not_a(*first)),
            [] => return Err(Error::Truncated),
        };
        let len = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = tail.split_at(len);
        match after {
            [b'e', rest @ ..] => {
                let only_form = match digits {
                    [] => false,
                    [b'0'] => !negative,
                    [first, ..] => *first != b'0',
                };
                if !only_form {
                    return Err(Error::BadInteger);
                }
                self.spend()?;
                self.rest = rest;
                Ok((negative, digits))
            }
            [_, ..] => Err(Error::BadInteger),
            [] => Err(Error::Truncated),
        }
    }

    /// Passes over a list or dictionary with a stack of one bit for each open container.
    fn skip_nested(&mut self) -> Result<(), Error> {
        let mut is_dict = [0_u64; Limits::DEPTH_MAX as usize / 64];
        let mut open = 0_usize;
        // Whether a key (or the end) of the innermost container has to come next.
        let mut at_key = false;
        loop {
            match *self.rest {
                [first @ (b'l' | b'd'), ..] => {
                    if at_key {
                        return Err(Error::KeyNotString);
                    }
                    self.enter(first)?;
                    at_key = first == b'd';
                    let (word, bit) = (open / 64, 1 << (open % 64));
                    if at_key {
                        is_dict[word] |= bit;
                    } else {
                        is_dict[word] &= !bit;
                    }
                    open += 1;
                    continue;
                }
                [b'0'..=b'9', ..] => {
                    self.bytes()?;
                    if at_key {
                        at_key = false;
                        continue;
                    }
                }
                [b'i', ..] => {
                    if at_key {
                        return Err(Error::KeyNotString);
                    }
                    self.digits()?;
                }
                [b'e', ref rest @ ..] => {
                    let inside_dict = open > 0 && is_dict[(open - 1) / 64] >> ((open - 1) % 64) & 1 == 1;
                    if inside_dict && !at_key {
                        // The dictionary ends between a key and its value.
                        return Err(Error::UnexpectedByte);
                    }
                    self.leave(rest);
                    open -= 1;
                    if open == 0 {
                        return Ok(());
                    }
                }
                [_, ..] => return Err(Error::UnexpectedByte),
                [] => return Err(Error::Truncated),
            }
            // A whole value is behind us: in a dictionary a key follows.
            at_key = is_dict[(open - 1) / 64] >> ((open - 1) % 64) & 1 == 1;
        }
    }
}

/// What to say of a first byte that does not begin the value asked for.
#[cold]
fn not_a(first: u8) -> Error {
    match first {
        b'i' | b'l' | b'd' | b'0'..=b'9' => Error::WrongType,
        _ => Error::UnexpectedByte,
    }
}

/// The value of digits in their only form, or `None` when 64 bits cannot hold it.
#[inline]
fn number(negative: bool, digits: &[u8]) -> Option<i64> {
    // 18 digits always fit, so only longer ones need checked arithmetic.
    if digits.len() <= 18 {
        let value = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        return Some(if negative { -value } else { value });
    }
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        value.checked_mul(10)?.checked_add(if negative { -digit } else { digit })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(input: &[u8]) -> Reader<'_> {
        Reader::new(input, Limits::INFO_DICT).unwrap()
    }

    #[test]
    fn strings_are_borrowed_with_what_follows_left_over() {
        let mut r = reader(b"4:spam0:10:0123456789rest");
        assert_eq!(r.bytes(), Ok(&b"spam"[..]));
        assert_eq!(r.bytes(), Ok(&b""[..]));
        assert_eq!(r.bytes(), Ok(&b"0123456789"[..]));
        assert_eq!(r.rest(), b"rest");
        assert_eq!(r.position(), 21);
    }

    #[test]
    fn a_length_is_checked_before_it_is_used() {
        for (input, error) in [
            (&b""[..], Error::Truncated),
            (b"4", Error::Truncated),
            (b"4:spa", Error::LengthBeyondEnd),
            (b"99999999999:x", Error::LengthBeyondEnd),
            (b"99999999999999999999999999999999999999:x", Error::LengthBeyondEnd),
            (b"4spam", Error::UnexpectedByte),
            (b"-1:x", Error::UnexpectedByte),
            (b"i4e", Error::WrongType),
            (b"le", Error::WrongType),
        ] {
            assert_eq!(reader(input).bytes(), Err(error), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_padded_length_is_read_and_reported() {
        for (input, padded) in [(&b"2:ab"[..], false), (b"02:ab", true), (b"0000000000002:ab", true)] {
            let mut r = reader(input);
            assert_eq!(r.bytes(), Ok(&b"ab"[..]));
            assert_eq!(r.padded_length(), padded, "{}", input.escape_ascii());
        }
        let mut r = reader(b"0:");
        assert_eq!((r.bytes(), r.padded_length()), (Ok(&b""[..]), false));
    }

    #[test]
    fn integers_have_one_form() {
        for (input, value) in [
            (&b"i0e"[..], 0),
            (b"i7e", 7),
            (b"i-7e", -7),
            (b"i999999999999999999e", 999_999_999_999_999_999),
            (b"i9223372036854775807e", i64::MAX),
            (b"i-9223372036854775808e", i64::MIN),
        ] {
            assert_eq!(reader(input).int(), Ok(value));
        }
        for input in ["i00e", "i07e", "i-0e", "i-07e", "ie", "i-e", "i+1e", "i1.5e", "i 1e", "i1x"] {
            assert_eq!(reader(input.as_bytes()).int(), Err(Error::BadInteger), "{input}");
            assert_eq!(reader(input.as_bytes()).skip(), Err(Error::BadInteger), "{input}");
        }
        for input in ["", "i", "i1", "i-"] {
            assert_eq!(reader(input.as_bytes()).int(), Err(Error::Truncated), "{input}");
        }
        assert_eq!(reader(b"1:x").int(), Err(Error::WrongType));
    }

    #[test]
    fn an_integer_that_64_bits_cannot_hold_can_only_be_skipped() {
        for input in ["i9223372036854775808e", "i-9223372036854775809e", "i100000000000000000000000e"] {
            assert_eq!(reader(input.as_bytes()).int(), Err(Error::IntegerOverflow));
            assert_eq!(reader(input.as_bytes()).int_or_skip(), Ok(None));
            assert_eq!(reader(input.as_bytes()).raw(), Ok(input.as_bytes()));
        }
    }

    #[test]
    fn a_dictionary_is_walked_key_by_key_in_any_order() {
        let mut r = reader(b"d1:bi2e1:ali1ei2ee1:cdee!");
        r.enter_dict().unwrap();
        assert_eq!(r.next_key(), Ok(Some(&b"b"[..])));
        assert_eq!(r.int(), Ok(2));
        assert_eq!(r.next_key(), Ok(Some(&b"a"[..])));
        r.enter_list().unwrap();
        let mut items = Vec::new();
        while r.next_item().unwrap() {
            items.push(r.int().unwrap());
        }
        assert_eq!(items, [1, 2]);
        assert_eq!(r.next_key(), Ok(Some(&b"c"[..])));
        assert_eq!(r.peek(), Some(Shape::Dict));
        assert_eq!(r.raw(), Ok(&b"de"[..]));
        assert_eq!(r.next_key(), Ok(None));
        assert_eq!(r.rest(), b"!");
    }

    #[test]
    fn values_that_are_not_wanted_are_skipped_whatever_they_are() {
        let mut r = reader(b"d1:xd1:yl1:zi5eee3:abci7e4:name4:spame");
        r.enter_dict().unwrap();
        r.next_key().unwrap();
        assert_eq!(r.bytes_or_skip(), Ok(None));
        assert_eq!(r.next_key(), Ok(Some(&b"abc"[..])));
        assert_eq!(r.bytes_or_skip(), Ok(None));
        r.next_key().unwrap();
        assert_eq!(r.bytes_or_skip(), Ok(Some(&b"spam"[..])));
        assert_eq!(r.next_key(), Ok(None));
    }

    #[test]
    fn malformed_containers_are_refused() {
        for (input, error) in [
            (&b"l"[..], Error::Truncated),
            (b"d", Error::Truncated),
            (b"li1e", Error::Truncated),
            (b"d1:ae", Error::UnexpectedByte),
            (b"d1:a", Error::Truncated),
            (b"di1ei2ee", Error::KeyNotString),
            (b"dlei2ee", Error::KeyNotString),
            (b"ddei2ee", Error::KeyNotString),
            (b"d1:ad1:be1:c0:e", Error::UnexpectedByte),
            (b"lxe", Error::UnexpectedByte),
            (b"l:e", Error::UnexpectedByte),
            (b"e", Error::UnexpectedByte),
        ] {
            assert_eq!(reader(input).skip(), Err(error), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
        let skip = |depth: usize, limit: u16| {
            Reader::new(&nested(depth), Limits { depth: limit, ..Limits::INFO_DICT }).unwrap().skip()
        };
        assert_eq!(skip(10, 10), Ok(()));
        assert_eq!(skip(11, 10), Err(Error::TooDeep));
        assert_eq!(skip(100, 100), Ok(()));
        assert_eq!(skip(101, 100), Err(Error::TooDeep));
        assert_eq!(skip(30_000, 100), Err(Error::TooDeep));
        assert_eq!(skip(256, u16::MAX), Ok(()), "the stack of bits is full");
        assert_eq!(skip(257, u16::MAX), Err(Error::TooDeep));
        // What is open already counts.
        let document = nested(10);
        let mut r = Reader::new(&document, Limits { depth: 10, ..Limits::INFO_DICT }).unwrap();
        for _ in 0..10 {
            r.enter_list().unwrap();
        }
        assert_eq!(r.clone().next_item(), Ok(false));
        let document = nested(11);
        let mut r = Reader::new(&document, Limits { depth: 10, ..Limits::INFO_DICT }).unwrap();
        r.enter_list().unwrap();
        assert_eq!(r.skip(), Err(Error::TooDeep));
    }

    #[test]
    fn lists_and_dictionaries_may_alternate_in_depth() {
        let depth = 100;
        let document = [b"ld1:k".repeat(depth / 2), b"i1e".to_vec(), b"ee".repeat(depth / 2)].concat();
        assert_eq!(reader(&document).raw(), Ok(&document[..]));
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let limits = Limits { tokens: 5, ..Limits::KRPC };
        assert_eq!(Reader::new(b"d1:ai1e1:bi2ee", limits).unwrap().skip(), Ok(()));
        assert_eq!(Reader::new(b"l0:0:0:0:0:e", limits).unwrap().skip(), Err(Error::TooManyTokens));
        assert_eq!(Reader::new(b"llelelelelee", limits).unwrap().skip(), Err(Error::TooManyTokens));
    }

    #[test]
    fn the_length_of_the_input_is_bounded() {
        let limits = Limits { bytes: 4, ..Limits::KRPC };
        assert!(Reader::new(b"2:ab", limits).is_ok());
        assert_eq!(Reader::new(b"3:abc", limits).map(|_| ()), Err(Error::TooLong));
    }

    #[test]
    fn closing_more_than_was_opened_harms_nobody() {
        let mut r = reader(b"eeeele");
        for _ in 0..4 {
            assert_eq!(r.next_key(), Ok(None));
        }
        assert_eq!(r.skip(), Ok(()));
    }
}
