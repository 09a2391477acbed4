//! A file system in memory that behaves as badly as POSIX allows, for tests and simulation.
//!
//! Writes are visible at once and durable only after a sync: contents by `sync_data`, names by `sync_dir`.
//! [`MemoryFiles::crash`] gives what a disk may hold after a power loss: of everything unsynced, any part
//! may be there, in any order, torn at sectors. [`MemoryFiles::inject`] makes chosen operations fail, stop
//! short, or cut the power. After a failed sync the unsynced writes stay readable but no later sync makes
//! them durable, as on Linux. The same seed gives the same disk.
//!
//! The disk itself is in `disk`, the faults in `faults`; here is the seam.

mod disk;
mod faults;

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{Entry, File, Files, Lock, Metadata};
pub use disk::Loss;
use disk::{Disk, InodeId};
pub use faults::{Effect, Fault, Operation};
use faults::{Faults, Verdict};

/// The file system; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    disk: Disk,
    faults: Faults,
    locks: BTreeSet<PathBuf>,
    now_ms: i64,
}

impl MemoryFiles {
    pub fn new() -> Self {
        MemoryFiles::default()
    }

    /// What a disk may hold when the power fails now. `self` stays as it is.
    pub fn crash(&self, loss: Loss) -> MemoryFiles {
        let shared = self.shared.lock();
        let disk = shared.disk.after_power_loss(loss);
        let shared = Shared { disk, now_ms: shared.now_ms, ..Shared::default() };
        MemoryFiles { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Arms a fault; it counts operations from now on.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.arm(fault);
    }

    /// Faults that have not struck, or strike for ever.
    pub fn faults_count(&self) -> usize {
        self.shared.lock().faults.armed_count()
    }

    /// Disarms all faults, and gives the power back.
    pub fn heal(&self) {
        self.shared.lock().faults = Faults::default();
    }

    /// Operations that could change the disk, since the beginning: a history is as long as its count.
    pub fn operations_count(&self) -> u64 {
        self.shared.lock().faults.operations_count()
    }

    /// Writes that would hold more than this in all files fail with ENOSPC.
    pub fn set_capacity(&self, bytes_max: u64) {
        self.shared.lock().disk.bytes_max = Some(bytes_max);
    }

    /// Modification time of what is written from now on.
    pub fn set_now(&self, now_ms: i64) {
        self.shared.lock().now_ms = now_ms;
    }

    /// The whole contents of a file, past all faults. Panics when there is none: for tests.
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let shared = self.shared.lock();
        let id = shared.disk.find(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        shared.disk.contents(id).to_vec()
    }

    /// Replaces or creates a file durably, past all faults: damage done by a test. Its directory must exist.
    pub fn put(&self, path: &Path, contents: &[u8]) {
        let shared = &mut *self.shared.lock();
        shared.disk.put(path, contents).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Changes the contents of a file durably, past all faults.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut contents = self.contents(path);
        change(&mut contents);
        self.put(path, &contents);
    }

    /// Flips one bit of a file.
    pub fn flip_bit(&self, path: &Path, bit: usize) {
        self.damage(path, |contents| contents[bit / 8] ^= 1 << (bit % 8));
    }

    /// Paths of all files below `directory`, ascending.
    pub fn paths_below(&self, directory: &Path) -> Vec<PathBuf> {
        self.shared.lock().disk.paths_below(directory)
    }

    fn handle(&self, id: InodeId, path: &Path) -> Arc<dyn File> {
        Arc::new(Handle { files: self.clone(), id, path: path.to_owned() })
    }

    /// Runs `change` unless a fault forbids it. A fault that cuts the power lets the change reach the
    /// cache first, since the disk may have got it.
    fn change<T>(
        &self,
        operation: Operation,
        path: &Path,
        change: impl FnOnce(&mut Shared) -> io::Result<T>,
    ) -> io::Result<T> {
        let shared = &mut *self.shared.lock();
        match shared.faults.verdict(operation, path) {
            Verdict::Proceed | Verdict::Short(_) => change(shared),
            Verdict::Fail(error) => Err(error),
            Verdict::PowerLost(error) => {
                let _ = change(shared);
                Err(error)
            }
        }
    }
}

impl Files for MemoryFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut shared = self.shared.lock();
        shared.faults.check(Operation::Open, path)?;
        let id = shared.disk.find_file(path)?;
        Ok(self.handle(id, path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let id = self.change(Operation::Create, path, |shared| {
            let now_ms = shared.now_ms;
            shared.disk.create_file(path, now_ms)
        })?;
        Ok(self.handle(id, path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut shared = self.shared.lock();
        shared.faults.check(Operation::Open, directory)?;
        shared.disk.list(directory)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let mut shared = self.shared.lock();
        shared.faults.check(Operation::Open, path)?;
        let id = shared.disk.find(path)?;
        let size = shared.disk.contents(id).len() as u64;
        Ok(Metadata { size, modified_ms: shared.disk.modified_ms(id) })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Create, path, |shared| shared.disk.create_dirs(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Rename, to, |shared| shared.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove, path, |shared| shared.disk.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove, path, |shared| shared.disk.remove_dir_all(path))
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let shared = &mut *self.shared.lock();
        match shared.faults.verdict(Operation::SyncDir, directory) {
            Verdict::Proceed | Verdict::Short(_) => shared.disk.sync_dir(directory),
            Verdict::Fail(error) | Verdict::PowerLost(error) => Err(error),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let shared = &mut *self.shared.lock();
        shared.faults.check(Operation::Open, path)?;
        if shared.disk.find_file(path).is_err() {
            let now_ms = shared.now_ms;
            shared.disk.create_file(path, now_ms)?;
        }
        if !shared.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { shared: Arc::clone(&self.shared), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct Held {
    shared: Arc<Mutex<Shared>>,
    path: PathBuf,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.lock().locks.remove(&self.path);
    }
}

/// An open file. It stays readable after its name is gone, as a descriptor does.
#[derive(Debug)]
struct Handle {
    files: MemoryFiles,
    id: InodeId,
    /// The name it was opened by, which faults are chosen by.
    path: PathBuf,
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut shared = self.files.shared.lock();
        shared.faults.check(Operation::Read, &self.path)?;
        let contents = shared.disk.contents(self.id);
        let start = usize::try_from(position).map_or(contents.len(), |start| start.min(contents.len()));
        let count = buffer.len().min(contents.len() - start);
        buffer[..count].copy_from_slice(&contents[start..start + count]);
        Ok(count)
    }

    fn read_hot_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.files.shared.lock().faults.check(Operation::ReadHot, &self.path)?;
        self.read_at(buffer, position)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut bytes: Vec<u8> = Vec::with_capacity(buffers.iter().map(|buffer| buffer.len()).sum());
        buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
        let shared = &mut *self.files.shared.lock();
        let now_ms = shared.now_ms;
        match shared.faults.verdict(Operation::Write, &self.path) {
            Verdict::Proceed => shared.disk.write(self.id, position, bytes, now_ms),
            Verdict::Short(count) => {
                bytes.truncate(count);
                shared.disk.write(self.id, position, bytes, now_ms)
            }
            Verdict::Fail(error) => Err(error),
            Verdict::PowerLost(error) => {
                let _ = shared.disk.write(self.id, position, bytes, now_ms);
                Err(error)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let shared = &mut *self.files.shared.lock();
        match shared.faults.verdict(Operation::Sync, &self.path) {
            Verdict::Proceed | Verdict::Short(_) => {
                shared.disk.sync_data(self.id);
                Ok(())
            }
            Verdict::Fail(error) => {
                shared.disk.doom_unsynced(self.id);
                Err(error)
            }
            Verdict::PowerLost(error) => Err(error),
        }
    }

    fn size(&self) -> io::Result<u64> {
        let mut shared = self.files.shared.lock();
        shared.faults.check(Operation::Open, &self.path)?;
        Ok(shared.disk.contents(self.id).len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.files.change(Operation::Truncate, &self.path, |shared| {
            let now_ms = shared.now_ms;
            shared.disk.truncate(self.id, size, now_ms)
        })
    }

    fn allocate(&self, _position: u64, _length: u64) -> io::Result<()> {
        self.files.shared.lock().faults.check(Operation::Open, &self.path)
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}

#[cfg(test)]
#[path = "memory_files_test.rs"]
mod tests;
