//! Replication between brokers.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::{NotYet, Yes};
use crate::config::definition::Kind::{Boolean, Int, Long, String};
use crate::config::definition::Update::{ClusterWide, ReadOnly};
use crate::config::definition::Valid::{Any, AtLeast};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("alter.log.dirs.replication.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("default.replication.factor", Int, Some("1"), Any, ReadOnly, Yes,
        ""),
    row("min.insync.replicas", Int, Some("1"), AtLeast(1), ClusterWide, Yes,
        ""),
    row("num.replica.alter.log.dirs.threads", Int, None, Any, ReadOnly, NotYet,
        ""),
    row("num.replica.fetchers", Int, Some("1"), AtLeast(1), ClusterWide, NotYet,
        ""),
    row("replica.fetch.backoff.ms", Int, Some("1000"), AtLeast(0), ReadOnly, NotYet,
        ""),
    row("replica.fetch.max.bytes", Int, Some("1048576"), AtLeast(0), ReadOnly, NotYet,
        ""),
    row("replica.fetch.min.bytes", Int, Some("1"), Any, ReadOnly, NotYet,
        ""),
    row("replica.fetch.response.max.bytes", Int, Some("10485760"), AtLeast(0), ReadOnly, NotYet,
        ""),
    row("replica.fetch.wait.max.ms", Int, Some("500"), Any, ReadOnly, NotYet,
        ""),
    row("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Any, ReadOnly, Yes,
        ""),
    row("replica.lag.time.max.ms", Long, Some("30000"), Any, ReadOnly, Yes,
        ""),
    row("replica.selector.class", String, None, Any, ReadOnly, NotYet,
        ""),
    row("replica.socket.receive.buffer.bytes", Int, Some("65536"), Any, ReadOnly, NotYet,
        ""),
    row("replica.socket.timeout.ms", Int, Some("30000"), Any, ReadOnly, NotYet,
        ""),
    row("replication.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("unclean.leader.election.enable", Boolean, Some("false"), Any, ClusterWide, Yes,
        ""),
];
