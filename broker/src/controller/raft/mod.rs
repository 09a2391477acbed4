//! The Raft quorum of the controllers: openraft over our own log. No other module names openraft.
//!
//! [`quorum::Quorum`] is what the rest of the controller sees. Below it: the types that openraft is told about
//! ([`types`]), the bytes of an entry ([`entry`]), the log, vote and snapshot files, the state machine that holds
//! the committed image, and the network to the other voters (a lane per voter and purpose in `link`, their bytes in
//! `wire`). What the others ask is answered by `serve` and `receive`; `voters` changes who votes. [`pulse`] knows whether the
//! quorum lives.

pub mod entry;
pub mod hard_state;
pub(super) mod link;
pub mod log_store;
pub mod network;
pub mod observers;
pub mod pulse;
pub mod quorum;
mod receive;
pub mod roles;
pub mod serve;
pub mod snapshot;
pub mod state_machine;
pub mod types;
pub mod voters;
mod wire;

#[cfg(test)]
pub(super) mod test_cluster;

#[cfg(test)]
mod cluster_test;

#[cfg(test)]
mod pulse_test;

#[cfg(test)]
mod voters_test;
