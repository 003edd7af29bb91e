//! magnetico's SQLite database.
//!
//! All versions have `torrents (id, info_hash, name, total_size, discovered_on)` and `files (torrent_id, size, path)`;
//! from version 2 of the schema on, torrents have `n_seeders`, `n_leechers` and `updated_on` too.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, Rows, types::ValueRef};

use super::{ForeignError, ForeignTorrent, time};

/// An open database.
pub struct Magnetico {
    connection: Connection,
    has_swarms: bool,
}

impl std::fmt::Debug for Magnetico {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Magnetico")
    }
}

impl Magnetico {
    /// Opens a database, without changing it.
    ///
    /// # Errors
    /// It is not there, or not magnetico's.
    pub fn open(path: &Path) -> Result<Self, ForeignError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(unreadable)?;
        let lack = |lack: String| ForeignError::Schema { program: "magnetico", lack };
        let columns = |table: &str| -> Result<Vec<String>, ForeignError> {
            let mut statement =
                connection.prepare("select name from pragma_table_info(?1)").map_err(unreadable)?;
            let names = statement.query_map([table], |row| row.get(0)).map_err(unreadable)?;
            names.collect::<Result<_, _>>().map_err(unreadable)
        };
        for (table, needed) in [
            ("torrents", &["id", "info_hash", "name", "total_size", "discovered_on"][..]),
            ("files", &["id", "torrent_id", "size", "path"]),
        ] {
            let found = columns(table)?;
            if found.is_empty() {
                return Err(lack(format!("it has no table {table}")));
            }
            if let Some(missing) = needed.iter().find(|needed| !found.iter().any(|name| name == *needed)) {
                return Err(lack(format!("its table {table} has no column {missing}")));
            }
        }
        let found = columns("torrents")?;
        let has_swarms = ["n_seeders", "n_leechers", "updated_on"]
            .iter()
            .all(|name| found.iter().any(|found| found == name));
        // Both statements below see one moment, whatever is written meanwhile.
        connection.execute_batch("begin").map_err(unreadable)?;
        Ok(Self { connection, has_swarms })
    }

    /// Reads all torrents in the order of their ids, until `take` wants no more. Files are read along with them: without an
    /// index on their torrents, which old versions lack, looking them up for each would take for ever, so SQLite sorts
    /// them once.
    ///
    /// # Errors
    /// The database is damaged, or its disk fails.
    pub fn each(&self, mut take: impl FnMut(ForeignTorrent) -> bool) -> Result<(), ForeignError> {
        let swarm = if self.has_swarms { "n_seeders, n_leechers, updated_on" } else { "null, null, null" };
        let mut torrents = self
            .connection
            .prepare(&format!(
                "select id, info_hash, name, total_size, discovered_on, {swarm} from torrents order by id"
            ))
            .map_err(unreadable)?;
        let mut files = self
            .connection
            .prepare("select torrent_id, path, size from files where torrent_id is not null order by torrent_id, id")
            .map_err(unreadable)?;
        let (mut torrents, mut files) =
            (torrents.query([]).map_err(unreadable)?, files.query([]).map_err(unreadable)?);
        // The file that was read last, of a torrent still to come.
        let mut ahead = next_file(&mut files)?;
        while let Some(row) = torrents.next().map_err(unreadable)? {
            let id = integer(row, 0)?.unwrap_or(0);
            let mut torrent = ForeignTorrent {
                place: id.cast_unsigned(),
                info_hash: bytes(row, 1)?,
                name: bytes(row, 2)?,
                size: integer(row, 3)?.unwrap_or(-1),
                added_at: integer(row, 4)?.and_then(time),
                swarm: match (integer(row, 5)?, integer(row, 6)?, integer(row, 7)?.and_then(time)) {
                    (Some(seeders), Some(leechers), Some(at)) => Some((seeders, leechers, at)),
                    _ => None,
                },
                ..ForeignTorrent::default()
            };
            let mut path_bytes = 0;
            while let Some((of, path, length)) = &ahead {
                if *of > id {
                    break;
                }
                // Files of torrents that are not there any more are passed over.
                if *of == id {
                    torrent.add_file(path, *length, &mut path_bytes);
                }
                ahead = next_file(&mut files)?;
            }
            if !take(torrent) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn next_file(files: &mut Rows<'_>) -> Result<Option<(i64, Vec<u8>, i64)>, ForeignError> {
    let Some(row) = files.next().map_err(unreadable)? else { return Ok(None) };
    Ok(Some((integer(row, 0)?.unwrap_or(0), bytes(row, 1)?, integer(row, 2)?.unwrap_or(-1))))
}

/// A number; `None` for anything else, as SQLite's columns hold what they are given.
fn integer(row: &Row<'_>, column: usize) -> Result<Option<i64>, ForeignError> {
    Ok(match row.get_ref(column).map_err(unreadable)? {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    })
}

/// The bytes of a text or of a blob; none of anything else.
fn bytes(row: &Row<'_>, column: usize) -> Result<Vec<u8>, ForeignError> {
    Ok(match row.get_ref(column).map_err(unreadable)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(error: rusqlite::Error) -> ForeignError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            ForeignError::Schema { program: "magnetico", lack: "it is no SQLite database".to_owned() }
        }
        _ => ForeignError::Unreadable(error.to_string()),
    }
}
