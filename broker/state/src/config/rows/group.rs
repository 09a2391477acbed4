//! Group properties. Nothing reads them before groups of these kinds are served: who joins one is refused, so a value
//! that is kept until then promises nothing that does not happen.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::NoEffect;
use crate::config::definition::Kind::{Boolean, Int, String};
use crate::config::definition::Update::Resource;
use crate::config::definition::Valid::{Any, AtLeast, Between, OneOf};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("consumer.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Resource, NoEffect,
        "Least time between two assignments of this consumer group."),
    row("consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Resource, NoEffect,
        "How often members of this consumer group send heartbeats."),
    row("consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), Resource, NoEffect,
        "Silence after which a member leaves this consumer group."),
    row("share.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Resource, NoEffect,
        "Least time between two assignments of this share group."),
    row("share.auto.offset.reset", String, Some("latest"), Any, Resource, NoEffect,
        "Where this share group begins on a partition that it has not read."),
    row("share.delivery.count.limit", Int, Some("5"), Between(2, 10), Resource, NoEffect,
        "Deliveries of a record in this share group before it is given up."),
    row("share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Resource, NoEffect,
        "How often members of this share group send heartbeats."),
    row("share.isolation.level", String, Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Resource, NoEffect,
        "Whether this share group sees records of open and aborted transactions."),
    row("share.partition.max.record.locks", Int, Some("2000"), Between(100, 10000), Resource, NoEffect,
        "Records of one partition that this share group may hold locked."),
    row("share.record.lock.duration.ms", Int, Some("30000"), Between(1000, 3600000), Resource, NoEffect,
        "Time that a consumer of this share group has for a record before another one gets it."),
    row("share.renew.acknowledge.enable", Boolean, Some("true"), Any, Resource, NoEffect,
        "Whether consumers of this share group may prolong the lock of a record."),
    row("share.session.timeout.ms", Int, Some("45000"), AtLeast(1), Resource, NoEffect,
        "Silence after which a member leaves this share group."),
    row("streams.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Resource, NoEffect,
        "Least time between two assignments of this streams group."),
    row("streams.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Resource, NoEffect,
        "How often members of this streams group send heartbeats."),
    row("streams.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), Resource, NoEffect,
        "Time that this streams group waits, while empty, for more members before its first rebalance."),
    row("streams.num.standby.replicas", Int, Some("0"), AtLeast(0), Resource, NoEffect,
        "Standby replicas of each task in this streams group."),
    row("streams.session.timeout.ms", Int, Some("45000"), AtLeast(1), Resource, NoEffect,
        "Silence after which a member leaves this streams group."),
];
