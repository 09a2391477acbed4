//! A member of a group, request by request.

use std::net::TcpStream;

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

use super::{NONE, code};
use crate::harness::{ask, receive, send};

pub struct Client {
    pub stream: TcpStream,
}

/// What a member says of itself when it joins.
#[derive(Clone)]
pub struct Join {
    pub group: String,
    pub member_id: String,
    pub instance_id: Option<String>,
    pub session_timeout_ms: i32,
    pub protocol_type: &'static str,
    pub protocols: Vec<(&'static str, Vec<u8>)>,
}

/// A member that has joined.
#[derive(Clone)]
pub struct Joined {
    pub group: String,
    pub id: String,
    pub generation: i32,
}

impl Join {
    pub fn of(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            member_id: String::new(),
            instance_id: None,
            session_timeout_ms: 10_000,
            protocol_type: "consumer",
            protocols: vec![("range", subscription(&[]))],
        }
    }

    pub fn request(&self, version: i16) -> JoinGroupRequest<'static> {
        let protocols =
            self.protocols.iter().map(|(name, metadata)| join_group_request::JoinGroupRequestProtocol {
                name: (*name).into(),
                metadata: metadata.clone().into(),
            });
        JoinGroupRequest {
            group_id: self.group.clone().into(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: if version == 0 { -1 } else { 10_000 },
            member_id: self.member_id.clone().into(),
            group_instance_id: self.instance_id.clone().map(Into::into),
            protocol_type: self.protocol_type.into(),
            protocols: protocols.collect(),
            reason: None,
        }
    }
}

/// A consumer's subscription in version 0 of its encoding.
pub fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

impl Client {
    pub fn join(&mut self, version: i16, join: &Join) -> JoinGroupResponse<'static> {
        ask(&mut self.stream, version, &join.request(version))
    }

    pub fn begin_join(&mut self, join: &Join) {
        send(&mut self.stream, 9, &join.request(9));
    }

    pub fn end_join(&mut self) -> JoinGroupResponse<'static> {
        receive::<JoinGroupRequest<'_>>(&mut self.stream, 9)
    }

    /// Gets a member id, and stops there.
    pub fn id_of(&mut self, join: &Join) -> String {
        let first = self.join(9, join);
        assert_eq!(first.error_code, code(ErrorCode::MemberIdRequired));
        first.member_id.into_owned()
    }

    /// Joins with the round for the id, alone, and is the leader.
    pub fn joined(&mut self, join: &Join) -> Joined {
        let mut join = join.clone();
        if join.instance_id.is_none() {
            join.member_id = self.id_of(&join);
        }
        let answer = self.join(9, &join);
        assert_eq!((answer.error_code, &*answer.leader), (NONE, &*answer.member_id));
        Joined { group: join.group, id: answer.member_id.into_owned(), generation: answer.generation_id }
    }

    /// A member alone in a stable group.
    pub fn stable(&mut self, join: &Join) -> Joined {
        let joined = self.joined(join);
        let synced = self.sync(5, &joined, &[(&joined.id, b"mine")]);
        assert_eq!((synced.error_code, &*synced.assignment), (NONE, &b"mine"[..]));
        joined
    }

    pub fn sync(
        &mut self,
        version: i16,
        member: &Joined,
        assignments: &[(&str, &[u8])],
    ) -> SyncGroupResponse<'static> {
        ask(&mut self.stream, version, &sync_request(version, member, assignments))
    }

    pub fn begin_sync(&mut self, member: &Joined) {
        send(&mut self.stream, 5, &sync_request(5, member, &[]));
    }

    pub fn end_sync(&mut self) -> SyncGroupResponse<'static> {
        receive::<SyncGroupRequest<'_>>(&mut self.stream, 5)
    }

    pub fn heartbeat(&mut self, version: i16, member: &Joined) -> i16 {
        ask(&mut self.stream, version, &heartbeat_request(member)).error_code
    }

    pub fn leave(&mut self, version: i16, member: &Joined) -> LeaveGroupResponse<'static> {
        self.leave_all(version, &member.group, &[(&member.id, None)])
    }

    pub fn leave_all(
        &mut self,
        version: i16,
        group: &str,
        members: &[(&str, Option<&str>)],
    ) -> LeaveGroupResponse<'static> {
        let mut request = LeaveGroupRequest { group_id: group.to_owned().into(), ..Default::default() };
        if version < 3 {
            request.member_id = members[0].0.to_owned().into();
        } else {
            let member = |(id, instance): &(&str, Option<&str>)| leave_group_request::MemberIdentity {
                member_id: (*id).to_owned().into(),
                group_instance_id: instance.map(|id| id.to_owned().into()),
                ..Default::default()
            };
            request.members = members.iter().map(member).collect();
        }
        ask(&mut self.stream, version, &request)
    }
}

pub fn heartbeat_request(member: &Joined) -> HeartbeatRequest<'static> {
    HeartbeatRequest {
        group_id: member.group.clone().into(),
        generation_id: member.generation,
        member_id: member.id.clone().into(),
        group_instance_id: None,
    }
}

pub fn sync_request(
    version: i16,
    member: &Joined,
    assignments: &[(&str, &[u8])],
) -> SyncGroupRequest<'static> {
    let assigned = |(id, assignment): &(&str, &[u8])| sync_group_request::SyncGroupRequestAssignment {
        member_id: (*id).to_owned().into(),
        assignment: assignment.to_vec().into(),
    };
    SyncGroupRequest {
        group_id: member.group.clone().into(),
        generation_id: member.generation,
        member_id: member.id.clone().into(),
        group_instance_id: None,
        protocol_type: (version >= 5).then_some("consumer".into()),
        protocol_name: (version >= 5).then_some("range".into()),
        assignments: assignments.iter().map(assigned).collect(),
    }
}
