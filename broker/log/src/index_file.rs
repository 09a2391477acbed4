//! What the offset index and the time index have in common: entries of a fixed size, ascending, in a file of
//! nothing else. A sealed segment's index is searched in the file; the active segment's last entries are in
//! memory and are written in runs, so that memory does not grow with the segment.

use std::io;

use crate::files::{self, File};

/// One entry of an index.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    const SIZE: usize;
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(bytes: &[u8]) -> Self;
    /// What entries ascend by.
    fn key(&self) -> i64;
}

/// Entries read at once when a search has come close.
const CHUNK_ENTRIES: u32 = 256;

/// The last of the first `count` entries of `file` for which `holds` is true. `holds` must be true for a
/// prefix of the entries; in a damaged file the result is any entry, or none.
pub(crate) fn last_where<E: Entry>(
    file: &dyn File,
    count: u32,
    hot_only: bool,
    holds: impl Fn(&E) -> bool,
) -> io::Result<Option<(u32, E)>> {
    let (mut low, mut high) = (0, count);
    let mut one = [0; MAX_ENTRY_SIZE];
    while high - low > CHUNK_ENTRIES {
        let middle = low + (high - low) / 2;
        read(file, &mut one[..E::SIZE], u64::from(middle) * E::SIZE as u64, hot_only)?;
        if holds(&E::decode(&one)) { low = middle } else { high = middle }
    }
    let mut chunk = [0; CHUNK_ENTRIES as usize * MAX_ENTRY_SIZE];
    let chunk = &mut chunk[..(high - low) as usize * E::SIZE];
    read(file, chunk, u64::from(low) * E::SIZE as u64, hot_only)?;
    let mut found = None;
    for (index, bytes) in (low..).zip(chunk.chunks_exact(E::SIZE)) {
        let entry = E::decode(bytes);
        if !holds(&entry) {
            break;
        }
        found = Some((index, entry));
    }
    Ok(found)
}

/// The first entry of a whole file for which `holds` is not true, which follows those for which it is.
pub(crate) fn first_not<E: Entry>(
    file: &dyn File,
    hot_only: bool,
    holds: impl Fn(&E) -> bool,
) -> io::Result<Option<E>> {
    let count = (file.size()? / E::SIZE as u64) as u32;
    let next = last_where(file, count, hot_only, holds)?.map_or(0, |(index, _)| index + 1);
    if next >= count {
        return Ok(None);
    }
    let mut bytes = [0; MAX_ENTRY_SIZE];
    read(file, &mut bytes[..E::SIZE], u64::from(next) * E::SIZE as u64, hot_only)?;
    Ok(Some(E::decode(&bytes)))
}

/// The last of the first `count` entries; `None` when there is none, or when it does not stand above the
/// first, as zeros at the end of a file do not.
pub(crate) fn last<E: Entry>(file: &dyn File, count: u32) -> io::Result<Option<E>> {
    let Some(index) = count.checked_sub(1) else { return Ok(None) };
    let mut bytes = [0; MAX_ENTRY_SIZE];
    read(file, &mut bytes[..E::SIZE], u64::from(index) * E::SIZE as u64, false)?;
    let last = E::decode(&bytes);
    read(file, &mut bytes[..E::SIZE], 0, false)?;
    let first = E::decode(&bytes);
    Ok((index == 0 || first.key() < last.key()).then_some(last))
}

/// Whether the entries of the whole file ascend strictly, which a file of zeros or another's does not.
pub(crate) fn ascends<E: Entry>(file: &dyn File, count: u32) -> io::Result<bool> {
    let mut bytes = vec![0; count as usize * E::SIZE];
    read(file, &mut bytes, 0, false)?;
    let mut keys = bytes.chunks_exact(E::SIZE).map(|bytes| E::decode(bytes).key());
    let Some(mut previous) = keys.next() else { return Ok(true) };
    Ok(keys.all(|key| std::mem::replace(&mut previous, key) < key))
}

/// Fills `buffer`; with `hot_only` without waiting for the disk.
pub(crate) fn read(file: &dyn File, buffer: &mut [u8], position: u64, hot_only: bool) -> io::Result<()> {
    if !hot_only {
        return files::read_exact_at(file, buffer, position);
    }
    match file.read_hot_at(buffer, position) {
        Ok(count) if count == buffer.len() => Ok(()),
        // The first page was in memory and the second was not, or the file ends early.
        Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

const MAX_ENTRY_SIZE: usize = 12;

/// The index of a segment that is still growing: so many entries in the file, the rest here.
#[derive(Debug, Clone)]
pub(crate) struct Tail<E> {
    pub on_disk: u32,
    pub memory: Vec<E>,
}

impl<E> Default for Tail<E> {
    fn default() -> Self {
        Tail { on_disk: 0, memory: Vec::new() }
    }
}

/// Entries kept in memory before they are written: half a megabyte of log with the default interval.
pub(crate) const MEMORY_ENTRIES_MAX: usize = 128;

impl<E: Entry> Tail<E> {
    pub fn count(&self) -> u32 {
        self.on_disk + self.memory.len() as u32
    }

    pub fn push(&mut self, entry: E) {
        self.memory.push(entry);
    }

    /// The last entry in memory for which `holds`, which is the answer if there is one; otherwise the file has
    /// to be asked.
    pub fn last_in_memory(&self, holds: impl Fn(&E) -> bool) -> Option<E> {
        let after = self.memory.partition_point(holds);
        after.checked_sub(1).map(|index| self.memory[index])
    }

    /// Writes the entries in memory behind those in `file`.
    pub fn spill(&mut self, file: &dyn File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.memory.len() * E::SIZE);
        for entry in &self.memory {
            entry.encode(&mut bytes);
        }
        files::write_all_at(file, &bytes, u64::from(self.on_disk) * E::SIZE as u64)?;
        self.on_disk = self.count();
        self.memory.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::files::Files;
    use crate::memory_files::MemoryFiles;
    use crate::offset_index::OffsetEntry;

    fn file_of(entries: &[OffsetEntry]) -> Arc<dyn File> {
        let file = MemoryFiles::new().create(Path::new("/index")).unwrap();
        let mut tail = Tail { on_disk: 0, memory: entries.to_vec() };
        tail.spill(&*file).unwrap();
        assert_eq!((tail.on_disk as usize, tail.memory.len()), (entries.len(), 0));
        file
    }

    proptest! {
        #[test]
        fn search_finds_what_a_walk_finds(count in 0_u32..2000, step in 1_u32..9, target in 0_u32..20_000) {
            let entries: Vec<OffsetEntry> = (0..count)
                .map(|index| OffsetEntry { relative_offset: index * step + 3, position: index })
                .collect();
            let file = file_of(&entries);
            let holds = |entry: &OffsetEntry| entry.relative_offset <= target;
            let walked = entries.iter().rposition(holds).map(|index| (index as u32, entries[index]));
            prop_assert_eq!(last_where(&*file, count, false, holds).unwrap(), walked);
            prop_assert_eq!(last::<OffsetEntry>(&*file, count).unwrap(), entries.last().copied());
            prop_assert!(ascends::<OffsetEntry>(&*file, count).unwrap());
        }
    }

    #[test]
    fn zeros_do_not_ascend() {
        let entries = [3, 0, 0].map(|relative_offset| OffsetEntry { relative_offset, position: 0 });
        assert!(!ascends::<OffsetEntry>(&*file_of(&entries), 3).unwrap());
    }
}
