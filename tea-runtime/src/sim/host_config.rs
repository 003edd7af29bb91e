//! What a host with a program is.

use std::{net::IpAddr, ops::Range, time::Duration};

use super::nat::NatId;
use crate::{Config, Signal, Time};

/// A machine for one program.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its addresses. A program that binds `0.0.0.0` or `[::]` has all of the family and sends from the first.
    pub ips: Vec<IpAddr>,
    /// The translator that it is behind; its addresses are then private to that.
    pub nat: Option<NatId>,
    /// The bounds of its runtime. Those of the kernel's and the readers' lanes have no effect here, because each event is
    /// a turn of its own and nothing waits; nor has `check_subscriptions`, which is always on.
    pub config: Config,
    /// How long a task takes, in virtual time, that no handler answers.
    pub task_time: Range<Duration>,
}

impl HostConfig {
    /// A host with one public address.
    pub fn new(ip: impl Into<IpAddr>) -> Self {
        Self {
            ips: vec![ip.into()],
            nat: None,
            config: Config::default(),
            task_time: Duration::from_millis(1)..Duration::from_millis(5),
        }
    }

    /// The same host with one more address.
    #[must_use]
    pub fn with_ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.ips.push(ip.into());
        self
    }

    /// The same host behind a translator.
    #[must_use]
    pub const fn behind(mut self, nat: NatId) -> Self {
        self.nat = Some(nat);
        self
    }

    /// The same host with other bounds.
    #[must_use]
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }
}

/// What became of a host's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStatus {
    /// It runs.
    Running,
    /// It has called [`Cmd::quit`](crate::Cmd::quit); what was accepted is being finished.
    Draining,
    /// It quit and all is finished, or the grace period is over.
    Quit {
        /// When it had stopped.
        at: Time,
        /// What was not finished within the grace period.
        abandoned: usize,
    },
    /// A signal ended it.
    Killed {
        /// When.
        at: Time,
        /// `None`: [`Sim::kill`](super::Sim::kill), which no program can handle.
        by: Option<Signal>,
    },
    /// Its machine crashed.
    Crashed {
        /// When.
        at: Time,
    },
}
