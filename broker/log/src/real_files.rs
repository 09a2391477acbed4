//! The seam on a real file system. The only module of the crate with `unsafe`: the system calls that std
//! does not offer (pwritev, preadv2 with `RWF_NOWAIT`, fallocate with `FALLOC_FL_KEEP_SIZE`).

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::files::{Entry, File, Files, Lock, Metadata};

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

#[derive(Debug)]
struct RealFile(fs::File);

/// An flock, which the kernel releases with the descriptor.
#[derive(Debug)]
struct RealLock(#[allow(dead_code, reason = "held for its descriptor")] fs::File);

impl Lock for RealLock {}

impl Files for RealFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_directory: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Metadata { size: metadata.len(), modified_ms: modified.as_millis() as i64 })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        fs::File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock(file))),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    #[cfg(target_os = "linux")]
    fn read_hot_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let target = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `target` describes `buffer`, which is borrowed mutably for the whole call, and the
        // descriptor is owned by `self`.
        let count = unsafe {
            libc::preadv2(self.0.as_raw_fd(), &target, 1, position as libc::off_t, libc::RWF_NOWAIT)
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // A file system without the flag keeps its data in memory (tmpfs) or gives us no choice.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => self.0.read_at(buffer, position),
            _ => Err(error),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn read_hot_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if let [buffer] = buffers {
            return self.0.write_at(buffer, position);
        }
        let count = buffers.len().min(IOV_MAX) as libc::c_int;
        // SAFETY: std guarantees that `IoSlice` has the layout of `iovec`; the buffers are borrowed for the
        // whole call and only read; `count` is not above their number.
        let written = unsafe {
            libc::pwritev(self.0.as_raw_fd(), buffers.as_ptr().cast(), count, position as libc::off_t)
        };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(written as usize) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        // SAFETY: no memory is passed, and the descriptor is owned by `self`.
        let result = unsafe {
            libc::fallocate(
                self.0.as_raw_fd(),
                libc::FALLOC_FL_KEEP_SIZE,
                position as libc::off_t,
                length as libc::off_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _position: u64, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.0.as_raw_fd())
    }
}

/// Buffers that Linux takes in one call.
const IOV_MAX: usize = 1024;
