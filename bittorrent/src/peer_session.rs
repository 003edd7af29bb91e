//! One connection to a peer, from its first byte to the pieces of the info dict.
//!
//! The session knows the protocol and how fast to ask; which piece to ask for is decided by the
//! [`Fetch`](crate::Fetch), which sees all peers.

use std::time::Duration;

use crate::{
    Handshake, HandshakeReader, PeerFault, PeerId, Stage,
    extension_handshake::{ExtensionHandshake, OwnHandshake, SizeClaim, UT_METADATA_ID, UT_PEX_ID},
    request_pipeline::RequestPipeline,
    ut_metadata::{self, MetadataMessage, MetadataSize, SizeError},
    ut_pex::PexMessage,
    wire::{self, Frame, FrameReader},
};

/// How long one peer may take, and how much it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Until the connection stands. 5 s; below that distant peers are lost.
    pub connect_timeout: Duration,
    /// For the handshake, and again for the extension handshake; at least 4 s (see [`FetchConfig::check`](crate::FetchConfig::check)).
    pub stage_timeout: Duration,
    /// Requests that were not answered within this are asked again. Transmission answers on a tick of 2..3 s, so that
    /// less than 4 s asks it twice.
    pub rerequest_after: Duration,
    /// Without a new piece for so long, the peer is given up.
    pub metadata_timeout: Duration,
    /// The largest info dict taken, in bytes.
    pub metadata_bytes_max: u32,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            stage_timeout: Duration::from_secs(6),
            rerequest_after: Duration::from_secs(4),
            metadata_timeout: Duration::from_secs(10),
            metadata_bytes_max: 16 << 20,
        }
    }
}

/// What the session has to say to its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerEvent<'a> {
    /// Something passed that concerns nobody outside; there may be more in the input.
    Passed,
    /// The peer has the info dict, and says that it has this size. Comes once.
    Offered(MetadataSize),
    /// A piece; index and length fit the size that was offered. It need not be one that was asked for.
    Piece {
        /// Below [`MetadataSize::pieces`].
        index: u32,
        /// As long as [`MetadataSize::piece_len`] says.
        bytes: &'a [u8],
    },
    /// The peer cannot give the info dict, for this reason, but will tell of other peers. Comes once; whoever does not want to
    /// wait for these ([`PeerSession::hold`]) hangs up.
    EmptyHanded(PeerFault),
    /// The peer tells of other peers; `None` when it cannot be read.
    Exchanged(Option<PexMessage<'a>>),
}

/// What the passing of time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTimer {
    /// Nothing is due.
    Nothing,
    /// The requests in flight count as lost; they may be asked again.
    Lost,
    /// The peer is to be given up.
    Silent(Stage),
    /// The peer was kept for what it may tell long enough; this is why it was of no other use.
    Held(PeerFault),
}

/// The state machine of one connection.
#[derive(Debug)]
pub struct PeerSession {
    ours: Handshake,
    progress: Progress,
    opening: HandshakeReader,
    frames: FrameReader,
    peer_id: Option<PeerId>,
    client: Option<Box<str>>,
    pipeline: RequestPipeline,
    received_bytes: u64,
    rejects_sent: u32,
}

impl PeerSession {
    /// A session whose connection is being made.
    pub fn new(ours: Handshake, now: Duration) -> Self {
        Self {
            ours,
            progress: Progress::new(now),
            opening: HandshakeReader::new(),
            frames: FrameReader::new(),
            peer_id: None,
            client: None,
            pipeline: RequestPipeline::default(),
            received_bytes: 0,
            rejects_sent: 0,
        }
    }

    /// The connection stands: appends our handshake to `out`.
    pub fn open(&mut self, now: Duration, out: &mut Vec<u8>) {
        self.progress.enter(Stage::Handshake, now);
        self.ours.write(out);
    }

    /// Takes note of how much has arrived. Call once for each chunk, before [`next_event`](Self::next_event).
    pub fn count_received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    /// Takes what belongs to one event from the front of `input`, appending to `out` what is to be sent for it.
    /// `None` means that the input is used up.
    ///
    /// # Errors
    /// The reason to hang up. Nothing must be fed afterwards.
    pub fn next_event<'r, 'i: 'r>(
        &'r mut self,
        now: Duration,
        limits: &PeerLimits,
        client: Option<&str>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<PeerEvent<'r>>, PeerFault> {
        if self.progress.stage <= Stage::Handshake {
            let Some(theirs) = self.opening.read(&self.ours, input)? else { return Ok(None) };
            self.peer_id = Some(theirs.peer_id);
            if !theirs.has_extension_protocol() {
                return Err(PeerFault::NoExtensionProtocol);
            }
            // Theirs comes with their handshake, so that waiting for this costs no round trip.
            let own = OwnHandshake { client, takes_pex: true, metadata_size: None };
            wire::write_extended(out, 0, |out| own.write(out));
            self.progress.enter(Stage::ExtensionHandshake, now);
            return Ok(Some(PeerEvent::Passed));
        }
        let Some(frame) = self.frames.read(input)? else { return Ok(None) };
        match frame {
            Frame::KeepAlive | Frame::Skipped { .. } => Ok(Some(PeerEvent::Passed)),
            Frame::Extended { id: UT_METADATA_ID, payload } => {
                let message = MetadataMessage::parse(payload).map_err(|_| PeerFault::MalformedMessage)?;
                match message {
                    MetadataMessage::Data { piece, total_size, bytes } => {
                        // Whoever sends pieces before an offer cannot have been asked for them.
                        let size = self.progress.size.ok_or(PeerFault::UnrequestedPieces)?;
                        let index = u32::try_from(piece).map_err(|_| PeerFault::PieceOutOfRange)?;
                        let expected = size.piece_len(index).ok_or(PeerFault::PieceOutOfRange)?;
                        if total_size.is_some_and(|total| total != size.bytes() as i64) {
                            return Err(PeerFault::TotalSizeMismatch);
                        }
                        if bytes.len() != expected {
                            return Err(PeerFault::WrongPieceLength);
                        }
                        self.pipeline.answered(now, index)?;
                        Ok(Some(PeerEvent::Piece { index, bytes }))
                    }
                    MetadataMessage::Reject { piece } => {
                        self.pipeline.rejected(now, limits, piece)?;
                        Ok(Some(PeerEvent::Passed))
                    }
                    MetadataMessage::Request { piece } => {
                        // BEP 9: who has not got the metadata says so.
                        if self.progress.remote_id != 0 && self.rejects_sent < REJECTS_SENT_MAX {
                            self.rejects_sent += 1;
                            wire::write_extended(out, self.progress.remote_id, |out| {
                                ut_metadata::write_reject(out, piece);
                            });
                        }
                        Ok(Some(PeerEvent::Passed))
                    }
                    MetadataMessage::Unknown { .. } => Ok(Some(PeerEvent::Passed)),
                }
            }
            Frame::Extended { id: UT_PEX_ID, payload } => {
                Ok(Some(PeerEvent::Exchanged(PexMessage::parse(payload).ok())))
            }
            Frame::Extended { payload, .. } => {
                let theirs = ExtensionHandshake::parse(payload).map_err(|_| PeerFault::MalformedMessage)?;
                if let (None, Some(name)) = (&self.client, theirs.client) {
                    self.client = Some(String::from_utf8_lossy(name).into());
                }
                if theirs.is_rtorrent() || self.peer_id.is_some_and(|id| id.is_rtorrent()) {
                    self.pipeline.serial();
                }
                self.progress.extension_handshake(now, limits, &theirs)
            }
        }
    }

    /// Asks for a piece, which must be below the pieces of the size that was offered.
    pub fn request(&mut self, now: Duration, index: u32, out: &mut Vec<u8>) {
        self.pipeline.asked(now, index);
        wire::write_extended(out, self.progress.remote_id, |out| ut_metadata::write_request(out, index));
    }

    /// Keeps a peer that came empty-handed until then, for what it may tell.
    pub fn hold(&mut self, until: Duration) {
        if let Some(held) = &mut self.progress.held {
            held.until = Some(until);
        }
    }

    /// Until when the peer is kept for what it may tell, if it is.
    pub fn held_until(&self) -> Option<Duration> {
        self.progress.held.and_then(|held| held.until)
    }

    /// Why a peer that is kept came empty-handed.
    pub fn held_for(&self) -> Option<PeerFault> {
        self.progress.held.map(|held| held.fault)
    }

    /// Whether the peer has no info dict itself as yet, and would take it from us.
    pub fn wants_metadata(&self) -> bool {
        self.held_for() == Some(PeerFault::NoMetadataYet) && self.progress.remote_id != 0
    }

    /// What goes on with the connection after the session: its framing, and the id under which the peer takes `ut_metadata`.
    pub(crate) fn take_framing(&mut self) -> (FrameReader, u8) {
        (std::mem::take(&mut self.frames), self.progress.remote_id)
    }

    /// Looks at the clock.
    pub fn tick(&mut self, now: Duration, limits: &PeerLimits) -> PeerTimer {
        if let Some(Held { fault, until: Some(until) }) = self.progress.held {
            return if now >= until { PeerTimer::Held(fault) } else { PeerTimer::Nothing };
        }
        match self.progress.stage {
            Stage::Metadata => self.pipeline.tick(now, limits),
            stage if now >= self.progress.since + stage_timeout(stage, limits) => PeerTimer::Silent(stage),
            _ => PeerTimer::Nothing,
        }
    }

    /// When [`tick`](Self::tick) is to be called next. `None`: nothing is waited for.
    pub fn deadline(&self, limits: &PeerLimits) -> Option<Duration> {
        if let Some(until) = self.held_until() {
            return Some(until);
        }
        match self.progress.stage {
            Stage::Metadata => self.pipeline.deadline(limits),
            stage => Some(self.progress.since + stage_timeout(stage, limits)),
        }
    }

    /// How many more pieces may be asked for now.
    pub fn room(&self, now: Duration) -> usize {
        if self.progress.stage == Stage::Metadata { self.pipeline.room(now) } else { 0 }
    }

    /// The pieces in flight and when each was asked for, the oldest first. At most [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = (u32, Duration)> {
        self.pipeline.in_flight.iter().map(|request| (request.index, request.asked_at))
    }

    /// How far the connection has come.
    pub fn stage(&self) -> Stage {
        self.progress.stage
    }

    /// The time spent in each stage, that of the present one until `now`.
    pub fn stage_times(&self, now: Duration) -> [Duration; Stage::COUNT] {
        let mut times = self.progress.spent;
        if let Some(time) = times.get_mut(self.progress.stage as usize) {
            *time = now.saturating_sub(self.progress.since);
        }
        times
    }

    /// What the peer offered.
    pub fn size(&self) -> Option<MetadataSize> {
        self.progress.size
    }

    /// When the last piece came that had been asked for.
    pub fn last_piece_at(&self) -> Option<Duration> {
        self.pipeline.last_piece_at
    }

    /// Bytes received so far.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The peer's id, once its handshake came.
    pub fn peer_id(&self) -> Option<PeerId> {
        self.peer_id
    }

    /// The name of the peer's program.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// Bytes on the heap for a message that is not complete.
    pub fn bytes_held(&self) -> usize {
        self.frames.bytes_held()
    }
}

/// How far a connection has come, and what the peer has offered.
#[derive(Debug)]
struct Progress {
    stage: Stage,
    /// When the stage began.
    since: Duration,
    /// The time that earlier stages took.
    spent: [Duration; Stage::COUNT],
    /// The id under which the peer takes `ut_metadata`; 0 before its extension handshake.
    remote_id: u8,
    size: Option<MetadataSize>,
    held: Option<Held>,
}

/// A peer without the info dict.
#[derive(Clone, Copy, Debug)]
struct Held {
    fault: PeerFault,
    until: Option<Duration>,
}

impl Progress {
    fn new(now: Duration) -> Self {
        let spent = [Duration::ZERO; Stage::COUNT];
        Self { stage: Stage::Connect, since: now, spent, remote_id: 0, size: None, held: None }
    }

    fn extension_handshake(
        &mut self,
        now: Duration,
        limits: &PeerLimits,
        theirs: &ExtensionHandshake<'_>,
    ) -> Result<Option<PeerEvent<'static>>, PeerFault> {
        let (id, size) = (theirs.ut_metadata, theirs.metadata_size);
        if let Some(known) = self.size {
            // A later handshake updates the first (BEP 10); what it leaves out stays as it was.
            if let Some(id) = id {
                self.remote_id = id;
            }
            return match size {
                SizeClaim::Absent => Ok(Some(PeerEvent::Passed)),
                SizeClaim::Bytes(claimed) if claimed == known.bytes() as i64 => Ok(Some(PeerEvent::Passed)),
                _ => Err(PeerFault::SizeChanged),
            };
        }
        if let Some(id) = id {
            self.remote_id = id;
        }
        let size = match offered(self.remote_id, size, limits.metadata_bytes_max) {
            Ok(size) => size,
            Err(_) if self.held.is_some() => return Ok(Some(PeerEvent::Passed)),
            Err(fault) if theirs.ut_pex.is_some() && may_tell(fault) => {
                self.held = Some(Held { fault, until: None });
                return Ok(Some(PeerEvent::EmptyHanded(fault)));
            }
            Err(fault) => return Err(fault),
        };
        self.size = Some(size);
        self.held = None;
        self.enter(Stage::Metadata, now);
        Ok(Some(PeerEvent::Offered(size)))
    }

    fn enter(&mut self, stage: Stage, now: Duration) {
        if let Some(spent) = self.spent.get_mut(self.stage as usize) {
            *spent = now.saturating_sub(self.since);
        }
        self.stage = stage;
        self.since = now;
    }
}

/// The size of the info dict that a peer offers, or why it offers none.
fn offered(remote_id: u8, size: SizeClaim, bytes_max: u32) -> Result<MetadataSize, PeerFault> {
    if remote_id == 0 {
        return Err(PeerFault::NoUtMetadata);
    }
    let claimed = match size {
        SizeClaim::Absent => return Err(PeerFault::NoMetadataYet),
        SizeClaim::NotANumber => return Err(PeerFault::SizeInvalid),
        SizeClaim::Bytes(claimed) => claimed,
    };
    MetadataSize::new(claimed, bytes_max).map_err(|error| match error {
        SizeError::Zero => PeerFault::NoMetadataYet,
        SizeError::Negative => PeerFault::SizeInvalid,
        SizeError::TooLarge => PeerFault::SizeTooLarge,
    })
}

/// Whether a peer that cannot give the info dict for this reason is worth hearing about others.
const fn may_tell(fault: PeerFault) -> bool {
    matches!(fault, PeerFault::NoUtMetadata | PeerFault::NoMetadataYet)
}

fn stage_timeout(stage: Stage, limits: &PeerLimits) -> Duration {
    match stage {
        // The owner keeps to the connect timeout itself; this is for one that forgets.
        Stage::Connect => limits.connect_timeout + CONNECT_GRACE,
        _ => limits.stage_timeout,
    }
}

/// The least that a connect is given: the second of two lost packets is made up for after 3 s, the first after 1 s.
pub(crate) const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// The least that each further stage is given: fewer seconds lose slow but honest peers.
pub(crate) const STAGE_TIMEOUT_MIN: Duration = Duration::from_secs(4);

/// Added to the connect timeout before we stop waiting for the owner to report it.
const CONNECT_GRACE: Duration = Duration::from_secs(1);
/// Rejects that we write on one connection; requests beyond go unanswered.
const REJECTS_SENT_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use krpc::InfoHash;

    const LIMITS: fn() -> PeerLimits = PeerLimits::default;
    const OURS: Handshake = Handshake::new(
        InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb"),
        PeerId::from_bytes(*b"-ix0100-000000000000"),
    );
    const HELLO: &[u8] = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0aaaaaaaaaabbbbbbbbbb-LT2110-cccccccccccc";
    const OFFER: &[u8] = b"\0\0\0\x31\x14\0d1:md11:ut_metadatai9ee13:metadata_sizei40000ee";

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Feeds `bytes`; what came out of it, and what was written.
    fn feed(
        session: &mut PeerSession,
        now: Duration,
        bytes: &[u8],
    ) -> (Result<Vec<String>, PeerFault>, Vec<u8>) {
        let (mut input, mut out, mut events) = (bytes, Vec::new(), Vec::new());
        loop {
            match session.next_event(now, &LIMITS(), Some("ix"), &mut input, &mut out) {
                Ok(Some(PeerEvent::Passed)) => {}
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => return (Ok(events), out),
                Err(fault) => return (Err(fault), out),
            }
        }
    }

    fn offered() -> PeerSession {
        let mut session = PeerSession::new(OURS, at(0));
        session.open(at(0), &mut Vec::new());
        assert_eq!(feed(&mut session, at(10), HELLO).0, Ok(vec![]));
        assert_eq!(feed(&mut session, at(20), OFFER).0, Ok(vec!["Offered(MetadataSize(40000))".to_owned()]));
        session
    }

    #[test]
    fn a_conversation_byte_for_byte() {
        let mut session = PeerSession::new(OURS, at(0));
        let mut out = Vec::new();
        session.open(at(0), &mut out);
        assert_eq!(out, b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0aaaaaaaaaabbbbbbbbbb-ix0100-000000000000");
        assert_eq!(session.stage(), Stage::Handshake);

        let (events, written) = feed(&mut session, at(10), HELLO);
        assert_eq!(events, Ok(vec![]));
        assert_eq!(written, b"\0\0\0\x2c\x14\0d1:md11:ut_metadatai2e6:ut_pexi1ee1:v2:ixe");
        assert_eq!((session.stage(), session.room(at(10))), (Stage::ExtensionHandshake, 0));

        feed(&mut session, at(20), OFFER).0.unwrap();
        assert_eq!((session.stage(), session.room(at(20))), (Stage::Metadata, 4));

        out.clear();
        session.request(at(20), 2, &mut out);
        assert_eq!(out, b"\0\0\0\x1b\x14\x09d8:msg_typei0e5:piecei2ee");
        assert_eq!(session.in_flight().collect::<Vec<_>>(), [(2, at(20))]);

        let piece = [&b"\0\0\x1c\x5b\x14\x02d8:msg_typei1e5:piecei2ee"[..], &[b'x'; 7232]].concat();
        let (events, written) = feed(&mut session, at(30), &piece);
        assert!(events.unwrap()[0].starts_with("Piece { index: 2, bytes: [120, 120,"));
        assert_eq!(written, b"");
        assert_eq!((session.in_flight().len(), session.last_piece_at()), (0, Some(at(30))));
    }

    #[test]
    fn silence_loses_the_requests_first_and_the_peer_then() {
        let mut session = offered();
        for index in 0..3 {
            session.request(at(1000), index, &mut Vec::new());
        }
        assert_eq!(session.deadline(&LIMITS()), Some(at(5000)));
        assert_eq!(session.tick(at(4999), &LIMITS()), PeerTimer::Nothing);
        assert_eq!(session.tick(at(5000), &LIMITS()), PeerTimer::Lost);
        assert_eq!((session.in_flight().len(), session.room(at(5000))), (0, 2));
        session.request(at(5000), 0, &mut Vec::new());
        assert_eq!(session.deadline(&LIMITS()), Some(at(9000)));
        assert_eq!(session.tick(at(9000), &LIMITS()), PeerTimer::Lost);
        assert_eq!(session.room(at(9000)), 1);
        // 10 s after the first request, not after the last.
        assert_eq!(session.deadline(&LIMITS()), Some(at(11_000)));
        assert_eq!(session.tick(at(11_000), &LIMITS()), PeerTimer::Silent(Stage::Metadata));
    }

    #[test]
    fn a_peer_that_is_asked_nothing_may_be_silent() {
        let mut session = offered();
        assert_eq!(session.deadline(&LIMITS()), None);
        assert_eq!(session.tick(at(1_000_000), &LIMITS()), PeerTimer::Nothing);
    }

    #[test]
    fn rtorrent_is_asked_for_one_piece_at_a_time() {
        let mut session = PeerSession::new(OURS, at(0));
        session.open(at(0), &mut Vec::new());
        let hello = [&HELLO[..48], b"-lt0D80-cccccccccccc"].concat();
        feed(&mut session, at(0), &[&hello, OFFER].concat()).0.unwrap();
        assert_eq!(session.room(at(0)), 1);

        let mut session = PeerSession::new(OURS, at(0));
        session.open(at(0), &mut Vec::new());
        let offer = b"\0\0\0\x44\x14\0d1:md11:ut_metadatai2ee13:metadata_sizei9e1:v17:libTorrent 0.13.8e";
        feed(&mut session, at(0), &[HELLO, offer].concat()).0.unwrap();
        assert_eq!((session.room(at(0)), session.client()), (1, Some("libTorrent 0.13.8")));
    }
}
