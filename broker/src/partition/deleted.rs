//! Folders of deleted partitions, which wait for `file.delete.delay.ms` before they are removed.
//!
//! The delay is the operator's last chance to undo a deletion. It is kept in memory only: what a start finds waits
//! once more, for a fixed time, as in Apache Kafka.

use std::sync::Arc;

use milena_log::Directory;
use parking_lot::Mutex;

/// How long folders wait that were deleted before this start.
pub const FOUND_DELAY_MS: i64 = 30_000;

/// The folders and when each may go. As many as partitions were deleted within the delay.
#[derive(Default)]
pub struct Deleted {
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    due_ms: i64,
    directory: Arc<Directory>,
    folder: String,
}

impl Deleted {
    pub fn add(&self, directory: &Arc<Directory>, folder: String, due_ms: i64) {
        self.waiting.lock().push(Waiting { due_ms, directory: Arc::clone(directory), folder });
    }

    /// Removes the folders whose time has come. What cannot be removed for want of descriptors is tried again the next
    /// time; anything else stays until the next start: its directory is offline. Blocks on the disk.
    pub fn remove_due(&self, now_ms: i64) {
        let due: Vec<_> = self.waiting.lock().extract_if(.., |waiting| waiting.due_ms <= now_ms).collect();
        for waiting in due {
            let Waiting { directory, folder, .. } = &waiting;
            if let Err(error) = directory.remove_deleted(folder) {
                tracing::error!(path = %directory.path().display(), folder, %error, "deleted partition cannot be removed");
                if error.is_retriable() {
                    self.waiting.lock().push(waiting);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use milena_log::directory::Options;
    use milena_log::memory_files::{Fault, MemoryFiles, Operation};
    use milena_log::{Config, Log};

    use super::*;

    const EMFILE: i32 = 24;

    #[test]
    fn deleted_folders_go_one_by_one_when_their_delay_is_over() {
        let files = MemoryFiles::new();
        let options = Options { flusher_thread: false, ..Options::default() };
        let directory = Directory::open(Arc::new(files), Path::new("/data"), options).expect("memory");
        let deleted = Deleted::default();
        for (name, due_ms) in [("late-0", 200), ("early-0", 100)] {
            let (log, _) = Log::open(&directory, name, Arc::new(Config::default()), 0).expect("memory");
            deleted.add(&directory, log.delete("0f").expect("memory"), due_ms);
        }
        let left = |now_ms| {
            deleted.remove_due(now_ms);
            directory.deleted_folders().expect("memory").len()
        };
        assert_eq!([left(99), left(100), left(199), left(200), left(201)], [2, 1, 1, 0, 0]);
    }

    #[test]
    fn folder_that_could_not_be_removed_for_want_of_descriptors_is_tried_again() {
        let files = MemoryFiles::new();
        let options = Options { flusher_thread: false, ..Options::default() };
        let directory =
            Directory::open(Arc::new(files.clone()), Path::new("/data"), options).expect("memory");
        let (log, _) = Log::open(&directory, "t-0", Arc::new(Config::default()), 0).expect("memory");
        let deleted = Deleted::default();
        let folder = log.delete("0f").expect("memory");
        files.inject(Fault::errno(Operation::Any, 0, EMFILE).on_paths(&folder));
        deleted.add(&directory, folder, 0);
        let left = || {
            deleted.remove_due(0);
            directory.deleted_folders().expect("memory").len()
        };
        assert_eq!([left(), left()], [1, 0]);
    }
}
