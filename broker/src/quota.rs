//! Quotas in force: which one acts on a client, and how much of it is used.
//!
//! [`Quotas`] gets them from each image that is published, and is asked once per request by `server::quota`, which
//! makes clients wait. While nobody has a quota of a kind, asking costs one relaxed load: no lock, no allocation, no
//! look at the clock. With one, a client that none acts on costs a look at the quotas, without a lock and without an
//! allocation; the measure of a client that has one is found under a lock of that kind of quota, which is held for the
//! arithmetic alone. How many clients are remembered is bounded by
//! [`CLIENTS_MAX`](milena_state::quota::usage::CLIENTS_MAX). The quotas of addresses act on [`Connections`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use milena_state::config::broker::Settings;
use milena_state::metadata::Image;
use milena_state::quota::connections::IpRates;
use milena_state::quota::limits::{ANONYMOUS, Bucket};
use milena_state::quota::{Key, Limits, Rate, Subject, Tokens, Usage, Window};
use parking_lot::Mutex;

use crate::server::admission::Connections;

/// What clients used of their quotas, and the quotas.
#[derive(Debug)]
pub struct Quotas {
    /// A bit for each [`Key`] that somebody has a quota of.
    set: AtomicU8,
    limits: ArcSwap<Limits>,
    /// How often they were replaced.
    generation: AtomicU64,
    window: Window,
    mutation_window: Window,
    began: Instant,
    produced: Mutex<Usage<Rate>>,
    fetched: Mutex<Usage<Rate>>,
    timed: Mutex<Usage<Rate>>,
    changed: Mutex<Usage<Tokens>>,
    connections: Arc<Connections>,
}

/// The quota that acts on a client, and who shares it.
#[derive(Debug)]
pub struct Quota {
    key: Key,
    limit: f64,
    bucket: Bucket,
}

/// Which quota has a client wait.
#[derive(Debug)]
pub struct Held {
    key: Key,
    limit: f64,
    client_id: String,
}

impl Quota {
    pub fn key(&self) -> Key {
        self.key
    }

    /// That a client of this name waits for it.
    pub fn held(&self, client_id: &str) -> Held {
        Held { key: self.key, limit: self.limit, client_id: client_id.to_owned() }
    }
}

impl Quotas {
    /// None until [`publish`](Self::publish).
    pub fn new(settings: &Settings) -> Self {
        Self {
            set: AtomicU8::new(0),
            limits: ArcSwap::default(),
            generation: AtomicU64::new(0),
            window: settings.quota_window,
            mutation_window: settings.controller_quota_window,
            began: Instant::now(),
            produced: Mutex::default(),
            fetched: Mutex::default(),
            timed: Mutex::default(),
            changed: Mutex::default(),
            connections: Arc::new(Connections::new(settings.quota_window, settings.connections.clone())),
        }
    }

    /// Requests and connections from here on are held to the quotas of `image`; what clients used before still counts.
    pub fn publish(&self, image: &Image) {
        self.connections.set_ip_rates(IpRates::of(image));
        self.replace(Limits::of(image));
    }

    fn replace(&self, limits: Limits) {
        let bits = Key::ALL.into_iter().filter(|key| limits.has(*key)).map(bit);
        let set = bits.fold(0, |set, bit| set | bit);
        self.limits.store(limits.into());
        self.set.store(set, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Changes with the quotas.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The quota of a kind that acts on a client.
    pub fn find(&self, key: Key, client_id: &str) -> Option<Quota> {
        if self.set.load(Ordering::Relaxed) & bit(key) == 0 {
            return None;
        }
        let (limit, bucket) = self.limits.load().find(key, Subject { user: ANONYMOUS, client_id })?;
        Some(Quota { key, limit, bucket })
    }

    /// Whether the client would be held as much by what is in force now.
    pub fn still_holds(&self, held: &Held) -> bool {
        self.find(held.key, &held.client_id).is_some_and(|quota| quota.limit <= held.limit)
    }

    /// The connections of all listeners.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Kinds of quotas, and how many clients or addresses each remembers.
    pub fn measured(&self) -> [(Key, usize); Key::ALL.len()] {
        Key::ALL.map(|key| {
            let count = match key {
                Key::ConnectionCreationRate => self.connections.measured_addresses(),
                Key::ConsumerByteRate => self.fetched.lock().len(),
                Key::ControllerMutationRate => self.changed.lock().len(),
                Key::ProducerByteRate => self.produced.lock().len(),
                Key::RequestPercentage => self.timed.lock().len(),
            };
            (key, count)
        })
    }

    /// The most bytes that a quota on bytes allows within its window; none when it bounds nothing.
    pub fn bytes_max(&self, quota: &Quota) -> Option<i32> {
        // Saturates; NaN is no bound.
        Some(self.window.capacity(quota.limit)).filter(|bytes| !bytes.is_nan()).map(|bytes| bytes as i32)
    }

    /// Bytes came in. How long the client has to wait.
    pub fn produced(&self, quota: &Quota, bytes: usize) -> i64 {
        let now_ms = self.now_ms();
        let mut produced = self.produced.lock();
        let rate = produced.of(quota.bucket.clone(), now_ms);
        rate.record(self.window, bytes as f64, now_ms);
        rate.throttle_ms(self.window, quota.limit, now_ms)
    }

    /// Bytes are about to leave. How long the client has to wait: it gets nothing before, so nothing counts as used. Nor
    /// does it when the client `waits` for something else.
    pub fn fetched(&self, quota: &Quota, bytes: usize, waits: bool) -> i64 {
        let now_ms = self.now_ms();
        let mut fetched = self.fetched.lock();
        let rate = fetched.of(quota.bucket.clone(), now_ms);
        rate.record(self.window, bytes as f64, now_ms);
        let throttle_ms = rate.throttle_ms(self.window, quota.limit, now_ms);
        if throttle_ms > 0 || waits {
            rate.record(self.window, -(bytes as f64), now_ms);
        }
        throttle_ms
    }

    /// A request took so much time. How long the client has to wait, at most one sample of the window.
    pub fn took(&self, quota: &Quota, time: Duration) -> i64 {
        let now_ms = self.now_ms();
        let mut timed = self.timed.lock();
        let rate = timed.of(quota.bucket.clone(), now_ms);
        rate.record(self.window, percent_of_a_second(time), now_ms);
        rate.throttle_ms(self.window, quota.limit, now_ms).min(self.window.sample_ms)
    }

    /// As [`took`](Self::took), for what nobody waits for.
    pub fn took_besides(&self, quota: &Quota, time: Duration) {
        let now_ms = self.now_ms();
        let mut timed = self.timed.lock();
        timed.of(quota.bucket.clone(), now_ms).record(self.window, percent_of_a_second(time), now_ms);
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

/// Of one thread.
fn percent_of_a_second(time: Duration) -> f64 {
    time.as_secs_f64() * 100.0
}

#[cfg(test)]
pub(crate) mod tests {
    use milena_state::metadata::Record;
    use milena_state::metadata::record::ClientQuotaRecord;
    use milena_state::quota::{Entity, Name, Value};

    use super::*;

    /// Has one quota in force and no other.
    pub(crate) fn published(quotas: &Quotas, entity: &Entity, key: Key, value: Value) {
        let mut image = Image::default();
        let record = ClientQuotaRecord { entity: entity.clone(), key, value: Some(value) };
        image.apply(&Record::ClientQuota(record)).expect("it fits");
        quotas.publish(&image);
    }

    fn everybody() -> Entity {
        Entity::client_id(Name::Default)
    }

    #[test]
    fn time_beyond_the_quota_has_the_client_wait_for_one_sample_at_most() {
        let quotas = Quotas::new(&Settings::own_defaults());
        published(&quotas, &everybody(), Key::RequestPercentage, Value::new(50.0));
        let quota = quotas.find(Key::RequestPercentage, "c").expect("it acts");
        // Ten seconds at half a thread are five.
        assert_eq!(quotas.took(&quota, Duration::from_millis(4900)), 0);
        quotas.took_besides(&quota, Duration::from_millis(99));
        let throttle_ms = quotas.took(&quota, Duration::from_millis(11));
        assert!((1..=20).contains(&throttle_ms), "{throttle_ms}");
        assert_eq!(quotas.took(&quota, Duration::from_secs(60)), 1000);
        assert_eq!(quotas.measured()[Key::RequestPercentage as usize], (Key::RequestPercentage, 1));
    }

    #[test]
    fn nobody_is_held_by_a_quota_that_was_raised_or_taken_away() {
        let quotas = Quotas::new(&Settings::own_defaults());
        let rate = Key::ProducerByteRate;
        published(&quotas, &everybody(), rate, Value::new(10.0));
        let held = quotas.find(rate, "c").expect("it acts").held("c");
        assert!(quotas.still_holds(&held));
        published(&quotas, &everybody(), rate, Value::new(5.0));
        assert!(quotas.still_holds(&held), "it is stricter");
        published(&quotas, &everybody(), rate, Value::new(11.0));
        assert!(!quotas.still_holds(&held));
        published(&quotas, &everybody(), Key::ConsumerByteRate, Value::new(1.0));
        assert!(!quotas.still_holds(&held));
    }
}
