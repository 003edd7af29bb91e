//! A server that sends each caller a line every 100 ms, and a client that calls it and gives up after a while: TCP in both
//! directions, a timer, an interval, and a program made of two parts.
//!
//! `cargo run -p tea-runtime --example tcp_ticker` ends by itself and prints what the client got.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use tea_runtime::{
    Close, CloseReason, Cmd, Config, Context, Incoming, Never, Program, Runtime, StreamEvent, StreamLimits,
    Sub, SubEvent, TcpPort, Time,
};

/// Sends the time to everybody who is connected.
struct Ticker {
    callers: BTreeSet<u32>,
    called: u32,
    local: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum TickerKey {
    Listener,
    Ports,
    Clock,
    Caller(u32),
}

enum TickerMsg {
    Bound(SubEvent<TickerKey>),
    Call(Incoming),
    Tick(Time),
    Caller(u32, StreamEvent),
}

impl Program for Ticker {
    type Flags = ();
    type Msg = TickerMsg;
    type Key = TickerKey;
    type Effect = Never;

    fn init((): (), _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { callers: BTreeSet::new(), called: 0, local: None }
    }

    fn update(&mut self, msg: TickerMsg, _: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            TickerMsg::Bound(SubEvent::Ready { local, .. }) => self.local = Some(local),
            TickerMsg::Bound(_) => {}
            TickerMsg::Call(incoming) => {
                self.called += 1;
                let limits = StreamLimits { read_bytes_max: 0, ..StreamLimits::default() };
                cmd.accept(TickerKey::Caller(self.called), incoming, limits, |key, event| match key {
                    TickerKey::Caller(caller) => TickerMsg::Caller(caller, event),
                    other => unreachable!("{other:?} is no stream"),
                });
            }
            TickerMsg::Caller(caller, StreamEvent::Opened { .. }) => {
                self.callers.insert(caller);
            }
            TickerMsg::Caller(caller, StreamEvent::Closed(_)) => {
                self.callers.remove(&caller);
            }
            TickerMsg::Caller(..) => {}
            TickerMsg::Tick(now) => {
                for caller in &self.callers {
                    let line = format!("{} ms\n", now.since_start().as_millis());
                    cmd.write(TickerKey::Caller(*caller), |out| out.extend_from_slice(line.as_bytes()));
                }
            }
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        sub.listen(TickerKey::Listener, TcpPort::new(any), |_, incoming| TickerMsg::Call(incoming));
        sub.events(TickerKey::Ports, |_, event| TickerMsg::Bound(event));
        sub.every(TickerKey::Clock, Duration::from_millis(100), |_, now| TickerMsg::Tick(now));
    }
}

/// The whole: the ticker, and a client that listens to it.
struct Demo {
    ticker: Ticker,
    calling: bool,
    received: Vec<u8>,
    end: Option<CloseReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Ticker(TickerKey),
    Call,
    Enough,
}

enum Msg {
    Ticker(TickerMsg),
    Call(StreamEvent),
    Enough,
}

impl Program for Demo {
    type Flags = ();
    type Msg = Msg;
    type Key = Key;
    type Effect = Never;

    fn init((): (), cx: &Context, cmd: &mut Cmd<Self>) -> Self {
        let ticker = cmd.lift(Msg::Ticker, Key::Ticker, |cmd| Ticker::init((), cx, cmd));
        cmd.after(Key::Enough, Duration::from_millis(850), Msg::Enough, cx);
        Self { ticker, calling: false, received: Vec::new(), end: None }
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            Msg::Ticker(msg) => {
                cmd.lift(Msg::Ticker, Key::Ticker, |cmd| self.ticker.update(msg, cx, cmd));
                if let (Some(server), false) = (self.ticker.local, self.calling) {
                    self.calling = true;
                    cmd.connect(Key::Call, server, StreamLimits::default(), |_, event| Msg::Call(event));
                }
            }
            Msg::Call(StreamEvent::Data(bytes)) => self.received.extend_from_slice(&bytes),
            Msg::Call(StreamEvent::Closed(reason)) => {
                self.end = Some(reason);
                cmd.quit();
            }
            Msg::Call(_) => {}
            Msg::Enough => {
                cmd.close(Key::Call, Close::Flush);
                cmd.quit();
            }
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.lift(Msg::Ticker, Key::Ticker, |sub| self.ticker.subscriptions(sub));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let demo: Demo = Runtime::new(Config::default()).run_blocking(())?;
    let received = String::from_utf8_lossy(&demo.received);
    println!("{} lines in 850 ms: {}", received.lines().count(), received.replace('\n', ", "));
    if let Some(reason) = demo.end {
        println!("the server went away: {reason:?}");
    }
    Ok(())
}
