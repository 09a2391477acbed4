//! `/api/v1/cluster`: what the broker is and how much it does.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::answer::json;
use super::groups::Sum;
use crate::admin::Admin;
use crate::broker::now_ms;
use crate::lag::Snapshot;
use crate::metrics::Process;

#[derive(Serialize)]
struct Cluster<'a> {
    cluster_id: &'a str,
    broker_id: i32,
    version: &'static str,
    now_ms: i64,
    uptime_ms: u64,
    /// Why clients should not be sent here; null when they may be.
    problem: Option<&'static str>,
    topics: usize,
    /// Partitions with a replica on this broker, and what they weigh.
    partitions: usize,
    size_bytes: u64,
    connections: usize,
    received_bytes_total: u64,
    sent_bytes_total: u64,
    resident_bytes: Option<f64>,
    cpu_seconds_total: Option<f64>,
    brokers: Vec<Broker>,
    /// The groups with the oldest records that are not consumed, the oldest first.
    most_behind: Vec<Behind>,
}

#[derive(Serialize)]
struct Behind {
    group: String,
    #[serde(flatten)]
    lag: Sum,
}

/// Groups that are named as those most behind.
const MOST_BEHIND_MAX: usize = 5;

#[derive(Serialize)]
struct Broker {
    broker_id: i32,
    endpoints: Vec<String>,
    rack: Option<String>,
    is_active: bool,
}

pub async fn answer(State(admin): State<Admin>) -> Response {
    let node = &admin.node;
    let image = node.metadata.image_arc();
    let partitions = node.partitions.all();
    let (received_bytes_total, sent_bytes_total) = node.metrics.bytes();
    let process = Process::read();
    let brokers = image.brokers().map(|broker| Broker {
        broker_id: broker.broker_id,
        endpoints: broker.endpoints.iter().map(|at| format!("{}://{}", at.name, at.address())).collect(),
        rack: broker.rack.clone(),
        is_active: broker.is_active(),
    });
    json(Ok(Cluster {
        cluster_id: &node.cluster_id,
        broker_id: node.settings.node_id,
        version: env!("CARGO_PKG_VERSION"),
        now_ms: now_ms(),
        uptime_ms: u64::try_from(node.metrics.uptime().as_millis()).unwrap_or(u64::MAX),
        problem: admin.health.signs().problem(),
        topics: image.topics_count(),
        partitions: partitions.len(),
        size_bytes: partitions.iter().map(|partition| partition.size_bytes()).sum(),
        connections: admin.connections.total(),
        received_bytes_total,
        sent_bytes_total,
        resident_bytes: process.resident_bytes,
        cpu_seconds_total: process.cpu_seconds,
        brokers: brokers.collect(),
        most_behind: most_behind(&node.lags.current()),
    }))
}

fn most_behind(current: &Snapshot) -> Vec<Behind> {
    let of_groups = current.lags.chunk_by(|a, b| a.commit.group == b.commit.group);
    let sums = of_groups.map(|lags| Behind { group: lags[0].commit.group.to_string(), lag: Sum::of(lags) });
    let mut behind: Vec<Behind> = sums.filter(|one| one.lag.lag_records > Some(0)).collect();
    behind.sort_by_key(|one| std::cmp::Reverse((one.lag.lag_ms, one.lag.lag_records)));
    behind.truncate(MOST_BEHIND_MAX);
    behind
}
