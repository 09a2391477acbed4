//! A run of batches in a segment's file: what a read answers with, and what sendfile needs.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::files::{self, File};

/// Bytes of one file, whole batches apart from the last, which may be cut by the reader's limit. The file
/// stays readable for as long as the slice lives, also after its segment was deleted.
#[derive(Debug, Clone)]
pub struct Slice {
    pub file: Arc<dyn File>,
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

    /// What to read ahead when the slice is not hot.
    pub fn cold(&self) -> Cold {
        Cold { file: self.file.clone(), position: self.position, length: self.length }
    }
}

/// Bytes that are not in memory.
#[derive(Debug, Clone)]
pub struct Cold {
    pub file: Arc<dyn File>,
    pub position: u64,
    pub length: usize,
}

impl Cold {
    /// Reads the bytes, so that they are in memory afterwards. Blocks on the disk.
    pub fn warm(&self) -> io::Result<()> {
        let mut buffer = vec![0; self.length.clamp(1, WARM_CHUNK)];
        let end = self.position + self.length as u64;
        let mut position = self.position;
        while position < end {
            let wanted = buffer.len().min((end - position) as usize);
            match self.file.read_at(&mut buffer[..wanted], position) {
                Ok(0) => break,
                Ok(count) => position += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

const WARM_CHUNK: usize = 256 << 10;
