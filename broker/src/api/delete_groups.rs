//! DeleteGroups (key 42), versions 0–2.
//!
//! Groups without members go, with all they have committed; others are NON_EMPTY_GROUP. Each has an answer of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use milena_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use milena_state::group::{Command, CommandReply};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DeleteGroupsRequest<'_>) -> Reply {
    let mut seen = BTreeSet::new();
    let ids: Vec<&str> = request.groups_names.iter().map(|id| &**id).filter(|id| seen.insert(*id)).collect();
    let deleted = join_all(ids.iter().map(|id| delete(cx, id))).await;
    let results = ids
        .iter()
        .zip(deleted)
        .map(|(id, error)| DeletableGroupResult { group_id: (*id).into(), error_code: error.into() });
    cx.reply(&DeleteGroupsResponse { results: results.collect(), ..Default::default() })
}

async fn delete(cx: &RequestContext, id: &str) -> ErrorCode {
    let command = Command::DeleteGroups(vec![Arc::from(id)]);
    match cx.node.groups.command(id, command).await {
        Ok(CommandReply::DeleteGroups(outcomes)) => {
            outcomes.first().map_or(ErrorCode::GroupIdNotFound, |(_, error)| *error)
        }
        Ok(other) => panic!("a deletion of groups is answered by {other:?}"),
        Err(error) => error,
    }
}
