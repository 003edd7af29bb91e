//! Timers and intervals, on tokio's paused clock: it moves on when everybody waits.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{cell::RefCell, rc::Rc, time::Duration};

use script::{Deaf, Msg, config, run_async};
use tea_runtime::{Cmd, Config, Context, Counters, Sub};

const MS: Duration = Duration::from_millis(1);

/// Runs a script on the paused clock. What it logs, with the milliseconds, is returned.
fn log(
    config: Config,
    subscriptions: impl Fn(&mut Sub<script::Script>) + 'static,
    mut update: impl FnMut(Msg, &Context, &mut Cmd<script::Script>) -> Option<String> + 'static,
) -> (Vec<(u128, String)>, Counters) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let event_loop =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let stop = event_loop.block_on(run_async(config, Deaf, subscriptions, {
        let log = Rc::clone(&log);
        move |msg, cx, cmd| {
            if let Some(text) = update(msg, cx, cmd) {
                log.borrow_mut().push((cx.now.since_start().as_millis(), text));
            }
        }
    }));
    (log.take(), stop.counters)
}

fn entries(entries: &[(u128, &str)]) -> Vec<(u128, String)> {
    entries.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
}

#[test]
fn timers_come_in_the_order_of_their_deadlines() {
    let (log, counters) = log(
        config(),
        |_| {},
        |msg, cx, cmd| match msg {
            Msg::Start => {
                for (key, delay) in [(1, 500), (2, 20), (3, 50_000), (4, 20), (5, 0)] {
                    cmd.after(key, delay * MS, Msg::Timer(key), cx);
                }
                None
            }
            Msg::Timer(key) => {
                if key == 3 {
                    cmd.quit();
                }
                Some(key.to_string())
            }
            other => panic!("{other:?}"),
        },
    );
    let order: Vec<&str> = log.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(order, ["5", "2", "4", "1", "3"]);
    // Never early; late by no more than tokio's clock is coarse.
    for ((at, _), due) in log.iter().zip([0, 20, 20, 500, 50_000]) {
        assert!((due..=due + 2).contains(at), "{at} for {due}");
    }
    assert_eq!(counters.timers_fired, 5);
}

#[test]
fn a_replaced_timer_comes_once_and_a_cancelled_one_never_even_if_both_are_due_in_one_turn() {
    let (log, _) = log(
        config(),
        |_| {},
        |msg, cx, cmd| match msg {
            Msg::Start => {
                cmd.after(1, 10 * MS, Msg::Timer(100), cx);
                cmd.after(1, 30 * MS, Msg::Timer(1), cx);
                cmd.after(2, 30 * MS, Msg::Timer(2), cx);
                cmd.after(3, 30 * MS, Msg::Timer(3), cx);
                None
            }
            Msg::Timer(1) => {
                cmd.cancel(2);
                Some("1".to_owned())
            }
            Msg::Timer(key) => {
                cmd.quit();
                Some(key.to_string())
            }
            other => panic!("{other:?}"),
        },
    );
    let order: Vec<&str> = log.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(order, ["1", "3"]);
}

#[test]
fn one_timer_more_than_there_may_be_is_dropped_and_counted_but_a_replacement_is_not() {
    let (log, counters) = log(
        Config { timers_max: 2, ..config() },
        |_| {},
        |msg, cx, cmd| match msg {
            Msg::Start => {
                for key in [1, 2, 3, 2] {
                    cmd.after(key, key * 10 * MS, Msg::Timer(key), cx);
                }
                None
            }
            Msg::Timer(key) => {
                if key == 2 {
                    cmd.quit();
                }
                Some(key.to_string())
            }
            other => panic!("{other:?}"),
        },
    );
    let order: Vec<&str> = log.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!((order, counters.timers_dropped), (vec!["1", "2"], 1));
}

#[test]
fn an_interval_ticks_from_one_period_on_until_it_is_no_longer_wanted() {
    let wanted = Rc::new(RefCell::new(true));
    let (log, _) = log(
        config(),
        {
            let wanted = Rc::clone(&wanted);
            move |sub| {
                if *wanted.borrow() {
                    sub.every(1, 100 * MS, Msg::Tick);
                }
            }
        },
        {
            let mut ticks = 0;
            move |msg, cx, cmd| match msg {
                Msg::Start => None,
                Msg::Tick(1, now) => {
                    assert_eq!(now, cx.now);
                    ticks += 1;
                    if ticks == 3 {
                        *wanted.borrow_mut() = false;
                        cmd.resubscribe();
                        cmd.after(2, 1000 * MS, Msg::Timer(2), cx);
                    }
                    Some("tick".to_owned())
                }
                Msg::Timer(2) => {
                    cmd.quit();
                    None
                }
                other => panic!("{other:?}"),
            }
        },
    );
    let near = |at: u128| (at + 5) / 10 * 10;
    let log: Vec<_> = log.into_iter().map(|(at, text)| (near(at), text)).collect();
    assert_eq!(log, entries(&[(100, "tick"), (200, "tick"), (300, "tick")]));
}

#[test]
fn an_interval_with_another_period_starts_anew_and_an_unchanged_one_keeps_its_phase() {
    let period = Rc::new(RefCell::new(100));
    let (log, _) = log(
        config(),
        {
            let period = Rc::clone(&period);
            move |sub| {
                sub.every(1, *period.borrow() * MS, Msg::Tick);
                sub.every(2, 130 * MS, Msg::Tick);
            }
        },
        move |msg, cx, cmd| match msg {
            Msg::Start => {
                cmd.after(9, 50 * MS, Msg::Timer(9), cx);
                None
            }
            Msg::Timer(9) => {
                *period.borrow_mut() = 110;
                cmd.resubscribe();
                None
            }
            Msg::Tick(1, _) => {
                cmd.quit();
                Some("changed".to_owned())
            }
            Msg::Tick(2, _) => Some("kept".to_owned()),
            other => panic!("{other:?}"),
        },
    );
    let near = |at: u128| (at + 5) / 10 * 10;
    let log: Vec<_> = log.into_iter().map(|(at, text)| (near(at), text)).collect();
    assert_eq!(log, entries(&[(130, "kept"), (160, "changed")]));
}

#[test]
fn a_program_that_always_sets_a_timer_for_now_does_not_stop_time() {
    let (log, _) = log(
        Config { messages_per_turn: 16, ..config() },
        |sub| sub.every(1, MS, Msg::Tick),
        |msg, cx, cmd| match msg {
            Msg::Start | Msg::Timer(_) => {
                cmd.after(7, Duration::ZERO, Msg::Timer(7), cx);
                // The paused clock stands while somebody is busy.
                if cx.now.since_start() < MS {
                    cmd.task("advance", tokio::time::advance(MS / 8), |_| Msg::Task(Ok(String::new())));
                }
                None
            }
            Msg::Tick(..) => {
                cmd.quit();
                Some("tick".to_owned())
            }
            Msg::Task(_) => None,
            other => panic!("{other:?}"),
        },
    );
    assert_eq!(log.len(), 1);
}
