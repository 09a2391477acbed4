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
        ""),
    row("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), ClusterWide, NotYet,
        ""),
    row("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), ClusterWide, NotYet,
        ""),
    row("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.list.offsets.request.timeout.ms", Long, Some("30000"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.manager.copier.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.manager.copy.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.manager.expiration.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.manager.fetch.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.manager.follower.thread.pool.size", Int, Some("2"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.manager.task.interval.ms", Long, Some("30000"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.manager.thread.pool.size", Int, Some("2"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), AtLeast(0), ReadOnly, NotYet,
        ""),
    row("remote.log.metadata.manager.class.name", String, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmpty, ReadOnly, NotYet,
        ""),
    row("remote.log.metadata.manager.class.path", String, None, Any, ReadOnly, NotYet,
        ""),
    row("remote.log.metadata.manager.impl.prefix", String, Some("rlmm.config."), NonEmpty, ReadOnly, NotYet,
        ""),
    row("remote.log.metadata.manager.listener.name", String, None, NonEmpty, ReadOnly, NotYet,
        ""),
    row("remote.log.reader.max.pending.tasks", Int, Some("100"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("remote.log.reader.threads", Int, Some("10"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("remote.log.storage.manager.class.name", String, None, NonEmpty, ReadOnly, NotYet,
        ""),
    row("remote.log.storage.manager.class.path", String, None, Any, ReadOnly, NotYet,
        ""),
    row("remote.log.storage.manager.impl.prefix", String, Some("rsm.config."), NonEmpty, ReadOnly, NotYet,
        ""),
    row("remote.log.storage.system.enable", Boolean, Some("false"), Any, ReadOnly, NotYet,
        ""),
];
