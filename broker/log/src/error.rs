//! What can go wrong with files, kept apart by who has to act.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::records::BatchError;

use crate::producers::Refusal;

/// An operational error of a log or its directory.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An operation failed before and the directory was given up: what its disk does is unknown since. Every
    /// operation on any of its logs answers this until the process starts again.
    #[error("log directory {path} is offline: {reason}")]
    DirectoryOffline { path: Arc<Path>, reason: Arc<str> },

    /// Bytes that were durable once are not what they were. Only this log is affected.
    #[error("{file} is damaged at {position}: {reason}")]
    Damaged { file: PathBuf, position: u64, reason: String },

    /// The process has too many open files. Nothing is wrong with the disk; it may be retried.
    #[error("too many open files")]
    TooManyOpenFiles,

    /// A panic interrupted a change of this log. What is in memory may be half of it, so the log is not used until
    /// the next start, which checks it.
    #[error("a change of log {log} was interrupted by a panic")]
    Interrupted { log: Box<str> },

    /// Someone else uses the directory.
    #[error("log directory {path} is locked by another process")]
    Locked { path: PathBuf },

    /// A file of the directory that we cannot understand, and must not overwrite.
    #[error("{file}: {reason}")]
    Unreadable { file: PathBuf, reason: String },
}

impl Error {
    /// Whether the same call may succeed later without a restart.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Error::TooManyOpenFiles)
    }

    pub(crate) fn damaged(file: PathBuf, position: u64, reason: impl ToString) -> Self {
        Error::Damaged { file, position, reason: reason.to_string() }
    }
}

/// Why an append changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Storage(#[from] Error),
    /// The bytes are not whole, valid batches.
    #[error("invalid batch: {0}")]
    Batch(#[from] BatchError),
    /// The producer's state refuses the batch.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A batch from the leader starts below our log end offset or goes backwards.
    #[error("batch starts at offset {base_offset}, expected at least {expected}")]
    OutOfOrder { base_offset: i64, expected: i64 },
    /// A batch from the leader is of an older epoch than one before it.
    #[error("batch is of leader epoch {epoch} after epoch {latest}")]
    EpochWentBack { epoch: i32, latest: i32 },
    /// A single batch is larger than a segment may be.
    #[error("batch of {size} bytes exceeds the segment size {segment_bytes}")]
    TooLarge { size: usize, segment_bytes: u32 },
    /// There is no offset left.
    #[error("the log has no offsets left")]
    OffsetsExhausted,
}

/// Why a read found nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Storage(#[from] Error),
    /// OFFSET_OUT_OF_RANGE
    #[error("offset {requested} is not within {log_start_offset}..={log_end_offset}")]
    OutOfRange { requested: i64, log_start_offset: i64, log_end_offset: i64 },
    /// The answer needs bytes that are not in memory. Call [`crate::Cold::warm`] where waiting for a disk is
    /// allowed, without the log's lock, then read again.
    #[error("the bytes at {} are not in memory", .0.position)]
    Cold(crate::Cold),
    /// An index has to be built again first. Call [`crate::Lookup::build_index`] where that is allowed, without the
    /// log's lock, give it to [`crate::Log::learn`], then read again.
    #[error("an index has to be built again")]
    NeedsIndex(Box<crate::Lookup>),
}

/// Errors that say something about the process, not about the disk.
pub fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
