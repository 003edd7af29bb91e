//! Effect managers interpret a program's own effects for the real world.

use crate::{BoxFuture, Program};

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
    pub(crate) slot: tokio::sync::mpsc::OwnedPermit<Msg>,
}

impl<Msg> Reply<Msg> {
    /// Delivers the answer to the program.
    pub fn send(self, msg: Msg) {
        self.slot.send(msg);
    }
}
