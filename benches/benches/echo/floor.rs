//! The least that a server can do: many datagrams with one system call, and back with another.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams taken with one call.
const BATCH: usize = 64;

/// Room for a datagram.
const BYTES: usize = 2_048;

/// Sends back what comes to a blocking socket, for ever.
pub(crate) fn echo(socket: &UdpSocket) -> Result<(), String> {
    let fd = socket.as_raw_fd();
    let mut buffers = vec![[0_u8; BYTES]; BATCH];
    let mut receiving = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut sending = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut came: Vec<(usize, Option<SockaddrIn>)> = Vec::with_capacity(BATCH);
    loop {
        came.clear();
        {
            let mut parts: Vec<[IoSliceMut<'_>; 1]> =
                buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let messages = recvmmsg(fd, &mut receiving, parts.iter_mut(), MsgFlags::MSG_WAITFORONE, None)
                .map_err(|error| format!("receiving: {error}"))?;
            came.extend(messages.map(|message| (message.bytes, message.address)));
        }
        let to: Vec<_> = came.iter().map(|(_, from)| *from).collect();
        let parts: Vec<[IoSlice<'_>; 1]> =
            buffers.iter().zip(&came).map(|(buffer, (len, _))| [IoSlice::new(&buffer[..*len])]).collect();
        let mut sent = 0;
        while sent < parts.len() {
            match sendmmsg(fd, &mut sending, &parts[sent..], &to[sent..], [], MsgFlags::empty()) {
                Ok(results) => sent += results.count(),
                Err(error) => return Err(format!("sending: {error}")),
            }
        }
    }
}
