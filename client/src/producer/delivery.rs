//! What becomes of a record: one shared outcome per batch, a place in it per record.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub partition: i32,
    pub base_offset: Option<i64>,
    pub log_append_time: Option<i64>,
}

/// Set once, by the [`Promise`] of a batch.
#[derive(Debug, Default)]
struct Outcome {
    /// With the moment in which it was known.
    result: OnceLock<(Result<Stored>, Instant)>,
    settled: Notify,
}

/// The duty to settle a batch. Whoever drops it unsettled closes the client, so that nobody waits for ever.
#[derive(Debug, Default)]
pub(super) struct Promise(Arc<Outcome>);

impl Promise {
    pub fn settle(self, result: Result<Stored>) {
        let first = self.0.result.set((result, Instant::now())).is_ok();
        debug_assert!(first, "a batch has one outcome");
    }

    /// The delivery of the record at this place in the batch.
    pub fn delivery(&self, index: i32) -> Delivery {
        Delivery { outcome: Arc::clone(&self.0), index }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Kept as it is when settled.
        let _ = self.0.result.set((Err(Error::Closed), Instant::now()));
        self.0.settled.notify_waiters();
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
    /// The outcome, if it is known.
    pub fn result(&self) -> Option<Result<RecordMetadata>> {
        let (result, _) = self.outcome.result.get()?;
        Some(result.as_ref().map_err(Error::clone).map(|stored| RecordMetadata {
            partition: stored.partition,
            offset: stored.base_offset.map(|base| base + i64::from(self.index)),
            log_append_time: stored.log_append_time,
        }))
    }

    /// When the outcome was known, however late somebody looks.
    pub fn settled_at(&self) -> Option<Instant> {
        self.outcome.result.get().map(|(_, at)| *at)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_the_moment_in_which_it_was_known() {
        let promise = Promise::default();
        let delivery = promise.delivery(2);
        assert!(delivery.settled_at().is_none() && delivery.result().is_none());
        let before = Instant::now();
        promise.settle(Ok(Stored { partition: 1, base_offset: Some(5), log_append_time: None }));
        let after = Instant::now();
        let at = delivery.settled_at().expect("it is settled");
        assert!(before <= at && at <= after);
        assert_eq!(delivery.result().and_then(Result::ok).and_then(|stored| stored.offset), Some(7));

        let promise = Promise::default();
        let delivery = promise.delivery(0);
        drop(promise);
        assert!(delivery.settled_at().is_some());
        assert!(matches!(delivery.result(), Some(Err(Error::Closed))));
    }
}
