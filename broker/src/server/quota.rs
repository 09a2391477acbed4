//! Quotas in force: who used how much, and whose connection is read no more for a while.
//!
//! Handlers record what a request used and get the time that its client has to wait. The answer says so
//! (`throttle_time_ms`) and leaves at once; then nothing more is read from that connection until the time is over, as in
//! Kafka (KIP-13, KIP-599). Deliberately absent: request time (KIP-124) and connection rates (KIP-612), whose quotas are
//! stored and bound nobody. While nobody has a quota of a kind, a request costs one relaxed load of
//! [`Quotas::set`]: no lock, no allocation, no look at the clock. With one, the measure of its client is found under a
//! lock of that kind of quota, which is held for the arithmetic alone. How many clients are remembered is bounded by
//! [`CLIENTS_MAX`](milena_state::quota::usage::CLIENTS_MAX).

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use milena_protocol::ErrorCode;
use milena_state::config::broker::Settings;
use milena_state::quota::limits::{ANONYMOUS, Bucket};
use milena_state::quota::{Key, Limits, Rate, Subject, Tokens, Usage, Window};
use parking_lot::Mutex;

use super::request::RequestContext;

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

impl Quotas {
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

    fn is_set(&self, key: Key) -> bool {
        self.set.load(Ordering::Relaxed) & bit(key) != 0
    }

    fn find(&self, key: Key, client_id: &str) -> Option<(f64, Bucket)> {
        self.limits.load().find(key, Subject { user: ANONYMOUS, client_id })
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

fn bit(key: Key) -> u8 {
    1 << key as u8
}

impl RequestContext {
    /// A produce request uses what it has in bytes. The time to wait, in milliseconds.
    pub fn throttle_produce(&self) -> i32 {
        let quotas = &self.node.quotas;
        if !quotas.is_set(Key::ProducerByteRate) {
            return 0;
        }
        let Some((limit, bucket)) = quotas.find(Key::ProducerByteRate, self.client_id()) else { return 0 };
        let now_ms = quotas.now_ms();
        let mut produced = quotas.produced.lock();
        let rate = produced.of(bucket, now_ms);
        rate.record(quotas.window, self.frame.len() as f64, now_ms);
        let throttle_ms = rate.throttle_ms(quotas.window, limit, now_ms);
        drop(produced);
        self.mute(throttle_ms)
    }

    /// The most that a fetch may answer: what the quota of its client allows within its window.
    pub fn fetch_bytes_max(&self) -> Option<i32> {
        let quotas = &self.node.quotas;
        if !quotas.is_set(Key::ConsumerByteRate) {
            return None;
        }
        let (limit, _) = quotas.find(Key::ConsumerByteRate, self.client_id())?;
        // Saturates; NaN is no bound.
        Some(quotas.window.capacity(limit)).filter(|bytes| !bytes.is_nan()).map(|bytes| bytes as i32)
    }

    /// An answer of so many bytes is about to leave. With a time to wait it must not: the client gets nothing before it
    /// has waited, so nothing counts as used.
    pub fn throttle_fetch(&self, bytes: usize) -> i32 {
        let quotas = &self.node.quotas;
        if !quotas.is_set(Key::ConsumerByteRate) {
            return 0;
        }
        let Some((limit, bucket)) = quotas.find(Key::ConsumerByteRate, self.client_id()) else { return 0 };
        let now_ms = quotas.now_ms();
        let mut fetched = quotas.fetched.lock();
        let rate = fetched.of(bucket, now_ms);
        rate.record(quotas.window, bytes as f64, now_ms);
        let throttle_ms = rate.throttle_ms(quotas.window, limit, now_ms);
        if throttle_ms > 0 {
            rate.record(quotas.window, -(bytes as f64), now_ms);
        }
        drop(fetched);
        self.mute(throttle_ms)
    }

    /// The quota on changes of partitions; clients that know THROTTLING_QUOTA_EXCEEDED are refused, others only told to
    /// wait.
    pub fn mutations(&self, strict_since: i16) -> Mutations<'_> {
        let quotas = &self.node.quotas;
        let found = match quotas.is_set(Key::ControllerMutationRate) {
            true => quotas.find(Key::ControllerMutationRate, self.client_id()),
            false => None,
        };
        Mutations { cx: self, found, strict: self.version >= strict_since, throttle_ms: 0 }
    }

    /// Reads nothing from the connection for so long; the same as what its answer says.
    fn mute(&self, throttle_ms: i64) -> i32 {
        let throttle_ms = i32::try_from(throttle_ms).unwrap_or(i32::MAX);
        if throttle_ms > 0 {
            self.peer.mute_until(Instant::now() + Duration::from_millis(throttle_ms as u64));
        }
        throttle_ms
    }
}

/// What one request may still change.
pub struct Mutations<'a> {
    cx: &'a RequestContext,
    found: Option<(f64, Bucket)>,
    strict: bool,
    throttle_ms: i64,
}

impl Mutations<'_> {
    /// Takes partitions that are about to be created or deleted; none for what will be refused anyway. Errors: `THROTTLING_QUOTA_EXCEEDED`.
    pub fn admit(&mut self, partitions: Option<usize>) -> Result<(), ErrorCode> {
        let (Some((limit, bucket)), Some(partitions)) = (&self.found, partitions) else { return Ok(()) };
        let quotas = &self.cx.node.quotas;
        let now_ms = quotas.now_ms();
        let mut changed = quotas.changed.lock();
        let tokens = changed.of(bucket.clone(), now_ms);
        let (window, amount) = (quotas.mutation_window, partitions as f64);
        if !self.strict {
            self.throttle_ms = tokens.take(window, *limit, amount, now_ms);
            return Ok(());
        }
        tokens.try_take(window, *limit, amount, now_ms).map_err(|throttle_ms| {
            self.throttle_ms = throttle_ms;
            ErrorCode::ThrottlingQuotaExceeded
        })
    }

    /// The time to wait, in milliseconds.
    pub fn throttle(self) -> i32 {
        self.cx.mute(self.throttle_ms)
    }
}
