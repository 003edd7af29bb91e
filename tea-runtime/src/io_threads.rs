//! Threads that receive and send for the UDP ports of a shard, so that its own thread is left to the program.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use tokio::{runtime::Handle, sync::oneshot};

/// The threads. Each is started when the first port is seated there, and ends with this, which waits for it.
#[derive(Debug)]
pub(crate) struct IoThreads {
    threads: Vec<Option<IoThread>>,
}

#[derive(Debug)]
struct IoThread {
    handle: Handle,
    /// A clone for each seat.
    seats: Arc<()>,
    /// The thread ends when this is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A port's place on a thread; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) handle: Handle,
    _taken: Arc<()>,
}

impl IoThreads {
    pub(crate) fn new(count: usize) -> Self {
        Self { threads: (0..count).map(|_| None).collect() }
    }

    /// A place on the thread that has the fewest ports, the first of them if there are several: so ports are spread round and
    /// round, and one that is bound anew finds its place again. `None`: there are to be no such threads.
    ///
    /// A thread that has ended, which only a panic in the event loop can cause, is replaced.
    pub(crate) fn seat(&mut self) -> io::Result<Option<Seat>> {
        let Some((index, slot)) = self
            .threads
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, thread)| thread.as_ref().map_or(0, IoThread::ports))
        else {
            return Ok(None);
        };
        if slot.as_ref().is_some_and(|thread| !thread.runs()) {
            tracing::error!(index, "a thread for UDP ports had ended: starting another");
            *slot = None;
        }
        let thread = match slot {
            Some(thread) => thread,
            empty => empty.insert(IoThread::start(index)?),
        };
        Ok(Some(Seat { handle: thread.handle.clone(), _taken: Arc::clone(&thread.seats) }))
    }
}

impl IoThread {
    fn start(index: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("udp-io-{index}")).spawn(move || {
            let event_loop = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
                Ok(event_loop) => event_loop,
                Err(error) => return drop(tell.send(Err(error))),
            };
            drop(tell.send(Ok(event_loop.handle().clone())));
            // Until the owner drops the other end.
            let _: Result<(), _> = event_loop.block_on(stopped);
        })?;
        let ended = || Err(io::Error::other("the thread ended before it began"));
        let handle = told.recv().unwrap_or_else(|_| ended())?;
        Ok(Self { handle, seats: Arc::default(), stop: Some(stop), thread: Some(thread) })
    }

    fn ports(&self) -> usize {
        Arc::strong_count(&self.seats) - 1
    }

    fn runs(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was told when it happened.
            let _: thread::Result<()> = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Cmd, Config, Context, Fault, Never, NoManager, Program, Sub, SubEvent, UdpPort,
        shard::{Shard, World},
    };

    impl IoThread {
        /// As if the event loop had panicked.
        fn end(&mut self) {
            drop(self.stop.take());
            while self.runs() {
                thread::yield_now();
            }
        }
    }

    /// Two ports, and what became of them.
    struct Ports {
        events: Vec<SubEvent<u8>>,
    }

    impl Program for Ports {
        type Flags = ();
        type Msg = SubEvent<u8>;
        type Key = u8;
        type Effect = Never;

        fn init((): (), _: &Context, _: &mut Cmd<Self>) -> Self {
            Self { events: Vec::new() }
        }

        fn update(&mut self, event: SubEvent<u8>, _: &Context, _: &mut Cmd<Self>) {
            self.events.push(event);
        }

        fn subscriptions(&self, sub: &mut Sub<Self>) {
            for key in [1, 2] {
                let port = UdpPort::new(([127, 0, 0, 1], 0).into());
                sub.udp(key, port, |_, datagram| panic!("nobody sends {datagram:?}"));
            }
            sub.events(3, |_, event| event);
        }
    }

    /// Takes turns until `count` events were told.
    async fn events(shard: &mut Shard<Ports, NoManager>, count: usize) -> &[SubEvent<u8>] {
        for _ in 0..10_000 {
            shard.turn(shard.clock.now(), false);
            if shard.machine.model.events.len() >= count {
                break;
            }
            // Nothing rings for a timer.
            let _ = tokio::time::timeout(Duration::from_millis(1), shard.bell.rung()).await;
        }
        &shard.machine.model.events
    }

    #[tokio::test]
    async fn the_end_of_a_thread_is_a_fault_of_each_of_its_ports_and_they_are_bound_anew() {
        let config = Config { io_threads: 1, retry_delay_min: Duration::from_millis(1), ..Config::default() };
        let mut shard = Shard::<Ports, _>::start(config, NoManager, (), World::Real, false);
        let ready = |event: &SubEvent<u8>| matches!(event, SubEvent::Ready { .. });
        assert!(matches!(events(&mut shard, 2).await, [a, b] if ready(a) && ready(b)));
        shard.io_threads.threads[0].as_mut().expect("started").end();
        let told = &events(&mut shard, 6).await[2..];
        let mut failed: Vec<_> = told
            .iter()
            .filter_map(|event| match event {
                SubEvent::Failed { key, fault: Fault::Io(io::ErrorKind::BrokenPipe, _), failures: 1 } => {
                    Some(*key)
                }
                _ => None,
            })
            .collect();
        failed.sort_unstable();
        assert_eq!(failed, [1, 2], "{told:?}");
        assert_eq!(told.iter().filter(|event| ready(event)).count(), 2, "{told:?}");
        assert_eq!(shard.machine.counters.subscription_failures, 2);
    }

    fn name(seat: &Seat) -> String {
        let (tell, told) = mpsc::sync_channel(1);
        seat.handle.spawn(async move { tell.send(thread::current().name().map(str::to_owned)).unwrap() });
        told.recv().unwrap().expect("a name")
    }

    #[test]
    fn without_threads_there_is_no_seat() {
        assert!(IoThreads::new(0).seat().unwrap().is_none());
    }

    #[test]
    fn ports_are_spread_evenly_and_one_that_is_bound_anew_fills_the_gap() {
        let mut threads = IoThreads::new(2);
        let mut seats: Vec<_> = (0..4).map(|_| threads.seat().unwrap().expect("a seat")).collect();
        assert_eq!(
            seats.iter().map(name).collect::<Vec<_>>(),
            ["udp-io-0", "udp-io-1", "udp-io-0", "udp-io-1"]
        );
        seats.remove(1);
        assert_eq!(name(&threads.seat().unwrap().expect("a seat")), "udp-io-1");
    }

    #[test]
    fn no_more_threads_are_started_than_there_are_ports() {
        let mut threads = IoThreads::new(8);
        let _seats: Vec<_> = (0..3).map(|_| threads.seat().unwrap().expect("a seat")).collect();
        assert_eq!(threads.threads.iter().flatten().count(), 3);
    }

    #[test]
    fn a_thread_that_has_ended_is_replaced() {
        let mut threads = IoThreads::new(1);
        let seat = threads.seat().unwrap().expect("a seat");
        let thread = threads.threads[0].as_mut().expect("started");
        thread.end();
        // What is spawned there ends at once: whoever waits for it is told.
        let (tell, told) = mpsc::sync_channel::<()>(1);
        seat.handle.spawn(async move { tell.send(()).unwrap() });
        told.recv().unwrap_err();
        assert_eq!(name(&threads.seat().unwrap().expect("a seat")), "udp-io-0");
    }

    #[test]
    fn threads_end_before_their_owner_is_gone() {
        let mut threads = IoThreads::new(1);
        let seat = threads.seat().unwrap().expect("a seat");
        let (tell, told) = mpsc::sync_channel::<()>(0);
        seat.handle.spawn(async move {
            std::future::pending::<()>().await;
            drop(tell);
        });
        drop(threads);
        assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
