//! DescribeQuorum: who votes on the metadata, and how far each is (KIP-595, KIP-836).

use milena_protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use milena_protocol::messages::describe_quorum_response::ReplicaState;

use super::Admin;
use crate::error::{Error, Result};

const METADATA_TOPIC: &str = "__cluster_metadata";

/// The quorum as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumDescription {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub voters: Vec<QuorumReplica>,
    /// Those who follow without a vote.
    pub observers: Vec<QuorumReplica>,
}

/// How far a controller or broker has the metadata. Times are milliseconds since 1970; none where nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumReplica {
    pub id: i32,
    pub log_end_offset: i64,
    pub last_fetch_ms: Option<i64>,
    pub last_caught_up_ms: Option<i64>,
}

impl Admin {
    pub async fn describe_quorum(&self) -> Result<QuorumDescription> {
        let partition = PartitionData { partition_index: 0 };
        let topic = TopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition] };
        let request = DescribeQuorumRequest { topics: vec![topic] };
        let mut retry = self.cluster.retry();
        loop {
            match self.describe_quorum_once(&request).await {
                Err(error) if error.may_be_retried() => retry.pause(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// While there is no leader, the answer is an error that passes.
    async fn describe_quorum_once(&self, request: &DescribeQuorumRequest<'_>) -> Result<QuorumDescription> {
        let response = self.cluster.call_any(request).await?;
        let response = response.decode::<DescribeQuorumRequest<'_>>()?;
        let context = || "describing the quorum".to_owned();
        Error::check(response.error_code, response.error_message.as_deref(), context)?;
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        let partition =
            partition.ok_or_else(|| Error::Corrupt("DescribeQuorum answered nothing".to_owned()))?;
        Error::check(partition.error_code, partition.error_message.as_deref(), context)?;
        Ok(QuorumDescription {
            leader_id: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            high_watermark: partition.high_watermark,
            voters: partition.current_voters.iter().map(replica).collect(),
            observers: partition.observers.iter().map(replica).collect(),
        })
    }
}

fn replica(state: &ReplicaState) -> QuorumReplica {
    let known = |time: i64| (time >= 0).then_some(time);
    QuorumReplica {
        id: state.replica_id,
        log_end_offset: state.log_end_offset,
        last_fetch_ms: known(state.last_fetch_timestamp),
        last_caught_up_ms: known(state.last_caught_up_timestamp),
    }
}
