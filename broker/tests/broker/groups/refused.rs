//! What the coordinator refuses of members: bad names, bad numbers, strangers.

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

use super::client::{Join, Joined};
use super::{NONE, Place, code, unique};
use crate::harness::{SESSION_MS_MIN, ask};

/// What a refused join says of the protocol, whatever it was refused for.
fn no_protocol(version: i16) -> Option<std::borrow::Cow<'static, str>> {
    (version < 7).then_some("".into())
}

#[test]
fn group_without_a_name_has_no_members() {
    let place = Place::start();
    let mut client = place.client();
    let invalid = code(ErrorCode::InvalidGroupId);
    let member = Joined { group: String::new(), id: "somebody".to_owned(), generation: 1 };
    for version in 0..=9 {
        let answer = client.join(version, &Join { member_id: "somebody".to_owned(), ..Join::of("") });
        assert_eq!((answer.error_code, &*answer.member_id), (invalid, "somebody"), "{version}");
        assert_eq!((answer.generation_id, &answer.protocol_name), (-1, &no_protocol(version)), "{version}");
    }
    for version in 0..=5 {
        assert_eq!(client.sync(version, &member, &[]).error_code, invalid, "{version}");
        assert_eq!(client.heartbeat(version.min(4), &member), invalid, "{version}");
        let left = client.leave(version, &member);
        assert_eq!((left.error_code, left.members.len()), (invalid, 0), "{version}");
    }
}

#[test]
fn sessions_have_bounds() {
    let place = Place::start();
    let mut client = place.client();
    for version in 0..=9 {
        let least: i32 = SESSION_MS_MIN.parse().expect("a number");
        for session_timeout_ms in [-1, least - 1, 1_800_001] {
            let join = Join { session_timeout_ms, ..Join::of(&unique("session")) };
            let answer = client.join(version, &join);
            assert_eq!(
                answer.error_code,
                code(ErrorCode::InvalidSessionTimeout),
                "{version} {session_timeout_ms}"
            );
        }
    }
}

#[test]
fn protocols_that_nobody_shares_are_refused() {
    let place = Place::start();
    let (mut client, mut other) = (place.client(), place.client());
    let join = Join::of(&unique("protocols"));
    client.stable(&join);
    for version in 0..=9 {
        let mut refused = |join: Join| {
            let answer = other.join(version, &join);
            assert_eq!(answer.error_code, code(ErrorCode::InconsistentGroupProtocol), "{version}");
            assert_eq!(answer.protocol_name, no_protocol(version), "{version}");
        };
        refused(Join { protocols: vec![("unheard-of", Vec::new())], ..join.clone() });
        refused(Join { protocol_type: "connect", ..join.clone() });
        refused(Join { protocols: Vec::new(), ..join.clone() });
        refused(Join { protocol_type: "", ..Join::of(&unique("typeless")) });
        refused(Join { protocols: Vec::new(), ..Join::of(&unique("none")) });
    }
}

#[test]
fn strangers_and_stale_generations_are_refused() {
    let place = Place::start();
    let mut client = place.client();
    let join = Join::of(&unique("strangers"));
    let member = client.stable(&join);
    let unknown = code(ErrorCode::UnknownMemberId);
    let illegal = code(ErrorCode::IllegalGeneration);
    let stranger = Joined { id: "stranger".to_owned(), ..member.clone() };
    let nowhere = Joined { group: unique("absent"), ..member.clone() };
    let past = Joined { generation: 0, ..member.clone() };
    for version in 0..=9 {
        for group in [&member.group, &nowhere.group] {
            let answer = client.join(version, &Join { member_id: "stranger".to_owned(), ..Join::of(group) });
            assert_eq!((answer.error_code, &*answer.member_id), (unknown, "stranger"), "{version}");
            assert_eq!(answer.protocol_name, no_protocol(version), "{version}");
        }
    }
    for version in 0..=5 {
        for (member, error) in [(&stranger, unknown), (&nowhere, unknown), (&past, illegal), (&member, NONE)]
        {
            assert_eq!(client.sync(version, member, &[]).error_code, error, "{version}");
            assert_eq!(client.heartbeat(version.min(4), member), error, "{version}");
        }
        for member in [&stranger, &nowhere] {
            let left = client.leave(version, member);
            let told = left.members.first().map_or(left.error_code, |left| left.error_code);
            assert_eq!(told, unknown, "{version}");
            assert_eq!(left.error_code, if version < 3 { unknown } else { NONE }, "{version}");
        }
    }
}

#[test]
fn sync_names_the_protocol_that_the_group_has() {
    let place = Place::start();
    let mut client = place.client();
    let member = client.stable(&Join::of(&unique("named")));
    let mut sync = |kind: Option<&'static str>, name: Option<&'static str>| {
        let mut request = super::client::sync_request(5, &member, &[]);
        (request.protocol_type, request.protocol_name) = (kind.map(Into::into), name.map(Into::into));
        ask(&mut client.stream, 5, &request).error_code
    };
    let inconsistent = code(ErrorCode::InconsistentGroupProtocol);
    assert_eq!(sync(Some("consumer"), None), inconsistent);
    assert_eq!(sync(None, Some("range")), inconsistent);
    assert_eq!(sync(Some("consumer"), Some("sticky")), inconsistent);
    assert_eq!(sync(Some("connect"), Some("range")), inconsistent);
    assert_eq!(sync(Some("consumer"), Some("range")), NONE);
}

#[test]
fn members_leave_each_with_an_answer_of_its_own() {
    let place = Place::start();
    let mut client = place.client();
    let member = client.stable(&Join::of(&unique("leaving")));
    let all = [("stranger", None), (&*member.id, None), ("", Some("instance")), (&*member.id, None)];
    let left = client.leave_all(5, &member.group, &all);
    assert_eq!(left.error_code, NONE);
    let unknown = code(ErrorCode::UnknownMemberId);
    let codes: Vec<_> = left.members.iter().map(|left| left.error_code).collect();
    assert_eq!(codes, [unknown, NONE, unknown, unknown]);
    let none = client.leave_all(5, &member.group, &[]);
    assert_eq!((none.error_code, none.members.len()), (NONE, 0));
}

#[test]
fn coordinator_is_found_by_key_and_type() {
    let place = Place::start();
    let mut client = place.client();
    for version in 0..=6 {
        let mut find = |key_type, keys: &[&str]| {
            let mut request = FindCoordinatorRequest { key_type, ..Default::default() };
            match version {
                ..4 => request.key = keys[0].to_owned().into(),
                _ => request.coordinator_keys = keys.iter().map(|key| (*key).to_owned().into()).collect(),
            }
            let response = ask(&mut client.stream, version, &request);
            if version < 4 {
                let message = response.error_message.map(|text| text.into_owned());
                return vec![(
                    String::new(),
                    response.node_id,
                    response.host.into_owned(),
                    response.error_code,
                    message,
                )];
            }
            let each = response.coordinators.into_iter().map(|found| {
                let message = found.error_message.map(|text| text.into_owned());
                (found.key.into_owned(), found.node_id, found.host.into_owned(), found.error_code, message)
            });
            each.collect()
        };
        let found = find(0, &["a", "", "a"]);
        assert_eq!(found.len(), if version < 4 { 1 } else { 3 }, "{version}");
        for one in &found {
            let message = match version {
                0 => Some(""),
                1..4 => Some("NONE"),
                _ => Some(""),
            };
            assert_eq!(
                (one.1, &*one.2, one.3, one.4.as_deref()),
                (1, "127.0.0.1", NONE, message),
                "{version}"
            );
        }
        if version >= 1 {
            let nobody = find(9, &["a"]);
            let (_, id, host, error, _) = &nobody[0];
            assert_eq!(
                (*id, &**host, *error),
                (-1, "", code(ErrorCode::InvalidRequest)),
                "{version}: {nobody:?}"
            );
        }
        // Ours alone: Apache Kafka has such coordinators.
        if version >= 1 && !place.is_judge() {
            for key_type in [1, 2] {
                let refused = find(key_type, &["a"]);
                assert_eq!((refused[0].1, refused[0].3), (-1, code(ErrorCode::InvalidRequest)), "{version}");
            }
        }
    }
}

/// librdkafka sends three bytes too many when it asks for the metadata of all topics, which it does to find those of a
/// pattern.
#[test]
fn bytes_behind_a_request_are_left_alone() {
    use std::io::Write as _;

    let place = Place::start();
    let mut stream = place.connect();
    for version in 0..=13 {
        let mut w = milena_protocol::Writer::new();
        let topics = (version == 0).then(Vec::new);
        let request = MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() };
        let id = i32::from(version);
        let api = milena_protocol::ApiKey::Metadata;
        milena_protocol::header::request_frame(&mut w, api, version, id, Some("test"), &request)
            .expect("it has bytes");
        let mut bytes = w.into_bytes().expect("nothing is detached");
        bytes.extend([0, 0, 0]);
        let length = bytes.len() as u32 - 4;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&bytes).expect("the connection is open");
        let response = crate::harness::receive::<MetadataRequest<'_>>(&mut stream, version);
        assert_eq!(response.brokers.len(), 1, "{version}");
    }
}
