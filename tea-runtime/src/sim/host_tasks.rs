//! The tasks of a program: polled where they stand, or answered by the test.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Poll, Waker},
};

use super::{
    answers::TaskOutcome,
    host::{Host, Local},
    host_config::HostStatus,
    locals::LocalId,
    trace::Kind,
    world::World,
};
use crate::{BoxFuture, Fault, Program, Task, cmd::TaskTagger};

/// The tasks of one life of a program.
pub(super) struct Tasks<P: Program> {
    by_key: BTreeMap<P::Key, u64>,
    by_id: BTreeMap<u64, Running<P>>,
    last_id: u64,
    live: usize,
}

struct Running<P: Program> {
    key: Option<P::Key>,
    tag: TaskTagger<P::Msg>,
    /// `None`: it never ends.
    result: Option<Result<Box<dyn Any + Send>, Fault>>,
    local: Option<LocalId>,
    /// It has a place in the lane.
    placed: bool,
}

impl<P: Program> Default for Tasks<P> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_id: BTreeMap::new(), last_id: 0, live: 0 }
    }
}

impl<P: Program> Tasks<P> {
    /// Tasks that have not been answered.
    pub(super) fn live(&self) -> usize {
        self.live
    }
}

impl<P: Program> Host<P> {
    /// Starts a task; one with the same key is cancelled first.
    pub(super) fn start_task(&mut self, task: Task<P>, world: &mut World) {
        if let Some(key) = task.key {
            self.cancel_task(key);
        }
        let refused = if self.life.status == HostStatus::Draining {
            Some(Fault::Closed)
        } else {
            (self.life.tasks.live >= self.config.config.tasks_max).then_some(Fault::Overload)
        };
        self.life.tasks.last_id += 1;
        let id = self.life.tasks.last_id;
        if let Some(key) = task.key {
            self.life.tasks.by_key.insert(key, id);
        }
        let Task { key, label, run, tag } = task;
        let running = |result, local, placed| Running { key, tag, result, local, placed };
        let running = if let Some(fault) = refused {
            self.life.counters.tasks_refused += 1;
            self.put_control(Local::TaskRefused(id), world);
            running(Some(Err(fault)), None, false)
        } else {
            self.life.counters.tasks_started += 1;
            self.life.tasks.live += 1;
            match self.outcome(label, run, world) {
                None => running(None, None, true),
                Some((after, result)) => {
                    let local = self.schedule(world.now + after, Local::TaskDone(id), world);
                    running(Some(result), Some(local), true)
                }
            }
        };
        self.life.tasks.by_id.insert(id, running);
    }

    /// Cancels the task of this name; it answers nothing.
    pub(super) fn cancel_task(&mut self, key: P::Key) {
        let tasks = &mut self.life.tasks;
        if let Some(id) = tasks.by_key.remove(&key)
            && let Some(running) = tasks.by_id.remove(&id)
        {
            tasks.live -= usize::from(running.placed);
            if let Some(local) = running.local {
                self.locals.remove(local);
            }
        }
    }

    /// A task has ended, or is told that it was refused.
    pub(super) fn finish_task(&mut self, id: u64, world: &mut World) {
        let tasks = &mut self.life.tasks;
        let Some(Running { key, tag, result: Some(result), placed, .. }) = tasks.by_id.remove(&id) else {
            return;
        };
        tasks.live -= usize::from(placed);
        if let Some(key) = key {
            tasks.by_key.remove(&key);
        }
        world.trace.event(world.now, self.node, Kind::Task);
        world.trace.name(&id);
        self.deliver(tag(result), world);
    }

    fn outcome(
        &mut self,
        label: &'static str,
        run: BoxFuture<Box<dyn Any + Send>>,
        world: &mut World,
    ) -> TaskOutcome {
        let outcome = match self.on_task.get_mut(label) {
            Some(handler) => handler(&mut world.rng),
            None => Some((world.rng.between(&self.config.task_time), run_to_end(label, run))),
        };
        if let Some((_, Err(Fault::Panicked(_)))) = &outcome {
            self.life.counters.tasks_panicked += 1;
        }
        outcome
    }
}

/// Polls a future that needs nothing from outside until it ends.
fn run_to_end(label: &str, mut future: BoxFuture<Box<dyn Any + Send>>) -> Result<Box<dyn Any + Send>, Fault> {
    let mut cx = std::task::Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx))) {
            Ok(Poll::Ready(value)) => return Ok(value),
            Ok(Poll::Pending) => {}
            Err(panic) => return Err(Fault::Panicked(text_of(panic.as_ref()))),
        }
    }
    panic!("the task {label:?} waits for something outside the simulation: answer it with Sim::on_task");
}

/// What a panic said.
pub(super) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no text)".to_owned())
}

/// Polls after which a future is taken to wait for something outside. 1,000: whoever only yields is done by then.
const POLLS_MAX: u32 = 1000;
