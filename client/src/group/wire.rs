//! The short requests of a member: Heartbeat (key 12, versions 0–4) and LeaveGroup (key 13, versions 0–5).

use std::time::Duration;

use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::{HeartbeatRequest, LeaveGroupRequest};

use super::link::Link;
use crate::config::GroupConfig;
use crate::error::{Error, Result};

/// Members are named in a list from this version on (KIP-345).
const LEAVE_LISTED_FROM: i16 = 3;

/// Who a member is to the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Empty until the coordinator has given one.
    pub(super) member_id: String,
    /// −1 while not in the group.
    pub(super) generation: i32,
}

impl Default for Identity {
    fn default() -> Self {
        Self { member_id: String::new(), generation: -1 }
    }
}

/// Tells the coordinator that the member lives.
///
/// Errors: the coordinator's answer, such as REBALANCE_IN_PROGRESS, and those of the connection.
pub(super) async fn heartbeat(link: &mut Link, config: &GroupConfig, identity: &Identity) -> Result<()> {
    let group_id = link.group_id().to_owned();
    // An answer that takes longer than a session is worth nothing.
    let timeout = link.cluster().config().request_timeout.min(config.session_timeout.max(MIN_TIMEOUT));
    let ask = |connection: std::sync::Arc<crate::connection::Connection>| async move {
        let request = HeartbeatRequest {
            group_id: group_id.as_str().into(),
            generation_id: identity.generation,
            member_id: identity.member_id.as_str().into(),
            group_instance_id: config.group_instance_id.as_deref().map(Into::into),
        };
        let version = connection.version_of::<HeartbeatRequest<'_>>(i16::MAX)?;
        let response = connection.call_within(&request, version, timeout).await?;
        let code = response.decode::<HeartbeatRequest<'_>>()?.error_code;
        Error::check(code, None, || format!("heartbeat of group {group_id}"))
    };
    link.attempt(ask).await
}

/// Sessions may be set to nothing; an answer needs some time all the same.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What leaving may take: without it the session expires.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Gives the membership up, so that nobody waits for the session to expire.
///
/// Errors: `TimedOut` after five seconds, the coordinator's answer, such as UNKNOWN_MEMBER_ID, and those of the connection.
pub(super) async fn leave(link: &mut Link, member_id: &str, reason: &str) -> Result<()> {
    let group_id = &link.group_id().to_owned();
    let context = || format!("leaving group {group_id}");
    let ask = |connection: std::sync::Arc<crate::connection::Connection>| async move {
        let version = connection.version_of::<LeaveGroupRequest<'_>>(i16::MAX)?;
        let mut request = LeaveGroupRequest { group_id: group_id.as_str().into(), ..Default::default() };
        if version < LEAVE_LISTED_FROM {
            request.member_id = member_id.into();
        } else {
            request.members = vec![MemberIdentity {
                member_id: member_id.into(),
                group_instance_id: None,
                reason: Some(reason.into()),
            }];
        }
        let response = connection.call_at(&request, version).await?;
        let answer = response.decode::<LeaveGroupRequest<'_>>()?;
        Error::check(answer.error_code, None, context)?;
        answer.members.iter().try_for_each(|member| Error::check(member.error_code, None, context))
    };
    let timed_out = || Error::TimedOut { what: context(), timeout_ms: LEAVE_MAX.as_millis() as u64 };
    tokio::time::timeout(LEAVE_MAX, link.attempt(ask)).await.unwrap_or_else(|_| Err(timed_out()))
}
