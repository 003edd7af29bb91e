//! Runs a program: builds its shard, takes turns while there is something to do, and stops in phases.

use std::{io, pin::pin};

use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::{
    Config, Manager, NoManager, NoObserver, Observer, Program, StopReport,
    clock::{instant, later},
    shard::{Shard, Stage, World},
};

/// What a program runs on: bounds, a manager for its effects, an observer.
///
/// One shard runs, on the thread that [`run`](Self::run) is polled on; [`Config::io_threads`] receive and send for it.
#[derive(Clone, Debug, Default)]
pub struct Runtime<M = NoManager, O = NoObserver> {
    config: Config,
    manager: M,
    observer: O,
}

/// Why a program could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A bound of the [`Config`] is zero, so nothing could ever pass: raise it.
    #[error("the runtime's {setting} is 0: nothing could pass; set it to 1 or more")]
    ZeroBound {
        /// The field of [`Config`].
        setting: &'static str,
    },
    /// The operating system gives no event queue, usually for lack of file descriptors.
    #[error("cannot start the event loop: {0}")]
    EventLoop(#[from] io::Error),
}

impl Runtime {
    /// A runtime without manager and observer.
    pub fn new(config: Config) -> Self {
        Self { config, manager: NoManager, observer: NoObserver }
    }
}

impl<M, O> Runtime<M, O> {
    /// Has `manager` perform the program's own effects.
    pub fn manager<N>(self, manager: N) -> Runtime<N, O> {
        Runtime { config: self.config, manager, observer: self.observer }
    }

    /// Has `observer` look at each turn.
    pub fn observer<N: Observer>(self, observer: N) -> Runtime<M, N> {
        Runtime { config: self.config, manager: self.manager, observer }
    }
}

impl<M, O: Observer> Runtime<M, O> {
    /// Runs a program until it quits and returns its last model. Needs a tokio runtime with I/O and time, best a
    /// current-thread one: sockets and model then share a thread and nothing is handed between cores.
    ///
    /// After [`Cmd::quit`](crate::Cmd::quit) the readers of ports, listeners, timers and intervals end at once, and open streams
    /// with [`CloseReason::Stopping`](crate::CloseReason::Stopping); running tasks, accepted effects and queued stream bytes
    /// have [`Config::grace`] to finish and their results still come to `update`; new tasks, effects and streams are refused.
    /// Then the manager closes. What never ends by itself, cancel before quitting.
    ///
    /// # Errors
    /// A bound of the configuration is zero.
    ///
    /// # Panics
    /// When the program panics. The model is then in an unknown state, so the panic is passed on, after a log
    /// line that says in which turn it happened; tasks, ports and streams are dropped on the way.
    /// Also when two subscriptions share a key, and, with [`Config::check_subscriptions`], when they change unasked.
    pub async fn run<P: Program>(self, flags: P::Flags) -> Result<P, RunError>
    where
        M: Manager<P>,
    {
        let Self { config, manager, mut observer } = self;
        if let Some(setting) = config.first_zero() {
            return Err(RunError::ZeroBound { setting });
        }
        let mut shard = Shard::<P, M>::start(config, manager, flags, World::Real, O::ACTIVE);
        // What `init` asked for, before anything can arrive.
        shard.flush();
        let mut sleep = pin!(sleep_until(instant()));
        while shard.stage == Stage::Running {
            if shard.take_turn(&mut observer) {
                tokio::task::yield_now().await;
            } else if shard.stage == Stage::Running {
                shard.wait(sleep.as_mut()).await;
            }
        }
        let stopped = shard.stop(&mut observer).await;
        observer.stopped(&stopped);
        Ok(shard.machine.model)
    }

    /// As [`run`](Self::run), on a current-thread tokio runtime of its own. Blocks until the program has quit.
    ///
    /// # Errors
    /// A bound of the configuration is zero, or there is no event queue to be had.
    ///
    /// # Panics
    /// As [`run`](Self::run), and inside another tokio runtime.
    pub fn run_blocking<P: Program>(self, flags: P::Flags) -> Result<P, RunError>
    where
        M: Manager<P>,
    {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        event_loop.block_on(self.run(flags))
    }
}

impl<P: Program, M: Manager<P>> Shard<P, M> {
    /// Takes a turn and shows it to the observer. Returns whether the next should follow at once.
    fn take_turn<O: Observer>(&mut self, observer: &mut O) -> bool {
        let turn = self.turn(self.clock.now(), O::ACTIVE);
        if O::ACTIVE {
            observer.turn(&self.report(&turn));
            self.machine.sample = None;
        }
        turn.more
    }

    /// Waits until something arrives or a timer is due.
    async fn wait(&self, mut sleep: std::pin::Pin<&mut Sleep>) {
        let Some(wake) = self.wheel.next_wake() else { return self.bell.rung().await };
        // Moved only if it would ring too late: moving costs more than a turn for nothing.
        let wake = self.clock.instant_of(wake);
        if sleep.is_elapsed() || wake < sleep.deadline() {
            sleep.as_mut().reset(wake);
        }
        tokio::select! {
            biased;
            () = self.bell.rung() => {}
            () = sleep => {}
        }
    }

    /// Finishes what was accepted, then closes the manager, each within the grace period; then drops the rest.
    async fn stop<O: Observer>(&mut self, observer: &mut O) -> StopReport {
        self.drain();
        let begin = instant();
        let deadline = later(begin, self.config.grace);
        while self.unfinished() > 0 && self.drain_step(observer, deadline).await {}
        let drained_in = instant() - begin;
        let abandoned = self.unfinished();
        if abandoned > 0 {
            tracing::warn!(abandoned, ?drained_in, "the grace period is over, work is abandoned");
        }
        let deadline = later(instant(), self.config.grace);
        let manager_closed = timeout_at(deadline, self.manager.close()).await.is_ok();
        if !manager_closed {
            tracing::warn!("the manager did not close within the grace period");
        }
        self.tasks.abort().await;
        self.streams.abort().await;
        // What ports did while they closed.
        self.task_counters.drain_into(&mut self.machine.counters);
        let counters = self.machine.counters.clone();
        StopReport { drained_in, abandoned, manager_closed, counters }
    }

    /// One turn of draining. Returns false when the grace period is over.
    async fn drain_step<O: Observer>(&mut self, observer: &mut O, deadline: Instant) -> bool {
        if self.take_turn(observer) {
            tokio::task::yield_now().await;
            return instant() < deadline;
        }
        self.unfinished() == 0 || timeout_at(deadline, self.bell.rung()).await.is_ok()
    }
}
