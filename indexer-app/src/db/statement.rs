//! Running one statement: prepared once per connection, and again when it only lost a race.

use deadpool_postgres::Client;
use tea_runtime::SessionError;
use tokio_postgres::{Row, types::ToSql};

use super::error::{is_conflict, session_error};

/// A statement as a session writes it.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Deadlocks between indexers that feed one database are resolved by trying again; more in a row is no accident.
const TRIES_MAX: u32 = 4;

/// Runs a statement and collects its rows.
pub(super) async fn rows(
    client: &Client,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, SessionError> {
    let mut tries = 1;
    loop {
        let outcome = match client.prepare_cached(sql).await {
            Ok(statement) => client.query(&statement, parameters).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(rows) => return Ok(rows),
            Err(error) if tries < TRIES_MAX && is_conflict(&error) => tries += 1,
            Err(error) => return Err(session_error(&error)),
        }
    }
}

/// Runs a statement that returns exactly one row.
pub(super) async fn row(client: &Client, sql: &str, parameters: Parameters<'_>) -> Result<Row, SessionError> {
    rows(client, sql, parameters)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| SessionError::Unexpected("no row where there must be one".to_owned()))
}

/// Runs a statement and tells how many rows it touched.
pub(super) async fn execute(
    client: &Client,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<u64, SessionError> {
    let mut tries = 1;
    loop {
        let outcome = match client.prepare_cached(sql).await {
            Ok(statement) => client.execute(&statement, parameters).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(touched) => return Ok(touched),
            Err(error) if tries < TRIES_MAX && is_conflict(&error) => tries += 1,
            Err(error) => return Err(session_error(&error)),
        }
    }
}

/// The rows of a query as long as their `bytes` together are within a bound, a parameter; the first one always comes, however many it has.
pub(super) fn within_bytes(query: &str, by: &str, bytes_max: &str) -> String {
    format!(
        "select * from (
            select q.*, sum(q.bytes) over (order by q.{by}) - q.bytes as before from ({query}) q
        ) r where before <= {bytes_max} order by {by}"
    )
}

/// Reads a column, or says that the answer is not what it should be.
pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, SessionError> {
    row.try_get(name).map_err(|error| SessionError::Unexpected(error.to_string()))
}

/// Reads a 20-byte key.
pub(super) fn key(row: &Row, name: &str) -> Result<krpc::InfoHash, SessionError> {
    krpc::InfoHash::try_from(column::<&[u8]>(row, name)?)
        .map_err(|error| SessionError::Unexpected(error.to_string()))
}

/// A number that is never negative in the database.
pub(super) fn count(row: &Row, name: &str) -> Result<u64, SessionError> {
    Ok(u64::try_from(column::<i64>(row, name)?).unwrap_or(0))
}

/// The same where it need not be known.
pub(super) fn known_count(row: &Row, name: &str) -> Result<Option<u64>, SessionError> {
    Ok(column::<Option<i64>>(row, name)?.map(|count| u64::try_from(count).unwrap_or(0)))
}
