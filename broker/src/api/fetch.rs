//! Fetch (key 1), versions 4–18.
//!
//! Reads batches as they lie in the log; they leave by sendfile (see `server`). The first partition that has records
//! gives at least one whole batch even when a limit is smaller, so that a consumer always gets on; all others obey
//! the limits of the partition, the request and `fetch.max.bytes`. With fewer than MinBytes to give, the answer waits
//! for the watermarks of all partitions, at most MaxWaitMs. Anything but records (an error, a diverging epoch) does not wait.
//!
//! Consumers read below the high watermark, read committed below the last stable offset with the aborted
//! transactions named. A request that claims to come from a follower is refused unless it is a replica of the
//! partition. v7 sessions (KIP-227), v9 current leader epoch (KIP-320), v12 last fetched epoch and diverging epochs
//! (KIP-595), v13 topic ids (KIP-516), v15 replica state (KIP-903), v16 node endpoints (KIP-951), v18 the follower's
//! high watermark (KIP-1166).

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use milena_protocol::types::{Records, Uuid};
use milena_state::partition::leader::leader_epoch_of_fetch;
use milena_state::partition::reads::check_fetch_as;
use tokio::time::Instant;

use super::current_leader;
use crate::broker::now_ms;
use crate::partition::{Isolation, Mark, Missing, Partition, Read, ReadError, Readout, WaitAny};
use crate::server::quota::FetchQuota;
use crate::server::session::{Ask, Begun, Said, TopicKey, Want};
use crate::server::{FileSlice, Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: FetchRequest<'_>) -> Reply {
    let by_id = cx.version >= 13;
    let replica_id = if cx.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let quota = if replica_id < 0 { cx.fetch_quota() } else { None };
    if replica_id >= 0 {
        cx.exempt_from_time();
    }
    let quota_bytes_max = quota.as_ref().and_then(FetchQuota::bytes_max);
    let bounds = Bounds::of(cx, &request, replica_id, quota_bytes_max);
    let deadline = cx.deadline(request.max_wait_ms);
    let begun = match cx.node.fetch_sessions.begin(ask(cx.version, request), now_ms()) {
        Ok(begun) => begun,
        Err(error) => return cx.reply(&FetchResponse { error_code: error.into(), ..Default::default() }),
    };
    let results = read_until_enough(cx, &begun.wants, &bounds, deadline).await;
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

/// What the request limits over all of its partitions.
struct Bounds {
    isolation: Isolation,
    /// From a broker: −1 for a consumer.
    replica_id: i32,
    bytes_max: usize,
    bytes_min: usize,
}

impl Bounds {
    fn of(
        cx: &RequestContext,
        request: &FetchRequest<'_>,
        replica_id: i32,
        quota_bytes_max: Option<i32>,
    ) -> Self {
        let isolation = Isolation::of(replica_id, request.isolation_level);
        let bytes_max = request.max_bytes.min(cx.node.settings.fetch_max_bytes);
        let bytes_max = quota_bytes_max.map_or(bytes_max, |quota| quota.min(bytes_max));
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        // More than fits into the answer can never be waited for.
        let bytes_min = size(request.min_bytes.min(bytes_max));
        Self { isolation, replica_id, bytes_max: size(bytes_max), bytes_min }
    }
}

fn ask(version: i16, request: FetchRequest<'_>) -> Ask {
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
            bytes_max: asked.partition_max_bytes,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let topic_key = key(&topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|partition| (topic_key.clone(), *partition)));
    }
    Ask { session_id: request.session_id, session_epoch: request.session_epoch, by_id, wants, forgotten }
}

/// Under memory pressure what was just read may be gone again; the client then asks once more.
const WARM_ROUNDS_MAX: usize = 3;

type Found = Result<(Arc<Partition>, Readout), ErrorCode>;

async fn read_until_enough(
    cx: &RequestContext,
    wants: &[Want],
    bounds: &Bounds,
    deadline: Instant,
) -> Vec<Found> {
    let mut warmed = 0;
    loop {
        let mut results = read_all(cx, wants, bounds);
        let missing = missing(&mut results);
        if !missing.is_empty() {
            // With something missing there is something to read: nothing to wait for, whatever comes of it.
            if warmed == WARM_ROUNDS_MAX || !bring(cx, missing).await {
                return results;
            }
            warmed += 1;
            continue;
        }
        if wants.is_empty() || is_enough(&results, bounds.bytes_min) || Instant::now() >= deadline {
            return results;
        }
        let waited = {
            let mut wait = WaitAny::new();
            for (partition, readout) in results.iter().flatten() {
                wait.add(partition, mark(bounds.isolation), readout);
            }
            drop(results);
            tokio::time::timeout_at(deadline, wait.any()).await
        };
        if waited.is_err() {
            return read_all(cx, wants, bounds);
        }
    }
}

/// Takes out what the reads lacked. Costs nothing when that is nothing.
fn missing(results: &mut [Found]) -> Vec<(Arc<Partition>, Missing)> {
    let lacking = results.iter_mut().flatten().filter_map(|(partition, readout)| {
        readout.missing.take().map(|missing| (Arc::clone(partition), missing))
    });
    lacking.collect()
}

/// Brings it into memory, away from the reactor. A disk that fails takes the partition offline, which the next read
/// finds. False when nothing could be brought, because the process stops.
async fn bring(cx: &RequestContext, missing: Vec<(Arc<Partition>, Missing)>) -> bool {
    let bringing = cx.run_blocking(move || {
        missing.into_iter().for_each(|(partition, missing)| partition.bring(missing));
    });
    bringing.await.is_ok()
}

/// The number that must rise before there is more to read.
fn mark(isolation: Isolation) -> Mark {
    match isolation {
        Isolation::ReadUncommitted => Mark::HighWatermark,
        Isolation::ReadCommitted => Mark::LastStable,
        Isolation::LogEnd => Mark::LogEnd,
    }
}

fn is_enough(results: &[Found], bytes_min: usize) -> bool {
    let is_notice = |found: &Found| found.as_ref().map_or(true, |(_, readout)| readout.diverging.is_some());
    bytes(results) >= bytes_min || results.iter().any(is_notice)
}

fn bytes(results: &[Found]) -> usize {
    results.iter().flatten().map(|(_, readout)| readout.bytes()).sum()
}

fn read_all(cx: &RequestContext, wants: &[Want], bounds: &Bounds) -> Vec<Found> {
    let mut left = bounds.bytes_max;
    let mut first = true;
    let read_one = |want: &Want| {
        let bytes_max = left.min(usize::try_from(want.bytes_max).unwrap_or(0));
        let found = read_one(cx, want, bounds, bytes_max, first);
        let bytes = match &found {
            // What it lacks is brought for it before anything else is: nothing behind it is sent in its stead.
            Ok((_, Readout { missing: Some(_), .. })) => bytes_max.max(1),
            Ok((_, readout)) => readout.bytes(),
            Err(_) => 0,
        };
        left = left.saturating_sub(bytes);
        first &= bytes == 0;
        found
    };
    wants.iter().map(read_one).collect()
}

fn read_one(cx: &RequestContext, want: &Want, bounds: &Bounds, bytes_max: usize, first: bool) -> Found {
    let partition = match &want.topic {
        TopicKey::Id(id) => cx.node.partitions.by_id(*id, want.partition)?,
        TopicKey::Name(name) => cx.node.partitions.by_name(name, want.partition)?,
    };
    if bounds.replica_id >= 0 {
        let image = cx.node.metadata.image();
        let known = image.partition(partition.topic_id(), partition.index());
        let replicas = known.map_or(&[][..], |known| &known.replicas);
        check_fetch_as(bounds.replica_id, cx.node.settings.node_id, replicas)?;
    }
    let read = Read {
        offset: want.fetch_offset,
        bytes_max,
        first_batch_whole: first,
        isolation: bounds.isolation,
        current_leader_epoch: want.current_leader_epoch,
        last_fetched_epoch: want.last_fetched_epoch,
    };
    let readout = partition.read(read).map_err(ReadError::code)?;
    Ok((partition, readout))
}

fn said(found: &Found) -> Said {
    match found {
        Ok((_, readout)) => Said {
            has_records: readout.bytes() > 0,
            error: false,
            notice: readout.diverging.is_some(),
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
