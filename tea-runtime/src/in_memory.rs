//! A program without a network around it: the same turn, fed by hand. For benchmarks and for tests of the hot path.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    Config, Counters, Never, NoManager, Program, Time,
    datagram::Batch,
    shard::{Shard, World},
    udp::{Arrival, Outlet},
};

/// Runs the turns of a program whose UDP ports have no sockets. Everything between a reader's lane and the system call that
/// sends is the code that [`Runtime`](crate::Runtime) runs, so the time of [`turn`](Self::turn) less the time of the
/// program's own work is the runtime's overhead.
///
/// Timers, intervals and messages to the own shard work, at the times given to `turn`. What needs a network or another task
/// (listeners, signals, streams, tasks) needs a tokio runtime to be entered and is better tested with the simulator.
pub struct InMemory<P: Program> {
    shard: Shard<P, NoManager>,
}

/// Datagrams as a reader would hand them over, to be delivered as often as wanted.
#[derive(Clone)]
pub struct PreparedBatch(Arc<Batch>);

impl PreparedBatch {
    /// Datagrams in a batch at most.
    pub const DATAGRAMS_MAX: usize = Batch::DATAGRAMS_MAX;

    /// Packs the first [`DATAGRAMS_MAX`](Self::DATAGRAMS_MAX) datagrams, each with its sender.
    pub fn new<'a>(datagrams: impl IntoIterator<Item = (SocketAddr, &'a [u8])>) -> Self {
        let mut batch = Batch::default();
        for (from, payload) in datagrams.into_iter().take(Self::DATAGRAMS_MAX) {
            batch.push(from, payload);
        }
        Self(Arc::new(batch))
    }

    /// Datagrams in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<P: Program<Effect = Never>> InMemory<P> {
    /// Starts a program.
    pub fn new(config: Config, flags: P::Flags) -> Self {
        let mut shard = Shard::start(config, NoManager, flags, World::Memory, false);
        shard.flush();
        Self { shard }
    }

    /// Puts a batch into the lane of a port. `false`: there is no such port, or its lane is full.
    pub fn deliver(&mut self, port: P::Key, batch: &PreparedBatch) -> bool {
        match self.shard.ports.get(&port).map(|port| &port.outlet) {
            Some(Outlet::Memory { lane }) => lane.try_send(Arrival::Batch(Arc::clone(&batch.0))).is_ok(),
            _ => false,
        }
    }

    /// Takes one turn and returns how many messages it handled.
    pub fn turn(&mut self, now: Time) -> u32 {
        self.shard.turn(now, false);
        self.shard.machine.handled
    }

    /// The model.
    pub fn model(&self) -> &P {
        &self.shard.machine.model
    }

    /// What was done so far; what was sent, for instance.
    pub fn counters(&self) -> &Counters {
        &self.shard.machine.counters
    }
}
