//! Everything this process counts, as methods on a struct that is passed in.
//!
//! What happens once per request is counted in the [`Shard`] of its reactor, without sharing a cache line with
//! another thread; rare events go through plain counters. What others keep anyway (log sizes, raft state, the
//! process) is read when somebody scrapes. `definitions` is the table that `docs/metrics.md` is made from.

pub mod cleaning;
pub mod definitions;
mod groups;
mod process;
mod quotas;
mod relocations;
mod replication;
mod requests;
mod scrape;

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::Collector as _;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use definitions::Definition;
pub use process::Process;
pub use replication::Direction;
pub use requests::Shard;
pub use scrape::render;

/// A named bound that something ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max.connections`, of the broker or of a listener: accepting waits.
    Connections,
    /// `max.connections.per.ip` and its overrides: the connection is closed.
    ConnectionsPerIp,
    /// Connections of addresses that open them too fast, which are held until they are closed: it is closed at once.
    ConnectionsHeld,
    /// File descriptors of the process: accepting waits.
    Descriptors,
    /// `queued.max.request.bytes`: reading waits.
    RequestMemory,
    /// `connections.max.idle.ms`: the connection is closed.
    Idle,
    /// A frame that is not completed in time: the connection is closed.
    UnfinishedFrame,
    /// A client that does not read its answers: the connection is closed.
    BlockedWrite,
    /// `max.incremental.fetch.session.cache.slots`: the client goes on without a session.
    FetchSessions,
    /// Partitions of one or all fetch sessions: the session is closed or not made.
    FetchSessionPartitions,
    /// Requests of one connection that wait for their answer: reading waits.
    RequestsInFlight,
    /// Answers of one connection that wait for the client: reading waits.
    OutputBytes,
    /// `max.message.bytes`, or what a batch may unpack to: the batch is refused.
    BatchBytes,
    /// What a client may make us wait: the wait is cut short.
    WaitTime,
    /// Commands that wait for the controller: the request is refused.
    ControllerMailbox,
    /// Connections of the HTTP port: accepting waits.
    HttpConnections,
    /// Requests that wait for one group coordinator: the request is refused.
    GroupRequests,
}

/// Why a request got no proper answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Bytes that are not a request.
    Malformed,
    /// An API or version that is not served.
    Unsupported,
    /// A handler panicked.
    Panic,
    /// A response could not be encoded.
    Unencodable,
}

impl Limit {
    const ALL: [Limit; 17] = [
        Limit::Connections,
        Limit::ConnectionsPerIp,
        Limit::ConnectionsHeld,
        Limit::Descriptors,
        Limit::RequestMemory,
        Limit::Idle,
        Limit::UnfinishedFrame,
        Limit::BlockedWrite,
        Limit::FetchSessions,
        Limit::FetchSessionPartitions,
        Limit::RequestsInFlight,
        Limit::OutputBytes,
        Limit::BatchBytes,
        Limit::WaitTime,
        Limit::ControllerMailbox,
        Limit::HttpConnections,
        Limit::GroupRequests,
    ];

    /// Value of the label `limit`.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::ConnectionsPerIp => "connections_per_ip",
            Limit::ConnectionsHeld => "connections_held",
            Limit::Descriptors => "descriptors",
            Limit::RequestMemory => "request_memory",
            Limit::Idle => "idle",
            Limit::UnfinishedFrame => "unfinished_frame",
            Limit::BlockedWrite => "blocked_write",
            Limit::FetchSessions => "fetch_sessions",
            Limit::FetchSessionPartitions => "fetch_session_partitions",
            Limit::RequestsInFlight => "requests_in_flight",
            Limit::OutputBytes => "output_bytes",
            Limit::BatchBytes => "batch_bytes",
            Limit::WaitTime => "wait_time",
            Limit::ControllerMailbox => "controller_mailbox",
            Limit::HttpConnections => "http_connections",
            Limit::GroupRequests => "group_requests",
        }
    }
}

impl Failure {
    const ALL: [Failure; 4] =
        [Failure::Malformed, Failure::Unsupported, Failure::Panic, Failure::Unencodable];

    /// Value of the label `reason`.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Malformed => "malformed",
            Failure::Unsupported => "unsupported",
            Failure::Panic => "panic",
            Failure::Unencodable => "unencodable",
        }
    }
}

/// The counters of this process.
#[derive(Debug)]
pub struct Metrics {
    started: std::time::SystemTime,
    shards: Mutex<Vec<Arc<Shard>>>,
    connections_accepted: IntCounter,
    limits: [IntCounter; Limit::ALL.len()],
    limits_family: IntCounterVec,
    failures: [IntCounter; Failure::ALL.len()],
    failures_family: IntCounterVec,
    raft_term: IntGauge,
    raft_committed_index: IntGauge,
    raft_applied_index: IntGauge,
    metadata_fetched_bytes: IntCounter,
    metadata_checkpoint_index: IntGauge,
    metadata_confirmed: Mutex<Option<std::time::Instant>>,
    log_directories_offline: IntGauge,
    groups: groups::Counters,
    quotas: quotas::Counters,
    pub replication: replication::Replication,
    /// Between the directories of this broker.
    pub relocations: relocations::Relocations,
    /// Of the log cleaner.
    pub cleaning: cleaning::Cleaning,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let limits_family = counters(&definitions::LIMIT_REACHED);
        let failures_family = counters(&definitions::REQUEST_FAILURES);
        Self {
            started: std::time::SystemTime::now(),
            shards: Mutex::default(),
            connections_accepted: counter(&definitions::CONNECTIONS_ACCEPTED),
            limits: Limit::ALL.map(|limit| limits_family.with_label_values(&[limit.name()])),
            limits_family,
            failures: Failure::ALL.map(|failure| failures_family.with_label_values(&[failure.name()])),
            failures_family,
            raft_term: gauge(&definitions::RAFT_TERM),
            raft_committed_index: gauge(&definitions::RAFT_COMMITTED_INDEX),
            raft_applied_index: gauge(&definitions::RAFT_APPLIED_INDEX),
            metadata_fetched_bytes: counter(&definitions::METADATA_FETCHED_BYTES),
            metadata_checkpoint_index: gauge(&definitions::METADATA_CHECKPOINT_INDEX),
            metadata_confirmed: Mutex::default(),
            log_directories_offline: gauge(&definitions::LOG_DIRECTORIES_OFFLINE),
            groups: groups::Counters::new(),
            quotas: quotas::Counters::new(),
            replication: replication::Replication::new(),
            relocations: relocations::Relocations::new(),
            cleaning: cleaning::Cleaning::default(),
        }
    }

    pub fn uptime(&self) -> std::time::Duration {
        self.started.elapsed().unwrap_or_default()
    }

    /// Counters for one more reactor.
    pub fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::new());
        self.shards.lock().push(Arc::clone(&shard));
        shard
    }

    pub fn connection_accepted(&self) {
        self.connections_accepted.inc();
    }

    /// Something was refused, closed or made to wait because of a bound.
    pub fn refused(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    #[cfg(test)]
    pub(crate) fn refusals(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].get()
    }

    pub fn request_failed(&self, failure: Failure) {
        self.failures[failure as usize].inc();
    }

    /// The state of the metadata quorum as this node sees it.
    pub fn raft(&self, term: u64, committed_index: i64, applied_index: i64) {
        self.raft_term.set(i64::try_from(term).unwrap_or(i64::MAX));
        self.raft_committed_index.set(committed_index);
        self.raft_applied_index.set(applied_index);
    }

    /// Records of committed metadata came from a controller.
    pub fn metadata_fetched(&self, bytes: usize) {
        self.metadata_fetched_bytes.inc_by(bytes as u64);
    }

    /// Bytes of such records, since the start.
    pub fn metadata_fetched_bytes(&self) -> u64 {
        self.metadata_fetched_bytes.get()
    }

    /// A controller that knows what is committed has answered.
    pub fn metadata_confirmed(&self) {
        *self.metadata_confirmed.lock() = Some(std::time::Instant::now());
    }

    /// How long ago that was last.
    pub fn metadata_confirmed_ago(&self) -> Option<std::time::Duration> {
        self.metadata_confirmed.lock().map(|at| at.elapsed())
    }

    /// The checkpoint of the metadata stands there.
    pub fn metadata_checkpoint(&self, index: i64) {
        self.metadata_checkpoint_index.set(index);
    }

    pub fn log_directories_offline(&self, count: usize) {
        self.log_directories_offline.set(count as i64);
    }

    fn rare(&self) -> Vec<prometheus::proto::MetricFamily> {
        [
            self.connections_accepted.collect(),
            self.limits_family.collect(),
            self.failures_family.collect(),
            self.raft_term.collect(),
            self.raft_committed_index.collect(),
            self.raft_applied_index.collect(),
            self.metadata_fetched_bytes.collect(),
            self.metadata_checkpoint_index.collect(),
            self.log_directories_offline.collect(),
            self.groups.collect(),
            self.quotas.collect(),
            self.replication.collect(),
            self.relocations.collect(),
        ]
        .concat()
    }
}

fn options(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

fn counter(definition: &Definition) -> IntCounter {
    IntCounter::with_opts(options(definition)).expect("names in the table are valid")
}

fn counters(definition: &Definition) -> IntCounterVec {
    IntCounterVec::new(options(definition), definition.labels).expect("names in the table are valid")
}

fn gauge(definition: &Definition) -> IntGauge {
    IntGauge::with_opts(options(definition)).expect("names in the table are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_and_failure_has_its_own_counter() {
        let metrics = Metrics::new();
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
            metrics.refused(limit);
            assert_eq!(metrics.limits_family.with_label_values(&[limit.name()]).get(), 1);
        }
        for (index, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, index);
            metrics.request_failed(failure);
            assert_eq!(metrics.failures_family.with_label_values(&[failure.name()]).get(), 1);
        }
    }
}
