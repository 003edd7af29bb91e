//! Being told to end while the model does not listen: before it runs, and after.

use std::{future::ready, pin::pin};

use nix::sys::signal::{Signal, raise};
use tokio::signal::unix::{self, SignalKind};

use super::CommandError;

/// Hears SIGINT and SIGTERM from its making on; from then on they do not kill the process any more.
#[derive(Debug)]
pub(super) struct Interruption {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Interruption {
    pub(super) fn listen() -> Result<Self, CommandError> {
        let listen = |kind| {
            unix::signal(kind)
                .map_err(|error| CommandError::Said(format!("signals cannot be listened to: {error}")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Does the work; `None`: the program was told to end first, and the work was dropped where it stood.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            result = work => Some(result),
            _ = self.told() => None,
        }
    }

    /// Does work that listens for itself as soon as it has begun. A signal that came just before is sent once more.
    pub(super) async fn hand_over<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let missed = tokio::select! {
            biased;
            result = &mut work => return result,
            signal = self.told() => Some(signal),
            () = ready(()) => None,
        };
        if let Some(signal) = missed {
            // It cannot fail for signals that exist.
            let _ = raise(signal);
        }
        work.await
    }

    async fn told(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        }
    }
}
