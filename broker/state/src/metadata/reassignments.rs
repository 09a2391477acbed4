//! Reassignment of replicas (KIP-455): grow to old and new replicas together, wait until the new ones are in sync, shrink.
//!
//! The growing is decided here; the shrinking is decided with the change of the ISR that makes the target complete (see
//! [`Change`](super::partition_change::Change)), in the same record, so that no state between can be lost.

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::command::{ApiError, Context, Decision, Reply};
use super::directories;
use super::image::{Image, Partition, Topic};
use super::partition_batch::Batch;
use super::partition_change::{Assignment, Election, rules};
use super::partitions::{change, may_lead};
use super::record::PartitionChange;
use super::topics::check_replicas;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartitionReassignments {
    pub topics: Vec<ReassignTopic>,
    /// Whether a target may have more or fewer replicas than there are now.
    pub allow_replication_factor_change: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassignTopic {
    pub name: String,
    pub partitions: Vec<ReassignPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassignPartition {
    pub partition_id: i32,
    /// The replicas to end with, the preferred leader first; none takes back what is under way.
    pub replicas: Option<Vec<i32>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassignedTopic {
    pub name: String,
    pub partitions: Vec<ReassignedPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassignedPartition {
    pub partition_id: i32,
    pub result: Result<(), ApiError>,
}

/// Errors of a partition: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REPLICATION_FACTOR`,
/// `NO_REASSIGNMENT_IN_PROGRESS`, `INVALID_REQUEST`, `POLICY_VIOLATION`.
pub fn alter(image: &Image, command: &AlterPartitionReassignments, context: Context<'_>) -> Decision {
    let mut batch = Batch::default();
    let topics = command.topics.iter().map(|topic| ReassignedTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| {
                let result = reassign(image, &topic.name, wanted, command, (&mut batch, context));
                ReassignedPartition { partition_id: wanted.partition_id, result }
            })
            .collect(),
    });
    let reply = Reply::AlterPartitionReassignments(topics.collect());
    Decision::new(batch.into_records(), reply)
}

fn reassign(
    image: &Image,
    name: &str,
    wanted: &ReassignPartition,
    command: &AlterPartitionReassignments,
    (batch, context): (&mut Batch, Context<'_>),
) -> Result<(), ApiError> {
    let unknown =
        |what: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, format!("Unable to find {what}."));
    let topic = image.topic_by_name(name).ok_or_else(|| unknown(format!("a topic named {name}")))?;
    let partition_id = wanted.partition_id;
    let partition = batch.partition(topic, partition_id);
    let partition = partition.ok_or_else(|| unknown(format!("partition {name}:{partition_id}")))?;
    let change = match &wanted.replicas {
        None => cancel(image, topic, partition_id, &partition, context)?,
        Some(replicas) => {
            check_target(image, &partition, replicas, command.allow_replication_factor_change)?;
            let target = target(image, &partition, replicas);
            let isr = partition.isr.iter().copied().filter(|id| target.replicas.contains(id)).collect();
            change(image, (topic, partition_id, &partition), context, |change| {
                change.election(Election::Online).isr(isr).assignment(target)
            })
        }
    };
    batch.add(&partition, change).map(|_| ())
}

fn check_target(
    image: &Image,
    partition: &Partition,
    replicas: &[i32],
    allow_replication_factor_change: bool,
) -> Result<(), ApiError> {
    check_replicas(image, replicas)?;
    let present = partition.replicas.iter().filter(|id| !partition.removing_replicas.contains(id)).count();
    if allow_replication_factor_change || present == replicas.len() {
        return Ok(());
    }
    let message = format!("The replication factor is changed from {present} to {}", replicas.len());
    Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message))
}

/// The replicas meanwhile: the target, and after it those that go when it is complete. What an earlier reassignment was
/// adding and this one does not want goes at once, unless nobody else is in sync.
fn target(image: &Image, partition: &Partition, replicas: &[i32]) -> Assignment {
    let is_original = |id: &i32| !partition.adding_replicas.contains(id);
    let is_target = |id: &i32| replicas.contains(id);
    let others_in_sync = partition.isr.iter().any(|id| is_original(id) || is_target(id));
    let stays = |id: &i32| !is_target(id) && (is_original(id) || !others_in_sync);
    let mut removing: Vec<i32> = partition.replicas.iter().copied().filter(stays).collect();
    removing.sort_unstable();
    let mut adding: Vec<i32> =
        replicas.iter().copied().filter(|id| !(partition.replicas.contains(id) && is_original(id))).collect();
    adding.sort_unstable();
    let all: Vec<i32> = replicas.iter().chain(&removing).copied().collect();
    let directories = all.iter().map(|id| directory(image, partition, *id)).collect();
    Assignment { replicas: all, directories, adding, removing }
}

fn directory(image: &Image, partition: &Partition, broker_id: i32) -> Uuid {
    partition.directory_of(broker_id).unwrap_or_else(|| directories::of_new_replica(image, broker_id))
}

/// Back to the replicas that were there before.
fn cancel(
    image: &Image,
    topic: &Topic,
    partition_id: i32,
    partition: &Partition,
    context: Context<'_>,
) -> Result<Option<PartitionChange>, ApiError> {
    if !partition.is_reassigning() {
        let message = "No partition reassignment is in progress.";
        return Err(ApiError::new(ErrorCode::NoReassignmentInProgress, message));
    }
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    let original = Assignment::of(partition).only(|id| !partition.adding_replicas.contains(&id));
    let Some(first) = original.replicas.first().copied() else {
        return refuse("Invalid replica assignment: addingReplicas contains all replicas.".to_owned());
    };
    let rules = rules(image, topic, partition, context);
    let stays = |id: &i32| original.replicas.contains(id);
    let mut isr: Vec<i32> = partition.isr.iter().copied().filter(stays).collect();
    // An eligible replica that is down will do for nobody: while it is away it may lose what makes it eligible, and those
    // who have the records now would be gone.
    let eligible = |id: &i32| stays(id) && may_lead(image, partition, *id);
    let none_has_all = isr.is_empty() && !partition.eligible_leader_replicas.iter().any(eligible);
    if none_has_all && !rules.unclean_election {
        return refuse(format!(
            "Unable to revert partition assignment for {}:{partition_id} because it would require an unclean \
             leader election.",
            topic.name
        ));
    }
    if isr.is_empty() && !rules.elr_enabled {
        isr.push(first);
    }
    let place = (topic, partition_id, partition);
    Ok(change(image, place, context, |change| change.isr(isr).assignment(original)))
}

/// A partition that is being reassigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ongoing {
    pub partition_id: i32,
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

/// What is under way, by topic: of the partitions asked for, or all of it.
pub fn list(image: &Image, asked: Option<&[(&str, &[i32])]>) -> Vec<(String, Vec<Ongoing>)> {
    let mut topics: Vec<(String, Vec<Ongoing>)> = Vec::new();
    match asked {
        None => {
            for (topic, partition_id, partition) in image.reassigning() {
                match topics.last_mut() {
                    Some((name, ongoing)) if **name == *topic.name => {
                        ongoing.push(Ongoing::of(partition_id, partition));
                    }
                    _ => topics.push((topic.name.to_string(), vec![Ongoing::of(partition_id, partition)])),
                }
            }
        }
        Some(asked) => {
            for (name, partitions) in asked {
                let Some(topic) = image.topic_by_name(name) else { continue };
                let found = partitions.iter().filter_map(|id| Some((*id, topic.partition(*id)?)));
                let ongoing = found.filter(|(_, partition)| partition.is_reassigning());
                let ongoing: Vec<_> = ongoing.map(|(id, partition)| Ongoing::of(id, partition)).collect();
                if !ongoing.is_empty() {
                    topics.push((topic.name.to_string(), ongoing));
                }
            }
        }
    }
    topics
}

impl Ongoing {
    fn of(partition_id: i32, partition: &Partition) -> Self {
        Self {
            partition_id,
            replicas: partition.replicas.clone(),
            adding: partition.adding_replicas.clone(),
            removing: partition.removing_replicas.clone(),
        }
    }
}

#[cfg(test)]
#[path = "reassignments_test.rs"]
mod tests;
