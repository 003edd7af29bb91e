//! Our address as the network sees it, by vote over the `ip` field of answers (BEP 42).
//!
//! One answer proves nothing: anybody can write anything there. Each network (/24, IPv6 /64) has one vote,
//! and of the last [`VOTERS`] votes more than half, and at least [`VOTES_MIN`], have to agree.

use std::net::IpAddr;

use crate::address::Address;

/// The votes of one address family.
#[derive(Debug)]
pub struct ExternalAddress {
    votes: Vec<Vote>,
    /// Place of the oldest vote once all are taken.
    next: usize,
    agreed: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct Vote {
    voter: u64,
    claim: IpAddr,
}

impl ExternalAddress {
    /// No votes yet.
    pub fn new() -> ExternalAddress {
        ExternalAddress { votes: Vec::with_capacity(VOTERS), next: 0, agreed: None }
    }

    /// A node at `voter` has answered a query of ours and says that we are `claim`. The new address, when the
    /// votes have just come to agree on another than before. Claims that cannot be are to be left out by
    /// the caller (see [`AddressFilter`](crate::bogon::AddressFilter)).
    pub fn vote(&mut self, voter: IpAddr, claim: IpAddr) -> Option<IpAddr> {
        let voter = network(voter);
        let vote = Vote { voter, claim };
        if let Some(earlier) = self.votes.iter_mut().find(|vote| vote.voter == voter) {
            *earlier = vote;
        } else if self.votes.len() < VOTERS {
            self.votes.push(vote);
        } else {
            self.votes[self.next] = vote;
            self.next = (self.next + 1) % VOTERS;
        }
        let agreeing = self.votes.iter().filter(|vote| vote.claim == claim).count();
        let elected = agreeing >= VOTES_MIN && agreeing * 2 > self.votes.len();
        if !elected || self.agreed == Some(claim) {
            return None;
        }
        self.agreed = Some(claim);
        self.agreed
    }

    /// The address agreed on last.
    pub fn agreed(&self) -> Option<IpAddr> {
        self.agreed
    }
}

impl Default for ExternalAddress {
    fn default() -> ExternalAddress {
        ExternalAddress::new()
    }
}

fn network(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.subnet(),
        IpAddr::V6(ip) => ip.subnet(),
    }
}

/// Votes kept; the oldest gives way.
pub const VOTERS: usize = 32;

/// Agreeing votes needed.
pub const VOTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn voter(n: u8) -> IpAddr {
        IpAddr::from([192, 0, n, 1])
    }

    fn us(n: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, n])
    }

    #[test]
    fn four_networks_that_agree_elect_an_address_once() {
        let mut external = ExternalAddress::new();
        for n in 0..3 {
            assert_eq!(external.vote(voter(n), us(1)), None);
        }
        assert_eq!(external.vote(voter(3), us(1)), Some(us(1)));
        assert_eq!(external.vote(voter(4), us(1)), None);
        assert_eq!(external.agreed(), Some(us(1)));
    }

    #[test]
    fn one_network_has_one_vote() {
        let mut external = ExternalAddress::new();
        for host in 0..50 {
            assert_eq!(external.vote(IpAddr::from([198, 51, 100, host]), us(66)), None);
        }
        assert_eq!(external.agreed(), None);
    }

    #[test]
    fn a_minority_elects_nothing() {
        let mut external = ExternalAddress::new();
        for n in 0..10 {
            external.vote(voter(n), us(1));
        }
        for n in 10..19 {
            assert_eq!(external.vote(voter(n), us(2)), None);
        }
        assert_eq!(external.agreed(), Some(us(1)));
    }

    #[test]
    fn a_new_address_wins_when_the_old_votes_have_gone() {
        let mut external = ExternalAddress::new();
        for n in 0..32 {
            external.vote(voter(n), us(1));
        }
        let elected: Vec<u8> = (100..132).filter(|n| external.vote(voter(*n), us(2)).is_some()).collect();
        assert_eq!(elected, [116]);
        assert_eq!(external.agreed(), Some(us(2)));
    }

    proptest! {
        #[test]
        fn only_a_majority_of_networks_elects(votes in prop::collection::vec((0_u8..60, 0_u8..3), 0..300)) {
            let mut external = ExternalAddress::new();
            // Networks in the order of their first vote, each with its last claim.
            let mut model: Vec<(u8, u8)> = Vec::new();
            let mut agreed = None;
            for (n, claim) in votes {
                match model.iter_mut().find(|(voter, _)| *voter == n) {
                    Some((_, claimed)) => *claimed = claim,
                    None => {
                        if model.len() == VOTERS {
                            model.remove(0);
                        }
                        model.push((n, claim));
                    }
                }
                let agreeing = model.iter().filter(|(_, claimed)| *claimed == claim).count();
                let elected = agreeing >= VOTES_MIN && 2 * agreeing > model.len();
                let change = (elected && agreed != Some(us(claim))).then_some(us(claim));
                agreed = change.or(agreed);
                prop_assert_eq!(external.vote(voter(n), us(claim)), change);
                prop_assert_eq!(external.agreed(), agreed);
            }
        }
    }
}
