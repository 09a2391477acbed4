//! OffsetFetch (key 9), versions 1–10.
//!
//! How far groups have come: the partitions that are named, or with null topics (v2 and later) all that were
//! committed. What is not committed is −1, also of topics that do not exist. A coordinator's error is the group's and
//! its topics are left out; v1 has no such field, so it says it for every partition.
//!
//! v5 adds leader epochs (KIP-320), v7 RequireStable (KIP-447), v8 several groups at once (KIP-709), v9 the member
//! that asks, which only members of the consumer protocol are checked by (KIP-848), v10 topic ids: UNKNOWN_TOPIC_ID.
//!
//! A group and a partition may be named often, and offsets have metadata: a group that would not fit into the answer
//! any more is INVALID_REQUEST.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use milena_protocol::types::Uuid;
use milena_state::group::reply::{FetchedOffset, FetchedTopic};
use milena_state::group::request::{Fetch, FetchTopic};
use milena_state::metadata::Image;

use super::room::Room;
use crate::server::{Reply, RequestContext};

const BY_ID_FROM: i16 = 10;

pub async fn handle(cx: &RequestContext, request: OffsetFetchRequest<'_>) -> Reply {
    if cx.version < 8 {
        return one(cx, &request).await;
    }
    let mut room = Room::default();
    let mut fetched = Vec::with_capacity(request.groups.len());
    for group in &request.groups {
        fetched.push(of_group(cx, group, request.require_stable, &mut room).await);
    }
    let groups = request.groups.iter().zip(&fetched).map(|(asked, fetched)| OffsetFetchResponseGroup {
        group_id: (&*asked.group_id).into(),
        topics: fetched.iter().flatten().map(topic_of_group).collect(),
        error_code: fetched.as_ref().err().copied().unwrap_or(ErrorCode::None).into(),
    });
    cx.reply(&OffsetFetchResponse { groups: groups.collect(), ..Default::default() })
}

/// A request before version 8, which asks for one group.
async fn one(cx: &RequestContext, request: &OffsetFetchRequest<'_>) -> Reply {
    let fetch = Fetch {
        group: (&*request.group_id).into(),
        topics: request.topics.as_ref().map(|topics| topics.iter().map(by_name).collect()),
        require_stable: request.require_stable,
    };
    let fetched = fitting(cx, &fetch, &mut Room::default()).await;
    let (topics, error) = match fetched {
        Ok(topics) => (topics, ErrorCode::None),
        Err(error) if cx.version < 2 => {
            let topics = fetch.topics.iter().flatten();
            (topics.map(|topic| refused(topic, error)).collect(), ErrorCode::None)
        }
        Err(error) => (Vec::new(), error),
    };
    cx.reply(&OffsetFetchResponse {
        topics: topics.iter().map(topic).collect(),
        error_code: error.into(),
        ..Default::default()
    })
}

async fn of_group(
    cx: &RequestContext,
    asked: &OffsetFetchRequestGroup<'_>,
    require_stable: bool,
    room: &mut Room,
) -> Result<Vec<FetchedTopic>, ErrorCode> {
    let image = cx.node.metadata.image_arc();
    let (topics, unknown) = match &asked.topics {
        None => (None, Vec::new()),
        Some(topics) => {
            let (known, unknown) = sort_out(&image, topics, cx.version);
            (Some(known), unknown)
        }
    };
    let fetch = Fetch { group: (&*asked.group_id).into(), topics, require_stable };
    let mut fetched = fitting(cx, &fetch, room).await?;
    if fetch.topics.is_none() && cx.version >= BY_ID_FROM {
        fetched.retain_mut(|topic| name_by_id(&image, topic));
    }
    fetched.extend(unknown);
    Ok(fetched)
}

/// What the coordinator knows, if the answer has room for it.
async fn fitting(
    cx: &RequestContext,
    fetch: &Fetch,
    room: &mut Room,
) -> Result<Vec<FetchedTopic>, ErrorCode> {
    // Before anything is looked up: what is asked for is answered, be it with nothing.
    room.take(fetch.topics.iter().flatten().map(asked_bytes).sum())?;
    let fetched = cx.node.groups.read(&fetch.group, |groups| groups.fetch(fetch)).await?;
    let told = match fetch.topics {
        Some(_) => fetched.iter().map(metadata_bytes).sum::<usize>(),
        None => {
            fetched.iter().map(|topic| PARTITION_BYTES * topic.partitions.len() + metadata_bytes(topic)).sum()
        }
    };
    room.take(told)?;
    Ok(fetched)
}

/// About what a partition takes in the answer, beside its metadata.
const PARTITION_BYTES: usize = 24;

fn asked_bytes(topic: &FetchTopic) -> usize {
    PARTITION_BYTES + topic.name.len() + PARTITION_BYTES * topic.partitions.len()
}

fn metadata_bytes(topic: &FetchedTopic) -> usize {
    topic.partitions.iter().map(|found| found.metadata.len()).sum()
}

/// What is looked up, and what has an id that no topic has.
fn sort_out(
    image: &Image,
    topics: &[OffsetFetchRequestTopics<'_>],
    version: i16,
) -> (Vec<FetchTopic>, Vec<FetchedTopic>) {
    let mut known = Vec::with_capacity(topics.len());
    let mut unknown = Vec::new();
    for topic in topics {
        let name: Option<Arc<str>> = match version {
            BY_ID_FROM.. => image.topic(topic.topic_id).map(|known| known.name.clone()),
            _ => Some((&*topic.name).into()),
        };
        let partitions = topic.partition_indexes.clone();
        let fetch =
            FetchTopic { name: name.clone().unwrap_or_default(), topic_id: topic.topic_id, partitions };
        match name {
            Some(_) => known.push(fetch),
            None => unknown.push(refused(&fetch, ErrorCode::UnknownTopicId)),
        }
    }
    (known, unknown)
}

fn by_name(topic: &OffsetFetchRequestTopic<'_>) -> FetchTopic {
    FetchTopic {
        name: (&*topic.name).into(),
        topic_id: Uuid::ZERO,
        partitions: topic.partition_indexes.clone(),
    }
}

/// Whether the topic is still there to have an id.
fn name_by_id(image: &Image, topic: &mut FetchedTopic) -> bool {
    let known = image.topic_by_name(&topic.name);
    topic.topic_id = known.map_or(Uuid::ZERO, |known| known.id);
    known.is_some()
}

fn refused(topic: &FetchTopic, error: ErrorCode) -> FetchedTopic {
    let none = |partition: &i32| FetchedOffset {
        partition: *partition,
        error,
        offset: -1,
        leader_epoch: -1,
        metadata: "".into(),
    };
    FetchedTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(none).collect(),
    }
}

fn topic(fetched: &FetchedTopic) -> OffsetFetchResponseTopic<'_> {
    let partitions = fetched.partitions.iter().map(|found| OffsetFetchResponsePartition {
        partition_index: found.partition,
        committed_offset: found.offset,
        committed_leader_epoch: found.leader_epoch,
        metadata: Some((&*found.metadata).into()),
        error_code: found.error.into(),
    });
    OffsetFetchResponseTopic { name: (&*fetched.name).into(), partitions: partitions.collect() }
}

fn topic_of_group(fetched: &FetchedTopic) -> OffsetFetchResponseTopics<'_> {
    let partitions = fetched.partitions.iter().map(|found| OffsetFetchResponsePartitions {
        partition_index: found.partition,
        committed_offset: found.offset,
        committed_leader_epoch: found.leader_epoch,
        metadata: Some((&*found.metadata).into()),
        error_code: found.error.into(),
    });
    OffsetFetchResponseTopics {
        name: (&*fetched.name).into(),
        topic_id: fetched.topic_id,
        partitions: partitions.collect(),
    }
}
