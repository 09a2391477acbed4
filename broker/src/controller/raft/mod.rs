//! The Raft quorum of the controllers: openraft over our own log. No other module names openraft.
//!
//! [`quorum::Quorum`] is what the rest of the controller sees. Below it: the types that openraft is told about
//! ([`types`]), the bytes of an entry ([`entry`]), the log, vote and snapshot files, the state machine that holds
//! the committed image, and the network to the other voters.

pub mod entry;
pub mod hard_state;
pub mod log_store;
pub mod network;
pub mod quorum;
pub mod snapshot;
pub mod state_machine;
pub mod types;
