//! Following a leader: appending what it sends as it is, cutting what it does not have, and knowing what is committed.
//!
//! Everything names the leader epoch under which it was fetched. When the image has moved on meanwhile, nothing is done:
//! the log may belong to another leader, or be led here.

use milena_log::{AppendAs, AppendError, Log};
use milena_protocol::records::Batches;
use milena_state::partition::fetch_plan::Position;
use milena_state::partition::follower::{self, DivergingEpoch, EpochStart, Restart, Truncation, truncation};

use super::partition::{Inner, Outcome, Partition};
use super::progress::Marks;
use super::role::{Following, Role};

/// What a leader's answer brings of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'a> {
    /// The epoch that was followed when it was asked for.
    pub leader_epoch: i32,
    /// Batches, of which the last may be cut.
    pub records: &'a [u8],
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// Where a replica stands after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub position: Position,
    /// The position counts when the log is synced: [`Partition::request_sync`] first, then ask for it again.
    pub is_unsynced: bool,
}

/// Why a leader's answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The partition is led here, follows under another epoch, or is gone: its new state has been, or will be, said.
    #[error("the partition is not followed under that leader epoch any more")]
    Over,
    /// What came is not what would come next, or could not be written for want of descriptors. It is fetched again.
    #[error("what the leader sent was not taken: {0}")]
    Unfit(String),
    /// Logged where it happened.
    #[error("the log cannot be used")]
    Storage,
}

impl Partition {
    /// Where this replica stands, as a follower under `leader_epoch`.
    pub(crate) fn standing(&self, leader_epoch: i32) -> Result<Standing, FollowError> {
        let is_durable = self.is_durable();
        let mut inner = self.lock();
        let (log, following) = inner.following(leader_epoch)?;
        Ok(standing(log, *following, is_durable))
    }

    /// Takes an answer over: its records, and what it says about the ends of the leader's log.
    pub(crate) fn replicate(&self, brought: Brought<'_>, now_ms: i64) -> Result<Standing, FollowError> {
        let records = whole_batches(brought)?;
        let (is_durable, flush_messages) = (self.is_durable(), self.flush_messages());
        let mut inner = self.lock();
        let (log, _) = inner.following(brought.leader_epoch)?;
        if !records.is_empty() {
            let before = log.log_end_offset();
            log.append(records, AppendAs::Replica, now_ms).map_err(|error| self.unfit(error))?;
            let count = log.log_end_offset() - before;
            let synced = inner.force_sync(count, flush_messages, now_ms);
            synced.map_err(|error| self.lost(&error))?;
        }
        let (log, following) = inner.following(brought.leader_epoch)?;
        let high_watermark =
            follower::high_watermark(following.high_watermark, log.log_end_offset(), brought.high_watermark);
        if high_watermark > following.high_watermark {
            following.high_watermark = high_watermark;
            log.high_watermark_reached(high_watermark);
        }
        // What the leader deleted is deleted here too, but never what is not known to be committed.
        log.set_log_start_offset(brought.log_start_offset.min(high_watermark));
        let (standing, log_start_offset) = (standing(log, *following, is_durable), log.log_start_offset());
        let outcome = inner.shown();
        drop(inner);
        self.set_log_start(log_start_offset);
        self.tell(outcome);
        Ok(standing)
    }

    /// Cuts what the leader, whose log begins at `leader_log_start`, does not have.
    pub(crate) fn cut(
        &self,
        leader_epoch: i32,
        diverging: DivergingEpoch,
        leader_log_start: i64,
    ) -> Result<Standing, FollowError> {
        self.rewind(leader_epoch, |log| {
            let history: Vec<EpochStart> = log.epochs().iter().map(epoch_start).collect();
            match truncation(&history, log.log_start_offset(), log.log_end_offset(), diverging) {
                Truncation::To(offset) | Truncation::ToAndAskAgain(offset) => Restart::CutTo(offset),
                Truncation::Fully => Restart::BeginAt(leader_log_start.max(0)),
            }
        })
    }

    /// Goes on from where the leader can serve: `leader` is the start and the end of its log.
    pub(crate) fn restart(&self, leader_epoch: i32, leader: (i64, i64)) -> Result<Standing, FollowError> {
        self.rewind(leader_epoch, |log| {
            follower::out_of_range((log.log_start_offset(), log.log_end_offset()), leader)
        })
    }

    fn rewind(
        &self,
        leader_epoch: i32,
        decide: impl FnOnce(&Log) -> Restart,
    ) -> Result<Standing, FollowError> {
        let is_durable = self.is_durable();
        let mut inner = self.lock();
        let (log, following) = inner.following(leader_epoch)?;
        let before = log.log_end_offset();
        let outcome = match decide(log) {
            Restart::CutTo(offset) => log.truncate_to(offset),
            Restart::BeginAt(offset) => {
                tracing::info!(topic = %self.topic(), partition = self.index(), offset, "replica begins anew");
                log.truncate_fully_and_start_at(offset)
            }
        };
        outcome.map_err(|error| self.lost(&error))?;
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        // What is below its start counts as committed, or the replica could not serve from there.
        following.high_watermark = following.high_watermark.clamp(start, end);
        let standing = standing(log, *following, is_durable);
        self.reset_log_start(start);
        if end != before {
            self.begin_term(&mut inner);
        }
        Ok(standing)
    }

    fn unfit(&self, error: AppendError) -> FollowError {
        match error {
            AppendError::Storage(error) => self.lost(&error),
            error => FollowError::Unfit(error.to_string()),
        }
    }

    fn lost(&self, error: &milena_log::Error) -> FollowError {
        if error.is_retriable() {
            return FollowError::Unfit(error.to_string());
        }
        self.storage_failed(error);
        FollowError::Storage
    }
}

impl Inner {
    /// The log and what is known as a follower under `leader_epoch`.
    fn following(&mut self, leader_epoch: i32) -> Result<(&mut Log, &mut Following), FollowError> {
        match (&mut self.log, &mut self.role) {
            (Some(log), Role::Follower(following)) if following.leader_epoch == leader_epoch => {
                Ok((log, following))
            }
            _ => Err(FollowError::Over),
        }
    }

    /// The numbers as they are now.
    pub fn shown(&self) -> Option<Outcome> {
        let log = self.log.as_ref()?;
        let marks = Marks::of(self.term, log, self.role.high_watermark());
        Some(Outcome { marks, proposal: None })
    }
}

/// In durable mode only synced records are told to the leader, and records that are here are not fetched again.
fn standing(log: &Log, following: Following, is_durable: bool) -> Standing {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let last_epoch = (end > start).then(|| log.epoch_at(end - 1)).flatten();
    Standing {
        position: Position {
            leader_epoch: following.leader_epoch,
            fetch_offset: end,
            last_fetched_epoch: last_epoch.unwrap_or(-1),
            log_start_offset: start,
            high_watermark: following.high_watermark,
        },
        is_unsynced: is_durable && log.durable_offset() < end,
    }
}

fn epoch_start(entry: &milena_log::leader_epochs::EpochStart) -> EpochStart {
    EpochStart { epoch: entry.epoch, start_offset: entry.start_offset }
}

/// The batches that came whole. A batch of a later epoch than that of the leader who sent it is from nobody.
fn whole_batches(brought: Brought<'_>) -> Result<&[u8], FollowError> {
    let mut batches = Batches::maybe_truncated(brought.records);
    for batch in batches.by_ref() {
        let batch = batch.map_err(|error| FollowError::Unfit(error.to_string()))?;
        if batch.leader_epoch > brought.leader_epoch {
            let (epoch, leader) = (batch.leader_epoch, brought.leader_epoch);
            return Err(FollowError::Unfit(format!("leader epoch {epoch} in an answer of epoch {leader}")));
        }
    }
    Ok(&brought.records[..brought.records.len() - batches.rest().len()])
}

#[cfg(test)]
#[path = "follower_test.rs"]
mod tests;
