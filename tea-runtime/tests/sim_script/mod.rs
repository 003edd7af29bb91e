//! A program whose behaviour is closures, and responders of a few lines, for tests of the simulator.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use tea_runtime::{
    Cmd, Context, Datagram, Effect, Fault, Incoming, Program, Signal, StreamEvent, Sub, SubEvent, Time,
    sim::{HostConfig, HostId, LinkPolicy, Out, Responder, Sim, SimStream},
};

#[derive(Debug)]
pub enum Msg {
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
    /// From the test.
    Go,
}

/// The effect: a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask(pub &'static str);

impl Effect<Msg> for Ask {
    fn refused(self, fault: Fault) -> Option<Msg> {
        Some(Msg::Refused(self, fault))
    }
}

type Update = Rc<RefCell<dyn FnMut(&Msg, &Context, &mut Cmd<Script>)>>;
type Subscriptions = Rc<dyn Fn(&mut Sub<Script>)>;

/// Keeps what it was told, and when.
pub struct Script {
    update: Update,
    subscriptions: Subscriptions,
    pub log: Vec<(Time, Msg)>,
}

impl Program for Script {
    type Flags = (Update, Subscriptions);
    type Msg = Msg;
    type Key = u32;
    type Effect = Ask;

    fn init((update, subscriptions): Self::Flags, cx: &Context, cmd: &mut Cmd<Self>) -> Self {
        (*update.borrow_mut())(&Msg::Start, cx, cmd);
        Self { update, subscriptions, log: Vec::new() }
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        (*self.update.borrow_mut())(&msg, cx, cmd);
        self.log.push((cx.now, msg));
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        (self.subscriptions)(sub);
    }
}

impl Script {
    /// What it was told, each with its time in milliseconds.
    pub fn told(&self) -> Vec<(u64, String)> {
        self.log.iter().map(|(at, msg)| (at.as_nanos() / 1_000_000, format!("{msg:?}"))).collect()
    }

    /// The payloads of the datagrams that it got.
    pub fn payloads(&self) -> Vec<&[u8]> {
        let payload = |(_, msg): &'_ (Time, Msg)| matches!(msg, Msg::Datagram(..));
        self.log
            .iter()
            .filter(|entry| payload(entry))
            .map(|(_, msg)| match msg {
                Msg::Datagram(_, datagram) => datagram.payload(),
                _ => unreachable!(),
            })
            .collect()
    }

    /// What happened on the stream `key`, with its time in milliseconds.
    pub fn stream(&self, key: u32) -> Vec<(u64, StreamEvent)> {
        let event = |(at, msg): &(Time, Msg)| match msg {
            Msg::Stream(of, event) if *of == key => Some((at.as_nanos() / 1_000_000, event.clone())),
            _ => None,
        };
        self.log.iter().filter_map(event).collect()
    }

    /// The bytes that came on the stream `key`.
    pub fn received(&self, key: u32) -> Vec<u8> {
        let data = |(_, event)| match event {
            StreamEvent::Data(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        self.stream(key).into_iter().flat_map(data).collect()
    }
}

/// Adds a host that runs a script.
pub fn script(
    sim: &mut Sim,
    config: HostConfig,
    subscriptions: impl Fn(&mut Sub<Script>) + 'static,
    update: impl FnMut(&Msg, &Context, &mut Cmd<Script>) + 'static,
) -> HostId<Script> {
    let flags: (Update, Subscriptions) = (Rc::new(RefCell::new(update)), Rc::new(subscriptions));
    sim.host::<Script>(config, move || flags.clone())
}

/// A world in which every link takes 10 ms.
pub fn steady(seed: u64) -> Sim {
    let mut sim = Sim::new(seed);
    sim.set_policy(LinkPolicy::fixed(ms(10)));
    sim
}

pub fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

pub fn at(last: u8, port: u16) -> SocketAddr {
    (ip(last), port).into()
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Sends back what it gets, over UDP and TCP.
pub struct Echo;

impl Responder for Echo {
    fn datagram(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8], out: &mut Out<'_>) {
        out.send(to, from, |buf| buf.extend_from_slice(payload));
    }

    fn accepts(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
        true
    }

    fn stream(&mut self, stream: SimStream, event: StreamEvent, out: &mut Out<'_>) {
        if let StreamEvent::Data(bytes) = event {
            out.write(stream, &bytes);
        }
    }
}

/// Accepts every stream; what it does then is a closure.
pub struct Peer<F>(pub F);

impl<F: FnMut(SimStream, StreamEvent, &mut Out<'_>) + 'static> Responder for Peer<F> {
    fn accepts(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
        true
    }

    fn stream(&mut self, stream: SimStream, event: StreamEvent, out: &mut Out<'_>) {
        (self.0)(stream, event, out);
    }
}
