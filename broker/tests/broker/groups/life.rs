//! One member from its first join to its last word.

use milena_protocol::ErrorCode;

use super::client::{Join, Joined};
use super::{NONE, Place, code, unique};

#[test]
fn member_joins_syncs_beats_and_leaves_in_every_version() {
    let place = Place::start();
    for version in 0..=9 {
        let mut client = place.client();
        let mut join = Join::of(&unique("life"));
        let mut answer = client.join(version, &join);
        if version >= 4 {
            assert_eq!(answer.error_code, code(ErrorCode::MemberIdRequired), "{version}");
            assert_eq!((answer.generation_id, answer.members.len()), (-1, 0), "{version}");
            join.member_id = answer.member_id.into_owned();
            answer = client.join(version, &join);
        }
        assert_eq!((answer.error_code, answer.generation_id), (NONE, 1), "{version}");
        assert_eq!((answer.leader.clone(), answer.members.len()), (answer.member_id.clone(), 1), "{version}");
        assert_eq!(answer.protocol_name.as_deref(), Some("range"), "{version}");
        assert_eq!(answer.protocol_type.as_deref(), (version >= 7).then_some("consumer"), "{version}");
        assert_eq!(answer.members[0].metadata, join.protocols[0].1, "{version}");
        assert!(
            answer.member_id.starts_with("test-") && answer.member_id.len() == 41,
            "{}",
            answer.member_id
        );
        let member = Joined { group: join.group, id: answer.member_id.into_owned(), generation: 1 };
        let synced = client.sync(version.min(5), &member, &[(&member.id, b"mine")]);
        assert_eq!((synced.error_code, &*synced.assignment), (NONE, &b"mine"[..]), "{version}");
        let protocol = (version >= 5).then_some(("consumer", "range"));
        let told = synced.protocol_type.as_deref().zip(synced.protocol_name.as_deref());
        assert_eq!(told, protocol, "{version}");
        assert_eq!(client.heartbeat(version.min(4), &member), NONE, "{version}");
        let left = client.leave(version.min(5), &member);
        assert_eq!((left.error_code, left.members.len()), (NONE, usize::from(version >= 3)), "{version}");
        let unknown = code(ErrorCode::UnknownMemberId);
        assert_eq!(client.heartbeat(version.min(4), &member), unknown, "{version}");
        let again = client.leave(version.min(5), &member);
        let told = again.members.first().map_or(again.error_code, |left| left.error_code);
        assert_eq!(told, unknown, "{version}");
    }
}

#[test]
fn static_member_that_returns_keeps_its_place_and_fences_its_former_self() {
    let place = Place::start();
    let mut client = place.client();
    let join = Join { instance_id: Some("i-1".to_owned()), ..Join::of(&unique("static")) };
    let first = client.stable(&join);
    assert!(first.id.starts_with("i-1-"), "{}", first.id);
    let again = client.join(9, &join);
    assert_eq!((again.error_code, again.generation_id), (NONE, first.generation));
    assert!(again.skip_assignment && again.member_id != first.id, "{again:?}");
    let second = Joined { id: again.member_id.clone().into_owned(), ..first.clone() };
    let synced = client.sync(5, &second, &[]);
    assert_eq!((synced.error_code, &*synced.assignment), (NONE, &b"mine"[..]));
    // By its id alone the former self is nobody; as the instance it is fenced.
    assert_eq!(client.heartbeat(4, &first), code(ErrorCode::UnknownMemberId));
    let fenced = client.leave_all(5, &first.group, &[(&first.id, Some("i-1"))]);
    assert_eq!(fenced.members[0].error_code, code(ErrorCode::FencedInstanceId));
    let nobody = client.leave_all(5, &first.group, &[("", Some("i-2"))]);
    assert_eq!(nobody.members[0].error_code, code(ErrorCode::UnknownMemberId));
    let left = client.leave_all(5, &first.group, &[("", Some("i-1"))]);
    assert_eq!((left.error_code, left.members[0].error_code), (NONE, NONE));
    assert_eq!(left.members[0].group_instance_id.as_deref(), Some("i-1"));
}

#[test]
fn member_blobs_are_passed_on_unread() {
    let place = Place::start();
    pass_blobs(&place, "connect");
    // Apache Kafka never answers a consumer whose subscription promises a billion topics.
    if !place.is_judge() {
        pass_blobs(&place, "consumer");
    }
}

fn pass_blobs(place: &Place, protocol_type: &'static str) {
    let mut client = place.client();
    let garbage: Vec<u8> = (0..100_000_u32).map(|number| (number * 31 % 251) as u8).collect();
    let mut join = Join { protocol_type, ..Join::of(&unique("garbage")) };
    join.protocols = vec![("range", garbage.clone())];
    join.member_id = client.id_of(&join);
    let answer = client.join(9, &join);
    assert_eq!((answer.error_code, &*answer.members[0].metadata), (NONE, &*garbage));
    let member = Joined { group: join.group, id: join.member_id, generation: answer.generation_id };
    let synced = client.sync(4, &member, &[(&member.id, &garbage)]);
    assert_eq!((synced.error_code, &*synced.assignment), (NONE, &*garbage));
    let described = super::describe(&mut client.stream, 6, &member.group);
    assert_eq!(
        (&*described.members[0].member_metadata, &*described.members[0].member_assignment),
        (&*garbage, &*garbage)
    );
}
