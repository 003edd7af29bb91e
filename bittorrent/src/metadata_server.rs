//! The giving side of a connection: a peer wants an info dict (BEP 9) that we have.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use krpc::InfoHash;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    ByteBudget, Handshake, HandshakeReader, PeerFault, PeerId, Slot,
    channel::Channel,
    extension_handshake::{ExtensionHandshake, OwnHandshake, UT_METADATA_ID},
    handshake::{HandshakeError, PROTOCOL},
    mse::{CryptoMethods, MseError, Responder},
    ut_metadata::{self, MetadataMessage, PIECE_BYTES},
    wire::{self, Frame, FrameReader},
};

/// Settings that all servers of a process share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivingConfig {
    /// How we name ourselves: as in [`FetchConfig`](crate::FetchConfig), or connections to ourselves are not recognised.
    pub peer_id: PeerId,
    /// The program's name in the extension handshake; `None` leaves it out.
    pub client: Option<String>,
    /// What encrypted connections may use for their payload.
    pub methods: CryptoMethods,
    /// For the handshake, and again for the first request; 10 s.
    pub stage_timeout: Duration,
    /// Without a request for so long the connection ends; 15 s. Transmission asks on a tick of some seconds.
    pub idle_timeout: Duration,
    /// The longest that a connection may last; 120 s.
    pub lifetime_max: Duration,
    /// Bytes of pieces a second on one connection; 256 KiB.
    pub bytes_per_second: u32,
}

impl GivingConfig {
    /// The defaults.
    pub const fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            client: None,
            methods: CryptoMethods::BOTH,
            stage_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            lifetime_max: Duration::from_secs(120),
            bytes_per_second: 256 << 10,
        }
    }
}

/// Why a connection on which we give is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GivingEnd {
    /// Every piece was given, and no more was asked for: in good order.
    Served,
    /// Nobody here has the torrent.
    UnknownTorrent,
    /// Neither a handshake nor an encrypted one, or one that is not for a torrent that we know.
    NoHandshake,
    /// The connection leads to ourselves.
    SelfConnection,
    /// The other side has no extension protocol, so that it cannot ask.
    NoExtensionProtocol,
    /// It said something that makes the connection useless.
    Fault(PeerFault),
    /// It said nothing, or asked for nothing, for too long.
    Silent,
    /// The connection has lasted as long as it may.
    LifetimeOver,
}

impl GivingEnd {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// The name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::UnknownTorrent => "unknown torrent",
            Self::NoHandshake => "no handshake",
            Self::SelfConnection => "self connection",
            Self::NoExtensionProtocol => "no extension protocol",
            Self::Fault(_) => "fault",
            Self::Silent => "silent",
            Self::LifetimeOver => "lifetime over",
        }
    }
}

/// A connection of a fetch that goes on after it.
#[derive(Debug)]
pub struct Handover {
    /// The connection, by its name in the fetch.
    pub slot: Slot,
    /// The peer.
    pub addr: SocketAddr,
    /// Who serves it: it waits for the info dict ([`MetadataServer::provide`]).
    pub server: Box<MetadataServer>,
}

/// The state machine of one connection on which we give.
///
/// Bytes come in by [`receive`](Self::receive). Once it says which torrent is asked for, its owner looks whether we have it, and
/// says so by [`provide`](Self::provide) or hangs up. [`serve`](Self::serve) answers what was asked for, as far as the budgets
/// go. Nothing is announced, and nothing but the info dict is given.
///
/// It holds an unfinished message, at most 64 requests, and until the owner has answered at most 64 KiB of what comes.
#[derive(Debug)]
pub struct MetadataServer {
    config: Arc<GivingConfig>,
    state: State,
    channel: Channel,
    frames: FrameReader,
    began: Duration,
    /// When the stage began, or the last request came.
    since: Duration,
    /// The id under which the other side takes `ut_metadata`; 0 before its extension handshake.
    remote_id: u8,
    /// Our handshake went out before.
    greeted: bool,
    info_dict: Option<Arc<[u8]>>,
    requests: VecDeque<u32>,
    /// Pieces given so far.
    given: u32,
    rejected: u32,
    budget: ByteBudget,
    peer_id: Option<PeerId>,
    encrypted: bool,
}

enum State {
    /// The first bytes tell a handshake from an encrypted one.
    First { seen: usize, seed: [u8; 32] },
    /// The handshake of message stream encryption.
    Encryption(Box<Encryption>),
    /// The BitTorrent handshake; encryption may have named the torrent already.
    Handshake { reader: HandshakeReader, named: Option<InfoHash> },
    /// The owner is asked; what comes meanwhile is kept.
    Asked { info_hash: InfoHash, early: Vec<u8> },
    /// Requests are answered.
    Giving,
}

struct Encryption {
    responder: Responder,
    rng: StdRng,
    initial: Vec<u8>,
}

impl std::fmt::Debug for State {
    /// Without keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::First { .. } => "First",
            Self::Encryption(_) => "Encryption",
            Self::Handshake { .. } => "Handshake",
            Self::Asked { .. } => "Asked",
            Self::Giving => "Giving",
        })
    }
}

impl MetadataServer {
    /// A connection that somebody has opened to us. The seed decides about keys and pads, which nobody should be able to
    /// guess: another one for each connection.
    pub fn accepted(config: Arc<GivingConfig>, seed: [u8; 32], now: Duration) -> Self {
        let budget = ByteBudget::new(config.bytes_per_second, BURST_BYTES, now);
        Self {
            config,
            state: State::First { seen: 0, seed },
            channel: Channel::Plain,
            frames: FrameReader::new(),
            began: now,
            since: now,
            remote_id: 0,
            greeted: false,
            info_dict: None,
            requests: VecDeque::new(),
            given: 0,
            rejected: 0,
            budget,
            peer_id: None,
            encrypted: false,
        }
    }

    /// A connection of a fetch whose handshakes are over.
    pub(crate) fn continuing(
        config: Arc<GivingConfig>,
        info_hash: InfoHash,
        channel: Channel,
        frames: FrameReader,
        remote_id: u8,
        now: Duration,
    ) -> Self {
        let encrypted = !matches!(channel, Channel::Plain);
        Self {
            state: State::Asked { info_hash, early: Vec::new() },
            channel,
            frames,
            remote_id,
            greeted: true,
            encrypted,
            ..Self::accepted(config, [0; 32], now)
        }
    }

    /// Bytes have come. Appends to `out` what is to be sent. Says once which torrent is asked for.
    ///
    /// `find` looks a torrent up by its [`torrent_key`](crate::mse::torrent_key), for encrypted connections.
    ///
    /// # Errors
    /// The reason to hang up. Nothing must be fed afterwards.
    pub fn receive(
        &mut self,
        now: Duration,
        mut input: &[u8],
        find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
        out: &mut Vec<u8>,
    ) -> Result<Option<InfoHash>, GivingEnd> {
        while let State::First { seen, seed } = &mut self.state {
            let Some((first, rest)) = input.split_first() else { return Ok(None) };
            if PROTOCOL.get(*seen) == Some(first) {
                (*seen, input) = (*seen + 1, rest);
                if *seen == PROTOCOL.len() {
                    self.state = State::Handshake { reader: HandshakeReader::after_protocol(), named: None };
                }
                continue;
            }
            let mut rng = StdRng::from_seed(*seed);
            let mut responder = Responder::new(self.config.methods, &mut rng);
            // A key may begin as a handshake does, for a few bytes: too few to be answered.
            let mut begun = PROTOCOL.get(..*seen).unwrap_or_default();
            let mut initial = Vec::new();
            responder
                .receive(&mut begun, &find, &mut rng, &mut initial, out)
                .map_err(|_| GivingEnd::NoHandshake)?;
            self.encrypted = true;
            self.state = State::Encryption(Box::new(Encryption { responder, rng, initial }));
        }
        let mut initial = Vec::new();
        if let State::Encryption(encryption) = &mut self.state {
            let Encryption { responder, rng, initial: sent_along } = &mut **encryption;
            let met =
                responder.receive(&mut input, &find, rng, sent_along, out).map_err(|error| match error {
                    MseError::UnknownTorrent => GivingEnd::UnknownTorrent,
                    _ => GivingEnd::NoHandshake,
                })?;
            let Some(met) = met else { return Ok(None) };
            initial = std::mem::take(sent_along);
            self.channel = Channel::Open(met.streams);
            self.state = State::Handshake { reader: HandshakeReader::new(), named: Some(met.info_hash) };
        }
        // What was sent along with the handshake is decrypted already, what follows it is not.
        let (mut scratch, mut nothing) = (Vec::new(), Vec::new());
        let rest =
            self.channel.receive(input, &mut scratch, &mut nothing).map_err(|_| GivingEnd::NoHandshake)?;
        if initial.is_empty() {
            return self.take_in(now, rest, out);
        }
        initial.extend_from_slice(rest);
        self.take_in(now, &initial, out)
    }

    /// We have what is asked for: the connection is answered. Appends to `out` what is to be sent.
    ///
    /// # Errors
    /// The reason to hang up: what came meanwhile is of no use.
    pub fn provide(
        &mut self,
        now: Duration,
        info_dict: Arc<[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), GivingEnd> {
        let State::Asked { info_hash, early } = &mut self.state else { return Ok(()) };
        let (info_hash, early) = (*info_hash, std::mem::take(early));
        self.state = State::Giving;
        self.since = now;
        let config = &*self.config;
        let own = OwnHandshake {
            client: config.client.as_deref(),
            takes_pex: false,
            metadata_size: u32::try_from(info_dict.len()).ok(),
        };
        let greeted = self.greeted;
        self.channel.write(out, |out| {
            if !greeted {
                Handshake::new(info_hash, config.peer_id).write(out);
            }
            wire::write_extended(out, 0, |out| own.write(out));
        });
        self.info_dict = Some(info_dict);
        self.frames(&early, now, out)
    }

    /// Answers requests as far as the budget of the connection and that of `all` go; how many bytes of pieces it was. To be called
    /// after bytes have come, and again while requests [wait](Self::waits).
    pub fn serve(&mut self, now: Duration, all: &mut ByteBudget, out: &mut Vec<u8>) -> usize {
        let Self { requests, info_dict: Some(info_dict), channel, budget, remote_id, given, since, .. } =
            self
        else {
            return 0;
        };
        let mut bytes = 0;
        while let Some(piece) = requests.front().copied() {
            let start = piece as usize * PIECE_BYTES;
            let len = info_dict.len().saturating_sub(start).min(PIECE_BYTES);
            if !budget.allows(now, len) || !all.allows(now, len) {
                break;
            }
            budget.take(len);
            all.take(len);
            requests.pop_front();
            channel.write(out, |out| {
                wire::write_extended(out, *remote_id, |out| {
                    ut_metadata::write_data(out, piece, info_dict);
                });
            });
            *given += 1;
            *since = now;
            bytes += len;
        }
        bytes
    }

    /// Looks at the clock: whether the connection is to be ended. [`GivingEnd::Served`] is an end in good order.
    pub fn tick(&self, now: Duration) -> Option<GivingEnd> {
        let (at, end) = self.end_at();
        (now >= at).then_some(end)
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub fn deadline(&self) -> Duration {
        self.end_at().0
    }

    /// Whether requests wait for a budget.
    pub fn waits(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Pieces given so far.
    pub fn given(&self) -> u32 {
        self.given
    }

    /// Requests refused so far: for pieces that there are not, or beyond what one connection may ask for.
    pub fn rejected(&self) -> u32 {
        self.rejected
    }

    /// Whether the connection is encrypted, as far as is known.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The other side's id, once its handshake came. Unknown on connections of fetches.
    pub fn peer_id(&self) -> Option<PeerId> {
        self.peer_id
    }

    /// Bytes on the heap that the other side has caused.
    pub fn bytes_held(&self) -> usize {
        let early = match &self.state {
            State::Asked { early, .. } => early.capacity(),
            State::Encryption(encryption) => encryption.initial.capacity() + size_of::<Encryption>(),
            _ => 0,
        };
        early + self.frames.bytes_held() + self.requests.capacity() * size_of::<u32>()
    }

    /// Takes in what is not encrypted any more.
    fn take_in(
        &mut self,
        now: Duration,
        mut input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<InfoHash>, GivingEnd> {
        let mut asked = None;
        if let State::Handshake { reader, named } = &mut self.state {
            let theirs = reader.read_any(self.config.peer_id, &mut input).map_err(|error| match error {
                HandshakeError::SelfConnection => GivingEnd::SelfConnection,
                _ => GivingEnd::NoHandshake,
            })?;
            let Some(theirs) = theirs else { return Ok(None) };
            if named.is_some_and(|named| named != theirs.info_hash) {
                return Err(GivingEnd::NoHandshake);
            }
            if !theirs.has_extension_protocol() {
                return Err(GivingEnd::NoExtensionProtocol);
            }
            self.peer_id = Some(theirs.peer_id);
            self.since = now;
            self.state = State::Asked { info_hash: theirs.info_hash, early: Vec::new() };
            asked = Some(theirs.info_hash);
        }
        match &mut self.state {
            State::Asked { early, .. } if early.len() + input.len() > EARLY_BYTES_MAX => {
                return Err(GivingEnd::Fault(PeerFault::TooMuchNoise));
            }
            State::Asked { early, .. } => early.extend_from_slice(input),
            _ => self.frames(input, now, out)?,
        }
        Ok(asked)
    }

    /// Reads messages.
    fn frames(&mut self, mut input: &[u8], now: Duration, out: &mut Vec<u8>) -> Result<(), GivingEnd> {
        let fault = |fault: PeerFault| GivingEnd::Fault(fault);
        let pieces = self.info_dict.as_ref().map_or(0, |dict| dict.len().div_ceil(PIECE_BYTES)) as u64;
        while let Some(frame) = self.frames.read(&mut input).map_err(|error| fault(error.into()))? {
            match frame {
                Frame::Extended { id: 0, payload } => {
                    let theirs =
                        ExtensionHandshake::parse(payload).map_err(|_| fault(PeerFault::MalformedMessage))?;
                    // A later one updates the first (BEP 10); what it leaves out stays as it was.
                    self.remote_id = theirs.ut_metadata.unwrap_or(self.remote_id);
                }
                Frame::Extended { id: UT_METADATA_ID, payload } => {
                    let message =
                        MetadataMessage::parse(payload).map_err(|_| fault(PeerFault::MalformedMessage))?;
                    // Nothing was asked of it, so whatever else it says is of no use; nor is a request whose answer it would not
                    // know.
                    let MetadataMessage::Request { piece } = message else { continue };
                    if self.remote_id == 0 {
                        continue;
                    }
                    let promised = u64::from(self.given) + self.requests.len() as u64;
                    let index = u32::try_from(piece).ok().filter(|index| u64::from(*index) < pieces);
                    match index {
                        Some(index)
                            if self.requests.len() < REQUESTS_MAX && promised < COPIES_MAX * pieces =>
                        {
                            self.requests.push_back(index);
                            self.since = now;
                        }
                        _ => {
                            self.rejected = self.rejected.saturating_add(1);
                            if self.rejected > REJECTS_MAX {
                                return Err(fault(PeerFault::TooMuchNoise));
                            }
                            let remote_id = self.remote_id;
                            self.channel.write(out, |out| {
                                wire::write_extended(out, remote_id, |out| {
                                    ut_metadata::write_reject(out, piece);
                                });
                            });
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When the connection is over if nothing happens, and why.
    fn end_at(&self) -> (Duration, GivingEnd) {
        let lifetime = (self.began + self.config.lifetime_max, GivingEnd::LifetimeOver);
        let pieces = self.info_dict.as_ref().map_or(0, |dict| dict.len().div_ceil(PIECE_BYTES));
        let silence = match self.state {
            State::Giving if self.waits() => return lifetime,
            State::Giving if self.given as usize >= pieces => (self.since + SERVED_AFTER, GivingEnd::Served),
            State::Giving if self.given > 0 => (self.since + self.config.idle_timeout, GivingEnd::Silent),
            _ => (self.since + self.config.stage_timeout, GivingEnd::Silent),
        };
        if silence.0 <= lifetime.0 { silence } else { lifetime }
    }
}

/// Requests that wait on one connection. libtorrent has two outstanding, we sixteen.
const REQUESTS_MAX: usize = 64;
/// Bytes kept while it is looked whether we have what is asked for: an extension handshake and a bitfield.
const EARLY_BYTES_MAX: usize = 64 << 10;
/// How often one connection may have each piece, on average.
const COPIES_MAX: u64 = 2;
/// Requests that are refused before the connection is ended.
const REJECTS_MAX: u32 = 32;
/// What may go out at once on one connection: the pieces of a common info dict.
const BURST_BYTES: u32 = 128 << 10;
/// After the last piece, the time to ask for one again.
const SERVED_AFTER: Duration = Duration::from_secs(2);
