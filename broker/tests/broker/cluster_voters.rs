//! The voters of a cluster as a client sees and changes them: DescribeQuorum, AddRaftVoter, RemoveRaftVoter.

use std::sync::Arc;

use milena_client::connection::{Connection, Options};
use milena_client::net::{Dialer, Tcp};
use milena_protocol::ErrorCode;
use milena_protocol::messages::add_raft_voter_request::{AddRaftVoterRequest, Listener};
use milena_protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use milena_protocol::messages::describe_quorum_response::ReplicaState;
use milena_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use milena_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use milena_protocol::types::Uuid;
use milena_state::metadata::features::{ELIGIBLE_LEADER_REPLICAS, supported};
use milena_state::metadata::record::{RegisterController, SupportedFeature};
use milena_state::metadata::{Command, Reply};

use super::*;

/// Id, directory, log end offset and when it was last heard of.
type Replica = (i32, Uuid, i64, i64);

impl Nodes {
    async fn connect(&self, id: i32) -> Connection {
        let options = Options {
            client_id: "test".to_owned(),
            connect_timeout: PATIENCE,
            request_timeout: PATIENCE,
            response_bytes_max: 1 << 20,
        };
        let dialer: Dialer = Arc::new(Tcp);
        Connection::open(&dialer, &self.running[&id].bootstrap(), options).await.expect("connects")
    }

    /// The leader, the voters and the observers, asked of any broker.
    fn quorum(&self, id: i32) -> (i32, Vec<Replica>, Vec<Replica>) {
        let partitions = vec![PartitionData { partition_index: 0 }];
        let topic = TopicData { topic_name: "__cluster_metadata".into(), partitions };
        let request = DescribeQuorumRequest { topics: vec![topic] };
        self.client.block_on(async {
            let response = self.connect(id).await.call(&request).await.expect("answered");
            let response = response.decode::<DescribeQuorumRequest<'_>>().expect("decodes");
            let partition = &response.topics[0].partitions[0];
            assert_eq!((response.error_code, partition.error_code), (0, 0), "{response:?}");
            let replicas = |of: &[ReplicaState]| {
                let replica = |r: &ReplicaState| {
                    (r.replica_id, r.replica_directory_id, r.log_end_offset, r.last_fetch_timestamp)
                };
                of.iter().map(replica).collect()
            };
            (partition.leader_id, replicas(&partition.current_voters), replicas(&partition.observers))
        })
    }

    /// Sets the level of the eligible leader replicas: the message of who refuses.
    fn set_elr(&self, asked: i32, level: i16) -> Option<String> {
        const UPGRADE: i8 = 1;
        const SAFE_DOWNGRADE: i8 = 2;
        let update = FeatureUpdateKey {
            feature: ELIGIBLE_LEADER_REPLICAS.into(),
            max_version_level: level,
            upgrade_type: if level == 0 { SAFE_DOWNGRADE } else { UPGRADE },
            ..Default::default()
        };
        let request =
            UpdateFeaturesRequest { feature_updates: vec![update], timeout_ms: 30_000, ..Default::default() };
        self.client.block_on(async {
            let response = self.connect(asked).await.call(&request).await.expect("answered");
            let response = response.decode::<UpdateFeaturesRequest<'_>>().expect("decodes");
            (response.error_code != 0).then(|| response.error_message.unwrap_or_default().to_string())
        })
    }

    /// The ranges with which a controller is registered.
    fn registered(&self, seen_by: i32, controller: i32) -> Option<Vec<SupportedFeature>> {
        let image = self.running[&seen_by].node().metadata.image_arc();
        Some(image.controller(controller)?.features.clone())
    }

    fn remove_voter(&self, asked: i32, id: i32, directory: Uuid) -> i16 {
        let request =
            RemoveRaftVoterRequest { cluster_id: None, voter_id: id, voter_directory_id: directory };
        self.client.block_on(async {
            let response = self.connect(asked).await.call(&request).await.expect("answered");
            response.decode::<RemoveRaftVoterRequest<'_>>().expect("decodes").error_code
        })
    }

    fn add_voter(&self, asked: i32, id: i32, directory: Uuid) -> i16 {
        let port = self.ports[&id];
        let listener = Listener { name: "CONTROLLER".into(), host: "127.0.0.1".into(), port };
        let request = AddRaftVoterRequest {
            timeout_ms: PATIENCE.as_millis() as i32,
            cluster_id: None,
            voter_id: id,
            voter_directory_id: directory,
            listeners: vec![listener],
            ..AddRaftVoterRequest::default()
        };
        self.client.block_on(async {
            let response = self.connect(asked).await.call(&request).await.expect("answered");
            response.decode::<AddRaftVoterRequest<'_>>().expect("decodes").error_code
        })
    }
}

#[test]
fn every_broker_tells_how_far_the_voters_are() {
    let nodes = Nodes::three();
    nodes.create(1, "topic", 1, 1);
    let active = nodes.active();
    for id in [1, 2, 3] {
        nodes.eventually("all voters are as far as the leader", |nodes| {
            let (leader, voters, observers) = nodes.quorum(id);
            let end = voters.iter().find(|voter| voter.0 == leader).map_or(-1, |voter| voter.2);
            leader == active
                && observers.is_empty()
                && voters.iter().map(|voter| voter.0).eq([1, 2, 3])
                && voters.iter().all(|voter| voter.2 == end && !voter.1.is_zero() && voter.3 > 0)
        });
    }
}

#[test]
fn a_wiped_controller_waits_until_it_is_added_as_a_new_voter() {
    let mut nodes = Nodes::three();
    nodes.create(1, "topic", 1, 1);
    let active = nodes.active();
    let wiped = *nodes.running.keys().find(|id| **id != active).expect("three run");
    let directory = |nodes: &Nodes, id: i32| {
        nodes.running[&id].node().quorum.as_ref().expect("a controller").voter().directory
    };
    let former = directory(&nodes, wiped);
    nodes.kill(wiped);
    nodes.directories.remove(&wiped);
    nodes.start(&[(wiped, "broker,controller")]);
    // It serves as a broker; the quorum does not know its new directory.
    assert!(nodes.has(wiped, "topic"));
    let new = directory(&nodes, wiped);
    assert!(new != former && !nodes.running[&wiped].node().quorum.as_ref().expect("a controller").is_voter());
    assert_eq!(nodes.add_voter(wiped, wiped, new), ErrorCode::DuplicateVoter.as_i16());
    assert_eq!(nodes.remove_voter(wiped, wiped, former), 0);
    assert_eq!(nodes.remove_voter(active, wiped, former), ErrorCode::VoterNotFound.as_i16());
    assert_eq!(nodes.add_voter(active, wiped, new), 0);
    nodes.eventually("it knows that it votes", |nodes| {
        nodes.running[&wiped].node().quorum.as_ref().is_some_and(|quorum| quorum.is_voter())
    });
    let (_, voters, _) = nodes.quorum(wiped);
    assert!(voters.iter().any(|voter| (voter.0, voter.1) == (wiped, new)) && voters.len() == 3, "{voters:?}");
    // Its vote counts: without it there would be no majority any more.
    let last = *nodes.running.keys().find(|id| **id != active && **id != wiped).expect("three run");
    nodes.kill(last);
    nodes.create(wiped, "with-its-vote", 1, 1);
}

#[test]
fn a_controller_of_an_older_version_keeps_a_feature_where_it_is() {
    let mut nodes = Nodes::three();
    let all_are_registered = |nodes: &Nodes| {
        let seen = nodes.running.keys().flat_map(|seen_by| (1..=3).map(|id| nodes.registered(*seen_by, id)));
        seen.eq(vec![Some(supported()); nodes.running.len() * 3])
    };
    nodes.eventually("all controllers are registered", all_are_registered);
    let away = (1..=3).find(|id| *id != nodes.active()).expect("three run");
    let asked = *nodes.running.keys().find(|id| **id != away).expect("three run");
    nodes.stop(away);
    // As its version of before registered it, which knew nothing of eligible leader replicas.
    let features =
        supported().into_iter().filter(|feature| feature.name != ELIGIBLE_LEADER_REPLICAS).collect();
    let (incarnation_id, endpoints) = (Uuid::from_u128(7), Vec::new());
    let older = RegisterController { controller_id: away, incarnation_id, endpoints, features };
    let submitted = nodes.running[&asked].node().controller.submit(Command::RegisterController(older));
    let reply = nodes.client.block_on(submitted).expect("committed").reply;
    assert_eq!(reply, Reply::RegisterController(Ok(())));
    assert_eq!(nodes.set_elr(asked, 0), None, "everybody knows the level 0");
    let refusal = nodes.set_elr(asked, 1).expect("refused");
    assert!(refusal.ends_with(&format!("Controller {away} does not support this feature.")), "{refusal}");
    nodes.start(&[(away, "broker,controller")]);
    nodes.eventually("it is registered as what it is", all_are_registered);
    assert_eq!(nodes.set_elr(asked, 1), None);
}
