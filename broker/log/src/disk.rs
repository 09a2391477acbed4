//! The part of a directory that logs and the flusher share: its files, its bound on open ones, and whether it
//! is still to be trusted.
//!
//! The first failed operation takes the directory offline for good. After a failed write or sync nobody knows
//! what the disk holds, so nothing is retried: a retry that succeeds would acknowledge what may be lost.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::durability::{Durability, Work};
use crate::error::{Error, is_descriptor_shortage};
use crate::files::{File, Files};
use crate::open_files::OpenFiles;

/// Told once why the directory went offline.
pub type OnOffline = Box<dyn FnOnce(&str) + Send>;

pub(crate) struct Disk {
    pub files: Arc<dyn Files>,
    pub path: Arc<Path>,
    pub open_files: OpenFiles,
    offline: OnceLock<Arc<str>>,
    notify: Mutex<Option<OnOffline>>,
}

/// Over all directories: a log that another one took the place of, there or elsewhere, is told apart by it.
static NEXT_LOG_ID: AtomicU64 = AtomicU64::new(0);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).field("offline", &self.offline.get()).finish()
    }
}

impl Disk {
    pub fn new(files: Arc<dyn Files>, path: &Path, open_files_max: usize) -> Self {
        Disk {
            files,
            path: path.into(),
            open_files: OpenFiles::new(open_files_max),
            offline: OnceLock::new(),
            notify: Mutex::new(None),
        }
    }

    pub fn new_log_id(&self) -> u64 {
        NEXT_LOG_ID.fetch_add(1, Ordering::Relaxed)
    }

    pub fn offline_reason(&self) -> Option<Arc<str>> {
        self.offline.get().cloned()
    }

    /// Fails when the directory is offline.
    pub fn check(&self) -> Result<(), Error> {
        match self.offline.get() {
            None => Ok(()),
            Some(reason) => Err(Error::DirectoryOffline { path: self.path.clone(), reason: reason.clone() }),
        }
    }

    /// Sets who is told; at once, if it has happened already.
    pub fn on_offline(&self, notify: OnOffline) {
        let mut slot = self.notify.lock();
        match self.offline.get() {
            Some(reason) => notify(reason),
            None => *slot = Some(notify),
        }
    }

    /// An operation failed: the directory goes offline, unless the process merely ran out of descriptors.
    pub fn failed(&self, doing: &str, path: &Path, error: &io::Error) -> Error {
        if is_descriptor_shortage(error) {
            return Error::TooManyOpenFiles;
        }
        let mut first = false;
        let reason = self.offline.get_or_init(|| {
            first = true;
            format!("cannot {doing} {}: {error}", path.display()).into()
        });
        if first {
            tracing::error!(directory = %self.path.display(), %reason, "log directory goes offline");
            // Taken out first: the one who is told may ask us something.
            let notify = self.notify.lock().take();
            if let Some(notify) = notify {
                notify(reason);
            }
        }
        Error::DirectoryOffline { path: self.path.clone(), reason: reason.clone() }
    }

    /// Half of something was done and the rest cannot be: nothing may build on it, whatever the reason.
    pub fn give_up(&self, error: Error) -> Error {
        match error {
            Error::DirectoryOffline { .. } => error,
            other => self.failed("finish a write below", &self.path, &io::Error::other(other.to_string())),
        }
    }

    /// Passes a result on, taking the directory offline on an error.
    pub fn done<T>(&self, doing: &str, path: &Path, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|error| self.failed(doing, path, &error))
    }

    /// Opens a file; `None` when there is none. When descriptors are short, those kept for later are closed.
    pub fn open(&self, path: &Path) -> Result<Option<Arc<dyn File>>, Error> {
        match self.retried(|| self.files.open(path)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("open", path, &error)),
        }
    }

    pub fn create(&self, path: &Path) -> Result<Arc<dyn File>, Error> {
        let result = self.retried(|| self.files.create(path));
        self.done("create", path, result)
    }

    fn retried<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_descriptor_shortage(&error) => {
                self.open_files.clear();
                open()
            }
            result => result,
        }
    }

    /// Removes a file; a missing one is no error.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.files.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", path, &error)),
            _ => Ok(()),
        }
    }

    pub fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        // Syncing a directory takes a descriptor too.
        let result = self.retried(|| self.files.sync_dir(path));
        self.done("sync", path, result)
    }

    /// Makes everything durable that is dirty in the log now, and says up to which offset it is.
    pub fn sync_log(&self, durability: &Durability) -> Result<i64, Error> {
        // One sync of a log at a time: a second one would find nothing dirty while the first still runs.
        let _order = durability.sync_order();
        self.check()?;
        let work = durability.take();
        match self.sync_work(durability, &work) {
            Ok(()) => Ok(durability.synced(&work)),
            Err(error) => {
                if error.is_retriable() {
                    durability.put_back(work);
                }
                Err(error)
            }
        }
    }

    fn sync_work(&self, durability: &Durability, work: &Work) -> Result<(), Error> {
        for file in &work.files {
            if let Err(error) = file.sync_data() {
                // Never repeated, whatever it says: the bytes may be gone from the cache.
                return Err(self.give_up(self.failed("sync", Path::new(durability.name()), &error)));
            }
        }
        if work.directory && !durability.is_closed() {
            self.sync_dir(&self.path.join(durability.name()))?;
            if work.created {
                self.sync_dir(&self.path)?;
                durability.establish();
            }
        }
        Ok(())
    }
}
