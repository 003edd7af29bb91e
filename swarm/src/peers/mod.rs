//! Peers in virtual time: endpoints of many torrents, most of them of no use.
//!
//! Everything that makes fetching info dicts hard is here in the shares that are asked for: nobody there, uTP or encryption
//! only, lies, slowness, and the manners of three clients in answering requests (measured, see the variants of [`Habit`]). The
//! owner keeps the time; [`PeerWorld`] takes connections and bytes, and says what comes back and when. A connection
//! is a stream that loses nothing, whether TCP or uTP carries it: how uTP deals with the network is not the matter here.
//!
//! ```
//! use std::time::Duration;
//! use swarm::peers::{Carrier, ConnectionId, News, PeerPlan, PeerWorld};
//!
//! let mut world = PeerWorld::new(PeerPlan { torrents: 10, ..PeerPlan::default() });
//! let endpoint = world.endpoints(3).next().ok_or("nobody has it")?;
//! world.connect(Duration::ZERO, ConnectionId(1), endpoint.addr, Carrier::Tcp, Duration::from_secs(5));
//! let at = world.next_at().ok_or("something happens")?;
//! let (id, news) = world.next(at).ok_or("and is told")?;
//! assert!(id == ConnectionId(1) && matches!(news, News::Opened | News::Closed(_)));
//! # Ok::<(), &str>(())
//! ```

mod conversation;
mod nature;
mod network;
mod plan;

pub use nature::{Endpoint, Habit, Lie, Nature, Tcp};
pub use network::{Carrier, ConnectionId, End, News, PeerWorld};
pub use plan::{PeerPlan, PeerShares};
