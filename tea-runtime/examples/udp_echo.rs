//! The smallest UDP program: sends every datagram back to where it came from.
//!
//! `cargo run -p tea-runtime --example udp_echo` asks itself once and prints the answer;
//! `cargo run -p tea-runtime --example udp_echo -- 127.0.0.1:7007` serves until Ctrl-C.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::net::SocketAddr;

use tea_runtime::{
    Cmd, Config, Context, Datagram, Never, Program, RunError, Runtime, Signal, Sub, SubEvent, UdpPort,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Echo,
    Asker,
    Ports,
    Stop,
}

enum Msg {
    Question(Datagram),
    Answer(Datagram),
    Port(SubEvent<Key>),
    Stop(Signal),
}

struct Flags {
    bind: SocketAddr,
    ask_yourself: bool,
}

struct Echo {
    flags: Flags,
    echoed: u64,
    answer: Option<String>,
}

impl Program for Echo {
    type Flags = Flags;
    type Msg = Msg;
    type Key = Key;
    type Effect = Never;

    fn init(flags: Flags, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { flags, echoed: 0, answer: None }
    }

    fn update(&mut self, msg: Msg, _: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            Msg::Question(datagram) => {
                self.echoed += 1;
                cmd.send(Key::Echo, datagram.from(), |out| out.extend_from_slice(datagram.payload()));
            }
            Msg::Port(SubEvent::Ready { key: Key::Echo, local }) if self.flags.ask_yourself => {
                cmd.send(Key::Asker, local, |out| out.extend_from_slice(b"is anybody there?"));
            }
            Msg::Answer(datagram) => {
                let text = String::from_utf8_lossy(datagram.payload());
                self.answer = Some(format!("{} answers: {text}", datagram.from()));
                cmd.quit();
            }
            Msg::Port(SubEvent::Failed { .. }) | Msg::Stop(Signal::Interrupt | Signal::Terminate) => {
                cmd.quit();
            }
            Msg::Port(_) | Msg::Stop(_) => {}
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.udp(Key::Echo, UdpPort::new(self.flags.bind), |_, datagram| Msg::Question(datagram));
        if self.flags.ask_yourself {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            sub.udp(Key::Asker, UdpPort::new(any), |_, datagram| Msg::Answer(datagram));
        }
        sub.events(Key::Ports, |_, event| Msg::Port(event));
        sub.signals(Key::Stop, |_, signal| Msg::Stop(signal));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let flags = match std::env::args().nth(1) {
        Some(bind) => Flags { bind: bind.parse()?, ask_yourself: false },
        None => Flags { bind: ([127, 0, 0, 1], 0).into(), ask_yourself: true },
    };
    println!("{}", run(flags)?);
    Ok(())
}

fn run(flags: Flags) -> Result<String, RunError> {
    let echo: Echo = Runtime::new(Config::default()).run_blocking(flags)?;
    Ok(echo.answer.unwrap_or_else(|| format!("{} datagrams echoed", echo.echoed)))
}
