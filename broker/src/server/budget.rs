//! The memory that requests in flight may take together: `queued.max.request.bytes`.
//!
//! A frame asks for its whole length before it is read on, and gives it back when it is answered. As in Apache
//! Kafka the last one may go over the bound, so a request larger than the bound is still served: alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Bytes of requests in flight in the whole process.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    used: AtomicU64,
    /// Connections that stopped reading, by id: one that is polled again is still waiting once.
    paused: Mutex<FxHashMap<u64, Waker>>,
}

/// Whom to wake when there is room.
#[derive(Debug, Clone, Copy)]
pub struct Waiter<'a> {
    pub connection_id: u64,
    pub waker: &'a Waker,
}

/// The share of one request; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max: bytes_max.max(1), used: AtomicU64::new(0), paused: Mutex::default() }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A permit for `bytes`, or `None` after arranging that the connection is woken when there is room again.
    pub fn acquire(self: &Arc<Self>, bytes: u64, waiter: Waiter<'_>) -> Option<Permit> {
        if self.take(bytes) {
            return Some(Permit { budget: Arc::clone(self), bytes });
        }
        self.paused.lock().insert(waiter.connection_id, waiter.waker.clone());
        // Room may have appeared between the look and the registration; nobody would wake us then.
        if self.take(bytes) {
            return Some(Permit { budget: Arc::clone(self), bytes });
        }
        None
    }

    /// The connection is gone and waits for nothing.
    pub fn forget(&self, connection_id: u64) {
        self.paused.lock().remove(&connection_id);
    }

    fn take(&self, bytes: u64) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                (used < self.bytes_max).then_some(used.saturating_add(bytes))
            })
            .is_ok()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        debug_assert!(before >= self.bytes, "{before} >= {}", self.bytes);
        if before >= self.budget.bytes_max && before - self.bytes < self.budget.bytes_max {
            let paused = std::mem::take(&mut *self.budget.paused.lock());
            paused.into_values().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn used_up_budget_pauses_until_a_permit_is_given_back() {
        let budget = Arc::new(Budget::new(100));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let waiter = Waiter { connection_id: 1, waker: &waker };
        let small = budget.acquire(60, waiter).expect("there is room");
        let over = budget.acquire(60, waiter).expect("the last one may go over");
        // However often it is polled meanwhile, it is woken once.
        for _ in 0..10 {
            assert!(budget.acquire(1, waiter).is_none());
        }
        assert!(budget.acquire(1, Waiter { connection_id: 2, waker: Waker::noop() }).is_none());
        assert_eq!(budget.paused.lock().len(), 2);
        budget.forget(2);
        assert_eq!(budget.paused.lock().len(), 1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        drop(small);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        drop(over);
        assert_eq!((budget.used(), woken.0.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn request_larger_than_the_budget_is_served_alone() {
        let budget = Arc::new(Budget::new(100));
        let waiter = Waiter { connection_id: 1, waker: Waker::noop() };
        let _large = budget.acquire(1_000, waiter).expect("nothing else is in flight");
        assert!(budget.acquire(1, waiter).is_none());
    }
}
