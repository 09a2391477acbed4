//! Quotas in force: which one acts on a client, and how much of it is used.
//!
//! [`Quotas`] gets them from each image that is published, and is asked once per request by `server::quota`, which
//! makes clients wait. While nobody has a quota of a kind, asking costs one relaxed load: no lock, no allocation, no
//! look at the clock. With one, a client that none acts on costs a look at the quotas, without a lock and without an
//! allocation; the measure of a client that has one is found under a lock of that kind of quota, which is held for the
//! arithmetic alone. How many clients are remembered is bounded by
//! [`CLIENTS_MAX`](milena_state::quota::usage::CLIENTS_MAX). Deliberately absent: request time (KIP-124) and connection
//! rates (KIP-612), whose quotas are stored and bound nobody.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use milena_state::config::broker::Settings;
use milena_state::quota::limits::{ANONYMOUS, Bucket};
use milena_state::quota::{Key, Limits, Rate, Subject, Tokens, Usage, Window};
use parking_lot::Mutex;

/// What clients used of their quotas, and the quotas.
#[derive(Debug)]
pub struct Quotas {
    /// A bit for each [`Key`] that somebody has a quota of.
    set: AtomicU8,
    limits: ArcSwap<Limits>,
    window: Window,
    mutation_window: Window,
    began: Instant,
    produced: Mutex<Usage<Rate>>,
    fetched: Mutex<Usage<Rate>>,
    changed: Mutex<Usage<Tokens>>,
}

/// The quota that acts on a client, and who shares it.
#[derive(Debug)]
pub struct Quota {
    limit: f64,
    bucket: Bucket,
}

impl Quotas {
    /// None until [`replace`](Self::replace).
    pub fn new(settings: &Settings) -> Self {
        Self {
            set: AtomicU8::new(0),
            limits: ArcSwap::default(),
            window: settings.quota_window,
            mutation_window: settings.controller_quota_window,
            began: Instant::now(),
            produced: Mutex::default(),
            fetched: Mutex::default(),
            changed: Mutex::default(),
        }
    }

    /// Requests from here on are held to these quotas; what clients used before still counts.
    pub fn replace(&self, limits: Limits) {
        let bits = Key::ALL.into_iter().filter(|key| limits.has(*key)).map(bit);
        let set = bits.fold(0, |set, bit| set | bit);
        self.limits.store(limits.into());
        self.set.store(set, Ordering::Relaxed);
    }

    /// The quota of a kind that acts on a client.
    pub fn find(&self, key: Key, client_id: &str) -> Option<Quota> {
        if self.set.load(Ordering::Relaxed) & bit(key) == 0 {
            return None;
        }
        let (limit, bucket) = self.limits.load().find(key, Subject { user: ANONYMOUS, client_id })?;
        Some(Quota { limit, bucket })
    }

    /// The most bytes that a quota on bytes allows within its window; none when it bounds nothing.
    pub fn bytes_max(&self, quota: &Quota) -> Option<i32> {
        // Saturates; NaN is no bound.
        Some(self.window.capacity(quota.limit)).filter(|bytes| !bytes.is_nan()).map(|bytes| bytes as i32)
    }

    /// Bytes came in. How long the client has to wait.
    pub fn produced(&self, quota: Quota, bytes: usize) -> i64 {
        let now_ms = self.now_ms();
        let mut produced = self.produced.lock();
        let rate = produced.of(quota.bucket, now_ms);
        rate.record(self.window, bytes as f64, now_ms);
        rate.throttle_ms(self.window, quota.limit, now_ms)
    }

    /// Bytes are about to leave. How long the client has to wait: it gets nothing before, so nothing counts as used.
    pub fn fetched(&self, quota: Quota, bytes: usize) -> i64 {
        let now_ms = self.now_ms();
        let mut fetched = self.fetched.lock();
        let rate = fetched.of(quota.bucket, now_ms);
        rate.record(self.window, bytes as f64, now_ms);
        let throttle_ms = rate.throttle_ms(self.window, quota.limit, now_ms);
        if throttle_ms > 0 {
            rate.record(self.window, -(bytes as f64), now_ms);
        }
        throttle_ms
    }

    /// Partitions are about to be created or deleted, whatever is left. How long the client has to wait.
    pub fn change(&self, quota: &Quota, partitions: usize) -> i64 {
        let now_ms = self.now_ms();
        let mut changed = self.changed.lock();
        let tokens = changed.of(quota.bucket.clone(), now_ms);
        tokens.take(self.mutation_window, quota.limit, partitions as f64, now_ms)
    }

    /// As [`change`](Self::change), unless too much was used already. Errors: how long to wait for it.
    pub fn try_change(&self, quota: &Quota, partitions: usize) -> Result<(), i64> {
        let now_ms = self.now_ms();
        let mut changed = self.changed.lock();
        let tokens = changed.of(quota.bucket.clone(), now_ms);
        tokens.try_take(self.mutation_window, quota.limit, partitions as f64, now_ms)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

fn bit(key: Key) -> u8 {
    1 << key as u8
}
