//! ListGroups (key 16), DescribeGroups (key 15) and the console: groups as an operator sees them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::ErrorCode;

use super::classic::{Classic, State};
use super::classic_member::Member;
use super::machine::Groups;
use super::reply::{Described, DescribedMember, Listed, Summary};

/// The type of these groups in answers and filters.
const CLASSIC: &str = "classic";

impl Groups {
    /// Groups in one of `states` and of one of `kinds`; an empty list asks for all. Case does not count.
    pub fn list(&self, states: &[&str], kinds: &[&str]) -> Vec<Listed> {
        let states: BTreeSet<String> = states.iter().map(|state| state.trim().to_lowercase()).collect();
        if !kinds.is_empty() && !kinds.iter().any(|kind| kind.eq_ignore_ascii_case(CLASSIC)) {
            return Vec::new();
        }
        let asked =
            |group: &Classic| states.is_empty() || states.contains(&group.state.name().to_lowercase());
        let groups = self.by_id.values().map(|group| &group.classic);
        groups.filter(|group| asked(group)).map(listed).collect()
    }

    /// A group as a list shows it; none when there is no such group.
    pub fn summary(&self, id: &str) -> Option<Summary> {
        let group = &self.by_id.get(id)?.classic;
        Some(Summary {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol: chosen_protocol(group).unwrap_or_else(|| "".into()),
            members_count: group.members.len(),
        })
    }

    /// `tells_missing` is set from version 6 on: a group that is not there is an error then, and Dead
    /// before.
    pub fn describe(&self, id: &Arc<str>, tells_missing: bool) -> Described {
        match self.by_id.get(id) {
            Some(group) => described(&group.classic),
            None => Described {
                group: id.clone(),
                error: if tells_missing { ErrorCode::GroupIdNotFound } else { ErrorCode::None },
                message: tells_missing.then(|| format!("Group {id} not found.")),
                state: State::Dead.name(),
                protocol_type: "".into(),
                protocol: "".into(),
                members: Vec::new(),
            },
        }
    }

    /// How many groups are in each state, for metrics.
    pub fn count(&self, state: State) -> usize {
        self.by_id.values().filter(|group| group.classic.state == state).count()
    }
}

fn listed(group: &Classic) -> Listed {
    Listed {
        group: group.id.clone(),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
        state: group.state.name(),
        kind: CLASSIC,
    }
}

/// The protocol that the members of a stable group have in common.
fn chosen_protocol(group: &Classic) -> Option<Arc<str>> {
    group.protocol.clone().filter(|_| group.state == State::Stable)
}

fn described(group: &Classic) -> Described {
    let protocol = chosen_protocol(group);
    let member = |(id, member): (&Arc<str>, &Member)| DescribedMember {
        id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: protocol.as_deref().map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
        assignment: member.assignment.clone(),
    };
    Described {
        group: group.id.clone(),
        error: ErrorCode::None,
        message: None,
        state: group.state.name(),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
        members: group.members.iter().map(member).collect(),
        protocol: protocol.unwrap_or_else(|| "".into()),
    }
}
