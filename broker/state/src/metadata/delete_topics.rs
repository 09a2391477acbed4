//! Topics: deleting them, by name or id.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::command::{ApiError, Context, Decision, Reply};
use super::image::{Image, Topic};
use super::record::{Record, RemoveTopic};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTopics {
    pub topics: Vec<TopicRef>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    Name(String),
    Id(Uuid),
}

/// Name and id as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: Option<String>,
    pub topic_id: Uuid,
    pub result: Result<(), ApiError>,
}

/// Errors of a topic: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `TOPIC_DELETION_DISABLED`,
/// `INVALID_REQUEST`.
pub fn delete(image: &Image, command: &DeleteTopics, context: Context<'_>) -> Decision {
    let mut deleted: BTreeSet<Uuid> = BTreeSet::new();
    let mut times: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    command.topics.iter().for_each(|wanted| *times.entry(wanted).or_default() += 1);
    let mut answers: Vec<DeletedTopic> = times
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(wanted, _)| refused_as_repeated(wanted))
        .collect();
    for wanted in command.topics.iter().filter(|wanted| times[wanted] == 1) {
        let found = match wanted {
            TopicRef::Name(name) => image.topic_by_name(name),
            TopicRef::Id(id) => image.topic(*id),
        };
        let (name, topic_id) = match (wanted, found) {
            (_, Some(topic)) => (Some(topic.name.to_string()), topic.id),
            (TopicRef::Name(name), None) => (Some(name.clone()), Uuid::ZERO),
            (TopicRef::Id(id), None) => (None, *id),
        };
        let result = check_delete(wanted, found.map(|topic| &**topic), &deleted, context);
        if result.is_ok() {
            deleted.insert(topic_id);
        }
        answers.push(DeletedTopic { name, topic_id, result });
    }
    let records = deleted.into_iter().map(|topic_id| Record::RemoveTopic(RemoveTopic { topic_id })).collect();
    Decision::new(records, Reply::DeleteTopics(answers))
}

/// What stands twice is answered once, and nothing of it is deleted: the request may not mean what it says.
fn refused_as_repeated(wanted: &TopicRef) -> DeletedTopic {
    let refused = |message: &str| Err(ApiError::new(ErrorCode::InvalidRequest, message));
    match wanted {
        TopicRef::Name(name) => DeletedTopic {
            name: Some(name.clone()),
            topic_id: Uuid::ZERO,
            result: refused("Duplicate topic name."),
        },
        TopicRef::Id(id) => {
            DeletedTopic { name: None, topic_id: *id, result: refused("Duplicate topic id.") }
        }
    }
}

fn check_delete(
    wanted: &TopicRef,
    found: Option<&Topic>,
    deleted: &BTreeSet<Uuid>,
    context: Context<'_>,
) -> Result<(), ApiError> {
    let refuse = |code: ErrorCode, message: &str| Err(ApiError::new(code, message));
    if !context.settings.delete_topics {
        return refuse(ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled.");
    }
    match (wanted, found) {
        (TopicRef::Name(_), None) => {
            refuse(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
        }
        (TopicRef::Id(_), None) => {
            refuse(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        }
        (_, Some(topic)) if deleted.contains(&topic.id) => {
            refuse(ErrorCode::InvalidRequest, "The topic was named more than once in the request.")
        }
        (_, Some(_)) => Ok(()),
    }
}
