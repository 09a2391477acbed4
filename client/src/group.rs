//! Consumer groups of the classic protocol (KIP-429, KIP-345): members that share the partitions of topics.
//!
//! [`GroupConsumer`] is a member: it joins, reads what the group gives it, commits, and leaves. What goes on without being
//! polled runs in tasks: `join` is the way in, `session` the heartbeats. `steps` is the order of a rebalance, `assignor`
//! who gets what, `protocol` what members tell each other. Consumer groups of KIP-848 are another protocol and not here.

pub mod assignor;
mod clock;
mod commit;
mod commits;
mod consumer;
mod id;
mod join;
mod link;
mod placement;
mod protocol;
mod session;
mod steps;
mod task;
mod topics;
mod wire;

pub use assignor::Assignor;
pub use commit::{CommitOffset, CommitOffsets};
pub use consumer::{Event, GroupConsumer};
