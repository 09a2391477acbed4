//! Leaders and in-sync replicas as the controller decides them.
//!
//! Which partitions are touched when a broker comes, goes or restarts, and what leaders may propose. The record of each
//! change is made by [`Change`]; elections, reassignments and directories stand in files of their own.

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::brokers::check_broker_epoch;
use super::command::{Context, Decision, Reply};
use super::directories;
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::image::{Image, Partition};
use super::partition_batch::Batch;
pub use super::partition_change::{Assignment, Change, Election, Rules, rules};
use super::partition_index::Found;
use super::record::{PartitionChange, Record, RecoveryState};

/// Whether the broker may lead the partition: alive, not leaving, and its replica's directory online.
pub fn may_lead(image: &Image, partition: &Partition, broker_id: i32) -> bool {
    image.is_active(broker_id) && directories::is_online(image, partition, broker_id)
}

/// What becomes of a partition when `wish` is granted; nothing when that changes nothing.
pub(super) fn change(
    image: &Image,
    place: Found<'_>,
    context: Context<'_>,
    wish: impl FnOnce(Change<'_>) -> Change<'_>,
) -> Option<PartitionChange> {
    change_among(image, place, |id| may_lead(image, place.2, id), context, wish)
}

/// As [`change`], when others may lead than the image says.
pub(super) fn change_among(
    image: &Image,
    (topic, index, partition): Found<'_>,
    acceptable: impl Fn(i32) -> bool,
    context: Context<'_>,
    wish: impl FnOnce(Change<'_>) -> Change<'_>,
) -> Option<PartitionChange> {
    let rules = rules(image, topic, partition, context);
    wish(Change::new(topic.id, index, partition, rules, &acceptable)).build()
}

/// A broker is fenced, leaving or gone: it loses its leaderships and its place in every ISR.
pub fn broker_left(image: &Image, broker_id: i32, context: Context<'_>, records: &mut Vec<Record>) {
    for (topic, index, p) in image.partitions_of(broker_id) {
        if p.isr.contains(&broker_id) || p.leader == Some(broker_id) {
            let others = |id: i32| id != broker_id && may_lead(image, p, id);
            let isr = without(&p.isr, broker_id);
            let change = change_among(image, (topic, index, p), others, context, |change| change.isr(isr));
            records.extend(change.map(Record::PartitionChange));
        }
    }
}

/// A new process took over a broker id. Until it is unfenced it can do nothing; after an unclean
/// end it may also lack records that it acknowledged.
pub fn broker_restarted(
    image: &Image,
    broker_id: i32,
    unclean: bool,
    context: Context<'_>,
    records: &mut Vec<Record>,
) {
    if !unclean || image.feature_level(ELIGIBLE_LEADER_REPLICAS) == 0 {
        return broker_left(image, broker_id, context, records);
    }
    for (topic, index, p) in image.partitions_of(broker_id) {
        let counts = p.isr.contains(&broker_id) || p.eligible_leader_replicas.contains(&broker_id);
        if counts || p.leader == Some(broker_id) {
            let others = |id: i32| id != broker_id && may_lead(image, p, id);
            let isr = without(&p.isr, broker_id);
            let change = change_among(image, (topic, index, p), others, context, |change| {
                change.isr(isr).unclean_shutdown(broker_id)
            });
            records.extend(change.map(Record::PartitionChange));
        }
    }
}

/// A broker was unfenced, as `image` has it already: partitions without a leader may have one again.
pub fn broker_arrived(image: &Image, broker_id: i32, context: Context<'_>, records: &mut Vec<Record>) {
    for (topic, index, p) in image.leaderless_of(broker_id) {
        let change = change(image, (topic, index, p), context, |change| change);
        records.extend(change.map(Record::PartitionChange));
    }
}

/// Whether any partition has this leader.
pub fn leads_anything(image: &Image, broker_id: i32) -> bool {
    image.leaderships(broker_id) > 0
}

pub(super) fn without(ids: &[i32], leaving: i32) -> Vec<i32> {
    ids.iter().copied().filter(|id| *id != leaving).collect()
}

/// A leader proposes in-sync replicas for its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub partitions: Vec<ProposedPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedPartition {
    pub topic_id: Uuid,
    pub partition_id: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Broker ids with the epochs under which the leader heard them, −1 for unknown.
    pub new_isr: Vec<(i32, i64)>,
    pub leader_recovery_state: RecoveryState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredPartition {
    pub topic_id: Uuid,
    pub partition_id: i32,
    /// The state after the change. `NEW_LEADER_ELECTED` says that the change was made and took the leadership away.
    pub result: Result<AlteredState, ErrorCode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredState {
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub isr: Vec<i32>,
    pub leader_recovery_state: RecoveryState,
}

/// Errors of the whole: `STALE_BROKER_EPOCH`, `BROKER_ID_NOT_REGISTERED`; of a partition see
/// [`check_proposal`], and `POLICY_VIOLATION` when the entry is full.
pub fn alter(image: &Image, command: &AlterPartition, context: Context<'_>) -> Decision {
    if let Err(error) = check_broker_epoch(image, command.broker_id, command.broker_epoch) {
        return Decision::reply(Reply::AlterPartition(Err(error)));
    }
    let mut batch = Batch::default();
    let mut answers = Vec::new();
    for proposal in &command.partitions {
        let result = alter_one(image, command.broker_id, proposal, (&mut batch, context));
        let (topic_id, partition_id) = (proposal.topic_id, proposal.partition_id);
        answers.push(AlteredPartition { topic_id, partition_id, result });
    }
    Decision::new(batch.into_records(), Reply::AlterPartition(Ok(answers)))
}

fn alter_one(
    image: &Image,
    sender: i32,
    proposal: &ProposedPartition,
    (batch, context): (&mut Batch, Context<'_>),
) -> Result<AlteredState, ErrorCode> {
    let topic = image.topic(proposal.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = batch.partition(topic, proposal.partition_id);
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if let Err(error) = check_proposal(image, sender, &partition, proposal) {
        batch.add(&partition, outdated(&partition, proposal, error)).map_err(|error| error.code)?;
        return Err(error);
    }
    let isr = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let change = change(image, (topic, proposal.partition_id, &partition), context, |change| {
        change.isr(isr).recovery(proposal.leader_recovery_state)
    });
    // The change may complete a reassignment that the sender is no part of: it is done, and the sender must ask for
    // the metadata before it asks for anything else.
    let led_by_another = change.as_ref().and_then(|change| change.leader).is_some_and(|l| l != Some(sender));
    let after = batch.add(&partition, change).map_err(|error| error.code)?;
    if led_by_another { Err(ErrorCode::NewLeaderElected) } else { Ok(AlteredState::of(&after)) }
}

/// States the partition again, under a new partition epoch, when a proposal is refused that might be accepted later. The
/// leader takes the refusal for certain and does not count on the proposed member any more, but another copy of the
/// request may still be on its way, and the member may be eligible by the time it comes.
fn outdated(
    partition: &Partition,
    proposal: &ProposedPartition,
    error: ErrorCode,
) -> Option<PartitionChange> {
    let ProposedPartition { topic_id, partition_id, .. } = *proposal;
    let isr = Some(partition.isr.clone()).filter(|_| error == ErrorCode::IneligibleReplica)?;
    Some(PartitionChange { isr: Some(isr), ..PartitionChange::new(topic_id, partition_id) })
}

impl AlteredState {
    fn of(partition: &Partition) -> Self {
        Self {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: partition.isr.clone(),
            leader_recovery_state: partition.leader_recovery_state,
        }
    }
}

/// Errors, in the order of the checks: `NOT_CONTROLLER` when the sender knows more than we do,
/// `FENCED_LEADER_EPOCH`, `INVALID_REQUEST`, `INVALID_UPDATE_VERSION`, `INELIGIBLE_REPLICA`.
pub fn check_proposal(
    image: &Image,
    sender: i32,
    partition: &Partition,
    proposal: &ProposedPartition,
) -> Result<(), ErrorCode> {
    if proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch
    {
        return Err(ErrorCode::NotController);
    }
    if proposal.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if proposal.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let members: Vec<i32> = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let mut distinct = members.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let recovering = proposal.leader_recovery_state == RecoveryState::Recovering;
    let fits = distinct.len() == members.len()
        && members.iter().all(|id| partition.replicas.contains(id))
        && members.contains(&sender)
        && !(recovering && members.len() > 1)
        && !(recovering && partition.leader_recovery_state == RecoveryState::Recovered);
    if !fits {
        return Err(ErrorCode::InvalidRequest);
    }
    let eligible = |(id, epoch): &(i32, i64)| {
        image.broker(*id).is_some_and(|b| b.is_active() && (*epoch == -1 || *epoch == b.broker_epoch))
    };
    if proposal.new_isr.iter().all(eligible) { Ok(()) } else { Err(ErrorCode::IneligibleReplica) }
}

#[cfg(test)]
#[path = "partitions_test.rs"]
mod tests;
