//! This project as a server that does nothing else: the runtime on real sockets with a DHT in it.

use std::net::SocketAddr;
use std::time::Duration;

use mainline::{Action, Config, Dht, Limits, Output, Port, PortIndex, VirtualNodeConfig, spread_ids};
use tea_runtime::{Cmd, Context, Datagram, Never, Program, Runtime, Sub, UdpPort};

const SEED: [u8; 32] = [5; 32];

/// How often the DHT does what is due, as in the indexer.
const TICK: Duration = Duration::from_millis(25);

/// Virtual nodes behind the port: as many as the indexer has by default.
const NODES: usize = 8;

/// Serves until the process is ended.
pub(crate) fn serve(bind: SocketAddr, bootstrap: Vec<SocketAddr>) -> Result<(), String> {
    let nodes = spread_ids(NODES, SEED).map(|id| VirtualNodeConfig { id, port: PortIndex(0) }).collect();
    let mut config = Config::new(SEED, vec![Port { local: bind }], nodes);
    config.allow_loopback = true;
    config.bootstrap = bootstrap;
    // The budgets for all remotes together are lifted; those for each remote have no switch.
    config.limits =
        Limits { packets_per_second: 1_000_000, bytes_per_second: 1_000_000_000, ..Limits::server() };
    let runtime = Runtime::new(tea_runtime::Config::default());
    let ended: Result<Serving, _> = runtime.run_blocking(config);
    ended.map(drop).map_err(|error| format!("the server ended: {error}"))
}

struct Serving {
    dht: Dht,
    out: Output,
    bind: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Port,
    Tick,
}

enum Msg {
    Came(Datagram),
    Tick,
}

impl Program for Serving {
    type Flags = Config;
    type Msg = Msg;
    type Key = Key;
    type Effect = Never;

    fn init(config: Config, cx: &Context, _: &mut Cmd<Self>) -> Self {
        let dht = Dht::new(&config, cx.now.since_start()).unwrap_or_else(|error| panic!("no DHT: {error}"));
        Self { dht, out: Output::new(), bind: config.ports[0].local }
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        match msg {
            Msg::Came(datagram) => {
                self.dht.receive(now, PortIndex(0), datagram.from(), datagram.payload(), &mut self.out);
            }
            Msg::Tick => self.dht.tick(now, &mut self.out),
        }
        for Action::Send { to, payload, .. } in self.out.actions() {
            cmd.send(Key::Port, to, |out| out.extend_from_slice(payload));
        }
        self.out.clear();
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.udp(Key::Port, UdpPort::new(self.bind), |_, datagram| Msg::Came(datagram));
        sub.every(Key::Tick, TICK, |_, _| Msg::Tick);
    }
}
