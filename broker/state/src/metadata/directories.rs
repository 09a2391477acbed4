//! Directories of replicas (KIP-858): which broker keeps which replica where, and what follows when one is lost.

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::brokers::check_broker_epoch;
use super::command::{Context, Decision, Reply};
use super::image::{Broker, Image, Partition};
use super::partition_batch::Batch;
use super::partition_change::{Change, Election};
use super::partition_index::Found;
use super::partitions::{change, change_among, may_lead, without};
use super::record::{BrokerRegistrationChange, PartitionChange, Record};

/// The broker chooses, and has not said yet (Kafka also has 1 for that).
pub const UNASSIGNED: Uuid = Uuid::ZERO;
const UNASSIGNED_TOO: Uuid = Uuid::from_u128(1);
/// A directory that is lost, when nobody knows which one it was.
pub const LOST: Uuid = Uuid::from_u128(2);

/// Whether the broker has not said where the replica is.
pub fn is_unassigned(directory: Uuid) -> bool {
    directory == UNASSIGNED || directory == UNASSIGNED_TOO
}

/// Where a broker's new replica is: a broker with one directory has no choice, with several it chooses itself.
pub(super) fn of_new_replica(image: &Image, broker_id: i32) -> Uuid {
    match image.broker(broker_id).map(|broker| broker.log_dirs.as_slice()) {
        Some([only]) => *only,
        _ => UNASSIGNED,
    }
}

/// Whether the broker's replica is not known to be in a directory that the broker has lost.
pub(super) fn is_online(image: &Image, partition: &Partition, broker_id: i32) -> bool {
    let directory = partition.directory_of(broker_id).unwrap_or(UNASSIGNED);
    image.broker(broker_id).is_none_or(|broker| has(broker, directory))
}

fn has(broker: &Broker, directory: Uuid) -> bool {
    // Nobody registers without a directory: who has none has lost them all.
    (is_unassigned(directory) && !broker.log_dirs.is_empty()) || broker.log_dirs.contains(&directory)
}

/// A broker says in which directory it keeps replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignReplicasToDirs {
    pub broker_id: i32,
    pub broker_epoch: i64,
    /// In the order of the request.
    pub replicas: Vec<AssignedReplica>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssignedReplica {
    pub directory: Uuid,
    pub topic_id: Uuid,
    pub partition_id: i32,
}

/// One for each replica of the request, in its order.
pub type Outcomes = Vec<Result<(), ErrorCode>>;

/// Errors of the whole: `STALE_BROKER_EPOCH`, `BROKER_ID_NOT_REGISTERED`; of a replica: `UNKNOWN_TOPIC_ID`,
/// `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER` when the broker has none, `POLICY_VIOLATION`.
pub fn assign(image: &Image, command: &AssignReplicasToDirs, context: Context<'_>) -> Decision {
    if let Err(error) = check_broker_epoch(image, command.broker_id, command.broker_epoch) {
        return Decision::reply(Reply::AssignReplicasToDirs(Err(error)));
    }
    let mut batch = Batch::default();
    let outcomes = command.replicas.iter();
    let outcomes =
        outcomes.map(|replica| assign_one(image, command.broker_id, replica, (&mut batch, context)));
    let reply = Reply::AssignReplicasToDirs(Ok(outcomes.collect()));
    Decision::new(batch.into_records(), reply)
}

fn assign_one(
    image: &Image,
    broker_id: i32,
    replica: &AssignedReplica,
    (batch, context): (&mut Batch, Context<'_>),
) -> Result<(), ErrorCode> {
    let topic = image.topic(replica.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = batch.partition(topic, replica.partition_id);
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !partition.replicas.contains(&broker_id) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let broker = image.broker(broker_id).ok_or(ErrorCode::BrokerIdNotRegistered)?;
    let place = (&**topic, replica.partition_id, &*partition);
    let change = assigned(image, broker, place, replica.directory, context);
    batch.add(&partition, change).map(|_| ()).map_err(|error| error.code)
}

fn assigned(
    image: &Image,
    broker: &Broker,
    place: Found<'_>,
    directory: Uuid,
    context: Context<'_>,
) -> Option<PartitionChange> {
    let (broker_id, partition) = (broker.broker_id, place.2);
    if !has(broker, directory) {
        // It was assigned to a directory that is gone by now.
        return lose(image, place, broker_id, context, |change| change.directory(broker_id, directory));
    }
    if is_online(image, partition, broker_id) {
        return change(image, place, context, |change| change.directory(broker_id, directory));
    }
    // What it had went with the directory that it was in: it begins anew.
    let isr = without(&partition.isr, broker_id);
    let is_back = |id: i32| if id == broker_id { broker.is_active() } else { may_lead(image, partition, id) };
    change_among(image, place, is_back, context, |change| {
        change.isr(isr).unclean_shutdown(broker_id).directory(broker_id, directory)
    })
}

/// Directories of a broker failed: others lead what was in them, and it is no longer in sync there. Nothing happens
/// with directories that were gone before.
pub(super) fn offline(
    image: &Image,
    broker: &Broker,
    offline: &[Uuid],
    context: Context<'_>,
    records: &mut Vec<Record>,
) {
    let (lost, kept): (Vec<Uuid>, Vec<Uuid>) = broker.log_dirs.iter().partition(|id| offline.contains(id));
    if lost.is_empty() {
        return;
    }
    for place in image.partitions_of(broker.broker_id) {
        let directory = place.2.directory_of(broker.broker_id);
        if directory.is_some_and(|directory| lost.contains(&directory) || kept.is_empty()) {
            let change = lose(image, place, broker.broker_id, context, |change| change);
            records.extend(change.map(Record::PartitionChange));
        }
    }
    records.push(Record::BrokerRegistrationChange(BrokerRegistrationChange {
        broker_id: broker.broker_id,
        broker_epoch: broker.broker_epoch,
        fenced: None,
        in_controlled_shutdown: None,
        log_dirs: Some(kept),
    }));
}

fn lose(
    image: &Image,
    place: Found<'_>,
    broker_id: i32,
    context: Context<'_>,
    wish: impl FnOnce(Change<'_>) -> Change<'_>,
) -> Option<PartitionChange> {
    let others = |id: i32| id != broker_id && may_lead(image, place.2, id);
    let isr = without(&place.2.isr, broker_id);
    change_among(image, place, others, context, |change| wish(change.isr(isr)))
}

/// A broker begins to serve and has all directories that it is configured with. Replicas in others are gone with them:
/// they begin anew where it puts them, out of sync and not eligible.
pub(super) fn forget_removed(
    image: &Image,
    broker: &Broker,
    context: Context<'_>,
    records: &mut Vec<Record>,
) {
    let broker_id = broker.broker_id;
    for place in image.partitions_of(broker_id) {
        if is_online(image, place.2, broker_id) {
            continue;
        }
        let change = lose(image, place, broker_id, context, |change| {
            let directory = of_new_replica(image, broker_id);
            change.election(Election::Online).unclean_shutdown(broker_id).directory(broker_id, directory)
        });
        records.extend(change.map(Record::PartitionChange));
    }
}

#[cfg(test)]
#[path = "directories_test.rs"]
mod tests;
