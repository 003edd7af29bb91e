//! The running tasks of a shard: bounded, cancellable by key, their panics caught.

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{
    BoxFuture, Config, Fault, Program, Reply, Task,
    bell::Bell,
    cmd::TaskTagger,
    counters::{TaskCounters, count},
};

/// What a task returned, and its number.
pub(crate) type Finished = (u64, Result<Box<dyn Any + Send>, Fault>);

/// The tasks of one shard.
pub(crate) struct TaskTable<P: Program> {
    by_key: HashMap<P::Key, u64>,
    by_id: HashMap<u64, Running<P>>,
    last_id: u64,
    /// Tasks that run or whose result waits, without those that were cancelled.
    live: usize,
    tasks_max: usize,
    lane: mpsc::Sender<Finished>,
    pub(crate) finished: mpsc::Receiver<Finished>,
    bell: Bell,
    counters: Arc<TaskCounters>,
    tasks: JoinSet<()>,
    stopping: bool,
}

struct Running<P: Program> {
    key: Option<P::Key>,
    tag: TaskTagger<P::Msg>,
    /// `None`: refused.
    abort: Option<AbortHandle>,
}

/// A task that was not started: the loop tells the program in the next turn.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: u64,
    pub(crate) fault: Fault,
}

impl<P: Program> TaskTable<P> {
    pub(crate) fn new(config: &Config, bell: &Bell, counters: &Arc<TaskCounters>) -> Self {
        // Twice as many slots as places: a cancelled task keeps its slot until it has been dropped.
        let (lane, finished) = mpsc::channel(config.tasks_max.saturating_mul(2));
        Self {
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            last_id: 0,
            live: 0,
            tasks_max: config.tasks_max,
            lane,
            finished,
            bell: bell.clone(),
            counters: Arc::clone(counters),
            tasks: JoinSet::new(),
            stopping: false,
        }
    }

    /// Starts a task; one with the same key is cancelled first.
    ///
    /// The slot for its result is reserved now: a finished task never waits.
    pub(crate) fn start(&mut self, task: Task<P>) -> Result<(), Refused> {
        if let Some(key) = task.key {
            self.cancel(key);
        }
        while self.tasks.try_join_next().is_some() {}
        self.last_id += 1;
        let id = self.last_id;
        let slot = match self.lane.clone().try_reserve_owned() {
            _ if self.stopping => Err(Fault::Closed),
            Ok(slot) if self.live < self.tasks_max => Ok(Reply::new(slot, self.bell.clone())),
            _ => Err(Fault::Overload),
        };
        let (abort, refused) = match slot {
            Ok(slot) => {
                self.live += 1;
                let counters = Arc::clone(&self.counters);
                let abort = self.tasks.spawn(run(id, task.label, task.run, slot, counters));
                (Some(abort), Ok(()))
            }
            Err(fault) => (None, Err(Refused { id, fault })),
        };
        if let Some(key) = task.key {
            self.by_key.insert(key, id);
        }
        self.by_id.insert(id, Running { key: task.key, tag: task.tag, abort });
        refused
    }

    /// Cancels the task of this name; it answers nothing.
    pub(crate) fn cancel(&mut self, key: P::Key) {
        if let Some(id) = self.by_key.remove(&key)
            && let Some(Running { abort: Some(abort), .. }) = self.by_id.remove(&id)
        {
            self.live -= 1;
            abort.abort();
        }
    }

    /// The message for a result, unless the task was cancelled or replaced.
    pub(crate) fn tag(&mut self, (id, result): Finished) -> Option<P::Msg> {
        let Running { key, tag, abort } = self.by_id.remove(&id)?;
        self.live -= usize::from(abort.is_some());
        if let Some(key) = key {
            self.by_key.remove(&key);
        }
        Some(tag(result))
    }

    /// Refuses new tasks from now on.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Aborts what is left.
    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Tasks that run or whose result waits.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn tasks_max(&self) -> usize {
        self.tasks_max
    }
}

async fn run(
    id: u64,
    label: &'static str,
    future: BoxFuture<Box<dyn Any + Send>>,
    slot: Reply<Finished>,
    counters: Arc<TaskCounters>,
) {
    let result = catch_panic(future).await.map_err(|said| {
        count(&counters.tasks_panicked);
        tracing::error!(label, said, "a task panicked");
        Fault::Panicked(said)
    });
    slot.send((id, result));
}

/// Runs a future; if it panics, returns what it said. What the future owned is dropped and never looked at again, so
/// nothing can be seen in a broken state.
pub(crate) async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(text_of(panic.as_ref()))),
    })
    .await
}

pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no text)".to_owned())
}
