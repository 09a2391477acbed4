//! What a group's request may cost: bounds of ours, which Apache Kafka does not have.

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

use super::client::Join;
use super::commits::{commit, nobody};
use super::{NONE, Place, code, describe, unique};
use crate::harness::{Running, ask, create_topic};

/// One of ours, also where the other tests are about another broker.
fn ours() -> Place {
    let place = Place::Ours(Box::new(Running::start()));
    place.serves();
    place
}

#[test]
fn description_of_groups_ends_where_the_answer_has_no_room() {
    let place = ours();
    let mut client = place.client();
    let member = client.joined(&Join::of(&unique("large")));
    let large = vec![7; 600_000];
    assert_eq!(client.sync(5, &member, &[(&member.id, &large)]).error_code, NONE);
    let request = DescribeGroupsRequest {
        groups: vec![member.group.clone().into(); 150],
        include_authorized_operations: false,
    };
    let answer = ask(&mut client.stream, 5, &request);
    let told = answer.groups.iter().take_while(|group| group.error_code == NONE).count();
    assert_eq!(told, (64 << 20) / 600_200, "so many fit");
    let refused = code(ErrorCode::InvalidRequest);
    assert!(
        answer.groups[told..].iter().all(|group| group.error_code == refused && group.members.is_empty())
    );
    assert_eq!(answer.groups.len(), 150);
}

#[test]
fn offsets_of_a_group_are_refused_when_the_answer_has_no_room() {
    let place = ours();
    let mut client = place.client();
    let (group, topic) = (unique("wordy"), unique("wordy"));
    let id = create_topic(&mut client.stream, &topic, 1);
    let wordy = "x".repeat(4_000);
    commit(&mut client.stream, 9, &nobody(&group), &[(&topic, id, 0, 1, Some(&wordy))]);
    let asked = |times: usize| offset_fetch_request::OffsetFetchRequestGroup {
        group_id: group.clone().into(),
        member_epoch: -1,
        topics: Some(vec![offset_fetch_request::OffsetFetchRequestTopics {
            name: topic.clone().into(),
            partition_indexes: vec![0; times],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { groups: vec![asked(1_000), asked(17_000), asked(1)], ..Default::default() };
    let answer = ask(&mut client.stream, 8, &request);
    let refused = code(ErrorCode::InvalidRequest);
    assert_eq!(answer.groups.iter().map(|group| group.error_code).collect::<Vec<_>>(), [NONE, refused, NONE]);
    assert_eq!(answer.groups[0].topics[0].partitions.len(), 1_000);
    assert!(answer.groups[1].topics.is_empty());

    let topics = vec![offset_fetch_request::OffsetFetchRequestTopic {
        name: topic.clone().into(),
        partition_indexes: vec![0; 17_000],
    }];
    let request =
        OffsetFetchRequest { group_id: group.clone().into(), topics: Some(topics), ..Default::default() };
    let answer = ask(&mut client.stream, 7, &request);
    assert_eq!((answer.error_code, answer.topics.len()), (refused, 0));
}

#[test]
fn member_whose_id_no_answer_could_hold_is_refused_and_leaves_no_group() {
    let place = ours();
    let mut client = place.client();
    let group = unique("long");
    let join = Join { instance_id: Some("i".repeat(32_767)), ..Join::of(&group) };
    let refused = client.join(9, &join);
    assert_eq!((refused.error_code, &*refused.member_id), (code(ErrorCode::InvalidRequest), ""));
    assert_eq!(describe(&mut client.stream, 5, &group).group_state, "Dead");
    let fits = Join { instance_id: Some("i".repeat(32_767 - 37)), ..join };
    let member = client.stable(&fits);
    assert_eq!(describe(&mut client.stream, 5, &group).members[0].member_id, member.id);
}
