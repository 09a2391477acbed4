//! Topic properties: the typed settings of one topic.
//!
//! A value set on the topic wins, then the broker property that Kafka pairs with it (dynamic before
//! static), then the default. Durations that `-1` switches off are options; everything else keeps
//! Kafka's number.

use std::collections::BTreeMap;

use super::definition::{Acts, ConfigError, Definition, find, list, parse_bool, unknown};
use super::rows;
use crate::partition::throttle::Throttled;

/// Rows of all topic properties, sorted by name.
pub const TABLE: &[&[Definition]] = &[rows::topic::ROWS];

/// What the storage engine and the partition rules need to know about a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub cleanup: Cleanup,
    pub compression: Compression,
    levels: Levels,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    /// Records between two forced syncs; `i64::MAX` leaves it to the operating system.
    pub flush_messages: i64,
    /// Milliseconds until an append is synced; `i64::MAX` leaves it to the operating system.
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    /// None: size does not limit the log.
    pub retention_bytes: Option<i64>,
    /// None: records are kept for ever.
    pub retention_ms: Option<i64>,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election: bool,
    /// Which replicas wait while the broker that leads them gives more than its rate.
    pub leader_throttled: Throttled,
    /// Which replicas wait while the broker that holds them copies more than its rate.
    pub follower_throttled: Throttled,
    /// `milena.flush`: what an acknowledgement promises about power loss.
    pub flush: Flush,
}

/// `cleanup.policy`; neither means that records are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    pub delete: bool,
    pub compact: bool,
}

/// `compression.type` with the level that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent it.
    Producer,
    Uncompressed,
    /// −1 or 1 to 9.
    Gzip(i32),
    Snappy,
    /// 1 to 17.
    Lz4(i32),
    /// −131072 to 22.
    Zstd(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// `milena.flush`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// As Kafka: a record is committed when the in-sync replicas hold it in memory.
    PageCache,
    /// A record is committed when the in-sync replicas have synced it to disk.
    Durable,
}

/// The row of a topic property.
pub fn definition(name: &str) -> Option<&'static Definition> {
    find(TABLE, name)
}

/// Checks the values that somebody wants to set on a topic.
///
/// Errors: unknown name, wrong type or range, a value that does not act yet.
pub fn check(overrides: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, value) in overrides {
        definition(name).ok_or_else(|| unknown(TABLE, name))?.check(value)?;
    }
    check_pairs(overrides, overrides)
}

/// What must hold between all values that a topic has. It is looked at when one of the pair changes.
pub fn check_pairs(
    changed: &BTreeMap<String, String>,
    overrides: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    if !["min.compaction.lag.ms", "max.compaction.lag.ms"].iter().any(|name| changed.contains_key(*name)) {
        return Ok(());
    }
    let long = |name: &str| overrides.get(name).and_then(|v| v.trim().parse::<i64>().ok());
    if let (Some(min), Some(max)) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"))
        && min > max
    {
        return Err(ConfigError::Conflict {
            first: "min.compaction.lag.ms".to_owned(),
            second: "max.compaction.lag.ms".to_owned(),
            reason: format!("the minimum {min} is greater than the maximum {max}"),
        });
    }
    Ok(())
}

impl Settings {
    /// The settings of a topic with `overrides` on a broker whose own defaults are `defaults`.
    ///
    /// Total for whatever a metadata log may hold: a value that this version does not know or
    /// cannot read is passed over, because a broker must serve the topic all the same. What users
    /// set is checked by [`check`] before it becomes a record.
    pub fn resolve(overrides: &BTreeMap<String, String>, defaults: &Settings) -> Settings {
        let mut settings = defaults.clone();
        for (name, value) in overrides {
            settings.set(name, value.trim());
        }
        settings.set_compression(overrides, defaults);
        settings
    }

    /// Kafka's defaults, without any broker's opinion.
    pub fn kafka_defaults() -> Settings {
        let values = TABLE
            .iter()
            .flat_map(|rows| rows.iter())
            .filter_map(|row| Some((row.name.to_owned(), row.default?.to_owned())))
            .collect();
        Settings::resolve(&values, &Settings::ZERO)
    }

    /// Every field at a value that the table replaces.
    const ZERO: Settings = Settings {
        cleanup: Cleanup { delete: true, compact: false },
        compression: Compression::Producer,
        levels: Levels { gzip: -1, lz4: 9, zstd: 3 },
        delete_retention_ms: 0,
        file_delete_delay_ms: 0,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        index_interval_bytes: 0,
        max_compaction_lag_ms: i64::MAX,
        max_message_bytes: 0,
        message_timestamp_after_max_ms: 0,
        message_timestamp_before_max_ms: 0,
        message_timestamp_type: TimestampType::CreateTime,
        min_cleanable_dirty_ratio: 0.0,
        min_compaction_lag_ms: 0,
        min_insync_replicas: 1,
        preallocate: false,
        retention_bytes: None,
        retention_ms: None,
        segment_bytes: 0,
        segment_index_bytes: 0,
        segment_jitter_ms: 0,
        segment_ms: 0,
        unclean_leader_election: false,
        leader_throttled: Throttled::None,
        follower_throttled: Throttled::None,
        flush: Flush::PageCache,
    };

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "cleanup.policy" => self.cleanup = Cleanup::parse(value),
            "delete.retention.ms" => set(&mut self.delete_retention_ms, value),
            "file.delete.delay.ms" => set(&mut self.file_delete_delay_ms, value),
            "flush.messages" => set(&mut self.flush_messages, value),
            "flush.ms" => set(&mut self.flush_ms, value),
            "follower.replication.throttled.replicas" => self.follower_throttled = Throttled::parse(value),
            "index.interval.bytes" => set(&mut self.index_interval_bytes, value),
            "leader.replication.throttled.replicas" => self.leader_throttled = Throttled::parse(value),
            "max.compaction.lag.ms" => set(&mut self.max_compaction_lag_ms, value),
            "max.message.bytes" => set(&mut self.max_message_bytes, value),
            "message.timestamp.after.max.ms" => set(&mut self.message_timestamp_after_max_ms, value),
            "message.timestamp.before.max.ms" => set(&mut self.message_timestamp_before_max_ms, value),
            "message.timestamp.type" => match value {
                "CreateTime" => self.message_timestamp_type = TimestampType::CreateTime,
                "LogAppendTime" => self.message_timestamp_type = TimestampType::LogAppendTime,
                _ => {}
            },
            "min.cleanable.dirty.ratio" => set(&mut self.min_cleanable_dirty_ratio, value),
            "min.compaction.lag.ms" => set(&mut self.min_compaction_lag_ms, value),
            "min.insync.replicas" => set(&mut self.min_insync_replicas, value),
            "preallocate" => set_bool(&mut self.preallocate, value),
            "retention.bytes" => set_limit(&mut self.retention_bytes, value),
            "retention.ms" => set_limit(&mut self.retention_ms, value),
            "segment.bytes" => set(&mut self.segment_bytes, value),
            "segment.index.bytes" => set(&mut self.segment_index_bytes, value),
            "segment.jitter.ms" => set(&mut self.segment_jitter_ms, value),
            "segment.ms" => set(&mut self.segment_ms, value),
            "unclean.leader.election.enable" => set_bool(&mut self.unclean_leader_election, value),
            "milena.flush" => match value {
                "page-cache" => self.flush = Flush::PageCache,
                "durable" => self.flush = Flush::Durable,
                _ => {}
            },
            _ => {}
        }
    }

    /// Type and level are separate properties, each of which the topic may set without the other.
    fn set_compression(&mut self, overrides: &BTreeMap<String, String>, defaults: &Settings) {
        let get = |name: &str| overrides.get(name).map(|value| value.trim());
        let level = |name: &str, field: &mut i32| set(field, get(name).unwrap_or(""));
        level("compression.gzip.level", &mut self.levels.gzip);
        level("compression.lz4.level", &mut self.levels.lz4);
        level("compression.zstd.level", &mut self.levels.zstd);
        let inherited = defaults.compression.type_name();
        let kind = get("compression.type").unwrap_or(inherited);
        self.compression = Compression::of(kind, self.levels)
            .or_else(|| Compression::of(inherited, self.levels))
            .unwrap_or(defaults.compression);
    }
}

/// Levels, which wait for their type to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Levels {
    gzip: i32,
    lz4: i32,
    zstd: i32,
}

impl Compression {
    pub fn type_name(self) -> &'static str {
        match self {
            Compression::Producer => "producer",
            Compression::Uncompressed => "uncompressed",
            Compression::Gzip(_) => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4(_) => "lz4",
            Compression::Zstd(_) => "zstd",
        }
    }

    fn of(type_name: &str, levels: Levels) -> Option<Self> {
        Some(match type_name {
            "producer" => Compression::Producer,
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip(levels.gzip),
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4(levels.lz4),
            "zstd" => Compression::Zstd(levels.zstd),
            _ => return None,
        })
    }
}

impl Cleanup {
    fn parse(value: &str) -> Self {
        let has = |name: &str| list(value).any(|policy| policy == name);
        Self { delete: has("delete"), compact: has("compact") }
    }
}

fn set<T: std::str::FromStr>(field: &mut T, value: &str) {
    if let Ok(value) = value.parse() {
        *field = value;
    }
}

fn set_bool(field: &mut bool, value: &str) {
    if let Some(value) = parse_bool(value) {
        *field = value;
    }
}

/// A negative number switches the limit off.
fn set_limit(field: &mut Option<i64>, value: &str) {
    if let Ok(value) = value.parse::<i64>() {
        *field = (value >= 0).then_some(value);
    }
}

/// Whether Milena does today what the property says (false for unknown names).
pub fn acts(name: &str) -> bool {
    definition(name).is_some_and(|row| row.acts == Acts::Yes)
}

#[cfg(test)]
#[path = "topic_test.rs"]
mod tests;
