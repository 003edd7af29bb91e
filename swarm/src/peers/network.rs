//! Connections to the endpoints, and when what happens on them.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use bittorrent::mse::{CryptoMethods, torrent_key};
use krpc::InfoHash;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    PeerPlan,
    conversation::{Conversation, Turn},
    nature::{Endpoint, Nature, Tcp},
};
use crate::encryption::Encryption;

/// Names a connection; chosen by who connects, and not to be used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP.
    Tcp,
    /// uTP.
    Utp,
}

/// What is heard of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It stands.
    Opened,
    /// Bytes have come.
    Data(Vec<u8>),
    /// It is over. Nothing follows.
    Closed(End),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody takes connections there.
    Refused,
    /// Nothing was heard in the time that it was given.
    TimedOut,
    /// The peer has closed.
    Eof,
}

/// The endpoints, and everything that is on its way.
#[derive(Debug)]
pub struct PeerWorld {
    plan: PeerPlan,
    random: StdRng,
    connections: HashMap<ConnectionId, Connection>,
    queue: BTreeMap<(Duration, u64), (ConnectionId, Event)>,
    sequence: u64,
}

#[derive(Debug)]
struct Connection {
    endpoint: Endpoint,
    carrier: Carrier,
    torrent: u32,
    channel: Channel,
    conversation: Option<Conversation>,
}

#[derive(Debug)]
enum Channel {
    /// The first bytes tell.
    Unknown,
    Plain,
    Encrypted(Encryption),
    /// Whatever comes is not answered.
    Deaf,
}

#[derive(Debug)]
enum Event {
    /// For the one who has connected.
    News(News),
    /// Bytes arrive at the peer.
    Arrive(Vec<u8>),
    Wake,
}

impl PeerWorld {
    /// A world without connections.
    pub fn new(plan: PeerPlan) -> Self {
        let random = StdRng::seed_from_u64(plan.seed);
        Self { plan, random, connections: HashMap::new(), queue: BTreeMap::new(), sequence: 0 }
    }

    /// How many torrents there are.
    pub fn torrents(&self) -> u32 {
        self.plan.torrents
    }

    /// The hash of torrent `torrent`, below [`torrents`](Self::torrents).
    pub fn info_hash(&self, torrent: u32) -> InfoHash {
        self.plan.info_hash(torrent)
    }

    /// The info dict of a torrent: what a fetch must have brought in the end.
    pub fn info_dict(&self, torrent: u32) -> Vec<u8> {
        self.plan.info_dict(torrent)
    }

    /// Where a torrent may be had, in no order.
    pub fn endpoints(&self, torrent: u32) -> impl Iterator<Item = Endpoint> + use<> {
        self.plan.endpoints_of(torrent)
    }

    /// Connections that stand, or are being made.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Begins a connection, which may take `timeout`.
    pub fn connect(
        &mut self,
        now: Duration,
        id: ConnectionId,
        to: SocketAddr,
        carrier: Carrier,
        timeout: Duration,
    ) {
        let place = self.plan.place_of(to);
        let endpoint =
            place.and_then(|(torrent, place)| Some((torrent, self.endpoints(torrent).nth(place)?)));
        let Some((torrent, endpoint)) = endpoint else {
            return self.push(now + timeout, id, Event::News(News::Closed(End::TimedOut)));
        };
        let (after, news) = match (endpoint.nature, carrier) {
            (Nature::Dead { refuses: true } | Nature::UtpOnly { tcp: Tcp::Refuses, .. }, Carrier::Tcp) => {
                (endpoint.round_trip, News::Closed(End::Refused))
            }
            (Nature::UtpOnly { tcp: Tcp::Silent, .. }, Carrier::Tcp) | (Nature::Dead { .. }, _) => {
                (timeout, News::Closed(End::TimedOut))
            }
            _ => (endpoint.round_trip, News::Opened),
        };
        let connection =
            Connection { endpoint, carrier, torrent, channel: Channel::Unknown, conversation: None };
        self.connections.insert(id, connection);
        self.push(now + after, id, Event::News(news));
    }

    /// Sends bytes. What is written to a connection that is gone is lost.
    pub fn write(&mut self, now: Duration, id: ConnectionId, bytes: &[u8]) {
        if let Some(connection) = self.connections.get(&id) {
            let at = now + connection.endpoint.round_trip / 2;
            self.push(at, id, Event::Arrive(bytes.to_vec()));
        }
    }

    /// Ends a connection, at once: nothing is heard of it any more.
    pub fn close(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// The next news that there are until `now`; to be called until none is left.
    pub fn next(&mut self, now: Duration) -> Option<(ConnectionId, News)> {
        while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= now) {
            let ((at, _), (id, event)) = first.remove_entry();
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let mut turn = Turn::default();
            match event {
                Event::News(news) => {
                    if let News::Closed(_) = news {
                        self.connections.remove(&id);
                    }
                    return Some((id, news));
                }
                Event::Arrive(bytes) => connection.receive(&bytes, &self.plan, &mut self.random, &mut turn),
                Event::Wake => connection.wake(&mut turn),
            }
            let way = connection.endpoint.round_trip / 2;
            let Turn { bytes, wake_after, closes } = turn;
            if !bytes.is_empty() {
                self.push(at + way, id, Event::News(News::Data(bytes)));
            }
            if let Some(after) = wake_after {
                self.push(at + after, id, Event::Wake);
            }
            if closes {
                self.push(at + way, id, Event::News(News::Closed(End::Eof)));
            }
        }
        None
    }

    fn push(&mut self, at: Duration, id: ConnectionId, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (id, event));
    }
}

impl Connection {
    fn receive(&mut self, bytes: &[u8], plan: &PeerPlan, random: &mut StdRng, turn: &mut Turn) {
        let nature = self.endpoint.nature;
        if let Channel::Unknown = self.channel {
            let plain = bytes.starts_with(b"\x13BitTorrent protocol");
            self.channel = match nature {
                Nature::UtpOnly { .. } if self.carrier == Carrier::Tcp => {
                    turn.closes = true;
                    Channel::Deaf
                }
                Nature::EncryptedOnly { waits, .. } if plain => {
                    turn.closes = !waits;
                    Channel::Deaf
                }
                _ if plain => Channel::Plain,
                _ => Channel::Encrypted(Encryption::new(CryptoMethods::BOTH, random)),
            };
        }
        let mut said = Turn::default();
        let decrypted;
        let heard = match &mut self.channel {
            Channel::Unknown | Channel::Deaf => return,
            Channel::Plain => bytes,
            Channel::Encrypted(encryption) => {
                let find = |key: &[u8; 20]| {
                    let hash = plan.info_hash(self.torrent);
                    (torrent_key(&hash) == *key).then_some(hash)
                };
                let Some(plain) = encryption.receive(bytes, find, random, &mut turn.bytes) else {
                    turn.closes = true;
                    self.channel = Channel::Deaf;
                    return;
                };
                decrypted = plain;
                &decrypted
            }
        };
        if heard.is_empty() {
            return;
        }
        let conversation = self.conversation.get_or_insert_with(|| {
            let (hash, raw) = (plan.info_hash(self.torrent), plan.info_dict(self.torrent));
            Conversation::new(nature, hash, raw, plan.slow_piece)
        });
        conversation.receive(heard, random, &mut said);
        self.say(said, turn);
    }

    fn wake(&mut self, turn: &mut Turn) {
        let mut said = Turn::default();
        if let Some(conversation) = &mut self.conversation {
            conversation.wake(&mut said);
        }
        self.say(said, turn);
    }

    /// Passes on what the conversation wants said.
    fn say(&mut self, mut said: Turn, turn: &mut Turn) {
        if let Channel::Encrypted(encryption) = &mut self.channel {
            encryption.encrypt(&mut said.bytes);
        }
        turn.bytes.append(&mut said.bytes);
        turn.wake_after = said.wake_after;
        turn.closes |= said.closes;
    }
}
