//! Broker properties: the typed settings of one process.
//!
//! [`Settings::parse`] takes the properties as text and answers with settings that make sense
//! together, or with an error that names what does not. What is absent from the file gets Kafka's
//! default, except for the few values that Kafka wants every user to write down and that we choose
//! ourselves ([`OWN_DEFAULTS`]): a broker must start without any file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::broker_check;
use super::connections::{self, MAX, RATE};
use super::coordinator::GroupCoordinator;
use super::definition::{Acts, ConfigError, Definition, Update, find, list, parse_bool, unknown};
use super::listener::Listener;
use super::{cleaner, quorum, replication, rows, topic};
use crate::quota::Window;
use crate::quota::connections::Bounds;

/// Rows of all broker properties; each slice is sorted by name.
pub const TABLE: &[&[Definition]] = &[
    rows::milena::ROWS,
    rows::server::ROWS,
    rows::controller::ROWS,
    rows::log::ROWS,
    rows::replication::ROWS,
    rows::groups::ROWS,
    rows::transactions::ROWS,
    rows::security::ROWS,
    rows::remote::ROWS,
];

/// Values that count as written by the user when they are absent.
pub const OWN_DEFAULTS: &[(&str, &str)] = &[
    ("node.id", "1"),
    ("process.roles", "broker,controller"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("controller.listener.names", "CONTROLLER"),
    ("log.dirs", "./data"),
];

/// Properties that Kafka changes while it runs and Milena by a restart only: sockets and reactors are made once.
pub const RESTART_ONLY: &[&str] = &["listener.security.protocol.map", "listeners", "num.network.threads"];

/// The settings that act.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Static properties as text: the file, the command line and [`OWN_DEFAULTS`].
    pub properties: BTreeMap<String, String>,
    pub node_id: i32,
    pub rack: Option<String>,
    /// Sockets for clients and other brokers.
    pub listeners: Vec<Listener>,
    /// Sockets for controllers, of which other nodes and the tools of controllers make use.
    pub controller_listeners: Vec<Listener>,
    /// What clients are told, one for each of `listeners`.
    pub advertised_listeners: Vec<Listener>,
    /// What other nodes are told, one for each of `controller_listeners`.
    pub advertised_controllers: Vec<Listener>,
    /// Empty in a process without the role of a broker.
    pub inter_broker_listener_name: String,
    pub log_dirs: Vec<PathBuf>,
    /// Where the metadata log lives: `metadata.log.dir`, else the first of `log_dirs`.
    pub metadata_log_dir: PathBuf,
    /// Cluster id for an empty data directory; one is generated when absent.
    pub cluster_id: Option<String>,
    /// Where metrics and health are served; none switches them off.
    pub http_listener: Option<HttpListener>,
    pub log_format: LogFormat,
    pub log_level: String,

    /// Reactors; none means one for each core.
    pub num_network_threads: Option<usize>,
    pub num_recovery_threads_per_data_dir: usize,
    /// None leaves the size to the operating system.
    pub socket_send_buffer_bytes: Option<usize>,
    pub socket_receive_buffer_bytes: Option<usize>,
    pub socket_request_max_bytes: usize,
    pub socket_listen_backlog_size: i32,
    /// Memory for requests that were read and not answered; none is no bound.
    pub queued_max_request_bytes: Option<u64>,
    /// None keeps idle connections for ever.
    pub connections_max_idle_ms: Option<u64>,
    /// What rates of clients are measured in: `quota.window.*`.
    pub quota_window: Window,
    /// As `quota_window`, for changes of topics and partitions.
    pub controller_quota_window: Window,
    /// `max.connections`, `max.connection.creation.rate` and `max.connections.per.ip`.
    pub connections: Bounds,
    /// `max.connections.per.ip.overrides`, whose hosts are for somebody else to resolve.
    pub connection_overrides: BTreeMap<String, usize>,

    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub fetch_max_bytes: i32,
    pub fetch_session_slots: usize,
    pub max_request_partition_size_limit: usize,
    /// Defaults for topics: the `log.*` properties and their like.
    pub topic: topic::Settings,
    pub cleaner: cleaner::Settings,
    pub internal_topics: InternalTopics,
    pub group_coordinator: GroupCoordinator,

    pub log_retention_check_interval_ms: u64,
    pub log_flush_offset_checkpoint_interval_ms: u64,
    pub log_flush_start_offset_checkpoint_interval_ms: u64,
    pub producer_id_expiration_ms: i64,

    pub broker_heartbeat_interval_ms: u64,
    pub broker_session_timeout_ms: i64,
    /// How often leaderships go back to preferred replicas; none: not by themselves.
    pub leader_balance_interval_ms: Option<u64>,
    pub initial_broker_registration_timeout_ms: u64,
    /// Whether a broker whose connection breaks is fenced before its session runs out.
    pub fence_on_disconnect: bool,
    pub quorum: quorum::Settings,
    pub replica_lag_time_max_ms: i64,
    pub replica_high_watermark_checkpoint_interval_ms: u64,
    pub replication: replication::Settings,
    pub metadata_max_bytes_between_snapshots: u64,
    /// None: no snapshot for age alone.
    pub metadata_max_snapshot_interval_ms: Option<u64>,
}

/// `host:port` of the admin HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Shape of the topics that coordinators keep their state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalTopics {
    pub offsets: InternalTopic,
    /// As said for `offsets`, or where nothing was said, for a node that is the whole cluster: with Kafka's 3 no group
    /// would ever find a coordinator there.
    pub offsets_replication_factor_alone: i16,
    pub transactions: InternalTopic,
    pub shares: InternalTopic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalTopic {
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub segment_bytes: i32,
    /// None: the broker's `min.insync.replicas`.
    pub min_insync_replicas: Option<i32>,
}

/// The row of a broker property; that of all listeners for a property of one of them.
pub fn definition(name: &str) -> Option<&'static Definition> {
    find(TABLE, connections::base(name).unwrap_or(name))
}

/// Every row, sorted by name.
pub fn definitions() -> Vec<&'static Definition> {
    let mut rows: Vec<_> = TABLE.iter().flat_map(|rows| rows.iter()).collect();
    rows.sort_by_key(|row| row.name);
    rows
}

impl Settings {
    /// Reads static properties.
    ///
    /// Errors: the first unknown name, invalid value, value that does not act yet, or pair of
    /// properties that do not go together.
    pub fn parse(properties: &BTreeMap<String, String>) -> Result<Settings, ConfigError> {
        Self::parse_with(properties, &[])
    }

    /// The settings when `dynamic` values (of all brokers, then of this one) are laid over the
    /// static properties.
    pub fn with_dynamic(&self, dynamic: &[&BTreeMap<String, String>]) -> Result<Settings, ConfigError> {
        Self::parse_with(&self.properties, dynamic)
    }

    fn parse_with(
        properties: &BTreeMap<String, String>,
        dynamic: &[&BTreeMap<String, String>],
    ) -> Result<Settings, ConfigError> {
        let properties = broker_check::complete(properties)?;
        let mut effective = properties.clone();
        for layer in dynamic {
            effective.extend(layer.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        for (name, value) in &effective {
            check(name, value)?;
        }
        let values = Values { set: &effective };
        broker_check::combinations(&values)?;
        values.settings(properties)
    }

    /// Settings of a broker that nobody configured.
    pub fn own_defaults() -> Settings {
        Self::parse(&BTreeMap::new()).expect("the defaults of the table fit together (tested)")
    }

    /// Properties that are accepted and have no effect in Milena, to be named in the log at start.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let rows = self.properties.keys().filter_map(|name| definition(name));
        rows.filter(|row| row.acts == Acts::NoEffect).map(|row| row.name).collect()
    }
}

/// Checks one property as a user sets it.
pub fn check(name: &str, value: &str) -> Result<(), ConfigError> {
    match definition(name) {
        Some(row) => row.check(value).map_err(|error| error.of_property(name)),
        None => Err(no_such(name, value)),
    }
}

fn no_such(name: &str, value: &str) -> ConfigError {
    let of_listener = name.strip_prefix("listener.name.").and_then(|rest| Some(rest.split_once('.')?.1));
    match of_listener {
        // Of all listeners it is known; of one it would have to do something else.
        Some(base) if definition(base).is_some() => ConfigError::NotYet {
            name: name.to_owned(),
            value: value.to_owned(),
            default: "unset".to_owned(),
        },
        Some(base) => unknown(TABLE, base).of_property(name),
        None => unknown(TABLE, name),
    }
}

/// Whether a property can be set while the broker runs: for itself, or for all at once.
pub fn is_dynamic(row: &Definition) -> bool {
    row.update != Update::ReadOnly && !RESTART_ONLY.contains(&row.name)
}

/// Checks what only a value that is set while the broker runs must fulfil.
pub fn check_dynamic(name: &str, value: &str) -> Result<(), ConfigError> {
    if [MAX, RATE].contains(&connections::base(name).unwrap_or(name)) && value.trim() == "0" {
        let reason = "nobody could connect any more to take it back".to_owned();
        return Err(ConfigError::Invalid { name: name.to_owned(), value: value.to_owned(), reason });
    }
    Ok(())
}

/// Checked text values with the table's defaults behind them.
pub(super) struct Values<'a> {
    pub(super) set: &'a BTreeMap<String, String>,
}

impl Values<'_> {
    /// The value in force, none where neither the user nor the table has one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(definition(name).is_some(), "{name} is not in the table");
        match self.set.get(name) {
            Some(value) => Some(value.trim()),
            None => definition(name)?.default,
        }
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, ConfigError> {
        self.optional(name)?.ok_or_else(|| ConfigError::Missing {
            name: name.to_owned(),
            reason: "it has no default".to_owned(),
        })
    }

    /// None when the property has no value at all.
    pub(super) fn optional<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok().and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| ConfigError::Invalid {
            name: name.to_owned(),
            value: text.to_owned(),
            reason: "it is out of range".to_owned(),
        })
    }

    /// None when the number is negative, which switches the limit off.
    fn limit<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let number: i64 = self.number(name)?;
        if number < 0 { Ok(None) } else { self.number(name).map(Some) }
    }

    fn window(&self, num: &str, size_seconds: &str) -> Result<Window, ConfigError> {
        let seconds: i64 = self.number(size_seconds)?;
        Ok(Window { samples_max: self.number(num)?, sample_ms: seconds.saturating_mul(1000) })
    }

    pub(super) fn double(&self, name: &str) -> Result<f64, ConfigError> {
        let text = self.get(name).unwrap_or_default();
        text.parse().map_err(|_| ConfigError::Invalid {
            name: name.to_owned(),
            value: text.to_owned(),
            reason: "it is not a number".to_owned(),
        })
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        self.get(name).and_then(parse_bool).unwrap_or(false)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The first of several properties for the same duration that has a value, in milliseconds.
    fn first_ms(&self, units: &[(&str, i64)]) -> Result<Option<i64>, ConfigError> {
        for (name, factor) in units {
            if let Some(number) = self.optional::<i64>(name)? {
                let ms = if number < 0 { -1 } else { number.saturating_mul(*factor) };
                return Ok(Some(ms));
            }
        }
        Ok(None)
    }

    fn settings(&self, properties: BTreeMap<String, String>) -> Result<Settings, ConfigError> {
        let sockets = broker_check::sockets(self)?;
        connections::check_listeners(&properties, &sockets)?;
        let connections = self.connections(&sockets)?;
        let quorum = quorum::settings(self, &sockets.controller_listeners, &sockets.advertised_controllers)?;
        let log_dirs = broker_check::log_dirs(self)?;
        let metadata_log_dir =
            self.text("metadata.log.dir").map_or_else(|| log_dirs[0].clone(), PathBuf::from);
        Ok(Settings {
            properties,
            node_id: self.number("node.id")?,
            rack: self.text("broker.rack"),
            listeners: sockets.listeners,
            controller_listeners: sockets.controller_listeners,
            advertised_listeners: sockets.advertised_listeners,
            advertised_controllers: sockets.advertised_controllers,
            inter_broker_listener_name: sockets.inter_broker_listener_name,
            log_dirs,
            metadata_log_dir,
            cluster_id: self.text("milena.cluster.id"),
            http_listener: broker_check::http_listener(self)?,
            log_format: match self.get("milena.log.format") {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
            log_level: self.text("milena.log.level").unwrap_or_else(|| "info".to_owned()),
            num_network_threads: match self.is_set("num.network.threads") {
                true => Some(self.number("num.network.threads")?),
                false => None,
            },
            num_recovery_threads_per_data_dir: self.number("num.recovery.threads.per.data.dir")?,
            socket_send_buffer_bytes: self.limit("socket.send.buffer.bytes")?,
            socket_receive_buffer_bytes: self.limit("socket.receive.buffer.bytes")?,
            socket_request_max_bytes: self.number("socket.request.max.bytes")?,
            socket_listen_backlog_size: self.number("socket.listen.backlog.size")?,
            queued_max_request_bytes: self.limit("queued.max.request.bytes")?,
            connections_max_idle_ms: self.limit("connections.max.idle.ms")?,
            quota_window: self.window("quota.window.num", "quota.window.size.seconds")?,
            controller_quota_window: self
                .window("controller.quota.window.num", "controller.quota.window.size.seconds")?,
            connections,
            connection_overrides: connections::overrides(
                self.get(connections::OVERRIDES).unwrap_or_default(),
            )?,
            auto_create_topics: self.bool("auto.create.topics.enable"),
            delete_topics: self.bool("delete.topic.enable"),
            num_partitions: self.number("num.partitions")?,
            default_replication_factor: self.number("default.replication.factor")?,
            fetch_max_bytes: self.number("fetch.max.bytes")?,
            fetch_session_slots: self.number("max.incremental.fetch.session.cache.slots")?,
            max_request_partition_size_limit: self.number("max.request.partition.size.limit")?,
            topic: self.topic_defaults()?,
            cleaner: cleaner::Settings::of(self)?,
            internal_topics: self.internal_topics()?,
            group_coordinator: self.group_coordinator()?,
            log_retention_check_interval_ms: self.number("log.retention.check.interval.ms")?,
            log_flush_offset_checkpoint_interval_ms: self
                .number("log.flush.offset.checkpoint.interval.ms")?,
            log_flush_start_offset_checkpoint_interval_ms: self
                .number("log.flush.start.offset.checkpoint.interval.ms")?,
            producer_id_expiration_ms: self.number("producer.id.expiration.ms")?,
            broker_heartbeat_interval_ms: self.number("broker.heartbeat.interval.ms")?,
            broker_session_timeout_ms: self.number("broker.session.timeout.ms")?,
            leader_balance_interval_ms: match self.bool("auto.leader.rebalance.enable") {
                true => {
                    Some(self.number::<u64>("leader.imbalance.check.interval.seconds")?.saturating_mul(1000))
                }
                false => None,
            },
            initial_broker_registration_timeout_ms: self.number("initial.broker.registration.timeout.ms")?,
            fence_on_disconnect: self.bool("milena.fence.on.disconnect"),
            quorum,
            replica_high_watermark_checkpoint_interval_ms: self
                .number::<i64>("replica.high.watermark.checkpoint.interval.ms")?
                .max(0) as u64,
            replica_lag_time_max_ms: self.number("replica.lag.time.max.ms")?,
            replication: replication::Settings::of(self)?,
            metadata_max_bytes_between_snapshots: self
                .number("metadata.log.max.record.bytes.between.snapshots")?,
            metadata_max_snapshot_interval_ms: match self.number("metadata.log.max.snapshot.interval.ms")? {
                0 => None,
                ms => Some(ms),
            },
        })
    }

    /// The broker's values under the names of the topic properties.
    fn topic_defaults(&self) -> Result<topic::Settings, ConfigError> {
        let mut values = BTreeMap::new();
        for (topic_name, broker_name) in TOPIC_SYNONYMS {
            if let Some(value) = self.get(broker_name) {
                values.insert((*topic_name).to_owned(), value.to_owned());
            }
        }
        for (topic_name, units) in TOPIC_DURATIONS {
            if let Some(ms) = self.first_ms(units)? {
                values.insert((*topic_name).to_owned(), ms.to_string());
            }
        }
        Ok(topic::Settings::resolve(&values, &topic::Settings::kafka_defaults()))
    }

    fn internal_topics(&self) -> Result<InternalTopics, ConfigError> {
        let topic = |prefix: &str, min_isr: Option<&str>| {
            Ok(InternalTopic {
                num_partitions: self.number(&format!("{prefix}.num.partitions"))?,
                replication_factor: self.number(&format!("{prefix}.replication.factor"))?,
                segment_bytes: self.number(&format!("{prefix}.segment.bytes"))?,
                min_insync_replicas: min_isr.map(|name| self.number(name)).transpose()?,
            })
        };
        let offsets = topic("offsets.topic", None)?;
        let is_said = self.set.contains_key("offsets.topic.replication.factor");
        Ok(InternalTopics {
            offsets,
            offsets_replication_factor_alone: if is_said { offsets.replication_factor } else { 1 },
            transactions: topic("transaction.state.log", Some("transaction.state.log.min.isr"))?,
            shares: topic("share.coordinator.state.topic", Some("share.coordinator.state.topic.min.isr"))?,
        })
    }

    /// The elements of a list property.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(|text| list(text).collect()).unwrap_or_default()
    }
}

/// Topic properties and the broker property that gives their default.
pub const TOPIC_SYNONYMS: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("compression.gzip.level", "compression.gzip.level"),
    ("compression.lz4.level", "compression.lz4.level"),
    ("compression.type", "compression.type"),
    ("compression.zstd.level", "compression.zstd.level"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("milena.flush", "milena.flush"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("preallocate", "log.preallocate"),
    ("retention.bytes", "log.retention.bytes"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
];

/// Broker properties with the milliseconds of their unit, the one that wins first.
type Units = &'static [(&'static str, i64)];

/// Topic durations that the broker may give in several units.
pub const TOPIC_DURATIONS: &[(&str, Units)] = &[
    ("flush.ms", &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]),
    (
        "retention.ms",
        &[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)],
    ),
    ("segment.jitter.ms", &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)]),
    ("segment.ms", &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
];

#[cfg(test)]
#[path = "broker_test.rs"]
mod tests;
