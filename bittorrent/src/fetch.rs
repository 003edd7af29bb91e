//! The search for one info dict: several peers at once, one result.

mod reach;

use std::{sync::Arc, time::Duration};

use krpc::InfoHash;

use crate::{
    Admission, Candidate, CloseHow, ConnectFailure, Disconnect, FailReason, FetchConfig, FetchCounters,
    FetchFailure, Fetched, GivingConfig, Output, PeerFault, PeerId, PeerOutcome, PeerReport, Slot, Stage,
    Transport, VerifiedBy,
    assembly::{Assembly, Giver, Testimony},
    candidates::{Candidates, PeerSource},
    channel::Channel,
    fetch_config::ENDPOINTS_CEILING,
    metadata_server::{Handover, MetadataServer},
    peer_session::{PeerEvent, PeerSession, PeerTimer},
    ut_metadata::{MetadataSize, PIECE_BYTES},
    ut_pex::{PexMessage, PexPeer},
};

/// The state machine that gets one info dict.
///
/// Its owner makes connections, carries bytes and keeps the time; the fetch says what to do by [`Action`]s in the
/// [`Output`] that every call takes. It ends with one `Done` or `Failed`, after which every call does nothing.
///
/// - Peers that claim the same size share one assembly: no piece is asked for twice unless the first peer asked is
///   slow. When the bytes come out wrong and several peers gave them, nobody is accused: each continues alone with the
///   pieces that it gave itself, so that a liar can spoil only its own.
/// - Memory: pieces that came, never more than [`FetchConfig::fetch_bytes_max`], and for each peer one message. The
///   owner sees it as [`bytes_held`](Self::bytes_held) and may [`abort`](Self::abort) when all fetches together
///   hold too much.
///
/// [`Action`]: crate::Action
#[derive(Debug)]
pub struct Fetch {
    info_hash: InfoHash,
    config: Arc<FetchConfig>,
    started: Duration,
    candidates: Candidates,
    more_expected: bool,
    /// At most [`FetchConfig::peers_max`].
    peers: Vec<Peer>,
    /// One for each size claimed by a peer in `peers`, and those that peers have left pieces in.
    assemblies: Vec<Assembly>,
    /// Sizes of which a shared assembly came out wrong: there every peer works alone.
    distrusted: Vec<MetadataSize>,
    /// At most [`TESTIMONIES_MAX`].
    testimonies: Vec<Testimony>,
    next_slot: u16,
    /// No connects before this, after the owner had no socket.
    hold_until: Duration,
    overloads: u32,
    /// A candidate waits for a connect that the owner did not allow.
    awaits_connect: bool,
    /// When peers with nothing to ask for, or candidates that wait, should be looked at again.
    wake_at: Option<Duration>,
    best: Option<(Stage, PeerOutcome)>,
    finished: bool,
    counters: FetchCounters,
    /// Somebody has told of others in what is being taken in: the owner has not had the time to offer them.
    told: bool,
    /// Connections that go on without the fetch; at most [`FetchConfig::peers_max`].
    handovers: Vec<Handover>,
}

#[derive(Debug)]
struct Peer {
    slot: Slot,
    candidate: Candidate,
    connect_at: Duration,
    offered_at: Duration,
    size: Option<MetadataSize>,
    session: PeerSession,
    transport: Transport,
    channel: Channel,
    /// Messages by which it told of others.
    exchanges: u32,
}

impl Fetch {
    /// A fetch without candidates. Its time runs from `now`.
    pub fn new(info_hash: InfoHash, config: Arc<FetchConfig>, now: Duration) -> Self {
        Self {
            info_hash,
            config,
            started: now,
            candidates: Candidates::default(),
            more_expected: true,
            peers: Vec::new(),
            assemblies: Vec::new(),
            distrusted: Vec::new(),
            testimonies: Vec::new(),
            next_slot: 0,
            hold_until: Duration::ZERO,
            overloads: 0,
            awaits_connect: false,
            wake_at: None,
            best: None,
            finished: false,
            counters: FetchCounters::default(),
            told: false,
            handovers: Vec::new(),
        }
    }

    /// Offers an endpoint. May be called at any time.
    pub fn add_candidate(&mut self, now: Duration, candidate: Candidate, out: &mut Output) -> Admission {
        self.add_candidate_by(now, candidate, None, out)
    }

    /// Offers an endpoint of which may be known by which transport it was reached before: that is then the first to be
    /// tried, if it is allowed.
    pub fn add_candidate_by(
        &mut self,
        now: Duration,
        candidate: Candidate,
        known: Option<Transport>,
        out: &mut Output,
    ) -> Admission {
        if self.finished {
            return Admission::Full;
        }
        let endpoints_max = self.config.endpoints_max.min(ENDPOINTS_CEILING);
        let admission = match self.config.transports.allowed_at(candidate.addr.ip()).first(known) {
            Some(transport) => self.candidates.offer(candidate, transport, endpoints_max),
            None => Admission::Unusable,
        };
        self.counters.count_admission(admission);
        if admission == Admission::Queued {
            self.advance(now, out);
        }
        admission
    }

    /// Says that no candidates are to come: from now on the fetch fails as soon as everybody was tried.
    pub fn no_more_candidates(&mut self, now: Duration, out: &mut Output) {
        self.more_expected = false;
        self.advance(now, out);
    }

    /// The connection asked for stands.
    pub fn peer_opened(&mut self, now: Duration, slot: Slot, out: &mut Output) {
        let Some(at) = self.position(slot) else { return self.count_late() };
        let Peer { session, channel, candidate, .. } = &mut self.peers[at];
        if session.stage() == Stage::Connect {
            let policy = &self.config.transports;
            out.write(slot, |bytes| {
                channel.open(now, policy, self.info_hash, slot, bytes, |bytes| session.open(now, bytes));
            });
            // Where this leads to somebody, the others need not be tried for now.
            self.candidates.withdraw(candidate.addr, true);
        }
    }

    /// Bytes have come, in any portions.
    pub fn peer_data(&mut self, now: Duration, slot: Slot, bytes: &[u8], out: &mut Output) {
        let Some(at) = self.position(slot) else { return self.count_late() };
        self.peers[at].session.count_received(bytes.len());
        let before = self.peers[at].session.stage();
        let mut scratch = std::mem::take(&mut out.decrypted);
        let result = self.decrypt_and_consume(now, at, bytes, &mut scratch, out);
        out.decrypted = scratch;
        match result {
            Ok(()) if before <= Stage::Handshake && self.peers[at].session.stage() > Stage::Handshake => {
                self.settle(now, slot, out);
            }
            Ok(()) => {}
            Err(outcome) => self.end_peer(now, at, outcome, Some(CloseHow::Reset), out),
        }
        self.advance(now, out);
        self.told = false;
    }

    /// The connection is gone, or could not be made. Not to be called after a `Close` action, which frees the slot.
    pub fn peer_closed(&mut self, now: Duration, slot: Slot, why: Disconnect, out: &mut Output) {
        let Some(at) = self.position(slot) else { return self.count_late() };
        let peer = &self.peers[at];
        let stage = peer.session.stage();
        let heard_nothing = peer.session.received_bytes() == 0;
        let outcome = match (stage, why) {
            (Stage::Connect, Disconnect::Refused) => PeerOutcome::ConnectFailed(ConnectFailure::Refused),
            (Stage::Connect, Disconnect::Unreachable) => {
                PeerOutcome::ConnectFailed(ConnectFailure::Unreachable)
            }
            (Stage::Connect, Disconnect::Timeout) => PeerOutcome::ConnectFailed(ConnectFailure::Timeout),
            (Stage::Connect, Disconnect::Overload) => PeerOutcome::ConnectFailed(ConnectFailure::Overload),
            (Stage::Connect, _) => PeerOutcome::ConnectFailed(ConnectFailure::Other),
            (_, Disconnect::Eof | Disconnect::Reset) if heard_nothing => PeerOutcome::ClosedWithoutByte,
            (_, Disconnect::Eof) => PeerOutcome::Closed(stage),
            (_, Disconnect::Reset) => PeerOutcome::Reset(stage),
            (_, Disconnect::Timeout) => PeerOutcome::Silent(stage),
            _ => PeerOutcome::Broken(stage),
        };
        if outcome == PeerOutcome::ConnectFailed(ConnectFailure::Overload) {
            self.overloads += 1;
            if self.overloads <= OVERLOADS_MAX {
                self.candidates.put_back(peer.candidate, peer.transport);
            }
            self.hold_until = now + OVERLOAD_PAUSE;
        }
        self.end_peer(now, at, outcome, None, out);
        self.advance(now, out);
    }

    /// Does what is due. To be called at [`next_deadline`](Self::next_deadline); calling it more often does no harm.
    pub fn tick(&mut self, now: Duration, out: &mut Output) {
        if self.finished {
            return;
        }
        if now >= self.time_is_over_at() {
            return self.fail(now, FailReason::Deadline, out);
        }
        for at in (0..self.peers.len()).rev() {
            let session = &mut self.peers[at].session;
            let lost = session.in_flight().len() as u64;
            match session.tick(now, &self.config.peer) {
                PeerTimer::Nothing => {}
                PeerTimer::Lost => self.counters.requests_repeated += lost,
                PeerTimer::Held(fault) => {
                    self.end_peer(now, at, PeerOutcome::Fault(fault), Some(CloseHow::Reset), out);
                }
                PeerTimer::Silent(stage) => {
                    let outcome = match stage {
                        Stage::Connect => PeerOutcome::ConnectFailed(ConnectFailure::Timeout),
                        _ => PeerOutcome::Silent(stage),
                    };
                    self.end_peer(now, at, outcome, Some(CloseHow::Reset), out);
                }
            }
        }
        self.advance(now, out);
    }

    /// Gives the fetch up: everything is closed, `Failed` follows.
    pub fn abort(&mut self, now: Duration, out: &mut Output) {
        if !self.finished {
            self.fail(now, FailReason::Aborted, out);
        }
    }

    /// Connections that go on although the fetch has succeeded, to be asked for right after `Done`, and only with
    /// [`FetchConfig::giving`]: their peers lack the info dict, and want it. No `Close` was issued for them; what comes
    /// over them belongs to their servers from now on.
    pub fn handovers(&mut self) -> Vec<Handover> {
        std::mem::take(&mut self.handovers)
    }

    /// How many of these wait to be asked for.
    pub fn handover_count(&self) -> usize {
        self.handovers.len()
    }

    /// When [`tick`](Self::tick) must be called next; `None` once it is finished. After a tick at that time the answer is
    /// a later one.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.finished {
            return None;
        }
        let peers = self.peers.iter().filter_map(|peer| peer.session.deadline(&self.config.peer));
        peers.chain(self.wake_at).chain([self.time_is_over_at()]).min()
    }

    /// Whether it would have connected to another peer, had [the owner allowed](Output::allow_connects) that. To be ticked
    /// when that is so.
    pub fn awaits_connect(&self) -> bool {
        self.awaits_connect && !self.finished
    }

    /// The connections that stand or are being made: how far each is, by which transport, and who it says it is.
    pub fn peers(&self) -> impl Iterator<Item = (Stage, Transport, Option<PeerId>)> {
        self.peers.iter().map(|peer| (peer.session.stage(), peer.transport, peer.session.peer_id()))
    }

    /// Bytes on the heap that peers have caused: pieces, unfinished messages, and notes about who said what.
    pub fn bytes_held(&self) -> usize {
        self.pieces_held()
            + self.peers.iter().map(|peer| peer.session.bytes_held()).sum::<usize>()
            + self.testimonies.capacity() * size_of::<Testimony>()
    }

    /// What it is looking for.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Connections that stand or are being made.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Connections that stand or are being made: by what, and how far each has come.
    pub fn connections(&self) -> impl Iterator<Item = (Transport, Stage)> {
        self.peers.iter().map(|peer| (peer.transport, peer.session.stage()))
    }

    /// Bytes received, of connections that are over and of those that stand.
    pub fn received_bytes(&self) -> u64 {
        let standing = self.peers.iter().map(|peer| peer.session.received_bytes());
        self.counters.received_bytes + standing.sum::<u64>()
    }

    /// Whether `Done` or `Failed` was issued.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What was counted so far.
    pub fn counters(&self) -> &FetchCounters {
        &self.counters
    }

    // Events of one peer.

    /// Takes what came through the encryption of one peer, if it has one, a piece's worth at a time; `Err` is the reason to hang up.
    fn decrypt_and_consume(
        &mut self,
        now: Duration,
        at: usize,
        input: &[u8],
        scratch: &mut Vec<u8>,
        out: &mut Output,
    ) -> Result<(), PeerOutcome> {
        let portion_bytes_max =
            if self.peers[at].transport.is_encrypted() { PIECE_BYTES } else { input.len() };
        for portion in input.chunks(portion_bytes_max.max(1)) {
            let Peer { slot, channel, .. } = &mut self.peers[at];
            let plain = out
                .write(*slot, |bytes| channel.receive(portion, scratch, bytes))
                .map_err(|error| PeerOutcome::Fault(error.into()))?;
            self.consume(now, at, plain, out)?;
        }
        Ok(())
    }

    /// Feeds bytes to the session of one peer; `Err` is the reason to hang up.
    fn consume(
        &mut self,
        now: Duration,
        at: usize,
        mut input: &[u8],
        out: &mut Output,
    ) -> Result<(), PeerOutcome> {
        if self.pieces_held() + PIECE_BYTES + input.len() > self.config.fetch_bytes_max {
            // What nobody is adding to goes first.
            self.drop_assemblies(|_, fed| fed);
        }
        let config = &*self.config;
        loop {
            let Peer { slot, candidate, session, size, offered_at, channel, exchanges, .. } =
                &mut self.peers[at];
            let rest = &mut input;
            let event = out
                .write(*slot, move |bytes| {
                    channel.write(bytes, |bytes| {
                        session.next_event(now, &config.peer, config.client.as_deref(), rest, bytes)
                    })
                })
                .map_err(PeerOutcome::Fault)?;
            match event {
                None => return Ok(()),
                Some(PeerEvent::Passed) => {}
                Some(PeerEvent::Offered(offered)) => {
                    *size = Some(offered);
                    *offered_at = now;
                    if !self.assemblies.iter().any(|assembly| assembly.is_for(offered, *slot)) {
                        let only = self.distrusted.contains(&offered).then_some(*slot);
                        self.assemblies.push(Assembly::new(offered, only));
                    }
                }
                Some(PeerEvent::EmptyHanded(fault)) => {
                    if self.candidates.len() >= config.hold_below || config.hold_for.is_zero() {
                        return Err(PeerOutcome::Fault(fault));
                    }
                    self.peers[at].session.hold(now + config.hold_for);
                    self.counters.held = self.counters.held.saturating_add(1);
                }
                Some(PeerEvent::Exchanged(message)) => {
                    self.counters.exchanges = self.counters.exchanges.saturating_add(1);
                    *exchanges += 1;
                    let message = message.filter(|_| *exchanges <= EXCHANGES_MAX);
                    self.told |= exchange(message, &mut self.counters, config, out);
                }
                Some(PeerEvent::Piece { index, bytes }) => {
                    let giver = Giver { slot: *slot, addr: candidate.addr };
                    let Some(size) = *size else { continue };
                    let held: usize = self.assemblies.iter().map(Assembly::bytes_held).sum();
                    if held + bytes.len() > config.fetch_bytes_max {
                        return Err(PeerOutcome::MemoryLimit);
                    }
                    let Some(assembly) =
                        self.assemblies.iter_mut().find(|assembly| assembly.is_for(size, giver.slot))
                    else {
                        continue;
                    };
                    let count = match assembly.store(index, bytes, giver) {
                        true => &mut self.counters.pieces,
                        false => &mut self.counters.pieces_duplicate,
                    };
                    *count += 1;
                }
            }
        }
    }

    /// Forgets a peer and says how it ended. `how` is `None` when the connection is gone already.
    fn end_peer(
        &mut self,
        now: Duration,
        at: usize,
        outcome: PeerOutcome,
        how: Option<CloseHow>,
        out: &mut Output,
    ) {
        let Peer { slot, candidate, connect_at, session, transport, .. } = self.peers.remove(at);
        // What it gave to a shared assembly stays there.
        self.drop_assemblies(|assembly, fed| fed || (assembly.only.is_none() && assembly.bytes_held() > 0));
        let led_nowhere = matches!(
            outcome,
            PeerOutcome::ConnectFailed(
                ConnectFailure::Refused | ConnectFailure::Timeout | ConnectFailure::Other
            ) | PeerOutcome::Fault(PeerFault::BadHandshake)
        );
        let allowed = self.config.transports.allowed_at(candidate.addr.ip());
        if let Some(first) = allowed.first(None).filter(|_| led_nowhere) {
            self.candidates.try_other_port(candidate, first);
        }
        if !self.finished && session.stage() <= Stage::Handshake {
            self.try_other_ways(now, candidate, transport, outcome, session.received_bytes() == 0);
        }
        let addr = candidate.addr;
        let more_follows = outcome != PeerOutcome::FetchEnded
            && (self.candidates.waits(addr) || self.peers.iter().any(|other| other.candidate.addr == addr));
        if let Some(how) = how {
            out.close(slot, how);
        }
        let reached = session.stage();
        if self.best.is_none_or(|(furthest, _)| reached > furthest) {
            self.best = Some((reached, outcome));
        }
        self.counters.count_connection(transport, reached, outcome);
        self.counters.received_bytes += session.received_bytes();
        out.report(PeerReport {
            slot,
            addr,
            source: candidate.source,
            transport,
            more_follows,
            outcome,
            reached,
            lasted: now.saturating_sub(connect_at),
            stages: session.stage_times(now),
            received_bytes: session.received_bytes(),
            peer_id: session.peer_id(),
            client: session.client().map(Into::into),
        });
    }

    // The whole.

    /// Goes as far as can be gone without a further event.
    fn advance(&mut self, now: Duration, out: &mut Output) {
        while !self.finished
            && let Some(at) = self.assemblies.iter().position(Assembly::is_complete)
        {
            let assembly = self.assemblies.swap_remove(at);
            match assembly.verify(&self.info_hash) {
                Some(verified_by) => self.succeed(now, assembly, verified_by, out),
                None => self.distrust(now, assembly, out),
            }
        }
        if self.finished {
            return;
        }
        self.wake_at = None;
        self.ask(now, out);
        self.connect(now, out);
        if self.peers.is_empty() && self.candidates.is_empty() && !self.more_expected {
            if self.told {
                self.wake_at = Some(now);
                return;
            }
            let reason = match self.candidates.any_offered() {
                true => FailReason::Exhausted,
                false => FailReason::NoCandidates,
            };
            self.fail(now, reason, out);
        }
    }

    /// Fills the pipelines of all peers.
    fn ask(&mut self, now: Duration, out: &mut Output) {
        for at in 0..self.peers.len() {
            for _ in 0..self.peers[at].session.room(now) {
                let Some((index, repeated)) = self.choose(now, at) else { break };
                let Peer { slot, session, channel, .. } = &mut self.peers[at];
                out.write(*slot, |bytes| channel.write(bytes, |bytes| session.request(now, index, bytes)));
                self.counters.requests += 1;
                self.counters.requests_repeated += u64::from(repeated);
            }
        }
    }

    /// The piece that a peer should be asked for next, and whether another peer was asked for it already: the lowest
    /// that nobody was asked for, else one that another peer is slow with.
    fn choose(&mut self, now: Duration, at: usize) -> Option<(u32, bool)> {
        let peer = &self.peers[at];
        let size = peer.size?;
        let assembly = self.assemblies.iter().find(|assembly| assembly.is_for(size, peer.slot))?;
        let mut slow = None;
        for index in assembly.missing() {
            if peer.session.in_flight().any(|(asked, _)| asked == index) {
                continue;
            }
            let mut askers = self
                .peers
                .iter()
                .filter(|other| other.size.is_some_and(|size| assembly.is_for(size, other.slot)))
                .filter_map(|other| other.session.in_flight().find(|(asked, _)| *asked == index));
            let Some((_, asked_at)) = askers.next() else { return Some((index, false)) };
            if slow.is_none() && askers.next().is_none() {
                if now >= asked_at + SLOW_AFTER {
                    slow = Some(index);
                } else {
                    let at = asked_at + SLOW_AFTER;
                    self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
                }
            }
        }
        slow.map(|index| (index, true))
    }

    fn succeed(&mut self, now: Duration, assembly: Assembly, verified_by: VerifiedBy, out: &mut Output) {
        let givers = assembly.givers();
        let raw = assembly.into_raw();
        let others = self.assemblies.iter().flat_map(Assembly::testimonies);
        let mut liars: Vec<Giver> = Vec::new();
        for said in self.testimonies.iter().cloned().chain(others) {
            if !liars.contains(&said.giver) && said.is_refuted_by(&raw) {
                liars.push(said.giver);
            }
        }
        self.candidates.forget();
        while let Some(peer) = self.peers.first() {
            let me = Giver { slot: peer.slot, addr: peer.candidate.addr };
            let other_size = peer.size.is_some_and(|size| size.bytes() != raw.len());
            if let Some(giving) = self.config.giving.clone()
                && peer.session.wants_metadata()
            {
                self.hand_over(now, giving, out);
                continue;
            }
            let (outcome, how) = if other_size {
                (PeerOutcome::WrongSize, CloseHow::Reset)
            } else if liars.contains(&me) {
                (PeerOutcome::HashMismatch, CloseHow::Reset)
            } else if givers.contains(&me) {
                (PeerOutcome::Served, CloseHow::Flush)
            } else {
                (PeerOutcome::NotNeeded, CloseHow::Reset)
            };
            if other_size && !liars.contains(&me) {
                liars.push(me);
            }
            self.end_peer(now, 0, outcome, Some(how), out);
        }
        for liar in liars {
            self.counters.liars += 1;
            out.liar(liar.addr);
        }
        self.counters.done += 1;
        self.finish();
        let givers = givers.into_iter().map(|giver| giver.addr).collect();
        out.done(Fetched { raw, verified_by, givers, lasted: now.saturating_sub(self.started) });
    }

    /// The connection to the first peer goes on, to give it what it has not got.
    fn hand_over(&mut self, now: Duration, giving: Arc<GivingConfig>, out: &mut Output) {
        let Some(Peer { slot, candidate, session, channel, .. }) = self.peers.first_mut() else { return };
        let (frames, remote_id) = session.take_framing();
        let channel = std::mem::replace(channel, Channel::Plain);
        let server = MetadataServer::continuing(giving, self.info_hash, channel, frames, remote_id, now);
        let (slot, addr) = (*slot, candidate.addr);
        self.handovers.push(Handover { slot, addr, server: Box::new(server) });
        self.counters.handed_over = self.counters.handed_over.saturating_add(1);
        self.end_peer(now, 0, PeerOutcome::NotNeeded, None, out);
    }

    /// A complete assembly has come out wrong.
    fn distrust(&mut self, now: Duration, mut assembly: Assembly, out: &mut Output) {
        self.counters.assemblies_wrong += 1;
        if let [liar] = assembly.givers()[..] {
            self.counters.liars += 1;
            out.liar(liar.addr);
            // It need not be named again.
            self.testimonies.retain(|said| said.giver != liar);
            if let Some(at) = self.position(liar.slot) {
                self.end_peer(now, at, PeerOutcome::HashMismatch, Some(CloseHow::Reset), out);
            }
            // Others that wait for pieces of this size begin anew.
            let size = assembly.size();
            let waits = self.peers.iter().any(|peer| peer.size == Some(size));
            if waits && assembly.only.is_none() {
                self.assemblies.push(Assembly::new(size, None));
            }
            return;
        }
        let room = TESTIMONIES_MAX.saturating_sub(self.testimonies.len());
        self.testimonies.extend(assembly.testimonies().take(room));
        self.distrusted.push(assembly.size());
        for peer in &self.peers {
            if peer.size == Some(assembly.size()) {
                self.assemblies.push(assembly.split_off(peer.slot));
            }
        }
    }

    fn fail(&mut self, now: Duration, reason: FailReason, out: &mut Output) {
        while !self.peers.is_empty() {
            self.end_peer(now, 0, PeerOutcome::FetchEnded, Some(CloseHow::Reset), out);
        }
        self.counters.count_failure(reason);
        self.finish();
        let best = self.best.map(|(_, outcome)| outcome);
        out.failed(FetchFailure { reason, best, attempts: self.counters.connects });
    }

    /// Frees everything.
    fn finish(&mut self) {
        self.finished = true;
        self.wake_at = None;
        self.assemblies = Vec::new();
        self.testimonies = Vec::new();
        self.candidates.forget();
    }

    /// When the fetch as a whole has taken too long.
    fn time_is_over_at(&self) -> Duration {
        let last_piece = self.peers.iter().filter_map(|peer| peer.session.last_piece_at()).max();
        let with_progress = last_piece.map_or(Duration::ZERO, |at| at + self.config.peer.rerequest_after);
        let over = (self.started + self.config.time_max).max(with_progress);
        over.min(self.started + self.config.time_with_progress_max)
    }

    /// Keeps the assemblies of which `keep` says so; it is told whether a peer is there that feeds them.
    fn drop_assemblies(&mut self, keep: impl Fn(&Assembly, bool) -> bool) {
        let Self { assemblies, peers, .. } = self;
        assemblies.retain(|assembly| {
            let fed = peers.iter().any(|peer| peer.size.is_some_and(|size| assembly.is_for(size, peer.slot)));
            keep(assembly, fed)
        });
    }

    fn pieces_held(&self) -> usize {
        self.assemblies.iter().map(Assembly::bytes_held).sum()
    }

    fn position(&self, slot: Slot) -> Option<usize> {
        self.peers.iter().position(|peer| peer.slot == slot)
    }

    fn count_late(&mut self) {
        self.counters.late_events = self.counters.late_events.saturating_add(1);
    }
}

/// Names the peers of a message to the owner, those first that are most likely to be of use. Whether there were any.
fn exchange(
    message: Option<PexMessage<'_>>,
    counters: &mut FetchCounters,
    config: &FetchConfig,
    out: &mut Output,
) -> bool {
    let room = EXCHANGED_MAX.saturating_sub(counters.exchanged) as usize;
    let Some(message) = message.filter(|_| room > 0) else {
        counters.exchanges_refused = counters.exchanges_refused.saturating_add(1);
        return false;
    };
    let mut peers: Vec<PexPeer> = message.peers().collect();
    peers.sort_by_key(|peer| peer.flags.rank());
    peers.truncate(room);
    counters.exchanged += peers.len() as u32;
    for peer in &peers {
        let hint = peer.flags.transport(config.transports.allowed_at(peer.addr.ip()));
        out.exchanged(Candidate::new(peer.addr, PeerSource::Exchange), hint);
    }
    !peers.is_empty()
}

/// Messages by which one peer may tell of others: BEP 11 allows one a minute, and we stay for less.
const EXCHANGES_MAX: u32 = 4;
/// Peers that one fetch takes from others: twice as many as are tried in all.
const EXCHANGED_MAX: u32 = 256;
/// A piece that was asked for so long ago may be asked for at a second peer, if that has nothing else to do.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// The wait after the owner had no socket to spare.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// How often candidates are put back for want of a socket before they count as tried.
const OVERLOADS_MAX: u32 = 8;
/// Notes about who said what, kept until the truth is known: those of four of the largest info dicts.
const TESTIMONIES_MAX: usize = 4096;
