//! Effect managers interpret a program's own effects for the real world.

use tokio::sync::mpsc::OwnedPermit;

use crate::{BoxFuture, Program, bell::Bell};

/// Interprets `P::Effect`: a database pool, a resolver, a screen. One per runtime, given at start.
pub trait Manager<P: Program>: 'static {
    /// Takes one effect. Must not block: what takes time runs in a task that the manager owns.
    fn perform(&mut self, effect: P::Effect, reply: Reply<P::Msg>);

    /// Called once when the program stops; the runtime waits for it up to the grace period.
    fn close(&mut self) -> BoxFuture<()> {
        Box::pin(async {})
    }
}

/// The manager of programs without effects of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoManager;

impl<P: Program<Effect = crate::Never>> Manager<P> for NoManager {
    fn perform(&mut self, effect: crate::Never, _: Reply<P::Msg>) {
        match effect {}
    }
}

/// Where the answer to one effect goes. Its slot was reserved when the effect was accepted, so sending neither
/// waits nor fails; dropping it without an answer frees the slot.
pub struct Reply<Msg> {
    /// Taken when the answer is sent.
    slot: Option<OwnedPermit<Msg>>,
    bell: Bell,
}

impl<Msg> Reply<Msg> {
    pub(crate) fn new(slot: OwnedPermit<Msg>, bell: Bell) -> Self {
        Self { slot: Some(slot), bell }
    }

    /// Delivers the answer to the program.
    pub fn send(mut self, msg: Msg) {
        if let Some(slot) = self.slot.take() {
            slot.send(msg);
        }
    }
}

impl<Msg> Drop for Reply<Msg> {
    /// Rings in either case: a program that is stopping waits for the free slot too.
    fn drop(&mut self) {
        self.slot = None;
        self.bell.ring();
    }
}
