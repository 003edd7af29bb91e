//! Reading from another database than the one that is written to: one that follows it.

use std::time::Duration;

use super::{CONNECTIONS_FEW, CommandError, ask, eprint_line, open_to_ask};
use crate::{
    db::{self, Database, DatabaseChoice, DatabaseError, Delay, ReplicaState},
    settings::{Settings, hide_password},
    status::whole_seconds,
};

/// A delay that is not worth a word.
const DELAY_UNTOLD: Duration = Duration::from_secs(10);

/// The database for a command that reads what is indexed: the replica, if one is set. When it cannot be used that is said,
/// instead of asking the database itself, which the replica is there to spare.
pub(super) async fn open_to_read(settings: &Settings) -> Result<Database, CommandError> {
    let Some(url) = &settings.search_url else { return open_to_ask(settings).await };
    let choice = DatabaseChoice::Shared { url: url.clone() };
    let database = db::connect(&choice, CONNECTIONS_FEW).await.map_err(|error| {
        CommandError::Said(format!("{error}; without --search-url the database itself is asked"))
    })?;
    let state = match database.schema.check_current() {
        Ok(_) => ask(&database, ReplicaState).await,
        Err(DatabaseError::SchemaOlder { found, known }) => Err(CommandError::Said(format!(
            "the database at {} has schema version {found}, but {known} is needed: it comes with the database that it \
             follows, once that one is migrated and this one has caught up",
            hide_password(url)
        ))),
        Err(error) => Err(error.into()),
    };
    let state = match state {
        Ok(state) => state,
        Err(error) => {
            database.close().await;
            return Err(error);
        }
    };
    if let Some(sentence) = outdated(state) {
        eprint_line(&sentence);
    }
    Ok(database)
}

/// What is to be said of a replica that is not up to date.
fn outdated(state: Option<Delay>) -> Option<String> {
    let state = state?;
    let behind = match state.behind {
        Some(behind) if behind <= DELAY_UNTOLD && state.follows => return None,
        Some(behind) => format!("is {} behind", whole_seconds(behind)),
        None if state.follows => return None,
        None => "does not say how far it is behind".to_owned(),
    };
    let cut = if state.follows { "" } else { " and has no connection to the database that it follows" };
    Some(format!("the replica {behind}{cut}: what was stored since is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_is_behind_or_alone_is_told_of() {
        let said = |follows, behind: Option<u64>| {
            outdated(Some(Delay { follows, behind: behind.map(Duration::from_secs) }))
        };
        assert_eq!(outdated(None), None, "it is no replica");
        assert_eq!(said(true, Some(3)), None);
        assert_eq!(said(true, None), None, "nothing has come since it began");
        assert_eq!(
            said(true, Some(90)).unwrap(),
            "the replica is 1m 30s behind: what was stored since is missing"
        );
        assert!(said(false, Some(3)).unwrap().contains("is 3s behind and has no connection"));
        assert!(said(false, None).unwrap().contains("does not say"));
    }
}
