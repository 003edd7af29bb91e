//! Seeders that serve metadata, each in the manner of its client.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::config::Habits;
use crate::peer_wire::{
    Introduction, PIECE, Said, extension_handshake, full_bitfield, metadata_data, metadata_reject, said,
};
use crate::population::Conduct;
use crate::stats::Counters;
use crate::torrent::Torrent;
use crate::wire::Wire;

/// Requests that a prompt seeder answers at once, and again each [`PROMPT_PERIOD`] (libtorrent's figures).
const PROMPT_AT_ONCE: usize = 10;
const PROMPT_PERIOD: Duration = Duration::from_secs(1);
/// Requests that wait for their turn; further ones are dropped.
const WAITING_MAX: usize = 64;

/// A client as it shows itself on the wire.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) peer_id: &'static [u8; 8],
    pub(crate) ut_metadata: u8,
    /// Whether its bitfield goes before its extension handshake.
    bitfield_first: bool,
}

/// The client whose manner this is; `lot` chooses among several of one manner.
pub(crate) fn client(conduct: Conduct, lot: u64) -> Client {
    match (conduct, lot % 4) {
        (Conduct::OneAtATime, _) => {
            Client { name: "libTorrent 0.13.8", peer_id: b"-lt0D80-", ut_metadata: 2, bitfield_first: true }
        }
        (Conduct::Ticking, _) => {
            Client { name: "Transmission 3.00", peer_id: b"-TR3000-", ut_metadata: 3, bitfield_first: true }
        }
        (_, 0) => Client { name: "aria2/1.36.0", peer_id: b"A2-1-36-", ut_metadata: 9, bitfield_first: true },
        (_, 1) => {
            Client { name: "WebTorrent/2.1", peer_id: b"-WW0201-", ut_metadata: 1, bitfield_first: false }
        }
        _ => {
            Client { name: "libtorrent/2.0.9.0", peer_id: b"-LT2090-", ut_metadata: 2, bitfield_first: false }
        }
    }
}

/// Serves one connection after the handshakes until the peer closes it.
pub(crate) async fn converse(
    wire: &mut Wire,
    conduct: Conduct,
    habits: &Habits,
    client: &Client,
    torrent: &Torrent,
    info: &[u8],
    counters: &Counters,
) -> io::Result<()> {
    let introduction = extension_handshake(&Introduction {
        ut_metadata: Some(client.ut_metadata),
        metadata_size: Some(info.len() as u64),
        client: client.name,
        requests_max: 250,
    });
    let bitfield = full_bitfield(torrent.total_size.div_ceil(u64::from(torrent.piece_length)) as usize);
    let parts = if client.bitfield_first { [bitfield, introduction] } else { [introduction, bitfield] };
    wire.write(&parts.concat()).await?;

    let mut metadata = Metadata::new(info, counters);
    let mut waiting: VecDeque<i64> = VecDeque::new();
    let mut at_once = PROMPT_AT_ONCE;
    let mut timer = interval(match conduct {
        Conduct::Ticking => habits.tick,
        Conduct::Slow => habits.slow_piece,
        _ => PROMPT_PERIOD,
    });
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer.reset();
    let mut connected = true;
    while connected {
        let mut served_in_burst = 0;
        while let Some(payload) = wire.next_extended()? {
            match said(&payload, client.ut_metadata) {
                Said::Introduction { ut_metadata } => metadata.peer_id = ut_metadata,
                Said::Request { piece } => {
                    counters.metadata_requests.add_one();
                    let now = match conduct {
                        Conduct::OneAtATime if served_in_burst > 0 => {
                            counters.metadata_requests_dropped.add_one();
                            continue;
                        }
                        Conduct::OneAtATime => true,
                        Conduct::Ticking | Conduct::Slow => false,
                        Conduct::Prompt | Conduct::Hostile(_) => at_once > 0,
                    };
                    if now {
                        at_once = at_once.saturating_sub(1);
                        served_in_burst += 1;
                        metadata.serve(wire, piece).await?;
                    } else if waiting.len() < WAITING_MAX {
                        waiting.push_back(piece);
                    } else {
                        counters.metadata_requests_dropped.add_one();
                    }
                }
                Said::Other => {}
            }
        }
        tokio::select! {
            open = wire.fill() => connected = open?,
            _ = timer.tick() => {
                let turns = match conduct {
                    Conduct::Ticking => WAITING_MAX,
                    Conduct::Slow => 1,
                    _ => PROMPT_AT_ONCE,
                };
                at_once = PROMPT_AT_ONCE;
                for piece in waiting.drain(..waiting.len().min(turns)) {
                    at_once = at_once.saturating_sub(1);
                    metadata.serve(wire, piece).await?;
                }
            }
        }
    }
    Ok(())
}

/// An info dict on its way to one peer.
struct Metadata<'a> {
    info: &'a [u8],
    counters: &'a Counters,
    /// The peer's number for ut_metadata, once it told.
    peer_id: Option<u8>,
    served: Vec<bool>,
}

impl<'a> Metadata<'a> {
    fn new(info: &'a [u8], counters: &'a Counters) -> Self {
        Self { info, counters, peer_id: None, served: vec![false; info.len().div_ceil(PIECE)] }
    }

    async fn serve(&mut self, wire: &mut Wire, piece: i64) -> io::Result<()> {
        // Without its number the peer could not tell the answer from other messages.
        let Some(id) = self.peer_id else { return Ok(()) };
        let index = usize::try_from(piece).unwrap_or(usize::MAX);
        let Some(data) = self.info.chunks(PIECE).nth(index) else {
            return wire.write(&metadata_reject(id, piece)).await;
        };
        // Counted before it is written: who has it may look at the counters at once.
        self.counters.metadata_pieces.add_one();
        let complete_before = self.served.iter().all(|served| *served);
        self.served[index] = true;
        if !complete_before && self.served.iter().all(|served| *served) {
            self.counters.fetches_served.add_one();
        }
        wire.write(&metadata_data(id, piece, self.info.len() as u64, data)).await
    }
}
