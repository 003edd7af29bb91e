//! Asks a DHT node whether it still talks to an address.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Pings: one may be lost to the limit of what libtorrent sends in a second.
const PINGS: u8 = 5;
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether `node` answers a ping from another port of `from`. Clients block addresses, not ports.
pub fn answers(node: SocketAddr, from: IpAddr) -> bool {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (0..PINGS).any(|number| {
        let tid = format!("pr{number:02}");
        let ping = format!("d1:ad2:id20:an interop test pinge1:q4:ping2:roi1e1:t4:{tid}1:y1:qe");
        socket.send_to(ping.as_bytes(), node).unwrap();
        let mut answer = [0; 1_500];
        match socket.recv_from(&mut answer) {
            Ok((len, source)) => {
                let has = |part: &[u8]| answer[..len].windows(part.len()).any(|window| window == part);
                source == node && has(format!("1:t4:{tid}").as_bytes()) && has(b"1:y1:r")
            }
            Err(_) => false,
        }
    })
}
