//! OffsetCommit, OffsetFetch and OffsetDelete.

use std::net::TcpStream;

use milena_protocol::messages::*;
use milena_protocol::{ErrorCode, Uuid};

use super::client::{Join, Joined, subscription};
use super::{NONE, Place, code, unique};
use crate::harness::{ask, create_topic};

/// What is committed: topic, its id, partition, offset, metadata.
type Committed<'a> = (&'a str, Uuid, i32, i64, Option<&'a str>);

pub fn nobody(group: &str) -> Joined {
    Joined { group: group.to_owned(), id: String::new(), generation: -1 }
}

pub fn commit(
    stream: &mut TcpStream,
    version: i16,
    member: &Joined,
    all: &[Committed<'_>],
) -> OffsetCommitResponse<'static> {
    let topic = |(name, topic_id, partition_index, committed_offset, metadata): &Committed<'_>| {
        offset_commit_request::OffsetCommitRequestTopic {
            name: if version < 10 { (*name).to_owned().into() } else { "".into() },
            topic_id: if version < 10 { Uuid::ZERO } else { *topic_id },
            partitions: vec![offset_commit_request::OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                committed_leader_epoch: if version >= 6 { 5 } else { -1 },
                committed_metadata: metadata.map(|text| text.to_owned().into()),
            }],
        }
    };
    let request = OffsetCommitRequest {
        group_id: member.group.clone().into(),
        generation_id_or_member_epoch: member.generation,
        member_id: member.id.clone().into(),
        retention_time_ms: -1,
        topics: all.iter().map(topic).collect(),
        ..Default::default()
    };
    ask(stream, version, &request)
}

pub fn codes(response: &OffsetCommitResponse<'_>) -> Vec<i16> {
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
}

/// One group of version 8 and later: its error, and per topic the name, the id and (partition, offset, error).
pub type Fetched = (i16, Vec<(String, Uuid, Vec<(i32, i64, i16)>)>);

pub fn fetch(
    stream: &mut TcpStream,
    version: i16,
    group: &str,
    asked: Option<&[(&str, Uuid, i32)]>,
) -> Fetched {
    let topic =
        |(name, topic_id, partition): &(&str, Uuid, i32)| offset_fetch_request::OffsetFetchRequestTopics {
            name: if version < 10 { (*name).to_owned().into() } else { "".into() },
            topic_id: if version < 10 { Uuid::ZERO } else { *topic_id },
            partition_indexes: vec![*partition],
        };
    let groups = vec![offset_fetch_request::OffsetFetchRequestGroup {
        group_id: group.to_owned().into(),
        member_id: None,
        member_epoch: -1,
        topics: asked.map(|asked| asked.iter().map(topic).collect()),
    }];
    let group = ask(stream, version, &OffsetFetchRequest { groups, ..Default::default() }).groups.remove(0);
    let topics = group.topics.into_iter().map(|topic| {
        let one = |found: &offset_fetch_response::OffsetFetchResponsePartitions<'_>| {
            (found.partition_index, found.committed_offset, found.error_code)
        };
        (topic.name.into_owned(), topic.topic_id, topic.partitions.iter().map(one).collect())
    });
    (group.error_code, topics.collect())
}

#[test]
fn what_is_unknown_is_refused_first_and_the_rest_is_committed() {
    let place = Place::start();
    let mut stream = place.connect();
    let name = unique("known");
    let id = create_topic(&mut stream, &name, 2);
    let member = nobody(&unique("simple"));
    for version in 2..=10 {
        let other = Uuid::from_bytes([7; 16]);
        let offset = i64::from(version);
        let all = [(&*name, id, 0, offset, None), ("absent", other, 0, 1, None), (&*name, id, 2, 1, None)];
        let response = commit(&mut stream, version, &member, &all);
        let unknown = code(ErrorCode::UnknownTopicOrPartition);
        let no_topic = if version < 10 { unknown } else { code(ErrorCode::UnknownTopicId) };
        // The topic that was refused in part comes where it was refused.
        let found: Vec<_> =
            response.topics.iter().map(|t| (&*t.name, t.topic_id, t.partitions.len())).collect();
        let expected = match version {
            ..10 => [("absent", Uuid::ZERO, 1), (&*name, Uuid::ZERO, 2)],
            _ => [("", other, 1), ("", id, 2)],
        };
        assert_eq!(found, expected, "{version}");
        assert_eq!(codes(&response), [no_topic, unknown, NONE], "{version}");
        let fetched = fetch(&mut stream, 8, &member.group, Some(&[(&name, id, 0)]));
        assert_eq!(fetched, (NONE, vec![(name.clone(), Uuid::ZERO, vec![(0, offset, NONE)])]), "{version}");
    }
}

#[test]
fn offsets_are_fetched_by_name_by_id_and_all_at_once() {
    let place = Place::start();
    let mut stream = place.connect();
    let name = unique("fetched");
    let id = create_topic(&mut stream, &name, 2);
    let group = unique("fetching");
    commit(&mut stream, 9, &nobody(&group), &[(&name, id, 1, 42, Some("note"))]);
    let zero = Uuid::ZERO;
    for version in 8..=10 {
        let named =
            |topic: &str, id| if version < 10 { (topic.to_owned(), zero) } else { (String::new(), id) };
        let ((first, first_id), (last, last_id)) =
            (named(&name, id), named("absent", Uuid::from_bytes([7; 16])));
        let asked = [(&*name, id, 1), ("absent", Uuid::from_bytes([7; 16]), 3)];
        let error = if version < 10 { NONE } else { code(ErrorCode::UnknownTopicId) };
        let expected =
            vec![(first.clone(), first_id, vec![(1, 42, NONE)]), (last, last_id, vec![(3, -1, error)])];
        assert_eq!(fetch(&mut stream, version, &group, Some(&asked)), (NONE, expected), "{version}");
        let all = vec![(first, first_id, vec![(1, 42, NONE)])];
        assert_eq!(fetch(&mut stream, version, &group, None), (NONE, all), "{version}");
        assert_eq!(fetch(&mut stream, version, &group, Some(&[])), (NONE, Vec::new()), "{version}");
        assert_eq!(fetch(&mut stream, version, &unique("absent"), None), (NONE, Vec::new()), "{version}");
    }
    for version in 1..=7 {
        let topic = |name: &str, index| offset_fetch_request::OffsetFetchRequestTopic {
            name: name.to_owned().into(),
            partition_indexes: vec![index],
        };
        let asked =
            |topics| OffsetFetchRequest { group_id: group.clone().into(), topics, ..Default::default() };
        let response = ask(&mut stream, version, &asked(Some(vec![topic(&name, 1), topic("absent", 3)])));
        assert_eq!((response.error_code, response.topics.len()), (NONE, 2), "{version}");
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.committed_offset, found.metadata.as_deref()), (42, Some("note")), "{version}");
        assert_eq!(found.committed_leader_epoch, if version >= 5 { 5 } else { -1 }, "{version}");
        let absent = &response.topics[1].partitions[0];
        assert_eq!((absent.committed_offset, absent.metadata.as_deref()), (-1, Some("")), "{version}");
        assert_eq!((absent.error_code, absent.committed_leader_epoch), (NONE, -1), "{version}");
        if version >= 2 {
            assert_eq!(ask(&mut stream, version, &asked(None)).topics.len(), 1, "{version}");
        }
    }
}

#[test]
fn several_groups_are_fetched_in_one_request() {
    let place = Place::start();
    let mut stream = place.connect();
    let name = unique("several");
    let id = create_topic(&mut stream, &name, 1);
    let ids = [unique("g"), unique("g"), unique("g")];
    for (index, group) in ids.iter().enumerate().take(2) {
        commit(&mut stream, 9, &nobody(group), &[(&name, id, 0, index as i64 + 1, None)]);
    }
    let groups = ids.iter().map(|group| offset_fetch_request::OffsetFetchRequestGroup {
        group_id: group.clone().into(),
        ..Default::default()
    });
    let groups = groups.map(|group| offset_fetch_request::OffsetFetchRequestGroup { topics: None, ..group });
    let request = OffsetFetchRequest { groups: groups.collect(), require_stable: true, ..Default::default() };
    let response = ask(&mut stream, 9, &request);
    let found: Vec<_> = response.groups.iter().map(|g| (g.group_id.to_string(), g.topics.len())).collect();
    assert_eq!(found, [(ids[0].clone(), 1), (ids[1].clone(), 1), (ids[2].clone(), 0)]);
}

#[test]
fn metadata_that_is_too_long_is_refused_alone() {
    let place = Place::start();
    let mut stream = place.connect();
    let name = unique("long");
    let id = create_topic(&mut stream, &name, 2);
    let member = nobody(&unique("long"));
    let (most, more) = ("x".repeat(4096), "x".repeat(4097));
    for version in 2..=10 {
        let all = [(&*name, id, 0, 1, Some(&*more)), (&*name, id, 1, 1, Some(&*most))];
        let response = commit(&mut stream, version, &member, &all);
        assert_eq!(codes(&response), [code(ErrorCode::OffsetMetadataTooLarge), NONE], "{version}");
    }
}

#[test]
fn commits_of_strangers_and_of_the_past_are_refused() {
    let place = Place::start();
    let mut client = place.client();
    let name = unique("refused");
    let id = create_topic(&mut client.stream, &name, 1);
    let member = client.stable(&Join::of(&unique("members")));
    let absent = unique("absent");
    for version in 2..=10 {
        let mut refused = |member: &Joined| {
            let all = [(&*name, id, 0, 1, None), (&*name, id, 0, 2, None)];
            let found = codes(&commit(&mut client.stream, version, member, &all));
            assert!(found.len() == 2 && found[0] == found[1], "{version}: {found:?}");
            found[0]
        };
        let old = Joined { generation: 0, ..member.clone() };
        assert_eq!(refused(&old), code(ErrorCode::IllegalGeneration), "{version}");
        let new = Joined { generation: 2, ..member.clone() };
        assert_eq!(refused(&new), code(ErrorCode::IllegalGeneration), "{version}");
        let stranger = Joined { id: "stranger".to_owned(), ..member.clone() };
        assert_eq!(refused(&stranger), code(ErrorCode::UnknownMemberId), "{version}");
        assert_eq!(refused(&nobody(&member.group)), code(ErrorCode::UnknownMemberId), "{version}");
        let nowhere = Joined { group: absent.clone(), ..member.clone() };
        let error = if version < 9 { ErrorCode::IllegalGeneration } else { ErrorCode::GroupIdNotFound };
        assert_eq!(refused(&nowhere), code(error), "{version}");
        assert_eq!(refused(&member), NONE, "{version}");
    }
}

#[test]
fn commit_between_join_and_sync_hears_of_the_rebalance() {
    let place = Place::start();
    let mut client = place.client();
    let name = unique("between");
    let id = create_topic(&mut client.stream, &name, 1);
    let member = client.joined(&Join::of(&unique("between")));
    let response = commit(&mut client.stream, 9, &member, &[(&name, id, 0, 1, None)]);
    assert_eq!(codes(&response), [code(ErrorCode::RebalanceInProgress)]);
}

#[test]
fn deleted_topic_takes_no_commits_and_its_offsets_are_gone() {
    let place = Place::start();
    let mut stream = place.connect();
    let name = unique("deleted");
    let id = create_topic(&mut stream, &name, 1);
    let member = nobody(&unique("deleted"));
    assert_eq!(codes(&commit(&mut stream, 10, &member, &[(&name, id, 0, 1, None)])), [NONE]);
    let topics = vec![delete_topics_request::DeleteTopicState {
        name: Some(name.clone().into()),
        ..Default::default()
    }];
    let request = DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    assert_eq!(ask(&mut stream, 6, &request).responses[0].error_code, NONE);
    for (version, error) in [(9, ErrorCode::UnknownTopicOrPartition), (10, ErrorCode::UnknownTopicId)] {
        // Apache Kafka answers a deletion before this broker follows.
        crate::harness::eventually("the refusal", || {
            let mut stream = stream.try_clone().expect("a socket can be cloned");
            codes(&commit(&mut stream, version, &member, &[(&name, id, 0, 1, None)])) == [code(error)]
        });
    }
    crate::harness::eventually("the offsets are gone", || {
        let mut stream = stream.try_clone().expect("a socket can be cloned");
        fetch(&mut stream, 9, &member.group, None) == (NONE, Vec::new())
    });
}

#[test]
fn group_without_a_name_may_commit_and_fetch() {
    let place = Place::start();
    let mut stream = place.connect();
    let name = unique("nameless");
    let id = create_topic(&mut stream, &name, 1);
    for version in 8..=10 {
        assert_eq!(
            codes(&commit(&mut stream, version, &nobody(""), &[(&name, id, 0, 3, None)])),
            [NONE],
            "{version}"
        );
        let fetched = fetch(&mut stream, version, "", Some(&[(&name, id, 0)]));
        assert_eq!(fetched.1[0].2, [(0, 3, NONE)], "{version}");
    }
}

/// A topic, and the error code of each of its partitions.
pub type Codes = (String, Vec<(i32, i16)>);

pub fn delete(stream: &mut TcpStream, group: &str, asked: &[(&str, i32)]) -> (i16, Vec<Codes>) {
    let topics = asked.iter().map(|(name, index)| offset_delete_request::OffsetDeleteRequestTopic {
        name: (*name).to_owned().into(),
        partitions: vec![offset_delete_request::OffsetDeleteRequestPartition { partition_index: *index }],
    });
    let request = OffsetDeleteRequest { group_id: group.to_owned().into(), topics: topics.collect() };
    let response = ask(stream, 0, &request);
    let topics = response.topics.iter().map(|topic| {
        let codes =
            topic.partitions.iter().map(|partition| (partition.partition_index, partition.error_code));
        (topic.name.to_string(), codes.collect())
    });
    (response.error_code, topics.collect())
}

#[test]
fn offsets_are_deleted_where_nobody_subscribes() {
    let place = Place::start();
    let mut client = place.client();
    let (read, unread) = (unique("read"), unique("unread"));
    let ids = [create_topic(&mut client.stream, &read, 1), create_topic(&mut client.stream, &unread, 1)];
    let protocols = vec![("range", subscription(&[&read]))];
    let member = client.stable(&Join { protocols, ..Join::of(&unique("deleting")) });
    let all = [(&*read, ids[0], 0, 1, None), (&*unread, ids[1], 0, 1, None)];
    assert_eq!(codes(&commit(&mut client.stream, 9, &member, &all)), [NONE, NONE]);
    let asked = [(&*read, 0), (&*unread, 0), (&*unread, 7), ("absent", 0)];
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    let expected = vec![
        (unread.clone(), vec![(7, unknown), (0, NONE)]),
        ("absent".to_owned(), vec![(0, unknown)]),
        (read.clone(), vec![(0, code(ErrorCode::GroupSubscribedToTopic))]),
    ];
    assert_eq!(delete(&mut client.stream, &member.group, &asked), (NONE, expected));
    let left = fetch(&mut client.stream, 9, &member.group, None).1;
    assert_eq!(left.iter().map(|topic| &topic.0).collect::<Vec<_>>(), [&read]);
    for (group, error) in [("", ErrorCode::InvalidGroupId), ("absent", ErrorCode::GroupIdNotFound)] {
        for asked in [&asked[..1], &asked[2..3], &[]] {
            let found = delete(&mut client.stream, group, asked);
            assert_eq!(found, (code(error), Vec::new()), "{group:?} {asked:?}");
        }
    }
}
