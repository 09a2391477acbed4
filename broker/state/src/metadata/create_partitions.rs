//! Topics: adding partitions to them. A topic never shrinks.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;

use super::batch_size::BatchSize;
use super::command::{ApiError, Decision, Reply};
use super::image::Image;
use super::placement;
use super::record::Record;
use super::topics::{bad_assignment, check_assignment, partition_records};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePartitions {
    pub topics: Vec<MorePartitions>,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MorePartitions {
    pub name: String,
    /// The number of partitions afterwards.
    pub count: i32,
    /// Replicas of each new partition; none lets the controller place them.
    pub assignments: Option<Vec<Vec<i32>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedPartitions {
    pub name: String,
    pub result: Result<(), ApiError>,
}

/// Errors of a topic: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS`,
/// `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REPLICATION_FACTOR`, `INVALID_REQUEST`,
/// `POLICY_VIOLATION`.
pub fn create_partitions(image: &Image, command: &CreatePartitions) -> Decision {
    let mut size = BatchSize::default();
    let mut records: Vec<Record> = Vec::new();
    let mut answers = Vec::new();
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for more in &command.topics {
        *named.entry(&more.name).or_default() += 1;
    }
    for more in &command.topics {
        let result = match named.remove(more.name.as_str()) {
            // Answered where the name stood first.
            None => continue,
            Some(1) => grow(image, more, &mut size).map(|new| records.extend(new)),
            Some(_) => Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        answers.push(CreatedPartitions { name: more.name.clone(), result });
    }
    if command.validate_only {
        records.clear();
    }
    Decision::new(records, Reply::CreatePartitions(answers))
}

fn grow(image: &Image, more: &MorePartitions, size: &mut BatchSize) -> Result<Vec<Record>, ApiError> {
    let unknown = || ApiError::new(ErrorCode::UnknownTopicOrPartition, "");
    let topic = image.topic_by_name(&more.name).ok_or_else(unknown)?;
    let present = topic.partitions.len() as i32;
    if more.count <= present {
        let message = if more.count == present {
            format!("Topic already has {present} partition(s).")
        } else {
            format!(
                "The topic {} currently has {present} partition(s); {} would not be an increase.",
                more.name, more.count
            )
        };
        return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
    }
    let additional = more.count - present;
    size.has_room_for(additional as usize)?;
    let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let replicas = match &more.assignments {
        None => placement::place(image, topic.id, present, additional, factor as i16)?,
        Some(assignments) => {
            if assignments.len() != additional as usize {
                return Err(bad_assignment(format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) \
                     were specified.",
                    assignments.len()
                )));
            }
            for (index, brokers) in assignments.iter().enumerate() {
                check_assignment(image, present as usize + index, brokers, factor)?;
            }
            assignments.clone()
        }
    };
    let records: Vec<Record> = partition_records(image, topic.id, present, replicas).collect();
    *size = size.with(&records)?;
    Ok(records)
}
