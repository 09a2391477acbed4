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
    row("alter.log.dirs.replication.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, Yes,
        "Samples kept for measuring the copying of replicas between directories."),
    row("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, Yes,
        "Length of each sample for measuring the copying of replicas between directories."),
    row("default.replication.factor", Int, Some("1"), Any, ReadOnly, Yes,
        "Replicas of a new topic whose creator did not say."),
    row("follower.replication.throttled.rate", Long, Some("9223372036854775807"), AtLeast(0), ClusterWide, Yes,
        "Bytes per second that a broker copies as a follower of throttled replicas that are not in sync; never in the file."),
    row("leader.replication.throttled.rate", Long, Some("9223372036854775807"), AtLeast(0), ClusterWide, Yes,
        "Bytes per second that a broker gives as their leader to throttled replicas that are not in sync; never in the file."),
    row("min.insync.replicas", Int, Some("1"), AtLeast(1), ClusterWide, Yes,
        "Default for topics: in-sync replicas without which `acks=all` is refused."),
    row("num.replica.alter.log.dirs.threads", Int, None, Any, ReadOnly, Yes,
        "Moves of replicas between directories that are worked on at once, at most 8; without a value as many as there are directories."),
    row("num.replica.fetchers", Int, Some("1"), AtLeast(1), ClusterWide, Yes,
        "Connections on which a broker copies from each other broker."),
    row("replica.alter.log.dirs.io.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(0), ClusterWide, Yes,
        "Bytes per second that a broker copies between its own directories; never in the file."),
    row("replica.fetch.backoff.ms", Int, Some("1000"), AtLeast(0), ReadOnly, Yes,
        "Pause of a follower after a failed fetch."),
    row("replica.fetch.max.bytes", Int, Some("1048576"), AtLeast(0), ReadOnly, Yes,
        "Bytes that a follower asks for from one partition; a larger first batch still comes."),
    row("replica.fetch.min.bytes", Int, Some("1"), Any, ReadOnly, Yes,
        "Bytes that a follower waits for before its fetch is answered."),
    row("replica.fetch.response.max.bytes", Int, Some("10485760"), AtLeast(0), ReadOnly, Yes,
        "Bytes that a follower asks for in one response."),
    row("replica.fetch.wait.max.ms", Int, Some("500"), Any, ReadOnly, Yes,
        "Longest time that a follower's fetch may wait for data."),
    row("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Any, ReadOnly, Yes,
        "How often the high watermarks of all partitions are written down."),
    row("replica.lag.time.max.ms", Long, Some("30000"), Any, ReadOnly, Yes,
        "Time without catching up after which a follower is taken from the in-sync replicas."),
    row("replica.selector.class", String, None, Any, ReadOnly, Yes,
        "Class that picks a nearby replica for consumers; without one they read from the leader."),
    row("replica.socket.receive.buffer.bytes", Int, Some("65536"), Any, ReadOnly, NotYet,
        "Receive buffer of the sockets on which followers copy."),
    row("replica.socket.timeout.ms", Int, Some("30000"), Any, ReadOnly, Yes,
        "Time that a follower waits on its socket to a leader."),
    row("replication.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, Yes,
        "Samples kept for measuring throttled replication."),
    row("replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, Yes,
        "Length of each sample for measuring throttled replication."),
    row("unclean.leader.election.enable", Boolean, Some("false"), Any, ClusterWide, Yes,
        "Default for topics: whether a replica that lacks committed records may lead when no other lives."),
];
