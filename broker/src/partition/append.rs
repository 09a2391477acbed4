//! Appending to a partition as its leader, and moving its log start.

use milena_log::AppendAs as LogAppendAs;
use milena_log::producers::{Origin, Refusal};
use milena_protocol::ErrorCode;

use super::partition::{Inner, Outcome, Partition};

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
    /// The leadership that may acknowledge it.
    pub leader_epoch: i32,
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

impl From<ErrorCode> for AppendError {
    fn from(code: ErrorCode) -> Self {
        AppendError::new(code, code.name())
    }
}

impl Partition {
    /// Appends validated batches as the leader. Done when it returns: the bytes are in the page cache, and waiters
    /// were woken. [`Partition::acknowledged`] says when the producer may be answered.
    ///
    /// Errors: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, and what the producer's state
    /// refuses.
    pub fn append(&self, batches: &[u8], append: AppendAs, now_ms: i64) -> Result<Appended, AppendError> {
        self.append_from(Origin::Client, batches, append, now_ms)
    }

    /// As [`append`](Self::append), for batches that need not come from a client: a coordinator's records and markers.
    pub fn append_from(
        &self,
        origin: Origin,
        batches: &[u8],
        append: AppendAs,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let mut inner = self.lock();
        let (log, leader) = inner.leading()?;
        if append.acks_all {
            leader.check_acks_all()?;
        }
        let append_as = LogAppendAs::Leader {
            leader_epoch: leader.leader_epoch(),
            log_append_time: append.log_append_time,
            origin,
        };
        let leader_epoch = leader.leader_epoch();
        let appended = log.append(batches, append_as, now_ms).map_err(|error| self.refused(&error))?;
        if !appended.duplicate {
            let effects = leader.appended(log.log_end_offset(), now_ms);
            let records = appended.last_offset - appended.base_offset + 1;
            let synced = inner.force_sync(records, self.flush_messages(), now_ms);
            synced.map_err(|error| self.storage_failed(&error))?;
            let outcome = inner.settle(effects);
            drop(inner);
            self.tell(outcome);
            self.request_sync_when_durable();
        }
        Ok(Appended {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            leader_epoch,
            log_append_time_ms: append.log_append_time.unwrap_or(-1),
            log_start_offset: appended.log_start_offset,
            duplicate: appended.duplicate,
        })
    }

    /// Deletes records below `offset` (DeleteRecords), −1 meaning all that are committed. Gives the new low
    /// watermark. The segments go with the next retention run.
    ///
    /// Errors: OFFSET_OUT_OF_RANGE above the high watermark, POLICY_VIOLATION on a topic that never deletes.
    pub fn delete_records(&self, offset: i64) -> Result<i64, ErrorCode> {
        let topic_deletes = self.settings().cleanup.delete;
        let mut inner = self.lock();
        let (log, leader) = inner.leading()?;
        let offset = leader.delete_upto(offset, topic_deletes)?;
        if log.set_log_start_offset(offset) {
            let outcome = settle_log_start(&mut inner, offset);
            drop(inner);
            self.set_log_start(offset);
            self.tell(outcome);
            return Ok(offset);
        }
        Ok(log.log_start_offset())
    }

    fn refused(&self, error: &milena_log::AppendError) -> AppendError {
        use milena_log::AppendError as Log;
        let code = match error {
            // Its message names our files, which are nobody else's business.
            Log::Storage(error) => return self.storage_failed(error).into(),
            Log::Batch(_) => ErrorCode::CorruptMessage,
            Log::Refused(refusal) => refusal_code(refusal),
            // Only a replica's append can say these; a leader assigns offsets and epochs itself.
            Log::OutOfOrder { .. } | Log::EpochWentBack { .. } => ErrorCode::UnknownServerError,
            Log::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            Log::OffsetsExhausted => ErrorCode::UnknownServerError,
        };
        AppendError::new(code, error)
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

/// The log now begins at `offset`: the high watermark is never below it.
pub(super) fn settle_log_start(inner: &mut Inner, offset: i64) -> Option<Outcome> {
    let effects = inner.leading().ok()?.1.log_start_moved(offset);
    inner.settle(effects)
}

impl Inner {
    /// `flush.messages`: as in Kafka the append that reaches the number is on disk before it is answered.
    pub(super) fn force_sync(
        &mut self,
        records: i64,
        flush_messages: i64,
        now_ms: i64,
    ) -> Result<(), milena_log::Error> {
        self.unsynced_records = self.unsynced_records.saturating_add(records);
        self.unsynced_since_ms.get_or_insert(now_ms);
        if self.unsynced_records < flush_messages {
            return Ok(());
        }
        self.sync()
    }

    /// Syncs the log in this thread.
    pub fn sync(&mut self) -> Result<(), milena_log::Error> {
        if let Some(log) = &mut self.log {
            log.sync()?;
        }
        self.unsynced_records = 0;
        self.unsynced_since_ms = None;
        Ok(())
    }
}
