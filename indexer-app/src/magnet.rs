//! What a user names a torrent by: an info-hash, or a magnet link (BEP 9).

use krpc::InfoHash;

/// Names of peers that are kept of one link (`x.pe`): as many as are remembered with a hash.
const PEERS_MAX: usize = 8;

/// Longest link that is read: a name and some twenty trackers are a tenth of it.
const LINK_BYTES_MAX: usize = 16 << 10;

/// A torrent that a user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentName {
    /// The key of the DHT: v1, or the first 20 bytes of v2.
    pub key: InfoHash,
    /// The whole v2 hash, if it was given.
    pub v2: Option<[u8; 32]>,
    /// What the link calls it (`dn`): not to be trusted, and known before anything else is.
    pub display_name: Option<String>,
    /// Peers that the link names (`x.pe`), as `host:port`.
    pub peers: Vec<String>,
    /// How many trackers it names; they are not asked.
    pub trackers: usize,
}

/// Why a text names no torrent, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TorrentNameError {
    /// Neither a hash nor a link.
    #[error("{0:?} names no torrent: it takes 40 hexadecimal digits, the 64 of a v2 hash, or a magnet link")]
    Neither(String),
    /// A link without a hash that we can use.
    #[error(
        "the magnet link {0:?} has neither xt=urn:btih: with 40 hexadecimal or 32 base32 digits nor xt=urn:btmh:1220 with 64"
    )]
    NoTopic(String),
    /// A link that is too long to be one.
    #[error("a magnet link of {0} bytes is too long: {LINK_BYTES_MAX} are the most")]
    TooLong(usize),
}

impl TorrentName {
    /// Reads a hash or a link.
    ///
    /// # Errors
    /// See [`TorrentNameError`].
    pub fn parse(text: &str) -> Result<Self, TorrentNameError> {
        let text = text.trim();
        if text.len() > LINK_BYTES_MAX {
            return Err(TorrentNameError::TooLong(text.len()));
        }
        match text.get(..8).filter(|start| start.eq_ignore_ascii_case("magnet:?")) {
            Some(start) => Self::link(text, text.get(start.len()..).unwrap_or_default()),
            None => Self::hash(text).ok_or_else(|| TorrentNameError::Neither(shortened(text))),
        }
    }

    fn hash(text: &str) -> Option<Self> {
        let (key, v2) = match hex::<32>(text) {
            Some(v2) => (truncated(&v2), Some(v2)),
            None => (InfoHash::from_bytes(hex(text)?), None),
        };
        Some(Self { key, v2, display_name: None, peers: Vec::new(), trackers: 0 })
    }

    fn link(whole: &str, query: &str) -> Result<Self, TorrentNameError> {
        let (mut v1, mut v2, mut display_name) = (None, None, None);
        let (mut peers, mut trackers) = (Vec::new(), 0);
        for part in query.split('&') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let value = percent_decoded(value);
            // Several of a kind may be numbered: xt.1, xt.2.
            let kind = match key.rsplit_once('.') {
                Some((kind, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                    kind
                }
                _ => key,
            };
            match kind.to_ascii_lowercase().as_str() {
                "xt" => {
                    v1 = v1.or_else(|| after(&value, "urn:btih:").and_then(btih));
                    v2 = v2.or_else(|| after(&value, "urn:btmh:1220").and_then(hex::<32>));
                }
                "dn" if display_name.is_none() && !value.is_empty() => display_name = Some(value),
                "x.pe" if peers.len() < PEERS_MAX && !peers.contains(&value) => peers.push(value),
                "tr" => trackers += 1,
                _ => {}
            }
        }
        let key = v1.map(InfoHash::from_bytes).or_else(|| v2.as_ref().map(truncated));
        let key = key.ok_or_else(|| TorrentNameError::NoTopic(shortened(whole)))?;
        Ok(Self { key, v2, display_name, peers, trackers })
    }
}

/// The rest of a text that begins so, in any case.
fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let head = text.get(..start.len())?;
    head.eq_ignore_ascii_case(start).then(|| text.get(start.len()..)).flatten()
}

/// 40 hexadecimal or 32 base32 digits.
fn btih(digits: &str) -> Option<[u8; 20]> {
    hex(digits).or_else(|| base32(digits))
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let value = char::from(high).to_digit(16)? << 4 | char::from(low).to_digit(16)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

/// RFC 4648, in either case.
fn base32(digits: &str) -> Option<[u8; 20]> {
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 20];
    for (eight, five) in digits.as_bytes().chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
        let mut value = 0_u64;
        for digit in eight {
            let digit = match digit.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                number @ b'2'..=b'7' => number - b'2' + 26,
                _ => return None,
            };
            value = value << 5 | u64::from(digit);
        }
        five.copy_from_slice(value.to_be_bytes().get(3..)?);
    }
    Some(bytes)
}

fn truncated(v2: &[u8; 32]) -> InfoHash {
    let mut key = [0; 20];
    key.copy_from_slice(&v2[..20]);
    InfoHash::from_bytes(key)
}

/// `%41` and `+`, as in forms; what does not decode stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                match (digit(high), digit(low)) {
                    (Some(high), Some(low)) => {
                        bytes.push((high << 4 | low) as u8);
                        rest = after;
                    }
                    _ => bytes.push(b'%'),
                }
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// For messages.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    if text.chars().count() <= CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(text: &str) -> TorrentName {
        TorrentName::parse(text).unwrap()
    }

    #[test]
    fn hashes_of_both_versions_are_names() {
        assert_eq!(parse(V1).key, V1.parse().unwrap());
        assert_eq!(parse(&V1.to_uppercase()).key, V1.parse().unwrap());
        let v2 = parse(&"ab".repeat(32));
        assert_eq!((v2.key, v2.v2), (InfoHash::from_bytes([0xab; 20]), Some([0xab; 32])));
        for odd in
            ["", "abc", &V1[..39], &format!("{V1}0"), "zz23456789abcdef0123456789abcdef01234567", "magnet"]
        {
            assert!(matches!(TorrentName::parse(odd), Err(TorrentNameError::Neither(_))), "{odd}");
        }
    }

    #[test]
    fn a_link_names_its_hash_in_hexadecimal_or_base32() {
        let hash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");
        assert_eq!(parse(&format!("magnet:?xt=urn:btih:{hash}")).key, hash);
        assert_eq!(parse(&format!("MAGNET:?XT=URN:BTIH:{hash}")).key, hash);
        // RFC 4648 of these bytes, computed elsewhere.
        assert_eq!(parse("magnet:?xt=urn:btih:MFQWCYLBMFQWCYLBMJRGEYTCMJRGEYTC").key, hash);
        assert_eq!(parse("magnet:?xt=urn:btih:mfqwcylbmfqwcylbmjrgeytcmjrgeytc").key, hash);
    }

    #[test]
    fn of_a_hybrid_the_first_version_is_the_key_and_without_it_the_second() {
        let v2 = "cd".repeat(32);
        let both = parse(&format!("magnet:?xt.1=urn:btmh:1220{v2}&xt.2=urn:btih:{V1}"));
        assert_eq!((both.key, both.v2), (V1.parse().unwrap(), Some([0xcd; 32])));
        let only = parse(&format!("magnet:?xt=urn:btmh:1220{v2}"));
        assert_eq!((only.key, only.v2), (InfoHash::from_bytes([0xcd; 20]), Some([0xcd; 32])));
    }

    #[test]
    fn names_peers_and_trackers_are_read() {
        let link = parse(&format!(
            "magnet:?dn=The%20Glass+Machine%21&tr=udp%3A%2F%2Fa%3A1&tr.1=b&x.pe=127.0.0.1:6881&x.pe=%5B::1%5D:7&\
             x.pe=host.example:80&x.pe=127.0.0.1:6881&xt=urn:btih:{V1}&nonsense&ws=c&dn=other"
        ));
        assert_eq!(link.display_name.as_deref(), Some("The Glass Machine!"));
        assert_eq!(link.peers, ["127.0.0.1:6881", "[::1]:7", "host.example:80"]);
        assert_eq!(link.trackers, 2);
        let many: String = (0..50).map(|n| format!("&x.pe=127.0.0.1:{n}")).collect();
        assert_eq!(parse(&format!("magnet:?xt=urn:btih:{V1}{many}")).peers.len(), PEERS_MAX);
    }

    #[test]
    fn a_link_without_a_hash_that_can_be_used_says_so() {
        for odd in [
            "magnet:?",
            "magnet:?dn=x",
            "magnet:?xt=urn:sha1:x",
            "magnet:?xt=urn:btih:123",
            "magnet:?xt=urn:btmh:1114ab",
        ] {
            assert!(matches!(TorrentName::parse(odd), Err(TorrentNameError::NoTopic(_))), "{odd}");
        }
        let long = format!("magnet:?xt=urn:btih:{V1}&dn={}", "x".repeat(LINK_BYTES_MAX));
        assert!(matches!(TorrentName::parse(&long), Err(TorrentNameError::TooLong(_))));
    }

    #[test]
    fn what_does_not_decode_stays() {
        assert_eq!(percent_decoded("100%&%4"), "100%&%4");
        assert_eq!(percent_decoded("%zz%41"), "%zzA");
        assert_eq!(percent_decoded("%ff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = TorrentName::parse(&text);
            let _ = TorrentName::parse(&format!("magnet:?{text}"));
        }

        #[test]
        fn any_hash_comes_back_from_a_link(bytes: [u8; 20], name in ".{0,40}") {
            let hash = InfoHash::from_bytes(bytes);
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let link = parse(&format!("magnet:?dn={encoded}&xt=urn:btih:{hash}"));
            prop_assert_eq!(link.key, hash);
            prop_assert_eq!(link.display_name.unwrap_or_default(), name);
        }
    }
}
