//! Nodes of the DHT: what is known of each, and what was observed of it.
//!
//! The rule by which a node is believed in or forgotten is mainline's (its freshness); here its outcome is kept.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use deadpool_postgres::Client;
use krpc::NodeId;
use tea_runtime::{Session, SessionError};

use super::{RunId, statement};

/// One visit to a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeVisit {
    /// The node's id, as far as known.
    pub id: NodeId,
    /// Where it is.
    pub addr: SocketAddr,
    /// When the visit began.
    pub started: SystemTime,
    /// When it ended; `None` while it is in flight.
    pub ended: Option<SystemTime>,
    /// Why it failed; `None` when the node answered (or is still being waited for).
    pub error: Option<String>,
    /// Round trip of its last answer.
    pub rtt: Option<Duration>,
    /// `v` of its messages.
    pub version: Option<[u8; 4]>,
    /// Whether it answers sample_infohashes; `None`: not known.
    pub bep51: Option<bool>,
    /// Info-hashes it says to store.
    pub num: Option<u32>,
    /// Seconds it asks to be left alone.
    pub interval: Option<u32>,
    /// Samples it returned in this visit.
    pub samples: u32,
    /// Its freshness after the visit.
    pub freshness: u32,
    /// Whether its freshness is used up: it is forgotten.
    pub removed: bool,
    /// When it is due again.
    pub next_due: Option<SystemTime>,
    /// Who told us of it.
    pub told_by: Option<SocketAddr>,
    /// Nodes new to us that it named.
    pub told_us: u32,
}

/// Keeps visits: the nodes as they are now, and what was observed, by run and day. What is committed when it
/// returns stays so; running it twice counts the visits twice and changes nothing else.
pub struct SaveNodes {
    /// The run that made the visits.
    pub run: RunId,
    /// The visits in the order in which they happened.
    pub visits: Vec<NodeVisit>,
}

impl fmt::Debug for SaveNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaveNodes({} visits of run {})", self.visits.len(), self.run.0)
    }
}

// The rows come sorted by endpoint: two indexers that saw the same nodes lock them in the same order.
const SAVE: &str = "
with given as (
    select * from unnest($1::inet[], $2::int4[], $3::bytea[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
        $7::text[], $8::int4[], $9::bytea[], $10::boolean[], $11::int8[], $12::int4[], $13::int8[], $14::int4[],
        $15::timestamptz[], $16::inet[], $17::int4[], $18::int8[], $19::int4[], $20::int4[], $21::int2[],
        $22::timestamptz[], $23::boolean[])
    as g (ip, port, id, started, ended, seen, error, rtt_us, version, bep51, num, interval_s, samples, freshness,
        next_due, told_by_ip, told_by_port, told_us, ok, failed, missed, sampled_at, removed)
), saved as (
    insert into nodes as n (ip, port, id, first_seen, last_seen, visit_started, visit_ended, next_due, sampled_at,
        freshness, visits_ok, visits_failed, told_by_ip, told_by_port, rtt_us, interval_s, num, told_us, samples,
        missed, bep51, version, last_error)
    select ip, port, id, started, seen, started, ended, next_due, sampled_at, freshness, ok, failed, told_by_ip,
        told_by_port, rtt_us, interval_s, num, told_us, samples, missed, bep51, version, error
    from given where not removed
    on conflict (ip, port) do update set
        id = excluded.id,
        last_seen = coalesce(excluded.last_seen, n.last_seen),
        visit_started = excluded.visit_started,
        visit_ended = excluded.visit_ended,
        next_due = excluded.next_due,
        sampled_at = coalesce(excluded.sampled_at, n.sampled_at),
        freshness = excluded.freshness,
        visits_ok = n.visits_ok + excluded.visits_ok,
        visits_failed = n.visits_failed + excluded.visits_failed,
        told_by_ip = coalesce(excluded.told_by_ip, n.told_by_ip),
        told_by_port = coalesce(excluded.told_by_port, n.told_by_port),
        rtt_us = coalesce(excluded.rtt_us, n.rtt_us),
        interval_s = coalesce(excluded.interval_s, n.interval_s),
        num = coalesce(excluded.num, n.num),
        told_us = n.told_us + excluded.told_us,
        samples = n.samples + excluded.samples,
        missed = case when excluded.last_seen is null then least(n.missed + excluded.missed, 32767)
            else excluded.missed end,
        bep51 = coalesce(excluded.bep51, n.bep51),
        version = coalesce(excluded.version, n.version),
        last_error = excluded.last_error
    returning 1
), forgotten as (
    delete from nodes n using given g where n.ip = g.ip and n.port = g.port and g.removed returning 1
), observed as (
    insert into observations as o (day, run, first_at, last_at, ok, failed, ip, port, id, version, last_error)
    select (started at time zone 'UTC')::date, $24, started, coalesce(ended, started), ok, failed, ip, port, id,
        version, error
    from given where ended is not null
    on conflict (ip, port, run, day) do update set
        last_at = excluded.last_at, ok = o.ok + excluded.ok, failed = o.failed + excluded.failed, id = excluded.id,
        version = coalesce(excluded.version, o.version), last_error = coalesce(excluded.last_error, o.last_error)
)
select (select count(*) from saved) as saved, (select count(*) from forgotten) as forgotten";

/// All visits of a batch to one node.
struct Visits {
    last: NodeVisit,
    ok: i32,
    failed: i32,
    missed: i16,
    samples: i64,
    told_us: i64,
    seen: Option<SystemTime>,
    sampled_at: Option<SystemTime>,
}

impl Visits {
    fn new(visit: NodeVisit) -> Self {
        let mut visits = Self {
            last: visit.clone(),
            ok: 0,
            failed: 0,
            missed: 0,
            samples: 0,
            told_us: 0,
            seen: None,
            sampled_at: None,
        };
        visits.add(visit);
        visits
    }

    fn add(&mut self, mut visit: NodeVisit) {
        match (&visit.error, visit.ended) {
            (Some(_), _) => {
                self.failed += 1;
                self.missed = self.missed.saturating_add(1);
            }
            (None, Some(ended)) => {
                self.ok += 1;
                self.missed = 0;
                self.seen = Some(ended);
                if visit.bep51 == Some(true) {
                    self.sampled_at = Some(ended);
                }
            }
            (None, None) => {}
        }
        self.samples += i64::from(visit.samples);
        self.told_us += i64::from(visit.told_us);
        // What the later visit does not say stays as the earlier one said.
        visit.version = visit.version.or(self.last.version);
        visit.rtt = visit.rtt.or(self.last.rtt);
        visit.bep51 = visit.bep51.or(self.last.bep51);
        visit.num = visit.num.or(self.last.num);
        visit.interval = visit.interval.or(self.last.interval);
        visit.told_by = visit.told_by.or(self.last.told_by);
        self.last = visit;
    }
}

impl Session for SaveNodes {
    type Client = Client;
    /// How many nodes were kept and how many forgotten.
    type Output = (u64, u64);

    async fn run(self, client: &mut Client) -> Result<(u64, u64), SessionError> {
        let mut nodes: BTreeMap<SocketAddr, Visits> = BTreeMap::new();
        for visit in self.visits {
            match nodes.entry(visit.addr) {
                std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().add(visit),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Visits::new(visit));
                }
            }
        }
        macro_rules! column {
            (|$node:ident| $value:expr) => {
                nodes.values().map(|$node| $value).collect::<Vec<_>>()
            };
        }
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let row = statement::row(
            client,
            SAVE,
            &[
                &column!(|node| node.last.addr.ip()),
                &column!(|node| i32::from(node.last.addr.port())),
                &column!(|node| node.last.id.as_bytes().as_slice()),
                &column!(|node| node.last.started),
                &column!(|node| node.last.ended),
                &column!(|node| node.seen),
                &column!(|node| node.last.error.as_deref().map(super::storable)),
                &column!(|node| node.last.rtt.map(|rtt| i32::try_from(rtt.as_micros()).unwrap_or(i32::MAX))),
                &column!(|node| node.last.version.as_ref().map(<[u8; 4]>::as_slice)),
                &column!(|node| node.last.bep51),
                &column!(|node| node.last.num.map(i64::from)),
                &column!(|node| node.last.interval.map(number)),
                &column!(|node| node.samples),
                &column!(|node| number(node.last.freshness)),
                &column!(|node| node.last.next_due),
                &column!(|node| node.last.told_by.map(|teller| teller.ip())),
                &column!(|node| node.last.told_by.map(|teller| i32::from(teller.port()))),
                &column!(|node| node.told_us),
                &column!(|node| node.ok),
                &column!(|node| node.failed),
                &column!(|node| node.missed),
                &column!(|node| node.sampled_at),
                &column!(|node| node.last.removed),
                &self.run.0,
            ],
        )
        .await?;
        Ok((statement::count(&row, "saved")?, statement::count(&row, "forgotten")?))
    }
}

/// Reads nodes for a warm start: those that have answered, freshest first, then those that never have.
#[derive(Clone, Copy, Debug)]
pub struct LoadNodes {
    /// How many at most.
    pub limit: u32,
}

/// A node as it was left.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredNode {
    /// Its id.
    pub id: NodeId,
    /// Where it is.
    pub addr: SocketAddr,
    /// Its freshness.
    pub freshness: u32,
    /// Visits in a row that it did not answer.
    pub missed: u16,
    /// Whether it answers sample_infohashes.
    pub bep51: Option<bool>,
    /// `v` of its messages.
    pub version: Option<[u8; 4]>,
    /// Info-hashes it said to store.
    pub num: Option<u32>,
    /// Seconds it asked to be left alone.
    pub interval: Option<u32>,
    /// When it last answered, by the database's clock a moment ago.
    pub seen_ago: Option<Duration>,
    /// When it last answered sample_infohashes.
    pub sampled_ago: Option<Duration>,
}

const LOAD: &str = "
select id, ip, port, freshness, missed, bep51, version, num, interval_s,
    extract(epoch from now() - last_seen)::float8 as seen_s, extract(epoch from now() - sampled_at)::float8 as sampled_s
from nodes order by last_seen is null, freshness desc, last_seen desc limit $1";

impl Session for LoadNodes {
    type Client = Client;
    type Output = Vec<StoredNode>;

    async fn run(self, client: &mut Client) -> Result<Vec<StoredNode>, SessionError> {
        let rows = statement::rows(client, LOAD, &[&i64::from(self.limit)]).await?;
        rows.iter()
            .map(|row| {
                let ago = |name| -> Result<Option<Duration>, SessionError> {
                    Ok(statement::column::<Option<f64>>(row, name)?
                        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
                };
                let port = u16::try_from(statement::column::<i32>(row, "port")?).unwrap_or(0);
                Ok(StoredNode {
                    id: NodeId::try_from(statement::column::<&[u8]>(row, "id")?)
                        .map_err(|error| SessionError::Unexpected(error.to_string()))?,
                    addr: SocketAddr::new(statement::column::<IpAddr>(row, "ip")?, port),
                    freshness: u32::try_from(statement::column::<i32>(row, "freshness")?).unwrap_or(0),
                    missed: u16::try_from(statement::column::<i16>(row, "missed")?).unwrap_or(0),
                    bep51: statement::column(row, "bep51")?,
                    version: statement::column::<Option<&[u8]>>(row, "version")?
                        .and_then(|version| version.try_into().ok()),
                    num: statement::column::<Option<i64>>(row, "num")?
                        .and_then(|num| u32::try_from(num).ok()),
                    interval: statement::column::<Option<i32>>(row, "interval_s")?
                        .and_then(|seconds| u32::try_from(seconds).ok()),
                    seen_ago: ago("seen_s")?,
                    sampled_ago: ago("sampled_s")?,
                })
            })
            .collect()
    }
}
