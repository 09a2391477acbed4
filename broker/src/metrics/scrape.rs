//! The answer to a scrape: what was counted, and what others know at this moment.

use std::time::UNIX_EPOCH;

use milena_state::lag::Lag;
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::definitions::{self as table, Definition, Kind};
use super::process::Process;
use super::requests::{BUCKETS_NS, VERSIONS_MAX};
use super::{Metrics, Shard};
use crate::api::ROUTES;
use crate::broker::Node;
use crate::controller::raft::quorum::Quorum;
use crate::health::Signs;

/// All metrics of the node in Prometheus' text format.
pub fn render(node: &Node, connections: usize, signs: Signs) -> Result<String, prometheus::Error> {
    let mut families = node.metrics.requests();
    families.extend(node.metrics.rare());
    families.extend(node.metrics.cleaning.families());
    families.push(plain(&table::CONNECTIONS, connections as f64));
    families.push(plain(&table::FETCH_SESSIONS, node.fetch_sessions.count() as f64));
    let cached_partitions = node.fetch_sessions.cached_partitions();
    families.push(plain(&table::FETCH_SESSION_PARTITIONS, cached_partitions as f64));
    families.push(plain(&table::METADATA_PUBLISHED_INDEX, node.metadata.published_index() as f64));
    families.extend(metadata_age(node));
    families.push(super::quotas::measured(&node.quotas));
    families.extend(groups(node));
    families.extend(health(signs));
    families.extend(partitions(node));
    families.extend(replicas(node));
    families.extend(relocations(node));
    families.extend(lags(node));
    families.extend(process(&node.metrics));
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&families)
}

impl Metrics {
    /// Bytes that clients have sent and received.
    pub fn bytes(&self) -> (u64, u64) {
        let shards = self.shards.lock().clone();
        let sum = |of: fn(&Shard) -> u64| shards.iter().map(|shard| of(shard)).sum();
        (sum(Shard::received_bytes), sum(Shard::sent_bytes))
    }

    /// The sums of all shards, and what is told per shard.
    fn requests(&self) -> Vec<MetricFamily> {
        let shards = self.shards.lock().clone();
        let sum = |of: fn(&Shard) -> u64| shards.iter().map(|shard| of(shard)).sum::<u64>() as f64;
        let per_reactor = |definition: &Definition, of: fn(&Shard) -> f64| {
            let values = shards.iter().enumerate();
            family(definition, values.map(|(index, shard)| (vec![index.to_string()], of(shard))))
        };
        vec![
            durations(&shards),
            plain(&table::RECEIVED_BYTES, sum(Shard::received_bytes)),
            plain(&table::SENT_BYTES, sum(Shard::sent_bytes)),
            per_reactor(&table::REACTOR_STALLS, |shard| shard.stalls() as f64),
            per_reactor(&table::REACTOR_STALL_SECONDS, Shard::stall_seconds),
        ]
    }
}

fn durations(shards: &[std::sync::Arc<Shard>]) -> MetricFamily {
    let mut metrics = Vec::new();
    for (place, route) in ROUTES.iter().enumerate() {
        for version in 0..VERSIONS_MAX {
            let mut counts = [0; BUCKETS_NS.len() + 1];
            let mut sum_seconds = 0.0;
            for meter in shards.iter().filter_map(|shard| shard.meter(place, version)) {
                counts.iter_mut().zip(meter.counts()).for_each(|(sum, count)| *sum += count);
                sum_seconds += meter.sum_seconds();
            }
            if counts.iter().any(|count| *count > 0) {
                let labels = vec![route.key.name().to_owned(), version.to_string()];
                let mut metric = labelled(&table::REQUEST_DURATION, labels);
                metric.set_histogram(histogram(&counts, sum_seconds));
                metrics.push(metric);
            }
        }
    }
    with_metrics(&table::REQUEST_DURATION, metrics)
}

fn histogram(counts: &[u64; BUCKETS_NS.len() + 1], sum_seconds: f64) -> Histogram {
    let mut cumulative = 0;
    let buckets = BUCKETS_NS.iter().zip(counts).map(|(bound_ns, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound_ns as f64 / 1e9);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum_seconds);
    histogram
}

fn health(signs: Signs) -> [MetricFamily; 3] {
    let is = |definition: &Definition, holds: bool| plain(definition, f64::from(u8::from(holds)));
    [
        is(&table::READY, signs.problem().is_none()),
        is(&table::QUORUM_MEMBER_RUNNING, signs.quorum_runs),
        is(&table::METADATA_FOLLOWED, signs.metadata_is_followed),
    ]
}

fn groups(node: &Node) -> [MetricFamily; 2] {
    let census = node.groups.census();
    let by_state = census.by_state().map(|(state, count)| (vec![state.to_owned()], count as f64));
    [family(&table::GROUPS, by_state), plain(&table::GROUP_OFFSETS, census.offsets as f64)]
}

fn partitions(node: &Node) -> Vec<MetricFamily> {
    let partitions = node.partitions.all();
    let labels: Vec<_> =
        partitions.iter().map(|p| vec![p.topic().to_string(), p.index().to_string()]).collect();
    let each = |definition: &Definition, of: fn(&crate::partition::Partition) -> f64| {
        family(definition, labels.iter().cloned().zip(partitions.iter().map(|partition| of(partition))))
    };
    vec![
        plain(&table::PARTITIONS, partitions.len() as f64),
        each(&table::LOG_SIZE, |partition| partition.size_bytes() as f64),
        each(&table::LOG_START_OFFSET, |partition| partition.log_start_offset() as f64),
        each(&table::LOG_END_OFFSET, |partition| partition.log_end_offset().get() as f64),
        each(&table::HIGH_WATERMARK, |partition| partition.high_watermark().get() as f64),
    ]
}

/// Of the replicas that are on their way to another directory.
fn relocations(node: &Node) -> [MetricFamily; 2] {
    let (mut count, mut lag_max) = (0, 0);
    node.partitions.each(|partition| {
        let Some(future) = partition.future_replica() else { return };
        count += 1;
        lag_max = lag_max.max(partition.log_end_offset().get() - future.log_end_offset());
    });
    [plain(&table::DIRECTORY_MOVES, f64::from(count)), plain(&table::DIRECTORY_MOVE_LAG_MAX, lag_max as f64)]
}

fn replicas(node: &Node) -> [MetricFamily; 3] {
    let (mut under_replicated, mut under_min_isr, mut lag_max) = (0, 0, 0);
    node.partitions.each(|partition| {
        let Some(figures) = partition.replica_figures() else { return };
        under_replicated += u64::from(figures.out_of_sync_count > 0);
        under_min_isr += u64::from(figures.is_under_min_isr);
        lag_max = lag_max.max(figures.lag_max);
    });
    [
        plain(&table::UNDER_REPLICATED, under_replicated as f64),
        plain(&table::UNDER_MIN_ISR, under_min_isr as f64),
        plain(&table::FOLLOWER_LAG_MAX, lag_max as f64),
    ]
}

fn metadata_age(node: &Node) -> Option<MetricFamily> {
    let by_itself = node.quorum.as_ref().and_then(Quorum::silence);
    let age = [by_itself, node.metrics.metadata_confirmed_ago()].into_iter().flatten().min()?;
    Some(plain(&table::METADATA_AGE_SECONDS, age.as_secs_f64()))
}

fn lags(node: &Node) -> [MetricFamily; 3] {
    let current = node.lags.current();
    let labels = |lag: &Lag| {
        vec![lag.commit.group.to_string(), lag.commit.topic.to_string(), lag.commit.partition.to_string()]
    };
    let records = current.lags.iter().map(|lag| (labels(lag), lag.records as f64));
    let seconds = current.lags.iter().filter_map(|lag| Some((labels(lag), lag.age_ms? as f64 / 1e3)));
    [
        family(&table::GROUP_LAG_RECORDS, records),
        family(&table::GROUP_LAG_SECONDS, seconds),
        plain(&table::GROUP_LAGS_LEFT_OUT, current.left_out as f64),
    ]
}

fn process(metrics: &Metrics) -> Vec<MetricFamily> {
    let process = Process::read();
    let started = metrics.started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    let values = [
        (&table::PROCESS_CPU, process.cpu_seconds),
        (&table::PROCESS_RSS, process.resident_bytes),
        (&table::PROCESS_OPEN_FDS, process.open_fds),
        (&table::PROCESS_MAX_FDS, process.max_fds),
        (&table::PROCESS_THREADS, process.threads),
        (&table::PROCESS_START_TIME, started),
    ];
    values.into_iter().filter_map(|(definition, value)| Some(plain(definition, value?))).collect()
}

pub(super) fn plain(definition: &Definition, value: f64) -> MetricFamily {
    family(definition, [(Vec::new(), value)])
}

pub(super) fn family(
    definition: &Definition,
    values: impl IntoIterator<Item = (Vec<String>, f64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut metric = labelled(definition, labels);
        if definition.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    with_metrics(definition, metrics.collect())
}

fn labelled(definition: &Definition, values: Vec<String>) -> Metric {
    debug_assert_eq!(definition.labels.len(), values.len(), "{}", definition.name);
    let pairs = definition.labels.iter().zip(values).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value);
        pair
    });
    Metric::from_label(pairs.collect())
}

fn with_metrics(definition: &Definition, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help.to_owned());
    family.set_field_type(match definition.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}
