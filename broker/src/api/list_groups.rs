//! ListGroups (key 16), versions 0–5.
//!
//! The groups that this broker coordinates. While one of its coordinators loads the list would be incomplete, which
//! is COORDINATOR_LOAD_IN_PROGRESS and no list. v4 filters by state (KIP-518), v5 by type (KIP-848).

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_groups_request::ListGroupsRequest;
use milena_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ListGroupsRequest<'_>) -> Reply {
    let states: Vec<&str> = request.states_filter.iter().map(|state| &**state).collect();
    let kinds: Vec<&str> = request.types_filter.iter().map(|kind| &**kind).collect();
    let (listed, is_loading) = cx.node.groups.read_all(|groups| groups.list(&states, &kinds)).await;
    if is_loading {
        let error_code = ErrorCode::CoordinatorLoadInProgress.into();
        return cx.reply(&ListGroupsResponse { error_code, ..Default::default() });
    }
    let groups = listed.iter().flatten().map(|listed| ListedGroup {
        group_id: (&*listed.group).into(),
        protocol_type: (&*listed.protocol_type).into(),
        group_state: listed.state.into(),
        group_type: listed.kind.into(),
    });
    cx.reply(&ListGroupsResponse { groups: groups.collect(), ..Default::default() })
}
