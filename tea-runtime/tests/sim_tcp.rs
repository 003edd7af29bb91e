//! Virtual TCP: connecting, order, limits, half-open connections. The limits are those that `tcp.rs` tests on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod sim_script;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use sim_script::{Echo, Msg, Peer, Script, at, ip, ms, script, secs, steady};
use tea_runtime::{
    Close, CloseReason, Cmd, Config, Incoming, StreamEvent, StreamLimits, Sub, TcpPort, Time,
    sim::{HostConfig, HostId, LinkPolicy, NatConfig, Out, Partition, Responder, Sim, SimStream},
};

const STREAM: u32 = 1;
const LISTENER: u32 = 2;
/// The first of the streams that a server accepts.
const SERVED: u32 = 100;

fn limits() -> StreamLimits {
    StreamLimits::default()
}

/// A host that connects to `to` at the start; `on_event` sees what happens.
fn client(
    sim: &mut Sim,
    limits: StreamLimits,
    to: SocketAddr,
    mut on_event: impl FnMut(&StreamEvent, &mut Cmd<Script>) + 'static,
) -> HostId<Script> {
    script(
        sim,
        HostConfig::new(ip(1)),
        |_| {},
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(STREAM, to, limits.clone(), Msg::Stream),
            Msg::Stream(STREAM, event) => on_event(event, cmd),
            Msg::Go => cmd.close(STREAM, Close::Flush),
            _ => {}
        },
    )
}

fn listening(sub: &mut Sub<Script>) {
    sub.listen(LISTENER, TcpPort::new(at(2, 80)), Msg::Incoming);
}

/// The sequence of what happened, with data put together.
fn story(events: &[(u64, StreamEvent)]) -> Vec<(u64, String)> {
    let tell = |(at, event): &(u64, StreamEvent)| match event {
        StreamEvent::Opened { .. } => (*at, "opened".to_owned()),
        StreamEvent::Data(bytes) => (*at, String::from_utf8_lossy(bytes).into_owned()),
        StreamEvent::Closed(reason) => (*at, format!("{reason:?}")),
        other => panic!("{other:?}"),
    };
    events.iter().map(tell).collect()
}

fn told(sim: &Sim, host: HostId<Script>) -> Vec<(u64, String)> {
    story(&sim.model(host).stream(STREAM))
}

fn expect(parts: &[(u64, &str)]) -> Vec<(u64, String)> {
    parts.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
}

#[test]
fn an_echo_takes_two_round_trips_with_connecting() {
    let mut sim = steady(1);
    sim.responder(ip(2), Echo);
    let host = client(&mut sim, limits(), at(2, 80), |event, cmd| match event {
        StreamEvent::Opened { .. } => cmd.write(STREAM, |out| out.extend_from_slice(b"hello")),
        StreamEvent::Data(_) => cmd.close(STREAM, Close::Flush),
        _ => {}
    });
    sim.run_for(secs(60));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (40, "hello")]));
    let StreamEvent::Opened { local, peer } = sim.model(host).stream(STREAM)[0].1 else { panic!() };
    assert_eq!((local.ip(), peer), (ip(1), at(2, 80)));
    assert_eq!(sim.connections(), 0);
    assert_eq!((sim.network().connects, sim.network().connects_refused), (1, 0));
}

#[test]
fn two_programs_talk_and_the_listener_hears_who_it_is() {
    let mut sim = steady(1);
    let server = sim.host::<Server>(HostConfig::new(ip(2)), || ());
    let host = client(&mut sim, limits(), at(2, 80), |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(STREAM, |out| out.extend_from_slice(b"question"));
        }
    });
    sim.run_for(secs(60));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (40, "answer to question"), (40, "Eof")]));
    assert_eq!(sim.model(server).peers.iter().map(SocketAddr::ip).collect::<Vec<_>>(), [ip(1)]);
    assert_eq!(sim.counters(server).incoming, 1);
    assert_eq!(sim.connections(), 0);
}

/// Accepts, answers once, and closes.
struct Server {
    peers: Vec<SocketAddr>,
}

enum ServerMsg {
    Incoming(Incoming),
    Stream(u32, StreamEvent),
}

impl tea_runtime::Program for Server {
    type Flags = ();
    type Msg = ServerMsg;
    type Key = u32;
    type Effect = tea_runtime::Never;

    fn init((): (), _: &tea_runtime::Context, _: &mut Cmd<Self>) -> Self {
        Self { peers: Vec::new() }
    }

    fn update(&mut self, msg: ServerMsg, _: &tea_runtime::Context, cmd: &mut Cmd<Self>) {
        match msg {
            ServerMsg::Incoming(incoming) => {
                assert_eq!(incoming.local(), at(2, 80));
                self.peers.push(incoming.peer());
                let key = SERVED + self.peers.len() as u32;
                cmd.accept(key, incoming, limits(), ServerMsg::Stream);
            }
            ServerMsg::Stream(key, StreamEvent::Data(bytes)) => {
                cmd.write(key, |out| out.extend_from_slice(&[b"answer to ", &bytes[..]].concat()));
                cmd.close(key, Close::Flush);
            }
            ServerMsg::Stream(..) => {}
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        sub.listen(LISTENER, TcpPort::new(at(2, 80)), |_, incoming| ServerMsg::Incoming(incoming));
    }
}

#[test]
fn who_does_not_listen_refuses_and_who_is_not_there_is_silent() {
    let cases: [(SocketAddr, u64, &str); 4] = [
        (at(2, 81), 20, "Refused"),
        (at(3, 80), 3000, "ConnectTimeout"),
        (at(4, 80), 3000, "ConnectTimeout"),
        ("[2001:db8::1]:80".parse().unwrap(), 0, "Unreachable"),
    ];
    for (to, when, reason) in cases {
        let mut sim = steady(1);
        script(&mut sim, HostConfig::new(ip(2)), listening, |_, _, _| {});
        let down = sim.responder(ip(3), Echo);
        sim.crash(down);
        let limits = StreamLimits { connect_timeout: secs(3), ..limits() };
        let host = client(&mut sim, limits, to, |_, _| {});
        sim.run_for(secs(300));
        assert_eq!(told(&sim, host), expect(&[(when, reason)]), "{to}");
        assert_eq!(sim.connections(), 0);
    }
}

#[test]
fn a_partition_holds_connecting_up_and_a_syn_is_repeated() {
    for (healed_after, expected) in [(ms(2500), (3020, "opened")), (secs(9), (5000, "ConnectTimeout"))] {
        let mut sim = steady(1);
        let far = sim.responder(ip(2), Echo);
        let during = Time::ZERO..Time::from(healed_after);
        sim.partition(Partition::isolate([far]).during(during));
        let host = client(&mut sim, limits(), at(2, 80), |_, _| {});
        sim.run_for(secs(6));
        // Tried at 0, 1 and 3 s, each on its way for 10 ms.
        assert_eq!(told(&sim, host)[0], (expected.0, expected.1.to_owned()));
    }
}

#[test]
fn a_peer_that_resets_is_told_apart_from_one_that_closes() {
    for (how, reason) in [(Close::Reset, "Reset"), (Close::Flush, "Eof")] {
        let mut sim = steady(1);
        sim.responder(
            ip(2),
            Peer(move |stream, event, out: &mut Out<'_>| {
                if let StreamEvent::Data(_) = event {
                    out.write(stream, b"last words");
                    out.close(stream, how);
                }
            }),
        );
        let host = client(&mut sim, limits(), at(2, 80), |event, cmd| {
            if let StreamEvent::Opened { .. } = event {
                cmd.write(STREAM, |out| out.extend_from_slice(b"hello"));
            }
        });
        sim.run_for(secs(60));
        assert_eq!(told(&sim, host), expect(&[(20, "opened"), (40, "last words"), (40, reason)]));
        assert_eq!(sim.connections(), 0);
    }
}

#[test]
fn a_foreign_address_to_connect_from_is_an_error_and_an_own_one_is_used() {
    for (bind, reason) in [(ip(9), "Io(AddrNotAvailable)"), (ip(11), "opened")] {
        let mut sim = steady(1);
        sim.responder(ip(2), Echo);
        let limits = StreamLimits { bind: Some(bind), ..limits() };
        let config = HostConfig::new(ip(1)).with_ip(ip(11));
        let host = script(
            &mut sim,
            config,
            |_| {},
            move |msg, _, cmd| {
                if let Msg::Start = msg {
                    cmd.connect(STREAM, at(2, 80), limits.clone(), Msg::Stream);
                }
            },
        );
        sim.run_for(ms(100));
        let events = sim.model(host).stream(STREAM);
        assert_eq!(story(&events)[0].1, reason);
        if let StreamEvent::Opened { local, .. } = events[0].1 {
            assert_eq!(local.ip(), bind);
        }
    }
}

/// Sends `total` bytes to an echo and collects what comes back.
fn echoed(policy: LinkPolicy, total: usize) -> (Vec<u8>, Duration) {
    let mut sim = steady(7);
    sim.set_policy(policy);
    sim.responder(ip(2), Echo);
    let limits = StreamLimits { write_timeout: secs(100), idle_timeout: secs(100), ..limits() };
    let host = client(&mut sim, limits, at(2, 80), move |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(STREAM, |out| out.extend((0..total).map(|index| (index % 251) as u8)));
        }
    });
    let done = sim.run_until(secs(600), |sim| sim.model(host).received(STREAM).len() >= total);
    assert!(done, "{:?}", sim.model(host).stream(STREAM).last());
    (sim.model(host).received(STREAM), sim.now().since_start())
}

#[test]
fn bytes_come_in_order_and_once_whatever_the_link_does() {
    let expected: Vec<u8> = (0..1_000_000_usize).map(|index| (index % 251) as u8).collect();
    let (good, quick) = echoed(LinkPolicy::fixed(ms(10)), expected.len());
    let bad = LinkPolicy::default().with_loss(0.3).with_duplicates(0.3).with_reordering(0.3, secs(1));
    let (received, slow) = echoed(bad, expected.len());
    assert_eq!(good, expected);
    assert_eq!(received, expected);
    assert!(quick < secs(1) && slow > quick * 2, "{quick:?} {slow:?}");
}

#[test]
fn data_comes_in_chunks_of_the_size_allowed() {
    let mut sim = steady(1);
    sim.responder(ip(2), Echo);
    let limits = StreamLimits { chunk_bytes_max: 1000, ..limits() };
    let host = client(&mut sim, limits, at(2, 80), |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(STREAM, |out| out.resize(2500, 7));
        }
    });
    sim.run_for(secs(1));
    let chunk = |(_, event)| match event {
        StreamEvent::Data(bytes) => Some(Bytes::len(&bytes)),
        _ => None,
    };
    let chunks: Vec<usize> = sim.model(host).stream(STREAM).into_iter().filter_map(chunk).collect();
    assert_eq!(chunks, [1000, 1000, 500]);
}

#[test]
fn nothing_comes_from_a_stream_that_the_program_has_closed() {
    let mut sim = steady(1);
    sim.responder(ip(2), Echo);
    let limits = StreamLimits { chunk_bytes_max: 10, ..limits() };
    let host = client(&mut sim, limits, at(2, 80), |event, cmd| match event {
        StreamEvent::Opened { .. } => cmd.write(STREAM, |out| out.resize(30, b'x')),
        StreamEvent::Data(_) => cmd.close(STREAM, Close::Reset),
        _ => {}
    });
    sim.run_for(secs(100));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (40, "xxxxxxxxxx")]));
    assert_eq!(sim.connections(), 0);
}

/// Waits for everything, never says a word.
struct Silent;

impl Responder for Silent {
    fn accepts(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
        true
    }
}

#[test]
fn a_silent_peer_is_given_up_when_idle_and_an_endless_one_at_the_end_of_its_life() {
    let mut sim = steady(1);
    sim.responder(ip(2), Silent);
    let host = client(&mut sim, StreamLimits { idle_timeout: secs(7), ..limits() }, at(2, 80), |_, _| {});
    sim.run_for(secs(60));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (7020, "IdleTimeout")]));

    let mut sim = steady(1);
    struct Trickle(Option<SimStream>);
    impl Responder for Trickle {
        fn accepts(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
            true
        }

        fn stream(&mut self, stream: SimStream, event: StreamEvent, out: &mut Out<'_>) {
            match event {
                StreamEvent::Opened { .. } => self.0 = Some(stream),
                StreamEvent::Closed(reason) => {
                    assert_eq!(reason, CloseReason::Reset);
                    self.0 = None;
                }
                _ => {}
            }
            self.wake(0, out);
        }

        fn wake(&mut self, _: u64, out: &mut Out<'_>) {
            if let Some(stream) = self.0 {
                out.write(stream, b".");
                out.wake_after(secs(2), 0);
            }
        }
    }
    sim.responder(ip(2), Trickle(None));
    let limits = StreamLimits { idle_timeout: secs(3), lifetime_max: secs(10), ..limits() };
    let host = client(&mut sim, limits, at(2, 80), |_, _| {});
    sim.run_for(secs(60));
    let told = told(&sim, host);
    let dots = told.iter().filter(|(_, text)| text == ".").count();
    assert_eq!(dots, 5);
    assert_eq!(told.last().unwrap(), &(10_020, "LifetimeExceeded".to_owned()));
    assert_eq!(sim.connections(), 0);
}

#[test]
fn more_than_may_be_received_breaks_the_stream_off_and_resets_the_peer() {
    for (sent, allowed, reason) in [(1000, 1000, "Eof"), (1001, 1000, "TooMuchReceived")] {
        let mut sim = steady(1);
        let ended = Rc::new(RefCell::new(Vec::new()));
        let noting = Rc::clone(&ended);
        sim.responder(
            ip(2),
            Peer(move |stream, event, out: &mut Out<'_>| match event {
                StreamEvent::Opened { .. } => {
                    out.write(stream, &vec![1; sent]);
                    if reason == "Eof" {
                        out.close(stream, Close::Flush);
                    }
                }
                StreamEvent::Closed(reason) => noting.borrow_mut().push(reason),
                _ => {}
            }),
        );
        let limits = StreamLimits { read_bytes_max: allowed, chunk_bytes_max: 600, ..limits() };
        let host = client(&mut sim, limits, at(2, 80), |_, _| {});
        sim.run_for(secs(60));
        let model = sim.model(host);
        assert_eq!(story(&model.stream(STREAM)).last().unwrap().1, reason);
        // The chunk that goes too far is not delivered.
        assert_eq!(model.received(STREAM).len(), if sent > 1000 { 600 } else { 1000 });
        let expected = if sent > 1000 { vec![CloseReason::Reset] } else { vec![] };
        assert_eq!(*ended.borrow(), expected);
        assert_eq!(sim.connections(), 0);
    }
}

/// Accepts and does not read for `pause`.
fn sleeper(sim: &mut Sim, pause: Duration) {
    struct Sleeper(Duration, Option<SimStream>);
    impl Responder for Sleeper {
        fn accepts(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
            true
        }

        fn stream(&mut self, stream: SimStream, event: StreamEvent, out: &mut Out<'_>) {
            if let StreamEvent::Opened { .. } = event {
                out.pause(stream);
                self.1 = Some(stream);
                out.wake_after(self.0, 0);
            }
        }

        fn wake(&mut self, _: u64, out: &mut Out<'_>) {
            let stream = self.1.unwrap();
            let waited = out.resume(stream).len();
            out.write(stream, waited.to_string().as_bytes());
        }
    }
    sim.responder(ip(2), Sleeper(pause, None));
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_when_bytes_wait_too_long() {
    for (pause, last) in [(secs(9), (9040, "262144")), (secs(11), (10_020, "WriteTimeout"))] {
        let mut sim = steady(1);
        sleeper(&mut sim, pause);
        let limits = StreamLimits { write_timeout: secs(10), idle_timeout: secs(15), ..limits() };
        let host = client(&mut sim, limits, at(2, 80), |event, cmd| {
            if let StreamEvent::Opened { .. } = event {
                cmd.write(STREAM, |out| out.resize(300_000, 1));
            }
        });
        sim.run_for(secs(12));
        let (when, what) = told(&sim, host).pop().unwrap();
        assert_eq!((what.as_str(), when.abs_diff(last.0) <= 30), (last.1, true), "{when} {what}");
    }
}

#[test]
fn what_the_kernel_takes_does_not_count_as_waiting() {
    let mut sim = steady(1);
    sleeper(&mut sim, secs(25));
    let limits = StreamLimits { write_timeout: secs(10), ..limits() };
    let host = client(&mut sim, limits, at(2, 80), |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(STREAM, |out| out.resize(200_000, 1));
        }
    });
    sim.run_for(secs(26));
    assert_eq!(told(&sim, host).last().unwrap().1, "200000");
}

#[test]
fn more_than_may_be_queued_breaks_the_stream_off() {
    let mut sim = steady(1);
    sleeper(&mut sim, secs(1000));
    let limits = StreamLimits { write_queue_bytes_max: 100_000, ..limits() };
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |_| {},
        move |msg, cx, cmd| match msg {
            Msg::Start => cmd.connect(STREAM, at(2, 80), limits.clone(), Msg::Stream),
            Msg::Stream(_, StreamEvent::Opened { .. }) | Msg::Timer(_) => {
                cmd.write(STREAM, |out| out.resize(90_000, 1));
                cmd.after(2, ms(100), Msg::Timer(2), cx);
            }
            Msg::Stream(_, StreamEvent::Closed(_)) => cmd.cancel(2),
            _ => {}
        },
    );
    sim.run_for(secs(5));
    // 256 KiB are with the kernels: of the third write 7,856 bytes wait, of the fourth 97,856, the fifth is too much.
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (420, "TooMuchQueued")]));
    assert_eq!(sim.connections(), 0);
}

#[test]
fn a_killed_process_refuses_and_a_crashed_machine_is_silent() {
    let connect = |end: fn(&mut Sim, HostId<Server>)| {
        let mut sim = steady(1);
        let server = sim.host::<Server>(HostConfig::new(ip(2)), || ());
        end(&mut sim, server);
        let host = client(&mut sim, limits(), at(2, 80), |_, _| {});
        sim.run_for(secs(10));
        told(&sim, host)
    };
    assert_eq!(connect(|_, _| {}), expect(&[(20, "opened")]));
    assert_eq!(connect(|sim, server| sim.kill(server)), expect(&[(20, "Refused")]));
    assert_eq!(connect(|sim, server| sim.crash(server)), expect(&[(5000, "ConnectTimeout")]));
}

/// A client whose stream to an accepting server stands, and which writes on `Go`.
fn standing() -> (Sim, HostId<Script>, HostId<Server>) {
    let mut sim = steady(1);
    let server = sim.host::<Server>(HostConfig::new(ip(2)), || ());
    let limits = StreamLimits { idle_timeout: secs(30), ..limits() };
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |_| {},
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(STREAM, at(2, 80), limits.clone(), Msg::Stream),
            Msg::Go => cmd.write(STREAM, |out| out.extend_from_slice(b"?")),
            _ => {}
        },
    );
    sim.run_for(ms(100));
    assert_eq!(told(&sim, host), expect(&[(20, "opened")]));
    (sim, host, server)
}

#[test]
fn a_crashed_machine_leaves_its_peer_waiting_until_it_is_back_and_knows_nothing() {
    let (mut sim, host, server) = standing();
    sim.crash(server);
    sim.run_for(secs(60));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (30_020, "IdleTimeout")]));

    let (mut sim, host, server) = standing();
    sim.crash(server);
    sim.run_for(secs(1));
    sim.restart(server);
    sim.send(host, Msg::Go);
    sim.run_for(secs(60));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (1120, "Reset")]));
}

#[test]
fn a_killed_process_has_its_connections_closed_by_its_kernel() {
    let (mut sim, host, server) = standing();
    sim.kill(server);
    sim.run_for(secs(60));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (110, "Eof")]));
    assert_eq!(sim.connections(), 0);
}

#[test]
fn a_partition_delays_bytes_and_what_heals_in_time_arrives() {
    let (mut sim, host, server) = standing();
    let cut = sim.partition(Partition::isolate([server]));
    sim.send(host, Msg::Go);
    sim.run_for(secs(20));
    assert_eq!(told(&sim, host).len(), 1);
    sim.heal(cut);
    sim.run_for(secs(60));
    // Sent again 0.2, 0.4, .. s after each other: 25.4 s after the first try.
    let story = told(&sim, host);
    assert_eq!(story[1].1, "answer to ?");
    assert!((25_000..26_000).contains(&story[1].0), "{story:?}");
}

#[test]
fn a_connection_that_the_program_drops_is_closed_and_one_that_it_keeps_waits() {
    for (keeps, expected) in
        [(false, vec![(20, "opened"), (20, "Eof")]), (true, vec![(20, "opened"), (30_020, "IdleTimeout")])]
    {
        let mut sim = steady(1);
        struct Doorman {
            kept: Vec<Incoming>,
            keeps: bool,
        }
        impl tea_runtime::Program for Doorman {
            type Flags = bool;
            type Msg = Incoming;
            type Key = u32;
            type Effect = tea_runtime::Never;

            fn init(keeps: bool, _: &tea_runtime::Context, _: &mut Cmd<Self>) -> Self {
                Self { kept: Vec::new(), keeps }
            }

            fn update(&mut self, incoming: Incoming, _: &tea_runtime::Context, _: &mut Cmd<Self>) {
                if self.keeps {
                    self.kept.push(incoming);
                }
            }

            fn subscriptions(&self, sub: &mut Sub<Self>) {
                sub.listen(LISTENER, TcpPort::new(([0, 0, 0, 0], 80).into()), |_, incoming| incoming);
            }
        }
        sim.host::<Doorman>(HostConfig::new(ip(2)), move || keeps);
        let host = client(&mut sim, limits(), at(2, 80), |_, _| {});
        sim.run_for(secs(60));
        assert_eq!(told(&sim, host), expect(&expected), "{keeps}");
    }
}

#[test]
fn what_came_before_the_program_accepted_is_delivered_then() {
    let mut sim = steady(1);
    struct Late {
        waiting: Option<Incoming>,
        log: Vec<(Duration, String)>,
    }
    enum LateMsg {
        Incoming(Incoming),
        Now,
        Stream(StreamEvent),
    }
    impl tea_runtime::Program for Late {
        type Flags = ();
        type Msg = LateMsg;
        type Key = u32;
        type Effect = tea_runtime::Never;

        fn init((): (), _: &tea_runtime::Context, _: &mut Cmd<Self>) -> Self {
            Self { waiting: None, log: Vec::new() }
        }

        fn update(&mut self, msg: LateMsg, cx: &tea_runtime::Context, cmd: &mut Cmd<Self>) {
            match msg {
                LateMsg::Incoming(incoming) => {
                    self.waiting = Some(incoming);
                    cmd.after(5, secs(5), LateMsg::Now, cx);
                }
                LateMsg::Now => {
                    let incoming = self.waiting.take().unwrap();
                    cmd.accept(STREAM, incoming, limits(), |_, event| LateMsg::Stream(event));
                }
                LateMsg::Stream(event) => {
                    let what = story(&[(0, event)]).pop().unwrap().1;
                    self.log.push((cx.now.since_start(), what));
                }
            }
        }

        fn subscriptions(&self, sub: &mut Sub<Self>) {
            sub.listen(LISTENER, TcpPort::new(at(2, 80)), |_, incoming| LateMsg::Incoming(incoming));
        }
    }
    let server = sim.host::<Late>(HostConfig::new(ip(2)), || ());
    client(&mut sim, limits(), at(2, 80), |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(STREAM, |out| out.extend_from_slice(b"early"));
            cmd.close(STREAM, Close::Flush);
        }
    });
    sim.run_for(secs(60));
    let when = ms(5010);
    let expected = ["opened", "early", "Eof"].map(|what| (when, what.to_owned()));
    assert_eq!(sim.model(server).log, expected);
    assert_eq!(sim.connections(), 0);
}

#[test]
fn streams_beyond_the_bound_are_refused_and_their_place_is_free_after_a_reset() {
    let mut sim = steady(1);
    sim.responder(ip(2), Echo);
    let config = HostConfig::new(ip(1)).with_config(Config { streams_max: 2, ..Config::default() });
    let host = script(
        &mut sim,
        config,
        |_| {},
        |msg, _, cmd| match msg {
            Msg::Start => (1..=3).for_each(|key| cmd.connect(key, at(2, 80), limits(), Msg::Stream)),
            Msg::Go => {
                cmd.close(1, Close::Reset);
                cmd.connect(4, at(2, 80), limits(), Msg::Stream);
            }
            _ => {}
        },
    );
    sim.run_for(ms(100));
    assert_eq!(story(&sim.model(host).stream(3)), expect(&[(0, "Overload")]));
    sim.send(host, Msg::Go);
    sim.run_for(ms(100));
    let opened = |key| story(&sim.model(host).stream(key)).first().map(|(_, what)| what.clone());
    assert_eq!(opened(2).as_deref(), Some("opened"));
    assert_eq!(opened(4).as_deref(), Some("opened"));
    let counters = sim.counters(host);
    assert_eq!((counters.streams_started, counters.streams_refused), (4, 1));
}

#[test]
fn a_stream_with_the_same_key_replaces_the_old_one() {
    let mut sim = steady(1);
    let reasons = Rc::new(RefCell::new(Vec::new()));
    let noting = Rc::clone(&reasons);
    sim.responder(
        ip(2),
        Peer(move |_, event, _: &mut Out<'_>| {
            if let StreamEvent::Closed(reason) = event {
                noting.borrow_mut().push(reason);
            }
        }),
    );
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |_| {},
        |msg, _, cmd| {
            if let Msg::Start | Msg::Go = msg {
                cmd.connect(STREAM, at(2, 80), limits(), Msg::Stream);
            }
        },
    );
    sim.run_for(ms(100));
    sim.send(host, Msg::Go);
    sim.run_for(ms(100));
    assert_eq!(told(&sim, host), expect(&[(20, "opened"), (120, "opened")]));
    assert_eq!(*reasons.borrow(), [CloseReason::Reset]);
    assert_eq!(sim.connections(), 1);
}

#[test]
fn closing_in_good_order_sends_what_is_queued_even_before_the_stream_is_open() {
    let mut sim = steady(1);
    let received = Rc::new(RefCell::new((0, None)));
    let noting = Rc::clone(&received);
    sim.responder(
        ip(2),
        Peer(move |_, event, _: &mut Out<'_>| match event {
            StreamEvent::Data(bytes) => noting.borrow_mut().0 += bytes.len(),
            StreamEvent::Closed(reason) => noting.borrow_mut().1 = Some(reason),
            _ => {}
        }),
    );
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |_| {},
        |msg, _, cmd| {
            if let Msg::Start = msg {
                cmd.connect(STREAM, at(2, 80), limits(), Msg::Stream);
                cmd.write(STREAM, |out| out.resize(900_000, 1));
                cmd.close(STREAM, Close::Flush);
            }
        },
    );
    sim.run_for(secs(60));
    assert_eq!(*received.borrow(), (900_000, Some(CloseReason::Eof)));
    assert_eq!(told(&sim, host), expect(&[]));
    assert_eq!(sim.connections(), 0);
}

#[test]
fn writes_to_streams_that_do_not_exist_are_counted() {
    let mut sim = steady(1);
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |_| {},
        |msg, _, cmd| {
            if let Msg::Start = msg {
                cmd.write(STREAM, |out| out.push(1));
                cmd.close(STREAM, Close::Flush);
            }
        },
    );
    sim.run_for(secs(1));
    assert_eq!(sim.counters(host).writes_without_stream, 1);
}

#[test]
fn a_host_behind_a_translator_connects_outwards_only() {
    let mut sim = steady(1);
    let nat = sim.nat(NatConfig::new([198, 51, 100, 1].into()));
    let server = sim.host::<Server>(HostConfig::new(ip(2)), || ());
    let inside = script(
        &mut sim,
        HostConfig::new([192, 168, 0, 2]).behind(nat),
        |sub| sub.listen(LISTENER, TcpPort::new(([0, 0, 0, 0], 80).into()), Msg::Incoming),
        |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(STREAM, at(2, 80), limits(), Msg::Stream),
            Msg::Stream(_, StreamEvent::Opened { .. }) => cmd.write(STREAM, |out| out.push(b'!')),
            _ => {}
        },
    );
    let outside = client(&mut sim, limits(), ([198, 51, 100, 1], 80).into(), |_, _| {});
    sim.run_for(secs(60));
    assert_eq!(told(&sim, inside), expect(&[(20, "opened"), (40, "answer to !"), (40, "Eof")]));
    assert_eq!(sim.model(server).peers[0].ip(), std::net::IpAddr::from([198, 51, 100, 1]));
    assert_eq!(told(&sim, outside), expect(&[(5000, "ConnectTimeout")]));
    assert_eq!(sim.counters(inside).incoming, 0);
}

#[test]
fn responders_connect_to_programs() {
    struct Caller(Rc<Cell<u32>>, SocketAddr);
    impl Responder for Caller {
        fn start(&mut self, out: &mut Out<'_>) {
            let stream = out.connect(self.1).unwrap();
            out.write(stream, b"me");
        }

        fn stream(&mut self, _: SimStream, event: StreamEvent, _: &mut Out<'_>) {
            match event {
                StreamEvent::Data(bytes) => assert_eq!(bytes, "answer to me"),
                StreamEvent::Closed(CloseReason::Eof) => self.0.set(1),
                StreamEvent::Closed(CloseReason::Refused) => self.0.set(2),
                StreamEvent::Closed(CloseReason::ConnectTimeout) => self.0.set(3),
                _ => {}
            }
        }
    }
    let outcomes: Vec<u32> = [at(2, 80), at(2, 81), at(9, 80)]
        .into_iter()
        .map(|to| {
            let mut sim = steady(1);
            sim.host::<Server>(HostConfig::new(ip(2)), || ());
            let outcome = Rc::new(Cell::new(0));
            sim.responder(ip(1), Caller(Rc::clone(&outcome), to));
            sim.run_for(secs(200));
            assert_eq!(sim.connections(), 0);
            outcome.get()
        })
        .collect();
    assert_eq!(outcomes, [1, 2, 3]);
}

#[test]
fn two_hundred_streams_over_a_bad_network_all_end_and_nothing_is_left() {
    let mut sim = Sim::new(11);
    sim.set_policy(LinkPolicy::default().with_loss(0.2));
    for last in 2..12 {
        sim.responder(ip(last), Echo);
    }
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |_| {},
        |msg, _, cmd| {
            if let Msg::Start = msg {
                for key in 0..200 {
                    let limits = StreamLimits { connect_timeout: secs(60), ..limits() };
                    cmd.connect(key, at(2 + (key % 10) as u8, 80), limits, Msg::Stream);
                    cmd.write(key, |out| out.extend((0..1000 + 100 * key).map(|byte| byte as u8)));
                }
            }
        },
    );
    let seen = move |sim: &Sim, key: u32| sim.model(host).received(key).len();
    let all = |sim: &Sim| (0..200).all(|key| seen(sim, key) == 1000 + 100 * key as usize);
    assert!(sim.run_until(secs(60), all));
    sim.run_for(secs(100));
    assert!((0..200).all(|key| {
        let last = sim.model(host).stream(key).pop().unwrap().1;
        last == StreamEvent::Closed(CloseReason::IdleTimeout)
    }));
    assert_eq!(sim.connections(), 0);
}
