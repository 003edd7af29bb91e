//! Seeders that mean harm: what [`Hostile`] promises, carried out.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::config::Hostile;
use crate::honest::Client;
use crate::peer_wire::{
    Introduction, PIECE, Said, extension_handshake, message, metadata_data, metadata_reject, said,
};
use crate::wire::Wire;

/// Pause between the bytes of a slow seeder.
const SLOW_BYTE: Duration = Duration::from_millis(400);
/// Pause between the writes of a flooding one: 16 MB/s, more than any fetch is worth and less than a core.
const FLOOD_PAUSE: Duration = Duration::from_millis(1);
/// Type of the messages of an endless seeder, unassigned in every extension.
const UNKNOWN_MESSAGE: u8 = 0xc8;

/// Does its harm on one connection after the handshake; `lot` tells apart seeders of one kind.
pub(crate) async fn converse(
    wire: &mut Wire,
    kind: Hostile,
    lot: u32,
    client: &Client,
    info: &[u8],
) -> io::Result<()> {
    let size = match (kind, lot % 3) {
        (Hostile::WrongSize, 0) => (info.len() + PIECE) as u64,
        (Hostile::WrongSize, 1) => info.len() as u64 - 1,
        (Hostile::WrongSize, _) => (1 << 31) - 2,
        _ => info.len() as u64,
    };
    let offers = kind != Hostile::NoMetadata;
    let introduction = extension_handshake(&Introduction {
        ut_metadata: offers.then_some(client.ut_metadata),
        metadata_size: offers.then_some(size),
        client: client.name,
        requests_max: 250,
    });
    wire.write(&introduction).await?;
    match kind {
        Hostile::Silent | Hostile::NoMetadata => return wire.drain().await,
        Hostile::Endless => {
            let burst = message(UNKNOWN_MESSAGE, &[0x5a; 1 << 10]).repeat(16);
            loop {
                wire.write(&burst).await?;
                sleep(FLOOD_PAUSE).await;
            }
        }
        Hostile::Oversized => {
            wire.write(&[0xff, 0xff, 0xff, 0xff, crate::peer_wire::EXTENDED]).await?;
            loop {
                wire.write(&[0x5a; 16 << 10]).await?;
                sleep(FLOOD_PAUSE).await;
            }
        }
        _ => {}
    }

    let mut peer_id = None;
    let mut requests: u32 = 0;
    loop {
        while let Some(payload) = wire.next_extended()? {
            let piece = match said(&payload, client.ut_metadata) {
                Said::Introduction { ut_metadata } => {
                    peer_id = ut_metadata;
                    continue;
                }
                Said::Request { piece } => piece,
                Said::Other => continue,
            };
            let Some(id) = peer_id else { continue };
            requests += 1;
            let data = piece_of(info, piece, size);
            match kind {
                Hostile::Reset => {
                    let answer = metadata_data(id, piece, size, &data);
                    wire.write(&answer[..answer.len() / 2]).await?;
                    return wire.resets();
                }
                Hostile::WrongSize => wire.write(&metadata_data(id, piece, size, &data)).await?,
                Hostile::WrongBytes => {
                    let mut data = data;
                    let place = lot as usize % data.len().max(1);
                    if let Some(byte) = data.get_mut(place) {
                        *byte ^= 0xff;
                    }
                    wire.write(&metadata_data(id, piece, size, &data)).await?;
                }
                Hostile::WrongPiece => {
                    let (index, total) = match requests % 4 {
                        0 => (piece, size + 1),
                        1 => (i64::from(u32::MAX), size),
                        2 => (-1, size),
                        _ => (i64::MAX, u64::MAX),
                    };
                    wire.write(&metadata_data(id, index, total, &data)).await?;
                }
                Hostile::Rejecting => wire.write(&metadata_reject(id, piece)).await?,
                _ => {
                    for byte in metadata_data(id, piece, size, &data) {
                        wire.write(&[byte]).await?;
                        sleep(SLOW_BYTE).await;
                    }
                }
            }
        }
        if !wire.fill().await? {
            return Ok(());
        }
    }
}

/// Piece `index` of an info dict that is said to have `size` bytes: what is not there is zeros.
fn piece_of(info: &[u8], index: i64, size: u64) -> Vec<u8> {
    let from = u64::try_from(index).unwrap_or(u64::MAX).saturating_mul(PIECE as u64);
    let len = size.saturating_sub(from).min(PIECE as u64) as usize;
    let there = usize::try_from(from).ok().and_then(|from| info.get(from..)).unwrap_or(&[]);
    let mut data = there[..there.len().min(len)].to_vec();
    data.resize(len, 0);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_lie_are_as_long_as_the_lie() {
        let info = vec![1; PIECE + 10];
        assert_eq!(piece_of(&info, 0, info.len() as u64), vec![1; PIECE]);
        assert_eq!(piece_of(&info, 1, info.len() as u64), vec![1; 10]);
        assert_eq!(piece_of(&info, 1, info.len() as u64 - 1), vec![1; 9]);
        assert_eq!(piece_of(&info, 1, 3 * PIECE as u64)[..11], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(piece_of(&info, 2, 3 * PIECE as u64), vec![0; PIECE]);
        assert_eq!(piece_of(&info, i64::MAX, 3 * PIECE as u64), b"");
        assert_eq!(piece_of(&info, -1, 3 * PIECE as u64), b"");
    }
}
