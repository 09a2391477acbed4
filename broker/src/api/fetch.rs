//! Fetch (key 1), versions 4–18.
//!
//! Reads batches as they lie in the log; they leave by sendfile (see `server`). The first partition that has records
//! gives at least one whole batch even when a limit is smaller, so that a consumer always gets on; all others obey
//! the limits of the partition, the request and `fetch.max.bytes`. With fewer than MinBytes to give, the answer waits
//! for the watermarks of all partitions, at most MaxWaitMs. Anything but records (an error, a diverging epoch) does not wait.
//!
//! Consumers read below the high watermark, read committed below the last stable offset with the aborted
//! transactions named. A request that claims to come from a follower is refused unless it is a replica of the
//! partition; what it has by its own word counts for the high watermark. It is answered too when the high watermark
//! rises, and when the next request of its session comes. Consumers read from followers too (v11, KIP-392), and with
//! `replica.selector.class` they are sent to one in their rack. v7 sessions (KIP-227), v9 current leader epoch (KIP-320), v12 last fetched epoch and diverging epochs
//! (KIP-595), v13 topic ids (KIP-516), v15 replica state (KIP-903), v16 node endpoints (KIP-951), v18 the follower's
//! high watermark (KIP-1166).

use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use milena_protocol::types::{Records, Uuid};
use milena_state::partition::leader::leader_epoch_of_fetch;

use self::reading::{Bounds, Found, Reader, bytes, is_notice, read_until_enough};
use super::current_leader;
use crate::broker::now_ms;
use crate::server::quota::FetchQuota;
use crate::server::session::{Ask, Begun, Said, TopicKey, Want};
use crate::server::{FileSlice, Reply, RequestContext};

mod reading;

pub async fn handle(cx: &RequestContext, request: FetchRequest<'_>) -> Reply {
    let by_id = cx.version >= 13;
    let replica_id = if cx.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let quota = if replica_id < 0 { cx.fetch_quota() } else { None };
    if replica_id >= 0 {
        cx.exempt_from_time();
    }
    let quota_bytes_max = quota.as_ref().and_then(FetchQuota::bytes_max);
    let bounds = Bounds::of(cx, &request, quota_bytes_max);
    let reader = Reader::of(cx, &request, replica_id);
    let deadline = cx.deadline(request.max_wait_ms);
    let begun = match cx.node.fetch_sessions.begin(ask(cx.version, request, replica_id), now_ms()) {
        Ok(begun) => begun,
        Err(error) => return cx.reply(&FetchResponse { error_code: error.into(), ..Default::default() }),
    };
    let results = read_until_enough(cx, &begun, &reader, &bounds, deadline).await;
    let throttle_time_ms = throttle(cx, quota, &results);
    if throttle_time_ms > 0 {
        // Nothing was said about any partition, so a session stays where it was.
        let session_id = begun.session_id();
        return cx.reply(&FetchResponse { throttle_time_ms, session_id, ..Default::default() });
    }
    let said: Vec<Said> = results.iter().map(said).collect();
    let (session_id, include) = cx.node.fetch_sessions.finish(&begun, &said, by_id, now_ms());
    respond(cx, &begun, results, session_id, &include)
}

/// The longer of the waits for what was read and for the time that it took, in milliseconds.
fn throttle(cx: &RequestContext, quota: Option<FetchQuota<'_>>, results: &[Found]) -> i32 {
    let time_ms = cx.throttle_time();
    quota.map_or(0, |quota| quota.throttle(bytes(results), time_ms > 0)).max(time_ms)
}

fn ask(version: i16, request: FetchRequest<'_>, replica_id: i32) -> Ask {
    let by_id = version >= 13;
    let key = |name: &str, id: Uuid| if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.into()) };
    let mut wants = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in &request.topics {
        let topic_key = key(&topic.topic, topic.topic_id);
        wants.extend(topic.partitions.iter().map(|asked| Want {
            topic: topic_key.clone(),
            partition: asked.partition,
            current_leader_epoch: leader_epoch_of_fetch(asked.current_leader_epoch),
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            log_start_offset: asked.log_start_offset,
            high_watermark: asked.high_watermark,
            bytes_max: asked.partition_max_bytes,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let topic_key = key(&topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|partition| (topic_key.clone(), *partition)));
    }
    Ask {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        by_id,
        wants,
        forgotten,
        is_privileged: replica_id >= 0,
    }
}

fn said(found: &Found) -> Said {
    match found {
        Ok((_, readout)) => Said {
            has_records: readout.bytes() > 0,
            error: false,
            notice: is_notice(readout),
            high_watermark: readout.high_watermark,
            log_start_offset: readout.log_start_offset,
        },
        Err(_) => {
            Said { has_records: false, error: true, notice: false, high_watermark: -1, log_start_offset: -1 }
        }
    }
}

fn respond(
    cx: &RequestContext,
    begun: &Begun,
    results: Vec<Found>,
    session_id: i32,
    include: &[bool],
) -> Reply {
    let mut response = FetchResponse { session_id, ..Default::default() };
    let mut files = Vec::new();
    for ((want, found), _) in begun.wants.iter().zip(results).zip(include).filter(|(_, include)| **include) {
        let data = partition_data(cx, want, found, &mut files);
        // Partitions stay in the order in which they were read, so a topic may appear more than once.
        match response.responses.last_mut() {
            Some(last) if is_same_topic(last, &want.topic) => last.partitions.push(data),
            _ => response.responses.push(topic_response(&want.topic, data)),
        }
    }
    if cx.version >= 16 {
        let leaders = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|data| data.current_leader.leader_id);
        response.node_endpoints = current_leader::endpoints(cx, leaders)
            .into_iter()
            .map(|endpoint| milena_protocol::messages::fetch_response::NodeEndpoint {
                node_id: endpoint.node_id,
                host: endpoint.host.into(),
                port: endpoint.port,
                rack: endpoint.rack.map(Into::into),
            })
            .collect();
    }
    cx.reply_with_files(&response, files)
}

fn topic_response<'a>(topic: &'a TopicKey, data: PartitionData<'a>) -> FetchableTopicResponse<'a> {
    let partitions = vec![data];
    match topic {
        TopicKey::Id(id) => FetchableTopicResponse { topic_id: *id, partitions, ..Default::default() },
        TopicKey::Name(name) => {
            FetchableTopicResponse { topic: (&**name).into(), partitions, ..Default::default() }
        }
    }
}

fn is_same_topic(response: &FetchableTopicResponse<'_>, topic: &TopicKey) -> bool {
    match topic {
        TopicKey::Id(id) => response.topic_id == *id,
        TopicKey::Name(name) => response.topic == **name,
    }
}

fn partition_data<'a>(
    cx: &RequestContext,
    want: &Want,
    found: Found,
    files: &mut Vec<FileSlice>,
) -> PartitionData<'a> {
    let (partition, readout) = match found {
        Ok(found) => found,
        Err(error) => return refused(cx, want, error),
    };
    let mut data = PartitionData {
        partition_index: partition.index(),
        high_watermark: readout.high_watermark,
        last_stable_offset: readout.last_stable_offset,
        log_start_offset: readout.log_start_offset,
        aborted_transactions: readout.aborted.map(|aborted| {
            let named = aborted.iter().map(|aborted| AbortedTransaction {
                producer_id: aborted.producer_id,
                first_offset: aborted.first_offset,
            });
            named.collect()
        }),
        records: Some(Records::Bytes((&[][..]).into())),
        ..Default::default()
    };
    if let Some(broker_id) = readout.preferred_replica {
        data.preferred_read_replica = broker_id;
    }
    if let Some(diverging) = readout.diverging {
        data.diverging_epoch = EpochEndOffset { epoch: diverging.epoch, end_offset: diverging.end_offset };
    }
    if let Some(slice) = readout.records {
        let length = u32::try_from(slice.length).expect("bounded by READ_BYTES_MAX or one batch of 31 bits");
        data.records = Some(Records::Detached(length));
        files.push(FileSlice { slice, partition: Some(partition) });
    }
    data
}

fn refused<'a>(cx: &RequestContext, want: &Want, error: ErrorCode) -> PartitionData<'a> {
    let mut data = PartitionData {
        partition_index: want.partition,
        error_code: error.into(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Some(Records::Bytes((&[][..]).into())),
        ..Default::default()
    };
    if let Some((leader_id, leader_epoch)) = current_leader::of(cx, &want.topic, want.partition, error) {
        data.current_leader.leader_id = leader_id;
        data.current_leader.leader_epoch = leader_epoch;
    }
    data
}
