//! How a test answers what a program hands out: its effects, and tasks that need the outside.

use std::{any::Any, time::Duration};

use super::rng::SimRng;
use crate::{Fault, Time};

/// What the handler of an effect may do about it.
///
/// It answers at most once. A handler that returns without an answer gives the effect's place in the lane back and the
/// program hears nothing; one that calls [`hold`](Self::hold) keeps the place, like a database that hangs.
pub struct EffectCx<'a, Msg> {
    pub(super) now: Time,
    pub(super) rng: &'a mut SimRng,
    pub(super) held: HeldEffect,
    pub(super) answer: EffectAnswer<Msg>,
}

/// What a handler decided.
pub(super) enum EffectAnswer<Msg> {
    Nothing,
    Hold,
    After(Duration, Msg),
}

/// An effect whose answer is still to come, or never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldEffect(pub(super) u64);

impl<Msg> EffectCx<'_, Msg> {
    /// The time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The world's randomness.
    pub const fn rng(&mut self) -> &mut SimRng {
        self.rng
    }

    /// Answers at once: the program gets `msg` as its next event.
    pub fn answer(&mut self, msg: Msg) {
        self.answer_after(Duration::ZERO, msg);
    }

    /// Answers after some time.
    ///
    /// # Panics
    /// The effect has been answered or held already.
    pub fn answer_after(&mut self, delay: Duration, msg: Msg) {
        self.decide(EffectAnswer::After(delay, msg));
    }

    /// Leaves the effect unanswered until [`Sim::answer`](super::Sim::answer); for ever, if that is never called.
    ///
    /// # Panics
    /// The effect has been answered or held already.
    pub fn hold(&mut self) -> HeldEffect {
        self.decide(EffectAnswer::Hold);
        self.held
    }

    fn decide(&mut self, answer: EffectAnswer<Msg>) {
        assert!(matches!(self.answer, EffectAnswer::Nothing), "an effect is answered or held once");
        self.answer = answer;
    }
}

/// How a test answers a task in place of its future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskAnswer<T> {
    /// The task returned this, after some time.
    Done(Duration, T),
    /// It failed so, after some time.
    Failed(Duration, Fault),
    /// It never ends, unless it is cancelled.
    Never,
}

/// A task's answer without its type: when it comes, if ever, and what.
pub(super) type TaskOutcome = Option<(Duration, Result<Box<dyn Any + Send>, Fault>)>;

impl<T: Send + 'static> TaskAnswer<T> {
    pub(super) fn erase(self) -> TaskOutcome {
        match self {
            Self::Done(after, value) => Some((after, Ok(Box::new(value)))),
            Self::Failed(after, fault) => Some((after, Err(fault))),
            Self::Never => None,
        }
    }
}
