//! What an indexer keeps of itself from run to run: node ids, external addresses.

use std::collections::BTreeMap;

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::statement;

/// Keeps values under their names; those of other names stay.
#[derive(Clone, Debug)]
pub struct SaveIdentity {
    /// Whose they are: indexers that share a database each have a name.
    pub indexer: String,
    /// The values.
    pub values: BTreeMap<String, Vec<u8>>,
}

impl Session for SaveIdentity {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        statement::execute(
            client,
            "insert into identity (indexer, name, value) select $1, * from unnest($2::text[], $3::bytea[])
             on conflict (indexer, name) do update set value = excluded.value, updated_at = now()",
            &[
                &self.indexer,
                &self.values.keys().map(String::as_str).collect::<Vec<_>>(),
                &self.values.values().map(Vec::as_slice).collect::<Vec<_>>(),
            ],
        )
        .await?;
        Ok(())
    }
}

/// Reads back everything that was kept.
#[derive(Clone, Debug)]
pub struct LoadIdentity {
    /// Whose.
    pub indexer: String,
}

impl Session for LoadIdentity {
    type Client = Client;
    type Output = BTreeMap<String, Vec<u8>>;

    async fn run(self, client: &mut Client) -> Result<Self::Output, SessionError> {
        let rows =
            statement::rows(client, "select name, value from identity where indexer = $1", &[&self.indexer])
                .await?;
        rows.iter()
            .map(|row| Ok((statement::column(row, "name")?, statement::column(row, "value")?)))
            .collect()
    }
}
