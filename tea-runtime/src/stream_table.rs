//! The streams of a shard, by key and by number. Events carry the number, so those of a closed or replaced stream
//! find nobody, whatever has its key now.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    Close, CloseReason, Config, Incoming, Program, StreamEvent, StreamLimits,
    bell::Bell,
    incoming::Link,
    stream_control::StreamControl,
    sub::Tagger,
    tcp_stream::{Arrival, Origin, Shared, StreamTask},
};

/// The streams of one shard.
pub(crate) struct StreamTable<P: Program> {
    by_key: HashMap<P::Key, u64>,
    by_id: HashMap<u64, Entry<P>>,
    last_id: u64,
    live: Arc<AtomicUsize>,
    streams_max: usize,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    shared: Shared,
    tasks: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

struct Entry<P: Program> {
    key: P::Key,
    tag: Tagger<P::Key, StreamEvent, P::Msg>,
    write_queue_bytes_max: usize,
    /// `None`: refused or broken off; its `Closed` is on its way.
    control: Option<Arc<StreamControl>>,
}

/// A stream that ends without its task saying so: the loop delivers its `Closed` in the next turn.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: u64,
    pub(crate) reason: CloseReason,
}

impl<P: Program> StreamTable<P> {
    pub(crate) fn new(config: &Config, bell: &Bell) -> Self {
        let (lane, arrivals) = mpsc::channel(config.stream_events_max);
        let (stopping, is_stopping) = watch::channel(false);
        let scratch = Arc::new(Mutex::new(Vec::new()));
        Self {
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            last_id: 0,
            live: Arc::default(),
            streams_max: config.streams_max,
            arrivals,
            shared: Shared {
                lane,
                bell: bell.clone(),
                scratch,
                tasks: Arc::default(),
                stopping: is_stopping,
            },
            tasks: JoinSet::new(),
            stopping,
        }
    }

    /// Opens a stream. `Some`: it was refused.
    pub(crate) fn connect(
        &mut self,
        key: P::Key,
        to: SocketAddr,
        limits: StreamLimits,
        tag: Tagger<P::Key, StreamEvent, P::Msg>,
    ) -> Option<Ended> {
        self.start(key, limits, tag, Some(Origin::Connect(to)))
    }

    /// Takes an incoming connection. `Some`: it was refused.
    pub(crate) fn accept(
        &mut self,
        key: P::Key,
        incoming: Incoming,
        limits: StreamLimits,
        tag: Tagger<P::Key, StreamEvent, P::Msg>,
    ) -> Option<Ended> {
        let origin = match incoming.link {
            Link::Tcp(stream) => Some(Origin::Accepted(stream)),
            #[cfg(feature = "sim")]
            Link::Virtual(_) => None,
        };
        self.start(key, limits, tag, origin)
    }

    fn start(
        &mut self,
        key: P::Key,
        limits: StreamLimits,
        tag: Tagger<P::Key, StreamEvent, P::Msg>,
        origin: Option<Origin>,
    ) -> Option<Ended> {
        self.close(key, Close::Reset);
        self.reap();
        self.last_id += 1;
        let id = self.last_id;
        let refused = if *self.stopping.borrow() {
            Some(CloseReason::Stopping)
        } else if self.live() >= self.streams_max {
            Some(CloseReason::Overload)
        } else if origin.is_none() {
            // A connection of the simulator has strayed into the real world.
            Some(CloseReason::Io(io::ErrorKind::Unsupported))
        } else {
            None
        };
        let write_queue_bytes_max = limits.write_queue_bytes_max;
        let control = match origin {
            Some(origin) if refused.is_none() => {
                let control = Arc::new(StreamControl::new(&self.live));
                let task = StreamTask::new(id, limits, Arc::clone(&control), self.shared.clone());
                self.tasks.spawn(task.run(origin));
                Some(control)
            }
            _ => None,
        };
        self.by_key.insert(key, id);
        self.by_id.insert(id, Entry { key, tag, write_queue_bytes_max, control });
        refused.map(|reason| Ended { id, reason })
    }

    /// Queues bytes on a stream.
    ///
    /// # Errors
    /// `Err(None)`: there is no such stream. `Err(Some)`: too much is waiting, the stream was broken off.
    pub(crate) fn write(&mut self, key: P::Key, bytes: &[u8]) -> Result<(), Option<Ended>> {
        let Some(id) = self.by_key.get(&key) else { return Err(None) };
        let Some(entry) = self.by_id.get_mut(id) else { return Err(None) };
        let Some(control) = &entry.control else { return Err(None) };
        if control.write(bytes, entry.write_queue_bytes_max) {
            return Ok(());
        }
        control.close(Close::Reset);
        entry.control = None;
        Err(Some(Ended { id: *id, reason: CloseReason::TooMuchQueued }))
    }

    /// Ends a stream; nothing more comes from it.
    pub(crate) fn close(&mut self, key: P::Key, how: Close) {
        if let Some(id) = self.by_key.remove(&key)
            && let Some(entry) = self.by_id.remove(&id)
            && let Some(control) = entry.control
        {
            control.close(how);
        }
    }

    /// The message for an event, unless its stream was closed or replaced.
    pub(crate) fn tag(&mut self, (id, event): Arrival) -> Option<P::Msg> {
        let entry = self.by_id.get(&id)?;
        // Broken off by the loop: all that still comes is the loop's own `Closed`.
        entry.control.as_ref()?;
        if let StreamEvent::Closed(_) = event {
            self.reap();
            return self.end(id, event);
        }
        Some(entry.tag.call(entry.key, event))
    }

    /// The message for a stream that the loop itself refused or broke off, unless it was closed or replaced since.
    pub(crate) fn tag_ended(&mut self, ended: Ended) -> Option<P::Msg> {
        self.end(ended.id, StreamEvent::Closed(ended.reason))
    }

    fn end(&mut self, id: u64, event: StreamEvent) -> Option<P::Msg> {
        let entry = self.by_id.remove(&id)?;
        self.by_key.remove(&entry.key);
        Some(entry.tag.call(entry.key, event))
    }

    /// Refuses new streams from now on and lets the others send what is queued. Returns what to tell the program.
    pub(crate) fn stop(&mut self) -> Vec<Ended> {
        self.stopping.send_replace(true);
        let mut ended = Vec::new();
        for (id, entry) in &mut self.by_id {
            if let Some(control) = entry.control.take() {
                control.close(Close::Flush);
                ended.push(Ended { id: *id, reason: CloseReason::Stopping });
            }
        }
        ended.sort_by_key(|ended| ended.id);
        ended
    }

    /// Aborts what is left.
    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Streams that exist, including those that the program has closed and that still flush.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Streams whose task has not ended: those, and those that were reset a moment ago.
    pub(crate) fn running(&self) -> usize {
        self.shared.tasks.load(Ordering::Relaxed)
    }

    pub(crate) fn streams_max(&self) -> usize {
        self.streams_max
    }

    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }
}
