//! Following a leader: appending what it sends as it is, cutting what it does not have, and knowing what is committed.
//!
//! Everything names the leader epoch under which it was fetched. When the image has moved on meanwhile, nothing is done:
//! the log may belong to another leader, or be led here.

use milena_log::{AppendAs, AppendError, Log};
use milena_state::partition::fetch_plan::Position;
use milena_state::partition::follower::{self, DivergingEpoch, EpochStart, Follower, Restart};

use super::partition::{Inner, Outcome, Partition};
use super::progress::Marks;
use super::role::Role;

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
        let (log, follower) = inner.following(leader_epoch)?;
        Ok(standing(log, *follower, is_durable))
    }

    /// Takes an answer over: its records, and what it says about the ends of the leader's log.
    pub(crate) fn replicate(&self, brought: Brought<'_>, now_ms: i64) -> Result<Standing, FollowError> {
        let records = follower::whole_batches(brought.records, brought.leader_epoch)
            .map_err(|unfit| FollowError::Unfit(unfit.to_string()))?;
        let (is_durable, flush_messages) = (self.is_durable(), self.flush_messages());
        let mut inner = self.lock();
        let (log, follower) = inner.following(brought.leader_epoch)?;
        if !records.is_empty() {
            if brought.log_start_offset >= log.log_end_offset() {
                // Nothing of what is here is left there. What is next may begin below, where the histories may even
                // differ: the leader has forgotten the epochs of what it deleted.
                know_ends(log, follower, &brought);
            }
            let before = log.log_end_offset();
            log.append(records, AppendAs::Replica, now_ms).map_err(|error| self.unfit(error))?;
            let count = log.log_end_offset() - before;
            let synced = inner.force_sync(count, flush_messages, now_ms);
            synced.map_err(|error| self.lost(&error))?;
        }
        let (log, follower) = inner.following(brought.leader_epoch)?;
        know_ends(log, follower, &brought);
        let (standing, log_start_offset) = (standing(log, *follower, is_durable), log.log_start_offset());
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
            follower::diverged(&history, ends(log), diverging, leader_log_start)
        })
    }

    /// Goes on from where the leader can serve: `leader` is the start and the end of its log.
    pub(crate) fn restart(&self, leader_epoch: i32, leader: (i64, i64)) -> Result<Standing, FollowError> {
        self.rewind(leader_epoch, |log| follower::out_of_range(ends(log), leader))
    }

    fn rewind(
        &self,
        leader_epoch: i32,
        decide: impl FnOnce(&Log) -> Restart,
    ) -> Result<Standing, FollowError> {
        let is_durable = self.is_durable();
        let mut inner = self.lock();
        let (log, follower) = inner.following(leader_epoch)?;
        let before = log.log_end_offset();
        let outcome = match decide(log) {
            Restart::CutTo(offset) => log.truncate_to(offset),
            Restart::BeginAt(offset) => {
                tracing::info!(topic = %self.topic(), partition = self.index(), offset, "replica begins anew");
                log.truncate_fully_and_start_at(offset)
            }
        };
        outcome.map_err(|error| self.lost(&error))?;
        let (start, end) = ends(log);
        follower.cut((start, end));
        let standing = standing(log, *follower, is_durable);
        self.reset_log_start(start);
        inner.was_cut();
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
    fn following(&mut self, leader_epoch: i32) -> Result<(&mut Log, &mut Follower), FollowError> {
        match (&mut self.log, &mut self.role) {
            (Some(log), Role::Follower(follower)) if follower.leader_epoch() == leader_epoch => {
                Ok((log, follower))
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
fn standing(log: &Log, follower: Follower, is_durable: bool) -> Standing {
    let (start, end) = ends(log);
    Standing {
        position: follower.position((start, end), |offset| log.epoch_at(offset)),
        is_unsynced: is_durable && log.durable_offset() < end,
    }
}

/// Takes over what the leader says about the ends of its log, as far as ours goes.
fn know_ends(log: &mut Log, follower: &mut Follower, brought: &Brought<'_>) {
    if let Some(high_watermark) = follower.appended(log.log_end_offset(), brought.high_watermark) {
        log.high_watermark_reached(high_watermark);
    }
    log.set_log_start_offset(follower.log_start_offset(brought.log_start_offset));
}

fn ends(log: &Log) -> (i64, i64) {
    (log.log_start_offset(), log.log_end_offset())
}

fn epoch_start(entry: &milena_log::leader_epochs::EpochStart) -> EpochStart {
    EpochStart { epoch: entry.epoch, start_offset: entry.start_offset }
}

#[cfg(test)]
#[path = "follower_test.rs"]
mod tests;
