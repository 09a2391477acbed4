//! The metadata machine: what the controller decides and every node applies.
//!
//! [`record`] is the vocabulary of the metadata log, [`image`] is what the records add up to, and
//! one file per area holds its commands: each is a pure function from an image and a command to
//! records and a reply. [`decide`](decide()) is the front door that the controller's writer uses.

mod asked_topics;
mod batch_size;
pub mod brokers;
pub mod client_quotas;
mod codec;
pub mod command;
pub mod configs;
pub mod controllers;
mod cow_map;
mod create_partitions;
mod delete_topics;
pub mod delta;
pub mod directories;
pub mod elections;
mod entities;
pub mod features;
pub mod image;
pub mod mutation;
mod partition_batch;
mod partition_change;
pub mod partition_index;
pub mod partitions;
pub mod placement;
pub mod producer_ids;
pub mod reassignments;
pub mod record;
mod record_codec;
pub mod sessions;
pub mod topic_page;
pub mod topics;

pub use asked_topics::AskedTopics;
pub use batch_size::{BatchSize, steps};
pub use command::{ApiError, Command, Context, Decision, Reply, decide};
pub use delta::Delta;
pub use image::{Applied, Broker, ConfigResource, Image, Partition, ResourceKind, Topic};
pub use mutation::Mutation;
pub use record::{DecodeError, Record, decode_batch, encode_batch};

#[cfg(test)]
mod machine_test;
