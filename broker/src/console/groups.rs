//! `/api/v1/groups`: the groups in the order of their names, a page at a time, each with its lag.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use milena_protocol::ErrorCode;
use milena_state::group::reply;
use milena_state::lag::Lag;
use serde::Serialize;

use super::answer::json;
use super::page::{Page, Query};
use crate::admin::Admin;
use crate::broker::{Node, now_ms};

#[derive(Serialize)]
struct Groups {
    now_ms: i64,
    /// A coordinator is still reading its groups: some may be missing.
    is_loading: bool,
    /// Lags that are not kept because there are too many.
    lags_left_out: usize,
    #[serde(flatten)]
    page: Page<Listed>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Listed {
    group: String,
    state: &'static str,
    protocol_type: String,
    protocol: String,
    members: usize,
    #[serde(flatten)]
    lag: Sum,
}

/// Of all partitions for which the group has committed.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub struct Sum {
    pub partitions: usize,
    /// Null when nothing is committed: no lag is known then, not 0.
    pub lag_records: Option<i64>,
    /// Age of the oldest record that is not consumed.
    pub lag_ms: Option<i64>,
}

impl Sum {
    pub fn of(lags: &[Lag]) -> Self {
        let records = lags.iter().fold(0i64, |sum, lag| sum.saturating_add(lag.records));
        Self {
            partitions: lags.len(),
            lag_records: (!lags.is_empty()).then_some(records),
            lag_ms: lags.iter().filter_map(|lag| lag.age_ms).max(),
        }
    }
}

pub async fn answer(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let query = match Query::parse(query.as_deref()) {
        Ok(query) => query,
        Err(refused) => return json::<()>(Err(refused)),
    };
    json(Ok(list(&admin.node, &query).await))
}

async fn list(node: &Node, query: &Query) -> Groups {
    let matching = |groups: &milena_state::group::Groups| {
        groups.group_ids().filter(|id| query.matches(id)).cloned().collect::<Vec<_>>()
    };
    let (found, is_loading) = node.groups.read_all(matching).await;
    let mut ids: Vec<Arc<str>> = found.into_iter().flatten().collect();
    ids.sort_unstable();
    let after = query.after.as_deref().unwrap_or_default();
    let page = query.page(ids.into_iter(), |id| &**id > after, |id| id.to_string());
    let mut described = describe(node, &page.items).await;
    let lags = node.lags.current();
    let listed = |id: Arc<str>| listed(&id, described.remove(&id), lags.of_group(&id));
    Groups { now_ms: now_ms(), is_loading, lags_left_out: lags.left_out, page: page.map(listed) }
}

/// The groups of a page, each found at one of the coordinators.
async fn describe(node: &Node, ids: &[Arc<str>]) -> BTreeMap<Arc<str>, reply::Described> {
    let here = |groups: &milena_state::group::Groups| {
        let described = ids.iter().map(|id| groups.describe(id, true));
        described.filter(|described| described.error == ErrorCode::None).collect::<Vec<_>>()
    };
    let (found, _) = node.groups.read_all(here).await;
    found.into_iter().flatten().map(|described| (described.group.clone(), described)).collect()
}

/// A group that went away between the two looks is Dead.
fn listed(id: &str, described: Option<reply::Described>, lags: &[Lag]) -> Listed {
    let text = |of: fn(&reply::Described) -> &Arc<str>| {
        described.as_ref().map(|described| of(described).to_string()).unwrap_or_default()
    };
    Listed {
        group: id.to_owned(),
        state: described
            .as_ref()
            .map_or(milena_state::group::State::Dead.name(), |described| described.state),
        protocol_type: text(|described| &described.protocol_type),
        protocol: text(|described| &described.protocol),
        members: described.as_ref().map_or(0, |described| described.members.len()),
        lag: Sum::of(lags),
    }
}
