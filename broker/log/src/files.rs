//! The file-system seam: everything this crate asks of a disk, as two small traits.
//!
//! Production uses `RealFiles`; the tests use `MemoryFiles`, which loses what was not synced. The traits
//! promise no more than POSIX does: data is durable after `sync_data`, a name after `sync_dir` of its
//! directory, and a failed sync says nothing about what reached the disk. Paths are whole paths; neither
//! side keeps a current directory.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

/// A file system, or something that behaves like one.
pub trait Files: Send + Sync + std::fmt::Debug {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a file for reading and writing, empty even when there was one of that name.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Names in a directory, in no particular order.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// Size and modification time of a file without opening it.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Creates a directory and the missing ones above it; an existing one is not an error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory; replaces an existing file atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with everything in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `directory` durable: creations, renames and removals.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Takes the exclusive lock `path`, creating the file if needed. It is released when the result is
    /// dropped, and by the end of the process. `ErrorKind::WouldBlock` when someone else has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A held lock; dropping it releases it.
pub trait Lock: Send + Sync + std::fmt::Debug {}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_directory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    pub size: u64,
    pub modified_ms: i64,
}

/// An open file. Positions are absolute: there is no cursor, so one handle serves many readers.
pub trait File: Send + Sync + std::fmt::Debug {
    /// Reads at `position`; 0 means the end of the file. May return less than asked.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// As `read_at`, but fails with `ErrorKind::WouldBlock` instead of waiting for the disk.
    fn read_hot_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes the buffers one after the other at `position`, growing the file. May write less than given.
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes the contents and the size durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;

    fn size(&self) -> io::Result<u64>;

    /// Sets the size, and gives blocks reserved beyond it back.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Reserves blocks for `position..position + length` without changing the size. `Unsupported` where the
    /// file system cannot; nobody depends on success.
    fn allocate(&self, position: u64, length: u64) -> io::Result<()>;

    /// The descriptor for sendfile, where there is one.
    fn raw_fd(&self) -> Option<RawFd>;
}

/// Fills `buffer` from `position`, or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn File, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads up to `buffer.len()` bytes from `position`; less only at the end of the file.
pub fn read_up_to_at(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `bytes` at `position`.
pub fn write_all_at(file: &dyn File, bytes: &[u8], position: u64) -> io::Result<()> {
    write_all_vectored_at(file, &mut [IoSlice::new(bytes)], position)
}

/// Writes all buffers one after the other at `position`. The slices are used up on the way.
pub fn write_all_vectored_at(
    file: &dyn File,
    mut buffers: &mut [IoSlice<'_>],
    mut position: u64,
) -> io::Result<()> {
    // Empty leading buffers would make a write of nothing look like a full disk.
    IoSlice::advance_slices(&mut buffers, 0);
    while !buffers.is_empty() {
        match file.write_vectored_at(buffers, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                position += count as u64;
                IoSlice::advance_slices(&mut buffers, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The whole contents of a small file, refusing more than `size_max` bytes.
pub fn read_file(files: &dyn Files, path: &Path, size_max: u64) -> io::Result<Vec<u8>> {
    let file = files.open(path)?;
    let size = file.size()?;
    if size > size_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} has {size} bytes, more than {size_max}", path.display()),
        ));
    }
    let mut contents = vec![0; size as usize];
    let count = read_up_to_at(&*file, &mut contents, 0)?;
    contents.truncate(count);
    Ok(contents)
}

/// Replaces `path` by `contents` so that a reader, also one after a power loss, sees the old or the new file
/// and nothing between: write a neighbour, sync it, rename it, sync the directory.
pub fn replace_file(files: &dyn Files, path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = files.create(temporary)?;
    write_all_at(&*file, contents, 0)?;
    file.sync_data()?;
    drop(file);
    files.rename(temporary, path)?;
    match path.parent() {
        Some(directory) => files.sync_dir(directory),
        None => Ok(()),
    }
}
