//! What a node that looks for its cluster asks the controllers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::begin_cluster_request::{BeginClusterRequest, Voter};
use milena_protocol::messages::describe_controller_request::DescribeControllerRequest;
use milena_state::founding::Seen;

use super::{Error, Named, Request};
use crate::controller::raft::link::Link;
use crate::controller::raft::types::{VoterAddress, VoterId};

/// A controller that has not answered by then is asked again in the next turn.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// Beginning a cluster writes a file.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(5);

/// One of the controllers that are named.
pub enum Asked {
    Ourselves,
    Other { link: Arc<Link>, expected: Option<i32> },
}

/// Why a controller has not begun the cluster.
pub enum BeginError {
    /// It did not answer, or is not the one that was seen: ask all again.
    Later,
    Refused(String),
}

impl Asked {
    /// The controllers that `request` names, in their order.
    pub fn all(request: &Request) -> Vec<Self> {
        let other = |address: &VoterAddress, expected: Option<i32>| {
            let voter = VoterId { id: expected.unwrap_or(-1), ..VoterId::default() };
            let client_id = format!("milena-founding-{}", request.node_id);
            let link = Link::quiet(voter, address.clone(), client_id, Arc::clone(&request.dialer));
            Self::Other { link, expected }
        };
        match &request.named {
            Named::Alone => Vec::new(),
            Named::Voters(voters) => voters
                .iter()
                .map(|(id, address)| match request.is_controller && *id == request.node_id {
                    true => Self::Ourselves,
                    false => other(address, Some(*id)),
                })
                .collect(),
            Named::Servers(servers) => servers
                .iter()
                .map(|address| match request.is_controller && *address == request.address {
                    true => Self::Ourselves,
                    false => other(address, None),
                })
                .collect(),
        }
    }
}

/// What the controller says of itself; `None` when it does not answer.
pub async fn describe(link: &Arc<Link>, expected: Option<i32>) -> Result<Option<Seen>, Error> {
    let request = DescribeControllerRequest::default();
    let Ok(response) = link.call(&request, ANSWER_TIME_MAX).await else { return Ok(None) };
    let Ok(said) = response.decode::<DescribeControllerRequest<'_>>() else { return Ok(None) };
    if said.error_code != ErrorCode::None.as_i16() {
        return Ok(None);
    }
    match expected {
        Some(expected) if expected != said.node_id => {
            Err(Error::OtherId { address: link.address().clone(), found: said.node_id, expected })
        }
        _ => Ok(Some(Seen {
            node_id: said.node_id,
            directory_id: said.directory_id,
            cluster_id: said.cluster_id.map(|id| id.into_owned()),
            has_membership: said.has_membership,
            named: said.named.into_iter().collect(),
        })),
    }
}

/// Has the controller begin the cluster of these voters.
pub async fn begin_cluster(
    link: &Arc<Link>,
    cluster_id: &str,
    founder_id: i32,
    voters: &BTreeMap<VoterId, VoterAddress>,
) -> Result<(), BeginError> {
    let voters = voters.iter().map(|(voter, address)| Voter {
        voter_id: voter.id,
        voter_directory_id: voter.directory,
        host: address.host.as_str().into(),
        port: address.port,
    });
    let request = BeginClusterRequest { cluster_id: cluster_id.into(), founder_id, voters: voters.collect() };
    let response = link.call(&request, BEGIN_TIME_MAX).await.map_err(|_| BeginError::Later)?;
    let answer = response.decode::<BeginClusterRequest<'_>>().map_err(|_| BeginError::Later)?;
    match ErrorCode::from_i16(answer.error_code) {
        Some(ErrorCode::None) => Ok(()),
        // Its disk failed for the moment, it was wiped since, or it found a quorum meanwhile.
        Some(ErrorCode::KafkaStorageError | ErrorCode::InvalidVoterKey | ErrorCode::InvalidRequest) => {
            Err(BeginError::Later)
        }
        code => {
            let name = code.map_or("an unknown error", ErrorCode::name);
            Err(BeginError::Refused(answer.error_message.map_or(name.to_owned(), |m| m.into_owned())))
        }
    }
}
