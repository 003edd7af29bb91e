//! What a database of torrents takes on the disk.

use benches::Table;
use deadpool_postgres::Client;

use super::server::{relations, said};

/// Bytes in all, and each table and index, for a million torrents. What waits in the pending lists of the indexes is put
/// where it belongs first.
pub(crate) async fn sizes(client: &Client) -> Result<(Table, f64), String> {
    client.batch_execute("vacuum torrents, torrent_files, path_words").await.map_err(said)?;
    let row = client
        .query_one("select (select count(*) from torrents), (select sum(file_count) from torrents)", &[])
        .await
        .map_err(said)?;
    let (torrents, files): (i64, i64) = (row.get(0), row.get(1));
    let per_million = |bytes: i64| bytes as f64 / torrents as f64 * 1e6 / 1e9;
    let mut table = Table::new(["GB for a million torrents", "GB"]);
    let mut all = 0;
    for relation in relations(client).await? {
        all += relation.bytes;
        table.row([relation.name, format!("{:.3}", per_million(relation.bytes))]);
    }
    table.row([
        format!("all, of {torrents} with {:.1} files each", files as f64 / torrents as f64),
        format!("{:.3}", per_million(all)),
    ]);
    Ok((table, per_million(all)))
}
