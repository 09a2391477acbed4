//! `group describe --members`.

use milena_client::admin::{Assignment, GroupDescription, GroupMember};
use serde_json::{Value, json};

use super::state;
use crate::context::Context;
use crate::error::Result;
use crate::output;

pub fn show(context: &Context, groups: &[GroupDescription]) -> Result<()> {
    if context.is_json() {
        return output::json(&groups.iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = groups.iter().flat_map(|group| group.members.iter().map(|member| row(group, member)));
    let headers = ["GROUP", "MEMBER", "INSTANCE", "HOST", "CLIENT", "EPOCH", "PARTITIONS", "ASSIGNMENT"];
    output::table(&headers, &rows.collect::<Vec<_>>())
}

fn row(group: &GroupDescription, member: &GroupMember) -> Vec<String> {
    vec![
        group.group_id.clone(),
        member.member_id.clone(),
        output::or_dash(member.instance_id.as_ref()),
        member.host.clone(),
        member.client_id.clone(),
        output::or_dash(member.epoch),
        member.assignment.values().map(Vec::len).sum::<usize>().to_string(),
        text(&member.assignment),
    ]
}

/// `audit:0;orders:0,2`, as `--topic` takes each of them.
fn text(assignment: &Assignment) -> String {
    let topics =
        assignment.iter().map(|(topic, partitions)| format!("{topic}:{}", output::joined(partitions)));
    let text = topics.collect::<Vec<_>>().join(";");
    if text.is_empty() { "-".to_owned() } else { text }
}

fn as_json(group: &GroupDescription) -> Value {
    let members = group.members.iter().map(|member| {
        json!({
            "member_id": member.member_id,
            "instance_id": member.instance_id,
            "host": member.host,
            "client_id": member.client_id,
            "epoch": member.epoch,
            "is_upgraded": member.is_upgraded,
            "partition_count": member.assignment.values().map(Vec::len).sum::<usize>(),
            "assignment": member.assignment,
            "target_assignment": member.target,
        })
    });
    let members = members.collect::<Vec<_>>();
    let mut group = state::as_json(group);
    group["members"] = Value::Array(members);
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_written_as_scopes() {
        let assignment = Assignment::from([("orders".to_owned(), vec![0, 2]), ("audit".to_owned(), vec![1])]);
        assert_eq!(text(&assignment), "audit:1;orders:0,2");
        assert_eq!(text(&Assignment::new()), "-");
    }
}
