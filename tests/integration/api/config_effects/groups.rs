//! What groups may ask for.

use milena_protocol::ErrorCode;
use milena_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use milena_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::scene::eventually;
use crate::node::Node;

#[test]
fn groups_are_bounded_as_the_file_says() {
    let node = Node::start(&[
        ("group.min.session.timeout.ms", "500"),
        ("group.max.session.timeout.ms", "600"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("offset.metadata.max.bytes", "3"),
        ("offsets.topic.num.partitions", "1"),
    ]);
    node.create("t", &[]);
    has_coordinator(&node);
    for (session_timeout_ms, expected) in [
        (499, ErrorCode::InvalidSessionTimeout),
        (500, ErrorCode::None),
        (600, ErrorCode::None),
        (601, ErrorCode::InvalidSessionTimeout),
    ] {
        assert_eq!(join(&node, &format!("g{session_timeout_ms}"), session_timeout_ms), expected);
    }
    assert_eq!(commit(&node, "abc"), ErrorCode::None);
    assert_eq!(commit(&node, "abcd"), ErrorCode::OffsetMetadataTooLarge);
}

/// Groups have a coordinator from the first question on, a moment later.
pub fn has_coordinator(node: &Node) {
    eventually("a coordinator", || {
        let response = node.call(&FindCoordinatorRequest { key: "g".into(), ..Default::default() }, 3);
        let response = response.decode::<FindCoordinatorRequest<'_>>().expect("FindCoordinator");
        response.error_code == ErrorCode::None.as_i16()
    });
}

pub fn join(node: &Node, group: &str, session_timeout_ms: i32) -> ErrorCode {
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms,
        rebalance_timeout_ms: 10_000,
        member_id: "".into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: b"".as_slice().into() }],
        ..Default::default()
    };
    // The last version in which a member without an id joins at once.
    let response = node.call(&request, 3);
    let response = response.decode::<JoinGroupRequest<'_>>().expect("JoinGroup");
    ErrorCode::from_i16(response.error_code).expect("a known code")
}

/// Of a group without members.
pub fn commit(node: &Node, metadata: &str) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    };
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "simple".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = node.call(&request, 8);
    let response = response.decode::<OffsetCommitRequest<'_>>().expect("OffsetCommit");
    ErrorCode::from_i16(response.topics[0].partitions[0].error_code).expect("a known code")
}
