//! Transactions and idempotent producers.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::{NotYet, Yes};
use crate::config::definition::Kind::{Boolean, Int, Short};
use crate::config::definition::Update::{ClusterWide, ReadOnly};
use crate::config::definition::Valid::{Any, AtLeast};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), AtLeast(0), ReadOnly, NotYet,
        ""),
    row("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), ClusterWide, Yes,
        ""),
    row("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1), ReadOnly, Yes,
        ""),
    row("transaction.partition.verification.enable", Boolean, Some("true"), Any, ClusterWide, NotYet,
        ""),
    row("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1), ReadOnly, NotYet,
        ""),
    row("transaction.state.log.min.isr", Int, Some("2"), AtLeast(1), ReadOnly, Yes,
        ""),
    row("transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1), ReadOnly, Yes,
        ""),
    row("transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1), ReadOnly, Yes,
        ""),
    row("transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1), ReadOnly, Yes,
        ""),
    row("transaction.two.phase.commit.enable", Boolean, Some("false"), Any, ReadOnly, NotYet,
        ""),
    row("transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1), ReadOnly, NotYet,
        ""),
];
