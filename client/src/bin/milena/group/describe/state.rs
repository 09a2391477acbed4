//! `group describe --state`.

use milena_client::admin::GroupDescription;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Result;
use crate::output;

pub fn show(context: &Context, groups: &[GroupDescription]) -> Result<()> {
    if context.is_json() {
        return output::json(&groups.iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = groups.iter().map(|group| {
        vec![
            group.group_id.clone(),
            group.group_type.to_owned(),
            group.state.clone(),
            format!("{} ({})", group.coordinator, group.coordinator_id),
            output::or_dash(assignor(group)),
            output::or_dash(group.group_epoch),
            output::or_dash(group.assignment_epoch),
            group.members.len().to_string(),
        ]
    });
    let headers =
        ["GROUP", "TYPE", "STATE", "COORDINATOR (ID)", "ASSIGNOR", "EPOCH", "ASSIGNMENT EPOCH", "MEMBERS"];
    output::table(&headers, &rows.collect::<Vec<_>>())
}

pub(super) fn as_json(group: &GroupDescription) -> Value {
    json!({
        "group": group.group_id,
        "type": group.group_type,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "assignor": assignor(group),
        "coordinator": { "id": group.coordinator_id, "address": group.coordinator },
        "group_epoch": group.group_epoch,
        "assignment_epoch": group.assignment_epoch,
        "member_count": group.members.len(),
    })
}

fn assignor(group: &GroupDescription) -> Option<&str> {
    Some(group.assignor.as_str()).filter(|name| !name.is_empty())
}
