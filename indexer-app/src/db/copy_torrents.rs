//! Writing torrents by COPY: the least work that any way of storing them leaves to the server.

use std::{pin::pin, time::SystemTime};

use deadpool_postgres::{Client, Transaction};
use tea_runtime::SessionError;
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    Listing,
    error::session_error,
    store_torrents::{PreparedTorrents, int4},
    text::storable,
};
use crate::{kinds::CLASS_VER, tokeniser::TOK_VER};

type Columns = &'static [(&'static str, Type)];

const TORRENTS: Columns = &[
    ("info_hash", Type::BYTEA),
    ("v2", Type::BYTEA),
    ("name", Type::TEXT),
    ("name_raw", Type::BYTEA),
    ("total_size", Type::INT8),
    ("piece_length", Type::INT8),
    ("file_count", Type::INT4),
    ("piece_count", Type::INT4),
    ("private", Type::BOOL),
    ("source", Type::TEXT),
    ("discovered_by", Type::INT2),
    ("tok_ver", Type::INT2),
    ("tsv", Type::TS_VECTOR),
    ("kind", Type::INT2),
    ("year", Type::INT2),
    ("class_ver", Type::INT2),
    ("files_whole", Type::BOOL),
    ("added_at", Type::TIMESTAMPTZ),
    ("popularity", Type::INT2),
    ("signature", Type::INT8),
];

const FILES: Columns = &[
    ("info_hash", Type::BYTEA),
    ("fmt", Type::INT2),
    ("tok_ver", Type::INT2),
    ("data", Type::BYTEA),
    ("words", Type::INT4_ARRAY),
];

const STATS: Columns = &[
    ("info_hash", Type::BYTEA),
    ("score", Type::FLOAT4),
    ("score_at", Type::TIMESTAMPTZ),
    ("seen_count", Type::INT4),
    ("last_seen", Type::TIMESTAMPTZ),
    ("seeders", Type::INT4),
    ("leechers", Type::INT4),
    ("scrape_nodes", Type::INT2),
    ("scrape_whole", Type::BOOL),
    ("scraped_at", Type::TIMESTAMPTZ),
    ("signature", Type::INT8),
];

impl PreparedTorrents {
    /// Writes torrents of which none is there yet, in one transaction, and looks at nothing else: neither at aliases nor at
    /// the backlog. For a database that is being filled from nothing, and as the floor under [`Self::store`]. Scores are taken as
    /// of `now`, which is also when torrents were added that do not say it.
    ///
    /// # Errors
    /// One of them is there already, or the database cannot be asked; nothing is written.
    pub async fn copy(&self, client: &mut Client, now: SystemTime) -> Result<(), SessionError> {
        let transaction = client.transaction().await.map_err(|error| session_error(&error))?;
        let mut torrents = pin!(writer(&transaction, "torrents", TORRENTS).await?);
        for one in &self.ready {
            let (key, v2) = (one.key.as_bytes().as_slice(), one.torrent.hashes.v2());
            let v2 = v2.as_ref().map(<[u8; 32]>::as_slice);
            let source = one.torrent.source.as_deref().map(storable);
            let score = one.torrent.history.score.map_or(0.0, |(score, _)| score);
            let row: [&(dyn ToSql + Sync); TORRENTS.len()] = [
                &key,
                &v2,
                &one.name,
                &one.torrent.name_raw,
                &one.total_size,
                &one.torrent.piece_length.map(|length| i64::try_from(length).unwrap_or(i64::MAX)),
                &int4(one.torrent.file_count()),
                &one.torrent.piece_count.map(int4),
                &one.torrent.private,
                &source,
                &one.torrent.discovered_by.code(),
                &TOK_VER,
                &one.tsv,
                &one.kind,
                &one.year,
                &CLASS_VER,
                &(one.torrent.listing == Listing::Whole),
                &one.torrent.history.added_at.unwrap_or(now),
                &((1.0 + score).log2() as i16),
                &one.signature,
            ];
            torrents.as_mut().write(&row).await.map_err(|error| session_error(&error))?;
        }
        torrents.finish().await.map_err(|error| session_error(&error))?;
        let mut files = pin!(writer(&transaction, "torrent_files", FILES).await?);
        for one in &self.ready {
            let Some(list) = &one.list else { continue };
            let key = one.key.as_bytes().as_slice();
            let row: [&(dyn ToSql + Sync); FILES.len()] =
                [&key, &list.packed.fmt, &TOK_VER, &list.packed.data, &list.words];
            files.as_mut().write(&row).await.map_err(|error| session_error(&error))?;
        }
        files.finish().await.map_err(|error| session_error(&error))?;
        let mut stats = pin!(writer(&transaction, "torrent_stats", STATS).await?);
        for one in &self.ready {
            let (key, history) = (one.key.as_bytes().as_slice(), &one.torrent.history);
            let (score, score_at) = history.score.unwrap_or((0.0, now));
            let size = history.swarm.map(|swarm| swarm.size);
            let row: [&(dyn ToSql + Sync); STATS.len()] = [
                &key,
                &(score as f32),
                &score_at,
                &history.seen_count.map_or(1, |seen| i32::try_from(seen).unwrap_or(i32::MAX)),
                &history.last_seen.unwrap_or(now),
                &size.map_or(0, |size| int4(size.seeders)),
                &size.map_or(0, |size| int4(size.leechers)),
                &size.map_or(0, |size| i16::try_from(size.nodes).unwrap_or(i16::MAX)),
                &size.is_some_and(|size| size.whole),
                &history.swarm.map(|swarm| swarm.at),
                &one.signature,
            ];
            stats.as_mut().write(&row).await.map_err(|error| session_error(&error))?;
        }
        stats.finish().await.map_err(|error| session_error(&error))?;
        transaction.commit().await.map_err(|error| session_error(&error))
    }
}

async fn writer(
    transaction: &Transaction<'_>,
    table: &str,
    columns: Columns,
) -> Result<BinaryCopyInWriter, SessionError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let types: Vec<Type> = columns.iter().map(|(_, ty)| ty.clone()).collect();
    let sql = format!("copy {table} ({}) from stdin (format binary)", names.join(", "));
    let sink = transaction.copy_in(&sql).await.map_err(|error| session_error(&error))?;
    Ok(BinaryCopyInWriter::new(sink, &types))
}
