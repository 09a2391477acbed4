//! Produce (key 0), versions 3–13; ApiVersions says 0–13 because older librdkafka looks for 0 (KAFKA-18659).
//!
//! Each partition's batch is judged by `state::partition::validate`, appended under the partition's lock before anything
//! is awaited (so that pipelined requests keep their order), and answered when `acks` is met: 0 has no answer, 1 is met by
//! the append, −1 (all) when the high watermark passes the last record, or fails with REQUEST_TIMED_OUT.
//! acks=0 cannot carry an error: the connection is closed instead, so that the producer looks again.
//!
//! Topics of the coordinators are not for clients, unless they call themselves `__admin_client`: INVALID_TOPIC_EXCEPTION. Transactional batches are refused: without
//! a transactional id the whole request with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, else their partition with
//! INVALID_PRODUCER_ID_MAPPING, as no id is known before there is a transaction coordinator. v5 log start offset, v8 errors per record
//! (KIP-467), v10 current leader (KIP-951), v13 topic ids (KIP-516).

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use milena_protocol::types::Records;
use milena_state::partition::acks::{self, Awaited};
use milena_state::partition::validate::{
    Origin, Rules, Verdict, may_be_transactional, may_produce, validate,
};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::current_leader;
use crate::broker::now_ms;
use crate::metrics::Limit;
use crate::partition::{AppendAs, Appended, Partition};
use crate::server::session::TopicKey;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ProduceRequest<'_>) -> Reply {
    let mut waits = SmallVec::new();
    let mut response = match check_transactional(&request) {
        Ok(()) => append_all(cx, &request, &mut waits),
        Err(error) => for_each_partition(&request, |_, topic, data| {
            Refusal::from(error).into_response(cx, topic, data.index)
        }),
    };
    if request.acks == 0 {
        cx.exempt_from_time();
        cx.throttle_produce();
        let failed = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        return if failed.into_iter().any(|partition| partition.error_code != 0) {
            Reply::Close
        } else {
            Reply::Nothing
        };
    }
    if !waits.is_empty() {
        let deadline = cx.deadline(request.timeout_ms);
        await_acknowledged(&mut response, waits, deadline).await;
    }
    name_leaders(cx, &mut response);
    response.throttle_time_ms = cx.throttle_produce();
    cx.reply(&response)
}

/// A partition whose answer waits for other replicas or for the disk, and its place in the response.
struct Wait {
    partition: Arc<Partition>,
    appended: Appended,
    awaited: Awaited,
    place: (usize, usize),
}

type Waits = SmallVec<[Wait; 1]>;

fn check_transactional(request: &ProduceRequest<'_>) -> Result<(), ErrorCode> {
    let transactional_id = request.transactional_id.as_deref();
    for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        if let Some(Records::Bytes(batches)) = &data.records {
            may_be_transactional(batches, transactional_id)?;
        }
    }
    Ok(())
}

fn append_all<'a>(
    cx: &RequestContext,
    request: &'a ProduceRequest<'_>,
    waits: &mut Waits,
) -> ProduceResponse<'a> {
    let now_ms = now_ms();
    for_each_partition(request, |place, topic, data| match append(cx, request, topic, data, now_ms) {
        Ok((partition, appended)) => {
            let awaited = partition.awaited(request.acks);
            if awaited != Awaited::Nothing {
                waits.push(Wait { partition, appended, awaited, place });
            }
            stored(data.index, &appended)
        }
        Err(refusal) => refusal.into_response(cx, topic, data.index),
    })
}

/// The response that `answer` gives for each partition, which it gets with its place in the response.
fn for_each_partition<'a>(
    request: &'a ProduceRequest<'_>,
    mut answer: impl FnMut(
        (usize, usize),
        &TopicProduceData<'_>,
        &PartitionProduceData<'_>,
    ) -> PartitionProduceResponse<'a>,
) -> ProduceResponse<'a> {
    let topics = request.topic_data.iter().enumerate().map(|(topic_place, topic)| {
        let partitions = topic.partition_data.iter().enumerate();
        TopicProduceResponse {
            name: (&*topic.name).into(),
            topic_id: topic.topic_id,
            partition_responses: partitions
                .map(|(place, data)| answer((topic_place, place), topic, data))
                .collect(),
        }
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

/// Why a partition's records were not stored.
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
    record_errors: Vec<(i32, String)>,
    log_start_offset: i64,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self { error, message: None, record_errors: Vec::new(), log_start_offset: -1 }
    }
}

fn append(
    cx: &RequestContext,
    request: &ProduceRequest<'_>,
    topic: &TopicProduceData<'_>,
    data: &PartitionProduceData<'_>,
    now_ms: i64,
) -> Result<(Arc<Partition>, Appended), Refusal> {
    if !matches!(request.acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let partition = if cx.version >= 13 {
        cx.node.partitions.by_id(topic.topic_id, data.index)?
    } else {
        cx.node.partitions.by_name(&topic.name, data.index)?
    };
    may_produce(partition.topic(), cx.client_id())?;
    let Some(Records::Bytes(batches)) = &data.records else {
        return Err(ErrorCode::InvalidRecord.into());
    };
    let rules = Rules::from(&*partition.settings());
    let stored_as = |log_append_time| AppendAs { acks_all: request.acks == acks::ALL, log_append_time };
    let appended = match validate(batches, &rules, Origin::Client { produce_version: cx.version }, now_ms) {
        Verdict::AsSent => partition.append(batches, stored_as(None), now_ms),
        Verdict::Stamp { log_append_time } => {
            partition.append(batches, stored_as(Some(log_append_time)), now_ms)
        }
        Verdict::Rewritten(rewritten) => partition.append(&rewritten, stored_as(None), now_ms),
        Verdict::Rejected { error, record_errors, message } => {
            if error == ErrorCode::MessageTooLarge {
                cx.node.metrics.refused(Limit::BatchBytes);
            }
            let log_start_offset = partition.log_start_offset();
            return Err(Refusal { error, message: Some(message), record_errors, log_start_offset });
        }
    };
    let appended = appended.map_err(|error| Refusal { message: Some(error.message), ..error.code.into() })?;
    Ok((partition, appended))
}

fn stored<'a>(index: i32, appended: &Appended) -> PartitionProduceResponse<'a> {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time_ms,
        log_start_offset: appended.log_start_offset,
        ..Default::default()
    }
}

impl Refusal {
    fn into_response<'a>(
        self,
        cx: &RequestContext,
        topic: &TopicProduceData<'_>,
        index: i32,
    ) -> PartitionProduceResponse<'a> {
        let key = if cx.version >= 13 {
            TopicKey::Id(topic.topic_id)
        } else {
            TopicKey::Name((&*topic.name).into())
        };
        let (leader_id, leader_epoch) = current_leader::of(cx, &key, index, self.error).unwrap_or((-1, -1));
        let record_errors = self.record_errors.into_iter().map(|(batch_index, message)| {
            BatchIndexAndErrorMessage { batch_index, batch_index_error_message: Some(message.into()) }
        });
        PartitionProduceResponse {
            index,
            error_code: self.error.into(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: self.log_start_offset,
            record_errors: record_errors.collect(),
            error_message: self.message.map(Into::into),
            current_leader: LeaderIdAndEpoch { leader_id, leader_epoch },
        }
    }
}

/// acks=all: one deadline for all partitions of the request.
async fn await_acknowledged(response: &mut ProduceResponse<'_>, waits: Waits, deadline: Instant) {
    for Wait { partition, appended, awaited, place: (topic, index) } in waits {
        let error = match tokio::time::timeout_at(deadline, partition.acknowledged(&appended, awaited)).await
        {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(_) => ErrorCode::RequestTimedOut,
        };
        response.responses[topic].partition_responses[index].error_code = error.into();
    }
}

fn name_leaders(cx: &RequestContext, response: &mut ProduceResponse<'_>) {
    if cx.version < 10 {
        return;
    }
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let endpoints =
        current_leader::endpoints(cx, partitions.map(|partition| partition.current_leader.leader_id));
    let endpoints = endpoints.into_iter().map(|endpoint| NodeEndpoint {
        node_id: endpoint.node_id,
        host: endpoint.host.into(),
        port: endpoint.port,
        rack: endpoint.rack.map(Into::into),
    });
    response.node_endpoints = endpoints.collect();
}
