//! The directories' part of moving replicas between them: copies that a start finds, the queue of what is on its way, and
//! where replicas are to be created that are not here yet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use milena_log::partition_folders::Found;
use milena_log::relocation::FoundCopy;
use milena_log::{Directory, Error};
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::partition::relocation::{self, AtStart, at_start};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::directories::Directories;
use super::identities::id_of;
use super::mover::{Job, Queue};
use super::partition::Partition;
use super::relocation::FutureReplica;
use crate::broker::now_ms;

/// Wishes for replicas that are not here. Whoever names more partitions that never come is not heard.
const WISHES_MAX: usize = 10_000;

type Key = (Uuid, i32);

/// A copy, and the directory in which it was found.
type Copied = (Arc<Directory>, FoundCopy);

#[derive(Default)]
pub(super) struct Copies {
    found: Mutex<HashMap<Key, Vec<Copied>>>,
    queue: Queue,
    /// By the name of the folder: in which directory to create it.
    wishes: Mutex<BTreeMap<String, Uuid>>,
    moves_count: AtomicU64,
    moved: Notify,
}

impl Directories {
    /// The replicas that are on their way.
    pub fn relocations(&self) -> &Queue {
        &self.copies.queue
    }

    /// Has the replica move to `target`, or stay when it is there.
    ///
    /// Errors: NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR, THROTTLING_QUOTA_EXCEEDED when too many are on their way.
    pub fn relocate(&self, partition: &Arc<Partition>, target: &Arc<Directory>) -> Result<(), ErrorCode> {
        if !self.copies.queue.has_room() {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        if let Some(future) = partition.relocate(target)? {
            self.copies.queue.add(Job::new(partition, future));
        }
        Ok(())
    }

    /// Notes where a replica that is not here is to be created, until the next start.
    pub fn note_wish(&self, folder: String, target: &Directory) {
        let mut wishes = self.copies.wishes.lock();
        if wishes.len() < WISHES_MAX || wishes.contains_key(&folder) {
            wishes.insert(folder, id_of(target));
        }
    }

    /// Where the replica is to be created. It is created once.
    pub(super) fn wish(&self, folder: &str) -> Option<Uuid> {
        self.copies.wishes.lock().remove(folder)
    }

    /// The directory that the configuration names so, in full.
    ///
    /// Errors: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR when it is offline.
    pub fn named(&self, log_dirs: &[std::path::PathBuf], path: &str) -> Result<&Arc<Directory>, ErrorCode> {
        let is_named = |own: &&std::path::PathBuf| {
            std::path::absolute(own).is_ok_and(|absolute| absolute == Path::new(path))
        };
        let own = log_dirs.iter().find(is_named).ok_or(ErrorCode::LogDirNotFound)?;
        let directory = self.at(own).filter(|directory| directory.offline_reason().is_none());
        directory.ok_or(ErrorCode::KafkaStorageError)
    }

    /// Notes the copies of partitions in a directory. What tells no topic was never filled.
    pub(super) fn find_copies(&self, directory: &Arc<Directory>) {
        let copies = directory.copies().unwrap_or_else(|error| {
            tracing::error!(path = %directory.path().display(), %error, "log directory cannot be listed");
            Vec::new()
        });
        for copy in copies {
            match copy.topic_id {
                Some(topic_id) => {
                    let mut found = self.copies.found.lock();
                    let of_partition = found.entry((topic_id, copy.partition)).or_default();
                    of_partition.push((Arc::clone(directory), copy));
                }
                None => self.discard(directory, &copy.name),
            }
        }
    }

    /// Gives a copy its log's name that had all the log had when the process died.
    ///
    /// Errors: `Unreadable` when there are several of them, or the log may be in a directory that is offline. Without one of
    /// them the partition would begin anew: on an error all are found again by the next attempt.
    pub(super) fn promote_copy(&self, folder: &str, key: Key) -> Result<(), Error> {
        if self.found.lock().contains_key(&key) {
            return Ok(());
        }
        let Some(copies) = self.copies.found.lock().remove(&key) else { return Ok(()) };
        let outcome = self.settle_copies(folder, key, &copies);
        if outcome.is_err() {
            self.kept.lock().insert(folder.to_owned());
            self.copies.found.lock().insert(key, copies);
        }
        outcome
    }

    fn settle_copies(&self, folder: &str, key: Key, copies: &[Copied]) -> Result<(), Error> {
        let all_online = self.offline_count == 0 && self.usable().count() == self.online.len();
        let state = state(None, copies, all_online);
        for (directory, copy) in copies {
            match at_start(state, id_of(directory), copy.moved_from.is_some()) {
                AtStart::Promote => self.promote(folder, key, (directory, copy))?,
                AtStart::Leave => {
                    let reason =
                        "the partition was being moved, and may be in a log directory that is offline";
                    return Err(unreadable(directory, copy, reason));
                }
                AtStart::Undecided => {
                    let reason = "the partition was being moved, and there are several complete copies: look which of \
                                  them to keep and move the others away";
                    return Err(unreadable(directory, copy, reason));
                }
                AtStart::SetAside => {
                    if let Err(error) = self.rename_stray(directory, &copy.name) {
                        tracing::error!(folder = %copy.name, %error, "copy of a replica cannot be renamed");
                    }
                }
                AtStart::Discard | AtStart::Resume => self.discard(directory, &copy.name),
            }
        }
        Ok(())
    }

    fn promote(
        &self,
        folder: &str,
        key: Key,
        (directory, copy): (&Arc<Directory>, &FoundCopy),
    ) -> Result<(), Error> {
        self.move_aside(directory, folder)?;
        directory.promote(copy)?;
        tracing::info!(partition = folder, directory = %directory.path().display(), "move of a replica was completed");
        let (name, partition, topic_id) = (copy.folder.clone(), copy.partition, copy.topic_id);
        let topic = name.rsplit_once('-').map_or("", |(topic, _)| topic).to_owned();
        self.found.lock().insert(key, (Arc::clone(directory), Found { name, topic, partition, topic_id }));
        Ok(())
    }

    /// Goes on with the move of a replica that was opened, if it was under way.
    pub(super) fn resume_copies(&self, partition: &Arc<Partition>) {
        let copies = self.copies.found.lock().remove(&(partition.topic_id(), partition.index()));
        let copies = copies.unwrap_or_default();
        let state = state(Some(id_of(&partition.directory())), &copies, self.offline_count == 0);
        let mut is_resumed = false;
        for (directory, copy) in copies {
            match at_start(state, id_of(&directory), copy.moved_from.is_some()) {
                AtStart::Resume if !is_resumed => {
                    let future = FutureReplica::new(directory, copy.name);
                    if copy.moved_from.is_some() {
                        future.marked();
                    }
                    partition.resume(&future);
                    self.copies.queue.add(Job::resumed(partition, future));
                    is_resumed = true;
                }
                _ => self.discard(&directory, &copy.name),
            }
        }
    }

    /// Copies of partitions that nobody asked for, by folder. While a directory is offline nobody can say.
    pub(super) fn unwanted_copies(&self, kept: &HashSet<String>) -> Vec<(String, Arc<Directory>)> {
        if self.offline_count > 0 {
            return Vec::new();
        }
        let mut found = self.copies.found.lock();
        let is_kept = |copies: &[Copied]| copies.iter().any(|(_, copy)| kept.contains(&copy.folder));
        let unwanted = found.extract_if(|_, copies| !is_kept(copies)).flat_map(|(_, copies)| copies);
        unwanted.map(|(directory, copy)| (copy.name, directory)).collect()
    }

    fn discard(&self, directory: &Arc<Directory>, folder: &str) {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        match directory.discard(folder, &unique) {
            Ok(deleted) => deleted.into_iter().for_each(|folder| self.discarded(directory, folder)),
            Err(error) => tracing::error!(folder, %error, "copy of a replica cannot be removed"),
        }
    }

    /// A copy that nobody wants has this name now, and goes.
    pub(super) fn discarded(&self, directory: &Arc<Directory>, folder: String) {
        self.deleted.add(directory, folder, now_ms());
    }

    /// A replica was moved: what it was has the name `folder` now, and goes when `delay_ms` is over.
    pub(super) fn moved(
        &self,
        (from, to): (&Arc<Directory>, &Arc<Directory>),
        folder: String,
        delay_ms: i64,
    ) {
        self.deleted(from, folder, delay_ms);
        *self.counts.lock().entry(id_of(to)).or_default() += 1;
        self.copies.moves_count.fetch_add(1, Ordering::AcqRel);
        self.copies.moved.notify_one();
    }

    /// Replicas that were moved since the start.
    pub fn moves_count(&self) -> u64 {
        self.copies.moves_count.load(Ordering::Acquire)
    }

    /// Waits until a replica was moved. For one listener.
    pub async fn has_moved(&self) {
        self.copies.moved.notified().await;
    }
}

fn unreadable(directory: &Directory, copy: &FoundCopy, reason: &str) -> Error {
    Error::Unreadable { file: directory.path().join(&copy.name), reason: reason.to_owned() }
}

fn state(home: Option<Uuid>, copies: &[Copied], all_online: bool) -> relocation::Found {
    let complete_count = copies.iter().filter(|(_, copy)| copy.moved_from.is_some()).count();
    relocation::Found { home, complete_count, all_online }
}
