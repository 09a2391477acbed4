//! Records on their way into the coordinator's partition.

use std::sync::Arc;

use futures_util::FutureExt;
use milena_log::producers::Origin;
use milena_protocol::ErrorCode;
use milena_protocol::records::{Builder, Compression};
use milena_state::config::topic::TimestampType;
use milena_state::group::Record;
use milena_state::partition::acks;

use crate::partition::{AppendAs, Appended, Partition};

/// Bytes of a record beside its key and value: lengths, attributes, deltas and the count of headers, each as large
/// as they can get.
const RECORD_OVERHEAD_MAX: usize = 36;

/// The records carry no producer id, so that no rule of any transaction version applies to them.
const ORIGIN: Origin = Origin::Coordinator { transaction_version: 0 };

/// Appends under one leadership, and says what of it is committed.
#[derive(Debug)]
pub struct Writer {
    pub partition: Arc<Partition>,
    /// The leadership that the coordinator was loaded in. Under another one somebody else may have written.
    pub leader_epoch: i32,
    pub compression: Compression,
}

/// Whether records may come in several batches, of which a crash may leave the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    One,
    AsManyAsNeeded,
}

impl Writer {
    /// Appends the records and applies each with its offset as soon as its batch is in the log. Gives the last append;
    /// none when there was nothing to append.
    ///
    /// Errors: what the partition says, or MESSAGE_TOO_LARGE. Nothing of the batch that was refused is applied.
    pub fn append(
        &self,
        records: &[Record],
        batching: Batching,
        now_ms: i64,
        mut apply: impl FnMut(&Record, i64),
    ) -> Result<Option<Appended>, ErrorCode> {
        let mut last = None;
        let mut rest = records;
        while !rest.is_empty() {
            let (batch, count) = self.batch(rest, batching, now_ms)?;
            let appended = self.append_batch(&batch, now_ms)?;
            let (written, left) = rest.split_at(count);
            written.iter().zip(appended.base_offset..).for_each(|(record, offset)| apply(record, offset));
            last = Some(appended);
            rest = left;
        }
        Ok(last)
    }

    /// The first batch of `records`, and how many of them it holds.
    fn batch(
        &self,
        records: &[Record],
        batching: Batching,
        now_ms: i64,
    ) -> Result<(Vec<u8>, usize), ErrorCode> {
        let size_max = usize::try_from(self.partition.settings().max_message_bytes).unwrap_or(0);
        let mut builder = Builder::new().compression(self.compression, None);
        let mut count = 0;
        for record in records {
            let (key, value) = record.encode().map_err(|_| ErrorCode::MessageTooLarge)?;
            let size = key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_MAX;
            let is_full = count > 0 && builder.size_estimate() + size > size_max;
            if batching == Batching::AsManyAsNeeded && is_full {
                break;
            }
            builder
                .append(now_ms, Some(&key), value.as_deref(), &[])
                .map_err(|_| ErrorCode::MessageTooLarge)?;
            count += 1;
        }
        let batch = builder.finish().map_err(|_| ErrorCode::MessageTooLarge)?;
        if batch.len() > size_max {
            return Err(ErrorCode::MessageTooLarge);
        }
        Ok((batch, count))
    }

    fn append_batch(&self, batch: &[u8], now_ms: i64) -> Result<Appended, ErrorCode> {
        if self.partition.leader_epoch()? != self.leader_epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let stamped = self.partition.settings().message_timestamp_type == TimestampType::LogAppendTime;
        let append = AppendAs { acks_all: true, log_append_time: stamped.then_some(now_ms) };
        let appended =
            self.partition.append_from(ORIGIN, batch, append, now_ms).map_err(|error| error.code)?;
        // The leadership changed between the two locks: what was loaded is not what this record follows. Whoever
        // loads next finds it in the log.
        if appended.leader_epoch != self.leader_epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        Ok(appended)
    }

    /// Waits until the high watermark has passed an append. To be combined with a timeout.
    pub async fn committed(&self, appended: &Appended) -> Result<(), ErrorCode> {
        let awaited = self.partition.awaited(acks::ALL);
        match self.partition.acknowledged(appended, awaited).await {
            // Committed when it was replicated widely enough; that replicas left since concerns the next append.
            Err(ErrorCode::NotEnoughReplicasAfterAppend) => Ok(()),
            outcome => outcome,
        }
    }

    /// What [`committed`](Self::committed) says at once; none when it has to wait.
    pub fn is_committed(&self, appended: &Appended) -> Option<Result<(), ErrorCode>> {
        self.committed(appended).now_or_never()
    }
}
