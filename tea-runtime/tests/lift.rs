//! A program made of two children of one kind and its own part, on real sockets: each child's keys and messages are its
//! own, whatever it uses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::{net::SocketAddr, time::Duration};

use tea_runtime::{
    Close, Cmd, Config, Context, Datagram, Db, Effect, EffectFrom, Fault, Incoming, Manager, Op, Program,
    Reply, Runtime, Session, SessionError, ShardId, StreamEvent, StreamLimits, Sub, SubEvent, TcpPort, Time,
    UdpPort, Wrap,
};

/// Uses one of everything, and logs what comes.
struct Child {
    name: &'static str,
    log: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Port,
    Listener,
    Clock,
    Events,
    Timer,
    Cancelled,
    Task,
    CancelledTask,
    Call,
    Answer,
}

#[derive(Debug)]
enum Msg {
    Datagram(Datagram),
    Incoming(Incoming),
    Tick,
    Event(SubEvent<Key>),
    Timer(Key),
    Task(Result<u32, Fault>),
    Stream(Key, StreamEvent),
    Stored(Result<String, SessionError>),
    Own,
}

/// The connection of a database that does not exist.
struct Client;

#[derive(Debug)]
struct Store(&'static str);

impl Session for Store {
    type Client = Client;
    type Output = String;

    async fn run(self, _: &mut Client) -> Result<String, SessionError> {
        Ok(format!("stored {}", self.0))
    }
}

const STEPS: [&str; 8] = ["answer", "datagram", "event", "own", "stored", "task", "tick", "timer"];

impl Child {
    fn note(&mut self, text: &str) {
        self.log.push(text.to_owned());
    }

    /// All of it came, each once; ticks may come more often.
    fn is_done(&self) -> bool {
        STEPS.iter().all(|step| self.log.iter().any(|line| line == step))
    }
}

impl Program for Child {
    type Flags = &'static str;
    type Msg = Msg;
    type Key = Key;
    type Effect = Db<Msg, Client>;

    fn init(name: &'static str, cx: &Context, cmd: &mut Cmd<Self>) -> Self {
        cmd.after(Key::Timer, Duration::from_millis(1), Msg::Timer(Key::Timer), cx);
        cmd.after(Key::Cancelled, Duration::from_millis(2), Msg::Timer(Key::Cancelled), cx);
        cmd.cancel(Key::Cancelled);
        cmd.task_as(Key::Task, "answers", async { 7 }, Msg::Task);
        cmd.task_as(Key::CancelledTask, "cancelled", async { 8 }, Msg::Task);
        cmd.cancel(Key::CancelledTask);
        cmd.perform(Db::new(Store(name), Msg::Stored));
        cmd.to_shard(ShardId(0), Msg::Own);
        Self { name, log: Vec::new() }
    }

    fn update(&mut self, msg: Msg, _: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            Msg::Event(SubEvent::Ready { key: Key::Port, local }) => {
                self.note("event");
                cmd.send(Key::Port, local, |out| out.extend_from_slice(self.name.as_bytes()));
            }
            Msg::Event(SubEvent::Ready { key: Key::Listener, local }) => {
                cmd.connect(Key::Call, local, StreamLimits::default(), Msg::Stream);
                cmd.write(Key::Call, |out| out.extend_from_slice(self.name.as_bytes()));
            }
            Msg::Event(event) => panic!("{}: {event:?}", self.name),
            Msg::Datagram(datagram) => {
                assert_eq!(datagram.payload(), self.name.as_bytes());
                self.note("datagram");
            }
            Msg::Incoming(incoming) => {
                cmd.accept(Key::Answer, incoming, StreamLimits::default(), Msg::Stream);
            }
            Msg::Stream(Key::Answer, StreamEvent::Data(bytes)) => {
                assert_eq!(bytes, self.name.as_bytes());
                self.note("answer");
                cmd.close(Key::Answer, Close::Reset);
            }
            Msg::Stream(Key::Call | Key::Answer, _) => {}
            Msg::Tick => self.note("tick"),
            Msg::Timer(Key::Timer) => self.note("timer"),
            Msg::Task(Ok(7)) => self.note("task"),
            Msg::Stored(Ok(text)) => {
                assert_eq!(text, format!("stored {}", self.name));
                self.note("stored");
            }
            Msg::Own => self.note("own"),
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        sub.udp(Key::Port, UdpPort::new(any), |_, datagram| Msg::Datagram(datagram));
        sub.listen(Key::Listener, TcpPort::new(any), |_, incoming| Msg::Incoming(incoming));
        sub.every(Key::Clock, Duration::from_millis(3), |_, _| Msg::Tick);
        sub.events(Key::Events, |_, event| Msg::Event(event));
    }
}

struct Parent {
    children: [Child; 2],
    ready: Vec<ParentKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum ParentKey {
    Child(usize, Key),
    Events,
}

enum ParentMsg {
    Child(usize, Msg),
    Event(SubEvent<ParentKey>),
}

/// The parent's effects are an enum: the children's database and one of its own.
enum ParentEffect {
    Database(Db<ParentMsg, Client>),
    Beep,
}

impl Effect<ParentMsg> for ParentEffect {
    fn refused(self, fault: Fault) -> Option<ParentMsg> {
        match self {
            Self::Database(db) => db.refused(fault),
            Self::Beep => None,
        }
    }
}

impl EffectFrom<Db<Msg, Client>, Msg, ParentMsg> for ParentEffect {
    fn lift(child: Db<Msg, Client>, wrap: impl Wrap<Msg, ParentMsg>) -> Self {
        Self::Database(child.map(wrap))
    }
}

impl Program for Parent {
    type Flags = ();
    type Msg = ParentMsg;
    type Key = ParentKey;
    type Effect = ParentEffect;

    fn init((): (), cx: &Context, cmd: &mut Cmd<Self>) -> Self {
        cmd.perform(ParentEffect::Beep);
        let mut child = |which, name| {
            cmd.lift(
                move |msg| ParentMsg::Child(which, msg),
                move |key| ParentKey::Child(which, key),
                |cmd| Child::init(name, cx, cmd),
            )
        };
        Self { children: [child(0, "first"), child(1, "second")], ready: Vec::new() }
    }

    fn update(&mut self, msg: ParentMsg, cx: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            ParentMsg::Child(which, msg) => {
                let child = &mut self.children[which];
                cmd.lift(
                    move |msg| ParentMsg::Child(which, msg),
                    move |key| ParentKey::Child(which, key),
                    |cmd| child.update(msg, cx, cmd),
                );
                if self.children.iter().all(Child::is_done) {
                    cmd.quit();
                }
            }
            ParentMsg::Event(event) => self.ready.push(event.key()),
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        for (which, child) in self.children.iter().enumerate() {
            sub.lift(
                move |msg| ParentMsg::Child(which, msg),
                move |key| ParentKey::Child(which, key),
                |sub| child.subscriptions(sub),
            );
        }
        sub.events(ParentKey::Events, |_, event| ParentMsg::Event(event));
    }
}

/// Answers sessions without a database.
#[derive(Default)]
struct Fake {
    beeps: std::rc::Rc<std::cell::Cell<u32>>,
}

impl Manager<Parent> for Fake {
    fn perform(&mut self, effect: ParentEffect, reply: Reply<ParentMsg>) {
        match effect {
            ParentEffect::Database(db) => {
                match db.answer::<Store>(|Store(name)| Ok(format!("stored {name}"))) {
                    Ok(msg) => reply.send(msg),
                    Err(db) => panic!("unknown session {db:?}"),
                }
            }
            ParentEffect::Beep => self.beeps.set(self.beeps.get() + 1),
        }
    }
}

#[test]
fn two_children_of_one_kind_live_side_by_side_and_never_meet() {
    let fake = Fake::default();
    let beeps = std::rc::Rc::clone(&fake.beeps);
    let parent: Parent = Runtime::new(Config::default()).manager(fake).run_blocking(()).unwrap();
    for child in &parent.children {
        let mut once: Vec<&str> =
            child.log.iter().map(String::as_str).filter(|step| *step != "tick").collect();
        once.sort_unstable();
        let expected: Vec<&str> = STEPS.into_iter().filter(|step| *step != "tick").collect();
        assert_eq!(once, expected, "{}", child.name);
    }
    // The parent hears of the subscriptions of both, under its own keys.
    let mut ready = parent.ready;
    ready.sort_unstable();
    let both =
        [0, 1].map(|child| [ParentKey::Child(child, Key::Port), ParentKey::Child(child, Key::Listener)]);
    assert_eq!(ready, both.concat());
    assert_eq!(beeps.get(), 1);
}

#[test]
fn what_a_child_encodes_lies_in_the_parents_buffer_where_the_operation_says() {
    let cx = Context { now: Time::ZERO, shard: ShardId(0), load: tea_runtime::Load::default() };
    let mut cmd = Cmd::<Parent>::default();
    let to = SocketAddr::from(([127, 0, 0, 1], 9));
    cmd.send(ParentKey::Events, to, |out| out.extend_from_slice(b"parent"));
    let mut child = Child { name: "child", log: Vec::new() };
    cmd.lift(
        |msg| ParentMsg::Child(1, msg),
        |key| ParentKey::Child(1, key),
        |cmd| child.update(Msg::Event(SubEvent::Ready { key: Key::Port, local: to }), &cx, cmd),
    );
    cmd.send(ParentKey::Events, to, |out| out.extend_from_slice(b"again"));
    let sent: Vec<_> = cmd
        .ops()
        .iter()
        .map(|op| match op {
            Op::Send { port, payload, .. } => (*port, cmd.payload(payload)),
            other => panic!("{other:?}"),
        })
        .collect();
    let child = ParentKey::Child(1, Key::Port);
    assert_eq!(
        sent,
        [(ParentKey::Events, &b"parent"[..]), (child, &b"child"[..]), (ParentKey::Events, &b"again"[..])]
    );
}
