//! What went wrong, told to the program as a message.

use std::io;

/// Why something the program asked for did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The lane is full; nothing was started. Ask for less, or later.
    #[error("refused: its lane is full")]
    Overload,
    /// It took longer than it was allowed to.
    #[error("timed out")]
    Timeout,
    /// The program cancelled or replaced it.
    #[error("cancelled")]
    Cancelled,
    /// The task panicked; what it said is in the text.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The runtime is stopping.
    #[error("the runtime is stopping")]
    Closed,
    /// The operating system refused; `0` is its class, `1` its text.
    #[error("{1}")]
    Io(io::ErrorKind, String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind(), error.to_string())
    }
}
