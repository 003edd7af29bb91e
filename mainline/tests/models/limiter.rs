//! The budgets of remotes beside a list of every packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mainline::keyed_hash::HashKey;
use mainline::limiter::{Limiter, PACKETS_PER_WINDOW, QUERY_BURST, QUERY_INTERVAL, Refusal};

use super::Script;

/// A party finds no place when its set is full, whatever is free elsewhere.
const PLACES_OF_A_SET: usize = 7;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    // Small enough to be full at times.
    let mut limiter = Limiter::new(16, HashKey::derive(&[1; 32], "limiter"));
    let mut now = Duration::ZERO;
    // Of each party its packets, and whether they were queries.
    let mut sent: HashMap<u8, Vec<(Duration, bool)>> = HashMap::new();
    let (mut allowed, mut refused) = (0, 0);
    while let Some(what) = script.next() {
        if what < 100 {
            now += script.pause();
            continue;
        }
        let (party, is_query) = (what % 40, what % 3 != 0);
        let ip = IpAddr::from([192, 0, 2, party]);
        let said = limiter.next_query(now, ip);
        let took = if is_query { limiter.query(now, ip) } else { limiter.reply(now, ip) };
        let packets = sent.entry(party).or_default();
        match took {
            Ok(()) => {
                allowed += 1;
                assert!(!is_query || said == now, "{said:?} at {now:?}");
                packets.push((now, is_query));
            }
            Err(Refusal::NotBefore(at)) => {
                refused += 1;
                assert!(at > now && at <= now + Duration::from_secs(3), "{at:?} at {now:?}");
                assert!(!is_query || said == at, "{said:?} and {at:?}");
                let last = packets.last().map_or(Duration::ZERO, |(at, _)| *at);
                assert!(now < last + Duration::from_secs(3), "refused to who was left alone");
            }
            Err(Refusal::TableFull) => {
                refused += 1;
                let recent = sent.values().filter_map(|packets| packets.last());
                let busy = recent.filter(|(at, _)| now < *at + Duration::from_secs(4)).count();
                assert!(busy >= PLACES_OF_A_SET, "full with {busy} parties");
            }
        }
        let packets = &sent[&party];
        let within = |time: Duration| packets.iter().rev().take_while(move |(at, _)| now < *at + time);
        assert!(within(Duration::from_secs(1)).count() <= PACKETS_PER_WINDOW);
        for seconds in 1..20 {
            let queries = within(QUERY_INTERVAL * seconds).filter(|(_, is_query)| *is_query).count();
            assert!(queries <= (seconds + QUERY_BURST) as usize, "{queries} in {seconds} s");
        }
    }
    let counters = limiter.counters();
    assert_eq!(counters.queries + counters.replies, allowed);
    assert_eq!(counters.queries_refused + counters.replies_refused, refused);
}
