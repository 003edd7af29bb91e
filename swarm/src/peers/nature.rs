//! What an endpoint is like.

use std::{net::SocketAddr, time::Duration};

/// One place where a torrent may be had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Endpoint {
    /// Where.
    pub addr: SocketAddr,
    /// What is there.
    pub nature: Nature,
    /// How long a byte takes there and back again.
    pub round_trip: Duration,
}

/// What is at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// Nobody. Packets are answered with a refusal, or not at all.
    Dead {
        /// TCP is refused; over UDP nothing is heard in any case.
        refuses: bool,
    },
    /// Has the torrent, and gives it by uTP alone, encrypted or not.
    UtpOnly {
        /// What its TCP port does.
        tcp: Tcp,
        /// How it serves.
        habit: Habit,
    },
    /// Has the torrent, and gives it by encrypted connections alone, over TCP and uTP.
    EncryptedOnly {
        /// It takes a plain handshake for the beginning of a key and waits for more, instead of closing.
        waits: bool,
        /// How it serves.
        habit: Habit,
    },
    /// Gives what is not the torrent, by any way.
    Liar(Lie),
    /// Has the torrent, and gives it by any way.
    Plain {
        /// How it serves.
        habit: Habit,
    },
}

/// What the TCP port of somebody does who wants uTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tcp {
    /// Takes connections, and closes them when the first byte has come.
    Closes,
    /// Refuses them.
    Refuses,
    /// Is behind a router that drops what comes.
    Silent,
}

/// How requests for pieces are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Habit {
    /// As libtorrent does: ten at once, the others ten a second.
    Libtorrent,
    /// As Transmission does: whatever has gathered, when its timer of 2 to 3 s ticks.
    Transmission,
    /// As rTorrent does: one at a time; what comes before it is answered is dropped.
    Rtorrent,
    /// One after another, each taking [`PeerPlan::slow_piece`](super::PeerPlan::slow_piece).
    Slow,
}

/// How a liar lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lie {
    /// One byte of each piece is another.
    Bytes,
    /// The info dict is a piece longer.
    Longer,
    /// The info dict is a byte shorter.
    Shorter,
}

impl Nature {
    /// Whether the torrent can be had here.
    pub const fn is_honest(self) -> bool {
        matches!(self, Self::UtpOnly { .. } | Self::EncryptedOnly { .. } | Self::Plain { .. })
    }
}
