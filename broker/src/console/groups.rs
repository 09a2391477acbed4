//! `/api/v1/groups`: the groups in the order of their names, a page at a time, each with its lag.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::future::join_all;
use milena_state::group;
use milena_state::group::reply::Summary;
use milena_state::lag::Lag;
use serde::Serialize;

use super::answer::json;
use super::group::name;
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
    let matching = |groups: &group::Groups| {
        groups.group_ids().filter(|id| query.matches(id)).cloned().collect::<Vec<_>>()
    };
    let (found, is_loading) = node.groups.read_all(matching).await;
    let mut ids: Vec<Arc<str>> = found.into_iter().flatten().collect();
    ids.sort_unstable();
    let after = query.after.as_deref().unwrap_or_default();
    let page = query.page(ids.into_iter(), |id| &**id > after, |id| id.to_string());
    let summaries = join_all(page.items.iter().map(|id| summary(node, id))).await;
    let lags = node.lags.current();
    let mut summaries = summaries.into_iter();
    let listed = |id: Arc<str>| listed(&id, summaries.next().flatten(), lags.of_group(&id));
    Groups { now_ms: now_ms(), is_loading, lags_left_out: lags.left_out, page: page.map(listed) }
}

/// None when nobody coordinates the group any more.
async fn summary(node: &Node, id: &str) -> Option<Summary> {
    node.groups.read(id, |groups| groups.summary(id)).await.ok().flatten()
}

/// A group that went away between the two looks is Dead.
fn listed(id: &str, summary: Option<Summary>, lags: &[Lag]) -> Listed {
    let text = |of: fn(&Summary) -> &Arc<str>| summary.as_ref().map(|one| name(of(one))).unwrap_or_default();
    Listed {
        group: id.to_owned(),
        state: summary.as_ref().map_or(group::State::Dead.name(), |summary| summary.state),
        protocol_type: text(|summary| &summary.protocol_type),
        protocol: text(|summary| &summary.protocol),
        members: summary.as_ref().map_or(0, |summary| summary.members_count),
        lag: Sum::of(lags),
    }
}
