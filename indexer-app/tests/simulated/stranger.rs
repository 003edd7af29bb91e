//! Nodes that the indexer has never spoken to, and that ask it all the same.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use krpc::{Kind, Message, Method, NodeId, Want, encode};
use tea_runtime::sim::{Out, Responder};

use super::{PORT, Population};

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(60);

pub struct Stranger {
    number: u8,
    after: Duration,
    population: Rc<Population>,
}

impl Stranger {
    /// One that begins to ask `after` some time.
    pub fn new(number: u8, after: Duration, population: Rc<Population>) -> Self {
        Self { number, after, population }
    }
}

impl Responder for Stranger {
    fn start(&mut self, out: &mut Out<'_>) {
        out.wake_after(self.after, 0);
    }

    fn wake(&mut self, _: u64, out: &mut Out<'_>) {
        let own = SocketAddr::from(([70, 0, self.number, 1], PORT));
        // Whoever has one of the indexer's nodes in its table tells it to others.
        let endpoints = self.population.sight.borrow().endpoints.clone();
        let id = NodeId::from_bytes([self.number; 20]);
        for endpoint in endpoints {
            let method = Method::FindNode { target: id };
            let want = Want::default();
            // It does not ask to be asked in turn.
            let query = encode::Query { tid: b"well", id, version: None, read_only: true, want, method };
            out.send(own, endpoint, |buffer| query.encode(buffer));
        }
        out.wake_after(PAUSE, 0);
    }

    fn datagram(&mut self, _: SocketAddr, _: SocketAddr, payload: &[u8], _: &mut Out<'_>) {
        let Ok(message) = Message::parse(payload) else { return };
        if let Kind::Reply(_) = message.kind {
            self.population.sight.borrow_mut().answers += 1;
        }
    }
}
