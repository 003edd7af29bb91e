//! Info dicts that we give: to fetches of ours, through every transport's bytes, and to whoever behaves badly.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod world;

use std::{sync::Arc, time::Duration};

use bittorrent::{
    Action, ByteBudget, Candidate, Fetch, FetchConfig, FetchCounters, Fetched, GivingConfig, GivingEnd,
    MetadataServer, Output, PeerFault, PeerId, PeerOutcome, PeerSource, Transport, TransportSet,
    mse::{CryptoMethods, torrent_key},
    ut_metadata::PIECE_BYTES,
};
use krpc::InfoHash;
use proptest::prelude::*;
use world::{
    World, addr,
    honest::{Habit, Honest, extended, handshake},
    scripted::{EXTENSION_HANDSHAKE, HANDSHAKE, Scripted, Step, send},
    v1_hash,
};

const GIVER: PeerId = PeerId::from_bytes(*b"-ix0100-giver-giver!");
const START: Duration = Duration::from_secs(77);

fn giving() -> Arc<GivingConfig> {
    Arc::new(GivingConfig::new(GIVER))
}

fn plenty() -> ByteBudget {
    ByteBudget::new(u32::MAX, u32::MAX, START)
}

/// A server of one torrent, and what it has sent.
struct Giver {
    server: MetadataServer,
    raw: Arc<[u8]>,
    hash: InfoHash,
    sent: Vec<u8>,
}

impl Giver {
    fn new(raw: &[u8], config: Arc<GivingConfig>) -> Self {
        let server = MetadataServer::accepted(config, [5; 32], START);
        Self { server, raw: raw.into(), hash: v1_hash(raw), sent: Vec::new() }
    }

    fn receive(&mut self, now: Duration, bytes: &[u8]) -> Result<(), GivingEnd> {
        let hash = self.hash;
        let find = |key: &[u8; 20]| (*key == torrent_key(&hash)).then_some(hash);
        if let Some(asked) = self.server.receive(now, bytes, find, &mut self.sent)? {
            if asked != hash {
                return Err(GivingEnd::UnknownTorrent);
            }
            self.server.provide(now, Arc::clone(&self.raw), &mut self.sent)?;
        }
        self.server.serve(now, &mut plenty(), &mut self.sent);
        Ok(())
    }
}

/// A fetch of ours from a server of ours; portions of these sizes in turn.
fn fetch_from(
    raw: &[u8],
    transport: Transport,
    methods: CryptoMethods,
    portions: &[usize],
) -> Result<(Fetched, FetchCounters), String> {
    let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-taker-taker!"));
    config.transports.allowed = TransportSet::of(&[transport]);
    config.transports.methods = methods;
    let mut giver = Giver::new(raw, giving());
    let mut fetch = Fetch::new(v1_hash(raw), Arc::new(config), START);
    let mut out = Output::new();
    fetch.add_candidate(START, Candidate::new(addr(1), PeerSource::Requested), &mut out);
    fetch.no_more_candidates(START, &mut out);
    let (mut slot, mut portion) = (None, portions.iter().cycle());
    // Each turn is one way over the wire.
    for turn in 0..100_000_u64 {
        let now = START + Duration::from_millis(turn);
        let mut to_giver = Vec::new();
        let mut opened = false;
        for action in out.drain() {
            match action {
                Action::Connect { slot: named, .. } => (slot, opened) = (Some(named), true),
                Action::Write { bytes, .. } => to_giver.extend_from_slice(bytes),
                Action::Done(fetched) => return Ok((*fetched, fetch.counters().clone())),
                Action::Failed(failure) => return Err(format!("{failure:?}")),
                Action::Report(report) => assert!(report.outcome == PeerOutcome::Served, "{report:?}"),
                _ => {}
            }
        }
        let slot = slot.unwrap();
        if opened {
            fetch.peer_opened(now, slot, &mut out);
        }
        let mut rest = &to_giver[..];
        while !rest.is_empty() {
            let (now_part, later) = rest.split_at(rest.len().min(*portion.next().unwrap()));
            rest = later;
            giver.receive(now, now_part).map_err(|end| format!("{end:?}"))?;
        }
        giver.server.serve(now, &mut plenty(), &mut giver.sent);
        let mut sent = &std::mem::take(&mut giver.sent)[..];
        while !sent.is_empty() {
            let (now_part, later) = sent.split_at(sent.len().min(*portion.next().unwrap()));
            sent = later;
            fetch.peer_data(now, slot, now_part, &mut out);
        }
    }
    Err("nothing comes of it".to_owned())
}

#[test]
fn a_fetch_of_ours_gets_every_length_by_every_transport() {
    for len in [1, PIECE_BYTES, PIECE_BYTES + 1, 34_256, 700_000] {
        let raw = world::dict(len);
        for (transport, methods) in [
            (Transport::Tcp, CryptoMethods::BOTH),
            (Transport::EncryptedTcp, CryptoMethods::RC4),
            (Transport::EncryptedTcp, CryptoMethods::BOTH),
            (Transport::EncryptedTcp, CryptoMethods::PLAINTEXT),
        ] {
            let (fetched, counters) = fetch_from(&raw, transport, methods, &[usize::MAX]).unwrap();
            assert_eq!(fetched.raw, raw, "{len} bytes by {transport:?}, {methods:?}");
            assert_eq!(counters.requests_repeated, 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_bytes_may_come_in_any_portions(
        len in 1..50_000_usize,
        portions in prop::collection::vec(1..2000_usize, 1..8),
        encrypted: bool,
    ) {
        let raw = world::dict(len);
        let transport = if encrypted { Transport::EncryptedTcp } else { Transport::Tcp };
        let (fetched, _) = fetch_from(&raw, transport, CryptoMethods::RC4, &portions).unwrap();
        prop_assert_eq!(fetched.raw, raw);
    }

    #[test]
    fn whatever_comes_is_borne(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        greeted: bool,
        portion in 1..500_usize,
    ) {
        let raw = world::dict(30_000);
        let mut giver = Giver::new(&raw, giving());
        if greeted {
            giver.receive(START, &handshake(v1_hash(&raw).as_bytes(), b"-XX0000-xxxxxxxxxxxx")).unwrap();
        }
        for part in bytes.chunks(portion) {
            if giver.receive(START, part).is_err() {
                break;
            }
            prop_assert!(giver.server.bytes_held() < 100_000);
        }
        prop_assert!(giver.server.deadline() <= START + GivingConfig::new(GIVER).lifetime_max);
    }
}

/// A server that has been greeted by somebody who takes `ut_metadata` as 7.
fn greeted(raw: &[u8]) -> Giver {
    let mut giver = Giver::new(raw, giving());
    let hello = [
        handshake(v1_hash(raw).as_bytes(), b"-XX0000-xxxxxxxxxxxx"),
        extended(0, b"d1:md11:ut_metadatai7eee"),
    ];
    giver.receive(START, &hello.concat()).unwrap();
    giver.sent.clear();
    giver
}

fn request(piece: i64) -> Vec<u8> {
    extended(2, format!("d8:msg_typei0e5:piecei{piece}ee").as_bytes())
}

#[test]
fn it_says_truly_what_it_has() {
    let raw = world::dict(20_000);
    let mut giver = Giver::new(&raw, giving());
    giver.receive(START, &handshake(v1_hash(&raw).as_bytes(), b"-XX0000-xxxxxxxxxxxx")).unwrap();
    let (hello, rest) = giver.sent.split_at(68);
    assert_eq!(&hello[28..48], v1_hash(&raw).as_bytes());
    assert_eq!(&hello[48..], GIVER.as_bytes());
    assert_eq!(rest, extended(0, b"d1:md11:ut_metadatai2ee13:metadata_sizei20000ee"));
    assert_eq!(giver.server.peer_id(), Some(PeerId::from_bytes(*b"-XX0000-xxxxxxxxxxxx")));
}

#[test]
fn pieces_come_as_asked_and_what_is_not_there_is_rejected() {
    let raw = world::dict(20_000);
    let mut giver = greeted(&raw);
    giver
        .receive(START, &[request(1), request(0), request(2), request(-1), request(i64::MAX)].concat())
        .unwrap();
    // Rejects need no budget, so they may come before what was asked for earlier.
    let rejects = [2, -1, i64::MAX].map(|piece| world::honest::reject(7, piece)).concat();
    let pieces = [
        world::honest::data(7, 1, 20_000, &raw[PIECE_BYTES..]),
        world::honest::data(7, 0, 20_000, &raw[..PIECE_BYTES]),
    ];
    assert_eq!(giver.sent, [rejects, pieces.concat()].concat());
    assert_eq!((giver.server.given(), giver.server.rejected()), (2, 3));
    assert_eq!(giver.server.tick(START + Duration::from_secs(1)), None);
    assert_eq!(giver.server.tick(START + Duration::from_secs(2)), Some(GivingEnd::Served));
}

#[test]
fn who_asks_without_saying_where_to_send_it_gets_nothing() {
    let raw = world::dict(100);
    let mut giver = Giver::new(&raw, giving());
    giver.receive(START, &handshake(v1_hash(&raw).as_bytes(), b"-XX0000-xxxxxxxxxxxx")).unwrap();
    giver.sent.clear();
    giver.receive(START, &request(0)).unwrap();
    assert_eq!((giver.sent.len(), giver.server.given()), (0, 0));
}

#[test]
fn one_connection_gets_each_piece_twice_at_most_and_then_is_ended() {
    let raw = world::dict(3 * PIECE_BYTES);
    let mut giver = greeted(&raw);
    let mut end = None;
    for n in 0..1000 {
        if let Err(why) = giver.receive(START, &request(n % 3)) {
            end = Some((n, why));
            break;
        }
    }
    assert_eq!(giver.server.given(), 6);
    assert_eq!(end, Some((6 + 32, GivingEnd::Fault(PeerFault::TooMuchNoise))));
}

#[test]
fn what_goes_out_keeps_to_both_budgets() {
    let raw = world::dict(40 * PIECE_BYTES);
    let mut giver = greeted(&raw);
    let mut all = ByteBudget::new(u32::MAX, u32::MAX, START);
    let mut sent = Vec::new();
    let requests: Vec<u8> = (0..40).flat_map(request).collect();
    giver.server.receive(START, &requests, |_| None, &mut sent).unwrap();
    let mut bytes = 0;
    for millis in 0..1000 {
        bytes += giver.server.serve(START + Duration::from_millis(millis), &mut all, &mut sent);
    }
    // A burst of 128 KiB, and 256 KiB a second.
    assert!((368 << 10..=384 << 10).contains(&bytes), "{bytes}");
    assert!(giver.server.waits());

    let mut giver = greeted(&raw);
    let mut all = ByteBudget::new(16 << 10, 16 << 10, START);
    giver.server.receive(START, &requests, |_| None, &mut sent).unwrap();
    let mut serve = |millis| giver.server.serve(START + Duration::from_millis(millis), &mut all, &mut sent);
    assert_eq!(
        [0, 10, 999, 1001, 1500, 2002].map(&mut serve),
        [PIECE_BYTES, 0, 0, PIECE_BYTES, 0, PIECE_BYTES]
    );
    // While requests wait for our budget, it is not the other side that is silent.
    assert_eq!(giver.server.tick(START + Duration::from_secs(60)), None);
    assert_eq!(giver.server.tick(START + Duration::from_secs(120)), Some(GivingEnd::LifetimeOver));
}

#[test]
fn strangers_and_ourselves_are_told_apart_and_sent_away() {
    let raw = world::dict(100);
    let hash = *v1_hash(&raw).as_bytes();
    let end = |bytes: &[u8]| Giver::new(&raw, giving()).receive(START, bytes);
    assert_eq!(end(&handshake(&hash, GIVER.as_bytes())), Err(GivingEnd::SelfConnection));
    assert_eq!(end(&handshake(&[9; 20], b"-XX0000-xxxxxxxxxxxx")), Err(GivingEnd::UnknownTorrent));
    let mut plain = handshake(&hash, b"-XX0000-xxxxxxxxxxxx");
    plain[25] = 0;
    assert_eq!(end(&plain), Err(GivingEnd::NoExtensionProtocol));
    // Not a handshake, so taken for a key; then nothing that proves that it is one.
    assert_eq!(end(&[b"GET / HTTP/1.1\r\n".to_vec(), vec![7; 1000]].concat()), Err(GivingEnd::NoHandshake));
    assert_eq!(end(&[0; 700]), Err(GivingEnd::NoHandshake));
    assert_eq!(end(b"\x13BitTorrent protocoX"), Ok(()));
}

#[test]
fn silence_ends_each_stage() {
    let raw = world::dict(100);
    let config = GivingConfig::new(GIVER);
    let giver = Giver::new(&raw, giving());
    assert_eq!(giver.server.tick(START + config.stage_timeout), Some(GivingEnd::Silent));
    let mut giver = Giver::new(&raw, giving());
    giver.receive(START + Duration::from_secs(5), &[0x13]).unwrap();
    assert_eq!(giver.server.deadline(), START + config.stage_timeout, "a byte at a time wins nothing");
    let giver = greeted(&raw);
    assert_eq!(giver.server.tick(START + config.stage_timeout), Some(GivingEnd::Silent));
}

#[test]
fn a_peer_that_wants_the_info_dict_itself_is_given_it_when_it_has_come() {
    let raw = world::dict(40_000);
    let hash = v1_hash(&raw);
    for fatal in [false, true] {
        let mut config = world::config();
        config.giving = Some(giving());
        let mut world = World::with_config(hash, config);
        let hello = [
            handshake(hash.as_bytes(), b"-XX0000-eeeeeeeeeeee"),
            extended(0, b"d1:md11:ut_metadatai7e6:ut_pexi9eee"),
        ];
        let mut steps = vec![(HANDSHAKE, send(hello.concat()))];
        if fatal {
            // It leaves before there is anything to give.
            steps.push((EXTENSION_HANDSHAKE, Step::Close(bittorrent::Disconnect::Eof)));
        }
        world.add(addr(1), Scripted::new(steps));
        world.run_until(world.now + Duration::from_secs(1));
        world.add(addr(2), Honest::new(&raw, Habit::Prompt));
        while world.done.is_none() {
            assert!(world.step());
        }
        let handovers = world.fetch.handovers();
        assert_eq!(handovers.len(), usize::from(!fatal));
        assert_eq!(world.fetch.counters().handed_over, u32::from(!fatal));
        let Some(mut handover) = handovers.into_iter().next() else { continue };
        assert_eq!(handover.addr, addr(1));
        assert!(world.closes.iter().all(|(closed, _)| *closed != addr(1)), "its connection stays");
        assert_eq!(world.outcome(addr(1)), PeerOutcome::NotNeeded);

        let (now, mut sent) = (world.now, Vec::new());
        handover.server.provide(now, raw.clone().into(), &mut sent).unwrap();
        assert_eq!(sent, extended(0, b"d1:md11:ut_metadatai2ee13:metadata_sizei40000ee"));
        sent.clear();
        handover.server.receive(now, &request(2), |_| None, &mut sent).unwrap();
        handover.server.serve(now, &mut ByteBudget::new(u32::MAX, u32::MAX, now), &mut sent);
        assert_eq!(sent, world::honest::data(7, 2, 40_000, &raw[2 * PIECE_BYTES..]));
    }
}
