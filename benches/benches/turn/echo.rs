//! The least that a program can do: sends every datagram back.

use std::net::SocketAddr;

use tea_runtime::{Cmd, Context, Datagram, Never, Program, Sub, UdpPort};

/// Answers with what came.
#[derive(Debug)]
pub(crate) struct Echo {
    ports: u16,
}

impl Program for Echo {
    type Flags = u16;
    type Msg = (u16, Datagram);
    type Key = u16;
    type Effect = Never;

    fn init(ports: u16, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { ports }
    }

    fn update(&mut self, (port, datagram): Self::Msg, _: &Context, cmd: &mut Cmd<Self>) {
        cmd.send(port, datagram.from(), |out| out.extend_from_slice(datagram.payload()));
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        for port in 0..self.ports {
            let bind = SocketAddr::from(([127, 0, 0, 1], port));
            sub.udp(port, UdpPort::new(bind), |port, datagram| (port, datagram));
        }
    }
}
