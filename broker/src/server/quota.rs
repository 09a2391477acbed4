//! How a request is held to the quotas of its client, which [`Quotas`](crate::quota::Quotas) measures.
//!
//! Handlers record what a request used and get the time that its client has to wait. The answer says so
//! (`throttle_time_ms`) and leaves at once; then nothing more is read from that connection until the time is over, as in
//! Kafka (KIP-13, KIP-124, KIP-599). The time that a request took is recorded when its answer is made, which then says
//! the longest of all waits; a handler asks for it before only when its answer depends on it.

use std::time::{Duration, Instant};

use milena_state::quota::Key;
use tokio::task::JoinError;

use super::request::RequestContext;
use crate::quota::Quota;

impl RequestContext {
    /// A produce request uses what it has in bytes. The time to wait, in milliseconds.
    pub fn throttle_produce(&self) -> i32 {
        match self.node.quotas.find(Key::ProducerByteRate, self.client_id()) {
            Some(quota) => self.mute(&quota, self.node.quotas.produced(&quota, self.frame.len())),
            None => 0,
        }
    }

    /// The quota that a fetch of this client is held to.
    pub fn fetch_quota(&self) -> Option<FetchQuota<'_>> {
        let quota = self.node.quotas.find(Key::ConsumerByteRate, self.client_id())?;
        Some(FetchQuota { cx: self, quota })
    }

    /// The quota on changes of partitions. A `strict` client, which knows THROTTLING_QUOTA_EXCEEDED, is refused what
    /// exceeds it; others are only told to wait.
    pub fn mutations(&self, strict: bool) -> Mutations<'_> {
        let quota = self.node.quotas.find(Key::ControllerMutationRate, self.client_id());
        Mutations { cx: self, quota, strict, throttle_ms: 0 }
    }

    /// The request has taken its time, with all that decides about the answer. The time to wait, in milliseconds; 0 when
    /// that was asked before.
    pub fn throttle_time(&self) -> i32 {
        let Some(watch) = &self.stopwatch else { return 0 };
        match watch.judge(Instant::now()) {
            Some(spent) => self.mute(watch.quota(), self.node.quotas.took(watch.quota(), spent)),
            None => 0,
        }
    }

    /// No quota on time acts on this request: nobody waits for its answer, or it comes from a broker.
    pub fn exempt_from_time(&self) {
        if let Some(watch) = &self.stopwatch {
            watch.exempt();
        }
    }

    /// Does work that blocks on a thread for it. It counts as time of this request.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Some(watch) = &self.stopwatch else { return self.node.background.spawn_blocking(work).await };
        let timed = move || {
            let began = Instant::now();
            let done = work();
            (done, began.elapsed())
        };
        let (done, took) = self.node.background.spawn_blocking(timed).await?;
        watch.add(took);
        Ok(done)
    }

    /// Reads nothing from the connection for so long; the same as what its answer says.
    fn mute(&self, quota: &Quota, throttle_ms: i64) -> i32 {
        let throttle_ms = i32::try_from(throttle_ms).unwrap_or(i32::MAX);
        if throttle_ms > 0 {
            let wait = Duration::from_millis(throttle_ms as u64);
            self.peer.mute.set(Instant::now() + wait, quota.held(self.client_id()));
            self.node.metrics.request_throttled(quota.key(), wait);
        }
        throttle_ms
    }
}

/// The quota of one fetch, from its begin to its answer.
pub struct FetchQuota<'a> {
    cx: &'a RequestContext,
    quota: Quota,
}

impl FetchQuota<'_> {
    /// The most that the answer may hold.
    pub fn bytes_max(&self) -> Option<i32> {
        self.cx.node.quotas.bytes_max(&self.quota)
    }

    /// An answer of so many bytes is about to leave, unless its client waits for another quota. With a time to wait, in
    /// milliseconds, it must not.
    pub fn throttle(self, bytes: usize, waits: bool) -> i32 {
        // It may have been changed or taken away while the fetch waited.
        let Some(quota) = self.cx.node.quotas.find(Key::ConsumerByteRate, self.cx.client_id()) else {
            return 0;
        };
        self.cx.mute(&quota, self.cx.node.quotas.fetched(&quota, bytes, waits))
    }
}

/// What one request may still change.
pub struct Mutations<'a> {
    cx: &'a RequestContext,
    quota: Option<Quota>,
    strict: bool,
    throttle_ms: i64,
}

impl Mutations<'_> {
    /// Whether a change may be made, which takes the partitions that it creates or deletes; one without any is refused
    /// elsewhere. They are counted only when there is a quota.
    pub fn admit(&mut self, partitions: impl FnOnce() -> Option<usize>) -> bool {
        let Some(quota) = &self.quota else { return true };
        let Some(partitions) = partitions() else { return true };
        let quotas = &self.cx.node.quotas;
        if !self.strict {
            self.throttle_ms = quotas.change(quota, partitions);
            return true;
        }
        match quotas.try_change(quota, partitions) {
            Ok(()) => true,
            Err(throttle_ms) => {
                self.throttle_ms = throttle_ms;
                false
            }
        }
    }

    /// The time to wait, in milliseconds.
    pub fn throttle(self) -> i32 {
        let Some(quota) = self.quota else { return 0 };
        // It may have been raised or taken away while the controller decided.
        let holds = self.cx.node.quotas.still_holds(&quota.held(self.cx.client_id()));
        if holds { self.cx.mute(&quota, self.throttle_ms) } else { 0 }
    }
}
