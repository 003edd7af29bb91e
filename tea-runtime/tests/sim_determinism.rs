//! One seed, one trace: over a world in which everything happens that can.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod sim_script;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use sim_script::{Ask, Echo, Msg, Script, at, ip, ms, script, secs};
use tea_runtime::{
    Cmd, Context, Datagram, Never, Program, Signal, StreamEvent, StreamLimits, Sub, TcpPort, Time, UdpPort,
    sim::{
        HostConfig, HostId, HostStatus, LinkPolicy, NatConfig, Out, Partition, Responder, Sim, check_seeds,
    },
};

/// A host that uses everything: asks its neighbours over UDP and TCP, sets and cancels timers, runs tasks and effects.
fn busy(sim: &mut Sim, config: HostConfig) -> HostId<Script> {
    let mut round = 0_u32;
    let host = script(
        sim,
        config,
        |sub| {
            sub.udp(1, UdpPort::new(([0, 0, 0, 0], 1).into()), Msg::Datagram);
            sub.listen(2, TcpPort::new(([0, 0, 0, 0], 80).into()), Msg::Incoming);
            sub.every(3, ms(700), Msg::Tick);
            sub.signals(4, |_, signal| Msg::Signal(signal));
            sub.events(5, |_, event| Msg::Event(event));
        },
        move |msg, cx, cmd| match msg {
            Msg::Tick(..) => {
                round += 1;
                let to = (round % 10) as u8;
                cmd.send(1, at(to, 1), |out| out.extend_from_slice(&round.to_be_bytes()));
                cmd.after(1000 + round, secs(2), Msg::Timer(round), cx);
                cmd.connect(10 + round % 4, at(to, 80), StreamLimits::default(), Msg::Stream);
                cmd.task_as(7, "think", async move { round.to_string() }, Msg::Task);
                cmd.perform(Ask("store"));
            }
            Msg::Datagram(port, datagram) if datagram.payload().len() == 4 => {
                cmd.send(*port, datagram.from(), |out| out.extend_from_slice(b"reply"));
            }
            Msg::Datagram(..) => cmd.cancel(1000 + round),
            Msg::Stream(key, StreamEvent::Opened { .. }) => {
                cmd.write(*key, |out| out.extend((0..5000).map(|byte| byte as u8)));
            }
            _ => {}
        },
    );
    sim.on_effect(host, |_, cx| {
        let delay = cx.rng().between(&(ms(1)..secs(1)));
        match cx.rng().below(10) {
            0 => {
                cx.hold();
            }
            1 => {}
            _ => cx.answer_after(delay, Msg::Answer("stored".to_owned())),
        }
    });
    host
}

/// Two minutes of a world in which links are bad, machines crash and networks part.
fn eventful(mut sim: Sim) -> Sim {
    sim.set_policy(LinkPolicy::default().with_loss(0.1).with_duplicates(0.05).with_reordering(0.1, ms(300)));
    let nat = sim.nat(NatConfig::new(ip(9)));
    let hosts: Vec<HostId<Script>> = (1..=4).map(|last| busy(&mut sim, HostConfig::new(ip(last)))).collect();
    busy(&mut sim, HostConfig::new([192, 168, 0, 1]).behind(nat));
    for last in 5..=8 {
        sim.responder(ip(last), Echo);
    }
    sim.partition(Partition::isolate([hosts[0]]).during(Time::from(secs(20))..Time::from(secs(40))));
    for _ in 0..12 {
        let pause = sim.rng().between(&(secs(1)..secs(20)));
        sim.run_for(pause);
        let victim = hosts[sim.rng().below(4) as usize];
        match (sim.rng().below(4), sim.status(victim)) {
            (_, HostStatus::Crashed { .. } | HostStatus::Killed { .. }) => sim.restart(victim),
            (0, _) => sim.crash(victim),
            (1, _) => sim.kill(victim),
            (2, _) => sim.signal(victim, Signal::Interrupt),
            _ => sim.send(victim, Msg::Go),
        }
    }
    sim
}

#[test]
fn two_hundred_seeds_give_the_same_trace_twice_and_each_its_own() {
    let events = Rc::new(Cell::new(0));
    let counting = Rc::clone(&events);
    let traces = check_seeds(0..200, move |seed| {
        let sim = eventful(Sim::new(seed));
        counting.set(counting.get() + sim.events());
        sim.trace()
    });
    let distinct: BTreeSet<u64> = traces.iter().copied().collect();
    assert_eq!(distinct.len(), traces.len());
    assert!(events.get() / traces.len() as u64 > 5000, "{} events in all", events.get());
}

#[test]
fn everything_happens_in_the_eventful_world() {
    let mut kinds = BTreeSet::new();
    let (mut lost, mut duplicated, mut cut, mut down, mut filtered) = (0, 0, 0, 0, 0);
    for seed in 0..10 {
        let sim = eventful(Sim::new(seed));
        let network = sim.network();
        lost += network.lost;
        duplicated += network.duplicated;
        cut += network.cut;
        down += network.down;
        filtered += network.filtered;
        kinds.insert((network.connects_refused > 0, network.segments > 100));
    }
    let seen = [lost, duplicated, cut, down, filtered];
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert!(kinds.iter().any(|(refused, _)| *refused) && kinds.iter().all(|(_, segments)| *segments));
}

#[test]
fn looking_does_not_change_what_happens() {
    let plain = eventful(Sim::new(5));
    let mut watched = Sim::new(5);
    let seen = Rc::new(RefCell::new(0));
    let counting = Rc::clone(&seen);
    watched.observe(move |_| *counting.borrow_mut() += 1);
    watched.measure_rates(secs(1));
    let watched = eventful(watched);
    assert_eq!(watched.trace(), plain.trace());
    let network = plain.network();
    let fates = network.sent + network.delivered + network.lost + network.duplicated + network.cut;
    let others = network.unreachable + network.down + network.filtered + network.port_closed;
    assert_eq!(*seen.borrow(), fates + others);
}

#[test]
fn steps_and_runs_of_any_length_give_the_same_trace() {
    let build = || {
        let mut sim = Sim::new(9);
        sim.set_policy(LinkPolicy::default().with_loss(0.1));
        for last in 1..=4 {
            busy(&mut sim, HostConfig::new(ip(last)));
        }
        sim
    };
    let mut whole = build();
    whole.run_for(secs(30));
    let mut parts = build();
    (0..300).for_each(|_| parts.run_for(ms(100)));
    let mut steps = build();
    assert!(!steps.run_until(secs(30), |_| false));
    assert_eq!(parts.trace(), whole.trace());
    assert_eq!(steps.trace(), whole.trace());
    assert_eq!((steps.now(), steps.events()), (whole.now(), whole.events()));
}

/// A node of a large world: asks a random other one every half second, answers who asks.
struct Gossip {
    me: SocketAddr,
    nodes: u32,
    answered: Rc<Cell<u64>>,
}

fn address(node: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + node).to_be_bytes())
}

impl Responder for Gossip {
    fn start(&mut self, out: &mut Out<'_>) {
        let first = out.rng().between(&(ms(0)..ms(500)));
        out.wake_after(first, 0);
    }

    fn wake(&mut self, _: u64, out: &mut Out<'_>) {
        let to = address(out.rng().below(u64::from(self.nodes)) as u32);
        out.send(self.me, (to, 6881).into(), |buf| buf.resize(104, b'q'));
        out.wake_after(ms(500), 0);
    }

    fn datagram(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8], out: &mut Out<'_>) {
        if payload[0] == b'q' {
            out.send(to, from, |buf| buf.resize(280, b'r'));
        } else {
            self.answered.set(self.answered.get() + 1);
        }
    }
}

/// A program that does what a [`Gossip`] does.
struct GossipProgram(Gossip, u64);

impl Program for GossipProgram {
    type Flags = (SocketAddr, u32);
    type Msg = Option<Datagram>;
    type Key = u8;
    type Effect = Never;

    fn init((me, nodes): Self::Flags, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self(Gossip { me, nodes, answered: Rc::default() }, 1)
    }

    fn update(&mut self, msg: Self::Msg, _: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            None => {
                self.1 = self.1.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let to = address((self.1 >> 33) as u32 % self.0.nodes);
                cmd.send(1, (to, 6881).into(), |buf| buf.extend_from_slice(&[b'q'; 104]));
            }
            Some(datagram) if datagram.payload()[0] == b'q' => {
                cmd.send(1, datagram.from(), |buf| buf.extend_from_slice(&[b'r'; 280]));
            }
            Some(_) => self.0.answered.set(self.0.answered.get() + 1),
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.udp(1, UdpPort::new(self.0.me), |_, datagram| Some(datagram));
        sub.every(2, ms(500), |_, _| None);
    }
}

#[test]
fn a_world_of_twenty_thousand_nodes_is_cheap() {
    const NODES: u32 = 20_000;
    let mut sim = Sim::new(1);
    let answered = Rc::new(Cell::new(0));
    for node in 0..NODES {
        let answered = Rc::clone(&answered);
        sim.responder(address(node), Gossip { me: (address(node), 6881).into(), nodes: NODES, answered });
    }
    let begin = Instant::new();
    sim.run_for(secs(10));
    let (events, network) = (sim.events(), sim.network().clone());
    let per_second = events as f64 / begin.seconds();
    println!("responders: {events} events, {per_second:.0} a second, {} scheduled", sim.scheduled());
    // Each node has one wake-up scheduled; what else is scheduled is under way.
    assert_eq!(network.sent, network.delivered + (sim.scheduled() as u64 - u64::from(NODES)));
    assert!(answered.get() > 380_000, "{}", answered.get());
}

#[test]
fn a_thousand_programs_run_side_by_side() {
    const NODES: u32 = 1000;
    let mut sim = Sim::new(1);
    let hosts: Vec<_> = (0..NODES)
        .map(|node| {
            let config = HostConfig::new(address(node));
            sim.host::<GossipProgram>(config, move || ((address(node), 6881).into(), NODES))
        })
        .collect();
    let begin = Instant::new();
    sim.run_for(secs(60));
    let events = sim.events();
    println!("programs: {events} events, {:.0} a second", events as f64 / begin.seconds());
    let answered: u64 = hosts.iter().map(|host| sim.model(*host).0.answered.get()).sum();
    assert!(answered > 118_000, "{answered}");
}

/// The wall clock, to say how fast the simulator is; no test depends on it.
struct Instant(std::time::Instant);

impl Instant {
    #[expect(clippy::disallowed_methods, reason = "measures the simulator, not the program")]
    fn new() -> Self {
        Self(std::time::Instant::now())
    }

    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
