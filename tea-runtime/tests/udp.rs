//! UDP ports on real loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod script;

use std::{
    cell::RefCell,
    net::{SocketAddr, UdpSocket},
    rc::Rc,
};

use script::{Msg, config, loopback, run};
use tea_runtime::{Config, Datagram, SubEvent, UdpPort};

fn bind_a(sub: &mut tea_runtime::Sub<script::Script>, key: u32, bind: SocketAddr) {
    sub.udp(key, UdpPort::new(bind), Msg::Datagram);
}

/// Many datagrams with one system call, and one by one.
fn both_ways() -> [Config; 2] {
    [true, false].map(|batched_datagrams| Config { batched_datagrams, ..config() })
}

#[test]
fn datagrams_sent_right_after_binding_all_arrive_and_in_order() {
    for config in both_ways() {
        thousand_datagrams_arrive_in_order(config);
    }
}

fn thousand_datagrams_arrive_in_order(config: Config) {
    let counters = run(
        config,
        |sub| {
            bind_a(sub, 1, loopback(0));
            bind_a(sub, 2, loopback(0));
            sub.events(3, |_, event| Msg::Event(event));
        },
        {
            let mut next = 0u32;
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Ready { key: 2, local }) => {
                    for number in 0u32..1000 {
                        cmd.send(1, local, |out| out.extend(number.to_be_bytes()));
                    }
                }
                Msg::Datagram(2, datagram) => {
                    assert_eq!(datagram.payload(), next.to_be_bytes());
                    next += 1;
                    if next == 1000 {
                        cmd.quit();
                    }
                }
                _ => {}
            }
        },
    );
    assert_eq!((counters.datagrams_sent, counters.datagrams_received), (1000, 1000));
    assert_eq!(counters.datagram_bytes_received, 4000);
    assert_eq!(counters.sends_dropped + counters.send_errors, 0);
    assert!(counters.batches_received < 1000, "handed over one by one");
}

#[test]
fn a_datagram_as_large_as_the_port_allows_arrives_whole_and_a_larger_one_is_cut() {
    run(
        config(),
        |sub| {
            bind_a(sub, 1, loopback(0));
            sub.udp(2, UdpPort { datagram_bytes_max: 5000, ..UdpPort::new(loopback(0)) }, Msg::Datagram);
            sub.events(3, |_, event| Msg::Event(event));
        },
        {
            let mut lengths = Vec::new();
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Ready { key: 2, local }) => {
                    for len in [0, 5000, 6000] {
                        cmd.send(1, local, |out| out.resize(out.len() + len, 7));
                    }
                }
                Msg::Datagram(_, datagram) => {
                    assert!(datagram.payload().iter().all(|byte| *byte == 7));
                    lengths.push(datagram.payload().len());
                    if lengths.len() == 3 {
                        assert_eq!(lengths, [0, 5000, 5000]);
                        cmd.quit();
                    }
                }
                _ => {}
            }
        },
    );
}

#[test]
fn large_datagrams_that_come_at_once_all_arrive_whole_and_in_order() {
    const COUNT: u32 = 100;
    let counters = run(
        config(),
        |sub| {
            bind_a(sub, 1, loopback(0));
            sub.events(3, |_, event| Msg::Event(event));
        },
        {
            let mut next = 0;
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Ready { local, .. }) => {
                    for number in 0..COUNT {
                        cmd.send(1, local, |out| {
                            out.extend(number.to_be_bytes().repeat(1 + number as usize * 10));
                        });
                    }
                }
                Msg::Datagram(_, datagram) => {
                    assert_eq!(datagram.payload(), u32::to_be_bytes(next).repeat(1 + next as usize * 10));
                    next += 1;
                    if next == COUNT {
                        cmd.quit();
                    }
                }
                _ => {}
            }
        },
    );
    // No batch has space for more than 32 KiB, however many bytes came with one call.
    let batches_min = counters.datagram_bytes_received / (32 << 10);
    assert!(counters.batches_received >= batches_min, "{counters:?}");
}

#[test]
fn datagrams_that_the_kernel_refuses_do_not_take_others_of_their_batch_with_them() {
    for config in both_ways() {
        let counters = run(
            config,
            |sub| {
                bind_a(sub, 1, loopback(0));
                sub.events(3, |_, event| Msg::Event(event));
            },
            {
                let mut arrived = Vec::new();
                move |msg, _, cmd| match msg {
                    Msg::Event(SubEvent::Ready { local, .. }) => {
                        let refused: [(SocketAddr, usize); 4] = [
                            // EINVAL, EMSGSIZE, EACCES without SO_BROADCAST, another family.
                            (([127, 0, 0, 1], 0).into(), 1),
                            (local, 70_000),
                            (([127, 255, 255, 255], local.port()).into(), 1),
                            ((std::net::Ipv6Addr::LOCALHOST, local.port()).into(), 1),
                        ];
                        for number in 0..100u8 {
                            // At the beginning, in the middle, several in a row, at the end.
                            if [0, 30, 60, 61, 99].contains(&number) {
                                for (to, len) in refused {
                                    cmd.send(1, to, |out| out.resize(out.len() + len, 0xff));
                                }
                            } else {
                                cmd.send(1, local, |out| out.push(number));
                            }
                        }
                    }
                    Msg::Datagram(_, datagram) => {
                        arrived.extend_from_slice(datagram.payload());
                        if arrived.len() == 95 {
                            let sent = (0..100).filter(|number| ![0, 30, 60, 61, 99].contains(number));
                            assert_eq!(arrived, sent.collect::<Vec<u8>>());
                            cmd.quit();
                        }
                    }
                    _ => {}
                }
            },
        );
        assert_eq!((counters.datagrams_sent, counters.send_errors), (95, 20));
        assert_eq!((counters.datagram_bytes_sent, counters.sends_dropped), (95, 0));
    }
}

/// Two families share the thread, and with it what the system calls need.
#[test]
fn ipv4_and_ipv6_ports_of_one_program_see_whole_addresses() {
    for config in both_ways() {
        run(
            config,
            |sub| {
                for key in [1, 2] {
                    bind_a(sub, key, loopback(0));
                    bind_a(sub, key + 2, (std::net::Ipv6Addr::LOCALHOST, 0).into());
                }
                sub.events(9, |_, event| Msg::Event(event));
            },
            {
                let mut locals = std::collections::BTreeMap::new();
                let mut strokes = 0;
                move |msg, _, cmd| match msg {
                    Msg::Event(SubEvent::Ready { key, local }) => {
                        locals.insert(key, local);
                        if locals.len() == 4 {
                            for (from, to) in [(1, 2), (3, 4)] {
                                for _ in 0..40 {
                                    cmd.send(from, locals[&to], |out| out.push(7));
                                }
                            }
                        }
                    }
                    // From the other port of the same family, and back.
                    Msg::Datagram(key, datagram) => {
                        let other = [2, 1, 4, 3][key as usize - 1];
                        assert_eq!(datagram.from(), locals[&other], "at port {key}");
                        strokes += 1;
                        if strokes == 2000 {
                            return cmd.quit();
                        }
                        cmd.send(key, datagram.from(), |out| out.push(7));
                    }
                    _ => {}
                }
            },
        );
    }
}

#[test]
fn what_is_sent_through_an_unbound_port_is_dropped_and_counted() {
    let counters = run(
        config(),
        |_| {},
        |msg, _, cmd| {
            if let Msg::Start = msg {
                cmd.send(9, loopback(9), |out| out.push(1));
                cmd.quit();
            }
        },
    );
    assert_eq!((counters.sends_without_port, counters.datagrams_sent), (1, 0));
}

#[test]
fn a_port_survives_sending_to_where_nobody_listens_and_to_where_nothing_can_be_sent() {
    let nobody = UdpSocket::bind(loopback(0)).unwrap().local_addr().unwrap();
    let counters = run(
        config(),
        |sub| {
            bind_a(sub, 1, loopback(0));
            sub.events(3, |_, event| Msg::Event(event));
        },
        move |msg, _, cmd| match msg {
            Msg::Event(SubEvent::Ready { local, .. }) => {
                for _ in 0..10 {
                    cmd.send(1, nobody, |out| out.push(1));
                    cmd.send(1, ([0, 0, 0, 1], 0).into(), |out| out.push(1));
                }
                cmd.send(1, local, |out| out.extend(*b"still alive"));
            }
            Msg::Datagram(_, datagram) => {
                assert_eq!(datagram.payload(), b"still alive");
                cmd.quit();
            }
            Msg::Event(event) => panic!("{event:?}"),
            _ => {}
        },
    );
    assert_eq!(counters.send_errors, 10);
    assert_eq!(counters.subscription_failures, 0);
}

#[test]
fn a_port_that_cannot_be_bound_is_reported_and_tried_again_until_it_can() {
    let occupied = UdpSocket::bind(loopback(0)).unwrap();
    let address = occupied.local_addr().unwrap();
    let counters = run(
        config(),
        move |sub| {
            bind_a(sub, 1, address);
            sub.events(2, |_, event| Msg::Event(event));
        },
        {
            let mut occupied = Some(occupied);
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Failed { key, fault, failures }) => {
                    assert_eq!(key, 1);
                    assert!(fault.to_string().contains(&address.to_string()), "{fault}");
                    if failures == 2 {
                        occupied = None;
                    }
                }
                Msg::Event(SubEvent::Ready { key, local }) => {
                    assert_eq!((key, local, occupied.is_none()), (1, address, true));
                    cmd.quit();
                }
                _ => {}
            }
        },
    );
    assert!(counters.subscription_failures >= 2);
}

#[test]
fn a_changed_port_is_bound_anew_and_a_removed_one_is_freed() {
    let wanted = Rc::new(RefCell::new(Some(loopback(0))));
    let first = Rc::new(RefCell::new(None));
    run(
        config(),
        {
            let wanted = Rc::clone(&wanted);
            move |sub| {
                if let Some(bind) = *wanted.borrow() {
                    bind_a(sub, 1, bind);
                }
                sub.events(2, |_, event| Msg::Event(event));
            }
        },
        move |msg, cx, cmd| match msg {
            Msg::Event(SubEvent::Ready { local, .. }) => match *first.borrow_mut() {
                ref mut first @ None => {
                    *first = Some(local);
                    *wanted.borrow_mut() = Some(([127, 0, 0, 2], local.port()).into());
                    cmd.resubscribe();
                }
                Some(first) => {
                    assert_eq!(local, ([127, 0, 0, 2], first.port()).into());
                    // The old one is free again, the new one is not.
                    UdpSocket::bind(first).unwrap();
                    UdpSocket::bind(local).unwrap_err();
                    *wanted.borrow_mut() = None;
                    cmd.resubscribe();
                    // The next turn: the subscriptions are read at the end of this one.
                    cmd.to_shard(cx.shard, Msg::Timer(7));
                }
            },
            Msg::Timer(_) => {
                let first = first.borrow().expect("was bound");
                UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 0, 2), first.port())).unwrap();
                cmd.quit();
            }
            _ => {}
        },
    );
}

#[test]
fn datagrams_that_the_program_keeps_stay_as_they_were() {
    let counters = run(
        Config { datagram_batches_max: 2, ..config() },
        |sub| {
            bind_a(sub, 1, loopback(0));
            sub.events(2, |_, event| Msg::Event(event));
        },
        {
            let (mut kept, mut to): (Vec<Datagram>, _) = (Vec::new(), None);
            move |msg, _, cmd| {
                match msg {
                    Msg::Event(SubEvent::Ready { local, .. }) => to = Some(local),
                    Msg::Datagram(_, datagram) => kept.push(datagram),
                    _ => return,
                }
                let count = kept.len() as u32;
                if count < 500 {
                    cmd.send(1, to.expect("bound"), |out| out.extend(count.to_be_bytes()));
                    return;
                }
                for (number, datagram) in (0u32..).zip(&kept) {
                    assert_eq!(datagram.payload(), number.to_be_bytes());
                }
                cmd.quit();
            }
        },
    );
    assert!(counters.batches_replaced >= 450, "{}", counters.batches_replaced);
}

#[test]
fn a_flood_fills_the_lane_to_its_bound_and_the_kernel_drops_the_rest() {
    // The observer of the script asserts in each turn that no lane is beyond its bound.
    let counters = run(
        Config { datagram_batches_max: 2, datagram_batches_per_turn: 1, ..config() },
        |sub| {
            sub.udp(1, UdpPort { recv_buffer_bytes: 64 << 10, ..UdpPort::new(loopback(0)) }, Msg::Datagram);
            sub.events(2, |_, event| Msg::Event(event));
        },
        |msg, cx, cmd| match msg {
            Msg::Event(SubEvent::Ready { local, .. }) => {
                let flood = UdpSocket::bind(loopback(0)).unwrap();
                for _ in 0..20_000 {
                    flood.send_to(&[0; 100], local).unwrap();
                }
            }
            // One batch of two still waits although the program has taken one.
            Msg::Datagram(..) if cx.load.datagrams >= 127 => cmd.quit(),
            _ => {}
        },
    );
    assert!(counters.datagrams_received > 0);
    assert!(counters.datagrams_received < 20_000, "the kernel was to drop most of it");
}

#[test]
fn no_port_starves_another() {
    run(
        Config { datagram_batches_per_turn: 1, ..config() },
        |sub| {
            for key in 1..=3 {
                bind_a(sub, key, loopback(0));
            }
            sub.events(9, |_, event| Msg::Event(event));
        },
        {
            let mut locals = [None; 4];
            let mut received = [0usize; 4];
            move |msg, _, cmd| match msg {
                Msg::Event(SubEvent::Ready { key, local }) => {
                    locals[key as usize] = Some(local);
                    if locals.iter().flatten().count() == 3 {
                        let sender = UdpSocket::bind(loopback(0)).unwrap();
                        // Port 1 is flooded before the others get a single datagram.
                        for _ in 0..640 {
                            sender.send_to(&[1], locals[1].expect("bound")).unwrap();
                        }
                        sender.send_to(&[2], locals[2].expect("bound")).unwrap();
                        sender.send_to(&[3], locals[3].expect("bound")).unwrap();
                    }
                }
                Msg::Datagram(key, _) => {
                    received[key as usize] += 1;
                    if received[2] + received[3] == 2 {
                        assert!(received[1] <= 2 * 64, "{} datagrams came first", received[1]);
                        cmd.quit();
                    }
                }
                _ => {}
            }
        },
    );
}
