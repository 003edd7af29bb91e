//! A program whose behaviour is closures, so that each test reads as one piece.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::time::Duration;

use tea_runtime::{
    BoxFuture, Cmd, Config, Context, Counters, Datagram, Effect, Fault, Incoming, Manager, Observer, Program,
    Reply, Runtime, ShardId, Signal, StopReport, StreamEvent, Sub, SubEvent, Time, TurnReport,
};

#[derive(Debug)]
pub enum Msg {
    /// The first message, sent by `init`.
    Start,
    Datagram(u32, Datagram),
    Incoming(u32, Incoming),
    Stream(u32, StreamEvent),
    Timer(u32),
    Tick(u32, Time),
    Event(SubEvent<u32>),
    Signal(Signal),
    Task(Result<String, Fault>),
    Answer(String),
    Refused(Ask, Fault),
}

/// The effect: a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask(pub &'static str);

impl Effect<Msg> for Ask {
    fn refused(self, fault: Fault) -> Option<Msg> {
        Some(Msg::Refused(self, fault))
    }
}

pub type Update = Box<dyn FnMut(Msg, &Context, &mut Cmd<Script>)>;
pub type Subscriptions = Box<dyn Fn(&mut Sub<Script>)>;

pub struct Script {
    update: Update,
    subscriptions: Subscriptions,
}

impl Program for Script {
    type Flags = (Update, Subscriptions);
    type Msg = Msg;
    type Key = u32;
    type Effect = Ask;

    fn init((update, subscriptions): Self::Flags, _: &Context, cmd: &mut Cmd<Self>) -> Self {
        cmd.to_shard(ShardId::default(), Msg::Start);
        Self { update, subscriptions }
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        (self.update)(msg, cx, cmd);
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        (self.subscriptions)(sub);
    }
}

/// Forgets every question.
pub struct Deaf;

impl Manager<Script> for Deaf {
    fn perform(&mut self, _: Ask, _: Reply<Msg>) {}
}

/// Answers in a task, after as many turns of the scheduler as the question has letters.
#[derive(Default)]
pub struct Slow {
    tasks: tokio::task::JoinSet<()>,
}

impl Manager<Script> for Slow {
    fn perform(&mut self, Ask(question): Ask, reply: Reply<Msg>) {
        self.tasks.spawn(async move {
            for _ in 0..question.len() {
                tokio::task::yield_now().await;
            }
            reply.send(Msg::Answer(format!("{question}!")));
        });
    }

    fn close(&mut self) -> BoxFuture<()> {
        let mut tasks = std::mem::take(&mut self.tasks);
        Box::pin(async move { while tasks.join_next().await.is_some() {} })
    }
}

/// Keeps what the operator sees at the end.
#[derive(Default)]
pub struct Seen {
    pub stop: std::rc::Rc<std::cell::RefCell<Option<StopReport>>>,
}

impl Observer for Seen {
    fn turn(&mut self, turn: &TurnReport<'_>) {
        for lane in turn.lanes {
            assert!(lane.depth <= lane.capacity, "a lane is beyond its bound: {turn:?}");
        }
    }

    fn stopped(&mut self, stop: &StopReport) {
        *self.stop.borrow_mut() = Some(stop.clone());
    }
}

/// Runs a script on real sockets until it quits.
pub fn run(
    config: Config,
    subscriptions: impl Fn(&mut Sub<Script>) + 'static,
    update: impl FnMut(Msg, &Context, &mut Cmd<Script>) + 'static,
) -> Counters {
    run_with(config, Deaf, subscriptions, update).counters
}

/// As [`run`], with a manager.
pub fn run_with(
    config: Config,
    manager: impl Manager<Script>,
    subscriptions: impl Fn(&mut Sub<Script>) + 'static,
    update: impl FnMut(Msg, &Context, &mut Cmd<Script>) + 'static,
) -> StopReport {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    event_loop.block_on(run_async(config, manager, subscriptions, update))
}

/// As [`run_with`], on the runtime of the caller.
pub async fn run_async(
    config: Config,
    manager: impl Manager<Script>,
    subscriptions: impl Fn(&mut Sub<Script>) + 'static,
    update: impl FnMut(Msg, &Context, &mut Cmd<Script>) + 'static,
) -> StopReport {
    let seen = Seen::default();
    let stop = std::rc::Rc::clone(&seen.stop);
    let flags: <Script as Program>::Flags = (Box::new(update), Box::new(subscriptions));
    let run = Runtime::new(config).manager(manager).observer(seen).run::<Script>(flags);
    match tokio::time::timeout(PATIENCE, run).await {
        Ok(Ok(_)) => stop.borrow_mut().take().expect("the observer hears of the end"),
        Ok(Err(error)) => panic!("not run: {error}"),
        Err(_) => panic!("the script did not quit within {PATIENCE:?}"),
    }
}

/// Short delays for retries, so that tests need not wait.
pub fn config() -> Config {
    Config { retry_delay_min: Duration::from_millis(5), ..Config::default() }
}

pub fn loopback(port: u16) -> std::net::SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// No test takes so long unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);
