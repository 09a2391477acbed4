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
        "Longest pause before a partition leader asks the transaction coordinator once more whether a transaction is open."),
    row("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), AtLeast(1), ReadOnly, NotYet,
        "First pause before a partition leader asks the transaction coordinator once more whether a transaction is open."),
    row("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), ClusterWide, Yes,
        "Silence after which a partition forgets an idempotent producer."),
    row("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), AtLeast(1), ReadOnly, NotYet,
        "How often transactions that ran out of time are aborted."),
    row("transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1), ReadOnly, NotYet,
        "Longest transaction timeout that a producer may ask for."),
    row("transaction.partition.verification.enable", Boolean, Some("true"), Any, ClusterWide, NotYet,
        "Whether a leader asks the coordinator if a transaction is open before it takes its records."),
    row("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), AtLeast(1), ReadOnly, NotYet,
        "How often unused transactional ids are removed."),
    row("transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1), ReadOnly, NotYet,
        "Bytes read at a time when transaction state is loaded."),
    row("transaction.state.log.min.isr", Int, Some("2"), AtLeast(1), ReadOnly, Yes,
        "In-sync replicas that the transaction state topic needs for a write."),
    row("transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1), ReadOnly, Yes,
        "Partitions of the transaction state topic; not to be changed once it exists."),
    row("transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1), ReadOnly, Yes,
        "Replicas of the transaction state topic."),
    row("transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1), ReadOnly, Yes,
        "Segment size of the transaction state topic."),
    row("transaction.two.phase.commit.enable", Boolean, Some("false"), Any, ReadOnly, NotYet,
        "Whether transactions may wait for an outside coordinator without a timeout."),
    row("transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1), ReadOnly, NotYet,
        "Time after which an unused transactional id is forgotten."),
];
