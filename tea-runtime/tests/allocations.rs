//! What the hot path and a stream cost in memory, by a counting allocator.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::{net::SocketAddr, time::Duration};

use tea_runtime::{
    Cmd, Config, Context, Datagram, InMemory, Never, PreparedBatch, Program, Runtime, StreamEvent,
    StreamLimits, Sub, SubEvent, Time, UdpPort,
};

const ECHO: u8 = 1;
const ASKER: u8 = 2;
const EVENTS: u8 = 3;
const TIMEOUT: u8 = 4;

/// Two ports that play ping-pong with several balls, and keep a timer running for each stroke.
struct PingPong {
    strokes_left: u64,
}

enum Msg {
    Packet(u8, Datagram),
    Port(SubEvent<u8>),
    Timeout,
}

impl Program for PingPong {
    type Flags = u64;
    type Msg = Msg;
    type Key = u8;
    type Effect = Never;

    fn init(strokes_left: u64, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { strokes_left }
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            Msg::Packet(port, datagram) => {
                if self.strokes_left == 0 {
                    return cmd.quit();
                }
                self.strokes_left -= 1;
                cmd.send(port, datagram.from(), |out| out.extend_from_slice(datagram.payload()));
                cmd.after(TIMEOUT, Duration::from_secs(20), Msg::Timeout, cx);
            }
            Msg::Port(SubEvent::Ready { key: ECHO, local }) => {
                for _ in 0..8 {
                    cmd.send(ASKER, local, |out| out.extend_from_slice(&[7; 300]));
                }
            }
            Msg::Port(_) => {}
            Msg::Timeout => panic!("the ball is lost"),
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        sub.udp(ECHO, UdpPort::new(any), Msg::Packet);
        sub.udp(ASKER, UdpPort::new(any), Msg::Packet);
        sub.events(EVENTS, |_, event| Msg::Port(event));
    }
}

/// As a release build has it: the check reads the subscriptions, which allocates.
fn config() -> Config {
    Config { check_subscriptions: false, ..Config::default() }
}

#[test]
fn a_warm_turn_allocates_nothing() {
    let mut program = InMemory::<PingPong>::new(config(), u64::MAX);
    let from = SocketAddr::from(([10, 0, 0, 1], 6881));
    let batch = PreparedBatch::new((0..64).map(|_| (from, &[7; 300][..])));
    let mut now = Time::ZERO;
    let mut turns = |program: &mut InMemory<PingPong>, count: u32| {
        for _ in 0..count {
            now = now + Duration::from_micros(100);
            for port in [ECHO, ASKER] {
                while program.deliver(port, &batch) {}
            }
            program.turn(now);
        }
    };
    turns(&mut program, 200);
    let before = program.counters().datagrams_sent;
    let allocations = allocation_counter::measure(|| turns(&mut program, 200));
    let packets = program.counters().datagrams_sent - before;
    assert_eq!(packets, 200 * 2 * 4 * 64);
    assert_eq!(allocations.count_total, 0, "{packets} packets");
}

#[test]
fn a_packet_through_real_sockets_allocates_nothing() {
    let play = |strokes| {
        allocation_counter::measure(|| {
            let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            event_loop.block_on(Runtime::new(config()).run::<PingPong>(strokes)).unwrap();
        })
        .count_total
    };
    // What starting and stopping needs is in both.
    let (short, long) = (play(1000), play(51_000));
    let difference = long.abs_diff(short);
    assert!(difference < 500, "50,000 packets made {difference} allocations ({short}, {long})");
}

/// Opens streams to a listener that does not answer.
struct Pending {
    to: SocketAddr,
    streams: u32,
}

impl Program for Pending {
    type Flags = (SocketAddr, u32);
    type Msg = (u32, StreamEvent);
    type Key = u32;
    type Effect = Never;

    fn init((to, streams): Self::Flags, _: &Context, cmd: &mut Cmd<Self>) -> Self {
        for key in 0..streams {
            cmd.connect(key, to, StreamLimits::default(), |key, event| (key, event));
        }
        Self { to, streams }
    }

    fn update(&mut self, (key, event): Self::Msg, _: &Context, _: &mut Cmd<Self>) {
        panic!("stream {key} of {} to {}: {event:?}", self.streams, self.to);
    }

    fn subscriptions(&self, _: &mut Sub<Self>) {}
}

#[test]
fn a_pending_connection_costs_at_most_8_kib() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let to = socket.local_addr().unwrap().as_socket().expect("an IP address");
    let _fill: Vec<_> = (0..4)
        .map_while(|_| std::net::TcpStream::connect_timeout(&to, Duration::from_millis(200)).ok())
        .collect();
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    const STREAMS: u32 = 500;
    let allocations = allocation_counter::measure(|| {
        event_loop.block_on(async {
            let mut run = std::pin::pin!(Runtime::new(config()).run::<Pending>((to, STREAMS)));
            // Long enough for each task to have been polled; a connection gives up later.
            tokio::select! {
                _ = &mut run => panic!("it does not end by itself"),
                () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => {}
            }
        });
    });
    let bytes = allocations.bytes_max / u64::from(STREAMS);
    println!("{bytes} bytes a pending connection");
    assert!(bytes <= 8 << 10, "{bytes} bytes");
    assert!(bytes >= 500, "{bytes} bytes: nothing was opened");
}
