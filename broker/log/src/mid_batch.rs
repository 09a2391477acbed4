//! A replica's log that begins within a batch, as its leader's does after DeleteRecords: what comes first is that batch,
//! whole, and lies below the log start offset in part.

use milena_protocol::records::Batches;

use crate::error::AppendError;
use crate::log::{AppendAs, Appended, Log};

impl Log {
    /// Where the first of these batches begins, when the log is empty and starts within it. Elsewhere a batch that begins
    /// below the log's end is out of order.
    pub(crate) fn begins_within(&self, batches: &[u8]) -> Option<i64> {
        if self.log_start_offset != self.log_end_offset {
            return None;
        }
        let batch = Batches::new(batches).next()?.ok()?;
        let is_within = batch.base_offset < self.log_end_offset && self.log_end_offset <= batch.last_offset();
        // An empty log may know producers and epochs: they do not go for what is damaged.
        (is_within && batch.verify_crc().is_ok()).then_some(batch.base_offset)
    }

    /// Appends to the empty log, which starts within the first batch: its segment begins where that batch does. On an
    /// error the log is as empty as it was, and starts where it did.
    pub(crate) fn append_around_start(
        &mut self,
        base_offset: i64,
        batches: &[u8],
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let log_start_offset = self.log_start_offset;
        self.empty_at(base_offset)?;
        match self.append_all(batches, AppendAs::Replica, now_ms) {
            Ok(appended) => {
                self.set_log_start_offset(log_start_offset);
                Ok(Appended { log_start_offset, ..appended })
            }
            Err(error) => {
                // Others were told of this start: a log that cannot go back to it is not used any more.
                self.empty_at(log_start_offset).map_err(|emptying| self.disk.give_up(emptying))?;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
#[path = "mid_batch_test.rs"]
mod tests;
