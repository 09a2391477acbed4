//! Walking the batches of a segment's file, header by header, and reading a whole batch where its contents
//! matter. Every length comes from the disk and is checked against the file before anything is read or
//! allocated.

use std::io;
use std::sync::Arc;

use milena_protocol::records::{Batch, BatchError, BatchHeader, HEADER_SIZE};

use crate::error::Error;
use crate::files::File;

/// Why a walk cannot go on.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// The file could not be opened.
    Storage(Error),
    /// The next bytes are not in memory, and the caller does not want to wait.
    Cold(Unread),
    /// What stands at `position` is no batch that can follow the one before it.
    Damaged {
        position: u64,
        reason: String,
    },
}

/// Bytes to bring into memory.
#[derive(Debug)]
pub(crate) struct Unread {
    pub file: Arc<dyn File>,
    pub position: u64,
    pub length: usize,
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        ScanError::Io(error)
    }
}

/// A batch in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub position: u32,
    pub header: BatchHeader,
}

impl Located {
    pub fn size(&self) -> u32 {
        self.header.size_bytes() as u32
    }

    /// Position of the next batch.
    pub fn end(&self) -> u32 {
        self.position + self.size()
    }
}

/// Bytes read at once when only headers matter, and when everything does.
pub(crate) const HEADERS_CHUNK: usize = 4 << 10;
pub(crate) const WHOLE_CHUNK: usize = 1 << 20;

/// A walk over the batches of one file.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<dyn File>,
    /// Where the walk ends: the size of the segment.
    end: u32,
    /// Where the next batch is.
    position: u32,
    /// Offset that the next batch may not begin below.
    offset_min: i64,
    hot_only: bool,
    chunk: usize,
    buffer: Vec<u8>,
    buffer_position: u64,
}

impl Scan {
    /// Walks from `position`, which must be a batch's, to `end`. No batch may begin below `offset_min`.
    pub fn new(file: Arc<dyn File>, position: u32, end: u32, offset_min: i64) -> Self {
        Scan {
            file,
            end,
            position,
            offset_min,
            hot_only: false,
            chunk: HEADERS_CHUNK,
            buffer: Vec::new(),
            buffer_position: 0,
        }
    }

    pub fn hot_only(mut self, hot_only: bool) -> Self {
        self.hot_only = hot_only;
        self
    }

    /// Sets how much is read at once.
    pub fn chunk(&mut self, chunk: usize) {
        self.chunk = chunk;
    }

    /// The next batch; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Located>, ScanError> {
        let position = self.position;
        let left = (self.end - position) as usize;
        if left == 0 {
            return Ok(None);
        }
        if left < HEADER_SIZE {
            return Err(self.damaged(BatchError::Truncated { needed: HEADER_SIZE, available: left }));
        }
        let bytes = self.bytes(position, HEADER_SIZE)?;
        let size = Batch::peek_size(bytes);
        let header = BatchHeader::from_bytes(bytes.first_chunk().expect("a header was read"));
        match size {
            Err(error) => return Err(self.damaged(error)),
            Ok(size) if size > left => {
                return Err(self.damaged(BatchError::Truncated { needed: size, available: left }));
            }
            Ok(_) => {}
        }
        if header.base_offset < self.offset_min || header.last_offset() < header.base_offset {
            let BatchHeader { base_offset, last_offset_delta, .. } = header;
            let minimum = self.offset_min;
            return Err(self.damaged(format_args!(
                "offset {base_offset} with delta {last_offset_delta} cannot follow offset {minimum}"
            )));
        }
        let located = Located { position, header };
        self.position = located.end();
        self.offset_min = header.next_offset();
        Ok(Some(located))
    }

    /// All bytes of a batch that `next` returned.
    pub fn whole(&mut self, located: &Located) -> Result<&[u8], ScanError> {
        self.bytes(located.position, located.header.size_bytes())
    }

    /// Reads a whole batch and verifies its checksum.
    pub fn verify(&mut self, located: &Located) -> Result<Batch<'_>, ScanError> {
        let position = u64::from(located.position);
        let bytes = self.whole(located)?;
        let checked = Batch::parse(bytes).and_then(|(batch, _)| batch.verify_crc().map(|()| batch));
        checked.map_err(|error| ScanError::Damaged { position, reason: error.to_string() })
    }

    /// `length` bytes at `position`, which are known to be within the segment.
    fn bytes(&mut self, position: u32, length: usize) -> Result<&[u8], ScanError> {
        let position = u64::from(position);
        let buffered = self.buffer_position..self.buffer_position + self.buffer.len() as u64;
        if position < buffered.start || position + length as u64 > buffered.end {
            self.fill(position, length)?;
        }
        let start = (position - self.buffer_position) as usize;
        match self.buffer.get(start..start + length) {
            Some(bytes) => Ok(bytes),
            // The file is shorter than the size it had when it was opened.
            None => Err(ScanError::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn fill(&mut self, position: u64, length: usize) -> Result<(), ScanError> {
        let wanted = length.max(self.chunk).min((u64::from(self.end) - position) as usize);
        self.buffer.resize(wanted, 0);
        self.buffer_position = position;
        if self.hot_only {
            let count = match self.file.read_hot_at(&mut self.buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                result => result?,
            };
            self.buffer.truncate(count);
            if count < length {
                return Err(ScanError::Cold(Unread { file: self.file.clone(), position, length: wanted }));
            }
        } else {
            let count = crate::files::read_up_to_at(&*self.file, &mut self.buffer, position)?;
            self.buffer.truncate(count);
        }
        Ok(())
    }

    fn damaged(&self, reason: impl ToString) -> ScanError {
        ScanError::Damaged { position: u64::from(self.position), reason: reason.to_string() }
    }
}
