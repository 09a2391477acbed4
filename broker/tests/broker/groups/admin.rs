//! Groups as an operator sees them: DescribeGroups, ListGroups, DeleteGroups.

use std::net::TcpStream;

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

use super::client::Join;
use super::commits::{commit, fetch, nobody};
use super::{NONE, Place, code, describe, unique};
use crate::harness::{ask, create_topic};

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS.
const EVERYTHING: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

#[test]
fn stable_group_is_described_with_its_members_in_every_version() {
    let place = Place::start();
    let mut client = place.client();
    let join = Join { instance_id: Some("instance".to_owned()), ..Join::of(&unique("described")) };
    let member = client.stable(&join);
    for version in 0..=6 {
        let group = describe(&mut client.stream, version, &member.group);
        assert_eq!((group.error_code, &*group.group_id), (NONE, &*member.group), "{version}");
        assert_eq!(
            (&*group.group_state, &*group.protocol_type, &*group.protocol_data),
            ("Stable", "consumer", "range")
        );
        let [found] = group.members.as_slice() else { panic!("{version}: {group:?}") };
        assert_eq!((&*found.member_id, &*found.client_id), (&*member.id, "test"), "{version}");
        assert_eq!(found.client_host, "/127.0.0.1", "{version}");
        assert_eq!(found.group_instance_id.as_deref(), (version >= 4).then_some("instance"), "{version}");
        assert_eq!(
            (&*found.member_metadata, &*found.member_assignment),
            (&*join.protocols[0].1, &b"mine"[..])
        );
        assert_eq!(
            group.authorized_operations,
            if version >= 3 { EVERYTHING } else { i32::MIN },
            "{version}"
        );
        assert_eq!(group.error_message, None, "{version}");
    }
}

#[test]
fn group_that_is_not_there_is_dead_and_an_error_from_version_6_on() {
    let place = Place::start();
    let mut stream = place.connect();
    let absent = unique("absent");
    for version in 0..=6 {
        // Other tests commit to the group without a name, if it is the same broker.
        for id in [&*absent, ""].into_iter().take(if place.is_judge() { 1 } else { 2 }) {
            let group = describe(&mut stream, version, id);
            let error = if version < 6 { NONE } else { code(ErrorCode::GroupIdNotFound) };
            assert_eq!((group.error_code, &*group.group_state), (error, "Dead"), "{version}");
            let message = (version >= 6).then(|| format!("Group {id} not found."));
            assert_eq!(group.error_message.as_deref(), message.as_deref(), "{version}");
            let operations = if (3..6).contains(&version) { EVERYTHING } else { i32::MIN };
            assert_eq!(group.authorized_operations, operations, "{version}");
        }
    }
}

#[test]
fn group_shows_each_state_as_it_passes() {
    let place = Place::start();
    let mut client = place.client();
    let join = Join::of(&unique("states"));
    // Apache Kafka shows a new state a moment after the answer that goes with it.
    let state = |expected: &str| {
        let mut stream = place.connect();
        let mut group = describe(&mut stream, 6, &join.group);
        let began = std::time::Instant::now();
        while place.is_judge() && group.group_state != expected && began.elapsed() < crate::harness::PATIENCE
        {
            group = describe(&mut stream, 6, &join.group);
        }
        assert_eq!(&*group.group_state, expected);
        (group.protocol_type.into_owned(), group.protocol_data.into_owned(), group.members.len())
    };
    let text = |kind: &str, protocol: &str, members| (kind.to_owned(), protocol.to_owned(), members);
    assert_eq!(state("Dead"), text("", "", 0));
    let id = client.id_of(&join);
    assert_eq!(state("Empty"), text("", "", 0));
    client.join(9, &Join { member_id: id.clone(), ..join.clone() });
    assert_eq!(state("CompletingRebalance"), text("consumer", "", 1));
    let member = super::client::Joined { group: join.group.clone(), id, generation: 1 };
    client.sync(5, &member, &[]);
    assert_eq!(state("Stable"), text("consumer", "range", 1));
    client.leave(5, &member);
    assert_eq!(state("Empty"), text("consumer", "", 0));
}

fn list(stream: &mut TcpStream, version: i16, states: &[&str], kinds: &[&str]) -> Vec<[String; 4]> {
    let request = ListGroupsRequest {
        states_filter: states.iter().map(|state| (*state).to_owned().into()).collect(),
        types_filter: kinds.iter().map(|kind| (*kind).to_owned().into()).collect(),
    };
    let response = ask(stream, version, &request);
    assert_eq!(response.error_code, NONE, "{version}");
    let group = |group: &list_groups_response::ListedGroup<'_>| {
        [&group.group_id, &group.protocol_type, &group.group_state, &group.group_type]
            .map(|text| text.to_string())
    };
    response.groups.iter().map(group).collect()
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let place = Place::start();
    let mut client = place.client();
    let member = client.stable(&Join::of(&unique("listed")));
    let (simple, topic) = (unique("simple"), unique("listed"));
    let id = create_topic(&mut client.stream, &topic, 1);
    commit(&mut client.stream, 9, &nobody(&simple), &[(&topic, id, 0, 1, None)]);
    for version in 0..=5 {
        let mut found = |states: &[&str], kinds: &[&str]| {
            let all = list(&mut client.stream, version, states, kinds);
            let ours = all.into_iter().filter(|group| [&member.group, &simple].contains(&&group[0]));
            let mut ours: Vec<_> = ours.collect();
            ours.sort();
            ours
        };
        let told = |since, text: &str| if version >= since { text.to_owned() } else { String::new() };
        let stable = [member.group.clone(), "consumer".to_owned(), told(4, "Stable"), told(5, "classic")];
        let empty = [simple.clone(), String::new(), told(4, "Empty"), told(5, "classic")];
        assert_eq!(found(&[], &[]), [stable.clone(), empty.clone()], "{version}");
        if version >= 4 {
            assert_eq!(found(&["stable"], &[]), std::slice::from_ref(&stable), "{version}");
            assert_eq!(found(&["Empty", "Dead"], &[]), std::slice::from_ref(&empty), "{version}");
            assert!(found(&["Unheard of"], &[]).is_empty(), "{version}");
        }
        if version >= 5 {
            assert_eq!(found(&["Stable"], &["Classic"]), std::slice::from_ref(&stable), "{version}");
            assert!(found(&[], &["consumer"]).is_empty(), "{version}");
        }
    }
}

#[test]
fn group_is_deleted_when_nobody_is_in_it() {
    let place = Place::start();
    let mut client = place.client();
    let topic = unique("deleting");
    let id = create_topic(&mut client.stream, &topic, 1);
    for version in 0..=2 {
        let member = client.stable(&Join::of(&unique("deleting")));
        let absent = unique("absent");
        let mut delete = |ids: &[&str]| {
            let groups_names = ids.iter().map(|id| (*id).to_owned().into()).collect();
            let response = ask(&mut client.stream, version, &DeleteGroupsRequest { groups_names });
            let mut results: Vec<_> = response
                .results
                .iter()
                .map(|result| (result.group_id.to_string(), result.error_code))
                .collect();
            results.sort();
            results
        };
        let nobody_there = (absent.clone(), code(ErrorCode::GroupIdNotFound));
        let in_use = (member.group.clone(), code(ErrorCode::NonEmptyGroup));
        assert_eq!(delete(&[&absent, &member.group, &absent]), [nobody_there, in_use], "{version}");
        commit(&mut client.stream, 9, &member, &[(&topic, id, 0, 1, None)]);
        client.leave(5, &member);
        let groups_names = vec![member.group.clone().into()];
        let response = ask(&mut client.stream, version, &DeleteGroupsRequest { groups_names });
        assert_eq!(response.results[0].error_code, NONE, "{version}");
        assert_eq!(&*describe(&mut client.stream, 5, &member.group).group_state, "Dead", "{version}");
        assert_eq!(fetch(&mut client.stream, 9, &member.group, None), (NONE, Vec::new()), "{version}");
    }
}
