//! Mistakes of the program itself end the run and say why.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use script::{Msg, config, loopback, run};
use tea_runtime::{Config, NoManager, Program, RunError, Runtime, ShardId, UdpPort};

fn panic_text(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it was to panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

#[test]
fn two_subscriptions_with_one_key_are_an_error() {
    let text = panic_text(|| {
        run(
            config(),
            |sub| {
                sub.every(7, Duration::from_secs(1), Msg::Tick);
                sub.udp(7, UdpPort::new(loopback(0)), Msg::Datagram);
            },
            |_, _, _| {},
        );
    });
    assert_eq!(text, "two subscriptions share the key 7");
}

#[test]
fn subscriptions_that_change_unasked_are_an_error_at_the_message_that_changed_them() {
    let (wanted, changed_at) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(None)));
    let (in_sub, in_update, seen) = (Rc::clone(&wanted), wanted, Rc::clone(&changed_at));
    let text = panic_text(move || {
        run(
            Config { check_subscriptions: true, ..config() },
            move |sub| {
                if in_sub.get() {
                    sub.every(3, Duration::from_secs(1), Msg::Tick);
                }
            },
            move |msg, cx, cmd| match msg {
                Msg::Start => {
                    for number in 0..5 {
                        cmd.to_shard(cx.shard, Msg::Timer(number));
                    }
                }
                Msg::Timer(number) => {
                    in_update.set(number >= 2);
                    seen.set(Some(number));
                }
                other => panic!("{other:?}"),
            },
        );
    });
    assert!(text.contains("without cmd.resubscribe()") && text.contains('3'), "{text}");
    assert_eq!(changed_at.get(), Some(2));
}

#[test]
fn a_panic_in_update_ends_the_run_with_its_own_words() {
    let text = panic_text(|| {
        run(config(), |_| {}, |_, _, _| panic!("out of cheese"));
    });
    assert_eq!(text, "out of cheese");
}

#[test]
fn a_message_to_a_shard_that_does_not_exist_is_dropped_and_counted() {
    let counters = run(
        config(),
        |_| {},
        |msg, cx, cmd| match msg {
            Msg::Start => {
                assert_eq!(cx.shard, ShardId(0));
                cmd.to_shard(ShardId(1), Msg::Timer(1));
                cmd.to_shard(ShardId(0), Msg::Timer(0));
            }
            Msg::Timer(number) => {
                assert_eq!(number, 0);
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
    assert_eq!(counters.shard_messages_dropped, 1);
}

#[test]
fn a_program_that_answers_each_message_to_itself_with_two_more_is_bounded() {
    let counters = run(Config { control_max: 1000, messages_per_turn: 100, ..config() }, |_| {}, {
        let mut messages = 0;
        move |_, cx, cmd| {
            messages += 1;
            if messages == 10_000 {
                cmd.quit();
            }
            // While it stops there must be an end to it.
            if messages < 10_000 {
                cmd.to_shard(cx.shard, Msg::Timer(0));
                cmd.to_shard(cx.shard, Msg::Timer(0));
            }
        }
    });
    assert!(counters.control_dropped >= 8_000, "{}", counters.control_dropped);
}

struct Idle;

impl Program for Idle {
    type Flags = ();
    type Msg = ();
    type Key = u8;
    type Effect = tea_runtime::Never;

    fn init((): (), _: &tea_runtime::Context, cmd: &mut tea_runtime::Cmd<Self>) -> Self {
        cmd.quit();
        Self
    }

    fn update(&mut self, (): (), _: &tea_runtime::Context, _: &mut tea_runtime::Cmd<Self>) {}

    fn subscriptions(&self, _: &mut tea_runtime::Sub<Self>) {}
}

#[test]
fn a_bound_of_zero_is_refused_by_its_name() {
    let config = Config { tasks_max: 0, ..Config::default() };
    let error = Runtime::new(config).manager(NoManager).run_blocking::<Idle>(()).err();
    assert!(matches!(error, Some(RunError::ZeroBound { setting: "tasks_max" })), "{error:?}");
}

#[test]
fn a_program_may_quit_before_anything_happened() {
    Runtime::new(Config::default()).run_blocking::<Idle>(()).unwrap();
}
