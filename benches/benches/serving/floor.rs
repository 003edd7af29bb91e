//! The least that a server can do: take many datagrams with one system call, copy a prepared answer and the transaction id
//! for each, and send them with another.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use krpc::Message;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use socket2::SockRef;

/// Datagrams taken with one call.
const BATCH: usize = 64;

/// Room for a datagram.
const BYTES: usize = 2_048;

/// Kernel buffer asked for: what the runtime asks for too.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A prepared answer to queries of one length. The four kinds of queries all have different lengths.
struct Prepared {
    query_len: usize,
    bytes: Vec<u8>,
    /// Where its transaction id stands.
    tid_at: usize,
}

impl Prepared {
    /// From `QUERY_LEN:HEX`.
    fn parse(text: &str) -> Option<Self> {
        let (query_len, hex) = text.split_once(':')?;
        let digits = hex.as_bytes().chunks_exact(2);
        let bytes: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect::<Option<_>>()?;
        let tid = Message::parse(&bytes).ok()?.tid.bytes()?.to_vec();
        let tid_at = bytes.windows(TID_MARK.len()).rposition(|window| window == TID_MARK)? + TID_MARK.len();
        (tid.len() == 4).then_some(Self { query_len: query_len.parse().ok()?, bytes, tid_at })
    }
}

/// An answer as [`serve`] wants it.
pub(crate) fn prepared(query_len: usize, answer: &[u8]) -> String {
    let hex: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{query_len}:{hex}")
}

/// What stands before a transaction id of four bytes.
const TID_MARK: &[u8] = b"1:t4:";

/// From the transaction id of a query without `v` to its end: `....1:y1:qe`.
const TID_FROM_END: usize = 11;

/// Serves until the process is ended.
pub(crate) fn serve(bind: SocketAddr, answers: &[String]) -> Result<(), String> {
    let prepared: Vec<Prepared> = answers.iter().filter_map(|text| Prepared::parse(text)).collect();
    if prepared.len() != answers.len() {
        return Err("a prepared answer cannot be read".to_owned());
    }
    let socket = UdpSocket::bind(bind).map_err(|error| format!("{bind}: {error}"))?;
    SockRef::from(&socket)
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .map_err(|error| format!("no receive buffer: {error}"))?;
    let fd = socket.as_raw_fd();
    let mut taken = vec![[0_u8; BYTES]; BATCH];
    let mut answers = vec![[0_u8; BYTES]; BATCH];
    let mut receiving = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut sending = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut came: Vec<(usize, Option<SockaddrIn>)> = Vec::with_capacity(BATCH);
    loop {
        came.clear();
        {
            let mut parts: Vec<[IoSliceMut<'_>; 1]> =
                taken.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let received = recvmmsg(fd, &mut receiving, parts.iter_mut(), MsgFlags::MSG_WAITFORONE, None)
                .map_err(|error| format!("receiving: {error}"))?;
            came.extend(received.map(|message| (message.bytes, message.address)));
        }
        let mut lens = [0; BATCH];
        let mut to = [None; BATCH];
        let mut count = 0;
        for ((len, from), query) in came.iter().zip(&taken) {
            let Some(answer) = prepared.iter().find(|answer| answer.query_len == *len) else { continue };
            let out = &mut answers[count];
            out[..answer.bytes.len()].copy_from_slice(&answer.bytes);
            out[answer.tid_at..answer.tid_at + 4]
                .copy_from_slice(&query[len - TID_FROM_END..len - TID_FROM_END + 4]);
            lens[count] = answer.bytes.len();
            to[count] = *from;
            count += 1;
        }
        let parts: Vec<[IoSlice<'_>; 1]> = answers
            .iter()
            .zip(lens)
            .take(count)
            .map(|(answer, len)| [IoSlice::new(&answer[..len])])
            .collect();
        let mut sent = 0;
        while sent < count {
            // What a full socket does not take, the next call gives it again.
            match sendmmsg(fd, &mut sending, &parts[sent..], &to[sent..count], [], MsgFlags::empty()) {
                Ok(results) => sent += results.count(),
                Err(error) => return Err(format!("sending: {error}")),
            }
        }
    }
}
