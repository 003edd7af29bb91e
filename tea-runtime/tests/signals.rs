//! Signals, in a process of their own: this test runs itself once more.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use script::{Msg, config, run};
use tea_runtime::Signal;

/// Set in the process that is to get the signals: how it reacts to them.
const ROLE: &str = "TEA_RUNTIME_SIGNAL_TEST";

/// Says "ready", then what it got; `polite` quits at the first interrupt, `stubborn` at none.
#[test]
fn the_process_that_gets_the_signals() {
    let Ok(role) = std::env::var(ROLE) else { return };
    run(
        config(),
        |sub| sub.signals(1, |_, signal| Msg::Signal(signal)),
        move |msg, _, cmd| match msg {
            Msg::Start => println!("\nready"),
            Msg::Signal(signal) => {
                println!("\ngot {signal:?}");
                if role == "polite" && signal != Signal::Hangup {
                    cmd.quit();
                }
            }
            other => panic!("{other:?}"),
        },
    );
    println!("\nquit");
}

fn start(role: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_gets_the_signals", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let lines = output.lines().map_while(Result::ok);
    (child, lines.filter(|line| ["ready", "got", "quit"].iter().any(|word| line.starts_with(word))))
}

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn signals_are_messages_and_no_longer_end_the_process() {
    for (signal, name) in [("INT", "Interrupt"), ("TERM", "Terminate")] {
        let (mut child, mut lines) = start("polite");
        assert_eq!(lines.next().as_deref(), Some("ready"));
        send(&child, "HUP");
        assert_eq!(lines.next().as_deref(), Some("got Hangup"));
        send(&child, signal);
        assert_eq!(lines.next(), Some(format!("got {name}")));
        assert_eq!(lines.next().as_deref(), Some("quit"));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_second_interrupt_ends_the_process_at_once() {
    let (mut child, mut lines) = start("stubborn");
    assert_eq!(lines.next().as_deref(), Some("ready"));
    send(&child, "INT");
    assert_eq!(lines.next().as_deref(), Some("got Interrupt"));
    send(&child, "TERM");
    assert_eq!(lines.next().as_deref(), Some("got Terminate"));
    send(&child, "INT");
    assert_eq!(lines.next(), None);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
