//! What is asked of a partition and what it answers, as plain values.

use milena_log::producers::Refusal;
use milena_log::{Cold, Error};
use milena_protocol::ErrorCode;

use crate::server::FileSlice;

/// How records enter the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendAs {
    /// acks=all: refused with NOT_ENOUGH_REPLICAS while the ISR is smaller than min.insync.replicas.
    pub acks_all: bool,
    /// `Some(now)` when the topic's message.timestamp.type is LogAppendTime: stamped on every batch.
    pub log_append_time: Option<i64>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// −1 for CreateTime.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// The batch was already in the log (idempotent producer); the offsets are those of then.
    pub duplicate: bool,
}

/// Why an append was refused, with what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppendError {
    pub code: ErrorCode,
    pub message: String,
}

impl AppendError {
    pub fn new(code: ErrorCode, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<milena_log::AppendError> for AppendError {
    fn from(error: milena_log::AppendError) -> Self {
        use milena_log::AppendError as Log;
        let code = match &error {
            Log::Storage(storage) => storage_code(storage),
            Log::Batch(_) => ErrorCode::CorruptMessage,
            Log::Refused(refusal) => refusal_code(refusal),
            // Only a replica's append can say these; a leader assigns offsets and epochs itself.
            Log::OutOfOrder { .. } | Log::EpochWentBack { .. } => ErrorCode::UnknownServerError,
            Log::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            Log::OffsetsExhausted => ErrorCode::UnknownServerError,
        };
        Self::new(code, error)
    }
}

fn refusal_code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::OutOfOrderSequence { .. } | Refusal::NewEpochNotFromZero { .. } => {
            ErrorCode::OutOfOrderSequenceNumber
        }
        Refusal::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        Refusal::NotTransactional { .. } => ErrorCode::InvalidTxnState,
        Refusal::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
    }
}

/// Every failure of files is one answer; what happened is in the log of this process.
pub fn storage_code(_: &Error) -> ErrorCode {
    ErrorCode::KafkaStorageError
}

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Consumers: below the high watermark.
    ReadUncommitted,
    /// Transactional consumers: below the last stable offset.
    ReadCommitted,
    /// Followers: everything.
    LogEnd,
}

/// One partition of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    /// Bytes at most; the last batch may be cut there, as in Kafka.
    pub bytes_max: usize,
    /// Give the first batch whole even when it is larger than `bytes_max`.
    pub first_batch_whole: bool,
    pub isolation: Isolation,
    /// The leader epoch that the client believes in, −1 when it does not say.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has, −1 when it does not say.
    pub last_fetched_epoch: i32,
}

/// What a read found, consistent as of one moment.
#[derive(Debug, Clone)]
pub struct Readout {
    /// Bytes of the log; `None` when there is nothing to read below the bound.
    pub records: Option<FileSlice>,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// For read committed: the transactions that were aborted below the last stable offset and overlap the read.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// Set when finding the records needs bytes that are not in memory: warm them where waiting for a disk is
    /// allowed, then read again.
    pub cold: Option<Cold>,
    /// Set when the client's history diverges from ours; there are no records then.
    pub diverging: Option<EpochEnd>,
}

impl Readout {
    /// Bytes of records that were found.
    pub fn bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |slice| slice.length as usize)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// A read or lookup that cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Below the log start or above the log end; the numbers go into the response.
    #[error("offset is outside of {log_start_offset}..={high_watermark}")]
    OutOfRange { log_start_offset: i64, high_watermark: i64 },
    #[error("{0:?}")]
    Code(ErrorCode),
}

impl ReadError {
    /// What the client is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Code(code) => code,
        }
    }
}

impl From<ErrorCode> for ReadError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// A leader epoch and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub leader_epoch: i32,
    /// First offset that does not belong to the epoch.
    pub end_offset: i64,
}

/// What ListOffsets asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// −2
    Earliest,
    /// −1
    Latest,
    /// −3
    MaxTimestamp,
    /// −4
    EarliestLocal,
    /// −5: nothing is tiered, so there is none.
    LatestTiered,
    /// First record with a timestamp of at least this.
    At(i64),
}

/// Answer of a ListOffsets lookup; all −1 when no record matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

impl OffsetAndTimestamp {
    pub const NONE: Self = Self { offset: -1, timestamp: -1, leader_epoch: -1 };
}

/// The ends of a partition, for metrics and DescribeLogDirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    pub size_bytes: u64,
    pub segments_count: usize,
}
