//! A number that only rises, and the futures that wait for it.
//!
//! A produce with acks=all waits for the high watermark, a long poll for new data, CreateTopics for the metadata
//! image that this broker serves: each is a future on a [`Watermark`]. Raising it costs one atomic maximum and one
//! load while nobody waits. Waiters may live on any thread. A deadline is the caller's (`tokio::time::timeout_at`).
//! Deliberately absent: a queue of operations to complete. The woken request looks again by itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// A number that only rises and can be waited for.
#[derive(Debug)]
pub struct Watermark {
    value: AtomicI64,
    /// How many waiters are registered: lets `advance` skip the lock when there is none.
    waiting: AtomicU32,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    next_id: u64,
    /// Ordered by the awaited number, so that a rise touches only those it completes.
    entries: BTreeMap<(i64, u64), Arc<Signal>>,
    closed: bool,
}

/// The wait ended without the number being reached: the partition was deleted, moved or taken offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wait was interrupted")]
pub struct Interrupted;

/// What a waiter is woken through; one signal may be registered at many watermarks.
#[derive(Debug, Default)]
pub struct Signal {
    fired: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    /// Marks the signal and wakes whoever polls it. A signal fires once.
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// Ready as soon as the signal has fired.
    pub fn poll_fired(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_fired() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // Look again: `fire` may have run between the check and the registration.
        if self.has_fired() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A registration at one watermark; given back to [`Watermark::forget`] when the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    key: (i64, u64),
}

impl Watermark {
    pub fn new(value: i64) -> Self {
        Self { value: AtomicI64::new(value), waiting: AtomicU32::new(0), waiters: Mutex::default() }
    }

    pub fn get(&self) -> i64 {
        self.value.load(Ordering::SeqCst)
    }

    /// Raises the number to `to` and wakes everyone who waited for that much. A smaller `to` changes nothing, so
    /// two threads that raise it out of order end at the larger.
    pub fn advance(&self, to: i64) {
        let before = self.value.fetch_max(to, Ordering::SeqCst);
        // SeqCst on both sides: either this load sees the waiter's increment, or the waiter's second look at the
        // value (after its increment) sees this rise.
        if before >= to || self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let reached = {
            let mut waiters = self.waiters.lock();
            let later = waiters.entries.split_off(&(to + 1, 0));
            let reached = std::mem::replace(&mut waiters.entries, later);
            self.waiting.fetch_sub(reached.len() as u32, Ordering::SeqCst);
            reached
        };
        // Outside the lock: a waker may run the woken task's scheduler code.
        reached.values().for_each(|signal| signal.fire());
    }

    /// Sends every current waiter away with [`Interrupted`]; later waits work as before.
    pub fn interrupt(&self) {
        self.drain(false);
    }

    /// Sends every current and future waiter away with [`Interrupted`].
    pub fn close(&self) {
        self.drain(true);
    }

    fn drain(&self, close: bool) {
        let drained = {
            let mut waiters = self.waiters.lock();
            waiters.closed |= close;
            let drained = std::mem::take(&mut waiters.entries);
            self.waiting.fetch_sub(drained.len() as u32, Ordering::SeqCst);
            drained
        };
        drained.values().for_each(|signal| signal.fire());
    }

    /// Waits until the number is at least `at`, and gives the number that was seen.
    pub fn reached(&self, at: i64) -> Reached<'_> {
        Reached { watermark: self, at, wait: None }
    }

    /// Registers `signal` to fire when the number is at least `at` or the wait is interrupted. `None` when that is
    /// so already; the signal has then fired.
    pub fn register(&self, at: i64, signal: &Arc<Signal>) -> Option<Ticket> {
        if self.get() >= at {
            signal.fire();
            return None;
        }
        let mut waiters = self.waiters.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if waiters.closed || self.get() >= at {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            drop(waiters);
            signal.fire();
            return None;
        }
        let key = (at, waiters.next_id);
        waiters.next_id += 1;
        waiters.entries.insert(key, Arc::clone(signal));
        Some(Ticket { key })
    }

    /// Takes a registration back. Harmless when it was used up by a rise.
    pub fn forget(&self, ticket: Ticket) {
        let mut waiters = self.waiters.lock();
        if waiters.entries.remove(&ticket.key).is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[cfg(test)]
    fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// Future of [`Watermark::reached`]; registers on its first poll and takes itself out of the list when dropped.
#[derive(Debug)]
#[must_use = "a wait does nothing until it is awaited"]
pub struct Reached<'a> {
    watermark: &'a Watermark,
    at: i64,
    wait: Option<(Arc<Signal>, Option<Ticket>)>,
}

impl Future for Reached<'_> {
    type Output = Result<i64, Interrupted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let seen = this.watermark.get();
        if seen >= this.at {
            return Poll::Ready(Ok(seen));
        }
        let (signal, _) = this.wait.get_or_insert_with(|| {
            let signal = Arc::new(Signal::default());
            let ticket = this.watermark.register(this.at, &signal);
            (signal, ticket)
        });
        if signal.poll_fired(cx).is_pending() {
            return Poll::Pending;
        }
        let seen = this.watermark.get();
        Poll::Ready(if seen >= this.at { Ok(seen) } else { Err(Interrupted) })
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some((_, Some(ticket))) = self.wait.take() {
            self.watermark.forget(ticket);
        }
    }
}

#[cfg(test)]
#[path = "watermark_test.rs"]
mod tests;
