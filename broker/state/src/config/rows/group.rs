//! Group properties.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::NotYet;
use crate::config::definition::Kind::{Boolean, Int, String};
use crate::config::definition::Update::Resource;
use crate::config::definition::Valid::{Any, AtLeast, Between, OneOf};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("consumer.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Resource, NotYet,
        ""),
    row("consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Resource, NotYet,
        ""),
    row("consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), Resource, NotYet,
        ""),
    row("share.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Resource, NotYet,
        ""),
    row("share.auto.offset.reset", String, Some("latest"), Any, Resource, NotYet,
        ""),
    row("share.delivery.count.limit", Int, Some("5"), Between(2, 10), Resource, NotYet,
        ""),
    row("share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Resource, NotYet,
        ""),
    row("share.isolation.level", String, Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Resource, NotYet,
        ""),
    row("share.partition.max.record.locks", Int, Some("2000"), Between(100, 10000), Resource, NotYet,
        ""),
    row("share.record.lock.duration.ms", Int, Some("30000"), Between(1000, 3600000), Resource, NotYet,
        ""),
    row("share.renew.acknowledge.enable", Boolean, Some("true"), Any, Resource, NotYet,
        ""),
    row("share.session.timeout.ms", Int, Some("45000"), AtLeast(1), Resource, NotYet,
        ""),
    row("streams.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Resource, NotYet,
        ""),
    row("streams.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Resource, NotYet,
        ""),
    row("streams.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), Resource, NotYet,
        ""),
    row("streams.num.standby.replicas", Int, Some("0"), AtLeast(0), Resource, NotYet,
        ""),
    row("streams.session.timeout.ms", Int, Some("45000"), AtLeast(1), Resource, NotYet,
        ""),
];
