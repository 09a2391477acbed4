//! One replica on its way: its copy, and the next step of filling it. Steps block on the disk, and are short.

use std::sync::{Arc, Weak};

use milena_log::{Config, Log};
use milena_state::partition::follower::Restart;
use milena_state::partition::relocation::Step;

use crate::broker::now_ms;
use crate::partition::Directories;
use crate::partition::partition::Partition;
use crate::partition::relocation::{self, FutureReplica, Look, Placed, Stop, ends, failed};

/// So often a copy that is behind the log on disk is synced, and marked anew if the log starts later by now, without the
/// partition's lock; then with it. A log whose producers wait for syncs would be ahead for ever.
const SYNCS_WITHOUT_LOCK_MAX: u32 = 10;

/// Steps in a row that come to nothing, with a pause between two, before the move is given up.
const ATTEMPTS_MAX: u32 = 120;

pub(crate) struct Job {
    partition: Weak<Partition>,
    future: Arc<FutureReplica>,
    /// The copy, once it is open.
    log: Option<Box<Log>>,
    /// Left by an earlier process: the log may have been cut since.
    is_resumed: bool,
    has_folder: bool,
    /// Where the log starts, as the mark of a complete copy says, once it was written.
    marked_start: Option<i64>,
    syncs_count: u32,
    failures_count: u32,
    /// The log was cut, and this much of the copy is valid.
    cut_to: i64,
}

/// What a step came to.
pub(super) enum Stepped {
    /// So many bytes were copied; there is more to do.
    On(Job, usize),
    /// Not now.
    Paused(Job),
    /// The copy has taken the log's place.
    Done,
    GivenUp,
    /// Nobody wants it any more, or the broker stops.
    Over,
}

impl Job {
    pub fn new(partition: &Arc<Partition>, future: Arc<FutureReplica>) -> Self {
        Self {
            partition: Arc::downgrade(partition),
            future,
            log: None,
            is_resumed: false,
            has_folder: false,
            marked_start: None,
            syncs_count: 0,
            failures_count: 0,
            cut_to: i64::MAX,
        }
    }

    /// One that an earlier process left.
    pub fn resumed(partition: &Arc<Partition>, future: Arc<FutureReplica>) -> Self {
        Self { is_resumed: true, has_folder: true, ..Self::new(partition, future) }
    }

    /// Whether its copy is only to be removed.
    pub fn is_cancelled(&self) -> bool {
        self.future.is_cancelled()
    }

    pub(super) fn step(mut self, directories: &Directories) -> Stepped {
        let Some(partition) = self.partition.upgrade() else {
            // Deleted, or the broker is gone.
            if self.future.is_cancelled() {
                self.discard(directories);
            }
            return Stepped::Over;
        };
        match self.advance(&partition, directories) {
            Ok(Some(bytes)) => {
                self.failures_count = 0;
                Stepped::On(self, bytes)
            }
            Ok(None) => Stepped::Done,
            Err(Stop::Closed) => Stepped::Over,
            Err(Stop::Cancelled) => {
                tracing::info!(topic = %partition.topic(), partition = partition.index(), "replica is not moved any more");
                self.discard(directories);
                Stepped::Over
            }
            Err(Stop::Again(reason)) if self.failures_count < ATTEMPTS_MAX => {
                self.failures_count += 1;
                tracing::debug!(topic = %partition.topic(), partition = partition.index(), reason, "a step of a move is tried again");
                Stepped::Paused(self)
            }
            Err(Stop::Again(reason)) => self.give_up(&partition, directories, &reason),
            Err(Stop::Failed(error)) => self.give_up(&partition, directories, &error),
        }
    }

    fn give_up(
        mut self,
        partition: &Partition,
        directories: &Directories,
        reason: &dyn std::fmt::Display,
    ) -> Stepped {
        tracing::error!(
            topic = %partition.topic(), partition = partition.index(), %reason,
            directory = %self.future.directory().path().display(), "replica cannot be moved and stays where it is"
        );
        partition.give_up(&self.future);
        self.discard(directories);
        Stepped::GivenUp
    }

    /// Removes the copy. One in a directory that is offline is found by the next start.
    fn discard(&mut self, directories: &Directories) {
        let target = self.future.directory();
        if target.offline_reason().is_some() {
            return;
        }
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let discarded = match self.log.take() {
            Some(log) => log.delete(&unique).map(Some),
            None if !self.has_folder => Ok(None),
            None => target.discard(self.future.folder(), &unique),
        };
        match discarded {
            Ok(folder) => {
                self.future.gone();
                folder.into_iter().for_each(|folder| directories.discarded(target, folder));
            }
            Err(error) => {
                tracing::error!(folder = self.future.folder(), %error, "copy of a replica cannot be removed")
            }
        }
    }

    /// The bytes that were copied; nothing when the copy has taken the log's place.
    fn advance(&mut self, partition: &Partition, directories: &Directories) -> Result<Option<usize>, Stop> {
        if self.log.is_none() {
            self.open(partition)?;
            return Ok(Some(0));
        }
        let Some(log) = &mut self.log else { return Ok(Some(0)) };
        let look = partition.look(&self.future, ends(log), &mut self.cut_to)?;
        let copied = match look.step {
            Step::CutTo(offset) => {
                log.truncate_to(offset).map_err(failed)?;
                self.cut_to = i64::MAX;
                0
            }
            Step::BeginAt(offset) => {
                log.truncate_fully_and_start_at(offset).map_err(failed)?;
                0
            }
            Step::CopyFrom(_) => copy(partition, log, look)?,
            Step::Complete => return self.finish(partition, directories, look.log_start_offset),
        };
        self.future.show(log);
        Ok(Some(copied))
    }

    fn open(&mut self, partition: &Partition) -> Result<(), Stop> {
        let config = partition.copy_config(&self.future)?;
        let (target, folder) = (self.future.directory(), self.future.folder());
        self.has_folder = true;
        let (mut log, _) = Log::open(target, folder, config, now_ms()).map_err(failed)?;
        target.write_topic_id(folder, partition.topic_id()).map_err(failed)?;
        if self.is_resumed {
            // Each round goes back by one leader epoch at least.
            for _ in 0..=log.epochs().len() {
                match partition.rejoin(&self.future, &log)? {
                    None => break,
                    Some(Restart::CutTo(offset)) => log.truncate_to(offset).map_err(failed)?,
                    Some(Restart::BeginAt(offset)) => {
                        log.truncate_fully_and_start_at(offset).map_err(failed)?;
                    }
                }
            }
        }
        tracing::info!(
            topic = %partition.topic(), partition = partition.index(), from = %partition.directory().path().display(),
            to = %target.path().display(), copied_upto = log.log_end_offset(), "replica is moved to another directory"
        );
        self.future.show(&log);
        self.log = Some(Box::new(log));
        Ok(())
    }

    /// The copy has all there was. First it is synced and marked, then it takes the log's place if it still has.
    fn finish(
        &mut self,
        partition: &Partition,
        directories: &Directories,
        log_start_offset: i64,
    ) -> Result<Option<usize>, Stop> {
        let Some(marked_start) = self.marked_start else { return self.mark(partition, log_start_offset) };
        let Some(log) = self.log.take() else { return Ok(Some(0)) };
        let may_sync = self.syncs_count >= SYNCS_WITHOUT_LOCK_MAX;
        match partition.take_place(&self.future, log, (marked_start, may_sync), now_ms()) {
            Placed::Yes { from, folder, delay_ms } => {
                self.settle(partition, directories, (&from, folder, delay_ms));
                Ok(None)
            }
            Placed::Behind(log) => {
                self.log = Some(log);
                Ok(Some(0))
            }
            Placed::Unsynced(log) => {
                self.syncs_count += 1;
                self.log = Some(log);
                self.mark(partition, log_start_offset)
            }
            Placed::No(log, stop) => {
                // Without it the copy is a folder that is opened again.
                self.log = log;
                Err(stop)
            }
        }
    }

    fn mark(&mut self, partition: &Partition, log_start_offset: i64) -> Result<Option<usize>, Stop> {
        let from = partition.begin_marking(&self.future)?;
        if let Some(log) = &mut self.log {
            log.set_log_start_offset(log_start_offset);
            log.sync().map_err(failed)?;
        }
        if self.marked_start != Some(log_start_offset) {
            let (target, folder) = (self.future.directory(), self.future.folder());
            target.mark_complete(folder, from, log_start_offset).map_err(failed)?;
            self.marked_start = Some(log_start_offset);
        }
        Ok(Some(0))
    }

    fn settle(
        &self,
        partition: &Partition,
        directories: &Directories,
        (from, deleted, delay_ms): (&Arc<milena_log::Directory>, String, i64),
    ) {
        let target = self.future.directory();
        let folder = format!("{}-{}", partition.topic(), partition.index());
        if let Err(error) = target.settle(&folder) {
            tracing::error!(partition = %folder, %error, "new place of a replica may not survive a loss of power");
        }
        directories.moved((from, target), deleted, delay_ms);
        tracing::info!(
            topic = %partition.topic(), partition = partition.index(), from = %from.path().display(),
            to = %target.path().display(), "replica was moved to another directory"
        );
    }
}

/// Copies what was found.
fn copy(partition: &Partition, copy: &mut Log, look: Look) -> Result<usize, Stop> {
    if let Some(missing) = look.missing {
        partition.bring(missing);
        return Ok(0);
    }
    let Some(slice) = look.found else { return Err(Stop::Again("nothing was found to copy".to_owned())) };
    let bytes = slice.read().map_err(|error| {
        partition.slice_failed(&slice, &error);
        Stop::Again(error.to_string())
    })?;
    copy.take_config(roomy(look.config, bytes.len()));
    relocation::append(copy, &bytes, now_ms())
}

/// A batch may be larger than segments are to be by now.
fn roomy(config: Arc<Config>, bytes: usize) -> Arc<Config> {
    let needed = u32::try_from(bytes).unwrap_or(u32::MAX);
    if config.segment_bytes >= needed {
        return config;
    }
    Arc::new(Config { segment_bytes: needed, ..Config::clone(&config) })
}

#[cfg(test)]
#[path = "job_test.rs"]
mod tests;
