//! Peers that somebody from outside announced, and the tokens that this takes.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use krpc::InfoHash;

use crate::chance::{Topic, draw};

/// Announced peers kept in the whole swarm: a bound for floods; the swarm's own torrents are not among them.
const PEERS_MAX: usize = 20_000;
/// Announced peers kept of one hash at one node, as many as an answer has room for.
const PEERS_OF_HASH_MAX: usize = 50;
/// How long a token secret is in use; the one before is accepted too (BEP 5).
const SECRET_PERIOD: Duration = Duration::from_secs(300);

/// Bytes of a token.
pub(crate) const TOKEN_LEN: usize = 8;

/// Who announced what to which node.
#[derive(Debug, Default)]
pub(crate) struct Announces {
    peers: HashMap<(u32, InfoHash), Vec<SocketAddrV4>>,
    count: usize,
}

impl Announces {
    /// Peers announced to `node`.
    pub(crate) fn of(&self, node: u32, hash: &InfoHash) -> &[SocketAddrV4] {
        self.peers.get(&(node, *hash)).map_or(&[], Vec::as_slice)
    }

    /// Remembers a peer; false when there is no room.
    pub(crate) fn store(&mut self, node: u32, hash: InfoHash, peer: SocketAddrV4) -> bool {
        if self.of(node, &hash).contains(&peer) {
            return true;
        }
        if self.count >= PEERS_MAX || self.of(node, &hash).len() >= PEERS_OF_HASH_MAX {
            return false;
        }
        self.peers.entry((node, hash)).or_default().push(peer);
        self.count += 1;
        true
    }
}

/// The token that `node` gives to `asker` for `hash` at `now`.
pub(crate) fn token(
    seed: u64,
    now: Duration,
    node: u32,
    asker: Ipv4Addr,
    hash: &InfoHash,
) -> [u8; TOKEN_LEN] {
    token_of_period(seed, period(now), node, asker, hash)
}

/// Whether `token` was given so not long ago.
pub(crate) fn is_token_good(
    seed: u64,
    now: Duration,
    node: u32,
    asker: Ipv4Addr,
    hash: &InfoHash,
    token: &[u8],
) -> bool {
    let current = period(now);
    [Some(current), current.checked_sub(1)]
        .into_iter()
        .flatten()
        .any(|period| token == token_of_period(seed, period, node, asker, hash))
}

fn period(now: Duration) -> u64 {
    now.as_secs() / SECRET_PERIOD.as_secs()
}

fn token_of_period(seed: u64, period: u64, node: u32, asker: Ipv4Addr, hash: &InfoHash) -> [u8; TOKEN_LEN] {
    let secret = draw(seed, Topic::Token, period, u64::from(node));
    hash.as_bytes()
        .chunks(4)
        .fold(draw(secret, Topic::Token, u64::from(u32::from(asker)), 0), |state, part| {
            let part = part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            draw(secret, Topic::Token, state, part)
        })
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

    #[test]
    fn a_token_is_good_for_its_asker_node_hash_and_time() {
        let (hash, now) = (InfoHash::from_bytes([7; 20]), Duration::from_secs(1_000));
        let token = token(1, now, 3, ASKER, &hash);
        let later = |secs: u64| Duration::from_secs(1_000 + secs);
        assert!(is_token_good(1, later(0), 3, ASKER, &hash, &token));
        assert!(is_token_good(1, later(300), 3, ASKER, &hash, &token));
        assert!(!is_token_good(1, later(600), 3, ASKER, &hash, &token));
        assert!(!is_token_good(1, now, 4, ASKER, &hash, &token));
        assert!(!is_token_good(1, now, 3, Ipv4Addr::new(127, 0, 0, 2), &hash, &token));
        assert!(!is_token_good(1, now, 3, ASKER, &InfoHash::from_bytes([8; 20]), &token));
        assert!(!is_token_good(1, now, 3, ASKER, &hash, &token[..7]));
    }

    #[test]
    fn announced_peers_are_kept_once_and_within_bounds() {
        let (mut announces, hash) = (Announces::default(), InfoHash::from_bytes([7; 20]));
        assert!(announces.store(1, hash, SocketAddrV4::new(ASKER, 1)));
        assert!(announces.store(1, hash, SocketAddrV4::new(ASKER, 1)));
        assert_eq!(announces.of(1, &hash).len(), 1);
        assert!(announces.of(2, &hash).is_empty());
        let stored =
            (1..1_000).filter(|port| announces.store(1, hash, SocketAddrV4::new(ASKER, *port))).count();
        assert_eq!(stored, PEERS_OF_HASH_MAX);
    }
}
