//! A fetch under events in any order, with bytes that are sometimes right.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bittorrent::{
    Action, Candidate, Disconnect, Fetch, FetchConfig, Output, PeerId, PeerSource, Slot, Transport,
    TransportSet, WINDOW_MAX, extension_handshake::UT_METADATA_ID, ut_metadata::PIECE_BYTES,
    wire::EXTENDED_BYTES_MAX,
};
use krpc::InfoHash;
use proptest::prelude::*;
use sha1::{Digest as _, Sha1};

/// What happens next; numbers pick among what there is.
#[derive(Clone, Debug)]
enum Event {
    Offer(u8),
    Opened(u8),
    /// A peer that has not said anything shakes hands and offers, all in good order.
    Meet(Size),
    Data(u8, Vec<Say>),
    Closed(u8, u8),
    Wait(u16),
    /// Waits for the deadline.
    Due,
    NoMore,
}

/// Something that a peer may say.
#[derive(Clone, Debug)]
enum Say {
    Handshake {
        right: bool,
    },
    Offer {
        size: Size,
    },
    /// `wrong`: which byte is changed, if any.
    Piece {
        index: u8,
        wrong: Option<u16>,
    },
    Reject {
        index: u8,
    },
    Request,
    KeepAlive,
    Bitfield(u16),
    Garbage(Vec<u8>),
    /// Only the first so many bytes of what follows.
    Cut(u16),
}

#[derive(Clone, Copy, Debug)]
enum Size {
    Right,
    Claimed(i64),
}

/// Three pieces, the last a short one.
fn dict() -> Vec<u8> {
    (0..2 * PIECE_BYTES + 100).map(|n| ((n * n) >> 3) as u8).collect()
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        8 => Just(Size::Right),
        2 => (1..200_000_i64).prop_map(Size::Claimed),
        1 => any::<i64>().prop_map(Size::Claimed),
    ]
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        1 => prop::bool::weighted(0.95).prop_map(|right| Say::Handshake { right }),
        1 => size().prop_map(|size| Say::Offer { size }),
        40 => (0..3_u8, prop::option::weighted(0.1, any::<u16>()))
            .prop_map(|(index, wrong)| Say::Piece { index, wrong }),
        1 => (0..4_u8).prop_map(|index| Say::Reject { index }),
        1 => Just(Say::Request),
        1 => Just(Say::KeepAlive),
        1 => (1..5000_u16).prop_map(Say::Bitfield),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Say::Garbage),
        1 => (0..20_000_u16).prop_map(Say::Cut),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => any::<u8>().prop_map(Event::Offer),
        1 => any::<u8>().prop_map(Event::Opened),
        6 => size().prop_map(Event::Meet),
        8 => (any::<u8>(), prop::collection::vec(say(), 1..6)).prop_map(|(n, say)| Event::Data(n, say)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(n, why)| Event::Closed(n, why)),
        2 => (0..3000_u16).prop_map(Event::Wait),
        1 => Just(Event::Due),
        1 => prop::bool::weighted(0.05).prop_map(|no_more| if no_more { Event::NoMore } else { Event::Wait(1) }),
    ]
}

fn render(says: &[Say], raw: &[u8], hash: &InfoHash) -> Vec<u8> {
    let extended =
        |id: u8, payload: &[u8]| [&(payload.len() as u32 + 2).to_be_bytes()[..], &[20, id], payload].concat();
    let mut bytes = Vec::new();
    let mut cut = None;
    for say in says {
        match say {
            Say::Handshake { right } => {
                bytes.extend_from_slice(b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0");
                bytes.extend_from_slice(hash.as_bytes());
                bytes.extend_from_slice(b"-XX0000-abcdefghijkl");
                if !right {
                    let last = bytes.len() - 30;
                    bytes[last] ^= 1;
                }
            }
            Say::Offer { size } => {
                let size = match size {
                    Size::Right => raw.len() as i64,
                    Size::Claimed(claimed) => *claimed,
                };
                let text = format!("d1:md11:ut_metadatai4ee13:metadata_sizei{size}ee");
                bytes.extend(extended(0, text.as_bytes()));
            }
            Say::Piece { index, wrong } => {
                let start = usize::from(*index) * PIECE_BYTES;
                let mut piece =
                    raw.get(start..raw.len().min(start + PIECE_BYTES)).unwrap_or_default().to_vec();
                if let (Some(at), false) = (wrong, piece.is_empty()) {
                    let at = usize::from(*at) % piece.len();
                    piece[at] ^= 0x55;
                }
                let header = format!("d8:msg_typei1e5:piecei{index}ee");
                bytes.extend(extended(UT_METADATA_ID, &[header.as_bytes(), &piece].concat()));
            }
            Say::Reject { index } => {
                bytes.extend(extended(UT_METADATA_ID, format!("d8:msg_typei2e5:piecei{index}ee").as_bytes()));
            }
            Say::Request => bytes.extend(extended(UT_METADATA_ID, b"d8:msg_typei0e5:piecei0ee")),
            Say::KeepAlive => bytes.extend_from_slice(&[0; 4]),
            Say::Bitfield(len) => {
                bytes.extend_from_slice(&u32::from(*len + 1).to_be_bytes());
                bytes.push(5);
                bytes.resize(bytes.len() + usize::from(*len), 0xff);
            }
            Say::Garbage(garbage) => bytes.extend_from_slice(garbage),
            Say::Cut(len) => cut = Some(bytes.len() + usize::from(*len)),
        }
    }
    bytes.truncate(cut.unwrap_or(bytes.len()));
    bytes
}

struct Owner {
    fetch: Fetch,
    out: Output,
    now: Duration,
    /// Open connections and, for each, the bytes that were written to it.
    open: BTreeMap<Slot, Vec<u8>>,
    connects: usize,
    reports: usize,
    finished: bool,
    raw: Vec<u8>,
    bytes_max: usize,
}

impl Owner {
    fn slot(&self, pick: u8) -> Option<Slot> {
        self.open.keys().nth(usize::from(pick) % self.open.len().max(1)).copied()
    }

    fn act(&mut self) -> Result<(), TestCaseError> {
        let mut out = std::mem::take(&mut self.out);
        for action in out.drain() {
            prop_assert!(!self.finished, "nothing follows the end");
            match action {
                Action::Connect { slot, addr, .. } => {
                    prop_assert!(addr.port() != 0);
                    prop_assert!(self.open.insert(slot, Vec::new()).is_none());
                    self.connects += 1;
                }
                Action::Write { slot, bytes } => {
                    let written = self.open.get_mut(&slot);
                    prop_assert!(written.is_some(), "only open connections are written to");
                    written.unwrap().extend_from_slice(bytes);
                }
                Action::Close { slot, .. } => prop_assert!(self.open.remove(&slot).is_some()),
                Action::Report(report) => {
                    self.reports += 1;
                    prop_assert!(report.lasted <= self.now);
                }
                Action::Liar(_) | Action::Exchanged { .. } => {}
                Action::Done(done) => {
                    prop_assert_eq!(&done.raw, &self.raw, "done only with the verified bytes");
                    prop_assert!(!done.givers.is_empty());
                    self.finished = true;
                }
                Action::Failed(_) => self.finished = true,
            }
        }
        self.out = out;
        prop_assert_eq!(self.open.len(), self.fetch.peer_count());
        prop_assert!(self.open.len() <= 4);
        prop_assert_eq!(self.finished, self.fetch.is_finished());
        prop_assert_eq!(self.connects, self.reports + self.open.len());
        // Each message in the making may have twice its size reserved; the notes are 128 bytes or less each.
        let bound = self.bytes_max + 4 * 2 * EXTENDED_BYTES_MAX as usize + 4096 * 128;
        prop_assert!(self.fetch.bytes_held() <= bound);
        if self.finished {
            prop_assert_eq!(self.open.len(), 0);
            prop_assert_eq!(self.fetch.bytes_held(), 0);
            prop_assert_eq!(self.fetch.next_deadline(), None);
        }
        Ok(())
    }
}

fn run(events: Vec<Event>, allowed: &[Transport]) -> Result<Owner, TestCaseError> {
    let raw = dict();
    let hash = InfoHash::from_bytes(Sha1::digest(&raw).into());
    let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-000000000000"));
    config.peer.metadata_bytes_max = 200_000;
    config.fetch_bytes_max = 200_000;
    config.endpoints_max = 60;
    config.transports.allowed = TransportSet::of(allowed);
    config.check().unwrap();
    let mut owner = Owner {
        fetch: Fetch::new(hash, Arc::new(config.clone()), Duration::ZERO),
        out: Output::new(),
        now: Duration::ZERO,
        open: BTreeMap::new(),
        connects: 0,
        reports: 0,
        finished: false,
        raw: raw.clone(),
        bytes_max: config.fetch_bytes_max,
    };
    let mut met = BTreeSet::new();
    for event in events {
        let Owner { fetch, out, now, .. } = &mut owner;
        match event {
            Event::Offer(n) => {
                let addr = SocketAddr::from(([127, 0, 0, n], u16::from(n % 7) * 1000));
                let candidate = Candidate::with_swapped_port(addr, PeerSource::Lookup);
                fetch.add_candidate(*now, candidate, out);
            }
            Event::Opened(pick) => {
                if let Some(slot) = owner.slot(pick) {
                    owner.fetch.peer_opened(owner.now, slot, &mut owner.out);
                }
            }
            Event::Meet(size) => {
                let fresh = owner.open.keys().find(|slot| !met.contains(*slot)).copied();
                if let Some(slot) = fresh {
                    met.insert(slot);
                    owner.fetch.peer_opened(owner.now, slot, &mut owner.out);
                    let bytes = render(&[Say::Handshake { right: true }, Say::Offer { size }], &raw, &hash);
                    owner.fetch.peer_data(owner.now, slot, &bytes, &mut owner.out);
                }
            }
            Event::Data(pick, says) => {
                let known = owner.open.keys().filter(|slot| met.contains(*slot));
                let known: Vec<Slot> = known.copied().collect();
                let slot = match pick % 8 {
                    0 => owner.slot(pick),
                    _ => known.get(usize::from(pick) % known.len().max(1)).copied(),
                };
                if let Some(slot) = slot {
                    let bytes = render(&says, &raw, &hash);
                    owner.fetch.peer_data(owner.now, slot, &bytes, &mut owner.out);
                }
            }
            Event::Closed(pick, why) => {
                if let Some(slot) = owner.slot(pick) {
                    owner.open.remove(&slot);
                    let why = [
                        Disconnect::Eof,
                        Disconnect::Reset,
                        Disconnect::Refused,
                        Disconnect::Timeout,
                        Disconnect::Overload,
                        Disconnect::Other,
                    ][usize::from(why) % 6];
                    owner.fetch.peer_closed(owner.now, slot, why, &mut owner.out);
                }
            }
            Event::Wait(millis) => {
                *now += Duration::from_millis(millis.into());
                fetch.tick(*now, out);
                prop_assert!(fetch.next_deadline().is_none_or(|next| next > *now));
            }
            Event::Due => {
                if let Some(due) = fetch.next_deadline() {
                    *now = due.max(*now);
                    fetch.tick(*now, out);
                    prop_assert!(fetch.next_deadline().is_none_or(|next| next > *now));
                }
            }
            Event::NoMore => fetch.no_more_candidates(*now, out),
        }
        owner.act()?;
    }
    // Left alone, it comes to an end within its time.
    for _ in 0..1000 {
        let Some(due) = owner.fetch.next_deadline() else { break };
        owner.now = owner.now.max(due);
        owner.fetch.tick(owner.now, &mut owner.out);
        owner.act()?;
    }
    prop_assert!(owner.finished);
    Ok(owner)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_in_any_order_keep_the_invariants(
        events in prop::collection::vec(event(), 1..120),
        allowed in prop_oneof![
            Just(vec![Transport::Tcp]),
            prop::sample::subsequence(Transport::ALL.to_vec(), 1..=4),
        ],
    ) {
        run(events, &allowed)?;
    }
}

/// The same as a fixed conversation, so that the property above is known to reach success.
#[test]
fn the_random_peers_can_succeed() {
    let piece = |index| Say::Piece { index, wrong: None };
    let owner = run(
        vec![
            Event::Offer(1),
            Event::Opened(0),
            Event::Data(
                0,
                vec![Say::Handshake { right: true }, Say::Bitfield(30), Say::Offer { size: Size::Right }],
            ),
            Event::Data(0, vec![piece(2), piece(0), piece(1)]),
        ],
        &Transport::ALL,
    )
    .unwrap();
    assert_eq!(owner.fetch.counters().done, 1);
}

#[test]
fn requests_in_flight_never_exceed_the_window() {
    let raw = vec![1; 100 * PIECE_BYTES];
    let hash = InfoHash::from_bytes(Sha1::digest(&raw).into());
    let config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-000000000000"));
    let mut fetch = Fetch::new(hash, Arc::new(config), Duration::ZERO);
    let mut out = Output::new();
    let candidate = Candidate::new(([127, 0, 0, 1], 1).into(), PeerSource::Lookup);
    fetch.add_candidate(Duration::ZERO, candidate, &mut out);
    let Some(Action::Connect { slot, .. }) = out.drain().next() else { panic!("a connect") };
    fetch.peer_opened(Duration::ZERO, slot, &mut out);
    let hello = render(&[Say::Handshake { right: true }, Say::Offer { size: Size::Right }], &raw, &hash);
    fetch.peer_data(Duration::ZERO, slot, &hello, &mut out);
    let mut asked = 0;
    for index in 0..100_u8 {
        for action in out.drain() {
            if let Action::Write { bytes, .. } = action {
                asked += bytes.windows(9).filter(|window| window == b"msg_typei").count();
            }
        }
        let in_flight = asked - usize::from(index);
        assert!(in_flight <= WINDOW_MAX);
        let expected = (4 + usize::from(index)).min(WINDOW_MAX).min(100 - usize::from(index));
        assert_eq!(in_flight, expected, "after {index} answers");
        let piece = render(&[Say::Piece { index, wrong: None }], &raw, &hash);
        fetch.peer_data(Duration::ZERO, slot, &piece, &mut out);
    }
    assert_eq!(fetch.counters().done, 1);
}
