//! What surrounds a simulated program: timers, intervals, signals, tasks, effects, subscriptions, its end and its restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod sim_script;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use sim_script::{Ask, Msg, Peer, Script, at, ip, ms, script, secs, steady};
use tea_runtime::{
    Close, Cmd, Config, Context, Db, Fault, Load, Never, Program, Session, SessionError, ShardId, Signal,
    StreamEvent, StreamLimits, Sub, TcpPort, Time, UdpPort,
    sim::{HeldEffect, HostConfig, HostId, HostStatus, Out, Sim, TaskAnswer},
};

fn host(
    sim: &mut Sim,
    config: Config,
    update: impl FnMut(&Msg, &Context, &mut Cmd<Script>) + 'static,
) -> HostId<Script> {
    script(sim, HostConfig::new(ip(1)).with_config(config), |_| {}, update)
}

fn told(sim: &Sim, host: HostId<Script>) -> Vec<(u64, String)> {
    sim.model(host).told()
}

fn expect(parts: &[(u64, &str)]) -> Vec<(u64, String)> {
    parts.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
}

#[test]
fn timers_come_once_in_order_and_are_replaced_and_cancelled() {
    let mut sim = steady(1);
    let host = host(&mut sim, Config::default(), |msg, cx, cmd| match msg {
        Msg::Start => {
            cmd.after(1, secs(3), Msg::Timer(1), cx);
            cmd.after(2, secs(1), Msg::Timer(2), cx);
            cmd.after(3, secs(2), Msg::Timer(3), cx);
            cmd.after(4, secs(2), Msg::Timer(4), cx);
            cmd.after(5, secs(9), Msg::Timer(5), cx);
        }
        Msg::Timer(2) => {
            cmd.cancel(3);
            cmd.after(1, secs(4), Msg::Timer(10), cx);
        }
        _ => {}
    });
    sim.run_for(secs(8));
    assert_eq!(told(&sim, host), expect(&[(1000, "Timer(2)"), (2000, "Timer(4)"), (5000, "Timer(10)")]));
    assert_eq!(sim.counters(host).timers_fired, 3);
}

#[test]
fn timers_beyond_the_bound_are_dropped_and_counted() {
    let mut sim = steady(1);
    let config = Config { timers_max: 2, ..Config::default() };
    let host = host(&mut sim, config, |msg, cx, cmd| {
        if let Msg::Start = msg {
            for key in [1, 2, 3, 1] {
                cmd.after(key, secs(u64::from(key)), Msg::Timer(key), cx);
            }
        }
    });
    sim.run_for(secs(5));
    assert_eq!(told(&sim, host), expect(&[(1000, "Timer(1)"), (2000, "Timer(2)")]));
    assert_eq!(sim.counters(host).timers_dropped, 1);
}

#[test]
fn intervals_tick_from_their_subscription_to_its_end() {
    let mut sim = steady(1);
    let on = Rc::new(Cell::new(true));
    let wanted = Rc::clone(&on);
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        move |sub| {
            if wanted.get() {
                sub.every(7, ms(400), Msg::Tick);
            }
        },
        move |msg, _, cmd| {
            if matches!(msg, Msg::Tick(_, now) if now.since_start() >= secs(1)) {
                on.set(false);
                cmd.resubscribe();
            }
        },
    );
    sim.run_for(secs(5));
    let ticks = [(400, "Tick(7, 400ms)"), (800, "Tick(7, 800ms)"), (1200, "Tick(7, 1.2s)")];
    assert_eq!(told(&sim, host), expect(&ticks));
}

#[test]
#[should_panic(expected = "the subscriptions changed without cmd.resubscribe()")]
fn subscriptions_that_change_unasked_are_found() {
    let mut sim = steady(1);
    let on = Rc::new(Cell::new(false));
    let wanted = Rc::clone(&on);
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        move |sub| {
            if wanted.get() {
                sub.udp(1, UdpPort::new(at(1, 1)), Msg::Datagram);
            }
        },
        move |msg, _, _| on.set(matches!(msg, Msg::Go)),
    );
    sim.send(host, Msg::Go);
    sim.run_for(secs(1));
}

#[test]
fn a_changed_subscription_restarts_and_a_message_to_the_own_shard_comes() {
    let mut sim = steady(1);
    let port = Rc::new(Cell::new(1));
    let wanted = Rc::clone(&port);
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        move |sub| {
            sub.udp(1, UdpPort::new(at(1, wanted.get())), Msg::Datagram);
            sub.events(2, |_, event| Msg::Event(event));
        },
        move |msg, _, cmd| match msg {
            Msg::Go => cmd.to_shard(ShardId::default(), Msg::Timer(9)),
            Msg::Timer(9) => {
                port.set(2);
                cmd.resubscribe();
                cmd.to_shard(ShardId(3), Msg::Timer(1));
            }
            _ => {}
        },
    );
    sim.run_for(secs(1));
    assert_eq!(sim.local_addr(host, 1), Some(at(1, 1)));
    sim.send(host, Msg::Go);
    sim.run_for(secs(1));
    assert_eq!(sim.local_addr(host, 1), Some(at(1, 2)));
    let expected = [
        (0, "Event(Ready { key: 1, local: 10.0.0.1:1 })"),
        (1000, "Go"),
        (1000, "Timer(9)"),
        (1000, "Event(Ready { key: 1, local: 10.0.0.1:2 })"),
    ];
    assert_eq!(told(&sim, host), expect(&expected));
    assert_eq!(sim.counters(host).shard_messages_dropped, 1);
}

#[test]
fn signals_come_as_messages_and_end_a_program_that_does_not_want_them() {
    let mut sim = steady(1);
    let wants = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |sub| sub.signals(1, |_, signal| Msg::Signal(signal)),
        |_, _, _| {},
    );
    let ignores = script(&mut sim, HostConfig::new(ip(2)), |_| {}, |_, _, _| {});
    sim.run_for(secs(1));
    sim.signal(wants, Signal::Hangup);
    sim.signal(wants, Signal::Interrupt);
    sim.signal(ignores, Signal::Terminate);
    sim.run_for(secs(1));
    assert_eq!(told(&sim, wants), expect(&[(1000, "Signal(Hangup)"), (1000, "Signal(Interrupt)")]));
    assert_eq!(sim.status(wants), HostStatus::Running);
    let killed = |at, by| HostStatus::Killed { at: Time::from(secs(at)), by: Some(by) };
    assert_eq!(sim.status(ignores), killed(1, Signal::Terminate));
    sim.signal(wants, Signal::Interrupt);
    sim.run_for(secs(1));
    assert_eq!(sim.status(wants), killed(2, Signal::Interrupt));
}

#[test]
fn tasks_run_where_they_stand_and_their_panics_are_faults() {
    let mut sim = steady(1);
    let host = host(&mut sim, Config::default(), |msg, _, cmd| {
        if let Msg::Start = msg {
            cmd.task("sum", async { (1 + 1).to_string() }, Msg::Task);
            cmd.task(
                "yields",
                async {
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    "done".to_owned()
                },
                Msg::Task,
            );
            cmd.task("broken", async { panic!("no {}", "way") }, Msg::Task);
        }
    });
    sim.run_for(secs(1));
    let mut texts: Vec<String> = told(&sim, host).into_iter().map(|(_, text)| text).collect();
    texts.sort();
    assert_eq!(texts, ["Task(Err(Panicked(\"no way\")))", "Task(Ok(\"2\"))", "Task(Ok(\"done\"))"]);
    assert!(told(&sim, host).iter().all(|(at, _)| (1..5).contains(at)));
    assert_eq!((sim.counters(host).tasks_started, sim.counters(host).tasks_panicked), (3, 1));
}

#[test]
#[should_panic(expected = "the task \"stuck\" waits for something outside the simulation")]
fn a_task_that_waits_for_the_outside_is_named() {
    let mut sim = steady(1);
    host(&mut sim, Config::default(), |msg, _, cmd| {
        if let Msg::Start = msg {
            cmd.task("stuck", std::future::pending::<String>(), Msg::Task);
        }
    });
    sim.run_for(secs(1));
}

#[test]
fn a_test_answers_tasks_by_their_label() {
    let mut sim = steady(1);
    let host = host(&mut sim, Config { tasks_max: 3, ..Config::default() }, |msg, _, cmd| match msg {
        Msg::Start => {
            for (key, label) in [(1, "resolve"), (2, "fail"), (3, "hang"), (4, "resolve")] {
                cmd.task_as(key, label, std::future::pending::<String>(), Msg::Task);
            }
        }
        // The place of the one that hangs.
        Msg::Go => {
            cmd.cancel(3);
            cmd.task("resolve", std::future::pending::<String>(), Msg::Task);
        }
        _ => {}
    });
    let mut asked = 0;
    sim.on_task(host, "resolve", move |_| {
        asked += 1;
        TaskAnswer::Done(secs(2), format!("address {asked}"))
    });
    sim.on_task(host, "fail", |_| TaskAnswer::<String>::Failed(secs(1), Fault::Timeout));
    sim.on_task(host, "hang", |_| TaskAnswer::<String>::Never);
    sim.run_for(secs(60));
    sim.send(host, Msg::Go);
    sim.run_for(secs(60));
    let expected = [
        (0, "Task(Err(Overload))"),
        (1000, "Task(Err(Timeout))"),
        (2000, "Task(Ok(\"address 1\"))"),
        (60_000, "Go"),
        (62_000, "Task(Ok(\"address 2\"))"),
    ];
    assert_eq!(told(&sim, host), expect(&expected));
    assert_eq!((sim.counters(host).tasks_started, sim.counters(host).tasks_refused), (4, 1));
}

#[test]
fn a_cancelled_or_replaced_task_answers_nothing() {
    let mut sim = steady(1);
    let host = host(&mut sim, Config::default(), |msg, _, cmd| {
        if let Msg::Start = msg {
            cmd.task_as(1, "first", async { "first".to_owned() }, Msg::Task);
            cmd.task_as(1, "second", async { "second".to_owned() }, Msg::Task);
            cmd.task_as(2, "third", async { "third".to_owned() }, Msg::Task);
            cmd.cancel(2);
        }
    });
    sim.run_for(secs(1));
    let texts: Vec<String> = told(&sim, host).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["Task(Ok(\"second\"))"]);
}

#[test]
fn effects_are_answered_late_or_never_and_refused_when_their_lane_is_full() {
    let mut sim = steady(1);
    let host = host(&mut sim, Config { effects_max: 2, ..Config::default() }, |msg, cx, cmd| match msg {
        Msg::Start => ["slow", "hang", "too many"].map(Ask).into_iter().for_each(|ask| cmd.perform(ask)),
        Msg::Answer(text) if text == "slow" => {
            assert_eq!(cx.load, Load { effects: 128, ..Load::default() });
            // Dropped at once without an answer, so there is room for one more.
            cmd.perform(Ask("forget"));
            cmd.perform(Ask("quick"));
        }
        _ => {}
    });
    let held: Rc<RefCell<Vec<HeldEffect>>> = Rc::default();
    let holding = Rc::clone(&held);
    sim.on_effect(host, move |Ask(question), cx| match question {
        "slow" => cx.answer_after(secs(3), Msg::Answer("slow".to_owned())),
        "quick" => cx.answer(Msg::Answer(format!("at {:?}", cx.now()))),
        "hang" => holding.borrow_mut().push(cx.hold()),
        _ => {}
    });
    sim.run_for(secs(10));
    let hung = held.borrow()[0];
    assert!(sim.answer(host, hung, Msg::Answer("at last".to_owned())));
    assert!(!sim.answer(host, hung, Msg::Answer("again".to_owned())));
    sim.run_for(secs(1));
    let expected = [
        (0, "Refused(Ask(\"too many\"), Overload)"),
        (3000, "Answer(\"slow\")"),
        (3000, "Answer(\"at 3s\")"),
        (10_000, "Answer(\"at last\")"),
    ];
    assert_eq!(told(&sim, host), expect(&expected));
    assert_eq!((sim.counters(host).effects_started, sim.counters(host).effects_refused), (4, 1));
}

#[test]
#[should_panic(expected = "nobody answers: use Sim::on_effect")]
fn effects_without_a_handler_stop_the_simulation() {
    let mut sim = steady(1);
    host(&mut sim, Config::default(), |msg, _, cmd| {
        if let Msg::Start = msg {
            cmd.perform(Ask("anybody?"));
        }
    });
    sim.run_for(secs(1));
}

/// A program that stores a number each second and counts what became of it.
#[derive(Default)]
struct Storing {
    stored: Vec<u64>,
    unavailable: u32,
    refused: u32,
}

#[derive(Debug)]
struct Store(u64);

struct Client;

impl Session for Store {
    type Client = Client;
    type Output = u64;

    async fn run(self, _: &mut Client) -> Result<u64, SessionError> {
        Ok(self.0)
    }
}

#[derive(Debug)]
enum Stored {
    Tick,
    Result(Result<u64, SessionError>),
}

impl Program for Storing {
    type Flags = ();
    type Msg = Stored;
    type Key = u8;
    type Effect = Db<Stored, Client>;

    fn init((): (), _: &Context, _: &mut Cmd<Self>) -> Self {
        Self::default()
    }

    fn update(&mut self, msg: Stored, cx: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            Stored::Tick => cmd.perform(Db::new(Store(cx.now.since_start().as_secs()), Stored::Result)),
            Stored::Result(Ok(row)) => self.stored.push(row),
            Stored::Result(Err(SessionError::Refused(_))) => self.refused += 1,
            Stored::Result(Err(error)) => {
                assert!(error.is_transient());
                self.unavailable += 1;
            }
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.every(1, secs(1), |_, _| Stored::Tick);
    }
}

#[test]
fn database_sessions_are_answered_by_a_fake_that_may_fail_and_hang() {
    let mut sim = steady(1);
    let config = Config { effects_max: 4, ..Config::default() };
    let host = sim.host::<Storing>(HostConfig::new(ip(1)).with_config(config), || ());
    sim.on_effect(host, |db, cx| {
        let answer = match cx.now().since_start().as_secs() {
            0..10 => db.answer(|Store(row): &Store| Ok(row * 10)).unwrap(),
            10..20 => db.fail(SessionError::Unavailable("down".to_owned())),
            _ => {
                cx.hold();
                return;
            }
        };
        let delay = cx.rng().between(&(ms(1)..ms(20)));
        cx.answer_after(delay, answer);
    });
    sim.run_for(secs(30));
    let model = sim.model(host);
    assert_eq!(model.stored, (1..10).map(|second| second * 10).collect::<Vec<_>>());
    // Of 20 to 30 s four hang and the lane is full.
    assert_eq!((model.unavailable, model.refused), (10, 7));
}

#[test]
fn quitting_finishes_what_was_accepted_and_starts_nothing_new() {
    let mut sim = steady(1);
    let received = Rc::new(RefCell::new(Vec::new()));
    let noting = Rc::clone(&received);
    sim.responder(
        ip(2),
        Peer(move |_, event, _: &mut Out<'_>| match event {
            StreamEvent::Data(bytes) => noting.borrow_mut().extend_from_slice(&bytes),
            StreamEvent::Closed(reason) => {
                noting.borrow_mut().extend_from_slice(format!(" {reason:?}").as_bytes());
            }
            _ => {}
        }),
    );
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |sub| {
            sub.udp(1, UdpPort::new(at(1, 1)), Msg::Datagram);
            sub.listen(2, TcpPort::new(at(1, 80)), Msg::Incoming);
            sub.every(3, secs(1), Msg::Tick);
        },
        |msg, cx, cmd| match msg {
            Msg::Start => cmd.connect(5, at(2, 80), StreamLimits::default(), Msg::Stream),
            Msg::Go => {
                cmd.after(4, secs(2), Msg::Timer(4), cx);
                cmd.perform(Ask("save"));
                cmd.write(5, |out| out.extend_from_slice(b"goodbye"));
                cmd.quit();
            }
            Msg::Answer(_) => {
                cmd.perform(Ask("more"));
                cmd.task("late", async { String::new() }, Msg::Task);
                cmd.connect(6, at(2, 80), StreamLimits::default(), Msg::Stream);
                cmd.after(4, secs(2), Msg::Timer(4), cx);
            }
            _ => {}
        },
    );
    sim.on_effect(host, |_, cx| cx.answer_after(secs(3), Msg::Answer("saved".to_owned())));
    sim.run_for(ms(500));
    sim.send(host, Msg::Go);
    sim.run_for(ms(1));
    assert_eq!((sim.status(host), sim.local_addr(host, 1)), (HostStatus::Draining, None));
    sim.run_for(secs(60));
    let opened = "Stream(5, Opened { local: 10.0.0.1:32768, peer: 10.0.0.2:80 })";
    let expected = [
        (20, opened),
        (500, "Go"),
        (500, "Stream(5, Closed(Stopping))"),
        (3500, "Answer(\"saved\")"),
        (3500, "Refused(Ask(\"more\"), Closed)"),
        (3500, "Task(Err(Closed))"),
        (3500, "Stream(6, Closed(Stopping))"),
    ];
    assert_eq!(told(&sim, host), expect(&expected));
    assert_eq!(*received.borrow(), b"goodbye Eof");
    assert_eq!(sim.status(host), HostStatus::Quit { at: Time::from(ms(3500)), abandoned: 0 });
    assert_eq!(sim.connections(), 0);
}

#[test]
fn the_grace_period_ends_what_never_ends_by_itself() {
    let mut sim = steady(1);
    let config = Config { grace: secs(5), ..Config::default() };
    let host = host(&mut sim, config, |msg, _, cmd| {
        if let Msg::Start = msg {
            cmd.perform(Ask("hang"));
            cmd.quit();
        }
    });
    sim.on_effect(host, |_, cx| {
        cx.hold();
    });
    sim.run_for(secs(60));
    assert_eq!(sim.status(host), HostStatus::Quit { at: Time::from(secs(5)), abandoned: 1 });
}

/// Counts ticks, and keeps them on a disk that outlives it.
struct Counting {
    disk: Rc<Cell<u32>>,
    from: u32,
    ticks: u32,
}

impl Program for Counting {
    type Flags = Rc<Cell<u32>>;
    type Msg = ();
    type Key = u8;
    type Effect = Never;

    fn init(disk: Self::Flags, _: &Context, cmd: &mut Cmd<Self>) -> Self {
        let from = disk.get();
        cmd.connect(9, at(2, 80), StreamLimits::default(), |_, _| ());
        cmd.close(9, Close::Reset);
        Self { disk, from, ticks: 0 }
    }

    fn update(&mut self, (): (), _: &Context, _: &mut Cmd<Self>) {
        self.ticks += 1;
        self.disk.set(self.from + self.ticks);
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.every(1, secs(1), |_, _| ());
    }
}

#[test]
fn a_crashed_host_is_silent_and_a_restarted_one_starts_from_its_flags() {
    let mut sim = steady(1);
    let disk = Rc::new(Cell::new(0));
    let flags = Rc::clone(&disk);
    let host = sim.host::<Counting>(HostConfig::new(ip(1)), move || Rc::clone(&flags));
    sim.run_for(Duration::from_millis(5500));
    sim.crash(host);
    assert_eq!(sim.status(host), HostStatus::Crashed { at: Time::from(ms(5500)) });
    sim.run_for(secs(10));
    assert_eq!((sim.model(host).ticks, disk.get()), (5, 5));
    sim.restart(host);
    assert_eq!(sim.status(host), HostStatus::Running);
    sim.run_for(secs(3));
    assert_eq!((sim.model(host).from, sim.model(host).ticks, disk.get()), (5, 3, 8));
    sim.restart_with(host, Rc::new(Cell::new(100)));
    sim.run_for(secs(1));
    assert_eq!((sim.model(host).from, sim.model(host).ticks, disk.get()), (100, 1, 8));
}

#[test]
fn a_restarted_program_hears_nothing_of_its_former_life() {
    let mut sim = steady(1);
    let host = host(&mut sim, Config::default(), |msg, cx, cmd| {
        if let Msg::Start = msg {
            let life = cx.now.since_start().as_secs() as u32;
            cmd.after(life, secs(5), Msg::Timer(life), cx);
            cmd.task("work", async move { format!("task of {life}") }, Msg::Task);
            cmd.perform(Ask("x"));
        }
    });
    sim.on_effect(host, |_, cx| {
        let life = cx.now();
        cx.answer_after(secs(2), Msg::Answer(format!("of {life:?}")));
    });
    sim.on_task(host, "work", |_| TaskAnswer::Done(secs(3), "worked".to_owned()));
    sim.run_for(secs(1));
    sim.restart(host);
    sim.run_for(secs(60));
    let expected = [(3000, "Answer(\"of 1s\")"), (4000, "Task(Ok(\"worked\"))"), (6000, "Timer(1)")];
    assert_eq!(told(&sim, host), expect(&expected));
}
