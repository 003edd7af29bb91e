//! `recvmmsg` and `sendmmsg`: many datagrams with one system call.
//!
//! The headers that the kernel wants are kept by thread, not by port: they hold pointers, so a task could not move to
//! another thread with them, and between two calls they mean nothing. Those for receiving are never lent to a call that
//! sends, since either call leaves pointers behind that the other would follow.

use std::{
    array,
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, RawFd},
    thread::LocalKey,
};

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg,
};

use crate::{datagram::Batch, inbox::Inbox, outbox::Outgoing};

/// Datagrams in one call at most.
const DATAGRAMS_MAX: usize = Batch::DATAGRAMS_MAX;

/// Receives up to `count` datagrams into an empty inbox and returns how many came. Fewer than `count`: there are no more, or
/// the next call tells why not.
pub(crate) fn receive(
    socket: &impl AsRawFd,
    inbox: &mut Inbox,
    count: usize,
    ipv6: bool,
) -> io::Result<usize> {
    if ipv6 {
        receive_as::<SockaddrIn6>(socket.as_raw_fd(), inbox, count)
    } else {
        receive_as::<SockaddrIn>(socket.as_raw_fd(), inbox, count)
    }
}

/// Sends the first of `datagrams`, whose bytes lie in `arena`, and returns how many the kernel took. An error is about the
/// first, or about the call.
pub(crate) fn send(
    socket: &impl AsRawFd,
    arena: &[u8],
    datagrams: &[Outgoing],
    ipv6: bool,
) -> io::Result<usize> {
    if ipv6 {
        send_as::<SockaddrIn6>(socket.as_raw_fd(), arena, datagrams)
    } else {
        send_as::<SockaddrIn>(socket.as_raw_fd(), arena, datagrams)
    }
}

/// An address of one family. Each has headers of its own, since the kernel writes into them how long the last address was and
/// cuts the next one to that.
trait Address: SockaddrLike + Copy + 'static {
    fn from_std(address: SocketAddr) -> Option<Self>;
    fn into_std(self) -> SocketAddr;
    fn to_receive() -> &'static LocalKey<Headers<Self>>;
    fn to_send() -> &'static LocalKey<Headers<Self>>;
}

type Headers<A> = RefCell<MultiHeaders<A>>;

fn headers<A: Address>() -> Headers<A> {
    RefCell::new(MultiHeaders::preallocate(DATAGRAMS_MAX, None))
}

thread_local! {
    static RECEIVE_V4: Headers<SockaddrIn> = headers();
    static RECEIVE_V6: Headers<SockaddrIn6> = headers();
    static SEND_V4: Headers<SockaddrIn> = headers();
    static SEND_V6: Headers<SockaddrIn6> = headers();
}

impl Address for SockaddrIn {
    fn from_std(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(address) => Some(address.into()),
            SocketAddr::V6(_) => None,
        }
    }

    fn into_std(self) -> SocketAddr {
        SocketAddrV4::from(self).into()
    }

    fn to_receive() -> &'static LocalKey<Headers<Self>> {
        &RECEIVE_V4
    }

    fn to_send() -> &'static LocalKey<Headers<Self>> {
        &SEND_V4
    }
}

impl Address for SockaddrIn6 {
    fn from_std(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(_) => None,
            SocketAddr::V6(address) => Some(address.into()),
        }
    }

    fn into_std(self) -> SocketAddr {
        SocketAddrV6::from(self).into()
    }

    fn to_receive() -> &'static LocalKey<Headers<Self>> {
        &RECEIVE_V6
    }

    fn to_send() -> &'static LocalKey<Headers<Self>> {
        &SEND_V6
    }
}

fn receive_as<A: Address>(fd: RawFd, inbox: &mut Inbox, count: usize) -> io::Result<usize> {
    if count <= FEW {
        receive_n::<A, FEW>(fd, inbox, count)
    } else {
        receive_n::<A, DATAGRAMS_MAX>(fd, inbox, count)
    }
}

fn receive_n<A: Address, const N: usize>(fd: RawFd, inbox: &mut Inbox, count: usize) -> io::Result<usize> {
    A::to_receive().with_borrow_mut(|headers| {
        let (mut slots, arrived) = inbox.slots();
        let mut slices: [_; N] = array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let slices = slices.iter_mut().take(count);
        let messages = recvmmsg(fd, headers, slices, MsgFlags::MSG_DONTWAIT, None)?;
        arrived.extend(messages.filter_map(|message| Some((message.bytes, message.address?.into_std()))));
        Ok(arrived.len())
    })
}

fn send_as<A: Address>(fd: RawFd, arena: &[u8], datagrams: &[Outgoing]) -> io::Result<usize> {
    if datagrams.len() <= FEW {
        send_n::<A, FEW>(fd, arena, datagrams)
    } else {
        send_n::<A, DATAGRAMS_MAX>(fd, arena, datagrams)
    }
}

fn send_n<A: Address, const N: usize>(fd: RawFd, arena: &[u8], datagrams: &[Outgoing]) -> io::Result<usize> {
    A::to_send().with_borrow_mut(|headers| {
        // Up to the first whose address is of the other family.
        let mut addresses = [None; N];
        let mut count = 0;
        for (datagram, address) in datagrams.iter().zip(&mut addresses) {
            *address = A::from_std(datagram.to);
            if address.is_none() {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "address of another family"));
        }
        let mut payloads = datagrams.iter().map(|datagram| datagram.payload(arena));
        let slices: [_; N] = array::from_fn(|_| [IoSlice::new(payloads.next().unwrap_or_default())]);
        let no_control: [ControlMessage<'_>; 0] = [];
        let (slices, addresses) = (&slices[..count], &addresses[..count]);
        Ok(sendmmsg(fd, headers, slices, addresses, no_control, MsgFlags::MSG_DONTWAIT)?.count())
    })
}

/// Calls for no more than so many get lists of this length, since filling long ones would be most of their cost.
const FEW: usize = 8;
