//! `indexer fetch`: has torrents fetched now, waits for them, and shows them.
//!
//! Whoever fetches, an indexer that runs on the same database or a participant that lives as long as this command, takes the
//! hashes from the backlog and tells there how far he is; the command follows the rows. So both ways look the same, and
//! what is interrupted stays in the backlog.

mod torrent_file;
mod waiting;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use krpc::InfoHash;
use nix::sys::signal::{Signal, raise};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::waiting::WaitingBlock;
use super::{
    CommandError, ask, crawl, database_choice, eprint_line, interruption::Interruption, settings_to_ask, show,
};
use crate::{
    cli::FetchOptions,
    cluster::{EventSink, Mode},
    db::{self, Database, FollowRequests, HashQuery, IndexerRuns, RequestHashes, Requested, Show},
    magnet::TorrentName,
    settings::Settings,
    status::Screen,
};

/// Between two looks at the backlog: a statement of a millisecond. Notifications of the server would save them, and not
/// come through a pooler.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Between two tries of a hash that came to nothing, while somebody waits for it.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Looks in a row that the database leaves without an answer before that is said: it may be starting again.
const SILENCES_MAX: u32 = 40;

/// How long a participant may take to end before it is told to again, and how often it is: for longer than its own grace.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELLS: u32 = 12;

/// A torrent that is waited for.
struct Wanted {
    name: TorrentName,
    peers: Vec<SocketAddr>,
    /// As of the last look.
    state: Option<Requested>,
    requested_at: Instant,
}

/// Why the waiting ended before all were there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    TimeOver,
    Interrupted,
}

pub(super) async fn run(
    settings: &Settings,
    options: &FetchOptions,
    screen: Screen,
) -> Result<(), CommandError> {
    let names = names(&options.torrents)?;
    if options.torrent_file.is_some() && names.len() > 1 {
        return Err(CommandError::Said("--torrent writes one file: name one torrent".to_owned()));
    }
    let mut interruption = Interruption::listen()?;
    let settings = settings_to_ask(settings);
    let Some(opened) = interruption.or(open(&settings)).await else { return Err(not_begun()) };
    let database = opened?;
    let outcome = fetch(&settings, options, names, &database, screen, &mut interruption).await;
    database.close().await;
    outcome
}

/// Each torrent once, in the order of the command line.
fn names(texts: &[String]) -> Result<BTreeMap<InfoHash, TorrentName>, CommandError> {
    let mut names = BTreeMap::new();
    for text in texts {
        let name = TorrentName::parse(text).map_err(|error| CommandError::Said(error.to_string()))?;
        if name.trackers > 0 {
            eprint_line(&format!(
                "{}: the link's trackers are not asked; peers come from the DHT, from other peers and from x.pe",
                name.key
            ));
        }
        names.entry(name.key).or_insert(name);
    }
    Ok(names)
}

/// The database, made and brought up to date when nobody has done so.
async fn open(settings: &Settings) -> Result<Database, CommandError> {
    let choice = database_choice(settings, Mode::Attach, EventSink::default())?;
    let mut database = db::connect(&choice, crawl::CONNECTIONS).await?;
    if database.schema.check_current().is_err()
        && let Err(error) = database.migrate().await
    {
        database.close().await;
        return Err(error.into());
    }
    Ok(database)
}

async fn fetch(
    settings: &Settings,
    options: &FetchOptions,
    names: BTreeMap<InfoHash, TorrentName>,
    database: &Database,
    screen: Screen,
    interruption: &mut Interruption,
) -> Result<(), CommandError> {
    let mut wanted = Vec::new();
    for (_, name) in names {
        let peers = peers_of(&name, settings.loopback_only()).await;
        wanted.push(Wanted { name, peers, state: None, requested_at: now() });
    }
    // What is there is shown at once.
    look(database, &mut wanted).await?;
    let mut missing = settle(database, options, wanted).await?;
    if missing.is_empty() {
        return Ok(());
    }
    request(database, &mut missing, |_| true).await?;
    let indexer = ask(database, IndexerRuns).await?;
    let mut participant = None;
    match &indexer {
        Some(who) => eprint_line(&format!("asked the indexer that runs as {who}")),
        None => {
            eprint_line("no indexer runs on this database: taking part in the DHT for as long as this takes");
            let keys = missing.iter().map(|wanted| wanted.name.key).collect();
            participant = Some(Box::pin(crawl::participate(settings, database, keys, options.patience)));
        }
    }
    let deadline = now() + options.patience;
    let mut block = WaitingBlock::new(screen);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut silences, mut ended) = (0, None);
    while ended.is_none() && !missing.is_empty() {
        let step = async {
            tokio::select! {
                _ = looks.tick() => None,
                over = until_over(&mut participant) => Some(over),
            }
        };
        match interruption.or(step).await {
            None => ended = Some(Ended::Interrupted),
            Some(None) => {}
            Some(Some(over)) => {
                participant = None;
                over?;
                ended = Some(Ended::TimeOver);
            }
        }
        if let Err(error) = look(database, &mut missing).await {
            silences += 1;
            if silences >= SILENCES_MAX {
                return Err(error);
            }
            continue;
        }
        silences = 0;
        block.hide();
        missing = settle(database, options, missing).await?;
        block.show(missing.iter().map(|wanted| (&wanted.name, wanted.state.as_ref())));
        let hopeless = missing.iter().all(|wanted| wanted.state == Some(Requested::Gone));
        if ended.is_none() && (now() >= deadline || hopeless) {
            ended = Some(Ended::TimeOver);
        }
        if ended.is_none() {
            request(database, &mut missing, fell_through).await?;
        }
    }
    block.hide();
    if participant.is_some() {
        end_participant(&mut participant, ended).await;
        if !missing.is_empty() {
            look(database, &mut missing).await?;
            missing = settle(database, options, missing).await?;
        }
    }
    failures(&missing, ended, options.patience)
}

/// When the participant ends; never without one.
async fn until_over<T>(participant: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match participant {
        Some(participant) => participant.await,
        None => std::future::pending().await,
    }
}

/// It ends by itself when all is there, when its time is over, and on the signal that we have heard, unless it began to listen
/// after that. Told to end, it does so in good order.
async fn end_participant<T>(participant: &mut Option<impl Future<Output = T> + Unpin>, ended: Option<Ended>) {
    let mut told = ended == Some(Ended::Interrupted);
    for _ in 0..FAREWELLS {
        if told {
            // It cannot fail for signals that exist.
            let _ = raise(Signal::SIGTERM);
        }
        if tokio::time::timeout(FAREWELL, until_over(participant)).await.is_ok() {
            return;
        }
        told = true;
    }
}

/// The endpoints of the peers that a link names; names of hosts are looked up, unless nobody outside is to be spoken to.
async fn peers_of(name: &TorrentName, loopback_only: bool) -> Vec<SocketAddr> {
    let mut peers = Vec::new();
    for text in &name.peers {
        if loopback_only && text.parse::<SocketAddr>().is_err() {
            eprint_line(&format!(
                "{}: the peer {text:?} of the link is not looked up from loopback",
                name.key
            ));
            continue;
        }
        match tokio::net::lookup_host(text.as_str()).await {
            Ok(found) => peers.extend(found.filter(|peer| peer.port() != 0)),
            Err(error) => {
                eprint_line(&format!("{}: the peer {text:?} of the link is of no use: {error}", name.key));
            }
        }
    }
    peers.truncate(RequestHashes::PEERS_MAX);
    peers
}

async fn look(database: &Database, wanted: &mut [Wanted]) -> Result<(), CommandError> {
    let hashes = wanted.iter().map(|wanted| wanted.name.key).collect();
    let mut found = ask(database, FollowRequests { hashes }).await?;
    for wanted in wanted {
        wanted.state = found.remove(&wanted.name.key);
    }
    Ok(())
}

/// Puts those into the backlog, again if need be, of which `which` says so.
async fn request(
    database: &Database,
    missing: &mut [Wanted],
    which: impl Fn(&Wanted) -> bool,
) -> Result<(), CommandError> {
    let now = now();
    let mut hashes = Vec::new();
    for wanted in missing.iter_mut().filter(|wanted| which(wanted)) {
        wanted.requested_at = now;
        hashes.push((wanted.name.key, wanted.peers.clone()));
    }
    if !hashes.is_empty() {
        ask(database, RequestHashes { wanted: hashes }).await?;
    }
    Ok(())
}

/// Whether a hash waits for a later try, and we will not.
fn fell_through(wanted: &Wanted) -> bool {
    let waits = matches!(&wanted.state, Some(Requested::Waiting { due_in, .. }) if !due_in.is_zero());
    waits && wanted.requested_at.elapsed() >= AGAIN_AFTER
}

/// Shows what is there; the others are returned.
async fn settle(
    database: &Database,
    options: &FetchOptions,
    wanted: Vec<Wanted>,
) -> Result<Vec<Wanted>, CommandError> {
    let mut missing = Vec::new();
    for wanted in wanted {
        if wanted.state != Some(Requested::Stored) {
            missing.push(wanted);
            continue;
        }
        let key = wanted.name.key;
        let found = match HashQuery::parse(&key.to_string()) {
            Some(hash) => ask(database, Show { hash }).await?,
            None => Vec::new(),
        };
        let mut text = String::new();
        for torrent in &found {
            text += &show::rendered(torrent, options.json);
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(CommandError::writing("standard output"))?;
        drop(out);
        if let Some(path) = &options.torrent_file {
            torrent_file::write(database, key, path).await?;
        }
    }
    Ok(missing)
}

/// One sentence for each torrent that is not there; all but the last are said here.
fn failures(missing: &[Wanted], ended: Option<Ended>, patience: Duration) -> Result<(), CommandError> {
    let sentences: Vec<String> = missing.iter().map(|wanted| failure(wanted, ended, patience)).collect();
    let Some((last, others)) = sentences.split_last() else { return Ok(()) };
    for sentence in others {
        eprint_line(&format!("indexer: {sentence}"));
    }
    Err(CommandError::Said(last.clone()))
}

fn failure(wanted: &Wanted, ended: Option<Ended>, patience: Duration) -> String {
    let key = wanted.name.key;
    if wanted.state == Some(Requested::Gone) {
        return format!(
            "{key} cannot be fetched: it was deleted or banned, or stands for no torrent; `indexer unban {key}` lets it in again"
        );
    }
    let last = waiting::last_word(wanted.state.as_ref());
    match ended {
        Some(Ended::Interrupted) => format!("{key} is not fetched yet ({last}); it stays requested"),
        _ => format!(
            "{key} was not fetched within {} ({last}); it stays requested",
            humantime::format_duration(patience)
        ),
    }
}

fn not_begun() -> CommandError {
    CommandError::Said("ended before anything was asked for".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "how long a person waits is told by the clock on the wall")]
fn now() -> Instant {
    Instant::now()
}
