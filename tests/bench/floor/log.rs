//! A partition: files of batches, and where every 4 KiB or so a batch begins.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

use crc_fast::{CrcAlgorithm, checksum};

/// Bytes of a batch's header, and where its fields are.
const HEADER: usize = 61;
const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;

const INDEX_INTERVAL: u64 = 4096;
/// Blocks are reserved ahead in these steps, once a file shows that it grows: an idle partition takes no disk.
const RESERVE: u64 = 64 << 20;
const RESERVE_FROM: u64 = 1 << 20;

pub const OFFSET_OUT_OF_RANGE: i16 = 1;
pub const CORRUPT_MESSAGE: i16 = 2;

#[derive(Clone, Copy)]
pub struct Limits {
    pub segment_bytes: u64,
    pub retention_bytes: u64,
}

struct Segment {
    file: Rc<File>,
    path: PathBuf,
    base_offset: i64,
    size: u64,
    reserved: u64,
    index: Vec<(i64, u64)>,
}

/// Bytes of one file that answer a fetch.
pub struct Slice {
    pub file: Rc<File>,
    pub position: u64,
    pub length: usize,
}

pub struct Partition {
    directory: PathBuf,
    limits: Limits,
    segments: VecDeque<Segment>,
    size: u64,
    pub next_offset: i64,
}

impl Partition {
    pub fn create(directory: PathBuf, limits: Limits) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let mut new = Self { directory, limits, segments: VecDeque::new(), size: 0, next_offset: 0 };
        new.roll()?;
        Ok(new)
    }

    pub fn start_offset(&self) -> i64 {
        self.segments[0].base_offset
    }

    /// Checks one batch, gives it the next offsets in place and writes it; its base offset, or an error code.
    pub fn append(&mut self, batch: &mut [u8]) -> io::Result<Result<i64, i16>> {
        let Some(count) = check(batch) else { return Ok(Err(CORRUPT_MESSAGE)) };
        if self.last().size + batch.len() as u64 > self.limits.segment_bytes && self.last().size > 0 {
            self.roll()?;
        }
        let base = self.next_offset;
        batch[..LENGTH_AT].copy_from_slice(&base.to_be_bytes());
        batch[EPOCH_AT..MAGIC_AT].fill(0);
        let segment = self.segments.back_mut().expect("a partition has a segment");
        let end = segment.size + batch.len() as u64;
        if end > segment.reserved && end > RESERVE_FROM {
            segment.reserved = (end + RESERVE).min(self.limits.segment_bytes);
            crate::syscalls::reserve(&segment.file, segment.reserved);
        }
        segment.file.write_all_at(batch, segment.size)?;
        if segment.index.last().is_none_or(|&(_, position)| segment.size - position >= INDEX_INTERVAL) {
            segment.index.push((base, segment.size));
        }
        segment.size += batch.len() as u64;
        self.size += batch.len() as u64;
        self.next_offset += count;
        Ok(Ok(base))
    }

    /// Bytes from the batch that holds `offset` on: at most `max_bytes`, but never less than one batch.
    pub fn read(&self, offset: i64, max_bytes: usize) -> io::Result<Result<Option<Slice>, i16>> {
        if offset < self.start_offset() || offset > self.next_offset {
            return Ok(Err(OFFSET_OUT_OF_RANGE));
        }
        if offset == self.next_offset || max_bytes == 0 {
            return Ok(Ok(None));
        }
        let found = self.segments.partition_point(|segment| segment.base_offset <= offset) - 1;
        let segment = &self.segments[found];
        let entry = segment.index.partition_point(|&(base, _)| base <= offset) - 1;
        let mut position = segment.index[entry].1;
        let mut head = [0; HEADER];
        loop {
            segment.file.read_exact_at(&mut head, position)?;
            let length = LENGTH_AT + 4 + be_u32(&head, LENGTH_AT) as usize;
            if i64::from_be_bytes(head[..8].try_into().expect("8 bytes"))
                + i64::from(be_u32(&head, LAST_DELTA_AT))
                >= offset
            {
                let rest = (segment.size - position) as usize;
                let length = rest.min(max_bytes.max(length));
                return Ok(Ok(Some(Slice { file: Rc::clone(&segment.file), position, length })));
            }
            position += length as u64;
        }
    }

    /// Removes the files and their folder; readers that still hold a file may finish.
    pub fn delete(&mut self) -> io::Result<()> {
        self.segments.drain(..).try_for_each(|segment| fs::remove_file(segment.path))?;
        fs::remove_dir(&self.directory)
    }

    fn last(&self) -> &Segment {
        self.segments.back().expect("a partition has a segment")
    }

    fn roll(&mut self) -> io::Result<()> {
        let path = self.directory.join(format!("{:020}.log", self.next_offset));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let (base_offset, file, index) = (self.next_offset, Rc::new(file), Vec::new());
        self.segments.push_back(Segment { file, path, base_offset, size: 0, reserved: 0, index });
        while self.segments.len() > 1 && self.size - self.segments[0].size >= self.limits.retention_bytes {
            let old = self.segments.pop_front().expect("more than one");
            self.size -= old.size;
            fs::remove_file(old.path)?;
        }
        Ok(())
    }
}

/// Number of records of a whole and undamaged batch.
fn check(batch: &[u8]) -> Option<i64> {
    let whole = batch.len() >= HEADER && LENGTH_AT + 4 + be_u32(batch, LENGTH_AT) as usize == batch.len();
    if !whole || batch[MAGIC_AT] != 2 {
        return None;
    }
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, &batch[ATTRIBUTES_AT..]) as u32;
    (crc == be_u32(batch, CRC_AT)).then(|| i64::from(be_u32(batch, LAST_DELTA_AT)) + 1)
}

fn be_u32(bytes: &[u8], position: usize) -> u32 {
    u32::from_be_bytes(bytes[position..position + 4].try_into().expect("4 bytes"))
}
