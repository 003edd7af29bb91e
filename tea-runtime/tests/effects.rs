//! Effects of the program's own: their slots are reserved, what is refused is said, stopping waits for answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use script::{Ask, Deaf, Msg, Slow, config, run_with};
use tea_runtime::{BoxFuture, Config, Fault, Manager, Reply};

/// Keeps the questions until it is told to answer.
#[derive(Clone, Default)]
struct Held {
    replies: Rc<RefCell<VecDeque<Reply<Msg>>>>,
}

impl Held {
    fn answer_first(&self, text: &str) {
        let reply = self.replies.borrow_mut().pop_front().expect("a question");
        reply.send(Msg::Answer(text.to_owned()));
    }
}

impl Manager<script::Script> for Held {
    fn perform(&mut self, _: Ask, reply: Reply<Msg>) {
        self.replies.borrow_mut().push_back(reply);
    }
}

#[test]
fn an_answer_is_a_message() {
    let stop = run_with(
        config(),
        Slow::default(),
        |_| {},
        |msg, _, cmd| match msg {
            Msg::Start => cmd.perform(Ask("hello")),
            Msg::Answer(text) => {
                assert_eq!(text, "hello!");
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
    assert_eq!((stop.counters.effects_started, stop.counters.effects_refused), (1, 0));
    assert!(stop.manager_closed);
}

#[test]
fn one_effect_more_than_may_wait_is_refused_at_once_and_an_answer_frees_its_place() {
    let held = Held::default();
    let manager = held.clone();
    run_with(Config { effects_max: 2, ..config() }, manager, |_| {}, {
        let mut log = Vec::new();
        move |msg, cx, cmd| match msg {
            Msg::Start => {
                assert_eq!(cx.load.effects, 0);
                for question in ["one", "two", "three"] {
                    cmd.perform(Ask(question));
                }
            }
            Msg::Refused(ask, fault) => {
                assert_eq!((ask, fault, cx.load.effects), (Ask("three"), Fault::Overload, 255));
                held.answer_first("first");
            }
            Msg::Answer(text) => {
                log.push(text);
                if log.len() == 1 {
                    cmd.perform(Ask("four"));
                    cmd.to_shard(cx.shard, Msg::Timer(0));
                } else if log.len() == 3 {
                    assert_eq!(log, ["first", "second", "third"]);
                    cmd.quit();
                }
            }
            Msg::Timer(_) => {
                held.answer_first("second");
                held.answer_first("third");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_reply_that_is_dropped_frees_its_place() {
    let stop = run_with(Config { effects_max: 1, ..config() }, Deaf, |_| {}, {
        let mut asked = 0;
        move |msg, cx, cmd| match msg {
            Msg::Start | Msg::Timer(_) => {
                asked += 1;
                cmd.perform(Ask("anybody?"));
                if asked == 10 {
                    return cmd.quit();
                }
                cmd.to_shard(cx.shard, Msg::Timer(0));
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!((stop.counters.effects_started, stop.counters.effects_refused), (10, 0));
}

#[test]
fn what_was_accepted_is_answered_after_quit_and_what_comes_later_is_refused() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let stop = run_with(config(), Slow::default(), |_| {}, {
        let log = Rc::clone(&log);
        move |msg, _, cmd| match msg {
            Msg::Start => {
                cmd.perform(Ask("a question that takes its time"));
                cmd.quit();
                // In the same turn it is still accepted.
                cmd.perform(Ask("and one"));
            }
            Msg::Answer(text) => {
                log.borrow_mut().push(text);
                cmd.perform(Ask("late"));
            }
            Msg::Refused(Ask(text), fault) => log.borrow_mut().push(format!("{text}: {fault:?}")),
            other => panic!("{other:?}"),
        }
    });
    let mut log = log.take();
    log.sort();
    assert_eq!(log, ["a question that takes its time!", "and one!", "late: Closed", "late: Closed"]);
    assert_eq!((stop.abandoned, stop.manager_closed), (0, true));
}

#[test]
fn what_is_not_answered_within_the_grace_period_is_abandoned() {
    let held = Held::default();
    let stop = run_with(
        Config { grace: Duration::from_millis(30), ..config() },
        held.clone(),
        |_| {},
        |msg, _, cmd| match msg {
            Msg::Start => {
                cmd.perform(Ask("never answered"));
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
    assert_eq!((stop.abandoned, stop.manager_closed), (1, true));
    // An answer that comes after the end does no harm.
    held.answer_first("too late");
}

/// A manager that does not close.
struct Stuck;

impl Manager<script::Script> for Stuck {
    fn perform(&mut self, _: Ask, _: Reply<Msg>) {}

    fn close(&mut self) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_manager_that_does_not_close_is_left_behind_after_the_grace_period() {
    let stop = run_with(
        Config { grace: Duration::from_millis(30), ..config() },
        Stuck,
        |_| {},
        |_, _, cmd| cmd.quit(),
    );
    assert!(!stop.manager_closed);
}
