//! Partition files: segments, indexes, producer state, recovery, retention, compaction.
//!
//! A [`Directory`] is one entry of `log.dirs`; a [`Log`] in it is one partition (or the metadata Raft log).
//! Everything is synchronous and single-writer per log: callers hold a log behind one short lock. Files have
//! Kafka's names and bytes. What is deliberately absent: replication rules, watermarks, topics, sockets.

mod append;
pub mod checkpoint;
mod claim;
mod clean_stop;
pub mod compaction;
mod config;
pub mod directory;
mod disk;
mod durability;
mod epoch_loading;
mod error;
mod extent;
pub mod files;
mod flusher;
mod folder;
mod gaps;
mod index_file;
mod interrupted_cleaning;
mod kept_index;
pub mod leader_epochs;
mod log;
mod lookup;
pub mod memory_files;
mod mid_batch;
mod missing;
mod names;
mod noted_offsets;
mod offset_index;
mod open;
mod open_files;
pub mod partition_folders;
mod producer;
pub mod producer_snapshot;
pub mod producers;
mod properties;
mod read;
mod real_files;
mod recovery;
pub mod relocation;
mod replay;
mod retention;
mod roll;
mod scan;
mod search;
mod segment;
pub mod slice;
mod staging;
mod time_index;
mod timestamps;
pub mod transaction_index;
mod transactions;
mod truncation;

pub use config::Config;
pub use directory::{Claim, Directory, Identity};
pub use durability::Durability;
pub use error::{AppendError, Error, ReadError, is_descriptor_shortage};
pub use log::{AppendAs, Appended, Log, Opened};
pub use lookup::Lookup;
pub use read::Read;
pub use real_files::RealFiles;
pub use slice::{Cold, Slice};
pub use timestamps::TimestampOffset;
pub use transactions::AbortedSearch;
