//! A member of a group, for the tests of commands that meet one: it joins over the wire and then keeps quiet.

use std::time::Duration;

use milena_client::connection::{Connection, Options, Response};
use milena_client::net::{Dialer, Tcp};
use milena_protocol::messages::ConsumerProtocolAssignment;
use milena_protocol::messages::consumer_protocol_assignment::TopicPartition;
use milena_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use milena_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use milena_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::{Encode, ErrorCode, Request, Writer};
use tokio::runtime::Runtime;

/// The member outlives every test without a heartbeat.
const SESSION_TIMEOUT_MS: i32 = 120_000;

/// What a member says that reads topic `t`, in the first version of it.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

pub struct Member {
    connection: Connection,
    runtime: Runtime,
    group: String,
    pub id: String,
}

impl Member {
    /// Joins as the static member `i1` and takes partitions of a topic.
    pub fn join(bootstrap: &str, group: &str, topic: &str, partitions: &[i32]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let options = Options {
            client_id: "tester".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            response_bytes_max: 1 << 20,
        };
        let dialer: Dialer = std::sync::Arc::new(Tcp);
        let connection =
            runtime.block_on(Connection::open(&dialer, bootstrap, options)).expect("it connects");
        let mut member = Self { connection, runtime, group: group.to_owned(), id: String::new() };
        member.find_coordinator();
        let generation_id = member.enter();
        member.take(generation_id, topic, partitions);
        member
    }

    fn call<R: Request>(&self, request: &R, version: i16) -> Response {
        self.runtime.block_on(self.connection.call_at(request, version)).expect("an answer")
    }

    /// The first look creates the coordinators' topic, which takes a moment.
    fn find_coordinator(&self) {
        milena_tests::wait::eventually("a coordinator", Duration::from_secs(30), || {
            let request = FindCoordinatorRequest { key: self.group.as_str().into(), ..Default::default() };
            let response = self.call(&request, 3);
            let response = response.decode::<FindCoordinatorRequest<'_>>().expect("FindCoordinator");
            response.error_code == 0
        });
    }

    fn enter(&mut self) -> i32 {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: SUBSCRIPTION.into() };
        let request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: SESSION_TIMEOUT_MS,
            group_instance_id: Some("i1".into()),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let mut joined = None;
        // A coordinator that was just made may still be loading.
        milena_tests::wait::eventually("a generation", Duration::from_secs(30), || {
            let response = self.call(&request, 5);
            let response = response.decode::<JoinGroupRequest<'_>>().expect("JoinGroup");
            match ErrorCode::from_i16(response.error_code) {
                Some(ErrorCode::None) => {
                    joined = Some((response.generation_id, response.member_id.to_string()));
                }
                code => assert!(code.is_some_and(ErrorCode::is_retriable), "{code:?}"),
            }
            joined.is_some()
        });
        let (generation_id, member_id) = joined.expect("it was waited for");
        self.id = member_id;
        generation_id
    }

    fn take(&self, generation_id: i32, topic: &str, partitions: &[i32]) {
        let taken = TopicPartition { topic: topic.into(), partitions: partitions.to_vec() };
        let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![taken], user_data: None };
        let mut writer = Writer::new();
        writer.i16(0);
        assignment.encode(&mut writer, 0).expect("it is encoded");
        let assignment = SyncGroupRequestAssignment {
            member_id: self.id.as_str().into(),
            assignment: writer.into_bytes().expect("it is encoded").into(),
        };
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id,
            member_id: self.id.as_str().into(),
            group_instance_id: Some("i1".into()),
            assignments: vec![assignment],
            ..Default::default()
        };
        let response = self.call(&request, 3);
        assert_eq!(response.decode::<SyncGroupRequest<'_>>().expect("SyncGroup").error_code, 0);
    }

    pub fn leave(self) {
        let identity = MemberIdentity {
            member_id: self.id.as_str().into(),
            group_instance_id: Some("i1".into()),
            ..Default::default()
        };
        let request = LeaveGroupRequest {
            group_id: self.group.as_str().into(),
            members: vec![identity],
            ..Default::default()
        };
        let response = self.call(&request, 3);
        assert_eq!(response.decode::<LeaveGroupRequest<'_>>().expect("LeaveGroup").error_code, 0);
    }
}
