//! Tiered storage.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::NotYet;
use crate::config::definition::Kind::{Boolean, Int, Long, String};
use crate::config::definition::Update::{ClusterWide, ReadOnly};
use crate::config::definition::Valid::{Any, AtLeast, NonEmpty};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("follower.fetch.last.tiered.offset.enable", Boolean, Some("false"), Any, ClusterWide, NotYet,
        "Whether an empty follower starts behind what tiered storage already holds."),
    row("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), ClusterWide, NotYet,
        "Default for topics: bytes kept locally when older segments are tiered; -2 follows the total."),
    row("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), ClusterWide, NotYet,
        "Default for topics: time that tiered segments also stay local; -2 follows the total."),
    row("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1), ClusterWide, NotYet,
        "Time that a fetch waits for tiered storage."),
    row("remote.list.offsets.request.timeout.ms", Long, Some("30000"), AtLeast(1), ClusterWide, NotYet,
        "Time that a lookup of an offset in tiered storage may take."),
    row("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1), ClusterWide, NotYet,
        "Disk space for indexes fetched from tiered storage."),
    row("remote.log.manager.copier.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, NotYet,
        "Threads that copy segments to tiered storage."),
    row("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, NotYet,
        "Speed limit for copying to tiered storage."),
    row("remote.log.manager.copy.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, NotYet,
        "Samples kept for measuring the copying to tiered storage."),
    row("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, NotYet,
        "Length of each sample for measuring the copying to tiered storage."),
    row("remote.log.manager.expiration.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, NotYet,
        "Threads that delete outdated segments from tiered storage."),
    row("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, NotYet,
        "Speed limit for reading from tiered storage."),
    row("remote.log.manager.fetch.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, NotYet,
        "Samples kept for measuring reads from tiered storage."),
    row("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, NotYet,
        "Length of each sample for measuring reads from tiered storage."),
    row("remote.log.manager.follower.thread.pool.size", Int, Some("2"), AtLeast(1), ClusterWide, NotYet,
        "Threads that look after tiered partitions on followers."),
    row("remote.log.manager.task.interval.ms", Long, Some("30000"), AtLeast(1), ReadOnly, NotYet,
        "How often segments are copied to and expired from tiered storage."),
    row("remote.log.manager.thread.pool.size", Int, Some("2"), AtLeast(1), ReadOnly, NotYet,
        "Threads that schedule the work of tiered storage."),
    row("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), AtLeast(0), ReadOnly, NotYet,
        "Bytes that a storage plugin may keep with each segment's metadata."),
    row("remote.log.metadata.manager.class.name", String, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmpty, ReadOnly, NotYet,
        "Java class that keeps the metadata of tiered segments."),
    row("remote.log.metadata.manager.class.path", String, None, Any, ReadOnly, NotYet,
        "Where that metadata class and what it needs are loaded from."),
    row("remote.log.metadata.manager.impl.prefix", String, Some("rlmm.config."), NonEmpty, ReadOnly, NotYet,
        "Prefix of the properties that are handed to the metadata class."),
    row("remote.log.metadata.manager.listener.name", String, None, NonEmpty, ReadOnly, NotYet,
        "Listener that the metadata class uses to reach the brokers."),
    row("remote.log.reader.max.pending.tasks", Int, Some("100"), AtLeast(1), ReadOnly, NotYet,
        "Reads from tiered storage that may wait."),
    row("remote.log.reader.threads", Int, Some("10"), AtLeast(1), ClusterWide, NotYet,
        "Threads that read from tiered storage."),
    row("remote.log.storage.manager.class.name", String, None, NonEmpty, ReadOnly, NotYet,
        "Java class that stores tiered segments."),
    row("remote.log.storage.manager.class.path", String, None, Any, ReadOnly, NotYet,
        "Where that storage class and what it needs are loaded from."),
    row("remote.log.storage.manager.impl.prefix", String, Some("rsm.config."), NonEmpty, ReadOnly, NotYet,
        "Prefix of the properties that are handed to the storage class."),
    row("remote.log.storage.system.enable", Boolean, Some("false"), Any, ReadOnly, NotYet,
        "Whether tiered storage is available at all."),
];
