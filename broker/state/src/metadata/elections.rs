//! Elections: on demand, to bring leaderships back to their preferred replicas, and unclean ones where topics allow them.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;

use super::command::{ApiError, Context, Decision, Reply};
use super::image::{Image, Partition};
use super::partition_batch::Batch;
use super::partition_change::{Election, rules};
use super::partitions::{change, may_lead};
use super::record::Record;

/// Leaderships that one round of balancing or of unclean elections moves at most, as in Kafka: every one is a pause for
/// its clients.
pub const ROUND_ELECTIONS_MAX: usize = 1_000;

/// Elections on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectLeaders {
    /// `Preferred` or `Unclean`.
    pub election: Election,
    /// Topic names and partitions; none is every partition.
    pub partitions: Option<Vec<(String, Vec<i32>)>>,
}

/// The partitions of a topic that were asked for; of every partition only those that needed an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectedTopic {
    pub topic: String,
    pub partitions: Vec<ElectedPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectedPartition {
    pub partition_id: i32,
    pub result: Result<(), ApiError>,
}

/// Errors of a partition: `UNKNOWN_TOPIC_OR_PARTITION`, `ELECTION_NOT_NEEDED`,
/// `PREFERRED_LEADER_NOT_AVAILABLE`, `ELIGIBLE_LEADERS_NOT_AVAILABLE`, `POLICY_VIOLATION`.
pub fn elect(image: &Image, command: &ElectLeaders, context: Context<'_>) -> Decision {
    let election = command.election;
    let asked = match &command.partitions {
        Some(partitions) => partitions.clone(),
        None => in_need(image, election),
    };
    let mut batch = Batch::default();
    let mut topics = Vec::new();
    for (topic, partitions) in asked {
        let elected = partitions.into_iter().map(|partition_id| {
            let result = elect_one(image, (&topic, partition_id), election, (&mut batch, context));
            ElectedPartition { partition_id, result }
        });
        let partitions = elected.collect();
        topics.push(ElectedTopic { topic, partitions });
    }
    Decision::new(batch.into_records(), Reply::ElectLeaders(topics))
}

/// Who asks for every partition does not want to hear of those that are fine.
fn in_need(image: &Image, election: Election) -> Vec<(String, Vec<i32>)> {
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition_id, partition) in image.imbalanced() {
        if is_needed(partition, election) {
            by_topic.entry(topic.name.to_string()).or_default().push(partition_id);
        }
    }
    by_topic.values_mut().for_each(|partitions| partitions.sort_unstable());
    by_topic.into_iter().collect()
}

fn is_needed(partition: &Partition, election: Election) -> bool {
    match election {
        Election::Preferred => !partition.has_preferred_leader(),
        Election::Online | Election::Unclean => partition.leader.is_none(),
    }
}

fn elect_one(
    image: &Image,
    (name, partition_id): (&str, i32),
    election: Election,
    (batch, context): (&mut Batch, Context<'_>),
) -> Result<(), ApiError> {
    let refuse = |code: ErrorCode, message: &str| Err(ApiError::new(code, message));
    let unknown = |what: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, format!("No such {what}"));
    let topic = image.topic_by_name(name).ok_or_else(|| unknown(format!("topic as {name}")))?;
    let partition = batch.partition(topic, partition_id);
    let partition = partition.ok_or_else(|| unknown(format!("partition as {name}-{partition_id}")))?;
    if !is_needed(&partition, election) {
        let message = "Leader election not needed for topic partition.";
        return refuse(ErrorCode::ElectionNotNeeded, message);
    }
    let change =
        change(image, (topic, partition_id, &partition), context, |change| change.election(election));
    let leader = change.as_ref().and_then(|change| change.leader).flatten();
    match change {
        Some(change)
            if leader.is_some() && (election != Election::Preferred || is_first(&partition, leader)) =>
        {
            batch.add(&partition, Some(change)).map(|_| ())
        }
        _ if election == Election::Preferred => {
            refuse(ErrorCode::PreferredLeaderNotAvailable, "The preferred leader was not available.")
        }
        _ => refuse(
            ErrorCode::EligibleLeadersNotAvailable,
            "Eligible topic partition leaders are not available.",
        ),
    }
}

fn is_first(partition: &Partition, leader: Option<i32>) -> bool {
    leader == partition.replicas.first().copied()
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub elections: usize,
    /// Whether it stopped at its bound, so that the next one ought to follow soon.
    pub is_full: bool,
}

/// Moves leaderships back to the replicas that ought to have them, at most [`ROUND_ELECTIONS_MAX`]. Looks only at
/// those that live brokers do not lead although they are theirs.
pub fn balance(image: &Image, context: Context<'_>) -> Decision {
    let mut records = Vec::new();
    let alive = image.brokers().filter(|broker| broker.is_active());
    let wanted =
        alive.flat_map(|broker| image.unled_of(broker.broker_id).map(|found| (broker.broker_id, found)));
    // Not in sync yet: its turn comes when it has caught up.
    let ready = wanted.filter(|(broker_id, (_, _, p))| p.isr.contains(broker_id));
    for (broker_id, (topic, partition_id, partition)) in ready {
        if records.len() >= ROUND_ELECTIONS_MAX {
            break;
        }
        let change = change(image, (topic, partition_id, partition), context, |change| {
            change.election(Election::Preferred)
        });
        records.extend(change.filter(|c| c.leader == Some(Some(broker_id))).map(Record::PartitionChange));
    }
    let round = round(&records);
    Decision::new(records, Reply::BalanceLeaders(round))
}

/// Gives partitions that nobody may lead cleanly a leader where their topics allow it, at most
/// [`ROUND_ELECTIONS_MAX`]: for topics that began to allow it after their leader was lost.
pub fn elect_unclean(image: &Image, context: Context<'_>) -> Decision {
    let mut records = Vec::new();
    for broker in image.brokers().filter(|broker| broker.is_active()) {
        for (topic, partition_id, partition) in image.leaderless_of(broker.broker_id) {
            let first = partition.replicas.iter().find(|id| may_lead(image, partition, **id));
            // Others of its replicas may live too; it is decided once.
            let is_ours = first == Some(&broker.broker_id);
            if records.len() >= ROUND_ELECTIONS_MAX {
                break;
            }
            if is_ours && rules(image, topic, partition, context).unclean_election {
                let change = change(image, (topic, partition_id, partition), context, |change| {
                    change.election(Election::Unclean)
                });
                records.extend(change.map(Record::PartitionChange));
            }
        }
    }
    let round = round(&records);
    Decision::new(records, Reply::ElectUncleanLeaders(round))
}

fn round(records: &[Record]) -> Round {
    Round { elections: records.len(), is_full: records.len() >= ROUND_ELECTIONS_MAX }
}

#[cfg(test)]
#[path = "elections_test.rs"]
mod tests;
