//! Tasks: bounded, cancellable, and their panics are messages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{cell::RefCell, rc::Rc};

use script::{Deaf, Msg, config, run, run_with};
use tea_runtime::{Cmd, Config, Fault};

fn never(cmd: &mut Cmd<script::Script>, key: u32, text: &'static str) {
    cmd.task_as(
        key,
        "never ends",
        async move {
            std::future::pending::<()>().await;
            text.to_owned()
        },
        Msg::Task,
    );
}

fn say(cmd: &mut Cmd<script::Script>, text: &'static str) {
    cmd.task("say", async move { text.to_owned() }, Msg::Task);
}

#[test]
fn the_result_of_a_task_is_a_message() {
    let counters = run(
        config(),
        |_| {},
        |msg, _, cmd| match msg {
            Msg::Start => say(cmd, "done"),
            Msg::Task(result) => {
                assert_eq!(result, Ok("done".to_owned()));
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
    assert_eq!((counters.tasks_started, counters.tasks_refused), (1, 0));
}

#[test]
fn a_task_that_panics_is_a_fault_with_its_words_and_the_program_goes_on() {
    let counters = run(
        config(),
        |_| {},
        |msg, _, cmd| match msg {
            Msg::Start => cmd.task(
                "panics",
                async {
                    tokio::task::yield_now().await;
                    let number = 7;
                    assert_eq!(number, 8, "this is on purpose");
                    String::new()
                },
                Msg::Task,
            ),
            Msg::Task(Err(Fault::Panicked(text))) => {
                assert!(text.contains("this is on purpose"), "{text}");
                say(cmd, "still here");
            }
            Msg::Task(result) => {
                assert_eq!(result, Ok("still here".to_owned()));
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
    assert_eq!(counters.tasks_panicked, 1);
}

#[test]
fn one_task_more_than_may_run_is_refused_and_the_place_of_a_cancelled_one_is_free_at_once() {
    let counters = run(
        Config { tasks_max: 2, ..config() },
        |_| {},
        |msg, cx, cmd| match msg {
            Msg::Start => {
                never(cmd, 1, "one");
                never(cmd, 2, "two");
                say(cmd, "three");
            }
            Msg::Task(Err(fault)) => {
                assert_eq!((fault, cx.load.tasks), (Fault::Overload, 255));
                // A replacement needs no place of its own.
                never(cmd, 2, "another two");
                cmd.cancel(1);
                say(cmd, "four");
            }
            Msg::Task(Ok(text)) => {
                assert_eq!(text, "four");
                cmd.cancel(2);
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
    assert_eq!((counters.tasks_started, counters.tasks_refused), (4, 1));
}

#[test]
fn a_cancelled_or_replaced_task_answers_nothing() {
    run(config(), |_| {}, {
        let mut answers = Vec::new();
        move |msg, _, cmd| match msg {
            Msg::Start => {
                // Both would answer in the next turn.
                cmd.task_as(1, "replaced", async { "replaced".to_owned() }, Msg::Task);
                cmd.task_as(1, "replacing", async { "replacing".to_owned() }, Msg::Task);
                cmd.task_as(2, "cancelled", async { "cancelled".to_owned() }, Msg::Task);
                cmd.cancel(2);
                say(cmd, "last");
            }
            Msg::Task(Ok(text)) => {
                let last = text == "last";
                answers.push(text);
                if last {
                    assert_eq!(answers, ["replacing", "last"]);
                    cmd.quit();
                }
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_refused_task_that_is_cancelled_before_it_could_be_told_answers_nothing_either() {
    run(Config { tasks_max: 1, ..config() }, |_| {}, {
        let mut refused = Vec::new();
        move |msg, cx, cmd| match msg {
            Msg::Start => {
                never(cmd, 1, "holds the only place");
                never(cmd, 2, "refused, then cancelled");
                cmd.cancel(2);
                never(cmd, 3, "refused");
                cmd.to_shard(cx.shard, Msg::Timer(0));
            }
            Msg::Task(Err(fault)) => refused.push(fault),
            Msg::Timer(_) => {
                assert_eq!(refused, [Fault::Overload]);
                cmd.cancel(1);
                cmd.quit();
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_running_task_is_finished_before_the_program_ends_and_a_new_one_is_refused() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let stop = run_with(config(), Deaf, |_| {}, {
        let told = Rc::clone(&told);
        move |msg, _, cmd| match msg {
            Msg::Start => {
                let slow = async {
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    "slow".to_owned()
                };
                cmd.task("slow", slow, Msg::Task);
                cmd.quit();
            }
            Msg::Task(result) => {
                if result.is_ok() {
                    say(cmd, "too late");
                }
                told.borrow_mut().push(result);
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(*told.borrow(), [Ok("slow".to_owned()), Err(Fault::Closed)]);
    assert_eq!(stop.abandoned, 0);
}
