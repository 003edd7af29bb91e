//! The simulator's UDP network: links, partitions, translators, addresses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod sim_script;

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration};

use sim_script::{Echo, Msg, Script, at, ip, ms, script, secs, steady};
use tea_runtime::{
    Fault, Sub, SubEvent, Time, UdpPort,
    sim::{
        Fate, HostConfig, HostId, LinkPolicy, NatConfig, NatFilter, Out, Partition, Responder, Sim, SimNode,
    },
};

const PORT: u32 = 1;

fn port(address: SocketAddr) -> impl Fn(&mut Sub<Script>) {
    move |sub| sub.udp(PORT, UdpPort::new(address), Msg::Datagram)
}

/// Sends `count` numbered datagrams, one a millisecond, from 10.0.0.1:1 to `to`.
fn sender(sim: &mut Sim, config: HostConfig, to: SocketAddr, count: u32) -> HostId<Script> {
    let mut next = 0;
    script(sim, config, port(([0, 0, 0, 0], 1).into()), move |msg, cx, cmd| {
        if matches!(msg, Msg::Start | Msg::Timer(_)) && next < count {
            cmd.send(PORT, to, |out| out.extend_from_slice(&next.to_be_bytes()));
            cmd.after(2, ms(1), Msg::Timer(2), cx);
            next += 1;
        }
    })
}

/// Only listens.
fn sink(sim: &mut Sim, last: u8) -> HostId<Script> {
    script(sim, HostConfig::new(ip(last)), port(at(last, 1)), |_, _, _| {})
}

fn numbers(sim: &Sim, host: HostId<Script>) -> Vec<u32> {
    sim.model(host).payloads().iter().map(|bytes| u32::from_be_bytes((*bytes).try_into().unwrap())).collect()
}

#[test]
fn a_datagram_takes_the_latency_of_its_link() {
    let mut sim = steady(1);
    sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 1);
    let receiver = sink(&mut sim, 2);
    sim.run_for(secs(1));
    assert_eq!(
        sim.model(receiver).told(),
        [(10, "Datagram(1, Datagram(4 bytes from 10.0.0.1:1))".to_owned())]
    );
}

#[test]
fn a_pair_of_nodes_keeps_its_latency_and_pairs_differ() {
    let mut sim = Sim::new(3);
    sim.set_policy(LinkPolicy { jitter: Duration::ZERO, ..LinkPolicy::default() });
    let receivers: Vec<_> = (2..6).map(|last| sink(&mut sim, last)).collect();
    let mut left = 40_u8;
    script(&mut sim, HostConfig::new(ip(1)), port(at(1, 1)), move |msg, cx, cmd| {
        if matches!(msg, Msg::Start | Msg::Timer(_)) && left > 0 {
            cmd.send(PORT, at(2 + left % 4, 1), |out| out.push(left));
            cmd.after(2, secs(1), Msg::Timer(2), cx);
            left -= 1;
        }
    });
    sim.run_for(secs(60));
    let mut latencies = Vec::new();
    for receiver in receivers {
        let arrivals: Vec<u64> =
            sim.model(receiver).log.iter().map(|(at, _)| at.as_nanos() % 1_000_000_000).collect();
        assert_eq!(arrivals.len(), 10);
        assert!(arrivals.iter().all(|arrival| *arrival == arrivals[0]), "{arrivals:?}");
        assert!((10_000_000..120_000_000).contains(&arrivals[0]));
        latencies.push(arrivals[0]);
    }
    latencies.sort_unstable();
    latencies.dedup();
    assert_eq!(latencies.len(), 4);
}

#[test]
fn links_lose_as_much_as_their_policy_says_and_the_counters_know() {
    let mut sim = steady(1);
    sim.set_policy(LinkPolicy::fixed(ms(10)).with_loss(0.2));
    sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 10_000);
    let receiver = sink(&mut sim, 2);
    sim.run_for(secs(20));
    let counters = sim.network();
    assert_eq!((counters.sent, counters.bytes_sent), (10_000, 40_000));
    assert!((1850..2150).contains(&counters.lost), "{}", counters.lost);
    assert_eq!(counters.delivered, 10_000 - counters.lost);
    assert_eq!(numbers(&sim, receiver).len() as u64, counters.delivered);
}

#[test]
fn links_duplicate() {
    let mut sim = steady(1);
    sim.set_policy(LinkPolicy::fixed(ms(10)).with_duplicates(0.1));
    sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 5000);
    let receiver = sink(&mut sim, 2);
    sim.run_for(secs(10));
    let duplicated = sim.network().duplicated;
    assert!((420..580).contains(&duplicated), "{duplicated}");
    assert_eq!((sim.network().sent, sim.network().delivered), (5000, 5000 + duplicated));
    let mut numbers = numbers(&sim, receiver);
    numbers.dedup();
    assert_eq!(numbers, (0..5000).collect::<Vec<u32>>());
}

#[test]
fn only_links_that_reorder_change_the_order() {
    let arrivals = |policy: LinkPolicy| {
        let mut sim = Sim::new(1);
        sim.set_policy(policy);
        sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 1000);
        let receiver = sink(&mut sim, 2);
        sim.run_for(secs(5));
        numbers(&sim, receiver)
    };
    let steady = LinkPolicy { jitter: Duration::ZERO, ..LinkPolicy::default() };
    assert!(arrivals(steady.clone()).is_sorted());
    let reordered = arrivals(steady.with_reordering(0.1, ms(50)));
    assert_eq!(reordered.len(), 1000);
    let overtaken = reordered.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((60..140).contains(&overtaken), "{overtaken}");
}

#[test]
fn the_link_of_a_pair_goes_before_that_of_the_sender_and_that_before_the_receivers() {
    let mut sim = steady(1);
    let receiver = sink(&mut sim, 2);
    let sender = script(&mut sim, HostConfig::new(ip(1)), port(at(1, 1)), |msg, _, cmd| {
        if let Msg::Go = msg {
            cmd.send(PORT, at(2, 1), |_| {});
        }
    });
    let arrival = |sim: &mut Sim| {
        let before = sim.now();
        sim.send(sender, Msg::Go);
        sim.run_for(secs(1));
        sim.model(receiver).log.last().unwrap().0 - before
    };
    assert_eq!(arrival(&mut sim), ms(10));
    sim.set_policy_of(receiver, LinkPolicy::fixed(ms(20)));
    assert_eq!(arrival(&mut sim), ms(20));
    sim.set_policy_of(sender, LinkPolicy::fixed(ms(30)));
    assert_eq!(arrival(&mut sim), ms(30));
    sim.set_link(receiver, sender, LinkPolicy::fixed(ms(50)));
    assert_eq!(arrival(&mut sim), ms(30));
    sim.set_link(sender, receiver, LinkPolicy::fixed(ms(40)));
    assert_eq!(arrival(&mut sim), ms(40));
}

#[test]
fn a_partition_cuts_what_is_under_way_and_heals() {
    let mut sim = steady(1);
    sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 300);
    let receiver = sink(&mut sim, 2);
    sim.run_for(Duration::from_micros(99_500));
    let cut = sim.partition(Partition::isolate([receiver]));
    sim.run_for(ms(100));
    sim.heal(cut);
    sim.run_for(secs(1));
    // Sent up to 89 ms: arrived before. Sent from 200 ms: after.
    let expected: Vec<u32> = (0..90).chain(200..300).collect();
    assert_eq!(numbers(&sim, receiver), expected);
    assert_eq!(sim.network().cut, 110);
}

#[test]
fn a_partition_comes_and_goes_at_its_times_and_leaves_others_alone() {
    let mut sim = steady(1);
    let one = sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 300);
    let receiver = sink(&mut sim, 2);
    let other = sender(&mut sim, HostConfig::new(ip(3)), at(2, 1), 300);
    let during = Time::from(Duration::from_micros(100_500))..Time::from(Duration::from_micros(150_500));
    sim.partition(Partition::between([one], [receiver]).during(during));
    sim.run_for(secs(1));
    let from = |last| {
        let log = &sim.model(receiver).log;
        log.iter().filter(|(_, msg)| matches!(msg, Msg::Datagram(_, d) if d.from() == at(last, 1))).count()
    };
    // Cut: what would have arrived from 101 ms, sent from 91 ms, to what was sent until 150 ms.
    assert_eq!((from(1), from(3)), (240, 300));
    assert!(sim.model(other).log.len() > 299);
}

#[test]
fn what_cannot_arrive_is_counted_by_its_reason() {
    let mut sim = steady(1);
    let up = sink(&mut sim, 2);
    let down = sink(&mut sim, 3);
    sim.crash(down);
    let targets = [at(2, 1), at(2, 9), at(3, 1), at(4, 1), "[::1]:1".parse().unwrap()];
    let host = script(&mut sim, HostConfig::new(ip(1)), port(at(1, 1)), move |msg, _, cmd| {
        if let Msg::Start = msg {
            targets.iter().for_each(|to| cmd.send(PORT, *to, |_| {}));
            cmd.send(9, at(2, 1), |_| {});
            cmd.send(PORT, at(2, 1), |out| out.resize(65_508, 0));
        }
    });
    let seen: Rc<RefCell<BTreeMap<Fate, u32>>> = Rc::default();
    let counting = Rc::clone(&seen);
    sim.observe(move |packet| *counting.borrow_mut().entry(packet.fate).or_default() += 1);
    sim.run_for(secs(1));
    let network = sim.network();
    assert_eq!((network.sent, network.delivered, network.port_closed), (4, 1, 1));
    assert_eq!((network.down, network.unreachable), (1, 1));
    let counters = sim.counters(host);
    // The other family, and the one that is too long.
    assert_eq!((counters.datagrams_sent, counters.send_errors, counters.sends_without_port), (4, 2, 1));
    let expected = [
        (Fate::Sent, 4),
        (Fate::Delivered, 1),
        (Fate::Unreachable, 1),
        (Fate::Down, 1),
        (Fate::PortClosed, 1),
    ];
    assert_eq!(*seen.borrow(), BTreeMap::from(expected));
    assert_eq!(sim.model(up).log.len(), 1);
}

#[test]
fn wildcard_binds_have_all_addresses_of_their_family_and_port_0_is_chosen() {
    let mut sim = steady(1);
    let six: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
    let config = HostConfig::new(ip(1)).with_ip(ip(11)).with_ip(six.ip());
    let host = script(
        &mut sim,
        config,
        |sub| {
            sub.udp(1, UdpPort::new(([0, 0, 0, 0], 7).into()), Msg::Datagram);
            sub.udp(2, UdpPort::new("[::]:7".parse().unwrap()), Msg::Datagram);
            sub.udp(3, UdpPort::new(at(11, 0)), Msg::Datagram);
            sub.events(4, |_, event| Msg::Event(event));
        },
        |msg, _, cmd| {
            if let Msg::Datagram(port, datagram) = msg {
                cmd.send(*port, datagram.from(), |out| out.push(*port as u8));
            }
        },
    );
    let chosen = sim.local_addr(host, 3).unwrap();
    assert_eq!((chosen.ip(), chosen.port() >= 32_768), (ip(11), true));
    let answers = Rc::new(RefCell::new(Vec::new()));
    struct Asker(Vec<SocketAddr>, Rc<RefCell<Vec<(SocketAddr, u8)>>>);
    impl Responder for Asker {
        fn start(&mut self, out: &mut Out<'_>) {
            for to in &self.0 {
                let from = if to.is_ipv4() { at(2, 1) } else { "[2001:db8::2]:1".parse().unwrap() };
                out.send(from, *to, |_| {});
            }
        }

        fn datagram(&mut self, _: SocketAddr, from: SocketAddr, payload: &[u8], _: &mut Out<'_>) {
            self.1.borrow_mut().push((from, payload[0]));
        }
    }
    let asker = Asker(vec![at(1, 7), at(11, 7), six, chosen], Rc::clone(&answers));
    sim.responder_at(&[ip(2), "2001:db8::2".parse().unwrap()], None, asker);
    sim.run_for(secs(1));
    // A wildcard port answers from the first address, as a real one does unless it is told otherwise.
    assert_eq!(*answers.borrow(), [(at(1, 7), 1), (at(1, 7), 1), (six, 2), (chosen, 3)]);
    let told = sim.model(host).told();
    assert_eq!(told[0].1, "Event(Ready { key: 1, local: 0.0.0.0:7 })");
    assert_eq!(told[1].1, "Event(Ready { key: 2, local: [::]:7 })");
}

#[test]
fn a_taken_or_foreign_address_fails_and_is_tried_again_with_growing_delays() {
    let mut sim = steady(1);
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |sub| {
            sub.udp(1, UdpPort::new(at(1, 7)), Msg::Datagram);
            sub.udp(2, UdpPort::new(([0, 0, 0, 0], 7).into()), Msg::Datagram);
            sub.udp(3, UdpPort::new(at(2, 7)), Msg::Datagram);
            sub.events(4, |_, event| Msg::Event(event));
        },
        |_, _, _| {},
    );
    sim.run_for(secs(2));
    let failures = |key| {
        let log = &sim.model(host).log;
        let failure = |(at, msg): &(Time, Msg)| match msg {
            Msg::Event(SubEvent::Failed { key: of, fault: Fault::Io(kind, _), failures }) if *of == key => {
                Some((at.as_nanos() / 1_000_000, *kind, *failures))
            }
            _ => None,
        };
        log.iter().filter_map(failure).collect::<Vec<_>>()
    };
    let expected = |kind| vec![(0, kind, 1), (250, kind, 2), (750, kind, 3), (1750, kind, 4)];
    assert_eq!(failures(2), expected(std::io::ErrorKind::AddrInUse));
    assert_eq!(failures(3), expected(std::io::ErrorKind::AddrNotAvailable));
    assert_eq!(sim.counters(host).subscription_failures, 8);
}

#[test]
fn a_port_is_bound_once_the_other_process_gives_it_up() {
    let mut sim = steady(1);
    let host = script(&mut sim, HostConfig::new(ip(1)), port(at(1, 7)), |_, _, _| {});
    sim.occupy(host, at(1, 7));
    sim.restart(host);
    sim.run_for(secs(1));
    assert_eq!(sim.local_addr(host, PORT), None);
    sim.vacate(host, at(1, 7));
    sim.run_for(secs(1));
    assert_eq!(sim.local_addr(host, PORT), Some(at(1, 7)));
}

#[test]
fn datagrams_are_cut_off_at_the_size_of_the_port() {
    let mut sim = steady(1);
    let host = script(
        &mut sim,
        HostConfig::new(ip(1)),
        |sub| {
            let port = UdpPort { datagram_bytes_max: 5, ..UdpPort::new(at(1, 1)) };
            sub.udp(PORT, port, Msg::Datagram);
        },
        |_, _, _| {},
    );
    script(&mut sim, HostConfig::new(ip(2)), port(at(2, 1)), |msg, _, cmd| {
        if let Msg::Start = msg {
            cmd.send(PORT, at(1, 1), |out| out.extend_from_slice(b"1234567"));
        }
    });
    sim.run_for(secs(1));
    assert_eq!(sim.model(host).payloads(), [b"12345"]);
}

/// A program behind a translator that sends to 10.0.0.2:7 when told.
fn inside(sim: &mut Sim, config: NatConfig) -> HostId<Script> {
    let nat = sim.nat(config);
    let config = HostConfig::new([192, 168, 0, 2]).behind(nat);
    script(sim, config, port(([0, 0, 0, 0], 6881).into()), |msg, _, cmd| {
        if let Msg::Go = msg {
            cmd.send(PORT, at(2, 7), |out| out.extend_from_slice(b"hello"));
        }
    })
}

/// Remembers who wrote to it and writes back from three of its addresses and ports when woken.
struct Outside {
    heard: Rc<RefCell<Vec<SocketAddr>>>,
}

impl Responder for Outside {
    fn datagram(&mut self, _: SocketAddr, from: SocketAddr, _: &[u8], out: &mut Out<'_>) {
        self.heard.borrow_mut().push(from);
        self.wake(0, out);
        out.wake_after(secs(119), 0);
        out.wake_after(secs(121), 0);
    }

    fn wake(&mut self, _: u64, out: &mut Out<'_>) {
        let to = *self.heard.borrow().last().unwrap();
        out.send(at(2, 7), to, |out| out.extend_from_slice(b"same port"));
        out.send(at(2, 8), to, |out| out.extend_from_slice(b"other port"));
        out.send(at(3, 7), to, |out| out.extend_from_slice(b"other address"));
    }
}

fn let_in(filter: NatFilter) -> Vec<(u64, String)> {
    let mut sim = steady(1);
    let host = inside(&mut sim, NatConfig { filter, ..NatConfig::new([198, 51, 100, 1].into()) });
    let heard = Rc::new(RefCell::new(Vec::new()));
    sim.responder_at(&[ip(2), ip(3)], None, Outside { heard: Rc::clone(&heard) });
    sim.send(host, Msg::Go);
    sim.run_for(secs(300));
    let heard = heard.borrow();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].ip(), std::net::IpAddr::from([198, 51, 100, 1]));
    assert_ne!(heard[0].port(), 6881);
    let log = &sim.model(host).log;
    log.iter()
        .filter_map(|(at, msg)| match msg {
            Msg::Datagram(_, datagram) => {
                let text = String::from_utf8_lossy(datagram.payload()).into_owned();
                Some((at.as_nanos() / 1_000_000_000, text))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_translator_lets_in_only_whom_its_filter_allows_until_the_mapping_expires() {
    let texts = |seconds: u64, texts: &[&str]| -> Vec<(u64, String)> {
        texts.iter().map(|text| (seconds, (*text).to_owned())).collect()
    };
    let all = ["same port", "other port", "other address"];
    for (filter, allowed) in
        [(NatFilter::AddressAndPort, 1), (NatFilter::Address, 2), (NatFilter::Anybody, 3)]
    {
        let expected = [texts(0, &all[..allowed]), texts(119, &all[..allowed])].concat();
        assert_eq!(let_in(filter), expected, "{filter:?}");
    }
}

#[test]
fn nobody_reaches_a_host_behind_a_translator_uninvited() {
    let mut sim = steady(1);
    let host = inside(&mut sim, NatConfig::new([198, 51, 100, 1].into()));
    struct Stranger;
    impl Responder for Stranger {
        fn start(&mut self, out: &mut Out<'_>) {
            out.send(at(2, 7), ([198, 51, 100, 1], 6881).into(), |_| {});
            out.send(at(2, 7), ([192, 168, 0, 2], 6881).into(), |_| {});
        }
    }
    sim.responder(ip(2), Stranger);
    sim.run_for(secs(10));
    assert_eq!(sim.model(host).log.len(), 0);
    assert_eq!((sim.network().filtered, sim.network().unreachable), (1, 1));
}

#[test]
fn neighbours_behind_one_translator_see_each_other_and_realms_may_share_addresses() {
    let mut sim = steady(1);
    let private = |last: u8| std::net::IpAddr::from([192, 168, 0, last]);
    let one = sim.nat(NatConfig::new([198, 51, 100, 1].into()));
    let other = sim.nat(NatConfig::new([198, 51, 100, 2].into()));
    let neighbour = SocketAddr::new(private(2), 1);
    let asker = script(
        &mut sim,
        HostConfig::new(private(1)).behind(one),
        port(SocketAddr::new(private(1), 1)),
        move |msg, _, cmd| {
            if let Msg::Start = msg {
                cmd.send(PORT, neighbour, |out| out.extend_from_slice(b"hi"));
            }
        },
    );
    sim.responder_at(&[private(2)], Some(one), Echo);
    sim.responder_at(&[private(2)], Some(other), Echo);
    sim.run_for(secs(1));
    assert_eq!(sim.model(asker).payloads(), [b"hi"]);
    assert_eq!(sim.network().sent, 2);
}

#[test]
fn rates_show_whom_a_program_presses() {
    let mut sim = steady(1);
    let rates = sim.measure_rates(secs(1));
    sender(&mut sim, HostConfig::new(ip(1)), at(2, 1), 1500);
    sender(&mut sim, HostConfig::new(ip(3)), at(2, 1), 500);
    sink(&mut sim, 2);
    sim.run_for(secs(5));
    assert_eq!((rates.peak_from(ip(1)), rates.peak_from(ip(3)), rates.peak_from(ip(2))), (1000, 500, 0));
    assert_eq!((rates.peak_to(ip(2)), rates.total_to(ip(2))), (1500, 2000));
    assert_eq!(rates.busiest_from(ip(1)), Some((ip(2), 1000)));
    assert_eq!(rates.peak_between(ip(3), ip(2)), 500);
}

#[test]
fn responders_wake_when_they_asked_for_it_and_crash_like_others() {
    struct Clock(Rc<RefCell<Vec<(Time, u64)>>>);
    impl Responder for Clock {
        fn start(&mut self, out: &mut Out<'_>) {
            out.wake_after(secs(1), 1);
            out.wake_after(secs(5), 5);
        }

        fn wake(&mut self, token: u64, out: &mut Out<'_>) {
            self.0.borrow_mut().push((out.now(), token));
        }
    }
    let woken = Rc::new(RefCell::new(Vec::new()));
    let mut sim = steady(1);
    let clock: SimNode = sim.responder(ip(1), Clock(Rc::clone(&woken)));
    sim.run_for(secs(3));
    sim.crash(clock);
    sim.run_for(secs(7));
    sim.restart(clock);
    sim.run_for(secs(3));
    let time = |seconds| Time::from(secs(seconds));
    assert_eq!(*woken.borrow(), [(time(1), 1), (time(11), 1)]);
}

#[test]
#[should_panic(expected = "the address 10.0.0.1 is taken")]
fn an_address_belongs_to_one_node() {
    let mut sim = Sim::new(1);
    sim.responder(ip(1), Echo);
    sim.responder(ip(1), Echo);
}

#[test]
#[should_panic(expected = "time stands still at 10ms")]
fn a_loop_in_which_no_time_passes_is_found() {
    struct Restless;
    impl Responder for Restless {
        fn start(&mut self, out: &mut Out<'_>) {
            out.wake_after(ms(10), 0);
        }

        fn wake(&mut self, _: u64, out: &mut Out<'_>) {
            out.wake_after(Duration::ZERO, 0);
        }
    }
    let mut sim = Sim::new(1);
    sim.responder(ip(1), Restless);
    sim.run_for(secs(1));
}
