//! Signals to the process.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    Signal,
    bell::Bell,
    counters::{TaskCounters, count},
};

/// The signals of one subscription. Dropping it ends its task; the process goes on ignoring these signals.
pub(crate) struct Signals {
    pub(crate) arrivals: mpsc::Receiver<Signal>,
    _task: JoinSet<()>,
}

impl Signals {
    pub(crate) fn listen(bell: &Bell, counters: &Arc<TaskCounters>) -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (lane, arrivals) = mpsc::channel(WAITING_MAX);
        let (bell, counters) = (bell.clone(), Arc::clone(counters));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut interrupts = 0;
            loop {
                let arrived = tokio::select! {
                    Some(()) = interrupt.recv() => Signal::Interrupt,
                    Some(()) = terminate.recv() => Signal::Terminate,
                    Some(()) = hangup.recv() => Signal::Hangup,
                    else => return,
                };
                interrupts += u32::from(arrived == Signal::Interrupt);
                if interrupts == 2 {
                    tracing::warn!("interrupted a second time: ending at once");
                    std::process::exit(EXIT_CODE);
                }
                match lane.try_send(arrived) {
                    Ok(()) => bell.ring(),
                    Err(_) => count(&counters.signals_dropped),
                }
            }
        });
        Ok(Self { arrivals, _task: task })
    }
}

/// Signals that may wait: the kernel merges them too.
const WAITING_MAX: usize = 8;

/// What shells report for a process that an interrupt ended: 128 + SIGINT.
const EXIT_CODE: i32 = 130;
