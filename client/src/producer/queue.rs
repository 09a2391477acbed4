//! What waits to be sent to one partition.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use milena_protocol::records::Builder;
use tokio::sync::Notify;

use super::delivery::{Delivery, Promise};
use super::{ProducerRecord, Shared};
use crate::error::Error;

/// Bytes of all queues together (`buffer.memory`).
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, used: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Waits while the buffer is used up. The record that is let in may pass the bound by its own size.
    pub(super) async fn wait_for_room(&self) {
        while self.used.load(Ordering::Acquire) >= self.bytes_max {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.used.load(Ordering::Acquire) >= self.bytes_max {
                freed.await;
            }
        }
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
        self.freed.notify_waiters();
    }
}

/// A batch with its records' outcome.
pub(super) struct Pending {
    pub builder: Builder,
    pub promise: Promise,
    pub since: Instant,
    /// Bytes taken from the budget: what is taken and what is given back must be the same.
    pub bytes: usize,
}

/// The batches of one partition: full ones, and one that is being filled.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something was appended, or the queue was closed or asked to flush.
    pub changed: Notify,
    idle: Notify,
}

#[derive(Default)]
struct State {
    full: VecDeque<Pending>,
    open: Option<Pending>,
    /// Batches that the task holds.
    under_way: usize,
    flushing: bool,
    closed: bool,
}

/// When the next batch should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    /// The open batch may still fill until then.
    At(Instant),
    /// Nothing is there.
    Later,
    /// Nothing is there, and nothing will come.
    Never,
}

/// Most bytes that a record can take in a batch.
pub(super) fn record_size_max(record: &ProducerRecord<'_>) -> usize {
    const FIELDS: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
    let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter().map(|header| header.key.len() + size(header.value) + 10);
    FIELDS + size(record.key) + size(record.value) + headers.sum::<usize>()
}

impl Queue {
    pub fn new() -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), idle: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Appends to the open batch, or begins one.
    pub fn append(&self, record: &ProducerRecord<'_>, shared: &Shared) -> Delivery {
        let bytes = record_size_max(record);
        let mut state = self.state();
        let fits = |open: &Pending| open.builder.size_estimate() + bytes <= shared.config.max_request_size;
        if let Some(full) = state.open.take_if(|open| !fits(open)) {
            state.full.push_back(full);
        }
        let begins = state.open.is_none();
        let open = state.open.get_or_insert_with(|| new_batch(shared));
        let is_ready = |open: &Pending| open.builder.size_estimate() >= shared.config.batch_size;
        let was_ready = is_ready(open);
        let index = open.builder.count();
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let appended = open.builder.append(timestamp, record.key, record.value, record.headers);
        if let Err(error) = appended {
            let promise = Promise::default();
            let delivery = promise.delivery(0);
            promise.settle(Err(Error::Corrupt(error.to_string())));
            return delivery;
        }
        open.bytes += bytes;
        shared.budget.take(bytes);
        let delivery = open.promise.delivery(index);
        let becomes_ready = !was_ready && is_ready(open);
        drop(state);
        // Once for each: a task that waits for room need not hear of every record that joins a batch which is ready.
        if begins || becomes_ready {
            self.changed.notify_one();
        }
        delivery
    }

    /// When the next batch should go.
    pub fn due(&self, shared: &Shared, now: Instant) -> Due {
        let mut state = self.state();
        if !state.full.is_empty() {
            return Due::Now;
        }
        let Some(open) = &state.open else {
            state.flushing = false;
            return if state.closed { Due::Never } else { Due::Later };
        };
        let due = open.since + shared.config.linger;
        let is_due = state.flushing
            || state.closed
            || now >= due
            || open.builder.size_estimate() >= shared.config.batch_size;
        if is_due { Due::Now } else { Due::At(due) }
    }

    /// Takes the next batch, due or not. Who takes it says [`Queue::settled`] later.
    pub fn take(&self) -> Option<Pending> {
        let mut state = self.state();
        let next = state.full.pop_front().or_else(|| state.open.take())?;
        state.under_way += 1;
        Some(next)
    }

    /// When the oldest batch was begun.
    pub fn oldest(&self) -> Option<Instant> {
        let state = self.state();
        state.full.front().or(state.open.as_ref()).map(|pending| pending.since)
    }

    /// A batch that was taken is settled.
    pub fn settled(&self, bytes: usize, shared: &Shared) {
        shared.budget.give_back(bytes);
        self.state().under_way -= 1;
        self.idle.notify_waiters();
    }

    /// Sends what there is and waits until it is settled.
    pub async fn flush(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            {
                let mut state = self.state();
                if state.full.is_empty() && state.open.is_none() && state.under_way == 0 {
                    return;
                }
                state.flushing = true;
            }
            self.changed.notify_one();
            idle.await;
        }
    }

    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

fn new_batch(shared: &Shared) -> Pending {
    let config = &shared.config;
    Pending {
        builder: Builder::new().compression(config.compression, config.compression_level),
        promise: Promise::default(),
        since: Instant::now(),
        bytes: 0,
    }
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
