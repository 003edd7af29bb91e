//! bitmagnet's PostgreSQL database.
//!
//! Its migrations moved things: the status of files was a flag `single_file` first, and pieces were columns of `torrents`. What
//! is there is looked up once, and statements are made of it.
//!
//! Torrents and files come from two cursors in the order of their hashes, and are put together here: so neither side ever has
//! more than a few in memory, however many files a torrent has.

use std::{collections::VecDeque, time::SystemTime};

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Row;

use super::{ForeignError, ForeignTorrent};
use crate::db::{
    connect::pool_to,
    error::{full_text, pool_error},
};

/// Torrents read at a time.
const TORRENTS: u32 = 500;

/// Files read at a time.
const FILES: u32 = 5_000;

/// An open database, with a transaction that sees one moment.
pub struct Bitmagnet {
    client: ClientWrapper,
    place: u64,
    /// Torrents that were read, to be given out.
    torrents: VecDeque<Row>,
    /// Files that were read, of torrents to come.
    files: VecDeque<Row>,
}

impl std::fmt::Debug for Bitmagnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bitmagnet")
    }
}

/// What the statement for torrents is made of, as far as it depends on the version.
struct Version {
    single_file: &'static str,
    file_count: &'static str,
    pieces: &'static str,
    pieces_from: &'static str,
}

impl Bitmagnet {
    /// Reaches a database, and begins to read.
    ///
    /// # Errors
    /// It cannot be reached, or is not bitmagnet's.
    pub async fn open(url: &str) -> Result<Self, ForeignError> {
        let pool = pool_to(url).map_err(|error| ForeignError::Unreadable(error.to_string()))?;
        let client =
            pool.get().await.map_err(|error| ForeignError::Unreadable(pool_error(&error).to_string()))?;
        // Not given back to the pool: it has a transaction open.
        let client = Object::take(client);
        client.batch_execute("begin isolation level repeatable read read only").await.map_err(unreadable)?;
        let version = version(&client).await?;
        let declare = format!(
            "declare torrents_to_read no scroll cursor for
             select t.info_hash, t.name, t.size, t.private, t.created_at, {} as single_file, {} as file_count, {}, s.*
             from torrents t
             {}
             left join lateral (
                select seeders, leechers, updated_at from torrents_torrent_sources s
                where s.info_hash = t.info_hash and s.seeders is not null and s.leechers is not null
                order by updated_at desc limit 1) s on true
             order by t.info_hash;
             declare files_to_read no scroll cursor for
             select info_hash, path, size from torrent_files order by info_hash, index",
            version.single_file, version.file_count, version.pieces, version.pieces_from
        );
        client.batch_execute(&declare).await.map_err(unreadable)?;
        Ok(Self { client, place: 0, torrents: VecDeque::new(), files: VecDeque::new() })
    }

    /// The next torrent in the order of hashes; `None` at the end.
    ///
    /// # Errors
    /// The database does not go on.
    pub async fn next(&mut self) -> Result<Option<ForeignTorrent>, ForeignError> {
        if self.torrents.is_empty() {
            let rows = self.client.query(&format!("fetch {TORRENTS} from torrents_to_read"), &[]).await;
            self.torrents.extend(rows.map_err(unreadable)?);
        }
        let Some(row) = self.torrents.pop_front() else { return Ok(None) };
        self.place += 1;
        let mut torrent = torrent(&row, self.place)?;
        self.add_files(&mut torrent).await?;
        Ok(Some(torrent))
    }

    async fn add_files(&mut self, torrent: &mut ForeignTorrent) -> Result<(), ForeignError> {
        let mut path_bytes = 0;
        loop {
            while let Some(row) = self.files.front() {
                let hash: &[u8] = get(row, "info_hash")?;
                if hash > torrent.info_hash.as_slice() {
                    return Ok(());
                }
                if hash == torrent.info_hash {
                    torrent.add_file(
                        get::<&str>(row, "path")?.as_bytes(),
                        get(row, "size")?,
                        &mut path_bytes,
                    );
                }
                self.files.pop_front();
            }
            let rows = self.client.query(&format!("fetch {FILES} from files_to_read"), &[]).await;
            self.files.extend(rows.map_err(unreadable)?);
            if self.files.is_empty() {
                return Ok(());
            }
        }
    }
}

async fn version(client: &ClientWrapper) -> Result<Version, ForeignError> {
    let rows = client
        .query(
            "select c.relname::text as table, a.attname::text as column from pg_class c
             join pg_attribute a on a.attrelid = c.oid
             where c.oid in (to_regclass('torrents'), to_regclass('torrent_files'), to_regclass('torrent_pieces'),
                to_regclass('torrents_torrent_sources')) and a.attnum > 0 and not a.attisdropped",
            &[],
        )
        .await
        .map_err(unreadable)?;
    let mut columns = Vec::new();
    for row in &rows {
        columns.push((get::<String>(row, "table")?, get::<String>(row, "column")?));
    }
    let has = |table: &str, column: &str| columns.iter().any(|(a, b)| a == table && b == column);
    for (table, needed) in [
        ("torrents", &["info_hash", "name", "size", "private", "created_at"][..]),
        ("torrent_files", &["info_hash", "index", "path", "size"]),
        ("torrents_torrent_sources", &["info_hash", "seeders", "leechers", "updated_at"]),
    ] {
        if let Some(missing) = needed.iter().find(|column| !has(table, column)) {
            let lack = if columns.iter().any(|(found, _)| found == table) {
                format!("its table {table} has no column {missing}")
            } else {
                format!("it has no table {table}")
            };
            return Err(ForeignError::Schema { program: "bitmagnet", lack });
        }
    }
    let single_file = if has("torrents", "files_status") {
        "t.files_status::text = 'single'"
    } else if has("torrents", "single_file") {
        "coalesce(t.single_file, false)"
    } else {
        "false"
    };
    let file_count = if has("torrents", "files_count") { "t.files_count" } else { "null::int4" };
    let (pieces, pieces_from) = if has("torrent_pieces", "pieces") {
        (
            "p.piece_length, octet_length(p.pieces) / 20 as piece_count",
            "left join torrent_pieces p using (info_hash)",
        )
    } else if has("torrents", "pieces") {
        ("t.piece_length, octet_length(t.pieces) / 20 as piece_count", "")
    } else {
        ("null::int8 as piece_length, null::int4 as piece_count", "")
    };
    Ok(Version { single_file, file_count, pieces, pieces_from })
}

fn torrent(row: &Row, place: u64) -> Result<ForeignTorrent, ForeignError> {
    let swarm = match (
        get::<Option<i32>>(row, "seeders")?,
        get::<Option<i32>>(row, "leechers")?,
        get::<Option<SystemTime>>(row, "updated_at")?,
    ) {
        (Some(seeders), Some(leechers), Some(at)) => Some((seeders.into(), leechers.into(), at)),
        _ => None,
    };
    Ok(ForeignTorrent {
        place,
        info_hash: get(row, "info_hash")?,
        name: get::<String>(row, "name")?.into_bytes(),
        size: get(row, "size")?,
        file_count: get::<Option<i32>>(row, "file_count")?.map(i64::from),
        single_file: get(row, "single_file")?,
        piece_length: get(row, "piece_length")?,
        piece_count: get::<Option<i32>>(row, "piece_count")?.map(i64::from),
        private: Some(get(row, "private")?),
        added_at: Some(get(row, "created_at")?),
        swarm,
        ..ForeignTorrent::default()
    })
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, ForeignError> {
    row.try_get(name).map_err(|error| ForeignError::Unreadable(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(error: tokio_postgres::Error) -> ForeignError {
    ForeignError::Unreadable(match error.as_db_error() {
        Some(refusal) => refusal.message().to_owned(),
        None => full_text(&error),
    })
}
