//! `/api/v1/quorum`: who votes on the metadata log, and how far each is.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::answer::json;
use crate::admin::Admin;

/// Offsets are those after the last entry, as DescribeQuorum tells them.
#[derive(Serialize)]
struct Quorum {
    leader_id: Option<i32>,
    leader_epoch: u64,
    high_watermark: i64,
    log_end_offset: i64,
    snapshot_end_offset: Option<i64>,
    is_running: bool,
    voters: Vec<Voter>,
    observers: Vec<Observer>,
}

#[derive(Serialize)]
struct Voter {
    node_id: i32,
    directory_id: String,
    is_leader: bool,
    log_end_offset: i64,
    /// Entries of the leader that it does not have.
    lag: i64,
}

/// A broker that follows the committed log; this process knows its own alone.
#[derive(Serialize)]
struct Observer {
    node_id: i32,
    published_offset: i64,
    /// Committed entries that it does not serve yet.
    lag: i64,
}

pub async fn answer(State(admin): State<Admin>) -> Response {
    let node = &admin.node;
    let progress = node.quorum.progress();
    let published_offset = node.metadata.published_index() + 1;
    let own = Voter {
        node_id: progress.voter.id,
        directory_id: milena_protocol::types::Uuid::from_u128(progress.voter.directory.as_u128()).to_string(),
        is_leader: progress.leader == Some(progress.voter.id),
        log_end_offset: progress.log_end_offset,
        lag: 0,
    };
    let observer = Observer {
        node_id: node.settings.node_id,
        published_offset,
        lag: (progress.high_watermark - published_offset).max(0),
    };
    json(Ok(Quorum {
        leader_id: progress.leader,
        leader_epoch: progress.term,
        high_watermark: progress.high_watermark,
        log_end_offset: progress.log_end_offset,
        snapshot_end_offset: progress.snapshot_end_offset,
        is_running: node.quorum.stopped().is_none(),
        voters: vec![own],
        observers: vec![observer],
    }))
}
