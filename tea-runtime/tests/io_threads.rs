//! UDP ports whose receiving and sending is done by other threads: nothing that a program can see may differ.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{
    cell::Cell,
    net::{SocketAddr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::mpsc,
    thread,
    time::Duration,
};

use script::{Msg, config, loopback, run};
use tea_runtime::{Config, Counters, SubEvent, UdpPort};

const EVENTS: u32 = 100;

fn with_threads(io_threads: usize) -> Config {
    Config { io_threads, ..config() }
}

/// Datagrams that [`ask`] has under way.
const WINDOW: u32 = 64;

/// Sends numbers to a port and checks that they come back, all and in order.
fn ask(port: SocketAddr, count: u32) {
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = [0; 100];
    for number in 0..count + WINDOW {
        if let Some(answered) = number.checked_sub(WINDOW) {
            let (len, from) = socket.recv_from(&mut buffer).expect("an answer");
            assert_eq!((from, &buffer[..len]), (port, &answered.to_be_bytes()[..]));
        }
        if number < count {
            socket.send_to(&number.to_be_bytes(), port).unwrap();
        }
    }
}

fn echo_under_load(config: Config, ports: u32) -> Counters {
    const COUNT: u32 = 5_000;
    let (ready, ports_ready) = mpsc::sync_channel(ports as usize);
    let asker = thread::spawn(move || {
        let askers: Vec<_> = ports_ready
            .iter()
            .take(ports as usize)
            .map(|port| thread::spawn(move || ask(port, COUNT)))
            .collect();
        let answered = askers.into_iter().map(thread::JoinHandle::join).filter(Result::is_ok).count();
        // Whatever became of the others, the program is to quit.
        let quit = UdpSocket::bind(loopback(0)).unwrap();
        for port in ports_ready {
            quit.send_to(b"quit", port).unwrap();
        }
        answered
    });
    let counters = run(
        config,
        move |sub| {
            for key in 0..=ports {
                sub.udp(key, UdpPort::new(loopback(0)), Msg::Datagram);
            }
            sub.events(EVENTS, |_, event| Msg::Event(event));
        },
        {
            // The last port is the one to quit by: told last, and to nobody but the asker.
            let mut ready = Some(ready);
            let mut last = None;
            let mut told = 0;
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Ready { key, local }) => {
                    let tell = ready.as_ref().expect("nobody was told to quit");
                    if key == ports {
                        last = Some(local);
                    } else {
                        tell.send(local).unwrap();
                        told += 1;
                    }
                    if told == ports
                        && let Some(last) = last
                    {
                        tell.send(last).unwrap();
                        ready = None;
                    }
                }
                Msg::Datagram(key, _) if key == ports => cmd.quit(),
                Msg::Datagram(key, datagram) => {
                    cmd.send(key, datagram.from(), |out| out.extend_from_slice(datagram.payload()));
                }
                Msg::Event(event) => panic!("{event:?}"),
                _ => {}
            }
        },
    );
    assert_eq!(asker.join().unwrap(), ports as usize, "askers whose datagrams all came back in order");
    assert_eq!(counters.datagrams_sent, u64::from(ports * COUNT));
    assert_eq!(counters.sends_dropped + counters.send_errors, 0);
    counters
}

#[test]
fn an_echo_under_load_is_complete_and_in_order_whatever_the_number_of_threads() {
    for io_threads in 0..=2 {
        echo_under_load(with_threads(io_threads), 3);
    }
}

#[test]
fn an_echo_under_load_is_complete_and_in_order_when_datagrams_go_one_by_one() {
    for io_threads in 0..=1 {
        echo_under_load(Config { batched_datagrams: false, ..with_threads(io_threads) }, 2);
    }
}

#[test]
fn what_is_sent_just_before_quitting_still_leaves() {
    let receiver = UdpSocket::bind(loopback(0)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let to = receiver.local_addr().unwrap();
    let counters = run(
        with_threads(1),
        |sub| {
            sub.udp(1, UdpPort::new(loopback(0)), Msg::Datagram);
            sub.events(EVENTS, |_, event| Msg::Event(event));
        },
        move |msg, _, cmd| {
            if let Msg::Event(SubEvent::Ready { .. }) = msg {
                for number in 0..200u8 {
                    cmd.send(1, to, |out| out.push(number));
                }
                cmd.quit();
            }
        },
    );
    assert_eq!((counters.datagrams_sent, counters.sends_dropped), (200, 0));
    for number in 0..200 {
        let mut buffer = [0; 2];
        assert_eq!((receiver.recv(&mut buffer).unwrap(), buffer[0]), (1, number));
    }
}

#[test]
fn beyond_the_bound_the_newest_datagrams_are_dropped_and_counted() {
    let counters = run(
        Config { sends_waiting_max: 4, ..with_threads(1) },
        |sub| {
            sub.udp(1, UdpPort::new(loopback(0)), Msg::Datagram);
            sub.events(EVENTS, |_, event| Msg::Event(event));
        },
        {
            let mut arrived = Vec::new();
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Ready { local, .. }) => {
                    for number in 0..100 {
                        cmd.send(1, local, |out| out.push(number));
                    }
                }
                Msg::Datagram(_, datagram) => {
                    arrived.extend_from_slice(datagram.payload());
                    if arrived.len() == 4 {
                        assert_eq!(arrived, [0, 1, 2, 3]);
                        cmd.quit();
                    }
                }
                _ => {}
            }
        },
    );
    assert_eq!((counters.datagrams_sent, counters.sends_dropped), (4, 96));
}

#[test]
fn a_flood_fills_the_lane_to_its_bound_and_the_kernel_drops_the_rest() {
    let counters = run(
        Config { datagram_batches_max: 2, datagram_batches_per_turn: 1, ..with_threads(1) },
        |sub| {
            sub.udp(1, UdpPort { recv_buffer_bytes: 64 << 10, ..UdpPort::new(loopback(0)) }, Msg::Datagram);
            sub.events(EVENTS, |_, event| Msg::Event(event));
        },
        |msg, cx, cmd| match msg {
            Msg::Event(SubEvent::Ready { local, .. }) => {
                let flood = UdpSocket::bind(loopback(0)).unwrap();
                for _ in 0..20_000 {
                    flood.send_to(&[0; 100], local).unwrap();
                }
            }
            Msg::Datagram(..) if cx.load.datagrams >= 127 => cmd.quit(),
            _ => {}
        },
    );
    assert!(counters.datagrams_received > 0);
    assert!(counters.datagrams_received < 20_000, "the kernel was to drop most of it");
}

#[test]
fn a_port_that_cannot_be_bound_is_tried_again_until_it_can() {
    let occupied = UdpSocket::bind(loopback(0)).unwrap();
    let address = occupied.local_addr().unwrap();
    let counters = run(
        with_threads(1),
        move |sub| {
            sub.udp(1, UdpPort::new(address), Msg::Datagram);
            sub.events(EVENTS, |_, event| Msg::Event(event));
        },
        {
            let mut occupied = Some(occupied);
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Failed { failures: 2, .. }) => occupied = None,
                Msg::Event(SubEvent::Ready { local, .. }) => {
                    assert_eq!((local, occupied.is_none()), (address, true));
                    cmd.send(1, local, |out| out.extend(*b"to myself"));
                }
                Msg::Datagram(_, datagram) => {
                    assert_eq!((datagram.from(), datagram.payload()), (address, &b"to myself"[..]));
                    cmd.quit();
                }
                _ => {}
            }
        },
    );
    assert!(counters.subscription_failures >= 2);
}

/// The address is free as soon as the old port is gone: nobody has to try twice.
#[test]
fn a_port_with_other_buffers_is_bound_anew_at_the_same_address() {
    // No other test binds to this address, so nobody takes the port in between.
    let address = UdpSocket::bind("127.0.0.77:0").unwrap().local_addr().unwrap();
    let larger = Rc::new(Cell::new(0));
    let counters = run(
        with_threads(2),
        {
            let larger = Rc::clone(&larger);
            move |sub| {
                let datagram_bytes_max = 1_000 + larger.get();
                sub.udp(1, UdpPort { datagram_bytes_max, ..UdpPort::new(address) }, Msg::Datagram);
                sub.events(EVENTS, |_, event| Msg::Event(event));
            }
        },
        move |msg, _, cmd| match msg {
            Msg::Event(SubEvent::Ready { local, .. }) => {
                assert_eq!(local, address);
                if larger.get() == 20 {
                    return cmd.quit();
                }
                larger.set(larger.get() + 1);
                cmd.resubscribe();
            }
            Msg::Event(event) => panic!("{event:?}"),
            _ => {}
        },
    );
    assert_eq!(counters.subscription_failures, 0);
}

#[test]
fn a_program_that_panics_leaves_no_thread_and_no_port_behind() {
    let address = Rc::new(Cell::new(None));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let address = Rc::clone(&address);
        run(
            with_threads(1),
            |sub| {
                sub.udp(1, UdpPort::new(loopback(0)), Msg::Datagram);
                sub.events(EVENTS, |_, event| Msg::Event(event));
            },
            move |msg, _, _| {
                if let Msg::Event(SubEvent::Ready { local, .. }) = msg {
                    address.set(Some(local));
                    panic!("on purpose");
                }
            },
        )
    }));
    assert!(ended.is_err());
    UdpSocket::bind(address.get().expect("it was bound")).unwrap();
}
