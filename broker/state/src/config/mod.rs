//! Configuration: one table row per property, typed settings at the edge.
//!
//! [`definition`] says what a row is, [`broker`], [`topic`], [`group`] and [`client_metrics`] hold
//! the rows and the typed settings read from them, [`describe`] answers DescribeConfigs, [`page`] renders the
//! reference page. Property names, types, defaults and ranges are those of Kafka 4.3.1; names of
//! our own start with `milena.`.

pub mod address;
pub mod broker;
mod broker_check;
pub mod cleaner;
pub mod client_metrics;
mod connections;
pub mod coordinator;
pub mod definition;
pub mod describe;
pub mod group;
pub mod listener;
pub mod page;
pub mod quorum;
pub mod replication;
mod rows;
pub mod topic;

pub use definition::{ConfigError, Definition};
