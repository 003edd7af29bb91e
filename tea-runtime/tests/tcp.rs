//! TCP streams on real loopback sockets: every limit, and that events of a closed stream never come.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{
    cell::Cell,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    time::Duration,
};

use script::{Deaf, Msg, config, loopback, run, run_with};
use tea_runtime::{
    Close, CloseReason, Cmd, Config, Context, Counters, StreamEvent, StreamLimits, SubEvent, TcpPort,
};

/// A listener that belongs to the test and not to the runtime.
fn peer() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Connects one stream, hands its events to `on_event`, and returns why it was closed.
fn closed_with(
    limits: StreamLimits,
    to: SocketAddr,
    mut on_event: impl FnMut(&StreamEvent, &mut Cmd<script::Script>) + 'static,
) -> CloseReason {
    let reason = Rc::new(Cell::new(None));
    let result = Rc::clone(&reason);
    run(
        config(),
        |_| {},
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, to, limits.clone(), Msg::Stream),
            Msg::Stream(1, StreamEvent::Closed(why)) => {
                reason.set(Some(why));
                cmd.quit();
            }
            Msg::Stream(1, event) => on_event(&event, cmd),
            other => panic!("{other:?}"),
        },
    );
    result.take().expect("the stream was closed")
}

/// Runs the other side in a thread of its own, as it may block.
fn with_peer<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<T>) {
    let (listener, address) = peer();
    (address, std::thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Runs a server on key 1 whose address is given to `start`.
fn serve(
    config: Config,
    mut start: impl FnMut(SocketAddr, &mut Cmd<script::Script>) + 'static,
    mut update: impl FnMut(Msg, &Context, &mut Cmd<script::Script>) + 'static,
) -> Counters {
    run(
        config,
        |sub| {
            sub.listen(1, TcpPort { backlog: 4096, ..TcpPort::new(loopback(0)) }, Msg::Incoming);
            sub.events(2, |_, event| Msg::Event(event));
        },
        move |msg, cx, cmd| match msg {
            Msg::Start => {}
            Msg::Event(SubEvent::Ready { local, .. }) => start(local, cmd),
            Msg::Event(event) => panic!("{event:?}"),
            other => update(other, cx, cmd),
        },
    )
}

const SERVER: u32 = 10;
const CLIENT: u32 = 20;

#[test]
fn both_sides_see_the_bytes_in_order_and_then_the_end() {
    let mut got = (Vec::new(), Vec::new());
    serve(
        config(),
        |local, cmd| {
            cmd.connect(CLIENT, local, StreamLimits::default(), Msg::Stream);
            // Queued before the connection stands.
            cmd.write(CLIENT, |out| out.extend(*b"hello, "));
            cmd.write(CLIENT, |out| out.extend(*b"server"));
        },
        move |msg, _, cmd| match msg {
            Msg::Incoming(1, incoming) => {
                assert_eq!(incoming.peer().ip(), loopback(0).ip());
                cmd.accept(SERVER, incoming, StreamLimits::default(), Msg::Stream);
            }
            Msg::Stream(SERVER, StreamEvent::Data(bytes)) => {
                got.0.extend(bytes);
                if got.0 == b"hello, server" {
                    cmd.write(SERVER, |out| out.extend(*b"hello, client"));
                    cmd.close(SERVER, Close::Flush);
                }
            }
            Msg::Stream(CLIENT, StreamEvent::Data(bytes)) => got.1.extend(bytes),
            Msg::Stream(_, StreamEvent::Opened { local, peer }) => assert_ne!(local, peer),
            Msg::Stream(CLIENT, StreamEvent::Closed(reason)) => {
                assert_eq!((got.1.as_slice(), reason), (&b"hello, client"[..], CloseReason::Eof));
                cmd.quit();
            }
            other => panic!("{other:?}"),
        },
    );
}

#[test]
fn where_nobody_listens_a_stream_is_refused() {
    let (listener, address) = peer();
    drop(listener);
    assert_eq!(closed_with(StreamLimits::default(), address, |_, _| {}), CloseReason::Refused);
}

#[test]
fn a_host_that_cannot_be_reached_is_unreachable() {
    // Loopback addresses have no way out of the machine; 255.255.255.255 is nobody's.
    let limits = StreamLimits { bind: Some([127, 0, 0, 1].into()), ..StreamLimits::default() };
    let reason = closed_with(limits, ([255, 255, 255, 255], 9).into(), |_, _| {});
    assert_eq!(reason, CloseReason::Unreachable);
}

/// A listener whose backlog is full: the kernel answers further attempts with silence.
fn silent_listener() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&loopback(0).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().expect("an IP address");
    let held =
        (0..4).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()).collect();
    (socket, held, address)
}

#[test]
fn a_connection_that_does_not_come_to_stand_times_out() {
    let (_socket, _held, address) = silent_listener();
    let limits = StreamLimits { connect_timeout: Duration::from_millis(50), ..StreamLimits::default() };
    assert_eq!(closed_with(limits, address, |_, _| {}), CloseReason::ConnectTimeout);
}

#[test]
fn a_silent_peer_is_idle() {
    let (_listener, address) = peer();
    let limits = StreamLimits { idle_timeout: Duration::from_millis(50), ..StreamLimits::default() };
    assert_eq!(closed_with(limits, address, |_, _| {}), CloseReason::IdleTimeout);
}

#[test]
fn a_peer_that_trickles_is_not_idle_but_its_life_is_limited() {
    let (address, trickle) = with_peer(|mut stream| {
        let mut sent = 0;
        while stream.write_all(&[1]).is_ok() {
            sent += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        sent
    });
    let limits = StreamLimits {
        idle_timeout: Duration::from_millis(1000),
        lifetime_max: Duration::from_millis(1500),
        ..StreamLimits::default()
    };
    assert_eq!(closed_with(limits, address, |_, _| {}), CloseReason::LifetimeExceeded);
    assert!(trickle.join().unwrap() > 1);
}

#[test]
fn a_peer_that_takes_nothing_times_out_on_writing() {
    let (_listener, address) = peer();
    let limits = StreamLimits {
        write_timeout: Duration::from_millis(50),
        write_queue_bytes_max: 64 << 20,
        ..StreamLimits::default()
    };
    let reason = closed_with(limits, address, |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(1, |out| out.resize(out.len() + (32 << 20), 0));
        }
    });
    assert_eq!(reason, CloseReason::WriteTimeout);
}

#[test]
fn more_than_may_wait_to_be_sent_breaks_the_stream_off() {
    let (_listener, address) = peer();
    let limits = StreamLimits { write_queue_bytes_max: 100, ..StreamLimits::default() };
    let reason = closed_with(limits, address, |event, cmd| {
        if let StreamEvent::Opened { .. } = event {
            cmd.write(1, |out| out.resize(out.len() + 60, 0));
            cmd.write(1, |out| out.resize(out.len() + 41, 0));
        }
    });
    assert_eq!(reason, CloseReason::TooMuchQueued);
}

#[test]
fn exactly_as_much_as_may_be_received_is_received_and_one_byte_more_is_too_much() {
    for (sent, expected) in [(1000, CloseReason::Eof), (1001, CloseReason::TooMuchReceived)] {
        let (address, peer) = with_peer(move |mut stream| stream.write_all(&vec![7; sent]));
        let received = Rc::new(Cell::new(0));
        let limits = StreamLimits { read_bytes_max: 1000, chunk_bytes_max: 300, ..StreamLimits::default() };
        let reason = closed_with(limits, address, {
            let received = Rc::clone(&received);
            move |event, _| {
                if let StreamEvent::Data(bytes) = event {
                    assert!(bytes.len() <= 300);
                    received.set(received.get() + bytes.len());
                }
            }
        });
        assert_eq!(reason, expected);
        assert!(received.get() <= 1000, "{}", received.get());
        assert_eq!(received.get() == 1000, expected == CloseReason::Eof);
        peer.join().unwrap().unwrap();
    }
}

#[test]
fn a_reset_by_the_peer_is_a_reset() {
    let (address, peer) = with_peer(|stream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(closed_with(StreamLimits::default(), address, |_, _| {}), CloseReason::Reset);
    peer.join().unwrap();
}

#[test]
fn a_stream_connects_from_the_address_that_it_is_told_to() {
    let (address, peer) = with_peer(|stream| stream.peer_addr().unwrap());
    let limits = StreamLimits { bind: Some([127, 0, 0, 5].into()), ..StreamLimits::default() };
    assert_eq!(closed_with(limits, address, |_, _| {}), CloseReason::Eof);
    assert_eq!(peer.join().unwrap().ip(), std::net::Ipv4Addr::new(127, 0, 0, 5));
}

#[test]
fn one_stream_more_than_there_may_be_is_refused_and_its_key_is_free() {
    let (_listener, address) = peer();
    let counters = run(
        Config { streams_max: 2, ..config() },
        |_| {},
        move |msg, _, cmd| match msg {
            Msg::Start => (1..=3).for_each(|key| {
                cmd.connect(key, address, StreamLimits::default(), Msg::Stream);
            }),
            Msg::Stream(1 | 2, StreamEvent::Opened { .. }) => {}
            Msg::Stream(key, StreamEvent::Closed(reason)) => match (key, reason) {
                (3, CloseReason::Overload) => {
                    // A write to what does not exist does nothing.
                    cmd.write(3, |out| out.push(1));
                    cmd.close(3, Close::Flush);
                    cmd.quit();
                }
                (1 | 2, CloseReason::Stopping) => {}
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        },
    );
    assert_eq!((counters.streams_refused, counters.writes_without_stream), (1, 1));
}

#[test]
fn the_place_of_a_reset_stream_is_free_at_once() {
    let (_listener, address) = peer();
    let counters = run(Config { streams_max: 1, ..config() }, |_| {}, {
        let mut opened = 0;
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
            Msg::Stream(key, StreamEvent::Opened { .. }) => {
                opened += 1;
                match opened {
                    1 => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
                    2 => {
                        cmd.close(key, Close::Reset);
                        cmd.connect(2, address, StreamLimits::default(), Msg::Stream);
                    }
                    _ => cmd.quit(),
                }
            }
            Msg::Stream(2, StreamEvent::Closed(CloseReason::Stopping)) => {}
            other => panic!("{other:?}"),
        }
    });
    assert_eq!((counters.streams_started, counters.streams_refused), (3, 0));
}

#[test]
fn a_connection_that_is_connected_again_is_reset_and_says_nothing_more() {
    let (listener, address) = peer();
    let old = std::thread::spawn(move || {
        let (mut old, _) = listener.accept().unwrap();
        let (mut new, _) = listener.accept().unwrap();
        // Only after the first was reset does the second get its bytes.
        let end = old.write_all(b"old").and_then(|()| old.read(&mut [0; 1])).unwrap_err().kind();
        new.write_all(b"new").unwrap();
        let _ = new.read(&mut [0; 1]);
        end
    });
    run(config(), |_| {}, {
        let mut opened = 0;
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
            Msg::Stream(1, StreamEvent::Opened { .. }) => {
                opened += 1;
                if opened == 1 {
                    cmd.connect(1, address, StreamLimits::default(), Msg::Stream);
                }
            }
            Msg::Stream(1, StreamEvent::Data(bytes)) => {
                assert_eq!((opened, bytes.as_ref()), (2, &b"new"[..]));
                cmd.quit();
            }
            Msg::Stream(1, StreamEvent::Closed(CloseReason::Stopping)) => {}
            other => panic!("{other:?}"),
        }
    });
    let end = old.join().unwrap();
    assert!(matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{end:?}");
}

#[test]
fn a_closed_stream_says_nothing_more_and_its_key_is_free_at_once() {
    let (listener, address) = peer();
    let talker = std::thread::spawn(move || {
        for text in [b"first ", b"second"] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(text);
        }
    });
    run(config(), |_| {}, {
        let mut texts = Vec::new();
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
            Msg::Stream(1, StreamEvent::Opened { .. }) => {}
            Msg::Stream(1, StreamEvent::Data(bytes)) => {
                texts.push(bytes);
                cmd.close(1, Close::Reset);
                if texts.len() == 2 {
                    assert_eq!(texts, [&b"first "[..], b"second"]);
                    return cmd.quit();
                }
                cmd.connect(1, address, StreamLimits::default(), Msg::Stream);
            }
            other => panic!("{other:?}"),
        }
    });
    talker.join().unwrap();
}

#[test]
fn a_flush_delivers_everything_even_to_a_peer_that_has_sent_more_than_was_read() {
    let (address, peer) = with_peer(|mut stream| {
        stream.write_all(&[9; 10_000]).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all)
    });
    let counters = run(
        config(),
        |_| {},
        move |msg, _, cmd| match msg {
            Msg::Start => {
                let limits = StreamLimits { chunk_bytes_max: 1, ..StreamLimits::default() };
                cmd.connect(1, address, limits, Msg::Stream);
            }
            Msg::Stream(1, StreamEvent::Data(_)) => {
                cmd.write(1, |out| out.resize(out.len() + 500_000, 5));
                cmd.close(1, Close::Flush);
                cmd.quit();
            }
            Msg::Stream(1, StreamEvent::Opened { .. }) => {}
            other => panic!("{other:?}"),
        },
    );
    let all = peer.join().unwrap().unwrap();
    assert_eq!((all.len(), all.iter().all(|byte| *byte == 5)), (500_000, true));
    assert_eq!(counters.streams_started, 1);
}

#[test]
fn a_reset_reaches_the_peer_as_one() {
    let (address, peer) = with_peer(|mut stream| {
        stream.write_all(b"x").unwrap();
        stream.read(&mut [0; 1]).unwrap_err().kind()
    });
    run(
        config(),
        |_| {},
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
            Msg::Stream(1, StreamEvent::Data(_)) => {
                cmd.close(1, Close::Reset);
                cmd.quit();
            }
            _ => {}
        },
    );
    assert_eq!(peer.join().unwrap(), ErrorKind::ConnectionReset);
}

#[test]
fn a_program_that_reads_slowly_slows_the_peer_down_and_loses_nothing() {
    const BYTES: usize = 20 << 20;
    let (address, peer) = with_peer(|mut stream| {
        let chunk: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        stream.write_all(&chunk)
    });
    // The observer of the script asserts in each turn that no lane is beyond its bound.
    run(Config { stream_events_max: 2, messages_per_turn: 1, ..config() }, |_| {}, {
        let mut received = 0;
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
            Msg::Stream(1, StreamEvent::Data(bytes)) => {
                assert!(bytes.iter().zip(received..).all(|(byte, at)| *byte == (at % 251) as u8));
                received += bytes.len();
            }
            Msg::Stream(1, StreamEvent::Closed(reason)) => {
                assert_eq!((received, reason), (BYTES, CloseReason::Eof));
                cmd.quit();
            }
            _ => {}
        }
    });
    peer.join().unwrap().unwrap();
}

#[test]
fn a_listener_whose_address_is_taken_is_tried_again_until_it_is_free() {
    let (occupied, address) = peer();
    let counters = run(
        config(),
        move |sub| {
            sub.listen(1, TcpPort::new(address), Msg::Incoming);
            sub.events(2, |_, event| Msg::Event(event));
        },
        {
            let mut occupied = Some(occupied);
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Failed { key: 1, fault, failures }) => {
                    assert!(fault.to_string().contains(&address.to_string()), "{fault}");
                    if failures == 2 {
                        occupied = None;
                    }
                }
                Msg::Event(SubEvent::Ready { key: 1, local }) => {
                    assert_eq!((local, occupied.is_none()), (address, true));
                    cmd.quit();
                }
                _ => {}
            }
        },
    );
    assert!(counters.subscription_failures >= 2);
}

#[test]
fn an_incoming_connection_that_is_dropped_is_refused() {
    let ended = Rc::new(Cell::new(false));
    let counters =
        serve(config(), |local, cmd| cmd.connect(CLIENT, local, StreamLimits::default(), Msg::Stream), {
            let ended = Rc::clone(&ended);
            move |msg, _, cmd| match msg {
                Msg::Incoming(..) | Msg::Stream(CLIENT, StreamEvent::Opened { .. }) => {}
                Msg::Stream(CLIENT, StreamEvent::Closed(CloseReason::Eof | CloseReason::Reset)) => {
                    ended.set(true);
                    cmd.quit();
                }
                other => panic!("{other:?}"),
            }
        });
    assert_eq!((counters.incoming, ended.get()), (1, true));
}

#[test]
fn quitting_sends_what_is_queued_and_tells_open_streams_why_they_end() {
    let (address, peer) = with_peer(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all.len())
    });
    let told = Rc::new(Cell::new(0));
    let stop = run_with(config(), Deaf, |_| {}, {
        let told = Rc::clone(&told);
        move |msg, _, cmd| match msg {
            Msg::Start => cmd.connect(1, address, StreamLimits::default(), Msg::Stream),
            Msg::Stream(1, StreamEvent::Opened { .. }) => {
                cmd.write(1, |out| out.resize(out.len() + 400_000, 1));
                cmd.quit();
            }
            Msg::Stream(1, StreamEvent::Closed(reason)) => {
                assert_eq!(reason, CloseReason::Stopping);
                told.set(told.get() + 1);
                // Too late for another one.
                cmd.connect(2, address, StreamLimits::default(), Msg::Stream);
            }
            Msg::Stream(2, StreamEvent::Closed(reason)) => {
                assert_eq!(reason, CloseReason::Stopping);
                told.set(told.get() + 10);
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(peer.join().unwrap().unwrap(), 400_000);
    assert_eq!((told.get(), stop.abandoned), (11, 0));
}

/// What the process may have open at once.
fn descriptors_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).expect("a number")
}

/// Connections opened at once: no more than a listener's backlog holds.
const WAVE: u32 = 1000;

fn connect_wave(first: u32, pairs: u32, to: SocketAddr, cmd: &mut Cmd<script::Script>) {
    for key in first..pairs.min(first + WAVE) {
        cmd.connect(1_000_000 + key, to, StreamLimits::default(), Msg::Stream);
    }
}

#[test]
fn ten_thousand_streams_stand_at_once() {
    // Both ends are ours: two descriptors a pair.
    let pairs = (descriptors_max().saturating_sub(200) / 2).min(5000) as u32;
    assert!(pairs >= 300, "the limit of open files is too low to test this: raise it with `ulimit -n`");
    let counters = serve(
        Config { streams_max: 2 * pairs as usize, ..config() },
        move |local, cmd| connect_wave(0, pairs, local, cmd),
        {
            let (mut accepted, mut echoed) = (0, 0);
            move |msg, _, cmd| match msg {
                Msg::Incoming(_, incoming) => {
                    accepted += 1;
                    if accepted % WAVE == 0 {
                        connect_wave(accepted, pairs, incoming.local(), cmd);
                    }
                    cmd.accept(accepted, incoming, StreamLimits::default(), Msg::Stream);
                }
                Msg::Stream(key, StreamEvent::Opened { .. }) => {
                    if key < 1_000_000 && accepted == pairs {
                        // All stand: let everybody talk.
                        for key in 1..=pairs {
                            cmd.write(key, |out| out.extend(*b"ping"));
                        }
                    }
                }
                Msg::Stream(key, StreamEvent::Data(bytes)) => {
                    assert!(bytes.len() % 4 == 0, "{key}: {bytes:?}");
                    echoed += u32::from(key >= 1_000_000);
                    if echoed == pairs {
                        cmd.quit();
                    }
                }
                Msg::Stream(_, StreamEvent::Closed(CloseReason::Stopping)) => {}
                other => panic!("{other:?}"),
            }
        },
    );
    assert_eq!(counters.streams_refused, 0);
}
