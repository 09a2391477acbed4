//! A controller that is no voter asks to become one: `controller.quorum.auto.join.enable`, KIP-853.
//!
//! It looks for the leader among the controllers that it was told of, has a former voter of its id removed, whose disk was
//! wiped or replaced, and has itself added. Until then it is a controller that waits.

use std::sync::Arc;
use std::time::Duration;

use milena_client::net::Dialer;
use milena_protocol::ErrorCode;
use milena_protocol::messages::add_raft_voter_request::{AddRaftVoterRequest, Listener};
use milena_protocol::messages::describe_controller_request::DescribeControllerRequest;
use milena_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;

use super::Named;
use crate::controller::raft::link::Link;
use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::types::{VoterAddress, VoterId};

/// Pause between attempts.
const PAUSE: Duration = Duration::from_secs(1);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// The leader adds a voter when it has caught up.
const ADD_TIME_MAX: Duration = Duration::from_secs(60);

/// The leader as a controller told of it.
struct Quorums {
    leader: Arc<Link>,
    voters: Vec<VoterId>,
}

/// Asks until this controller votes, and ends then. `listener` is the name of its first controller listener.
pub async fn run(quorum: Quorum, named: Named, listener: String, dialer: Dialer) {
    let mut told = None;
    while !quorum.is_voter() && quorum.stopped().is_none() {
        match attempt(&quorum, &named, &listener, &dialer).await {
            Ok(()) => tracing::info!(voter = %quorum.voter(), "this controller joined the metadata quorum"),
            Err(reason) if told.as_ref() != Some(&reason) => {
                tracing::info!(reason, "this controller could not join the metadata quorum yet");
                told = Some(reason);
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(quorum: &Quorum, named: &Named, listener: &str, dialer: &Dialer) -> Result<(), String> {
    let us = quorum.voter();
    let found = find_leader(us, named, dialer).await.ok_or("no controller knows of a leader")?;
    for former in found.voters.iter().filter(|voter| voter.id == us.id && **voter != us) {
        let remove = RemoveRaftVoterRequest {
            cluster_id: Some((&**quorum.cluster_id()).into()),
            voter_id: former.id,
            voter_directory_id: former.directory,
        };
        let answer = found.leader.call(&remove, ADD_TIME_MAX).await.map_err(|error| error.to_string())?;
        let answer = answer.decode::<RemoveRaftVoterRequest<'_>>().map_err(|error| error.to_string())?;
        check(answer.error_code, answer.error_message.as_deref())?;
        tracing::info!(voter = %former, "former voter of this id was removed from the metadata quorum");
    }
    let address = quorum.address();
    let own = Listener { name: listener.into(), host: address.host.as_str().into(), port: address.port };
    let add = AddRaftVoterRequest {
        cluster_id: Some((&**quorum.cluster_id()).into()),
        timeout_ms: ADD_TIME_MAX.as_millis() as i32,
        voter_id: us.id,
        voter_directory_id: us.directory,
        listeners: vec![own],
        ..Default::default()
    };
    let answer = found.leader.call(&add, ADD_TIME_MAX).await.map_err(|error| error.to_string())?;
    let answer = answer.decode::<AddRaftVoterRequest<'_>>().map_err(|error| error.to_string())?;
    check(answer.error_code, answer.error_message.as_deref())
}

async fn find_leader(us: VoterId, named: &Named, dialer: &Dialer) -> Option<Quorums> {
    let addresses: Vec<VoterAddress> = match named {
        Named::Alone => Vec::new(),
        Named::Voters(voters) => voters.iter().map(|(_, address)| address.clone()).collect(),
        Named::Servers(servers) => servers.clone(),
    };
    let link = |address: &VoterAddress| {
        let client_id = format!("milena-controller-{}", us.id);
        Link::quiet(VoterId::default(), address.clone(), client_id, Arc::clone(dialer))
    };
    for address in addresses {
        let Ok(response) = link(&address).call(&DescribeControllerRequest::default(), ANSWER_TIME_MAX).await
        else {
            continue;
        };
        let Ok(said) = response.decode::<DescribeControllerRequest<'_>>() else { continue };
        let Some(leader) = said.voters.iter().find(|voter| voter.voter_id == said.leader_id) else { continue };
        let leader = VoterAddress { host: leader.host.to_string(), port: leader.port };
        let voters = said.voters.iter();
        let voters = voters.map(|v| VoterId { id: v.voter_id, directory: v.voter_directory_id }).collect();
        return Some(Quorums { leader: link(&leader), voters });
    }
    None
}

fn check(code: i16, message: Option<&str>) -> Result<(), String> {
    match ErrorCode::from_i16(code) {
        Some(ErrorCode::None) => Ok(()),
        code => Err(format!("{} {}", code.map_or("unknown error", ErrorCode::name), message.unwrap_or_default())),
    }
}
