//! Whom quotas had wait, and for how long.

use std::time::Duration;

use milena_state::quota::Key;
use milena_state::quota::connections::Scope;
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntCounterVec};

use super::definitions::{self as table, Definition};
use super::scrape::family;
use super::{Metrics, counters, options};
use crate::quota::Quotas;

/// Counters of the quotas of this process. Nobody touches them before somebody is made to wait.
#[derive(Debug)]
pub(super) struct Counters {
    requests: Waits,
    connections: Waits,
}

/// How many waited, and for how long, by what had them wait.
#[derive(Debug)]
struct Waits {
    count: IntCounterVec,
    seconds: CounterVec,
}

impl Waits {
    fn new<'a>(count: &Definition, seconds: &Definition, labels: impl IntoIterator<Item = &'a str>) -> Self {
        let seconds = CounterVec::new(options(seconds), seconds.labels);
        let waits = Self { count: counters(count), seconds: seconds.expect("names in the table are valid") };
        for label in labels {
            waits.add(label, 0, Duration::ZERO);
        }
        waits
    }

    fn add(&self, label: &str, count: u64, time: Duration) {
        self.count.with_label_values(&[label]).inc_by(count);
        self.seconds.with_label_values(&[label]).inc_by(time.as_secs_f64());
    }

    fn collect(&self) -> Vec<MetricFamily> {
        [self.count.collect(), self.seconds.collect()].concat()
    }
}

/// Those that requests wait for.
fn of_requests() -> impl Iterator<Item = &'static str> {
    Key::ALL.into_iter().filter(|key| *key != Key::ConnectionCreationRate).map(Key::name)
}

impl Counters {
    pub(super) fn new() -> Self {
        let requests = Waits::new(&table::QUOTA_THROTTLED, &table::QUOTA_THROTTLE_SECONDS, of_requests());
        let scopes = Scope::ALL.map(Scope::name);
        let connections =
            Waits::new(&table::CONNECTIONS_THROTTLED, &table::CONNECTION_THROTTLE_SECONDS, scopes);
        Self { requests, connections }
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        [self.requests.collect(), self.connections.collect()].concat()
    }
}

impl Metrics {
    /// A client was told to wait.
    pub fn request_throttled(&self, key: Key, time: Duration) {
        self.quotas.requests.add(key.name(), 1, time);
    }

    /// A connection is served, or closed, so much later than it came.
    pub fn connection_throttled(&self, scope: Scope, time: Duration) {
        self.quotas.connections.add(scope.name(), 1, time);
    }
}

/// How many clients each quota remembers.
pub(super) fn measured(quotas: &Quotas) -> MetricFamily {
    let counts = quotas.measured().map(|(key, count)| (vec![key.name().to_owned()], count as f64));
    family(&table::QUOTA_CLIENTS, counts)
}
