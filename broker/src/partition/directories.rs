//! The log directories of this broker: opening them, giving partitions a place, closing them in order.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use milena_log::directory::Options;
use milena_log::files::Files;
use milena_log::partition_folders::{Found, TOPIC_ID};
use milena_log::{Config, Directory, Error, Log};
use milena_protocol::types::Uuid;
use milena_state::config::topic::Settings;
use milena_state::partition::identity;
use parking_lot::Mutex;

use super::copies::Copies;
use super::deleted::{Deleted, FOUND_DELAY_MS};
use super::identities::{OpenError, id_of, identify};
use super::partition::Partition;
use crate::broker::now_ms;
use crate::controller::raft::log_store::LOG_NAME;

/// Partitions that were found at start and have not been opened yet, by topic id and index.
pub(super) type Unopened = HashMap<(Uuid, i32), (Arc<Directory>, Found)>;
pub(super) type Again = Vec<((Uuid, i32), Arc<Directory>, Found)>;

/// Threads for work that waits for syncs more than for the disk: syncs that run together share a commit.
pub const SYNCING_THREADS: usize = 16;

/// Does `work` for each item, by up to `threads` threads. Blocks until all is done.
pub fn in_parallel<T: Sync>(threads: usize, items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    if threads.min(items.len()) <= 1 {
        return run();
    }
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(run);
        }
    });
}

/// The directories that could be opened.
pub struct Directories {
    pub(super) files: Arc<dyn Files>,
    cluster_id: String,
    pub(super) online: Vec<Arc<Directory>>,
    /// Directories that could not be opened: a partition that is not found may be in one of them.
    pub(super) offline_count: usize,
    /// The directory that holds the metadata log and is not one of `log.dirs`: no partition is placed there.
    metadata_only: Option<Uuid>,
    pub(super) found: Mutex<Unopened>,
    /// Those that were found once more, in another directory.
    pub(super) found_again: Mutex<Again>,
    /// The first of them that was asked for.
    twice: Mutex<Option<Twice>>,
    /// Folders that stay where they are: of partitions that will be asked for again, or that lie in two directories.
    pub(super) kept: Mutex<HashSet<String>>,
    /// Folders that were found at start and do not tell their topic's id, by name.
    pub(super) nameless: Mutex<HashMap<String, Arc<Directory>>>,
    pub(super) deleted: Deleted,
    pub(super) copies: Copies,
    /// Partitions per directory, to place new ones where there are fewest.
    pub(super) counts: Mutex<BTreeMap<Uuid, usize>>,
}

/// A partition in two directories.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} is in two log directories, {} and {}: look which of the two folders holds what you want to \
     keep (`milena dump-log` shows its records), move the other one away, and start again", first.display(), second.display()
)]
pub struct Twice {
    pub partition: String,
    pub first: PathBuf,
    pub second: PathBuf,
}

impl Directories {
    /// Opens `paths`, gives new ones an identity, and finds the partitions in them. A directory that cannot be read
    /// is left out with an error in the log, as long as another one can: its partitions answer KAFKA_STORAGE_ERROR.
    ///
    /// The cluster id is the one that the directories have, else `cluster_id`, else a new one.
    pub fn open(
        files: Arc<dyn Files>,
        paths: &[PathBuf],
        node_id: i32,
        cluster_id: Option<&str>,
        new_id: impl Fn() -> Uuid,
    ) -> Result<Self, OpenError> {
        let (mut online, mut listed) = (Vec::new(), Vec::new());
        let mut problem = None;
        for path in paths {
            // One that cannot be listed may hold any partition, which must not begin anew elsewhere.
            match open_and_list(&files, path) {
                Ok((directory, partitions)) => {
                    online.push(directory);
                    listed.push(partitions);
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "log directory cannot be used");
                    problem = Some(error);
                }
            }
        }
        if let (true, Some(problem)) = (online.is_empty(), problem.take()) {
            return Err(OpenError::None(problem));
        }
        let known =
            online.iter().find_map(|directory| directory.identity()).map(|identity| identity.cluster_id);
        let cluster_id = known.or(cluster_id.map(str::to_owned)).unwrap_or_else(|| new_id().to_string());
        identify(&mut online, node_id, &cluster_id, new_id)?;
        let offline_count = paths.len() - online.len();
        let directories = Self {
            files,
            cluster_id,
            online,
            offline_count,
            metadata_only: None,
            found: Mutex::default(),
            found_again: Mutex::default(),
            twice: Mutex::default(),
            kept: Mutex::default(),
            nameless: Mutex::default(),
            deleted: Deleted::default(),
            copies: Copies::default(),
            counts: Mutex::default(),
        };
        directories.take_up(listed);
        Ok(directories)
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn online(&self) -> &[Arc<Directory>] {
        &self.online
    }

    /// Keeps partitions out of `directory`, which is for the metadata log alone.
    pub fn reserve_for_metadata(&mut self, directory: &Directory) {
        self.metadata_only = Some(id_of(directory));
    }

    fn takes_partitions(&self, directory: &Directory) -> bool {
        self.metadata_only != Some(id_of(directory))
    }

    /// Directories that could not be opened.
    pub fn offline_count(&self) -> usize {
        self.offline_count
    }

    /// Whether any directory can hold partitions now.
    pub fn has_usable(&self) -> bool {
        self.usable().any(|directory| self.takes_partitions(directory))
    }

    /// The ids of all directories that can hold partitions, as the broker registers them.
    pub fn ids(&self) -> Vec<Uuid> {
        self.online
            .iter()
            .filter(|directory| self.takes_partitions(directory))
            .map(|directory| id_of(directory))
            .collect()
    }

    /// The directory at `path`, if it is usable.
    pub fn at(&self, path: &std::path::Path) -> Option<&Arc<Directory>> {
        self.online.iter().find(|directory| directory.path() == path)
    }

    /// The broker epoch of the last stop if that was clean everywhere, −1 otherwise.
    pub fn previous_broker_epoch(&self) -> i64 {
        let epochs: Vec<_> = self.online.iter().map(|directory| directory.clean_stop()).collect();
        match epochs.first() {
            Some(Some(epoch)) if epochs.iter().all(|other| *other == Some(*epoch)) => *epoch,
            _ => -1,
        }
    }

    /// Notes what was found in the directories, in their order.
    fn take_up(&self, listed: Vec<Vec<Found>>) {
        let (mut found, mut nameless, mut counts) =
            (self.found.lock(), self.nameless.lock(), self.counts.lock());
        for (directory, partitions) in self.online.iter().zip(listed) {
            for partition in partitions.into_iter().filter(|found| found.name != LOG_NAME) {
                *counts.entry(id_of(directory)).or_default() += 1;
                let place = Arc::clone(directory);
                let Some(topic_id) = partition.topic_id else {
                    nameless.insert(partition.name, place);
                    continue;
                };
                let key = (topic_id, partition.partition);
                match found.entry(key) {
                    Entry::Vacant(vacant) => drop(vacant.insert((place, partition))),
                    Entry::Occupied(_) => self.found_again.lock().push((key, place, partition)),
                }
            }
            self.find_deleted(directory);
            self.find_copies(directory);
        }
    }

    fn find_deleted(&self, directory: &Arc<Directory>) {
        match directory.deleted_folders() {
            Ok(folders) => {
                let due_ms = now_ms() + FOUND_DELAY_MS;
                folders.into_iter().for_each(|folder| self.deleted.add(directory, folder, due_ms));
            }
            Err(error) => {
                tracing::error!(path = %directory.path().display(), %error, "log directory cannot be listed");
            }
        }
    }

    /// Whether a partition that existed before this start may lie in a directory that could not be opened: it was
    /// not found in any other. It must not begin anew with an empty log.
    pub fn may_be_offline(&self, topic_id: Uuid, index: i32) -> bool {
        self.offline_count > 0 && !self.found.lock().contains_key(&(topic_id, index))
    }

    /// A partition that was asked for and lies in two directories. Which of them holds what was acknowledged nobody can
    /// know: serving one could lose it, so that the broker must not start, as Apache Kafka does not.
    pub fn twice(&self) -> Option<Twice> {
        self.twice.lock().take()
    }

    /// Errors: `Unreadable` for a partition that lies in two directories.
    fn check_once(&self, folder: &str, key: (Uuid, i32)) -> Result<(), Error> {
        let again = self.found_again.lock();
        let second = again.iter().find(|(other, ..)| *other == key);
        let Some(second) = second.map(|(_, place, found)| place.path().join(&found.name)) else {
            return Ok(());
        };
        drop(again);
        let first = self.found.lock().get(&key).map(|(first, found)| first.path().join(&found.name));
        let first = first.unwrap_or_default();
        let reason = format!("the partition is in {} as well", first.display());
        self.kept.lock().insert(folder.to_owned());
        let partition = folder.to_owned();
        self.twice.lock().get_or_insert(Twice { partition, first, second: second.clone() });
        Err(Error::Unreadable { file: second, reason })
    }

    /// Opens the replica of a partition where it lies, or creates it: in the directory `preferred` if that is one of
    /// ours, else in the one that somebody wished, else in the one with the fewest partitions. Blocks on the disk.
    ///
    /// Errors that are retriable leave it where it was found or begun, for the next attempt.
    pub fn open_partition(
        &self,
        topic: (&Arc<str>, Uuid),
        index: i32,
        preferred: Option<Uuid>,
        settings: &Arc<Settings>,
        config: &Arc<Config>,
    ) -> Result<Arc<Partition>, Error> {
        let (name, topic_id) = topic;
        let folder = format!("{name}-{index}");
        let opened = self.open_folder(&folder, (topic_id, index), preferred, config);
        match &opened {
            Err(error) if error.is_retriable() => self.kept.lock().insert(folder),
            Ok(_) => self.kept.lock().remove(&folder),
            Err(_) => false,
        };
        let (directory, log) = opened?;
        let partition =
            Partition::new(Arc::clone(name), topic_id, index, directory, log, Arc::clone(settings));
        self.resume_copies(&partition);
        Ok(partition)
    }

    fn open_folder(
        &self,
        folder: &str,
        (topic_id, index): (Uuid, i32),
        preferred: Option<Uuid>,
        config: &Arc<Config>,
    ) -> Result<(Arc<Directory>, Log), Error> {
        self.check_once(folder, (topic_id, index))?;
        self.promote_copy(folder, (topic_id, index))?;
        let found = self.found.lock().remove(&(topic_id, index));
        let (place, found) = found.unzip();
        let directory = match place {
            Some(directory) => directory,
            None => match self.nameless_of_ours(folder)? {
                Some(directory) => directory,
                None => {
                    self.check_ids(folder, topic_id)?;
                    let directory = self.place(preferred, folder);
                    self.move_aside(&directory, folder)?;
                    directory
                }
            },
        };
        let log = open_log(&directory, folder, found.is_none().then_some(topic_id), config);
        let log = log.inspect_err(|error| {
            if error.is_retriable() {
                self.put_back(folder, (topic_id, index), (&directory, found));
            }
        })?;
        Ok((directory, log))
    }

    /// A partition that could not be opened will be asked for again, and must be found where it is: what was begun in a
    /// new folder has no records and is taken over.
    fn put_back(&self, folder: &str, key: (Uuid, i32), (directory, found): (&Arc<Directory>, Option<Found>)) {
        let place = Arc::clone(directory);
        match found {
            Some(found) => drop(self.found.lock().insert(key, (place, found))),
            None => drop(self.nameless.lock().insert(folder.to_owned(), place)),
        }
    }

    /// The directory in which a folder of this name does not tell its topic's id. One without records was left by a
    /// process that died right after it created it, and is taken over.
    ///
    /// Errors: `Unreadable` when it has records. Whose they are nobody knows; that they are this partition's, which
    /// would begin anew beside them, is more likely than not.
    fn nameless_of_ours(&self, folder: &str) -> Result<Option<Arc<Directory>>, Error> {
        let Some(directory) = self.nameless.lock().remove(folder) else { return Ok(None) };
        let has_records = directory.has_records(folder).inspect_err(|error| {
            if error.is_retriable() {
                self.nameless.lock().insert(folder.to_owned(), Arc::clone(&directory));
            }
        })?;
        if has_records {
            return Err(Error::Unreadable {
                file: directory.path().join(folder).join(TOPIC_ID),
                reason: "it does not tell the topic's id, and the folder has records".to_owned(),
            });
        }
        Ok(Some(directory))
    }

    /// Errors: `Unreadable` when a folder of this name tells an id that is most likely this topic's, damaged. It stays
    /// where it is.
    fn check_ids(&self, folder: &str, topic_id: Uuid) -> Result<(), Error> {
        let mut all = self.found.lock();
        let mut damaged =
            all.extract_if(|(id, _), (_, found)| found.name == folder && identity::is_damaged(*id, topic_id));
        match damaged.next() {
            None => Ok(()),
            Some(((id, _), (directory, _))) => Err(Error::Unreadable {
                file: directory.path().join(folder).join(TOPIC_ID),
                reason: format!("it tells the topic id {id}, a few bits from {topic_id}, which it should be"),
            }),
        }
    }

    fn place(&self, preferred: Option<Uuid>, folder: &str) -> Arc<Directory> {
        let wish = self.wish(folder);
        let mut counts = self.counts.lock();
        let usable = || self.usable().filter(|directory| self.takes_partitions(directory));
        let directory = usable()
            .find(|directory| Some(id_of(directory)) == preferred)
            .or_else(|| usable().find(|directory| Some(id_of(directory)) == wish))
            .or_else(|| usable().min_by_key(|directory| counts.get(&id_of(directory)).copied().unwrap_or(0)))
            // All are offline: the first one says so when it is used.
            .unwrap_or(&self.online[0]);
        *counts.entry(id_of(directory)).or_default() += 1;
        Arc::clone(directory)
    }

    /// A partition was deleted from its directory: its folder has this name now, and goes when `delay_ms` is over.
    pub fn deleted(&self, directory: &Arc<Directory>, folder: String, delay_ms: i64) {
        if let Some(count) = self.counts.lock().get_mut(&id_of(directory)) {
            *count = count.saturating_sub(1);
        }
        self.deleted.add(directory, folder, now_ms().saturating_add(delay_ms));
    }

    /// Removes the folders of deleted partitions whose delay is over. Blocks on the disk.
    pub fn remove_deleted(&self) {
        self.deleted.remove_due(now_ms());
    }

    /// Marks every directory as cleanly stopped; its logs were closed before. Blocks on the disk.
    pub fn close_clean(&self, broker_epoch: i64) {
        for directory in self.usable() {
            if let Err(error) = directory.close_clean(broker_epoch) {
                tracing::error!(path = %directory.path().display(), %error, "log directory was not closed cleanly");
            }
        }
    }

    pub(super) fn usable(&self) -> impl Iterator<Item = &Arc<Directory>> {
        self.online.iter().filter(|directory| directory.offline_reason().is_none())
    }
}

/// Opens the log of a partition, and has a new one tell the `new_id` of its topic.
fn open_log(
    directory: &Arc<Directory>,
    folder: &str,
    new_id: Option<Uuid>,
    config: &Arc<Config>,
) -> Result<Log, Error> {
    let (log, opened) = Log::open(directory, folder, Arc::clone(config), now_ms())?;
    if opened.truncated_bytes > 0 {
        tracing::warn!(partition = %folder, bytes = opened.truncated_bytes, "torn tail of the log was cut");
    }
    if let Some(topic_id) = new_id {
        directory.write_topic_id(folder, topic_id)?;
    }
    Ok(log)
}

fn open_and_list(
    files: &Arc<dyn Files>,
    path: &std::path::Path,
) -> Result<(Arc<Directory>, Vec<Found>), Error> {
    let directory = Directory::open(Arc::clone(files), path, Options::default())?;
    let listed = directory.list()?;
    Ok((directory, listed))
}
