//! FetchMetadata (key 126), version 0: Milena's own, on the listeners of controllers.
//!
//! A broker that is no controller follows the committed metadata log from any controller. The answer has the entries
//! after the one where it stands, and waits for them for as long as the request allows; or, when the log does not reach
//! back so far, the first records of an image, which it then reads piece by piece. Every answer names the active
//! controller and all the others.
//!
//! NOT_CONTROLLER from one that has not heard of a live quorum lately: what it has may be long past, and another knows better.
//! INCONSISTENT_CLUSTER_ID for a broker of another cluster, SNAPSHOT_NOT_FOUND for an image that is not kept any more,
//! FENCED_LEADER_EPOCH for a broker that stands at an entry which was never committed.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_metadata_request::FetchMetadataRequest;
use milena_protocol::messages::fetch_metadata_response::{Controller, Entry, FetchMetadataResponse};
use milena_state::metadata::{Applied, Image};

use crate::controller::raft::quorum::Quorum;
use crate::metadata::served::{self, After, Piece};
use crate::server::{Reply, RequestContext, quiet};

/// Bytes of records in one answer, whatever is asked for.
const ANSWER_BYTES_MAX: i32 = 4 << 20;
/// The longest that an answer waits for something new.
const WAIT_MS_MAX: i32 = 30_000;

/// What an answer is made of.
enum Found {
    Entries(Vec<served::Served>),
    Piece(Arc<Image>, Piece),
}

pub async fn handle(cx: &RequestContext, request: FetchMetadataRequest<'_>) -> Reply {
    let Some(quorum) = cx.node.quorum.as_ref() else { return refuse(cx, ErrorCode::NotController) };
    if *request.cluster_id != *cx.node.cluster_id {
        let its_cluster = quiet::printable(&request.cluster_id);
        tracing::warn!(
            broker = request.broker_id,
            its_cluster,
            "a broker of another cluster asks for metadata"
        );
        return cx.reply(&FetchMetadataResponse {
            error_code: ErrorCode::InconsistentClusterId.into(),
            error_message: Some(format!("this is a controller of cluster {}", cx.node.cluster_id).into()),
            ..Default::default()
        });
    }
    // One that is cut off, was removed, or was not added yet, does not know what is committed.
    if !quorum.is_current() {
        return refuse(cx, ErrorCode::NotController);
    }
    let found = match request.snapshot_index >= 0 {
        true => continued(cx, &request).await,
        false => begun(cx, quorum, &request).await,
    };
    match found {
        // It may have been cut off while it waited.
        Ok(_) if !quorum.is_current() => refuse(cx, ErrorCode::NotController),
        Ok(found) => answer(cx, quorum, &found),
        Err(error) => refuse(cx, error),
    }
}

fn refuse(cx: &RequestContext, error: ErrorCode) -> Reply {
    cx.reply(&FetchMetadataResponse { error_code: error.into(), ..Default::default() })
}

async fn begun(
    cx: &RequestContext,
    quorum: &Quorum,
    request: &FetchMetadataRequest<'_>,
) -> Result<Found, ErrorCode> {
    let after = Applied { index: request.index, term: request.term };
    await_news(cx, quorum, after.index, request.max_wait_ms).await;
    let bytes_max = request.max_bytes.clamp(1, ANSWER_BYTES_MAX) as usize;
    let member = quorum.clone();
    let read = cx.node.background.spawn_blocking(move || served::entries(&member, after, bytes_max));
    match read.await {
        Ok(Ok(After::Entries(entries))) => Ok(Found::Entries(entries)),
        Ok(Ok(After::Purged)) => {
            let image = quorum.state().image;
            cx.node.images.keep(&image);
            piece(cx, image, 0).await
        }
        Ok(Ok(After::Diverged)) => {
            tracing::error!(
                broker = request.broker_id,
                ?after,
                "a broker stands at an entry that is not in the metadata log"
            );
            Err(ErrorCode::FencedLeaderEpoch)
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "metadata log cannot be read for a broker");
            Err(ErrorCode::KafkaStorageError)
        }
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}

/// Waits until something is committed after `index`, or somebody else leads.
async fn await_news(cx: &RequestContext, quorum: &Quorum, index: i64, max_wait_ms: i32) {
    let deadline = cx.deadline(max_wait_ms.min(WAIT_MS_MAX));
    let (mut state, mut leaders) = (quorum.subscribe(), quorum.leader_changes());
    leaders.mark_unchanged();
    tokio::select! {
        biased;
        _ = state.wait_for(|state| state.image.applied().index > index) => {}
        _ = leaders.changed() => {}
        () = tokio::time::sleep_until(deadline) => {}
    }
}

async fn continued(cx: &RequestContext, request: &FetchMetadataRequest<'_>) -> Result<Found, ErrorCode> {
    let image = cx.node.images.at(request.snapshot_index).ok_or(ErrorCode::SnapshotNotFound)?;
    let position = usize::try_from(request.snapshot_position).map_err(|_| ErrorCode::PositionOutOfRange)?;
    piece(cx, image, position).await
}

async fn piece(cx: &RequestContext, image: Arc<Image>, position: usize) -> Result<Found, ErrorCode> {
    let read = Arc::clone(&image);
    let piece = cx.node.background.spawn_blocking(move || served::piece(&read, position));
    Ok(Found::Piece(image, piece.await.map_err(|_| ErrorCode::UnknownServerError)?))
}

fn answer(cx: &RequestContext, quorum: &Quorum, found: &Found) -> Reply {
    let (leader, voters) = (quorum.leader(), quorum.voters());
    let (leader_id, host, port) = match &leader {
        Some(leader) => (leader.voter.id, leader.address.host.as_str(), leader.address.port),
        None => (-1, "", 0),
    };
    let controllers = voters.iter().map(|(voter, address)| Controller {
        id: voter.id,
        host: address.host.as_str().into(),
        port: address.port,
    });
    let mut response = FetchMetadataResponse {
        leader_id,
        leader_host: host.into(),
        leader_port: port,
        controllers: controllers.collect(),
        committed_index: cx.node.committed_index(),
        ..Default::default()
    };
    match found {
        Found::Entries(entries) => {
            response.entries = entries
                .iter()
                .map(|entry| Entry {
                    index: entry.applied.index,
                    term: entry.applied.term,
                    records: (&*entry.records).into(),
                })
                .collect();
        }
        Found::Piece(image, piece) => {
            response.snapshot_index = image.applied().index;
            response.snapshot_term = image.applied().term;
            response.snapshot_records = (&*piece.records).into();
            response.snapshot_next = piece.next.map_or(-1, |next| next as i64);
        }
    }
    cx.reply(&response)
}
