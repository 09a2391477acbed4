//! What handlers ask of group coordinators: each call with its own request and its own answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use milena_protocol::ErrorCode;
use milena_state::group::reply::{JoinReply, LeaveReply, Outcomes, Reply, SyncReply};
use milena_state::group::request::{Commit, DeleteOffsets, Heartbeat, Join, Leave, Sync, Token};
use milena_state::group::{Command, CommandReply, Event};

use super::Coordinators;

impl Coordinators {
    /// Answered when the rebalance is complete, as the other calls of members are when they need not wait any more.
    pub async fn join(&self, group: &str, join: impl FnOnce(Token) -> Join) -> Result<JoinReply, ErrorCode> {
        match self.event(group, |token| Event::Join(join(token))).await? {
            Reply::Join(joined) => Ok(joined),
            _ => Err(astray(group, "join")),
        }
    }

    pub async fn sync(&self, group: &str, sync: impl FnOnce(Token) -> Sync) -> Result<SyncReply, ErrorCode> {
        match self.event(group, |token| Event::Sync(sync(token))).await? {
            Reply::Sync(synced) => Ok(synced),
            _ => Err(astray(group, "sync")),
        }
    }

    /// The error that the member hears.
    pub async fn heartbeat(
        &self,
        group: &str,
        heartbeat: impl FnOnce(Token) -> Heartbeat,
    ) -> Result<ErrorCode, ErrorCode> {
        match self.event(group, |token| Event::Heartbeat(heartbeat(token))).await? {
            Reply::Heartbeat(error) => Ok(error),
            _ => Err(astray(group, "heartbeat")),
        }
    }

    pub async fn leave(
        &self,
        group: &str,
        leave: impl FnOnce(Token) -> Leave,
    ) -> Result<LeaveReply, ErrorCode> {
        match self.event(group, |token| Event::Leave(leave(token))).await? {
            Reply::Leave(left) => Ok(left),
            _ => Err(astray(group, "leave")),
        }
    }

    pub async fn commit(&self, commit: Commit) -> Result<Outcomes, ErrorCode> {
        let group = Arc::clone(&commit.group);
        match self.command(&group, Command::Commit(commit)).await? {
            CommandReply::Commit(outcomes) => outcomes,
            _ => Err(astray(&group, "commit")),
        }
    }

    pub async fn delete_offsets(&self, delete: DeleteOffsets) -> Result<Outcomes, ErrorCode> {
        let group = Arc::clone(&delete.group);
        match self.command(&group, Command::DeleteOffsets(delete)).await? {
            CommandReply::DeleteOffsets(outcomes) => outcomes,
            _ => Err(astray(&group, "deletion of offsets")),
        }
    }

    /// Deletes groups, those of one coordinator by one command. The outcome of each, in the order of `groups`.
    pub async fn delete_groups(&self, groups: &[Arc<str>]) -> Vec<ErrorCode> {
        let mut places: BTreeMap<Option<i32>, Vec<usize>> = BTreeMap::new();
        for (place, group) in groups.iter().enumerate() {
            places.entry(self.partition_of(group)).or_default().push(place);
        }
        let deleting = places.values().map(|places| {
            let of_one: Vec<_> = places.iter().map(|place| Arc::clone(&groups[*place])).collect();
            self.delete_together(of_one)
        });
        let deleted = join_all(deleting).await;
        let mut outcomes = vec![ErrorCode::None; groups.len()];
        for (place, outcome) in places.into_values().flatten().zip(deleted.into_iter().flatten()) {
            outcomes[place] = outcome;
        }
        outcomes
    }

    /// As [`delete_groups`](Self::delete_groups), of groups of the same coordinator.
    async fn delete_together(&self, groups: Vec<Arc<str>>) -> Vec<ErrorCode> {
        let (first, count) = (Arc::clone(&groups[0]), groups.len());
        let error = match self.command(&first, Command::DeleteGroups(groups)).await {
            Ok(CommandReply::DeleteGroups(outcomes)) => {
                return outcomes.into_iter().map(|(_, error)| error).collect();
            }
            Ok(_) => astray(&first, "deletion of groups"),
            Err(error) => error,
        };
        vec![error; count]
    }
}

/// The answer of one call came to another, which is a mistake of ours: the client hears UNKNOWN_SERVER_ERROR.
fn astray(group: &str, call: &'static str) -> ErrorCode {
    tracing::error!(?group, call, "coordinator gave the answer of another call");
    ErrorCode::UnknownServerError
}
