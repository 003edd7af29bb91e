//! What an operator sees: the values, not only that there are some.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{cell::RefCell, rc::Rc, time::Duration};

use script::{Msg, Script, config, loopback};
use tea_runtime::{Config, Lane, Observer, Runtime, StopReport, SubEvent, TurnReport, UdpPort};

#[derive(Default)]
struct Totals {
    turns: u64,
    turns_with_messages: u64,
    messages: u64,
    datagrams: u64,
    batches: u64,
    timers: u64,
    sent: u64,
    timers_set_max: usize,
    samples: u64,
    length: Duration,
    stop: Option<StopReport>,
}

struct Adding(Rc<RefCell<Totals>>);

impl Observer for Adding {
    fn turn(&mut self, turn: &TurnReport<'_>) {
        let mut totals = self.0.borrow_mut();
        totals.turns += 1;
        totals.messages += u64::from(turn.messages);
        totals.turns_with_messages += u64::from(turn.messages > 0);
        totals.datagrams += u64::from(turn.lane(Lane::Datagrams).handled);
        totals.batches += u64::from(turn.batches);
        totals.timers += u64::from(turn.lane(Lane::Timers).handled);
        totals.sent += u64::from(turn.lane(Lane::Sends).handled);
        totals.timers_set_max = totals.timers_set_max.max(turn.lane(Lane::Timers).depth);
        totals.samples += u64::from(turn.update_sample.is_some());
        totals.length += turn.length;
        assert_eq!((turn.lanes.len(), turn.counters.turns), (Lane::ALL.len(), totals.turns));
        assert_eq!(
            turn.lanes.iter().map(|lane| lane.handled).sum::<u32>(),
            turn.messages + turn.lane(Lane::Sends).handled
        );
    }

    fn stopped(&mut self, stop: &StopReport) {
        self.0.borrow_mut().stop = Some(stop.clone());
    }
}

#[test]
fn the_observer_sees_each_message_in_its_lane_and_the_end() {
    let totals = Rc::new(RefCell::new(Totals::default()));
    let update = {
        let mut received = 0;
        move |msg, cx: &tea_runtime::Context, cmd: &mut tea_runtime::Cmd<Script>| match msg {
            Msg::Event(SubEvent::Ready { local, .. }) => {
                for _ in 0..100 {
                    cmd.send(1, local, |out| out.extend([1; 50]));
                }
                for key in 10..15 {
                    cmd.after(key, Duration::from_secs(1000), Msg::Timer(key), cx);
                }
                cmd.after(1, Duration::ZERO, Msg::Timer(1), cx);
            }
            Msg::Datagram(..) => {
                received += 1;
                if received == 100 {
                    cmd.quit();
                }
            }
            _ => {}
        }
    };
    let subscriptions = |sub: &mut tea_runtime::Sub<Script>| {
        sub.udp(1, UdpPort::new(loopback(0)), Msg::Datagram);
        sub.events(2, |_, event| Msg::Event(event));
    };
    let run = Runtime::new(Config { update_sample_every: 1, ..config() })
        .manager(script::Deaf)
        .observer(Adding(Rc::clone(&totals)));
    run.run_blocking::<Script>((Box::new(update), Box::new(subscriptions))).unwrap();
    let totals = totals.borrow();
    let stop = totals.stop.as_ref().expect("an end");
    assert_eq!((totals.datagrams, totals.sent, totals.timers), (100, 100, 1));
    // Start and the bound port besides.
    assert_eq!(totals.messages, 103);
    assert_eq!((stop.counters.messages, stop.counters.turns), (totals.messages, totals.turns));
    assert_eq!(stop.counters.datagram_bytes_received, 5000);
    assert_eq!(totals.batches, stop.counters.batches_received);
    assert!((2..=50).contains(&totals.batches), "{} batches for 100 datagrams", totals.batches);
    assert_eq!(totals.timers_set_max, 5);
    assert_eq!(totals.samples, totals.turns_with_messages);
    assert!(totals.length > Duration::ZERO);
    assert!(stop.manager_closed && stop.abandoned == 0);
}
