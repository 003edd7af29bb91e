//! All lookups there are: those in flight, those that wait for a hint's budget, those that wait for a place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;

use crate::event::{LookupId, Priority};
use crate::lookup::{Goal, Lookup};

/// Who wants the result of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// The program, which gets its peers.
    Program(Priority),
    /// The program, which wants to know how many take part.
    Scrape,
    /// The engine itself, for the contacts that come up on the way.
    Upkeep,
}

#[derive(Debug)]
pub(crate) struct Lookups {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_hash: HashMap<InfoHash, LookupId>,
    /// To be driven as soon as a budget allows: those a person waits for, those of the program that have a node to ask
    /// which is known to have peers, the other ones of the program, scrapes and our own.
    runnable: [VecDeque<LookupId>; RANKS],
    /// Want to search, but as many as may do already: in the same order.
    queued: [VecDeque<LookupId>; RANKS],
    turn: u32,
    wakes: BinaryHeap<Reverse<(Duration, LookupId)>>,
    searching: usize,
    upkeep: usize,
    scrapes: usize,
    live: usize,
    searching_max: usize,
    live_max: usize,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) lookup: Lookup,
    pub(crate) client: Client,
    /// In the runnable queue.
    runnable: bool,
    /// Holds one of the places of searches.
    searching: bool,
    /// The wake-up that counts; others in the heap are outdated.
    wake: Option<Duration>,
}

impl Lookups {
    /// At most `searching_max` search at a time, and `waiting_max` more wait.
    pub(crate) fn new(searching_max: usize, waiting_max: usize) -> Lookups {
        Lookups {
            slots: Vec::new(),
            free: Vec::new(),
            by_hash: HashMap::new(),
            runnable: Default::default(),
            queued: Default::default(),
            turn: 0,
            wakes: BinaryHeap::new(),
            searching: 0,
            upkeep: 0,
            scrapes: 0,
            live: 0,
            searching_max,
            live_max: searching_max.saturating_add(waiting_max),
        }
    }

    /// Takes up a lookup, which is then runnable. `None` when there is no room.
    pub(crate) fn add(&mut self, lookup: Lookup, client: Client) -> Option<LookupId> {
        match client {
            Client::Program(_) if self.live >= self.live_max => return None,
            Client::Upkeep if self.upkeep >= UPKEEP_MAX => return None,
            Client::Scrape if self.scrapes >= SCRAPES_MAX => return None,
            Client::Program(_) => self.live += 1,
            Client::Scrape => self.scrapes += 1,
            Client::Upkeep => self.upkeep += 1,
        }
        let goal = lookup.goal();
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.entry = Some(Entry { lookup, client, runnable: false, searching: false, wake: None });
        let id = LookupId(u64::from(slot.generation) << 32 | u64::from(index));
        if let Goal::Peers(info_hash) = goal {
            self.by_hash.insert(info_hash, id);
        }
        self.make_runnable(id);
        Some(id)
    }

    /// Ends a lookup.
    pub(crate) fn remove(&mut self, id: LookupId) -> Option<Entry> {
        self.get(id)?;
        let index = id.0 as u32;
        let slot = self.slots.get_mut(index as usize)?;
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        match entry.client {
            Client::Program(_) => {
                self.live -= 1;
                self.searching -= usize::from(entry.searching);
            }
            Client::Scrape => self.scrapes -= 1,
            Client::Upkeep => self.upkeep -= 1,
        }
        if let Goal::Peers(info_hash) = entry.lookup.goal()
            && self.by_hash.get(&info_hash) == Some(&id)
        {
            self.by_hash.remove(&info_hash);
        }
        self.admit();
        Some(entry)
    }

    pub(crate) fn get(&self, id: LookupId) -> Option<&Entry> {
        let slot = self.slots.get(id.0 as u32 as usize)?;
        if slot.generation == (id.0 >> 32) as u32 { slot.entry.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: LookupId) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(id.0 as u32 as usize)?;
        if slot.generation == (id.0 >> 32) as u32 { slot.entry.as_mut() } else { None }
    }

    /// The lookup of an info-hash, while there is one.
    pub(crate) fn find(&self, info_hash: &InfoHash) -> Option<LookupId> {
        self.by_hash.get(info_hash).copied()
    }

    /// A node has sampled this hash: a lookup of it takes that up.
    pub(crate) fn hint(&mut self, info_hash: &InfoHash, addr: SocketAddr) {
        if let Some(id) = self.find(info_hash)
            && let Some(entry) = self.get_mut(id)
        {
            entry.lookup.hint(addr);
            self.make_runnable(id);
        }
    }

    /// Lets a lookup search if there is a place for it; else it waits for one.
    pub(crate) fn begin_search(&mut self, id: LookupId) -> bool {
        let room = self.searching < self.searching_max;
        let Some(entry) = self.get_mut(id) else { return false };
        let client = entry.client;
        if !matches!(client, Client::Program(_)) || entry.searching {
            return true;
        }
        if room {
            entry.searching = true;
            self.searching += 1;
        } else {
            self.queued[rank(client, false)].push_back(id);
        }
        room
    }

    /// Has a lookup driven at this time at the latest.
    pub(crate) fn wake_at(&mut self, id: LookupId, at: Duration) {
        if let Some(entry) = self.get_mut(id)
            && entry.wake.is_none_or(|wake| wake > at)
        {
            entry.wake = Some(at);
            self.wakes.push(Reverse((at, id)));
        }
    }

    /// Has a lookup driven as soon as budgets allow.
    pub(crate) fn make_runnable(&mut self, id: LookupId) {
        let Some(entry) = self.get_mut(id) else { return };
        if std::mem::replace(&mut entry.runnable, true) {
            return;
        }
        let rank = rank(entry.client, entry.lookup.has_promise());
        self.runnable[rank].push_back(id);
    }

    /// The next lookup to drive: the most urgent one, and now and then the least urgent one.
    pub(crate) fn pop_runnable(&mut self) -> Option<LookupId> {
        loop {
            self.turn = self.turn.wrapping_add(1);
            let id = if self.turn.is_multiple_of(PATIENCE) {
                self.runnable.iter_mut().rev().find_map(VecDeque::pop_front)
            } else {
                self.runnable.iter_mut().find_map(VecDeque::pop_front)
            }?;
            if let Some(entry) = self.get_mut(id) {
                entry.runnable = false;
                return Some(id);
            }
        }
    }

    /// Whether any lookup can go on.
    pub(crate) fn has_runnable(&self) -> bool {
        self.runnable.iter().any(|queue| !queue.is_empty())
    }

    /// Makes those runnable whose time has come.
    pub(crate) fn wake(&mut self, now: Duration) {
        while let Some(Reverse((at, id))) = self.wakes.peek().copied() {
            if at > now {
                break;
            }
            self.wakes.pop();
            if let Some(entry) = self.get_mut(id)
                && entry.wake == Some(at)
            {
                entry.wake = None;
                self.make_runnable(id);
            }
        }
    }

    /// Lookups of the program that are asking.
    pub(crate) fn searching(&self) -> usize {
        self.searching
    }

    /// Lookups of the program that wait: for a place, or for the budget of a node that sampled the hash.
    pub(crate) fn waiting(&self) -> usize {
        self.live - self.searching
    }

    /// Scrapes in flight.
    pub(crate) fn scrapes(&self) -> usize {
        self.scrapes
    }

    /// Lets those that wait for a place try again.
    fn admit(&mut self) {
        let mut places = self.searching_max.saturating_sub(self.searching);
        while places > 0 {
            let Some(id) = self.queued.iter_mut().find_map(VecDeque::pop_front) else { break };
            if self.get(id).is_some() {
                self.make_runnable(id);
                places -= 1;
            }
        }
    }
}

fn rank(client: Client, promise: bool) -> usize {
    match client {
        Client::Program(Priority::User) => 0,
        Client::Program(Priority::Normal) if promise => 1,
        Client::Program(Priority::Normal) => 2,
        // Neither is urgent, and those of one rank take turns.
        Client::Scrape | Client::Upkeep => 3,
    }
}

const RANKS: usize = 4;

/// One step in so many goes to the least urgent lookup, so that our own do not wait for ever.
const PATIENCE: u32 = 8;

/// The engine's own lookups at a time: enough to enter quickly, few enough not to crowd out the rest.
const UPKEEP_MAX: usize = 8;

/// Scrapes at a time: with up to 16 filters each half a megabyte, and no more than finish in a few seconds.
const SCRAPES_MAX: usize = 64;
