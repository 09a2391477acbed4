//! Groups: who reads what, and how far they have come. Pure: no I/O, no clock, no randomness, no tasks.
//!
//! A [`Groups`] is the coordinator of one partition of `__consumer_offsets`: committed offsets
//! ([`offsets`]) and the classic group protocol (`classic*.rs`), as Apache Kafka 4.3.1 behaves. Its
//! **hard state** is what the records of the partition add up to and changes through [`Groups::apply`]
//! alone. Its **soft state** (members that wait, sessions, phases of a rebalance) changes through
//! [`Groups::on_event`]; losing it costs the members a rebalance.
//!
//! # How the coordinator runtime drives it
//!
//! One owner per partition: a `Groups` is plain data, changed by one task or under one short lock.
//! Which partition a group belongs to is [`partition_of`].
//!
//! **Load.** When the broker becomes leader of the partition: `Groups::new`, then every record up to the
//! end of the log in order, [`Record::decode`] and [`Groups::apply`] with the record's offset
//! ([`Groups::apply_transactional`] for transactional batches, [`Groups::end_transaction`] for their
//! markers), then [`Groups::loaded`], whose effects are carried out like any others. The log is read in
//! pieces and nothing but the state itself is kept: memory is that of the live groups and offsets. A
//! record that does not decode is skipped, counted and logged; one of another type is skipped. Requests
//! meanwhile are COORDINATOR_LOAD_IN_PROGRESS, but for Heartbeat, which is NONE.
//!
//! **Commands** ([`Groups::decide`]: commits, deletions, expiry). In one step, without another event in
//! between: decide, append `records` as one batch, apply each with the offset it got, and pass
//! [`Decision::alive_event`] on. The reply is sent when the high watermark has passed the batch; at once
//! when there are no records. If the append is refused nothing is applied and the reply is
//! [`error_of_write`] for every partition or group; after `offsets.commit.timeout.ms` it is
//! COORDINATOR_NOT_AVAILABLE, and what was applied stays applied. `Command::Expire` runs every
//! `offsets.retention.check.interval.ms` and is repeated from `next` until that is none.
//!
//! **Events** ([`Groups::on_event`]: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, timers). Carry out the
//! [`Effects`]: first append each write as one batch and apply its records as above (in the same step),
//! then set and cancel timers, then send the replies, which wait for nothing. When the high watermark has
//! passed a write, or the append was refused, or the commit timeout is over, pass [`Event::Stored`]: the
//! replies that waited for it come out then. Every token that went in comes out once. Effects of
//! `Event::Stored` may hold writes themselves, so this is a loop, not a recursion.
//!
//! **Reads** ([`Groups::fetch`], [`Groups::list`], [`Groups::describe`]) look at the state as it is; the
//! answer is sent when the high watermark has passed the last record applied before it.
//!
//! **Timers.** At most one per key. Pass [`Event::Timer`] at or after the deadline; a timer that fires
//! early, late, twice or for a group that is gone does no harm. A heartbeat sets none: it moves a deadline
//! that the member's timer finds when it fires, and asks for that timer again. So a heartbeat costs two
//! lookups, and a member one timer and no task.
//!
//! **Resignation.** [`Groups::unload`], send its replies, cancel all timers, forget writes in flight
//! (their `Event::Stored` is no longer of interest), drop the machine.
//!
//! What the handlers do: authorization, topics that do not exist, the version flags of [`request`], a
//! random UUID for each join, and for LeaveGroup before version 3 the one member's error as the answer's.

mod classic;
mod classic_join;
mod classic_member;
mod classic_rebalance;
mod classic_session;
mod classic_stored;
mod classic_sync;
mod command;
mod commit;
pub mod config;
mod coordinator_partition;
mod effects;
mod machine;
pub mod offsets;
pub mod record;
mod removal;
pub mod reply;
pub mod request;
mod subscription;
mod view;

pub use classic::State;
pub use command::{Command, CommandReply, Decision};
pub use config::Config;
pub use coordinator_partition::partition_of;
pub use effects::{Effects, TimerChange, TimerKey, Write, WriteId, error_of_write};
pub use machine::{Event, Groups};
pub use record::{Decoded, Record};

#[cfg(test)]
mod join_test;
#[cfg(test)]
mod machine_test;
#[cfg(test)]
mod scene_test;
#[cfg(test)]
mod simulation_test;
#[cfg(test)]
mod state_table_test;
#[cfg(test)]
mod static_member_test;
