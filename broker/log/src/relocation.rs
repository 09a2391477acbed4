//! A log on its way to another directory: the copy that comes to be there in a folder of its own, the future folder, and
//! how it takes the log's place.
//!
//! The copy is a [`Log`] like any other, which no checkpoint knows. Its owner fills it, and has it take the place of the
//! log ([`Log::replace`]) when both end at the same offset. A crash may come between any two steps, and at no time are
//! there two folders that could be the partition's:
//!
//! 1. The copy is synced and marked as complete, with the directory that it was copied from and the log's start
//!    ([`Directory::mark_complete`]). As long as the log's folder is there this means nothing.
//! 2. The log's folder gets the name of a deleted one, durably.
//! 3. The future folder gets the log's name. A start that finds the log's folder gone and a complete copy does this
//!    ([`Directory::promote`]).
//! 4. When the new name is durable and the directory's checkpoints know the log the mark is removed
//!    ([`Directory::settle`]). Until then it is the mark that says where the log starts: records that were deleted, and
//!    are in the copy's first segment, may not come back. Opening a log that still has its mark does the same.
//!
//! Source: KIP-113, ADR 54.

use std::io;
use std::sync::Arc;

use milena_protocol::types::Uuid;

use crate::directory::{Directory, read_text};
use crate::disk::Disk;
use crate::error::Error;
use crate::files;
use crate::log::Log;
use crate::names::{self, NAME_LENGTH_MAX};

/// The mark of a complete copy: the id of the directory that it was copied from, and below it the log start offset.
pub(crate) const MOVED_FROM: &str = "moved-from";

/// Hexadecimal digits that tell apart future folders of one partition.
const UNIQUE_LENGTH: usize = 32;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub moved_from: Uuid,
    pub log_start_offset: i64,
}

/// A copy that was found in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCopy {
    pub name: String,
    /// Of the partition's folder.
    pub folder: String,
    pub partition: i32,
    /// From `partition.metadata`; none when the process died before it was written.
    pub topic_id: Option<Uuid>,
    /// The directory that it is a complete copy from, if the log is there no more.
    pub moved_from: Option<Uuid>,
}

/// Why a copy did not take the place of its log.
#[derive(Debug)]
pub enum NotReplaced {
    /// The log is as it was, and where it was.
    Kept(Box<Log>, Error),
    /// The log's folder is there under the name of a deleted one. The next start finds the copy.
    Lost(Error),
}

/// The name of a future folder. `unique` has 32 hexadecimal digits.
pub fn future_folder(folder: &str, unique: &str) -> String {
    debug_assert_eq!(unique.len(), UNIQUE_LENGTH, "{unique}");
    names::future_folder(folder, unique)
}

/// Whether the future folder of a partition has a name that file systems take.
pub fn may_be_moved(folder: &str) -> bool {
    names::future_folder(folder, "").len() + UNIQUE_LENGTH <= NAME_LENGTH_MAX
}

impl Log {
    /// Ends the pass that compacts this log, if there is one, at its next step.
    pub fn end_compaction(&mut self) {
        self.cuts += 1;
    }

    /// Takes the place of `current`, of which this is a complete and marked copy in another directory: its name, what
    /// it knows of producers, and its leader epochs. Also returned: the name that the folder of `current` has now, as
    /// [`Log::delete`] does. `unique` as there. [`Directory::settle`] is to follow.
    ///
    /// Both must start and end at the same offset, as the mark says, and this one must be durable as far as anybody was
    /// told of `current`.
    pub fn replace(mut self, mut current: Log, unique: &str) -> Result<(Log, String), NotReplaced> {
        assert_eq!(self.log_end_offset, current.log_end_offset, "a copy that is not complete");
        assert_eq!(self.log_start_offset, current.log_start_offset, "a copy that has what was deleted");
        let name = current.name().to_owned();
        let deleted = names::deleted_folder(&name, unique);
        let (old, copied) = (Arc::clone(&current.durability), Arc::clone(&self.durability));
        let moved = {
            // Between two syncs of both: one that runs must still find the folder under its name.
            let _orders = (old.sync_order(), copied.sync_order());
            let places = (&*current.disk, &*name, &*deleted);
            if let Err(failed) = rename(places, (&*self.disk, copied.name())) {
                return Err(match failed {
                    Failed::Undone(error) => NotReplaced::Kept(Box::new(current), error),
                    Failed::Half(error) => NotReplaced::Lost(error),
                });
            }
            let moved = copied.under(&name);
            old.close();
            copied.close();
            moved
        };
        current.directory.unregister(&name);
        self.directory.unregister(copied.name());
        self.directory.register(&moved);
        self.durability = moved;
        self.producers = std::mem::take(&mut current.producers);
        self.snapshot_offset = None;
        self.epochs = std::mem::take(&mut current.epochs);
        self.epochs_changed = true;
        self.changed = true;
        self.config = Arc::clone(&current.config);
        Ok((self, deleted))
    }
}

enum Failed {
    Undone(Error),
    Half(Error),
}

/// Renames the log's folder for deletion, durably, then the copy's to the log's name.
fn rename((from, name, deleted): (&Disk, &str, &str), (to, future): (&Disk, &str)) -> Result<(), Failed> {
    from.check().and_then(|()| to.check()).map_err(Failed::Undone)?;
    let (old, aside) = (from.path.join(name), from.path.join(deleted));
    from.done("rename", &old, from.files.rename(&old, &aside)).map_err(Failed::Undone)?;
    let (copy, place) = (to.path.join(future), to.path.join(name));
    let renamed = from.sync_dir(&from.path).and_then(|()| {
        // Durable later: until then the mark tells what to do.
        to.done("rename", &copy, to.files.rename(&copy, &place))
    });
    renamed.map_err(|error| {
        if from.files.rename(&aside, &old).is_err() {
            return Failed::Half(error);
        }
        // Before anything is written there again: a start that misses the log's folder takes the copy for it.
        match from.sync_dir(&from.path) {
            Ok(()) => Failed::Undone(error),
            Err(unsynced) => Failed::Half(from.give_up(unsynced)),
        }
    })
}

impl Directory {
    /// The copies of partitions in the directory, by name.
    pub fn copies(&self) -> Result<Vec<FoundCopy>, Error> {
        let mut found = Vec::new();
        for name in self.entries()? {
            let Some((folder, _, partition)) = names::parse_future_folder(&name) else { continue };
            let folder = folder.to_owned();
            let topic_id = readable(self.read_topic_id(&name))?;
            let moved_from = readable(self.moved_from(&name))?;
            found.push(FoundCopy { folder, partition, topic_id, moved_from, name });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn moved_from(&self, name: &str) -> Result<Option<Uuid>, Error> {
        Ok(self.mark(name)?.map(|mark| mark.moved_from))
    }

    /// The mark in a folder. One that is not whole was never durable, and is none.
    pub(crate) fn mark(&self, folder: &str) -> Result<Option<Mark>, Error> {
        let text = read_text(self.disk(), &self.disk().path.join(folder).join(MOVED_FROM))?;
        Ok(text.as_deref().and_then(Mark::parse))
    }

    /// Notes that the copy in `future` has all that the log has that it was copied from, in the directory `from`, and
    /// where that starts. The copy is synced. No checkpoint of this directory knows an earlier log of that name any
    /// more. To be noted again when the log starts later meanwhile.
    ///
    /// Errors: `Unreadable` when there is a folder where the copy is to be.
    pub fn mark_complete(&self, future: &str, from: Uuid, log_start_offset: i64) -> Result<(), Error> {
        let disk = self.disk();
        if let Some((folder, ..)) = names::parse_future_folder(future) {
            self.check_vacant(folder)?;
            self.forget_predecessor(folder)?;
            // What was forgotten in memory only would be judged to be the copy's after a crash.
            self.checkpoint_high_watermarks()?;
        }
        disk.sync_dir(&disk.path)?;
        let path = disk.path.join(future).join(MOVED_FROM);
        let text = Mark { moved_from: from, log_start_offset }.text();
        disk.done("write", &path, files::replace_file(&*disk.files, &path, text.as_bytes()))
    }

    fn check_vacant(&self, folder: &str) -> Result<(), Error> {
        let path = self.disk().path.join(folder);
        match self.disk().files.list(&path) {
            Ok(_) => {
                Err(Error::Unreadable { file: path, reason: "there is a folder of that name".to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.disk().failed("list", &path, &error)),
        }
    }

    /// Gives a complete copy, whose log is gone, the log's name.
    pub fn promote(&self, copy: &FoundCopy) -> Result<(), Error> {
        let disk = self.disk();
        disk.check()?;
        self.forget_predecessor(&copy.folder)?;
        let path = disk.path.join(&copy.name);
        // Durable, and without its mark, when it is opened.
        disk.done("rename", &path, disk.files.rename(&path, &disk.path.join(&copy.folder)))
    }

    /// Makes the name durable that a copy got, and what the checkpoints know of it; then its mark says nothing more, and
    /// is removed. Its log is open.
    pub fn settle(&self, folder: &str) -> Result<(), Error> {
        let disk = self.disk();
        disk.sync_dir(&disk.path)?;
        self.checkpoint()?;
        disk.remove(&disk.path.join(folder).join(MOVED_FROM))
    }

    /// Gives a copy that is not wanted the name of a deleted folder, which is returned; nothing when there is none. Its
    /// log is not open.
    pub fn discard(&self, future: &str, unique: &str) -> Result<Option<String>, Error> {
        let disk = self.disk();
        disk.check()?;
        let folder = names::parse_future_folder(future).map_or(future, |(folder, ..)| folder);
        let deleted = names::deleted_folder(folder, unique);
        let path = disk.path.join(future);
        self.unregister(future);
        match disk.files.rename(&path, &disk.path.join(&deleted)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => disk.done("rename", &path, renamed)?,
        }
        // Its mark may not come back beside that of another copy.
        disk.sync_dir(&disk.path)?;
        Ok(Some(deleted))
    }
}

impl Mark {
    fn text(self) -> String {
        format!("{}\n{}\n", self.moved_from, self.log_start_offset)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (moved_from, log_start_offset) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
        (log_start_offset >= 0).then_some(Self { moved_from, log_start_offset })
    }
}

/// What does not read is as if it were not there: a copy of which nothing is known.
fn readable(read: Result<Option<Uuid>, Error>) -> Result<Option<Uuid>, Error> {
    match read {
        Err(Error::Unreadable { .. }) => Ok(None),
        read => read,
    }
}

#[cfg(test)]
#[path = "relocation_test.rs"]
mod tests;
