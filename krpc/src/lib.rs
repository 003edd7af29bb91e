//! krpc.
