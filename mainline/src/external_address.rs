//! Our address as the network sees it, by vote over the `ip` field of answers (BEP 42).
//!
//! One answer proves nothing: anybody can write anything there. Each network (/24, IPv6 /64) has one vote, and the last
//! [`VOTERS`] votes count. The first address needs more than half of them, and at least [`VOTES_MIN`]. As ids follow
//! the address (BEP 42), and whoever changes ids is soon taken for a liar, a change needs more: two thirds, at least
//! [`CHANGE_VOTES_MIN`], without a break for [`CHANGE_AFTER`], and [`CHANGE_PAUSE`] since the change before. So
//! liars, and routers that use two addresses in turn, change nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::Address;
use crate::id_mismatch;

/// The votes on the external address of one local address.
#[derive(Debug)]
pub struct ExternalAddress {
    votes: Vec<Vote>,
    /// Place of the oldest vote once all are taken.
    next: usize,
    agreed: Option<IpAddr>,
    changed_at: Option<Duration>,
    /// Who has had the votes for a change, and since when.
    challenger: Option<(IpAddr, Duration)>,
}

#[derive(Debug, Clone, Copy)]
struct Vote {
    voter: u64,
    claim: IpAddr,
}

impl ExternalAddress {
    /// No votes yet. `agreed` is what an earlier run has found out: to be changed like any other, not at the first doubt.
    pub fn new(agreed: Option<IpAddr>) -> ExternalAddress {
        ExternalAddress {
            votes: Vec::with_capacity(VOTERS),
            next: 0,
            agreed: agreed.map(|ip| ip.to_canonical()),
            changed_at: None,
            challenger: None,
        }
    }

    /// A node at `voter` has answered a query of ours and says that we are `claim`. The new address, when the
    /// votes have just come to agree on another than before. Claims that cannot be are to be left out by
    /// the caller (see [`AddressFilter`](crate::bogon::AddressFilter)).
    pub fn vote(&mut self, now: Duration, voter: IpAddr, claim: IpAddr) -> Option<IpAddr> {
        let vote = Vote { voter: network(voter), claim };
        if let Some(earlier) = self.votes.iter_mut().find(|earlier| earlier.voter == vote.voter) {
            *earlier = vote;
        } else if self.votes.len() < VOTERS {
            self.votes.push(vote);
        } else {
            self.votes[self.next] = vote;
            self.next = (self.next + 1) % VOTERS;
        }
        let Some(agreed) = self.agreed else {
            let for_it = self.votes_for(claim);
            let elected = for_it >= VOTES_MIN && for_it * 2 > self.votes.len();
            return elected.then(|| self.elect(now, claim));
        };
        self.challenger = self.challenger.filter(|(challenger, _)| self.may_change_to(*challenger));
        if self.challenger.is_none() && claim != agreed && self.may_change_to(claim) {
            self.challenger = Some((claim, now));
        }
        let (challenger, since) = self.challenger?;
        let rested = self.changed_at.is_none_or(|changed| now >= changed + CHANGE_PAUSE);
        (rested && now >= since + CHANGE_AFTER).then(|| self.elect(now, challenger))
    }

    /// The address agreed on last.
    pub fn agreed(&self) -> Option<IpAddr> {
        self.agreed
    }

    fn elect(&mut self, now: Duration, address: IpAddr) -> IpAddr {
        self.agreed = Some(address);
        self.changed_at = Some(now);
        self.challenger = None;
        address
    }

    fn votes_for(&self, claim: IpAddr) -> usize {
        self.votes.iter().filter(|vote| vote.claim == claim).count()
    }

    fn may_change_to(&self, claim: IpAddr) -> bool {
        let for_it = self.votes_for(claim);
        for_it >= CHANGE_VOTES_MIN && for_it * 3 >= self.votes.len() * 2
    }
}

/// The votes on all external addresses: one for each local address, since each may lead out another way. The ports of one
/// local address share an external one, as RFC 4787 (REQ-2) asks of a NAT.
#[derive(Debug)]
pub(crate) struct ExternalAddresses {
    /// By port.
    locals: Vec<usize>,
    votes: Vec<(IpAddr, ExternalAddress)>,
}

impl ExternalAddresses {
    /// For ports with these local addresses. `known` are local addresses with what an earlier run has found out.
    pub(crate) fn new(
        ports: impl Iterator<Item = SocketAddr>,
        known: &[(IpAddr, IpAddr)],
    ) -> ExternalAddresses {
        let mut all = ExternalAddresses { locals: Vec::new(), votes: Vec::new() };
        for port in ports {
            let local = port.ip();
            let at = all.votes.iter().position(|(earlier, _)| *earlier == local).unwrap_or_else(|| {
                let agreed = known.iter().find(|(of, _)| *of == local).map(|(_, external)| *external);
                all.votes.push((local, ExternalAddress::new(agreed)));
                all.votes.len() - 1
            });
            all.locals.push(at);
        }
        all
    }

    /// A vote that came in at a port. The local and the external address, when the latter is a new one.
    pub(crate) fn vote(
        &mut self,
        now: Duration,
        port: usize,
        voter: IpAddr,
        claim: IpAddr,
    ) -> Option<(IpAddr, IpAddr)> {
        let (local, votes) = self.votes.get_mut(*self.locals.get(port)?)?;
        if local.is_ipv4() != claim.is_ipv4() {
            return None;
        }
        Some((*local, votes.vote(now, voter, claim)?))
    }

    /// Every local address, with the external one agreed on.
    pub(crate) fn agreed(&self) -> impl Iterator<Item = (IpAddr, Option<IpAddr>)> + '_ {
        self.votes.iter().map(|(local, votes)| (*local, votes.agreed()))
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

/// Agreeing votes needed for the first address.
pub const VOTES_MIN: usize = 4;

/// Agreeing votes needed for another address.
pub const CHANGE_VOTES_MIN: usize = 8;

/// For so long another address has to have its votes. At ten answers a second the votes are changed forty times over.
pub const CHANGE_AFTER: Duration = Duration::from_secs(120);

/// Between two changes: never two within the time in which a remote that watches as we do (see [`id_mismatch`]) bans whoever
/// changes its id twice. Ids that are not valid for so long cost places in some tables; a ban costs more.
pub const CHANGE_PAUSE: Duration = Duration::from_secs(70 * 60);

const _: () = assert!(CHANGE_PAUSE.as_secs() > id_mismatch::MEMORY.as_secs());

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn voter(n: u8) -> IpAddr {
        IpAddr::from([192, 0, n, 1])
    }

    fn us(n: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, n])
    }

    fn secs(secs: u64) -> Duration {
        NOW + Duration::from_secs(secs)
    }

    /// With 32 votes for the first address.
    fn settled() -> ExternalAddress {
        let mut external = ExternalAddress::new(None);
        for n in 0..32 {
            external.vote(NOW, voter(n), us(1));
        }
        assert_eq!(external.agreed(), Some(us(1)));
        external
    }

    #[test]
    fn four_networks_that_agree_elect_an_address_once() {
        let mut external = ExternalAddress::new(None);
        for n in 0..3 {
            assert_eq!(external.vote(NOW, voter(n), us(1)), None);
        }
        assert_eq!(external.vote(NOW, voter(3), us(1)), Some(us(1)));
        assert_eq!(external.vote(NOW, voter(4), us(1)), None);
        assert_eq!(external.agreed(), Some(us(1)));
    }

    #[test]
    fn one_network_has_one_vote() {
        let mut external = ExternalAddress::new(None);
        for host in 0..50 {
            assert_eq!(external.vote(NOW, IpAddr::from([198, 51, 100, host]), us(66)), None);
        }
        assert_eq!(external.agreed(), None);
    }

    #[test]
    fn a_new_address_wins_after_two_minutes_of_a_clear_majority() {
        let mut external = settled();
        let elected: Vec<u64> = (0..200)
            .filter(|second| external.vote(secs(10_000 + second), voter(32 + *second as u8), us(2)).is_some())
            .collect();
        // Two thirds of 32 are 22 votes, one a second, and from then on two minutes.
        assert_eq!(elected, [21 + 120]);
        assert_eq!(external.agreed(), Some(us(2)));
    }

    #[test]
    fn lying_minorities_and_addresses_that_take_turns_change_nothing() {
        for liars in [3, 5, 6] {
            let mut external = settled();
            for second in 0..20_000_u64 {
                let claim = if second % 10 < liars { us(2) } else { us(1) };
                assert_eq!(external.vote(secs(10_000 + second), voter((second % 251) as u8), claim), None);
            }
            assert_eq!(external.agreed(), Some(us(1)), "{liars} of 10 lie");
        }
    }

    #[test]
    fn a_majority_that_comes_and_goes_within_two_minutes_changes_nothing() {
        let mut external = settled();
        for second in 0..20_000_u64 {
            // A minute of one, a minute of the other.
            let claim = us(1 + (second / 60 % 2) as u8);
            assert_eq!(external.vote(secs(10_000 + second), voter((second % 251) as u8), claim), None);
        }
    }

    #[test]
    fn addresses_change_once_in_seventy_minutes_at_most() {
        let mut external = settled();
        let mut changes = Vec::new();
        for second in 0..20_000_u64 {
            // Another address every five minutes.
            let claim = us(1 + (second / 300 % 9) as u8);
            if external.vote(secs(10_000 + second), voter((second % 251) as u8), claim).is_some() {
                changes.push(second);
            }
        }
        assert!((4..=5).contains(&changes.len()), "{changes:?}");
        assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 4_200), "{changes:?}");
    }

    #[test]
    fn what_an_earlier_run_has_found_out_stands_until_it_is_voted_out() {
        let mut external = ExternalAddress::new(Some(us(9)));
        assert_eq!(external.agreed(), Some(us(9)));
        let voted: Vec<u64> = (0..200)
            .filter(|second| external.vote(secs(*second), voter((second % 20) as u8), us(1)).is_some())
            .collect();
        assert_eq!(voted, [7 + 120]);
    }

    #[test]
    fn each_local_address_and_family_has_votes_of_its_own() {
        let ports = ["192.168.1.2:1", "192.168.1.2:2", "10.0.0.1:1", "[::]:1"];
        let ports = ports.map(|addr| addr.parse::<SocketAddr>().unwrap());
        let known = [(ports[2].ip(), us(7))];
        let mut all = ExternalAddresses::new(ports.into_iter(), &known);
        // Both ports of one local address count together.
        let elected: Vec<_> =
            (0..4).filter_map(|n| all.vote(NOW, usize::from(n % 2), voter(n), us(1))).collect();
        assert_eq!(elected, [(ports[0].ip(), us(1))]);
        let six: IpAddr = "2a00::1".parse().unwrap();
        for n in 0..40 {
            assert_eq!(all.vote(NOW, 3, voter(n), us(1)), None, "an IPv6 port has no IPv4 address");
            assert_eq!(all.vote(NOW, 0, voter(n), six), None);
            assert_eq!(all.vote(NOW, 4, voter(n), us(1)), None, "there is no such port");
        }
        let elected: Vec<_> = (0..4).filter_map(|n| all.vote(NOW, 3, voter(n), six)).collect();
        assert_eq!(elected, [(ports[3].ip(), six)]);
        let agreed: Vec<_> = all.agreed().collect();
        assert_eq!(
            agreed,
            [(ports[0].ip(), Some(us(1))), (ports[2].ip(), Some(us(7))), (ports[3].ip(), Some(six))]
        );
    }

    proptest! {
        #[test]
        fn only_a_clear_and_lasting_majority_of_networks_elects(
            votes in prop::collection::vec((0_u64..90, 0_u8..60, 0_u8..3), 0..300),
        ) {
            let mut external = ExternalAddress::new(None);
            // Networks in the order of their first vote, each with its last claim.
            let mut model: Vec<(u8, u8)> = Vec::new();
            let mut since = [None; 3];
            let mut changes: Vec<Duration> = Vec::new();
            let mut at = NOW;
            for (pause, n, claim) in votes {
                at += Duration::from_secs(pause);
                match model.iter_mut().find(|(voter, _)| *voter == n) {
                    Some((_, claimed)) => *claimed = claim,
                    None => {
                        if model.len() == VOTERS {
                            model.remove(0);
                        }
                        model.push((n, claim));
                    }
                }
                for (claim, since) in (0_u8..).zip(&mut since) {
                    let votes = model.iter().filter(|(_, claimed)| *claimed == claim).count();
                    let clear = votes >= CHANGE_VOTES_MIN && 3 * votes >= 2 * model.len();
                    *since = clear.then_some(since.unwrap_or(at));
                }
                if let Some(elected) = external.vote(at, voter(n), us(claim)) {
                    if let Some(before) = changes.last() {
                        prop_assert!(at >= *before + CHANGE_PAUSE);
                        let since = (0_u8..).zip(since).find(|(claim, _)| us(*claim) == elected);
                        prop_assert!(since.unwrap().1.is_some_and(|since| at >= since + CHANGE_AFTER));
                    } else {
                        let votes = model.iter().filter(|(_, claimed)| *claimed == claim).count();
                        prop_assert!(votes >= VOTES_MIN && 2 * votes > model.len());
                    }
                    changes.push(at);
                    prop_assert_eq!(external.agreed(), Some(elected));
                }
            }
        }
    }
}
