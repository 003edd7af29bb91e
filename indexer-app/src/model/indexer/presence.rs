//! How we stand in the network: external addresses and the ids that follow them, ports that can be reached, nodes that move.

use std::net::{IpAddr, SocketAddr};

use mainline::{PortIndex, Reachability, bogon::is_ignored_by_libtorrent};
use tea_runtime::{Cmd, Context};

use super::Indexer;
use crate::{
    db::{RunAddress, SaveIdentity},
    model::{
        identity,
        message::{Answer, Key, Msg},
        storage::effect,
    },
};

impl Indexer {
    /// Says, once for each address, when libtorrent ignores it: of those known at the start, and of those that others tell.
    pub(super) fn warn_of_ignored_addresses(&mut self) {
        let known: Vec<IpAddr> = self.dht.external_addresses().filter_map(|(_, external)| external).collect();
        for address in known {
            if is_ignored(address) && self.warned.insert(address) {
                tracing::warn!(
                    %address,
                    "libtorrent clients ignore nodes in this range of addresses, and most nodes that give samples are among \
                     them: expect to find little from here"
                );
            }
        }
    }

    /// Other nodes agree on our address: the ids of the nodes there follow it at once (BEP 42), and the next start begins
    /// with them.
    pub(super) fn external_address(
        &mut self,
        local: IpAddr,
        external: IpAddr,
        cx: &Context,
        cmd: &mut Cmd<Self>,
    ) {
        let now = cx.now.since_start();
        let mut moved = 0_usize;
        for (index, id) in self.ids.follow(now, local, external) {
            moved += usize::from(self.dht.move_node(now, index, id));
        }
        tracing::info!(%local, address = %external, nodes_moved = moved, "other nodes see us at this address");
        self.warn_of_ignored_addresses();
        self.keep(identity::external_address(local, external), cmd);
    }

    /// Something else is thought of a port.
    pub(super) fn reachability(&self, port: PortIndex, state: Reachability) {
        let address = self.ports.get(usize::from(port.0)).map_or_else(String::new, SocketAddr::to_string);
        match state {
            Reachability::Reachable => tracing::info!(%address, "this UDP port can be reached from outside"),
            Reachability::Unreachable => tracing::warn!(
                %address,
                "this UDP port cannot be reached from outside: its nodes say so (BEP 43) and answer nothing; \
                 forward it in the router, or let it through the firewall, to take part in full"
            ),
            Reachability::Unknown => {
                tracing::info!(%address, "trying again whether this UDP port can be reached from outside");
            }
        }
    }

    /// One of the virtual nodes moves, if some are to move at all, and the next one in its time.
    pub(super) fn move_a_node(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        if let Some((index, id)) = self.ids.move_next(now)
            && self.dht.move_node(now, index, id)
        {
            tracing::info!(node = index, %id, "a virtual node has moved to another id");
            self.keep(identity::moves(self.ids.moves()), cmd);
        }
        self.move_later(cx, cmd);
    }

    /// Sets the time for the next virtual node to move.
    pub(super) fn move_later(&self, cx: &Context, cmd: &mut Cmd<Self>) {
        if let Some(pause) = self.plan.move_nodes {
            cmd.after(Key::MoveNode, pause, Msg::MoveNode, cx);
        }
    }

    /// Where each local address stands, for the report of the run.
    pub(super) fn addresses(&self) -> Vec<RunAddress> {
        let of = |local: IpAddr| {
            let ports = (0..).map(PortIndex).zip(&self.ports).filter(move |(_, port)| port.ip() == local);
            ports.map(|(port, _)| port)
        };
        let addresses = self.dht.external_addresses().map(|(local, external)| {
            let count = |ports: usize| u32::try_from(ports).unwrap_or(u32::MAX);
            let reachable = |port: &PortIndex| self.dht.reachability(*port).0 == Reachability::Reachable;
            RunAddress {
                local,
                external,
                ignored: external.is_some_and(is_ignored),
                ports: count(of(local).count()),
                reachable: count(of(local).filter(reachable).count()),
                read_only: count(of(local).filter(|port| self.dht.is_read_only(*port)).count()),
                strangers: of(local).map(|port| self.dht.reachability(port).1).sum(),
            }
        });
        addresses.collect()
    }

    fn keep(&self, values: std::collections::BTreeMap<String, Vec<u8>>, cmd: &mut Cmd<Self>) {
        if self.wanted.is_some() {
            // Who is here for minutes has the identity of whoever stays.
            return;
        }
        let save = SaveIdentity { indexer: self.plan.owner.clone(), values };
        cmd.perform(effect(save, Answer::IdentitySaved));
    }
}

fn is_ignored(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(v4) if is_ignored_by_libtorrent(v4))
}
