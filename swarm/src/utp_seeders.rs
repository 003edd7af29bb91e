//! Seeders that are reached by uTP: each has a UDP socket of its own at its address.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket},
    sync::Arc,
};

use bittorrent::CloseHow;
use bittorrent::utp::{Utp, UtpAction, UtpConfig, UtpHandle, UtpOutput};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    net::UdpSocket,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    address,
    chance::{Topic, draw_bytes},
    clock::Clock,
    error::SwarmError,
    population::Population,
    seeders::{self, CONNECTION_MAX},
    stats::Counters,
    wire::Link,
};

/// Largest datagram taken; no longer ones are sent by uTP.
const DATAGRAM_MAX: usize = 2_048;
/// Connections to one seeder.
const CONNECTIONS_MAX: usize = 64;
/// What a seeder may have written and not yet sent: more than any info dict here. Who floods loses the connection.
const WRITTEN_MAX: usize = 8 << 20;
/// What may wait between a conversation and its connection.
const PIPE_BYTES: usize = 64 << 10;
/// Messages that wait between the tasks of a seeder.
const QUEUE: usize = 64;

/// A seeder and its socket.
pub(crate) struct UtpSeeder {
    peer: u32,
    socket: StdSocket,
}

/// Opens the sockets of all seeders that take uTP, at the port where they take TCP.
pub(crate) fn bind(population: &Population, port: u16) -> Result<Vec<UtpSeeder>, SwarmError> {
    let open = |peer: u32| {
        let socket = StdSocket::bind((address::of_peer(peer), port))?;
        socket.set_nonblocking(true)?;
        Ok(UtpSeeder { peer, socket })
    };
    population.utp_peers().map(open).collect::<io::Result<_>>().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => SwarmError::PortInUse { protocol: "UDP", port },
        _ => SwarmError::System { action: "open the UDP ports of seeders", source },
    })
}

impl UtpSeeder {
    /// Serves until it is dropped.
    pub(crate) async fn serve(self, population: Arc<Population>, counters: Arc<Counters>) -> io::Result<()> {
        let Self { peer, socket } = self;
        let socket = UdpSocket::from_std(socket)?;
        let clock = Clock::start();
        let mut seed = [0; 32];
        seed.copy_from_slice(&draw_bytes(population.config.seed, Topic::SeederDoor, u64::from(peer), 1, 32));
        let limits = UtpConfig {
            connections_max: CONNECTIONS_MAX,
            accepted_max: CONNECTIONS_MAX,
            accepted_per_ip_max: CONNECTIONS_MAX,
            send_buffer_bytes_max: WRITTEN_MAX,
            ..UtpConfig::default()
        };
        let (mut utp, mut out) = (Utp::new(limits, seed), UtpOutput::new());
        let mut pipes: HashMap<UtpHandle, mpsc::Sender<Vec<u8>>> = HashMap::new();
        let (said, mut to_say) = mpsc::channel::<(UtpHandle, Option<Vec<u8>>)>(QUEUE);
        let mut tasks = JoinSet::new();
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            let wait = utp.next_deadline().map(|at| at.saturating_sub(clock.now()));
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    // A refused earlier answer is reported on the next call; it concerns nobody.
                    let mut came = received.ok();
                    while let Some((len, from)) = came {
                        utp.datagram(clock.now(), from, &buffer[..len], &mut out);
                        came = socket.try_recv_from(&mut buffer).ok();
                    }
                }
                Some((handle, bytes)) = to_say.recv() => {
                    let written = bytes.is_some_and(|bytes| utp.write(handle, &bytes).is_ok());
                    if !written && pipes.remove(&handle).is_some() {
                        utp.close(clock.now(), handle, CloseHow::Flush, &mut out);
                    }
                }
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                Some(_) = tasks.join_next() => {}
            }
            let now = clock.now();
            utp.tick(now, &mut out);
            let mut broken = Vec::new();
            for action in out.drain() {
                match action {
                    UtpAction::Send { to, datagram } => {
                        if is_loopback(to) {
                            // What the kernel has no room for is sent again.
                            let _ = socket.try_send_to(datagram, to);
                        }
                    }
                    UtpAction::Accepted { handle, .. } => {
                        counters.connections.add_one();
                        let (inner, outer) = duplex(PIPE_BYTES);
                        let (sender, arrived) = mpsc::channel(QUEUE);
                        pipes.insert(handle, sender);
                        tasks.spawn(carry(handle, outer, arrived, said.clone()));
                        let (population, counters) = (Arc::clone(&population), Arc::clone(&counters));
                        tasks.spawn(async move {
                            let link = Link::Utp(inner);
                            let talk = seeders::converse(link, peer, &population, &counters);
                            let _ = timeout(CONNECTION_MAX, talk).await;
                        });
                    }
                    UtpAction::Data { handle, bytes } => {
                        let pipe = pipes.get(&handle);
                        if pipe.is_some_and(|pipe| pipe.try_send(bytes.to_vec()).is_err()) {
                            broken.push(handle);
                        }
                    }
                    UtpAction::Closed { handle, .. } => {
                        pipes.remove(&handle);
                    }
                    UtpAction::Opened(_) => {}
                }
            }
            for handle in broken {
                pipes.remove(&handle);
                utp.close(now, handle, CloseHow::Reset, &mut out);
            }
        }
    }
}

/// Carries bytes between a conversation and its connection until either ends.
async fn carry(
    handle: UtpHandle,
    mut outer: DuplexStream,
    mut arrived: mpsc::Receiver<Vec<u8>>,
    said: mpsc::Sender<(UtpHandle, Option<Vec<u8>>)>,
) {
    let mut buffer = vec![0; PIPE_BYTES];
    loop {
        let read = tokio::select! {
            came = arrived.recv() => match came {
                Some(bytes) => match outer.write_all(&bytes).await {
                    Ok(()) => continue,
                    Err(_) => break,
                },
                // The other side has closed.
                None => return,
            },
            read = outer.read(&mut buffer) => read,
        };
        match read {
            Ok(len @ 1..) if said.send((handle, Some(buffer[..len].to_vec()))).await.is_ok() => {}
            _ => break,
        }
    }
    let _ = said.send((handle, None)).await;
}

fn is_loopback(to: SocketAddr) -> bool {
    matches!(to, SocketAddr::V4(to) if address::is_loopback(&to)) && to.ip() != Ipv4Addr::UNSPECIFIED
}
