//! What a node asks the active controller about the quorum: who votes and how far each is, and changes of its own vote.
//!
//! These are requests of clients, so they are passed on like those of clients.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use milena_protocol::messages::add_raft_voter_request::{AddRaftVoterRequest, Listener};
use milena_protocol::messages::add_raft_voter_response::AddRaftVoterResponse;
use milena_protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use milena_protocol::messages::describe_quorum_response::{DescribeQuorumResponse, ReplicaState};
use milena_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use milena_protocol::messages::remove_raft_voter_response::RemoveRaftVoterResponse;
use milena_protocol::types::Uuid;
use milena_protocol::{ApiKey, ErrorCode, Message, Request};
use milena_state::config::listener::Listener as Reached;
use tokio::time::Instant;

use super::{Refused, Remote, frame, opened};
use crate::controller::raft::types::VoterId;

/// The quorum as its leader sees it. Offsets are those after an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub voters: Vec<Replica>,
    pub observers: Vec<Replica>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    pub id: i32,
    pub directory: Uuid,
    pub log_end_offset: i64,
}

/// A change of voters that was refused, and why.
pub type Change = Result<(), (ErrorCode, String)>;

impl Remote {
    pub async fn describe_quorum(&self, deadline: Instant) -> Result<Described, Refused> {
        let partitions = vec![PartitionData { partition_index: 0 }];
        let topic = TopicData { topic_name: "__cluster_metadata".into(), partitions };
        let answered = self.have(&DescribeQuorumRequest { topics: vec![topic] }, deadline).await?;
        let version = *DescribeQuorumRequest::VERSIONS.end();
        let response: DescribeQuorumResponse<'_> = opened(&answered, ApiKey::DescribeQuorum, version)?;
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        let partition = partition.filter(|partition| (response.error_code, partition.error_code) == (0, 0));
        let partition = partition.ok_or(Refused::ForNow)?;
        Ok(Described {
            leader_id: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            high_watermark: partition.high_watermark,
            voters: partition.current_voters.iter().map(Replica::of).collect(),
            observers: partition.observers.iter().map(Replica::of).collect(),
        })
    }

    /// The voter has `timeout` to catch up.
    pub(super) async fn add_voter(
        &self,
        voter: VoterId,
        listeners: &[Reached],
        (timeout, deadline): (Duration, Instant),
    ) -> Result<Change, Refused> {
        let listener = |listener: &Reached| Listener {
            name: listener.name.clone().into(),
            host: listener.host.clone().into(),
            port: listener.port,
        };
        let request = AddRaftVoterRequest {
            cluster_id: Some(self.cluster_id.to_string().into()),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            voter_id: voter.id,
            voter_directory_id: voter.directory,
            listeners: listeners.iter().map(listener).collect(),
            ack_when_committed: true,
        };
        let answered = self.have(&request, deadline).await?;
        let version = *AddRaftVoterRequest::VERSIONS.end();
        let response: AddRaftVoterResponse<'_> = opened(&answered, ApiKey::AddRaftVoter, version)?;
        Ok(change(response.error_code, response.error_message.as_deref()))
    }

    pub(super) async fn remove_voter(&self, voter: VoterId, deadline: Instant) -> Result<Change, Refused> {
        let request = RemoveRaftVoterRequest {
            cluster_id: Some(self.cluster_id.to_string().into()),
            voter_id: voter.id,
            voter_directory_id: voter.directory,
        };
        let answered = self.have(&request, deadline).await?;
        let version = *RemoveRaftVoterRequest::VERSIONS.end();
        let response: RemoveRaftVoterResponse<'_> = opened(&answered, ApiKey::RemoveRaftVoter, version)?;
        Ok(change(response.error_code, response.error_message.as_deref()))
    }

    /// Has a request of this node answered, in its newest version.
    async fn have<R: Request>(&self, request: &R, deadline: Instant) -> Result<Bytes, Refused> {
        let frame = frame(request, *R::VERSIONS.end())?;
        let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(self.pass_on(&frame, own, deadline).await?.response)
    }
}

impl Replica {
    fn of(told: &ReplicaState) -> Self {
        Self {
            id: told.replica_id,
            directory: told.replica_directory_id,
            log_end_offset: told.log_end_offset,
        }
    }
}

fn change(code: i16, message: Option<&str>) -> Change {
    match ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => Ok(()),
        code => Err((code, message.unwrap_or_default().to_owned())),
    }
}
