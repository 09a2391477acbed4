//! Appending to a partition as its leader, and moving its log start.

use milena_log::AppendAs as LogAppendAs;
use milena_log::producers::Origin;
use milena_protocol::ErrorCode;

use super::operations::{AppendAs, AppendError, Appended, storage_code};
use super::partition::{Inner, Marks, Partition};

impl Partition {
    /// Appends validated batches as the leader. Done when it returns: the bytes are in the page cache, and waiters
    /// were woken. [`Partition::acknowledged`] says when the producer may be answered.
    ///
    /// Errors: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, and what the producer's state
    /// refuses.
    pub fn append(&self, batches: &[u8], append: AppendAs, now_ms: i64) -> Result<Appended, AppendError> {
        let mut inner = self.lock();
        let (log, leader) = inner.leading()?;
        if append.acks_all {
            leader.check_acks_all()?;
        }
        let append_as = LogAppendAs::Leader {
            leader_epoch: leader.leader_epoch(),
            log_append_time: append.log_append_time,
            origin: Origin::Client,
        };
        let appended = log.append(batches, append_as, now_ms)?;
        if !appended.duplicate {
            let effects = leader.appended(log.log_end_offset(), now_ms);
            let records = appended.last_offset - appended.base_offset + 1;
            inner.force_sync(records, self.flush_messages(), now_ms)?;
            let marks = inner.settle(effects);
            drop(inner);
            self.tell(marks);
            self.request_sync_when_durable();
        }
        Ok(Appended {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            log_append_time_ms: append.log_append_time.unwrap_or(-1),
            log_start_offset: appended.log_start_offset,
            duplicate: appended.duplicate,
        })
    }

    /// Deletes records below `offset` (DeleteRecords), −1 meaning all that are committed. Gives the new low
    /// watermark. The segments go with the next retention run.
    ///
    /// Errors: OFFSET_OUT_OF_RANGE above the high watermark, POLICY_VIOLATION on a topic that never deletes.
    pub fn delete_records(&self, offset: i64, _now_ms: i64) -> Result<i64, ErrorCode> {
        if !self.settings().cleanup.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let mut inner = self.lock();
        let (log, leader) = inner.leading()?;
        let offset = if offset == -1 { leader.high_watermark() } else { offset };
        if offset < 0 || offset > leader.high_watermark() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        if log.set_log_start_offset(offset) {
            let marks = settle_log_start(&mut inner, offset);
            drop(inner);
            self.set_log_start(offset);
            self.tell(marks);
            return Ok(offset);
        }
        Ok(log.log_start_offset())
    }
}

/// The log now begins at `offset`: the high watermark is never below it.
pub(super) fn settle_log_start(inner: &mut Inner, offset: i64) -> Option<Marks> {
    let effects = inner.leading().ok()?.1.log_start_moved(offset);
    inner.settle(effects)
}

impl Inner {
    /// `flush.messages`: as in Kafka the append that reaches the number is on disk before it is answered.
    fn force_sync(&mut self, records: i64, flush_messages: i64, now_ms: i64) -> Result<(), AppendError> {
        self.unsynced_records = self.unsynced_records.saturating_add(records);
        self.unsynced_since_ms.get_or_insert(now_ms);
        if self.unsynced_records < flush_messages {
            return Ok(());
        }
        self.sync().map_err(|error| AppendError::new(storage_code(&error), error))
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
