//! Each group API in each version, for [`crate::versions`]. What exactly each answers is said in the files beside this.

use std::net::TcpStream;

use milena_protocol::messages::*;
use milena_protocol::{ErrorCode, Uuid};

use super::client::{Client, Join};
use super::commits::{codes, commit, delete, fetch, nobody};
use super::{NONE, code, describe, unique};
use crate::harness::ask;
use crate::versions::TOPIC;

fn client(stream: &TcpStream) -> Client {
    Client { stream: stream.try_clone().expect("a socket can be cloned") }
}

/// A coordinator comes with the first who looks for it.
fn prepare(stream: &mut TcpStream) {
    find_coordinator(stream, 6);
}

pub fn find_coordinator(stream: &mut TcpStream, version: i16) {
    let request = match version {
        ..4 => FindCoordinatorRequest { key: "any".into(), ..Default::default() },
        _ => FindCoordinatorRequest { coordinator_keys: vec!["any".into()], ..Default::default() },
    };
    let response = ask(stream, version, &request);
    let error = response.coordinators.first().map_or(response.error_code, |found| found.error_code);
    assert_eq!(error, NONE, "{version}");
}

pub fn offset_commit(stream: &mut TcpStream, version: i16, topic_id: Uuid) {
    prepare(stream);
    let response = commit(stream, version, &nobody("committed"), &[(TOPIC, topic_id, 0, 7, None)]);
    assert_eq!(codes(&response), [NONE], "{version}");
}

pub fn offset_fetch(stream: &mut TcpStream, version: i16, topic_id: Uuid) {
    prepare(stream);
    let group = unique("fetched");
    commit(stream, 9, &nobody(&group), &[(TOPIC, topic_id, 0, 7, None)]);
    if version >= 8 {
        let found = fetch(stream, version, &group, Some(&[(TOPIC, topic_id, 0)]));
        assert_eq!((found.0, &found.1[0].2), (NONE, &vec![(0, 7, NONE)]), "{version}");
        return;
    }
    let topic =
        offset_fetch_request::OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![0] };
    let request =
        OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    let response = ask(stream, version, &request);
    assert_eq!(response.topics[0].partitions[0].committed_offset, 7, "{version}");
}

pub fn join_group(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let answer = client(stream).join(version, &Join::of(&unique("joined")));
    let expected = if version < 4 { NONE } else { code(ErrorCode::MemberIdRequired) };
    assert_eq!(answer.error_code, expected, "{version}");
}

pub fn sync_group(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let mut client = client(stream);
    let member = client.joined(&Join::of(&unique("synced")));
    assert_eq!(client.sync(version, &member, &[]).error_code, NONE, "{version}");
}

pub fn heartbeat(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let mut client = client(stream);
    let member = client.stable(&Join::of(&unique("beating")));
    assert_eq!(client.heartbeat(version, &member), NONE, "{version}");
}

pub fn leave_group(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let mut client = client(stream);
    let member = client.stable(&Join::of(&unique("leaving")));
    assert_eq!(client.leave(version, &member).error_code, NONE, "{version}");
}

pub fn describe_groups(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let member = client(stream).stable(&Join::of(&unique("described")));
    assert_eq!(&*describe(stream, version, &member.group).group_state, "Stable", "{version}");
}

pub fn list_groups(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let member = client(stream).stable(&Join::of(&unique("listed")));
    let response = ask(stream, version, &ListGroupsRequest::default());
    assert!(response.groups.iter().any(|group| *group.group_id == *member.group), "{version}");
}

pub fn delete_groups(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    let group = unique("absent");
    let response = ask(stream, version, &DeleteGroupsRequest { groups_names: vec![group.into()] });
    assert_eq!(response.results[0].error_code, code(ErrorCode::GroupIdNotFound), "{version}");
}

pub fn offset_delete(stream: &mut TcpStream, version: i16) {
    prepare(stream);
    assert_eq!(version, 0);
    let (error, topics) = delete(stream, &unique("absent"), &[(TOPIC, 0)]);
    assert_eq!((error, topics.len()), (code(ErrorCode::GroupIdNotFound), 0));
}
