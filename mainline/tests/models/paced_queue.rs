//! What waits for budgets beside one plain queue for each party.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use mainline::keyed_hash::HashKey;
use mainline::limiter::Refusal;
use mainline::paced_queue::PacedQueue;

use super::Script;

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let (capacity, per_party) = (script.below(40), script.below(8));
    let mut queue = PacedQueue::new(capacity, per_party, HashKey::derive(&[1; 32], "queue"));
    let mut model: BTreeMap<IpAddr, VecDeque<u16>> = BTreeMap::new();
    let mut now = Duration::ZERO;
    for number in 0.. {
        let Some(what) = script.next() else { break };
        let ip = |party: u8| IpAddr::from([192, 0, 2, party]);
        let all: usize = model.values().map(VecDeque::len).sum();
        match what % 4 {
            0 => now += script.pause(),
            1 | 2 => {
                let (party, delay) = (ip(script.byte() % 12), script.pause());
                let line = model.entry(party).or_default();
                let room = all < capacity && line.len() < per_party;
                let pushed = queue.push(now + delay, party, number);
                assert_eq!(pushed, if room { Ok(()) } else { Err(number) });
                if room {
                    line.push_back(number);
                }
            }
            _ => {
                let refusing = script.byte();
                let later = now + script.pause();
                let take = |party: IpAddr| match party {
                    IpAddr::V4(party) if party.octets()[3] % 3 != refusing % 3 => Ok(()),
                    _ if refusing > 128 => Err(Refusal::TableFull),
                    _ => Err(Refusal::NotBefore(later)),
                };
                let due = queue.next_ready().is_some_and(|at| at <= now);
                let popped = queue.pop_ready(now, take);
                assert!(due || popped.is_none());
                if let Some((party, got)) = popped {
                    assert_eq!(take(party), Ok(()));
                    assert_eq!(model.get_mut(&party).and_then(VecDeque::pop_front), Some(got));
                }
            }
        }
        for (party, line) in &model {
            assert_eq!(queue.waiting_for(*party), line.len());
        }
        let all: usize = model.values().map(VecDeque::len).sum();
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (all, all == 0, all >= capacity));
        assert_eq!(queue.next_ready().is_some(), all > 0);
        if number == u16::MAX {
            break;
        }
    }
    // Whatever was refused before comes out in the end.
    let mut left: usize = model.values().map(VecDeque::len).sum();
    while left > 0 {
        now = now.max(queue.next_ready().unwrap());
        let (party, got) = queue.pop_ready(now, |_| Ok(())).unwrap();
        assert_eq!(model.get_mut(&party).and_then(VecDeque::pop_front), Some(got));
        left -= 1;
    }
    assert!(queue.is_empty());
}
