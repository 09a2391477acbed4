//! `/api/v1/group?name=…`: one group, its members, its lag by partition and over the last hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use milena_protocol::ErrorCode;
use milena_state::group::reply::{self, DescribedMember};
use milena_state::lag::{LAGS_MAX, Lag};
use serde::Serialize;

use super::answer::{Refused, json};
use super::assignment::{self, Assigned};
use super::groups::Sum;
use super::page::{Page, Query};
use crate::admin::Admin;
use crate::broker::{Node, now_ms};
use crate::lag::Curve;

/// Members that are shown of a group, in the order of their ids; their number is told in any case.
const MEMBERS_MAX: usize = 500;

/// Topics and partitions that are read of the assignments of a group, all members together. A leader may assign
/// what it likes, a partition a million times and one that does not exist, up to the size of a request.
const ASSIGNED_MAX: usize = 10_000;

/// Partitions that a group can have in its list: those with a lag and those that are assigned.
const PARTITIONS_MAX: usize = LAGS_MAX + ASSIGNED_MAX;

/// Characters that are shown of the names that members give themselves, which may have 32,767 bytes.
const NAME_CHARS_MAX: usize = 300;

#[derive(Debug, Serialize)]
struct Group {
    now_ms: i64,
    group: String,
    state: &'static str,
    protocol_type: String,
    protocol: String,
    members_total: usize,
    members: Vec<Member>,
    /// There is more in the assignments than is read of them.
    assignments_are_cut: bool,
    total: Sum,
    partitions: Page<PartitionOf>,
    history: Option<History>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    client_host: String,
    /// Null when it is no consumer, whose assignment only its kind can read, and when too much was assigned
    /// to others.
    assignment: Option<Vec<Assigned>>,
}

/// A partition that the group has committed for or is assigned.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct PartitionOf {
    topic: String,
    partition: i32,
    /// Id of the member that is assigned it.
    member: Option<String>,
    client_id: Option<String>,
    /// Null when nothing is committed, and then there is no lag either; Kafka's tools print "-".
    committed: Option<i64>,
    log_start_offset: Option<i64>,
    end_offset: Option<i64>,
    lag_records: Option<i64>,
    lag_ms: Option<i64>,
}

#[derive(Debug, Serialize)]
struct History {
    step_ms: i64,
    /// Time, records, and age of the oldest record, of each step.
    points: Vec<(i64, i64, Option<i64>)>,
}

pub async fn answer(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let query = match Query::parse(query.as_deref()) {
        Ok(query) => query,
        Err(refused) => return json::<()>(Err(refused)),
    };
    json(describe(&admin.node, &query).await)
}

async fn describe(node: &Node, query: &Query) -> Result<Group, Refused> {
    let id: Arc<str> = query.name()?.into();
    let described = node.groups.read(&id, |groups| groups.describe(&id, true)).await;
    let described = described.map_err(Refused::by_coordinator)?;
    if described.error != ErrorCode::None {
        return Err(Refused::not_found("group"));
    }
    let current = node.lags.current();
    Ok(group(described, current.of_group(&id), node.lags.curve(&id), query))
}

fn group(described: reply::Described, lags: &[Lag], curve: Option<Curve>, query: &Query) -> Group {
    let mut room = ASSIGNED_MAX;
    let mut assignments = Vec::new();
    for member in &described.members {
        // Without room nobody can say of the rest what it is.
        assignments.push(if room > 0 { assignment::read(&member.assignment, &mut room) } else { None });
    }
    let rows = rows(&described.members, &assignments, lags).into_iter();
    let after = query.after.clone().unwrap_or_default();
    let page = query.page(
        rows,
        |((topic, partition), _)| key(topic, *partition) > after,
        |((topic, partition), _)| key(topic, *partition),
    );
    let partitions = page.map(|((topic, partition), row)| row.told(topic, partition));
    let shown = described.members.iter().zip(assignments.iter().cloned()).take(MEMBERS_MAX);
    Group {
        now_ms: now_ms(),
        group: described.group.to_string(),
        state: described.state,
        protocol_type: name(&described.protocol_type),
        protocol: name(&described.protocol),
        members_total: described.members.len(),
        members: shown.map(|(member, assignment)| told(member, assignment)).collect(),
        assignments_are_cut: room == 0,
        total: Sum::of(lags),
        partitions,
        history: curve.map(|curve| History {
            step_ms: curve.step_ms,
            points: curve.points.iter().map(|point| (point.at_ms, point.records, point.age_ms)).collect(),
        }),
    }
}

/// A name of a partition whose order is that of the list. No topic's name has a colon or a control character.
fn key(topic: &str, partition: i32) -> String {
    format!("{topic}\u{1}{partition:010}")
}

/// A name that a client chose, as far as it is shown.
pub(super) fn name(text: &str) -> String {
    match text.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn told(member: &DescribedMember, assignment: Option<Vec<Assigned>>) -> Member {
    Member {
        id: name(&member.id),
        instance_id: member.instance_id.as_deref().map(name),
        client_id: name(&member.client_id),
        client_host: name(&member.client_host),
        assignment,
    }
}

/// What there is to say of a partition.
#[derive(Clone, Copy, Default)]
struct Row<'a> {
    lag: Option<&'a Lag>,
    member: Option<&'a DescribedMember>,
}

fn rows<'a>(
    members: &'a [DescribedMember],
    assignments: &'a [Option<Vec<Assigned>>],
    lags: &'a [Lag],
) -> BTreeMap<(&'a str, i32), Row<'a>> {
    let with_lag =
        |lag: &'a Lag| ((&*lag.commit.topic, lag.commit.partition), Row { lag: Some(lag), member: None });
    let mut rows: BTreeMap<_, _> = lags.iter().map(with_lag).collect();
    for (member, assignment) in members.iter().zip(assignments) {
        for assigned in assignment.iter().flatten() {
            for partition in &assigned.partitions {
                rows.entry((&*assigned.topic, *partition)).or_default().member = Some(member);
            }
        }
    }
    debug_assert!(rows.len() <= PARTITIONS_MAX, "{} <= {PARTITIONS_MAX}", rows.len());
    rows
}

impl Row<'_> {
    fn told(self, topic: &str, partition: i32) -> PartitionOf {
        PartitionOf {
            topic: topic.to_owned(),
            partition,
            member: self.member.map(|member| name(&member.id)),
            client_id: self.member.map(|member| name(&member.client_id)),
            committed: self.lag.map(|lag| lag.commit.offset),
            log_start_offset: self.lag.map(|lag| lag.ends.log_start_offset),
            end_offset: self.lag.map(|lag| lag.ends.end_offset),
            lag_records: self.lag.map(|lag| lag.records),
            lag_ms: self.lag.and_then(|lag| lag.age_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::page::LIMIT_MAX;
    use super::*;

    /// Topics with the most that a name can have, each assigned a partition twice, a million partitions at once,
    /// and one that does not exist.
    fn hostile_assignment() -> Bytes {
        let mut bytes = vec![0, 0];
        bytes.extend(i32::MAX.to_be_bytes());
        for topic in 0..3_000 {
            bytes.extend(249_i16.to_be_bytes());
            bytes.extend(format!("{topic:0249}").as_bytes());
            bytes.extend(2_i32.to_be_bytes());
            bytes.extend([0; 8]);
        }
        bytes.extend([0, 1, b't']);
        bytes.extend(1_000_000_i32.to_be_bytes());
        bytes.extend((-1_000_000..0_i32).flat_map(i32::to_be_bytes));
        bytes.into()
    }

    #[test]
    fn answer_is_bounded_whatever_members_bring() {
        let assignment = hostile_assignment();
        let long: std::sync::Arc<str> = "\u{1}é".repeat(10_000).into();
        let member = |place| reply::DescribedMember {
            id: format!("{place:05}{long}").into(),
            instance_id: Some(long.clone()),
            client_id: long.clone(),
            client_host: long.clone(),
            metadata: Bytes::new(),
            assignment: assignment.clone(),
        };
        let described = reply::Described {
            group: "g".into(),
            error: ErrorCode::None,
            message: None,
            state: "Stable",
            protocol_type: long.clone(),
            protocol: long.clone(),
            members: (0..2_000).map(member).collect(),
        };
        let query = Query { limit: LIMIT_MAX, ..Query::default() };
        let group = group(described, &[], None, &query);
        assert_eq!((group.members_total, group.members.len()), (2_000, MEMBERS_MAX));
        let assigned = group.members.iter().filter_map(|member| member.assignment.as_ref()).flatten();
        let (topics, partitions) = assigned
            .fold((0, 0), |(topics, partitions), one| (topics + 1, partitions + one.partitions.len()));
        assert_eq!((topics + partitions, group.assignments_are_cut), (ASSIGNED_MAX, true));
        assert!(group.partitions.total <= PARTITIONS_MAX && group.partitions.items.len() == LIMIT_MAX);
        let json = serde_json::to_string(&group).expect("it can be written");
        // Names of 300 characters, half of which take six bytes each, and 3,001 topics.
        assert!(json.len() < 6 << 20, "{}", json.len());
    }
}
