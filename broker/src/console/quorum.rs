//! `/api/v1/quorum`: who votes on the metadata log, and how far each is.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::answer::json;
use crate::admin::Admin;
use crate::controller::raft::quorum::Progress;

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
    // A broker that is no controller sees the quorum from outside: who leads, and what it has followed.
    let member = node.quorum.as_ref();
    let published_offset = node.metadata.published_index() + 1;
    let progress = match member {
        Some(quorum) => quorum.progress(),
        None => Progress {
            leader: node.controller.remote().and_then(|remote| remote.leader()).map(|leader| leader.id),
            high_watermark: published_offset,
            log_end_offset: published_offset,
            ..Progress::default()
        },
    };
    let voters = member.map(|quorum| quorum.voter_progress()).unwrap_or_default();
    let voters = voters.into_iter().map(|known| Voter {
        node_id: known.voter.id,
        directory_id: milena_protocol::types::Uuid::from_u128(known.voter.directory.as_u128()).to_string(),
        is_leader: progress.leader == Some(known.voter.id),
        log_end_offset: known.log_end_offset,
        lag: (progress.log_end_offset - known.log_end_offset).max(0),
    });
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
        is_running: member.is_none_or(|quorum| quorum.stopped().is_none()),
        voters: voters.collect(),
        observers: vec![observer],
    }))
}
