//! All seeders behind one TCP port: who connects to an address of a seeder talks to that seeder.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use rand::{SeedableRng as _, rngs::StdRng};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::{Topic, draw, draw_bytes};
use crate::config::Hostile;
use crate::error::SwarmError;
use crate::population::{Conduct, Door, Population};
use crate::stats::Counters;
use crate::utp_seeders::UtpSeeder;
use crate::wire::{Link, Wire};
use crate::{honest, hostile, peer_wire, torrent};

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 4_096;
/// Files open besides connections: sockets, standard streams, and what the program around the swarm has.
const FILES_BESIDES: u64 = 64;
/// The end of every connection, whatever it is about.
pub(crate) const CONNECTION_MAX: Duration = Duration::from_secs(120);
/// Rest after the system refused to accept, so that a lack of files does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens, if the process may open so many files for connections and seeders.
pub(crate) fn bind(port: u16, files: usize) -> Result<StdListener, SwarmError> {
    let needed = files as u64 + FILES_BESIDES;
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| SwarmError::System {
        action: "read the limit of open files",
        source: errno.into(),
    })?;
    if limit < needed {
        return Err(SwarmError::FileLimit { needed, limit });
    }
    let open = || -> io::Result<StdListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier swarm that are still closing must not hold the port.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => SwarmError::PortInUse { protocol: "TCP", port },
        _ => SwarmError::System { action: "open its TCP port", source },
    })
}

/// Accepts and serves until `stop` fires or is dropped; then ends every connection.
pub(crate) async fn serve(
    listener: StdListener,
    utp_seeders: Vec<UtpSeeder>,
    population: Arc<Population>,
    counters: Arc<Counters>,
    mut stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections_max = population.config.connections_max;
    let mut conversations = JoinSet::new();
    // They end with this.
    let mut by_utp = JoinSet::new();
    for seeder in utp_seeders {
        by_utp.spawn(seeder.serve(Arc::clone(&population), Arc::clone(&counters)));
    }
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => return Ok(()),
            Some(_) = conversations.join_next() => counters.connections_open.subtract_one(),
            accepted = listener.accept(), if conversations.len() < connections_max => match accepted {
                Ok((stream, _)) => {
                    counters.connections.add_one();
                    counters.connections_open.add_one();
                    let (population, counters) = (Arc::clone(&population), Arc::clone(&counters));
                    conversations.spawn(async move {
                        // A peer that goes away or takes too long is part of the game.
                        let _ = timeout(CONNECTION_MAX, converse_by_tcp(stream, &population, &counters)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the swarm cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn converse_by_tcp(stream: TcpStream, population: &Population, counters: &Counters) -> io::Result<()> {
    let SocketAddr::V4(local) = stream.local_addr()? else { return Ok(()) };
    let Some(peer) = population.peer_at(*local.ip()) else { return Ok(()) };
    stream.set_nodelay(true)?;
    if population.door(peer) == Door::UtpOnly {
        counters.handshakes_refused.add_one();
        return stream.readable().await;
    }
    converse(Link::Tcp(stream), peer, population, counters).await
}

/// Speaks as seeder `peer` until either side ends the connection.
pub(crate) async fn converse(
    link: Link,
    peer: u32,
    population: &Population,
    counters: &Counters,
) -> io::Result<()> {
    let conduct = population.conduct(peer);
    let number = counters.connections.read();
    let keys = draw_bytes(population.config.seed, Topic::SeederDoor, number, 2, 8);
    let keys = keys.iter().fold(0, |key, byte| key << 8 | u64::from(*byte));
    let mut wire = Wire::new(link, StdRng::seed_from_u64(keys));
    if conduct == Conduct::Hostile(Hostile::Silent) {
        counters.hostile_met.add_one();
        return wire.drain().await;
    }
    let plain = population.door(peer) != Door::EncryptedOnly;
    let find = |key: &[u8; 20]| population.hash_of_torrent_key(key);
    let Some(handshake) = wire.handshake(plain, find).await? else {
        counters.handshakes_refused.add_one();
        return Ok(());
    };
    let seeded = population
        .torrent_with(&handshake.info_hash)
        .filter(|torrent| population.seeders(*torrent).any(|seeder| seeder == peer));
    let Some(torrent) = seeded else {
        counters.hashes_refused.add_one();
        return Ok(());
    };
    let seed = population.config.seed;
    let client = honest::client(conduct, draw(seed, Topic::SeederClient, u64::from(peer), 0));
    let mut peer_id = [0; 20];
    peer_id[..8].copy_from_slice(client.peer_id);
    peer_id[8..].copy_from_slice(&draw_bytes(seed, Topic::SeederClient, u64::from(peer), 1, 12));
    wire.write(&peer_wire::handshake(&handshake.info_hash, &peer_id)).await?;
    if !handshake.extended {
        return wire.drain().await;
    }
    let (torrent, info) = torrent::generate(seed, torrent);
    match conduct {
        Conduct::Hostile(kind) => {
            counters.hostile_met.add_one();
            hostile::converse(&mut wire, kind, peer, &client, &info).await
        }
        _ => {
            let habits = &population.config.habits;
            honest::converse(&mut wire, conduct, habits, &client, &torrent, &info, counters).await
        }
    }
}
