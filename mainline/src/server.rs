//! Answering queries: an indexer that only takes would harm the network it lives from.
//!
//! Everything of BEP 5, 32, 33, 42 and 51 is answered in full: real closest contacts, real tokens, real
//! peers, real samples. Of BEP 44 there is no storage: `get` is answered with contacts and a token, as by any
//! node that does not have the item; `put` is answered with error 202, because to accept an item and to drop it
//! would be a lie on which the writer relies. Queries of unknown names that carry a target are answered as
//! find_node (so that extensions can pass through old nodes), others with error 204.
//!
//! Whether a remote is answered at all, and by which of our nodes, is decided before
//! ([`Limiter`](crate::limiter::Limiter), [`Identity`](crate::identity::Identity)). No answer is longer than
//! [`DATAGRAM_MAX`], and nothing is allocated for it once the buffers have their size.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::bloom::BloomFilter;
use krpc::encode::{self, DATAGRAM_MAX, VALUE_LEN_V4, VALUE_LEN_V6};
use krpc::{ClientVersion, CompactNode, ErrorCode, InfoHash, Method, NodeId, ParseError, Query, Tid, Want};

use crate::announce_quota::AnnounceQuota;
use crate::contact_store::Contacts;
use crate::keyed_hash::HashKey;
use crate::peer_store::{PeerStore, Selection, Stored};
use crate::routing_table::K;
use crate::token::Tokens;
use crate::virtual_node::{Family, NodeIndex, VirtualNodes};

/// A query to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub from: SocketAddr,
    /// Who of us answers.
    pub answering: NodeIndex,
    /// The transaction id, to be given back as it is.
    pub tid: Tid<'a>,
    /// What is asked.
    pub query: Query<'a>,
}

/// What a query led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It was answered.
    Replied,
    /// It was an announce, which was accepted and answered.
    Announced {
        /// Of this torrent.
        info_hash: InfoHash,
        /// The peer announced.
        peer: SocketAddr,
        /// BEP 33: it has the whole torrent.
        seed: bool,
    },
    /// It was an announce, which was answered as if it had been accepted: the store has no room for it, or its
    /// party has brought too many info-hashes.
    NotKept,
    /// It was answered with an error.
    Refused(Reason),
    /// It was not answered: its transaction id leaves no room for an answer.
    Unanswerable,
}

/// Why a query was answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// 203: the token is not one that we gave to this remote for this, not long ago.
    BadToken,
    /// 203: a peer at port 0.
    BadPort,
    /// 202: items are not stored here (BEP 44).
    NoStorage,
    /// 204: a query that we do not know, without a target.
    UnknownMethod,
}

impl Reason {
    const fn code(self) -> ErrorCode {
        match self {
            Reason::BadToken | Reason::BadPort => ErrorCode::PROTOCOL,
            Reason::NoStorage => ErrorCode::SERVER,
            Reason::UnknownMethod => ErrorCode::UNKNOWN_METHOD,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Reason::BadToken => "invalid 'token'",
            Reason::BadPort => "invalid 'port'",
            Reason::NoStorage => "no items are stored here",
            Reason::UnknownMethod => "unknown method",
        }
    }
}

/// The serving side of all virtual nodes.
#[derive(Debug)]
pub struct Server {
    tokens: Tokens,
    peers: PeerStore,
    quota: AnnounceQuota,
    version: ClientVersion,
    lists: Lists,
}

impl Server {
    /// A server that stores the peers of up to `torrents_max` info-hashes.
    pub fn new(version: ClientVersion, torrents_max: usize, seed: &[u8; 32]) -> Server {
        Server {
            tokens: Tokens::new(HashKey::derive(seed, "token")),
            peers: PeerStore::new(torrents_max, seed),
            quota: AnnounceQuota::new(torrents_max, HashKey::derive(seed, "announces")),
            version,
            lists: Lists::new(),
        }
    }

    /// Appends the answer to a query to `out`: one datagram, unless it is [`Served::Unanswerable`].
    pub fn answer(
        &mut self,
        now: Duration,
        asked: &Asked<'_>,
        nodes: &VirtualNodes,
        contacts: &Contacts,
        out: &mut Vec<u8>,
    ) -> Served {
        let Some(own) = nodes.node(asked.answering).map(|node| node.id) else { return Served::Unanswerable };
        if asked.tid.raw().len() > TID_MAX {
            return Served::Unanswerable;
        }
        let from = asked.from.ip();
        let tables = Tables { nodes, contacts };
        let reply = encode::Reply {
            version: Some(self.version),
            ip: Some(asked.from),
            ..encode::Reply::new(asked.tid, own)
        };
        self.lists.values.clear();
        match asked.query.method {
            Method::Ping => reply.encode(out),
            Method::FindNode { target } | Method::Unknown { target: Some(target), .. } => {
                self.lists.fill(asked, tables, &target, reply).encode(out);
            }
            Method::GetPeers { info_hash, noseed, scrape } => {
                let token = self.tokens.token(now, from, &own, &info_hash);
                let filters = if scrape { self.filters(now, &info_hash) } else { None };
                let selection = selection(asked, noseed);
                self.peers.select(now, &info_hash, selection, VALUES_MAX, &mut self.lists.values);
                let reply = encode::Reply {
                    token: Some(token.as_bytes()),
                    bloom_seeds: filters.as_ref().map(|(seeds, _)| seeds.as_bytes()),
                    bloom_peers: filters.as_ref().map(|(_, downloaders)| downloaders.as_bytes()),
                    ..reply
                };
                self.lists.fill(asked, tables, &info_hash.as_id(), reply).encode(out);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token, .. } => {
                if !self.tokens.is_valid(now, token, from, &own, &info_hash) {
                    return self.refuse(asked, Reason::BadToken, out);
                }
                let port = if implied_port { asked.from.port() } else { port };
                if port == 0 {
                    return self.refuse(asked, Reason::BadPort, out);
                }
                let peer = SocketAddr::new(from, port);
                reply.encode(out);
                let may = self.peers.contains(&info_hash) || self.quota.take(now, from);
                if !may || self.peers.announce(now, info_hash, peer, seed) == Stored::Refused {
                    return Served::NotKept;
                }
                return Served::Announced { info_hash, peer, seed };
            }
            Method::SampleInfohashes { target } => {
                let sample = self.peers.sample(now);
                let reply = encode::Reply {
                    samples: Some(sample.hashes),
                    num: Some(sample.num as u64),
                    interval: Some(sample.interval.as_secs() as u32),
                    ..reply
                };
                self.lists.fill(asked, tables, &target, reply).encode(out);
            }
            Method::Get { target, .. } => {
                let token = self.tokens.token(now, from, &own, &target.as_hash());
                let reply = encode::Reply { token: Some(token.as_bytes()), ..reply };
                self.lists.fill(asked, tables, &target, reply).encode(out);
            }
            Method::Put { .. } => return self.refuse(asked, Reason::NoStorage, out),
            Method::Unknown { target: None, .. } => return self.refuse(asked, Reason::UnknownMethod, out),
        }
        Served::Replied
    }

    /// Appends error 203 for a datagram that was dropped because of `error`, if its cause lies in a query; `false` when
    /// it deserves no answer.
    pub fn refuse_malformed(
        &self,
        error: ParseError,
        datagram: &[u8],
        from: SocketAddr,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(tid) = Tid::to_refuse(error, datagram).filter(|tid| tid.raw().len() <= TID_MAX) else {
            return false;
        };
        let (code, version) = (ErrorCode::PROTOCOL, Some(self.version));
        encode::Error { tid, code, text: error.text(), version, ip: Some(from) }.encode(out);
        true
    }

    /// Drops what has expired from some of the info-hashes. To be called about once a second.
    pub fn sweep(&mut self, now: Duration) {
        self.peers.sweep(now, SWEEP);
    }

    /// The peers that were announced.
    pub fn peers(&self) -> &PeerStore {
        &self.peers
    }

    fn refuse(&self, asked: &Asked<'_>, reason: Reason, out: &mut Vec<u8>) -> Served {
        encode::Error {
            tid: asked.tid,
            code: reason.code(),
            text: reason.text(),
            version: Some(self.version),
            ip: Some(asked.from),
        }
        .encode(out);
        Served::Refused(reason)
    }

    /// The filters of BEP 33: seeds, and those that still download.
    fn filters(&self, now: Duration, info_hash: &InfoHash) -> Option<(BloomFilter, BloomFilter)> {
        let (mut seeds, mut downloaders) = (BloomFilter::new(), BloomFilter::new());
        let any = self
            .peers
            .scrape(now, info_hash, |ip, seed| if seed { seeds.insert(ip) } else { downloaders.insert(ip) });
        any.then_some((seeds, downloaders))
    }
}

/// What an answer is collected in before it is encoded; the memory is used again and again.
#[derive(Debug)]
struct Lists {
    nodes: Vec<CompactNode>,
    nodes6: Vec<CompactNode>,
    values: Vec<SocketAddr>,
}

impl Lists {
    fn new() -> Lists {
        Lists {
            nodes: Vec::with_capacity(2 * K + 2),
            nodes6: Vec::with_capacity(2 * K + 2),
            values: Vec::with_capacity(VALUES_MAX),
        }
    }

    /// Completes a reply: the contacts closest to `target`, those of the remote's own family first, then
    /// as many of the `values` as still fit. For contacts of the other family the values leave no room beyond
    /// [`VALUES_RESERVE`].
    fn fill<'a>(
        &'a mut self,
        asked: &Asked<'_>,
        tables: Tables<'_>,
        target: &NodeId,
        mut reply: encode::Reply<'a>,
    ) -> encode::Reply<'a> {
        let Lists { nodes, nodes6, values } = self;
        let want = want(asked);
        reply.nodes = want.n4.then_some(&[]);
        reply.nodes6 = want.n6.then_some(&[]);
        let reserve = if values.is_empty() { 0 } else { VALUES_RESERVE };
        let spare = |reply: &encode::Reply<'_>, each| reply.room(1).saturating_sub(reserve) / each;
        match Family::of(asked.from.ip()) {
            Family::V4 => {
                if want.n4 {
                    let room = reply.room(CompactNode::LEN_V4);
                    reply.nodes = Some(tables.closest(asked, Family::V4, target, room, nodes));
                }
                if want.n6 {
                    let room = spare(&reply, CompactNode::LEN_V6);
                    reply.nodes6 = Some(tables.closest(asked, Family::V6, target, room, nodes6));
                }
            }
            Family::V6 => {
                if want.n6 {
                    let room = reply.room(CompactNode::LEN_V6);
                    reply.nodes6 = Some(tables.closest(asked, Family::V6, target, room, nodes6));
                }
                if want.n4 {
                    let room = spare(&reply, CompactNode::LEN_V4);
                    reply.nodes = Some(tables.closest(asked, Family::V4, target, room, nodes));
                }
            }
        }
        let mut room = reply.room(1);
        let fitting = values.iter().take_while(|value| {
            let len = if value.is_ipv4() { VALUE_LEN_V4 } else { VALUE_LEN_V6 };
            let fits = len <= room;
            room = room.saturating_sub(len);
            fits
        });
        reply.values = &values[..fitting.count()];
        reply
    }
}

/// Where contacts come from.
#[derive(Clone, Copy)]
struct Tables<'a> {
    nodes: &'a VirtualNodes,
    contacts: &'a Contacts,
}

impl Tables<'_> {
    /// Up to [`K`] contacts, `room` at most, but not the asker itself.
    fn closest<'l>(
        &self,
        asked: &Asked<'_>,
        family: Family,
        target: &NodeId,
        room: usize,
        list: &'l mut Vec<CompactNode>,
    ) -> &'l [CompactNode] {
        let closest = |n, list: &mut Vec<CompactNode>| {
            list.clear();
            self.nodes.closest(self.contacts, family, asked.answering, target, n, list);
        };
        closest(K, list);
        if list.iter().any(|node| node.addr == asked.from) {
            // Seldom: so one more is looked for only then.
            closest(K + 1, list);
            list.retain(|node| node.addr != asked.from);
        }
        list.truncate(K.min(room));
        list
    }
}

/// The contacts asked for; without a word about it those of the packet's own family (BEP 32).
fn want(asked: &Asked<'_>) -> Want {
    match asked.query.want {
        Want { n4: false, n6: false } => {
            let v4 = Family::of(asked.from.ip()) == Family::V4;
            Want { n4: v4, n6: !v4 }
        }
        want => want,
    }
}

/// Peers of the packet's own family, and of the other when its contacts are asked for.
fn selection(asked: &Asked<'_>, noseed: bool) -> Selection {
    let want = want(asked);
    let v4 = Family::of(asked.from.ip()) == Family::V4;
    Selection { v4: v4 || want.n4, v6: !v4 || want.n6, noseed }
}

/// Peers in an answer, if there is room: as many as libtorrent sends.
pub const VALUES_MAX: usize = 100;

/// Bytes of a transaction id that is echoed, bencoded. Real ones have 4 to 22; 300 were seen.
pub const TID_MAX: usize = 320;

/// Bytes kept for peers when contacts of both families are asked for: 32 peers.
const VALUES_RESERVE: usize = 32 * VALUE_LEN_V4;

/// What stands in every answer to get_peers with filters, the largest, leaves room for the longest `t`.
const _: () = assert!(TID_MAX + 2 * (BloomFilter::LEN + 10) + 130 <= DATAGRAM_MAX);

/// Info-hashes looked at in a sweep: the greatest store within the lifetime of a peer.
const SWEEP: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PortIndex, VERSION};
    use crate::contact_store::Seen;
    use crate::peer_store::SAMPLES_MAX;
    use crate::routing_table::PER_SUBNET;
    use krpc::{Kind, Message, Reply};
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::net::{Ipv4Addr, Ipv6Addr};

    const NOW: Duration = Duration::from_secs(1_000);
    const ASKER: NodeId = NodeId::from_bytes([0x77; 20]);
    const OWN: NodeId = NodeId::from_bytes([0x11; 20]);
    const HASH: InfoHash = InfoHash::from_bytes([0x12; 20]);

    /// A server behind an IPv4 and an IPv6 port, with contacts of both families.
    struct World {
        server: Server,
        nodes: VirtualNodes,
        contacts: Contacts,
    }

    impl World {
        fn new(count: u32) -> World {
            let ports = ["0.0.0.0:6881".parse().unwrap(), "[::]:6881".parse().unwrap()];
            let ids = [(OWN, PortIndex(0)), (NodeId::from_bytes([0x99; 20]), PortIndex(1))];
            let mut nodes = VirtualNodes::new(ports, ids, PER_SUBNET);
            let mut contacts = Contacts::new(1_000, 1_000, &[1; 32]);
            let mut rng = StdRng::from_seed([1; 32]);
            for n in 1..=count {
                let id = NodeId::random(&mut rng);
                let (v4, v6) =
                    (Ipv4Addr::from_bits(n << 8 | 1), Ipv6Addr::from_bits(u128::from(n) << 64 | 1));
                assert!(matches!(contacts.v4.seen(NOW, id, v4, 6881), Seen::New(_)));
                assert!(matches!(contacts.v6.seen(NOW, id, v6, 6881), Seen::New(_)));
                for ip in [v4.into(), v6.into()] {
                    nodes.offer(NOW, &mut contacts, &CompactNode { id, addr: SocketAddr::new(ip, 6881) });
                }
            }
            World { server: Server::new(VERSION, 1_000, &[1; 32]), nodes, contacts }
        }

        fn ask_as(
            &mut self,
            from: SocketAddr,
            want: Want,
            tid: &[u8],
            method: Method<'_>,
        ) -> (Served, Vec<u8>) {
            let mut datagram = Vec::new();
            encode::Query { tid, id: ASKER, version: None, read_only: false, want, method }
                .encode(&mut datagram);
            let message = Message::parse(&datagram).unwrap();
            let Kind::Query(query) = message.kind else { panic!("not a query") };
            let answering = NodeIndex(u32::from(from.is_ipv6()));
            let mut out = b"before".to_vec();
            let asked = Asked { from, answering, tid: message.tid, query };
            let served = self.server.answer(NOW, &asked, &self.nodes, &self.contacts, &mut out);
            assert!(out.starts_with(b"before"));
            out.drain(..6);
            assert!(out.len() <= DATAGRAM_MAX, "{} bytes", out.len());
            (served, out)
        }

        fn ask(&mut self, method: Method<'_>) -> (Served, Vec<u8>) {
            self.ask_as(v4(1), Want::default(), b"abcd", method)
        }

        fn announce(&mut self, from: SocketAddr, info_hash: InfoHash, port: u16, seed: bool) -> Served {
            let (_, answer) = self.ask_as(from, Want::default(), b"abcd", get_peers(info_hash));
            let token = reply(&answer).token.unwrap();
            let implied_port = port == 0;
            let method = Method::AnnouncePeer { info_hash, port, implied_port, seed, token, name: None };
            self.ask_as(from, Want::default(), b"abcd", method).0
        }
    }

    fn v4(n: u8) -> SocketAddr {
        SocketAddr::from(([198, 18, n, 1], 4_000 + u16::from(n)))
    }

    fn v6(n: u16) -> SocketAddr {
        SocketAddr::from(([0x2001, 0xdb8, n, 0, 0, 0, 0, 1], 4_000))
    }

    fn get_peers(info_hash: InfoHash) -> Method<'static> {
        Method::GetPeers { info_hash, noseed: false, scrape: false }
    }

    fn reply(datagram: &[u8]) -> Reply<'_> {
        match Message::parse(datagram).unwrap().kind {
            Kind::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn error(datagram: &[u8]) -> ErrorCode {
        match Message::parse(datagram).unwrap().kind {
            Kind::Error(error) => error.code.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_ping_is_answered_with_our_id_and_the_address_of_the_asker() {
        let (served, answer) = World::new(0).ask(Method::Ping);
        assert_eq!(served, Served::Replied);
        let expected = [
            b"d2:ip6:\xc6\x12\x01\x01\x0f\xa11:rd2:id20:".as_slice(),
            OWN.as_bytes(),
            b"e1:t4:abcd1:v4:",
            VERSION.as_bytes(),
            b"1:y1:re",
        ]
        .concat();
        assert_eq!(answer, expected);
    }

    #[test]
    fn find_node_gives_the_eight_closest_contacts_but_not_the_asker() {
        let mut world = World::new(200);
        let target = NodeId::from_bytes([0x13; 20]);
        let (_, answer) = world.ask(Method::FindNode { target });
        let nodes: Vec<CompactNode> = reply(&answer).nodes.iter().collect();
        let mut held: Vec<NodeId> = world
            .nodes
            .node(NodeIndex(0))
            .unwrap()
            .v4
            .handles()
            .filter_map(|handle| world.contacts.v4.id(handle).copied())
            .collect();
        held.sort_by_key(|id| id.distance(&target));
        assert!(nodes.iter().map(|node| node.id).eq(held[..8].iter().copied()));
        assert!(reply(&answer).nodes6.is_empty());

        let (_, again) = world.ask_as(nodes[0].addr, Want::default(), b"abcd", Method::FindNode { target });
        let without: Vec<NodeId> = reply(&again).nodes.iter().map(|node| node.id).collect();
        assert_eq!(without, held[1..9]);
    }

    #[test]
    fn contacts_come_in_the_families_asked_for_and_else_in_that_of_the_packet() {
        let mut world = World::new(100);
        let target = NodeId::from_bytes([0x13; 20]);
        for (from, n4, n6, expected) in [
            (v4(1), false, false, (8, 0)),
            (v4(1), true, true, (8, 8)),
            (v4(1), false, true, (0, 8)),
            (v6(1), false, false, (0, 8)),
            (v6(1), true, false, (8, 0)),
        ] {
            let (_, answer) = world.ask_as(from, Want { n4, n6 }, b"abcd", Method::FindNode { target });
            let reply = reply(&answer);
            assert_eq!((reply.nodes.len(), reply.nodes6.len()), expected, "{from} {n4} {n6}");
        }
    }

    #[test]
    fn who_asks_before_may_announce_and_is_told_to_others() {
        let mut world = World::new(100);
        let (_, answer) = world.ask(get_peers(HASH));
        assert!(reply(&answer).values.is_empty() && reply(&answer).nodes.len() == 8);
        let peer = SocketAddr::new(v4(1).ip(), 7_000);
        assert_eq!(
            world.announce(v4(1), HASH, 7_000, false),
            Served::Announced { info_hash: HASH, peer, seed: false }
        );
        assert_eq!(
            world.announce(v4(2), HASH, 0, true),
            Served::Announced { info_hash: HASH, peer: v4(2), seed: true }
        );
        world.announce(v6(1), HASH, 9, false);

        let mut values: Vec<SocketAddr> = reply(&world.ask(get_peers(HASH)).1).values.iter().collect();
        values.sort_unstable();
        assert_eq!(values, [peer, v4(2)]);
        let noseed = Method::GetPeers { info_hash: HASH, noseed: true, scrape: false };
        assert!(reply(&world.ask(noseed).1).values.iter().eq([peer]));
        let both = world.ask_as(v4(3), Want { n4: true, n6: true }, b"abcd", get_peers(HASH)).1;
        assert_eq!(reply(&both).values.len(), 3);
        assert_eq!((reply(&both).nodes.len(), reply(&both).nodes6.len()), (8, 8));
    }

    #[test]
    fn an_announce_without_a_token_of_ours_is_refused() {
        let mut world = World::new(0);
        let (_, answer) = world.ask(get_peers(HASH));
        let token = reply(&answer).token.unwrap().to_vec();
        let announce = |token| Method::AnnouncePeer {
            info_hash: HASH,
            port: 1,
            implied_port: false,
            seed: false,
            token,
            name: None,
        };
        let (served, refused) = world.ask_as(v4(2), Want::default(), b"abcd", announce(&token));
        assert_eq!((served, error(&refused)), (Served::Refused(Reason::BadToken), ErrorCode::PROTOCOL));
        let (served, _) = world.ask(announce(b"guessed"));
        assert_eq!(served, Served::Refused(Reason::BadToken));
        assert!(world.server.peers().is_empty());
        assert!(matches!(world.ask(announce(&token)).0, Served::Announced { .. }));
    }

    #[test]
    fn a_scrape_is_answered_with_the_filters_of_seeds_and_downloaders() {
        let mut world = World::new(100);
        let scrape = Method::GetPeers { info_hash: HASH, noseed: false, scrape: true };
        assert_eq!(reply(&world.ask(scrape).1).bloom_seeds, None);
        for n in 0..60 {
            world.announce(v4(n), HASH, 1, n % 3 == 0);
        }
        let (_, answer) = world.ask_as(v4(99), Want { n4: true, n6: true }, b"abcd", scrape);
        let reply = reply(&answer);
        let estimate = |bytes: Option<&[u8; 256]>| BloomFilter::from_bytes(*bytes.unwrap()).estimate();
        assert!((estimate(reply.bloom_seeds) - 20.0).abs() < 2.0);
        assert!((estimate(reply.bloom_peers) - 40.0).abs() < 2.0);
        assert_eq!(reply.nodes.len(), 8);
        assert!(reply.values.len() >= 15, "{}", reply.values.len());
    }

    #[test]
    fn samples_are_hashes_that_we_hold() {
        let mut world = World::new(100);
        let target = NodeId::from_bytes([0x13; 20]);
        let (_, none) = world.ask(Method::SampleInfohashes { target });
        assert_eq!(reply(&none).samples.unwrap().iter().count(), 0);
        let hashes: Vec<InfoHash> = (0..30).map(|n| InfoHash::from_bytes([n; 20])).collect();
        for hash in &hashes {
            world.announce(v4(1), *hash, 1, false);
        }
        let both = Want { n4: true, n6: true };
        let (_, answer) = world.ask_as(v4(1), both, b"abcd", Method::SampleInfohashes { target });
        let reply = reply(&answer);
        let samples: Vec<InfoHash> = reply.samples.unwrap().iter().collect();
        assert_eq!(samples.len(), SAMPLES_MAX);
        assert!(samples.iter().all(|sample| hashes.contains(sample)));
        assert_eq!((reply.num, reply.interval), (Some(30), Some(300)));
        assert_eq!((reply.nodes.len(), reply.nodes6.len()), (8, 7));
    }

    #[test]
    fn items_are_not_stored_and_that_is_said() {
        let mut world = World::new(100);
        let target = NodeId::from_bytes([0x13; 20]);
        let (_, got) = world.ask(Method::Get { target, seq: None });
        let token = reply(&got).token.unwrap();
        assert_eq!((reply(&got).nodes.len(), reply(&got).value), (8, None));
        let put = Method::Put {
            value: b"3:abc",
            token,
            key: None,
            signature: None,
            seq: None,
            cas: None,
            salt: None,
        };
        let (served, answer) = world.ask(put);
        assert_eq!((served, error(&answer)), (Served::Refused(Reason::NoStorage), ErrorCode::SERVER));
    }

    #[test]
    fn unknown_queries_with_a_target_are_answered_with_contacts() {
        let mut world = World::new(100);
        let target = Some(NodeId::from_bytes([0x13; 20]));
        let (_, answer) = world.ask(Method::Unknown { name: b"vote", target });
        assert_eq!(reply(&answer).nodes.len(), 8);
        let (served, answer) = world.ask(Method::Unknown { name: b"vote", target: None });
        assert_eq!(
            (served, error(&answer)),
            (Served::Refused(Reason::UnknownMethod), ErrorCode::UNKNOWN_METHOD)
        );
    }

    #[test]
    fn a_malformed_query_is_told_so_and_garbage_is_not() {
        let world = World::new(0);
        let mut out = Vec::new();
        let query = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target3:abce1:q9:find_node1:t2:xy1:y1:qe";
        let cause = Message::parse(query).unwrap_err();
        assert!(world.server.refuse_malformed(cause, query, v4(1), &mut out));
        assert_eq!(error(&out), ErrorCode::PROTOCOL);
        assert_eq!(Message::parse(&out).unwrap().tid.bytes(), Some(&b"xy"[..]));
        out.clear();
        let garbage = b"d1:ad2:id20:aaaaaaaaaaa";
        let cause = Message::parse(garbage).unwrap_err();
        assert!(!world.server.refuse_malformed(cause, garbage, v4(1), &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn a_transaction_id_that_fills_the_datagram_is_not_answered() {
        let mut world = World::new(100);
        let answerable = world.ask_as(v4(1), Want::default(), &[b'x'; 300], get_peers(HASH));
        assert_eq!(answerable.0, Served::Replied);
        let (served, answer) = world.ask_as(v4(1), Want::default(), &[b'x'; 400], get_peers(HASH));
        assert_eq!((served, answer.len()), (Served::Unanswerable, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_answer_is_a_valid_message_of_at_most_1024_bytes(seed in any::<u64>(), contacts in 0_u32..150) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut world = World::new(contacts);
            for n in 0..rng.random_range(0..200_u16) {
                let hash = InfoHash::from_bytes([(n % 40) as u8; 20]);
                let hash = if rng.random_ratio(1, 2) { HASH } else { hash };
                let from = if n % 2 == 0 { v4(n as u8) } else { v6(n) };
                world.announce(from, hash, 1 + n, n % 3 == 0);
            }
            for _ in 0..30 {
                let target = NodeId::random(&mut rng);
                let method = match rng.random_range(0..5) {
                    0 => Method::FindNode { target },
                    1 => get_peers(HASH),
                    2 => Method::GetPeers { info_hash: HASH, noseed: rng.random_ratio(1, 2), scrape: true },
                    3 => Method::SampleInfohashes { target },
                    _ => Method::Get { target, seq: None },
                };
                let from = if rng.random_ratio(1, 2) { v4(1) } else { v6(1) };
                let want = Want { n4: rng.random_ratio(1, 2), n6: rng.random_ratio(1, 2) };
                let tid = vec![b'x'; rng.random_range(0..310)];
                let (served, answer) = world.ask_as(from, want, &tid, method);
                prop_assert_eq!(served, Served::Replied);
                let message = Message::parse(&answer).unwrap();
                prop_assert_eq!(message.tid.bytes(), Some(&tid[..]));
                prop_assert_eq!(message.ip, Some(from));
                prop_assert!(message.oddities.is_empty(), "{:?}", message.oddities);
            }
        }
    }
}
