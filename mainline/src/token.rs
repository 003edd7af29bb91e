//! Write tokens (BEP 5): whoever announces must have asked before, from the same address.
//!
//! A token is a keyed hash of the remote's IP, the virtual node that gave it and the info-hash, under a secret
//! that changes every five minutes. Nothing is stored for it.

use std::net::IpAddr;
use std::time::Duration;

use krpc::{InfoHash, NodeId};

use crate::keyed_hash::HashKey;

/// A token as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; Token::LEN]);

impl Token {
    /// Bytes of a token: to guess one takes 2^63 packets.
    pub const LEN: usize = 8;

    /// The bytes to send.
    pub const fn as_bytes(&self) -> &[u8; Token::LEN] {
        &self.0
    }
}

/// Gives out tokens, and knows them again.
#[derive(Debug)]
pub struct Tokens {
    key: HashKey,
}

impl Tokens {
    /// All secrets follow from `key`.
    pub const fn new(key: HashKey) -> Tokens {
        Tokens { key }
    }

    /// The token for a remote that has asked `node` for `info_hash`.
    pub fn token(&self, now: Duration, remote: IpAddr, node: &NodeId, info_hash: &InfoHash) -> Token {
        self.in_period(period(now), remote, node, info_hash)
    }

    /// Whether a token was given out to this remote, by this node, for this info-hash, 5 to 10 minutes ago at most.
    pub fn is_valid(
        &self,
        now: Duration,
        token: &[u8],
        remote: IpAddr,
        node: &NodeId,
        info_hash: &InfoHash,
    ) -> bool {
        let period = period(now);
        let given_in = |period| self.in_period(period, remote, node, info_hash).as_bytes() == token;
        given_in(period) || period.checked_sub(1).is_some_and(given_in)
    }

    fn in_period(&self, period: u64, remote: IpAddr, node: &NodeId, info_hash: &InfoHash) -> Token {
        let ip = match remote {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut text = [0; 64];
        text[..8].copy_from_slice(&period.to_be_bytes());
        text[8..24].copy_from_slice(&ip.octets());
        text[24..44].copy_from_slice(node.as_bytes());
        text[44..].copy_from_slice(info_hash.as_bytes());
        Token(self.key.hash(&text).to_be_bytes())
    }
}

fn period(now: Duration) -> u64 {
    now.as_secs() / SECRET_LIFETIME.as_secs()
}

/// How long a secret is used; the one before it is still accepted (BEP 5).
pub const SECRET_LIFETIME: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);
    const NODE: NodeId = NodeId::from_bytes([1; 20]);
    const HASH: InfoHash = InfoHash::from_bytes([2; 20]);

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn a_token_is_good_for_whom_and_for_what_it_was_given() {
        let tokens = Tokens::new(HashKey::derive(&[1; 32], "token"));
        let token = tokens.token(NOW, ip(1), &NODE, &HASH);
        let valid = |token: &[u8], ip, node, hash| tokens.is_valid(NOW, token, ip, node, hash);
        assert!(valid(token.as_bytes(), ip(1), &NODE, &HASH));
        assert!(!valid(token.as_bytes(), ip(2), &NODE, &HASH));
        assert!(!valid(token.as_bytes(), ip(1), &NodeId::ZERO, &HASH));
        assert!(!valid(token.as_bytes(), ip(1), &NODE, &InfoHash::ZERO));
        assert!(!valid(&token.as_bytes()[..7], ip(1), &NODE, &HASH));
        assert!(!valid(b"", ip(1), &NODE, &HASH));
    }

    #[test]
    fn a_token_is_good_for_five_to_ten_minutes() {
        let tokens = Tokens::new(HashKey::derive(&[1; 32], "token"));
        let start = SECRET_LIFETIME * 7;
        let token = tokens.token(start, ip(1), &NODE, &HASH);
        let valid = |after| tokens.is_valid(start + after, token.as_bytes(), ip(1), &NODE, &HASH);
        assert!(valid(Duration::from_secs(599)));
        assert!(!valid(Duration::from_secs(600)));
    }

    #[test]
    fn another_seed_gives_other_tokens() {
        let token = |seed| Tokens::new(HashKey::derive(&[seed; 32], "token")).token(NOW, ip(1), &NODE, &HASH);
        assert_eq!(token(1), token(1));
        assert_ne!(token(1), token(2));
    }
}
