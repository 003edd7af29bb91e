//! swarm.
