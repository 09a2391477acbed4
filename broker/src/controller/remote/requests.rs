//! Commands as Kafka's requests, and what was answered as replies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use milena_client::connection::Response;
use milena_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use milena_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use milena_protocol::messages::alter_partition_response::AlterPartitionResponse;
use milena_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use milena_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use milena_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use milena_protocol::messages::envelope_request::EnvelopeRequest;
use milena_protocol::{ApiKey, Decode, ErrorCode, Message, Reader, Request, Writer, decode_exact, header};
use milena_state::metadata::Reply;
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer, RegisterBroker, Registered};
use milena_state::metadata::command::ApiError;
use milena_state::metadata::partitions::{AlterPartition, AlteredPartition, AlteredState, ProposedPartition};
use milena_state::metadata::producer_ids::{AllocateProducerIds, Block};
use milena_state::metadata::record::RecoveryState;
use milena_state::metadata::topics::{CreateTopics, CreatedTopic, NewTopic, TopicOutcome};
use tokio::time::Instant;

use super::{ANONYMOUS, PassedOn, Refused, Remote, octets};
use crate::controller::client::{Committed, SubmitError};

/// Number of a leader recovery state in messages; 0 is recovered.
const RECOVERING: i8 = 1;

impl Remote {
    pub(super) async fn register(&self, c: &RegisterBroker, deadline: Instant) -> Result<Committed, Refused> {
        let request = BrokerRegistrationRequest {
            broker_id: c.broker_id,
            cluster_id: (&*self.cluster_id).into(),
            incarnation_id: c.incarnation_id,
            listeners: c
                .endpoints
                .iter()
                .map(|endpoint| Listener {
                    name: endpoint.name.as_str().into(),
                    host: endpoint.host.as_str().into(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                })
                .collect(),
            features: c
                .features
                .iter()
                .map(|feature| Feature {
                    name: feature.name.as_str().into(),
                    min_supported_version: feature.min,
                    max_supported_version: feature.max,
                })
                .collect(),
            rack: c.rack.as_deref().map(Into::into),
            log_dirs: c.log_dirs.clone(),
            previous_broker_epoch: c.previous_broker_epoch,
            ..Default::default()
        };
        let answered = self.ask(&self.commands, &request, deadline).await?;
        let response = decoded::<BrokerRegistrationRequest<'_>>(&answered)?;
        let outcome = checked(response.error_code)?;
        let registered = Registered { broker_epoch: response.broker_epoch };
        // The epoch of a new registration is the index of its entry.
        Ok(Committed {
            reply: Reply::RegisterBroker(outcome.map(|()| registered)),
            index: response.broker_epoch,
        })
    }

    pub(super) async fn heartbeat(&self, c: &Heartbeat, deadline: Instant) -> Result<Committed, Refused> {
        let request = BrokerHeartbeatRequest {
            broker_id: c.broker_id,
            broker_epoch: c.broker_epoch,
            current_metadata_offset: c.current_metadata_offset,
            want_fence: c.want_fence,
            want_shut_down: c.want_shut_down,
            offline_log_dirs: c.offline_log_dirs.clone(),
            ..Default::default()
        };
        let answered = self.ask(&self.heartbeats, &request, deadline).await?;
        let response = decoded::<BrokerHeartbeatRequest>(&answered)?;
        let outcome = checked(response.error_code)?.map(|()| HeartbeatAnswer {
            is_caught_up: response.is_caught_up,
            is_fenced: response.is_fenced,
            should_shut_down: response.should_shut_down,
        });
        Ok(Committed { reply: Reply::BrokerHeartbeat(outcome), index: response.metadata_index })
    }

    pub(super) async fn alter_partition(
        &self,
        c: &AlterPartition,
        deadline: Instant,
    ) -> Result<Committed, Refused> {
        let request = AlterPartitionRequest {
            broker_id: c.broker_id,
            broker_epoch: c.broker_epoch,
            topics: by_topic(&c.partitions),
        };
        let answered = self.ask(&self.partitions, &request, deadline).await?;
        let response = decoded::<AlterPartitionRequest>(&answered)?;
        let reply = match checked(response.error_code)? {
            Ok(()) => Ok(altered(&response)),
            Err(error) => Err(error),
        };
        Ok(Committed { reply: Reply::AlterPartition(reply), index: -1 })
    }

    pub(super) async fn allocate_producer_ids(
        &self,
        c: &AllocateProducerIds,
        deadline: Instant,
    ) -> Result<Committed, Refused> {
        let request = AllocateProducerIdsRequest { broker_id: c.broker_id, broker_epoch: c.broker_epoch };
        let answered = self.ask(&self.commands, &request, deadline).await?;
        let response = decoded::<AllocateProducerIdsRequest>(&answered)?;
        let block = Block { first: response.producer_id_start, count: response.producer_id_len };
        let reply = checked(response.error_code)?.map(|()| block);
        Ok(Committed { reply: Reply::AllocateProducerIds(reply), index: -1 })
    }

    /// Topics that this broker needs itself: its own request, passed on as one of a client.
    pub(super) async fn create_topics(
        &self,
        c: &CreateTopics,
        deadline: Instant,
    ) -> Result<Committed, Refused> {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = CreateTopicsRequest {
            topics: c.topics.iter().map(creatable).collect(),
            timeout_ms: i32::try_from(left.as_millis()).unwrap_or(i32::MAX),
            validate_only: c.validate_only,
        };
        let version = *CreateTopicsRequest::VERSIONS.end();
        let frame = frame(&request, version)?;
        let passed_on = self.pass_on(&frame, IpAddr::V4(Ipv4Addr::LOCALHOST), deadline).await?;
        let response: CreateTopicsResponse<'_> = opened(&passed_on.response, ApiKey::CreateTopics, version)?;
        let outcomes = response.topics.iter().map(outcome).collect();
        Ok(Committed { reply: Reply::CreateTopics(outcomes), index: passed_on.index })
    }

    /// Asks once to have a request answered, a whole frame of a client.
    pub(crate) async fn pass_on(
        &self,
        frame: &Bytes,
        client: IpAddr,
        deadline: Instant,
    ) -> Result<PassedOn, Refused> {
        let request = EnvelopeRequest {
            request_data: (&**frame).into(),
            request_principal: Some(ANONYMOUS.into()),
            client_host_address: octets(client).into(),
        };
        let answered = self.ask(&self.envelopes, &request, deadline).await?;
        let response = decoded::<EnvelopeRequest<'_>>(&answered)?;
        checked(response.error_code)?.map_err(|error| Refused::ForGood(SubmitError::Answered(error.code)))?;
        let data = response.response_data.unwrap_or_default();
        Ok(PassedOn { response: Bytes::copy_from_slice(&data), index: response.metadata_index })
    }
}

/// A frame without its length.
pub(crate) fn frame<R: Request>(request: &R, version: i16) -> Result<Bytes, Refused> {
    let mut w = Writer::new();
    let encoded = header::encode_request(&mut w, R::API, version, 0, Some("milena-broker"))
        .and_then(|()| request.encode(&mut w, version));
    let bytes = encoded.and_then(|()| w.into_bytes());
    bytes.map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "request to the controller cannot be encoded");
        Refused::ForGood(SubmitError::Answered(ErrorCode::UnknownServerError))
    })
}

/// What a response without its length says.
pub(crate) fn opened<'a, M>(response: &'a Bytes, api: ApiKey, version: i16) -> Result<M, Refused>
where
    M: Message + Decode<'a>,
{
    let mut r = Reader::new(response);
    let decoded = header::decode_response(&mut r, api, version).and_then(|_| decode_exact(r.rest(), version));
    decoded.map_err(|error| nonsense(&error))
}

pub(super) fn decoded<R: Request>(answered: &Response) -> Result<R::Response<'_>, Refused> {
    answered.decode::<R>().map_err(|error| nonsense(&error))
}

fn nonsense(error: &dyn std::fmt::Display) -> Refused {
    tracing::warn!(%error, "active controller sent an answer that cannot be read");
    Refused::ForGood(SubmitError::Answered(ErrorCode::UnknownServerError))
}

/// Errors that only say who was asked are told apart from those that are the answer.
pub(super) fn checked(code: i16) -> Result<Result<(), ApiError>, Refused> {
    match ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => Ok(Ok(())),
        ErrorCode::NotController => Err(Refused::ForNow),
        // Committed or not: the outcome is unknown, as when the connection breaks.
        ErrorCode::RequestTimedOut => Err(Refused::ForNow),
        code => Ok(Err(ApiError::new(code, code.to_string()))),
    }
}

fn by_topic(proposed: &[ProposedPartition]) -> Vec<TopicData> {
    let mut topics: BTreeMap<_, Vec<PartitionData>> = BTreeMap::new();
    for proposal in proposed {
        topics.entry(proposal.topic_id).or_default().push(PartitionData {
            partition_index: proposal.partition_id,
            leader_epoch: proposal.leader_epoch,
            new_isr_with_epochs: proposal
                .new_isr
                .iter()
                .map(|(broker_id, broker_epoch)| BrokerState {
                    broker_id: *broker_id,
                    broker_epoch: *broker_epoch,
                })
                .collect(),
            leader_recovery_state: recovery_number(proposal.leader_recovery_state),
            partition_epoch: proposal.partition_epoch,
            ..Default::default()
        });
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions }).collect()
}

fn altered(response: &AlterPartitionResponse) -> Vec<AlteredPartition> {
    let partitions =
        response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, p)));
    let state = |p: &milena_protocol::messages::alter_partition_response::PartitionData| AlteredState {
        leader: (p.leader_id >= 0).then_some(p.leader_id),
        leader_epoch: p.leader_epoch,
        partition_epoch: p.partition_epoch,
        isr: p.isr.clone(),
        leader_recovery_state: recovery_state(p.leader_recovery_state),
    };
    partitions
        .map(|(topic_id, p)| AlteredPartition {
            topic_id,
            partition_id: p.partition_index,
            result: match ErrorCode::from_i16(p.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => Ok(state(p)),
                code => Err(code),
            },
        })
        .collect()
}

pub(crate) fn recovery_number(state: RecoveryState) -> i8 {
    if state == RecoveryState::Recovering { RECOVERING } else { 0 }
}

pub(crate) fn recovery_state(number: i8) -> RecoveryState {
    if number == RECOVERING { RecoveryState::Recovering } else { RecoveryState::Recovered }
}

fn creatable(topic: &NewTopic) -> CreatableTopic<'_> {
    CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|(partition_index, broker_ids)| CreatableReplicaAssignment {
                partition_index: *partition_index,
                broker_ids: broker_ids.clone(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.as_str().into(),
                value: value.as_deref().map(Into::into),
            })
            .collect(),
    }
}

fn outcome(topic: &CreatableTopicResult<'_>) -> TopicOutcome {
    let created = || CreatedTopic {
        topic_id: topic.topic_id,
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        configs: BTreeMap::new(),
    };
    let code = ErrorCode::from_i16(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
    let result = match code {
        ErrorCode::None => Ok(created()),
        code => Err(ApiError::new(code, topic.error_message.as_deref().unwrap_or_default())),
    };
    TopicOutcome { name: topic.name.to_string(), result }
}
