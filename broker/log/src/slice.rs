//! A run of batches in a segment's file: what a read answers with, and what sendfile needs.
//!
//! Its bytes are read where the log's lock is not held. Whoever fails to read them says so to the directory
//! ([`Directory::read_failed`]), as the log does when it fails itself.

use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directory::Directory;
use crate::error::Error;
use crate::files::{self, File};
use crate::names::Kind;

/// Bytes of one file, whole batches apart from the last, which may be cut by the reader's limit. The file
/// stays readable for as long as the slice lives, also after its segment was deleted.
#[derive(Debug, Clone)]
pub struct Slice {
    pub file: Arc<dyn File>,
    /// The log that it is of ([`Log::id`](crate::Log::id)).
    pub log: u64,
    /// Base offset of the segment, which names the file.
    pub segment: i64,
    pub position: u64,
    pub length: usize,
    /// Base offset of the first batch; not above the offset asked for unless compaction left a gap.
    pub first_base_offset: i64,
    /// The limit was smaller than the first batch, so the bytes hold no whole batch.
    pub first_batch_incomplete: bool,
}

impl Slice {
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.file.raw_fd()
    }

    /// Reads all bytes, waiting for the disk if need be.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.read_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer`, which must have the slice's length.
    pub fn read_into(&self, buffer: &mut [u8]) -> io::Result<()> {
        files::read_exact_at(&*self.file, buffer, self.position)
    }

    /// Whether the first page of the slice can be read without waiting for the disk.
    pub fn is_hot(&self) -> bool {
        let mut probe = [0; 1];
        !matches!(self.file.read_hot_at(&mut probe, self.position),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Bytes that are not in memory.
#[derive(Debug, Clone)]
pub struct Cold {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    pub position: u64,
    pub length: usize,
}

impl Cold {
    /// Reads the bytes, so that they are in memory afterwards. Blocks on the disk.
    pub fn warm(&self) -> io::Result<()> {
        warm(&*self.file, self.position, self.length)
    }
}

/// Reads bytes of a file so that they are in the page cache afterwards. The copy is cheap beside the disk that
/// it waits for. Blocks on the disk; a file that ends early is no error here.
pub fn warm(file: &dyn File, position: u64, length: usize) -> io::Result<()> {
    let mut buffer = vec![0; length.clamp(1, WARM_CHUNK)];
    let end = position + length as u64;
    let mut position = position;
    while position < end {
        let wanted = buffer.len().min((end - position) as usize);
        match file.read_at(&mut buffer[..wanted], position) {
            Ok(0) => break,
            Ok(count) => position += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const WARM_CHUNK: usize = 128 << 10;

impl Directory {
    /// Bytes of one of the directory's files could not be read outside of the log. A disk that fails takes the
    /// directory offline; a file that is shorter than it was is damage to its log alone. Say so to the log's
    /// owner.
    pub fn read_failed(&self, path: &Path, position: u64, error: &io::Error) -> Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::damaged(path.to_path_buf(), position, "the file has become shorter");
        }
        self.disk().failed(&format!("read at {position} of"), path, error)
    }

    /// The `.log` file of a segment.
    pub fn segment_path(&self, log: &str, base_offset: i64) -> PathBuf {
        Kind::Log.path(&self.path().join(log), base_offset)
    }
}
