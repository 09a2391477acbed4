//! `/api/v1/group?name=…`: one group, its members, its lag by partition and over the last hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use milena_protocol::ErrorCode;
use milena_state::group::reply;
use milena_state::lag::Lag;
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

#[derive(Debug, Serialize)]
struct Group {
    now_ms: i64,
    group: String,
    state: &'static str,
    protocol_type: String,
    protocol: String,
    members_total: usize,
    members: Vec<Member>,
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
    /// Null when it is no consumer, whose assignment only its kind can read.
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
    let members: Vec<Member> = described.members.iter().map(member).collect();
    let partitions = partitions(&members, lags).into_iter();
    let after = query.after.clone().unwrap_or_default();
    let partitions = partitions.map(|one| (key(&one.topic, one.partition), one));
    let page = query.page(partitions, |(key, _)| *key > after, |(key, _)| key.clone());
    Group {
        now_ms: now_ms(),
        group: described.group.to_string(),
        state: described.state,
        protocol_type: described.protocol_type.to_string(),
        protocol: described.protocol.to_string(),
        members_total: members.len(),
        members: members.into_iter().take(MEMBERS_MAX).collect(),
        total: Sum::of(lags),
        partitions: page.map(|(_, one)| one),
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

fn member(member: &reply::DescribedMember) -> Member {
    Member {
        id: member.id.to_string(),
        instance_id: member.instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        assignment: assignment::read(&member.assignment),
    }
}

fn partitions(members: &[Member], lags: &[Lag]) -> Vec<PartitionOf> {
    let mut found = BTreeMap::new();
    for lag in lags {
        let one = PartitionOf {
            topic: lag.commit.topic.to_string(),
            partition: lag.commit.partition,
            member: None,
            client_id: None,
            committed: Some(lag.commit.offset),
            log_start_offset: Some(lag.ends.log_start_offset),
            end_offset: Some(lag.ends.end_offset),
            lag_records: Some(lag.records),
            lag_ms: lag.age_ms,
        };
        found.insert((one.topic.clone(), one.partition), one);
    }
    for member in members {
        for assigned in member.assignment.iter().flatten() {
            for partition in &assigned.partitions {
                let one = found.entry((assigned.topic.clone(), *partition));
                let one = one.or_insert_with(|| uncommitted(&assigned.topic, *partition));
                one.member = Some(member.id.clone());
                one.client_id = Some(member.client_id.clone());
            }
        }
    }
    found.into_values().collect()
}

fn uncommitted(topic: &str, partition: i32) -> PartitionOf {
    PartitionOf {
        topic: topic.to_owned(),
        partition,
        member: None,
        client_id: None,
        committed: None,
        log_start_offset: None,
        end_offset: None,
        lag_records: None,
        lag_ms: None,
    }
}
