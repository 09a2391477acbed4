//! Topics: creating them. Growing and deleting stand in files of their own.
//!
//! Topic ids come with the command, drawn by whoever asks: a decision draws nothing. Messages say
//! what Kafka 4.3 says, in spirit, because people search for them.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::batch_size::BatchSize;
use super::command::{ApiError, Context, Decision, Reply};
pub use super::create_partitions::{CreatePartitions, CreatedPartitions, MorePartitions, create_partitions};
pub use super::delete_topics::{DeleteTopics, DeletedTopic, TopicRef, delete};
use super::directories;
use super::image::{ConfigResource, Image, is_internal_topic};
use super::placement;
use super::record::{PartitionRecord, Record, RecoveryState, TopicRecord};
use crate::config::broker::{InternalTopic, Settings};
use crate::config::topic;

/// The metadata log's own name, which no topic may have.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

const NAME_LENGTH_MAX: usize = 249;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    pub name: String,
    pub topic_id: Uuid,
    /// −1 for the default, and when `assignments` are given.
    pub num_partitions: i32,
    /// −1 for the default, and when `assignments` are given.
    pub replication_factor: i16,
    /// Partition index and its replicas, the preferred leader first.
    pub assignments: Vec<(i32, Vec<i32>)>,
    pub configs: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    pub name: String,
    pub result: Result<CreatedTopic, ApiError>,
}

/// What was created, or would be when only validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    pub topic_id: Uuid,
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub configs: BTreeMap<String, String>,
}

/// Errors of a topic: `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS`, `INVALID_PARTITIONS`,
/// `INVALID_REPLICATION_FACTOR`, `INVALID_REPLICA_ASSIGNMENT`, `INVALID_CONFIG`,
/// `INVALID_REQUEST`, `POLICY_VIOLATION`.
pub fn create(image: &Image, command: &CreateTopics, context: Context<'_>) -> Decision {
    // All topics of a command become one entry; a topic that does not fit any more is refused as a whole.
    let mut size = BatchSize::default();
    let mut records = Vec::new();
    let mut outcomes = Vec::new();
    let mut taken = Taken::default();
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<&str> =
        command.topics.iter().map(|t| t.name.as_str()).filter(|name| !seen.insert(*name)).collect();
    for new in &command.topics {
        // The name answers once, however often it was asked for.
        if repeated.contains(new.name.as_str()) {
            if seen.remove(new.name.as_str()) {
                let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
                outcomes.push(TopicOutcome { name: new.name.clone(), result: Err(error) });
            }
            continue;
        }
        let result = create_one(image, new, &taken, &mut size, context).map(|(created, more)| {
            taken.add(&new.name);
            records.extend(more);
            created
        });
        outcomes.push(TopicOutcome { name: new.name.clone(), result });
    }
    if command.validate_only {
        records.clear();
    }
    Decision::new(records, Reply::CreateTopics(outcomes))
}

/// Names given out earlier in the same command.
#[derive(Debug, Default)]
struct Taken {
    names: BTreeSet<String>,
}

impl Taken {
    fn add(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }
}

fn create_one(
    image: &Image,
    new: &NewTopic,
    taken: &Taken,
    size: &mut BatchSize,
    context: Context<'_>,
) -> Result<(CreatedTopic, Vec<Record>), ApiError> {
    check_new_name(image, &new.name, taken)?;
    if new.topic_id.is_zero() || image.topic(new.topic_id).is_some() {
        let message = format!("Topic id {} is not free.", new.topic_id);
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let configs = check_configs(new)?;
    let replicas = if new.assignments.is_empty() {
        automatic(image, new, *size, context.settings)?
    } else {
        manual(image, new)?
    };
    let created = CreatedTopic {
        topic_id: new.topic_id,
        num_partitions: replicas.len() as i32,
        replication_factor: replicas[0].len() as i16,
        configs,
    };
    let mut records = vec![Record::Topic(TopicRecord { name: new.name.clone(), topic_id: new.topic_id })];
    let resource = ConfigResource::topic(&new.name);
    records.extend(created.configs.iter().map(|(name, value)| resource.record(name, Some(value.clone()))));
    records.extend(partition_records(image, new.topic_id, 0, replicas));
    *size = size.with(&records)?;
    Ok((created, records))
}

/// What a name must look like.
///
/// Errors: the sentence that Kafka clients show.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > NAME_LENGTH_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}")
        }
        _ if !name.bytes().all(legal) => format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ),
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {reason}"))
}

fn check_new_name(image: &Image, name: &str, taken: &Taken) -> Result<(), ApiError> {
    if name == METADATA_TOPIC {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
        ));
    }
    check_name(name).map_err(|message| ApiError::new(ErrorCode::InvalidTopicException, message))?;
    if image.topic_by_name(name).is_some() {
        return Err(ApiError::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    if let Some(other) = colliding(image, name, taken) {
        return Err(ApiError::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        ));
    }
    Ok(())
}

/// A topic whose name differs only in dots and underscores: their metrics would be the same.
fn colliding(image: &Image, name: &str, taken: &Taken) -> Option<String> {
    let at = name.find(['.', '_'])?;
    let (prefix, unified) = (&name[..at], name.replace('.', "_"));
    let same = |other: &str| other != name && other.replace('.', "_") == unified;
    let in_image = image
        .topics_from(prefix)
        .take_while(|topic| topic.name.starts_with(prefix))
        .find(|topic| same(&topic.name))
        .map(|topic| topic.name.to_string());
    in_image.or_else(|| taken.names.iter().find(|other| same(other)).cloned())
}

fn check_configs(new: &NewTopic) -> Result<BTreeMap<String, String>, ApiError> {
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidConfig, message);
    let mut configs = BTreeMap::new();
    for (name, value) in &new.configs {
        let Some(value) = value else {
            return Err(invalid(format!("Null value not supported for topic configs: {name}")));
        };
        let definition = topic::definition(name);
        configs.insert(name.clone(), definition.map_or_else(|| value.clone(), |row| row.canonical(value)));
    }
    // The coordinators' own topics get what the broker's properties say, also where it is less than users may ask for.
    if !is_internal_topic(&new.name) {
        topic::check(&configs).map_err(|error| invalid(error.to_string()))?;
    }
    Ok(configs)
}

fn automatic(
    image: &Image,
    new: &NewTopic,
    size: BatchSize,
    settings: &Settings,
) -> Result<Vec<Vec<i32>>, ApiError> {
    let replication_factor = match new.replication_factor {
        -1 => settings.default_replication_factor,
        factor if factor > 0 => factor,
        _ => {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
    };
    let num_partitions = match new.num_partitions {
        -1 => settings.num_partitions,
        count if count > 0 => count,
        _ => {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
    };
    // Before placing: the count comes from the client and placing allocates by it.
    size.has_room_for(num_partitions as usize)?;
    placement::place(image, new.topic_id, 0, num_partitions, replication_factor)
}

fn manual(image: &Image, new: &NewTopic) -> Result<Vec<Vec<i32>>, ApiError> {
    for (what, given) in
        [("replication factor", i32::from(new.replication_factor)), ("numPartitions", new.num_partitions)]
    {
        if given != -1 {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                format!("A manual partition assignment was specified, but {what} was not set to -1."),
            ));
        }
    }
    let mut by_partition = BTreeMap::new();
    for (partition, replicas) in &new.assignments {
        if by_partition.insert(*partition, replicas.clone()).is_some() {
            return Err(bad_assignment(format!(
                "Found multiple manual partition assignments for partition {partition}"
            )));
        }
    }
    let consecutive = by_partition.keys().copied().eq(0..by_partition.len() as i32);
    if !consecutive {
        return Err(bad_assignment("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    let replicas: Vec<Vec<i32>> = by_partition.into_values().collect();
    let factor = replicas[0].len();
    for (partition, brokers) in replicas.iter().enumerate() {
        check_assignment(image, partition, brokers, factor)?;
    }
    Ok(replicas)
}

pub(super) fn bad_assignment(message: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidReplicaAssignment, message)
}

/// Replicas that somebody chose: registered brokers, each once.
pub(super) fn check_replicas(image: &Image, brokers: &[i32]) -> Result<(), ApiError> {
    if brokers.is_empty() {
        return Err(refused("includes an empty replica list.".to_owned()));
    }
    let mut distinct = BTreeSet::new();
    for broker in brokers {
        if image.broker(*broker).is_none() {
            return Err(refused(format!("includes broker {broker}, but no such broker is registered.")));
        }
        if !distinct.insert(*broker) {
            return Err(refused(format!("includes the broker {broker} more than once.")));
        }
    }
    Ok(())
}

fn refused(why: String) -> ApiError {
    bad_assignment(format!("The manual partition assignment {why}"))
}

pub(super) fn check_assignment(
    image: &Image,
    partition: usize,
    brokers: &[i32],
    replication_factor: usize,
) -> Result<(), ApiError> {
    check_replicas(image, brokers)?;
    if brokers.len() != replication_factor {
        return Err(refused(format!(
            "includes a partition with {} replica(s), but this is not consistent with previous \
             partitions, which have {replication_factor} replica(s).",
            brokers.len()
        )));
    }
    if !brokers.iter().any(|broker| image.is_active(*broker)) {
        return Err(bad_assignment(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are \
             fenced or in controlled shutdown."
        )));
    }
    Ok(())
}

pub(super) fn partition_records(
    image: &Image,
    topic_id: Uuid,
    first_partition: i32,
    replicas: Vec<Vec<i32>>,
) -> impl Iterator<Item = Record> {
    (first_partition..).zip(replicas).map(move |(partition_id, replicas)| {
        let isr: Vec<i32> = replicas.iter().copied().filter(|id| image.is_active(*id)).collect();
        Record::Partition(PartitionRecord {
            topic_id,
            partition_id,
            leader: isr.first().copied(),
            isr,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader_recovery_state: RecoveryState::Recovered,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: replicas.iter().map(|id| directories::of_new_replica(image, *id)).collect(),
            replicas,
            eligible_leader_replicas: Vec::new(),
            last_known_elr: Vec::new(),
        })
    })
}

/// The topic that a broker asks for when a client names one that does not exist. The logs of the
/// coordinators get the shape that the broker's properties give them.
pub fn auto_created(name: &str, topic_id: Uuid, settings: &Settings, image: &Image) -> NewTopic {
    let mut internal = settings.internal_topics;
    if settings.quorum.is_alone && image.brokers().all(|broker| broker.broker_id == settings.node_id) {
        internal.offsets.replication_factor = internal.offsets_replication_factor_alone;
    }
    let shaped = |shape: InternalTopic, more: &[(&str, &str)]| {
        let mut configs = vec![
            ("cleanup.policy".to_owned(), Some("compact".to_owned())),
            ("segment.bytes".to_owned(), Some(shape.segment_bytes.to_string())),
        ];
        let min_isr = shape.min_insync_replicas.map(|min| min.to_string());
        configs.extend(min_isr.map(|min| ("min.insync.replicas".to_owned(), Some(min))));
        configs.extend(more.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))));
        NewTopic {
            name: name.to_owned(),
            topic_id,
            num_partitions: shape.num_partitions,
            replication_factor: shape.replication_factor,
            assignments: Vec::new(),
            configs,
        }
    };
    match name {
        "__consumer_offsets" => shaped(internal.offsets, &[("compression.type", "producer")]),
        "__transaction_state" => shaped(
            internal.transactions,
            &[("compression.type", "uncompressed"), ("unclean.leader.election.enable", "false")],
        ),
        "__share_group_state" => {
            let mut new = shaped(internal.shares, &[("compression.type", "uncompressed")]);
            // Share state is trimmed by its coordinator and not compacted.
            new.configs[0].1 = Some("delete".to_owned());
            new.configs.push(("retention.ms".to_owned(), Some("-1".to_owned())));
            new
        }
        _ => NewTopic {
            name: name.to_owned(),
            topic_id,
            num_partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        },
    }
}

#[cfg(test)]
#[path = "topics_test.rs"]
mod tests;
