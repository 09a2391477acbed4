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
    high_watermark: u64,
    log_end_offset: u64,
    snapshot_end_offset: Option<u64>,
    is_running: bool,
    voters: Vec<Voter>,
    observers: Vec<Observer>,
}

#[derive(Serialize)]
struct Voter {
    node_id: i32,
    directory_id: String,
    is_leader: bool,
    log_end_offset: u64,
    /// Entries of the leader that it does not have.
    lag: u64,
}

/// A broker that follows the committed log; this process knows its own alone.
#[derive(Serialize)]
struct Observer {
    node_id: i32,
    published_offset: u64,
    /// Committed entries that it does not serve yet.
    lag: u64,
}

pub async fn answer(State(admin): State<Admin>) -> Response {
    let node = &admin.node;
    let progress = node.quorum.progress();
    let next = |index: Option<u64>| index.map_or(0, |index| index.saturating_add(1));
    let high_watermark = next(progress.committed);
    // The figures of the committed and the last entry are taken one after the other.
    let log_end_offset = next(progress.last_log_index).max(high_watermark);
    let published_offset = next(u64::try_from(node.metadata.published_index()).ok());
    let own = Voter {
        node_id: progress.voter.id,
        directory_id: milena_protocol::types::Uuid::from_u128(progress.voter.directory.as_u128()).to_string(),
        is_leader: progress.leader == Some(progress.voter.id),
        log_end_offset,
        lag: 0,
    };
    let observer = Observer {
        node_id: node.settings.node_id,
        published_offset,
        lag: high_watermark.saturating_sub(published_offset),
    };
    json(Ok(Quorum {
        leader_id: progress.leader,
        leader_epoch: progress.term,
        high_watermark,
        log_end_offset,
        snapshot_end_offset: progress.snapshot.map(|index| index + 1),
        is_running: node.quorum.stopped().is_none(),
        voters: vec![own],
        observers: vec![observer],
    }))
}
