//! `/api/v1/quorum`: who votes on the metadata log, and how far each is.
//!
//! Only the leader knows how far the others are, so every other node asks it, as it does for DescribeQuorum. While nobody
//! answers it shows what it knows itself: who votes, if it votes too, and nothing about how far they are.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;

use super::answer::json;
use crate::admin::Admin;
use crate::broker::{Node, now_ms};
use crate::controller::raft::quorum::Quorum as Member;
use crate::controller::remote::quorum::{Described, Replica};

/// How long the leader is waited for; the page asks again every two seconds.
const LEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// Offsets are those after the last entry, as DescribeQuorum tells them.
#[derive(Debug, PartialEq, Serialize)]
struct Quorum {
    leader_id: Option<i32>,
    leader_epoch: u64,
    high_watermark: i64,
    log_end_offset: i64,
    /// Of this node; none when it is no controller.
    snapshot_end_offset: Option<i64>,
    /// Whether the member of this node runs.
    is_running: bool,
    /// Whether the leader said so. It is not known how far the others are otherwise.
    is_told_by_leader: bool,
    voters: Vec<Voter>,
    observers: Vec<Observer>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Voter {
    node_id: i32,
    directory_id: String,
    is_leader: bool,
    log_end_offset: Option<i64>,
    /// Entries of the leader that it does not have.
    lag: Option<i64>,
}

/// A broker that follows the committed log: this one, and those that do not vote.
#[derive(Debug, PartialEq, Serialize)]
struct Observer {
    node_id: i32,
    published_offset: i64,
    /// Committed entries that it does not serve yet.
    lag: i64,
}

pub async fn answer(State(admin): State<Admin>) -> Response {
    let node = &admin.node;
    let described = match node.quorum.as_ref().filter(|quorum| quorum.leadership().is_some()) {
        Some(member) => Some(described(member)),
        None => ask_leader(node).await,
    };
    let mut quorum = match described {
        Some(described) => of_leader(&described),
        None => of_ourselves(node),
    };
    if let Some(member) = &node.quorum {
        quorum.snapshot_end_offset = member.progress().snapshot_end_offset;
        quorum.is_running = member.stopped().is_none();
    }
    if node.settings.quorum.roles.broker {
        // What it serves is known here first.
        quorum.publishes(node.settings.node_id, node.metadata.published_index() + 1);
    }
    json(Ok(quorum))
}

async fn ask_leader(node: &Node) -> Option<Described> {
    let remote = node.controller.remote()?;
    let deadline = Instant::now() + LEADER_TIMEOUT;
    tokio::time::timeout_at(deadline, remote.describe_quorum(deadline)).await.ok()?.ok()
}

/// What the leader says of itself and the others.
fn described(member: &Member) -> Described {
    let progress = member.progress();
    let voters = member.voter_progress().into_iter().map(|known| Replica {
        id: known.voter.id,
        directory: known.voter.directory,
        log_end_offset: known.log_end_offset,
    });
    let observers = member.observers().list(now_ms()).into_iter().map(|known| Replica {
        id: known.id,
        directory: known.directory,
        log_end_offset: known.log_end_offset,
    });
    Described {
        leader_id: progress.voter.id,
        leader_epoch: i32::try_from(progress.term).unwrap_or(i32::MAX),
        high_watermark: progress.high_watermark,
        voters: voters.collect(),
        observers: observers.collect(),
    }
}

fn of_leader(told: &Described) -> Quorum {
    let leader = told.voters.iter().find(|voter| voter.id == told.leader_id);
    // One that was removed from the voters leads until that is committed.
    let log_end_offset = leader.map_or(told.high_watermark, |leader| leader.log_end_offset);
    let voters = told.voters.iter().map(|voter| Voter {
        node_id: voter.id,
        directory_id: voter.directory.to_string(),
        is_leader: voter.id == told.leader_id,
        log_end_offset: Some(voter.log_end_offset),
        lag: Some((log_end_offset - voter.log_end_offset).max(0)),
    });
    // A broker that came back with another directory is known twice for a while.
    let observers: BTreeMap<i32, i64> =
        told.observers.iter().map(|observer| (observer.id, observer.log_end_offset)).collect();
    let observer = |(node_id, published_offset): (i32, i64)| Observer {
        node_id,
        published_offset,
        lag: (told.high_watermark - published_offset).max(0),
    };
    Quorum {
        leader_id: Some(told.leader_id),
        leader_epoch: u64::try_from(told.leader_epoch).unwrap_or(0),
        high_watermark: told.high_watermark,
        log_end_offset,
        snapshot_end_offset: None,
        is_running: true,
        is_told_by_leader: true,
        voters: voters.collect(),
        observers: observers.into_iter().map(observer).collect(),
    }
}

fn of_ourselves(node: &Node) -> Quorum {
    let published_offset = node.metadata.published_index() + 1;
    let Some(member) = &node.quorum else {
        return Quorum {
            leader_id: node.controller.remote().and_then(|remote| remote.leader()).map(|leader| leader.id),
            leader_epoch: 0,
            high_watermark: published_offset,
            log_end_offset: published_offset,
            snapshot_end_offset: None,
            is_running: true,
            is_told_by_leader: false,
            voters: Vec::new(),
            observers: Vec::new(),
        };
    };
    let progress = member.progress();
    let voters = member.voters().into_iter().map(|(voter, _)| Voter {
        node_id: voter.id,
        directory_id: voter.directory.to_string(),
        is_leader: progress.leader == Some(voter.id),
        log_end_offset: (voter == member.voter()).then_some(progress.log_end_offset),
        lag: None,
    });
    Quorum {
        leader_id: progress.leader,
        leader_epoch: progress.term,
        high_watermark: progress.high_watermark,
        log_end_offset: progress.log_end_offset,
        snapshot_end_offset: None,
        is_running: true,
        is_told_by_leader: false,
        voters: voters.collect(),
        observers: Vec::new(),
    }
}

impl Quorum {
    fn publishes(&mut self, node_id: i32, published_offset: i64) {
        let lag = (self.high_watermark - published_offset).max(0);
        self.observers.retain(|observer| observer.node_id != node_id);
        self.observers.push(Observer { node_id, published_offset, lag });
        self.observers.sort_by_key(|observer| observer.node_id);
    }
}
