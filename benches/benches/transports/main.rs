//! What it costs to fetch an info dict by each transport: the fetch, and both ends of the transport.
//!
//! `cargo bench -p benches --bench transports`
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::panic, reason = "a benchmark of fetches that fail is worth nothing")]

mod carriers;
mod seeder;

use std::{hint::black_box, sync::Arc, time::Duration};

use benches::{Contender, Cost, Table, take_turns};
use bittorrent::{
    Action, Candidate, Fetch, FetchConfig, Output, PeerId, PeerSource, Slot, Transport, TransportSet,
    mse::CryptoMethods,
};
use carriers::{Carrier, Direct, OverUtp};
use krpc::InfoHash;
use seeder::Seeder;
use sha1::{Digest as _, Sha1};

const ROUNDS: usize = 31;
/// Fetches in a round.
const FETCHES: usize = 40;
/// The size of a common info dict: two pieces.
const INFO_BYTES: usize = 30 << 10;

fn main() {
    let raw: Vec<u8> = (0..INFO_BYTES).map(|n| ((n * n) >> 5) as u8).collect();
    println!(
        "a fetch of {INFO_BYTES} bytes, us CPU time, best of {ROUNDS} rounds (median): our side, and the other end of the\n\
         transport; what the seeder says is prepared. floor: the bytes are copied and hashed.\n"
    );
    let hash = InfoHash::from_bytes(Sha1::digest(&raw).into());
    let fetches = |transport, methods| {
        let (raw, config) = (&raw, config(transport, methods));
        Contender::new(move || {
            for _ in 0..FETCHES {
                fetch(raw, hash, &config, methods);
            }
            FETCHES as u64
        })
    };
    let floor = Contender::new(|| {
        for _ in 0..FETCHES {
            let copy = black_box(&raw).clone();
            assert_eq!(Sha1::digest(&copy)[..], hash.as_bytes()[..]);
        }
        FETCHES as u64
    });
    let names =
        ["floor", "tcp", "encrypted tcp, plaintext", "encrypted tcp, RC4", "utp", "encrypted utp, RC4"];
    let costs = take_turns(
        ROUNDS,
        [
            floor,
            fetches(Transport::Tcp, CryptoMethods::BOTH),
            fetches(Transport::EncryptedTcp, CryptoMethods::PLAINTEXT),
            fetches(Transport::EncryptedTcp, CryptoMethods::RC4),
            fetches(Transport::Utp, CryptoMethods::BOTH),
            fetches(Transport::EncryptedUtp, CryptoMethods::RC4),
        ],
    );
    let [_, tcp, ..] = costs;
    let mut table = Table::new(["", "us", "beyond tcp, us"]);
    for (name, Cost { min_ns, median_ns }) in names.into_iter().zip(costs) {
        let us = format!("{:.1} ({:.1})", min_ns / 1e3, median_ns / 1e3);
        table.row([name.to_owned(), us, format!("{:.1}", (min_ns - tcp.min_ns) / 1e3)]);
    }
    println!("{table}");
}

fn config(transport: Transport, methods: CryptoMethods) -> Arc<FetchConfig> {
    let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-abcdefghijkl"));
    config.transports.allowed = TransportSet::of(&[transport]);
    config.transports.methods = methods;
    Arc::new(config)
}

/// One fetch from one seeder, from the candidate to the verified bytes.
fn fetch(raw: &[u8], hash: InfoHash, config: &Arc<FetchConfig>, methods: CryptoMethods) {
    let now = Duration::from_secs(1);
    let mut out = Output::new();
    let mut fetch = Fetch::new(hash, Arc::clone(config), now);
    let addr = ([127, 0, 0, 1], 6881).into();
    fetch.add_candidate(now, Candidate::new(addr, PeerSource::Lookup), &mut out);
    let Some(Action::Connect { slot, transport, .. }) = out.drain().next() else { panic!("a connect") };
    let seeder = Seeder::new(raw, hash, transport.is_encrypted().then_some(methods));
    match transport.is_utp() {
        true => carry(&mut fetch, slot, &mut out, OverUtp::new(seeder, now, addr), now),
        false => carry(&mut fetch, slot, &mut out, Direct::new(seeder), now),
    }
}

fn carry(fetch: &mut Fetch, slot: Slot, out: &mut Output, mut carrier: impl Carrier, now: Duration) {
    fetch.peer_opened(now, slot, out);
    loop {
        for action in out.drain() {
            match action {
                Action::Write { bytes, .. } => carrier.write(bytes),
                Action::Done(fetched) => {
                    black_box(&fetched.raw);
                    return;
                }
                Action::Failed(failure) => panic!("{failure:?}"),
                _ => {}
            }
        }
        let mut came = false;
        carrier.exchange(now, &mut |bytes| {
            came = true;
            fetch.peer_data(now, slot, bytes, out);
        });
        assert!(came || !out.is_empty(), "the seeder has nothing to say");
    }
}
