//! Fetch requests and the way from a response to its partitions.

use std::time::Duration;

use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use milena_protocol::{ErrorCode, Records};

use super::{Asked, Fetch, Fetched, InFlight};
use crate::cluster::Cluster;
use crate::config::ConsumerConfig;
use crate::connection::Response;
use crate::error::{Error, Result};

/// Topics are named by id from this version on.
const BY_ID_FROM: i16 = 13;

/// Time that a broker gets beyond the wait that it was asked for.
const GRACE: Duration = Duration::from_secs(30);

/// Fetches from the leader of what is asked, in a task of its own: it goes on while nobody polls.
pub(super) fn send(cluster: Cluster, config: ConsumerConfig, leader: i32, asked: Vec<Asked>) -> InFlight {
    tokio::spawn(async move {
        let response = fetch(&cluster, &config, leader, &asked).await;
        Fetch { asked, response }
    })
}

pub(super) async fn fetch(
    cluster: &Cluster,
    config: &ConsumerConfig,
    leader: i32,
    asked: &[Asked],
) -> Result<Response> {
    let connection = cluster.broker(leader).await?;
    let all_have_ids = asked.iter().all(|asked| !asked.topic_id.is_zero());
    let version =
        connection.version_of::<FetchRequest<'_>>(if all_have_ids { i16::MAX } else { BY_ID_FROM - 1 })?;
    let mut topics: Vec<FetchTopic<'_>> = Vec::new();
    // Partitions of a topic stand together: `asked` is in order of the topics.
    for asked in asked {
        let partition = FetchPartition {
            partition: asked.partition,
            fetch_offset: asked.offset,
            partition_max_bytes: config.max_partition_fetch_bytes,
            ..Default::default()
        };
        let mut topic = FetchTopic { partitions: vec![partition], ..Default::default() };
        if version >= BY_ID_FROM {
            topic.topic_id = asked.topic_id;
        } else {
            topic.topic = asked.topic.as_str().into();
        }
        match topics.last_mut() {
            Some(last) if last.topic == topic.topic && last.topic_id == topic.topic_id => {
                last.partitions.append(&mut topic.partitions);
            }
            _ => topics.push(topic),
        }
    }
    let request = FetchRequest {
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_min_bytes,
        max_bytes: config.fetch_max_bytes,
        isolation_level: i8::from(config.read_committed),
        topics,
        ..Default::default()
    };
    connection.call_within(&request, version, config.fetch_max_wait + GRACE).await
}

/// The partitions of a response, each with a share in the response's bytes.
pub(super) fn partitions(
    response: &Response,
    decoded: &FetchResponse<'_>,
    asked: &[Asked],
) -> Result<Vec<Fetched>> {
    let by_id = response.version() >= BY_ID_FROM;
    let mut parts = Vec::new();
    for topic in &decoded.responses {
        let is_topic =
            |asked: &Asked| if by_id { asked.topic_id == topic.topic_id } else { asked.topic == topic.topic };
        for data in &topic.partitions {
            let was_asked = |asked: &&Asked| asked.partition == data.partition_index && is_topic(asked);
            if let Some(asked) = asked.iter().find(was_asked) {
                parts.push(part(response, asked.topic.clone(), asked.offset, data)?);
            }
        }
    }
    Ok(parts)
}

fn part(response: &Response, topic: String, from_offset: i64, data: &PartitionData<'_>) -> Result<Fetched> {
    let bytes = match &data.records {
        Some(Records::Bytes(bytes)) => response.body().slice_ref(bytes),
        _ => bytes::Bytes::new(),
    };
    let error = (data.error_code != 0)
        .then(|| ErrorCode::from_i16(data.error_code).unwrap_or(ErrorCode::UnknownServerError));
    let aborted = data.aborted_transactions.iter().flatten();
    if bytes.is_empty() && error.is_none() && data.high_watermark < 0 {
        return Err(Error::Corrupt(format!("{topic}-{}: a fetch without watermark", data.partition_index)));
    }
    Ok(Fetched {
        topic,
        partition: data.partition_index,
        from_offset,
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
        error,
        aborted: aborted.map(|aborted| (aborted.producer_id, aborted.first_offset)).collect(),
        bytes,
    })
}
