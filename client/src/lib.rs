//! A native Kafka client: admin, producer, consumer. It talks to any Kafka cluster.
//!
//! `connection` is one socket, `cluster` knows brokers and leaders, `admin`, `producer`, `consumer` and `group` know
//! what the requests mean; `offsets` has the requests about committed offsets. The `milena` command line is built on
//! these and nothing else.

pub mod admin;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod group;
pub mod net;
mod offsets;
pub mod producer;

pub use cluster::Cluster;
pub use config::ClientConfig;
pub use error::{Error, Result};
