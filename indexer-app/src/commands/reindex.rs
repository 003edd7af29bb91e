//! `indexer reindex`: makes words and types of stored torrents again, at full speed.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{CommandError, ask, eprint_line, interruption::Interruption, learn_path_words, open_to_ask};
use crate::{
    db::{Database, Reindex, ReindexBegin, ReindexProgress, ReindexState, ReindexTurn, ReindexWalk},
    settings::Settings,
};

/// Rows made again in a turn: a Ctrl-C waits for no more.
const ROWS: u32 = 500;

/// Between two questions whether another indexer has done its turn.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Turns between two log lines where there is no terminal.
const TURNS_PER_LINE: u64 = 100;

pub(super) async fn run(settings: &Settings, every: bool) -> Result<(), CommandError> {
    let mut interruption = Interruption::listen()?;
    let Some(database) = interruption.or(open_to_ask(settings)).await else { return Ok(()) };
    let database = database?;
    // Dropped where it stands, a turn is done by the server or not at all.
    let outcome = interruption.or(walk(&database, every)).await;
    let walk = ask(&database, ReindexProgress).await;
    database.close().await;
    let made = walk?.map_or(0, |walk| walk.rows.made_again);
    match outcome {
        Some(done) => {
            done?;
            eprint_line(&format!("{made} torrents made again; every torrent is up to date"));
        }
        None => eprint_line(&format!(
            "stopped after {made} torrents; `indexer reindex` goes on there, and so does `indexer run`, slowly"
        )),
    }
    Ok(())
}

async fn walk(database: &Database, every: bool) -> Result<(), CommandError> {
    begin(database, every).await?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
    let template = "{wide_bar} {pos}/{len} torrents looked at, {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let owner = format!("reindex (process {})", std::process::id());
    let mut turns = 0_u64;
    loop {
        match ask(database, Reindex { limit: ROWS, owner: owner.clone() }).await? {
            ReindexTurn::Finished => break,
            ReindexTurn::Taken => tokio::time::sleep(AGAIN_AFTER).await,
            ReindexTurn::Done(_) => turns += 1,
        }
        if let Some(walk) = ask(database, ReindexProgress).await? {
            show(&bar, &walk);
            if bar.is_hidden() && turns.is_multiple_of(TURNS_PER_LINE) {
                tracing::info!(
                    looked_at = walk.rows.looked_at,
                    made_again = walk.rows.made_again,
                    "making torrents again"
                );
            }
        }
    }
    bar.finish_and_clear();
    Ok(learn_path_words(database).await?)
}

/// Begins a walk, or goes on with the one that is under way.
pub(super) async fn begin(database: &Database, every: bool) -> Result<(), CommandError> {
    match ask(database, ReindexBegin { every }).await? {
        ReindexState::UnderWay => Ok(()),
        ReindexState::Newer { tok_ver, class_ver } => Err(CommandError::Said(format!(
            "a newer version of this program has made the words in this database (tokeniser {tok_ver}, classifier {class_ver}): \
             use that one"
        ))),
    }
}

fn show(bar: &ProgressBar, walk: &ReindexWalk) {
    let looked_at = walk.rows.looked_at;
    bar.set_length(walk.rows_in_all.unwrap_or(0).max(looked_at));
    bar.set_position(looked_at);
    bar.set_message(format!("{} made again", walk.rows.made_again));
}
