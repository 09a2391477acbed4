//! A snapshot that the leader sends because the log no longer reaches back so far.
//!
//! It comes in chunks, in order, into a file of its own; only when all of it is there is it checked and installed. One
//! comes at a time: a chunk that does not continue what is there makes the sender begin anew.

use std::sync::Arc;

use milena_log::files::{self, File};
use milena_protocol::ErrorCode;
use milena_protocol::messages::{RaftSnapshotRequest, RaftSnapshotResponse};
use openraft::storage::Snapshot;

use super::quorum::Quorum;
use super::serve::Refused;
use super::snapshot::{SIZE_MAX, SnapshotFile};
use super::state_machine::blocking;
use super::types::{LogId, Vote};
use super::wire::{WireLogId, WireVote};

/// What has come so far.
#[derive(Debug)]
pub struct Incoming {
    vote: Vote,
    last: Option<LogId>,
    size: u64,
    file: Arc<dyn File>,
    position: u64,
}

impl Quorum {
    /// RaftSnapshot: one chunk of a snapshot.
    pub async fn receive_snapshot(&self, request: &RaftSnapshotRequest<'_>) -> RaftSnapshotResponse<'static> {
        match self.receive_chunk(request).await {
            Ok(vote) => RaftSnapshotResponse { vote: WireVote::of(&vote), ..Default::default() },
            Err(Refused { code, message }) => RaftSnapshotResponse {
                error_code: code.into(),
                error_message: Some(message.into()),
                ..Default::default()
            },
        }
    }

    async fn receive_chunk(&self, request: &RaftSnapshotRequest<'_>) -> Result<Vote, Refused> {
        self.addressed(&request.cluster_id, request.voter_id, request.voter_directory_id)?;
        let vote = request.vote.vote();
        // A leader that was replaced may stop sending; openraft decides by the vote once more before it installs.
        let own = self.own_vote();
        if own > vote {
            return Ok(own);
        }
        let invalid = |message: String| Refused { code: ErrorCode::InvalidRequest, message };
        let (size, position) = (request.size.unsigned_abs(), request.position.unsigned_abs());
        if request.size < 0 || request.position < 0 || size > SIZE_MAX {
            return Err(invalid(format!("a snapshot of {} bytes at {}", request.size, request.position)));
        }
        let mut incoming = self.incoming().lock().await;
        let target = self.snapshots().incoming();
        if position == 0 {
            let target = target.clone();
            let file = blocking(move || target.files.create(&target.path)).await.map_err(storage)?;
            *incoming = Some(Incoming { vote, last: request.last.log_id(), size, file, position: 0 });
        }
        let mut snapshot = incoming.take().ok_or_else(|| invalid("no snapshot was begun".to_owned()))?;
        let continues = snapshot.vote == vote
            && snapshot.last == request.last.log_id()
            && snapshot.size == size
            && snapshot.position == position;
        let end = position + request.chunk.len() as u64;
        if !continues || end > size {
            return Err(invalid(format!("a chunk at {position} does not continue the snapshot")));
        }
        let (file, chunk) = (Arc::clone(&snapshot.file), request.chunk.to_vec());
        blocking(move || files::write_all_at(&*file, &chunk, position)).await.map_err(storage)?;
        snapshot.position = end;
        if end < size {
            *incoming = Some(snapshot);
            return Ok(vote);
        }
        self.install(snapshot, target).await
    }

    async fn install(&self, snapshot: Incoming, file: SnapshotFile) -> Result<Vote, Refused> {
        let checked = file.clone();
        let contents = blocking(move || checked.read()).await.map_err(storage)?;
        if contents.meta.last_log_id != snapshot.last {
            let message =
                format!("the snapshot ends at {:?}, not {:?}", contents.meta.last_log_id, snapshot.last);
            return Err(Refused { code: ErrorCode::InvalidRequest, message });
        }
        let complete = Snapshot { meta: contents.meta, snapshot: file.clone() };
        let installed = self.raft.install_full_snapshot(snapshot.vote, complete).await;
        let installed = installed.map_err(|error| Refused::stopped(&error))?;
        let removed = blocking(move || file.files.remove_file(&file.path)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "received metadata snapshot could not be removed after it was installed");
        }
        Ok(installed.vote)
    }
}

fn storage(error: std::io::Error) -> Refused {
    Refused { code: ErrorCode::KafkaStorageError, message: error.to_string() }
}
