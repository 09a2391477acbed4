//! What becomes of a record: one shared outcome per batch, a place in it per record.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// Where a record is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    pub partition: i32,
    /// None when the broker does not say: acks=0.
    pub offset: Option<i64>,
    /// The broker's time, where the topic has LogAppendTime.
    pub log_append_time: Option<i64>,
}

/// Where a batch is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub partition: i32,
    pub base_offset: Option<i64>,
    pub log_append_time: Option<i64>,
}

/// Set once by the sender of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    result: OnceLock<Result<Stored>>,
    settled: Notify,
}

impl Outcome {
    pub fn settle(&self, result: Result<Stored>) {
        let first = self.result.set(result).is_ok();
        debug_assert!(first, "a batch has one outcome");
        self.settled.notify_waiters();
    }
}

/// The outcome of one record; dropping it does not take the record back.
#[derive(Debug, Clone)]
pub struct Delivery {
    outcome: Arc<Outcome>,
    /// Place in the batch.
    index: i32,
}

impl Delivery {
    pub(super) fn new(outcome: Arc<Outcome>, index: i32) -> Self {
        Self { outcome, index }
    }

    /// The outcome, if it is known.
    pub fn result(&self) -> Option<Result<RecordMetadata>> {
        let result = self.outcome.result.get()?;
        Some(result.as_ref().map_err(Error::clone).map(|stored| RecordMetadata {
            partition: stored.partition,
            offset: stored.base_offset.map(|base| base + i64::from(self.index)),
            log_append_time: stored.log_append_time,
        }))
    }

    /// Waits for the outcome.
    pub async fn wait(&self) -> Result<RecordMetadata> {
        loop {
            let settled = self.outcome.settled.notified();
            // Registered before the look: an outcome that comes between is not missed.
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if let Some(result) = self.result() {
                return result;
            }
            settled.await;
        }
    }
}

impl IntoFuture for Delivery {
    type Output = Result<RecordMetadata>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}
