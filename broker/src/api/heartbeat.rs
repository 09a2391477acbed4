//! Heartbeat (key 12), versions 0–4.
//!
//! A member is alive, and hears whether the group rebalances (REBALANCE_IN_PROGRESS). A coordinator that still loads
//! says nothing is wrong: nobody loses a place because the broker came up a moment ago.
//!
//! v3 brings static members (KIP-345).

use milena_protocol::ErrorCode;
use milena_protocol::messages::heartbeat_request::HeartbeatRequest;
use milena_protocol::messages::heartbeat_response::HeartbeatResponse;
use milena_state::group::request::Heartbeat;

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: HeartbeatRequest<'_>) -> Reply {
    let heartbeat = |token| Heartbeat {
        token,
        group: (&*request.group_id).into(),
        generation: request.generation_id,
        member_id: (&*request.member_id).into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
    };
    let heard = heard(cx.node.groups.heartbeat(&request.group_id, heartbeat).await);
    cx.reply(&HeartbeatResponse { error_code: heard.into(), ..Default::default() })
}

/// What the member hears. It is not thrown out for being alive while the coordinator reads up.
fn heard(answer: Result<ErrorCode, ErrorCode>) -> ErrorCode {
    match answer {
        Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
        Ok(error) | Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_hears_nothing_of_a_coordinator_that_loads() {
        assert_eq!(heard(Err(ErrorCode::CoordinatorLoadInProgress)), ErrorCode::None);
        for error in [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable] {
            assert_eq!(heard(Err(error)), error);
        }
        assert_eq!(heard(Ok(ErrorCode::RebalanceInProgress)), ErrorCode::RebalanceInProgress);
    }
}
