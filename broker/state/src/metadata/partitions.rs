//! Leaders and in-sync replicas as the controller decides them.
//!
//! Which partitions are touched when a broker comes, goes or restarts, what leaders may propose, and
//! elections on demand. The record of each change is made by [`Change`].

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::brokers::check_broker_epoch;
use super::command::{ApiError, Context, Decision, Reply};
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::image::{Image, Partition, Topic};
pub use super::partition_change::{Change, Election, Rules, rules};
use super::record::{PartitionChange, Record, RecoveryState};

/// A broker is fenced, leaving or gone: it loses its leaderships and its place in every ISR.
pub fn broker_left(image: &Image, broker_id: i32, context: Context<'_>, records: &mut Vec<Record>) {
    let acceptable = |id: i32| id != broker_id && image.is_active(id);
    for_each(
        image,
        |p| p.isr.contains(&broker_id) || p.leader == Some(broker_id),
        |topic, index, p| {
            let isr = without(&p.isr, broker_id);
            let change =
                Change::new(topic.id, index, p, rules(image, topic, context), &acceptable).isr(isr).build();
            records.extend(change.map(Record::PartitionChange));
        },
    );
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
    let acceptable = |id: i32| id != broker_id && image.is_active(id);
    let touched = |p: &Partition| {
        p.isr.contains(&broker_id)
            || p.eligible_leader_replicas.contains(&broker_id)
            || p.leader == Some(broker_id)
    };
    for_each(image, touched, |topic, index, p| {
        let change = Change::new(topic.id, index, p, rules(image, topic, context), &acceptable)
            .isr(without(&p.isr, broker_id))
            .unclean_shutdown(broker_id)
            .build();
        records.extend(change.map(Record::PartitionChange));
    });
}

/// A broker was unfenced: partitions without a leader may have one again.
pub fn broker_arrived(image: &Image, broker_id: i32, context: Context<'_>, records: &mut Vec<Record>) {
    let acceptable = |id: i32| id == broker_id || image.is_active(id);
    for_each(
        image,
        |p| p.leader.is_none(),
        |topic, index, p| {
            let change = Change::new(topic.id, index, p, rules(image, topic, context), &acceptable).build();
            records.extend(change.map(Record::PartitionChange));
        },
    );
}

/// Whether any partition has this leader.
pub fn leads_anything(image: &Image, broker_id: i32) -> bool {
    image.topics().any(|topic| topic.partitions.iter().any(|p| p.leader == Some(broker_id)))
}

fn for_each(
    image: &Image,
    touched: impl Fn(&Partition) -> bool,
    mut act: impl FnMut(&Topic, i32, &Partition),
) {
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            if touched(partition) {
                act(topic, index as i32, partition);
            }
        }
    }
}

fn without(ids: &[i32], leaving: i32) -> Vec<i32> {
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
    /// The state after the change.
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
/// [`check_proposal`].
pub fn alter(image: &Image, command: &AlterPartition, context: Context<'_>) -> Decision {
    if let Err(error) = check_broker_epoch(image, command.broker_id, command.broker_epoch) {
        return Decision::reply(Reply::AlterPartition(Err(error)));
    }
    let mut records = Vec::new();
    let mut answers = Vec::new();
    for proposal in &command.partitions {
        let result = alter_one(image, command.broker_id, proposal, context).map(|(state, record)| {
            records.extend(record);
            state
        });
        let (topic_id, partition_id) = (proposal.topic_id, proposal.partition_id);
        answers.push(AlteredPartition { topic_id, partition_id, result });
    }
    Decision::new(records, Reply::AlterPartition(Ok(answers)))
}

fn alter_one(
    image: &Image,
    sender: i32,
    proposal: &ProposedPartition,
    context: Context<'_>,
) -> Result<(AlteredState, Option<Record>), ErrorCode> {
    let topic = image.topic(proposal.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = topic.partition(proposal.partition_id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_proposal(image, sender, partition, proposal)?;
    let acceptable = |id: i32| image.is_active(id);
    let isr = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let change =
        Change::new(topic.id, proposal.partition_id, partition, rules(image, topic, context), &acceptable)
            .isr(isr)
            .recovery(proposal.leader_recovery_state)
            .build();
    let record = change.map(Record::PartitionChange);
    let mut after = image.clone();
    if let Some(record) = &record {
        after.apply(record).expect("the partition was found above");
    }
    let after = after.partition(topic.id, proposal.partition_id).expect("the partition was found above");
    let state = AlteredState {
        leader: after.leader,
        leader_epoch: after.leader_epoch,
        partition_epoch: after.partition_epoch,
        isr: after.isr.clone(),
        leader_recovery_state: after.leader_recovery_state,
    };
    Ok((state, record))
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

/// Elections on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectLeaders {
    /// `Preferred` or `Unclean`.
    pub election: Election,
    /// Topic names and partitions; none is every partition.
    pub partitions: Option<Vec<(String, Vec<i32>)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectedPartition {
    pub topic: String,
    pub partition_id: i32,
    pub result: Result<(), ApiError>,
}

/// Errors of a partition: `UNKNOWN_TOPIC_OR_PARTITION`, `ELECTION_NOT_NEEDED`,
/// `PREFERRED_LEADER_NOT_AVAILABLE`, `ELIGIBLE_LEADERS_NOT_AVAILABLE`.
pub fn elect(image: &Image, command: &ElectLeaders, context: Context<'_>) -> Decision {
    let wanted: Vec<(String, Vec<i32>)> = match &command.partitions {
        Some(partitions) => partitions.clone(),
        None => image
            .topics()
            .map(|topic| (topic.name.to_string(), (0..topic.partitions.len() as i32).collect()))
            .collect(),
    };
    let mut records = Vec::new();
    let mut answers = Vec::new();
    for (name, partitions) in wanted {
        for partition_id in partitions {
            let result = elect_one(image, &name, partition_id, command.election, context);
            let unneeded = matches!(&result, Err(error) if error.code == ErrorCode::ElectionNotNeeded);
            // Who asks for every partition does not want to hear of those that are fine.
            if !(unneeded && command.partitions.is_none()) {
                let result = result.map(|change| records.push(Record::PartitionChange(change)));
                answers.push(ElectedPartition { topic: name.clone(), partition_id, result });
            }
        }
    }
    Decision::new(records, Reply::ElectLeaders(answers))
}

fn elect_one(
    image: &Image,
    name: &str,
    partition_id: i32,
    election: Election,
    context: Context<'_>,
) -> Result<PartitionChange, ApiError> {
    let refuse = |code: ErrorCode, message: String| Err(ApiError::new(code, message));
    let Some(topic) = image.topic_by_name(name) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("No such topic as {name}"));
    };
    let Some(partition) = topic.partition(partition_id) else {
        let message = format!("No such partition as {name}-{partition_id}");
        return refuse(ErrorCode::UnknownTopicOrPartition, message);
    };
    let preferred = partition.replicas.first().copied();
    let needed = match election {
        Election::Preferred => partition.leader != preferred,
        Election::Online | Election::Unclean => partition.leader.is_none(),
    };
    if !needed {
        return refuse(
            ErrorCode::ElectionNotNeeded,
            "Leader election not needed for topic partition.".into(),
        );
    }
    let acceptable = |id: i32| image.is_active(id);
    let change = Change::new(topic.id, partition_id, partition, rules(image, topic, context), &acceptable)
        .election(election)
        .build();
    let leader = change.as_ref().and_then(|change| change.leader).flatten();
    match change {
        Some(change) if leader.is_some() && (election != Election::Preferred || leader == preferred) => {
            Ok(change)
        }
        _ if election == Election::Preferred => refuse(
            ErrorCode::PreferredLeaderNotAvailable,
            "The preferred leader was not available.".to_owned(),
        ),
        _ => refuse(
            ErrorCode::EligibleLeadersNotAvailable,
            "Eligible topic partition leaders are not available.".to_owned(),
        ),
    }
}

#[cfg(test)]
#[path = "partitions_test.rs"]
mod tests;
