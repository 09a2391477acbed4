//! DeleteGroups (key 42), versions 0–2.
//!
//! Groups without members go, with all they have committed; others are NON_EMPTY_GROUP. Each has an answer of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use milena_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DeleteGroupsRequest<'_>) -> Reply {
    let mut seen = BTreeSet::new();
    let names = request.groups_names.iter().map(|name| &**name).filter(|name| seen.insert(*name));
    let groups: Vec<Arc<str>> = names.map(Arc::from).collect();
    let deleted = cx.node.groups.delete_groups(&groups).await;
    let results = groups
        .iter()
        .zip(deleted)
        .map(|(group, error)| DeletableGroupResult { group_id: (&**group).into(), error_code: error.into() });
    cx.reply(&DeleteGroupsResponse { results: results.collect(), ..Default::default() })
}
