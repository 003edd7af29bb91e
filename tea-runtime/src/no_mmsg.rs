//! Systems without `recvmmsg` and `sendmmsg`: the first try says so, then datagrams go one by one.

use std::io;

use crate::{inbox::Inbox, outbox::Outgoing};

/// There is no such call.
pub(crate) fn receive<S>(_: &S, _: &mut Inbox, _: usize, _: bool) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no such call.
pub(crate) fn send<S>(_: &S, _: &[u8], _: &[Outgoing], _: bool) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
