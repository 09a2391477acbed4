//! The rows of the property tables, one file for each area.
//!
//! Facts (name, type, default, valid values, dynamic or not) are Kafka 4.3.1's; the sentences are
//! ours. A property that begins to act changes its `NotYet` to `Yes` here, and the reference page
//! follows.

pub(super) mod client_metrics;
pub(super) mod controller;
pub(super) mod group;
pub(super) mod groups;
pub(super) mod log;
pub(super) mod milena;
pub(super) mod remote;
pub(super) mod replication;
pub(super) mod security;
pub(super) mod server;
pub(super) mod topic;
pub(super) mod transactions;
