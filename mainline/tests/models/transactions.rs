//! Queries in flight beside a list of them, with answers that are true, late, misdirected and guessed.

use std::net::SocketAddr;
use std::time::Duration;

use mainline::PortIndex;
use mainline::keyed_hash::HashKey;
use mainline::transactions::{Answered, LATE_FOR, TransactionId, Transactions, TransactionsFull};

use super::Script;

/// Times are rounded up to ticks of the wheel.
const ROUNDING: Duration = Duration::from_millis(64);

struct Query {
    tid: TransactionId,
    port: PortIndex,
    to: SocketAddr,
    sent: Duration,
    number: u32,
    given_up: Option<Duration>,
}

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let capacity = 1 + script.below(20);
    let mut now = Duration::from_secs(script.byte().into());
    let mut transactions = Transactions::new(capacity, HashKey::derive(&[1; 32], "transactions"), now);
    let mut model: Vec<Query> = Vec::new();
    for number in 0.. {
        let Some(what) = script.next() else { break };
        let to = SocketAddr::from(([192, 0, 2, what >> 6], 6_881 + u16::from(what >> 5 & 1)));
        let port = PortIndex(u16::from(what >> 4 & 1));
        match what % 6 {
            0 | 1 => {
                // Those kept for late answers take places until they are swept, which is when time-outs are asked for.
                let full = !transactions.has_room();
                assert!(!full || model.len() >= capacity);
                match transactions.begin(now, port, to, script.pause(), number) {
                    Ok(tid) => {
                        assert!(!full && model.iter().all(|query| query.tid != tid));
                        model.push(Query { tid, port, to, sent: now, number, given_up: None });
                    }
                    Err(TransactionsFull) => assert!(full),
                }
            }
            2 => now += script.pause(),
            3 => {
                while let Some(timed_out) = transactions.timed_out(now) {
                    let query = model.iter_mut().find(|query| query.number == timed_out.payload).unwrap();
                    assert!(query.given_up.is_none() && query.to == timed_out.to);
                    query.given_up = Some(now);
                }
                let over = |query: &Query, since: Duration| now > since.max(query.sent + LATE_FOR) + ROUNDING;
                model.retain(|query| !query.given_up.is_some_and(|since| over(query, since)));
                let waits = |query: &&Query| query.given_up.is_none();
                assert!(model.iter().filter(waits).all(|query| now < query.sent + LATE_FOR + ROUNDING));
            }
            4 => {
                let Some(at) = model.len().checked_sub(1).map(|last| script.below(last + 1)) else {
                    continue;
                };
                let query = &model[at];
                let answered = transactions.answered(now, port, to, query.tid.as_bytes());
                if let Some(Answered { payload, rtt, late }) = answered {
                    assert_eq!((payload, query.port, query.to), (query.number, port, to));
                    assert_eq!((rtt, late), (now - query.sent, query.given_up.is_some()));
                    model.remove(at);
                } else {
                    let expired = query.given_up.is_some() && now >= query.sent + LATE_FOR;
                    assert!((query.port, query.to) != (port, to) || expired);
                }
            }
            _ => {
                let guess = script.bytes(usize::from(what >> 4));
                if model.iter().all(|query| query.tid.as_bytes() != guess) {
                    assert_eq!(transactions.answered(now, port, to, guess), None);
                }
            }
        }
        assert_eq!(transactions.len(), model.iter().filter(|query| query.given_up.is_none()).count());
    }
}
