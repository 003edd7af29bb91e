//! The engine: one DHT with all its virtual nodes, driven by datagrams and time.
//!
//! The parts are of their own files; here they are put together. What happens to a datagram is in
//! `receive` (answers) and `serve` (queries), who may be asked what and when in `query`. There are three reasons to
//! ask anybody anything: lookups (`search`), visits (`discovery`) and staying in the network (`upkeep`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{ClientVersion, CompactNode, Distance, NodeId, Want};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::bogon::AddressFilter;
use crate::bootstrap::Bootstrap;
use crate::budget::{Bucket, BudgetUse, EndpointBudget, SendBudget, Sending};
use crate::config::{Config, ConfigError, Limits, PortIndex};
use crate::contact_store::Contacts;
use crate::counters::{Counters, Gauges, QueueUse};
use crate::discovery::{FAR_LOOKS_BURST, FAR_LOOKS_PER_MINUTE};
use crate::event::{KnownNode, Support, SweepProgress};
use crate::explore::Explorer;
use crate::external_address::ExternalAddresses;
use crate::freshness::Decay;
use crate::id_mismatch::{self, IdMismatch};
use crate::identity::{self, Identity};
use crate::keyed_hash::HashKey;
use crate::keyspace_slices::KeyspaceSlices;
use crate::limiter::{self, Limiter};
use crate::lookups::Lookups;
use crate::node_table::{Added, NodeRef, NodeTable};
use crate::odds::Odds;
use crate::output::Output;
use crate::paced_queue::PacedQueue;
use crate::population::Population;
use crate::purpose::Purpose;
use crate::reachability::{Reachability, ReachabilityWatch};
use crate::routing_table::{K, PER_SUBNET};
use crate::rtt::RttEstimator;
use crate::serve::{ANSWERS_WAITING_PER_PARTY, WaitingAnswer};
use crate::server::Server;
use crate::strangers::Strangers;
use crate::transactions::Transactions;
use crate::unreachable::{self, UnreachableCache};
use crate::upkeep::Rounds;
use crate::virtual_node::{NodeIndex, VirtualNodes};
use crate::visit_queue::VisitQueue;
use crate::visits::Visits;
use crate::watchdog::Watchdog;

/// A participant in the Mainline DHT with any number of ids behind any number of ports.
///
/// It does no I/O and knows no clock: [`receive`](Dht::receive) takes a datagram, [`tick`](Dht::tick)
/// does what has become due, and both put into an [`Output`] what is to be sent and what was found out. `now` is the time since
/// an origin of the caller's choice and never goes back.
#[derive(Debug)]
pub struct Dht {
    // What it is.
    pub(crate) nodes: VirtualNodes,
    pub(crate) version: ClientVersion,
    pub(crate) want: Want,
    /// At most one node of a subnet is asked in a lookup; not on loopback, where all are in one.
    pub(crate) diverse: bool,
    pub(crate) min_sample_interval: Duration,
    pub(crate) epoch: Duration,
    pub(crate) decay: Decay,
    pub(crate) retry_worth: f64,
    pub(crate) nodes_max: usize,
    /// Where nodes are sampled.
    pub(crate) slices: KeyspaceSlices,
    limits: Limits,

    // Whom it knows.
    pub(crate) contacts: Contacts,
    pub(crate) table: NodeTable,
    pub(crate) bootstrap: Bootstrap,
    pub(crate) filter: AddressFilter,
    pub(crate) unreachable: UnreachableCache,
    pub(crate) id_mismatch: IdMismatch,
    pub(crate) external: ExternalAddresses,
    pub(crate) reachability: ReachabilityWatch,

    // What is in flight, and what waits.
    pub(crate) transactions: Transactions<Purpose>,
    pub(crate) lookups: Lookups,
    pub(crate) visits: Visits,
    pub(crate) queue: VisitQueue,
    pub(crate) rounds: Rounds,
    pub(crate) explorers: [Explorer; 2],
    /// Nodes that may be asked for the far space.
    pub(crate) far_looks: Bucket,
    pub(crate) server: Server,
    pub(crate) answers: PacedQueue<WaitingAnswer>,

    // What it may do.
    pub(crate) identity: Identity,
    pub(crate) limiter: Limiter,
    pub(crate) sending: SendBudget,
    pub(crate) endpoints: EndpointBudget,
    pub(crate) strangers: Strangers,

    // What it has measured.
    pub(crate) rtt: RttEstimator,
    pub(crate) odds: Odds,
    /// Info-hashes that a node shows when it is sampled for the first time.
    pub(crate) first_news: f64,
    /// Of each family.
    pub(crate) populations: [Population; 2],
    pub(crate) watchdog: Watchdog,
    pub(crate) counters: Counters,
    /// Nodes of which a visit has ended, those removed since included.
    pub(crate) visited: u64,

    pub(crate) rng: StdRng,
    turn: u32,
    sweep_due: Duration,
    // Lists that are used again and again.
    pub(crate) closest: Vec<(Distance, NodeRef)>,
    pub(crate) named: Vec<CompactNode>,
    pub(crate) scratch: Vec<u8>,
}

impl Dht {
    /// A DHT that knows nobody but the bootstrap addresses of its configuration.
    ///
    /// # Errors
    /// [`ConfigError`] when the configuration cannot work.
    pub fn new(config: &Config, now: Duration) -> Result<Dht, ConfigError> {
        config.check()?;
        let (seed, limits) = (&config.seed, &config.limits);
        let key = |purpose| HashKey::derive(seed, purpose);
        let per_subnet = if config.allow_loopback { K as u8 } else { PER_SUBNET };
        let families = [false, true].map(|v6| config.ports.iter().any(|port| port.local.is_ipv6() == v6));
        let locals = || config.ports.iter().map(|port| port.local);
        let nodes = config.nodes.iter().map(|node| (node.id, node.port));
        let nodes = VirtualNodes::new(locals(), nodes, per_subnet);
        let per_ip = if config.allow_loopback { u16::MAX } else { NODES_PER_IP_MAX };
        let mut dht = Dht {
            nodes,
            version: config.version,
            want: Want::default(),
            diverse: !config.allow_loopback,
            min_sample_interval: config.min_sample_interval,
            epoch: config.epoch,
            decay: config.decay,
            retry_worth: config.retry_worth,
            nodes_max: limits.nodes_max,
            slices: KeyspaceSlices::ALL,
            limits: *limits,
            contacts: Contacts::new(
                if families[0] { limits.contacts_max } else { 0 },
                if families[1] { limits.contacts_max } else { 0 },
                seed,
            ),
            table: NodeTable::new(limits.nodes_max, per_ip, key("nodes")),
            bootstrap: Bootstrap::default(),
            filter: AddressFilter::new(locals(), config.allow_loopback),
            unreachable: UnreachableCache::new(
                (2 * limits.nodes_max).clamp(SILENT_MIN, unreachable::ENDPOINTS),
                key("unreachable"),
            ),
            id_mismatch: IdMismatch::new(id_mismatch::PARTIES, key("id mismatch")),
            external: ExternalAddresses::new(locals(), &config.known_external),
            reachability: ReachabilityWatch::new(
                config.read_only,
                config.ports.len(),
                limits.new_endpoints_per_minute,
                key("reachability"),
                now,
            ),
            transactions: Transactions::new(limits.queries_max, key("transactions"), now),
            lookups: Lookups::new(limits.lookups_max, limits.lookups_waiting_max),
            visits: Visits::new(limits.visits_max),
            queue: VisitQueue::default(),
            rounds: Rounds::default(),
            explorers: [Explorer::new(), Explorer::new()],
            far_looks: Bucket::new(FAR_LOOKS_PER_MINUTE, Duration::from_secs(60), FAR_LOOKS_BURST),
            server: Server::new(config.version, limits.stored_hashes_max, seed),
            answers: PacedQueue::new(limits.answers_waiting_max, ANSWERS_WAITING_PER_PARTY, key("answers")),
            identity: Identity::new(
                (2 * limits.nodes_max).clamp(identity::CHOICES, CHOICES_MAX),
                key("identity"),
            ),
            limiter: Limiter::new(limiter::places_for(limits.packets_per_second), key("limiter")),
            sending: SendBudget::new(limits.packets_per_second, limits.bytes_per_second),
            endpoints: EndpointBudget::new(limits.new_endpoints_per_minute),
            strangers: Strangers::new(limits.packets_per_second, limits.new_endpoints_per_minute),
            rtt: RttEstimator::new(),
            odds: Odds::new(),
            first_news: 1.0,
            populations: Default::default(),
            watchdog: Watchdog::new(now),
            counters: Counters::default(),
            visited: 0,
            rng: StdRng::from_seed(*seed),
            turn: 0,
            sweep_due: now,
            closest: Vec::new(),
            named: Vec::new(),
            scratch: Vec::new(),
        };
        for (_, external) in &config.known_external {
            dht.filter.add_own(*external);
        }
        dht.want = dht.wanted();
        dht.table.diverse = dht.diverse;
        for addr in &config.bootstrap {
            dht.add_bootstrap(now, *addr);
        }
        Ok(dht)
    }

    /// Does everything that has become due. To be called every 20 to 50 ms; costs as much as is due.
    pub fn tick(&mut self, now: Duration, out: &mut Output) {
        self.expire_queries(now, out);
        self.send_waiting_answers(now, out);
        self.keep_up(now, out);
        self.reachability.look(now, |port, state| out.reachability(port, state));
        if now >= self.sweep_due {
            self.sweep_due = now + SWEEP_PAUSE;
            self.server.sweep(now);
        }
        self.lookups.wake(now);
        self.visits.wake(now);
        self.collect_due(now);
        self.plan_exploring(now);
        self.run(now, out);
    }

    /// Takes up a node remembered from an earlier run. Returns whether it was new and there was room.
    pub fn add_known(&mut self, now: Duration, node: &KnownNode) -> bool {
        if !self.is_plausible(node.addr) || self.nodes.is_own(&node.id) || !self.can_speak_to(node.addr) {
            return false;
        }
        let Added::New(at) = self.table.add(node.id, node.addr, None) else { return false };
        let pause = Duration::from_secs(node.interval.unwrap_or(0).into()).max(self.min_sample_interval);
        let rest = node.sampled_ago.map_or(Duration::ZERO, |ago| pause.saturating_sub(ago));
        self.table.update(at, |entry| {
            entry.freshness = node.freshness;
            entry.missed = node.missed;
            entry.support = node.support;
            entry.version = node.version;
            entry.num = node.num;
            entry.interval = node.interval;
            if node.support != Support::No {
                entry.sample_due = now + rest;
            }
        });
        self.make_ready(now, at);
        true
    }

    /// Takes up an address to enter the network by, as when a host name was resolved. One of a family that no port speaks is
    /// passed over.
    pub fn add_bootstrap(&mut self, now: Duration, addr: SocketAddr) {
        let addr = crate::address::canonical(addr);
        if self.can_speak_to(addr) {
            self.bootstrap.add(now, addr);
        }
    }

    /// Moves a virtual node (by its place in [`Config::nodes`]) to another id, as when the external address turns out
    /// to be another one (BEP 42). It keeps the contacts that have a place in its new table, and looks up its new
    /// neighbourhood. Remotes see an endpoint that has changed its id: who may be banned for that when it happens twice
    /// within a quarter of an hour is for the caller to mind. `false` when there is no such node, or the id is in use.
    pub fn move_node(&mut self, now: Duration, index: u32, id: NodeId) -> bool {
        let moved = self.nodes.move_to(now, NodeIndex(index), id, &mut self.contacts);
        if moved {
            self.counters.nodes_moved += 1;
            self.rounds.rejoin(NodeIndex(index));
        }
        moved
    }

    /// Our local addresses, each with the external one that others agree on (BEP 42).
    pub fn external_addresses(&self) -> impl Iterator<Item = (IpAddr, Option<IpAddr>)> + '_ {
        self.external.agreed()
    }

    /// Whether a port can be reached from outside, as far as it is known; and how many queries of nodes to which we had
    /// not spoken have shown it.
    pub fn reachability(&self, port: PortIndex) -> (Reachability, u64) {
        (self.reachability.of(port), self.reachability.strangers(port))
    }

    /// Whether the nodes behind a port say that they cannot be reached, and answer nothing (BEP 43).
    pub fn is_read_only(&self, port: PortIndex) -> bool {
        self.reachability.is_read_only(port)
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the budgets for all remotes together stand.
    pub fn budgets(&self) -> [BudgetUse; 3] {
        let [packets, bytes] = self.sending.report();
        [packets, bytes, self.endpoints.report()]
    }

    /// How full the bounded queues and tables are.
    pub fn queues(&self) -> [QueueUse; 8] {
        let limits = &self.limits;
        let queue = |name, len, max, refused| QueueUse { name, len, max, refused };
        let contacts_refused = self.contacts.v4.counters().refused + self.contacts.v6.counters().refused;
        [
            queue(
                "queries in flight",
                self.transactions.len(),
                limits.queries_max,
                self.counters.limited_by_queries,
            ),
            queue("visits in flight", self.visits.len(), limits.visits_max, 0),
            queue("nodes due for a visit", self.queue.ready(), limits.nodes_max, 0),
            queue("lookups in flight", self.lookups.searching(), limits.lookups_max, 0),
            queue(
                "lookups waiting",
                self.lookups.waiting(),
                limits.lookups_waiting_max,
                self.counters.lookups_refused,
            ),
            queue(
                "answers waiting",
                self.answers.len(),
                limits.answers_waiting_max,
                self.counters.answers_crowded_out,
            ),
            queue("nodes known", self.table.len(), limits.nodes_max, self.counters.contacts_refused),
            queue("contacts", self.contacts.len(), self.contacts.capacity(), contacts_refused),
        ]
    }

    /// What there is now. Costs the same however much that is.
    pub fn gauges(&self) -> Gauges {
        let tally = self.table.tally();
        Gauges {
            nodes: self.table.len(),
            nodes_live: tally.live,
            nodes_live_v4: tally.live_v4,
            nodes_live_v6: tally.live_v6,
            nodes_sampling: tally.sampling,
            nodes_not_sampling: tally.not_sampling,
            contacts: self.contacts.len(),
            table_entries: self.contacts.references(),
            queries: self.transactions.len(),
            lookups: self.lookups.searching(),
            lookups_waiting: self.lookups.waiting(),
            scrapes: self.lookups.scrapes(),
            visits: self.visits.len(),
            visits_waiting: self.queue.ready(),
            answers_waiting: self.answers.len(),
            stored_hashes: self.server.peers().len(),
            population: self.populations.iter().map(Population::estimate).sum(),
        }
    }

    /// Verified contacts, over both families.
    pub fn contact_count(&self) -> usize {
        self.contacts.len()
    }

    /// Nodes in the node table, reached or not.
    pub fn node_count(&self) -> usize {
        self.table.len()
    }

    /// The two letters of the client at an endpoint, if a node there has told them.
    pub fn client_at(&self, addr: SocketAddr) -> Option<[u8; 2]> {
        self.table.get(self.table.find(addr)?)?.version.map(|version| version.client())
    }

    /// Live nodes by the first two bytes of their `v` (`None`: no `v`), most frequent first. Walks the whole node table.
    pub fn clients(&self) -> Vec<(Option<[u8; 2]>, usize)> {
        self.table.clients()
    }

    /// The ids that we have, with the port of each.
    pub fn virtual_nodes(&self) -> impl Iterator<Item = (NodeId, PortIndex)> + '_ {
        self.nodes.iter().map(|(_, node)| (node.id, node.port))
    }

    /// How far the sweep over all known nodes has come.
    pub fn sweep_progress(&self) -> SweepProgress {
        let in_flight = self.visits.len() as u64;
        let unvisited = self.table.tally().unvisited as u64;
        let waiting = unvisited.saturating_sub(self.visits.sweeping());
        SweepProgress {
            visited: self.visited,
            waiting,
            in_flight,
            finished: self.has_joined() && self.has_explored() && unvisited == 0 && in_flight == 0,
        }
    }

    /// Goes on with whatever can go on, as far as the budgets for all remotes allow: two steps of lookups,
    /// then one of a visit, so that neither starves the other.
    pub(crate) fn run(&mut self, now: Duration, out: &mut Output) {
        let (mut lookups, mut visits) = (true, true);
        while lookups || visits {
            if !self.sending.has(now, Sending::Query) {
                if self.lookups.has_runnable() || self.visits.has_runnable() || self.queue.ready() > 0 {
                    self.sending.held_back(now, Sending::Query);
                }
                break;
            }
            self.turn = self.turn.wrapping_add(1);
            let lookup_first = !self.turn.is_multiple_of(3);
            if lookups && (lookup_first || !visits) {
                lookups = self.run_one_lookup(now, out);
            } else if visits {
                visits = self.run_one_visit(now, out);
            }
        }
        if lookups || visits {
            self.strangers.contend(now);
        }
    }
}

/// Nodes behind one IP: some clients behind one NAT, but no network of fake nodes.
const NODES_PER_IP_MAX: u16 = 16;

/// Announced peers that have expired are dropped a few at a time.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Endpoints remembered as silent, however few nodes there is room for.
const SILENT_MIN: usize = 4_096;

/// Choices of who speaks to whom that are kept, two for a remote, 9 bytes each.
const CHOICES_MAX: usize = 1 << 20;
