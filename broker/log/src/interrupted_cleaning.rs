//! Completing, or undoing, what a log cleaner had begun when its process died.
//!
//! A cleaner writes the new segment under `.cleaned`, syncs it, and renames it to `.swap`: that is the point of no
//! return. Then the segments it replaces go and the `.swap` gets their name. So a `.cleaned` never happened and a
//! `.swap` has: the segments it covers are removed, and it is renamed. Each step can be done again.
//!
//! A `.swap` at or above a `.cleaned` is part of a split of one segment into several that never came to its end;
//! the segment is still there. As in Kafka such a `.swap` is removed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::Error;
use crate::folder::Folder;
use crate::names::{Kind, SWAP};
use crate::scan::{Scan, ScanError};

/// Does so for the folder at `path`; false when there was nothing to do, and `folder` is as it was read.
pub(crate) fn complete(disk: &Disk, path: &Path, folder: &Folder) -> Result<bool, Error> {
    if folder.swaps.is_empty() {
        return Ok(false);
    }
    let is_valid = |(base_offset, _): &&(i64, Kind)| {
        folder.cleaned_from.is_none_or(|cleaned_from| *base_offset < cleaned_from)
    };
    let (valid, invalid): (Vec<_>, Vec<_>) = folder.swaps.iter().partition(is_valid);
    // First, because damage is found here: then nothing is touched.
    let replaced = replaced(disk, path, &valid)?;
    tracing::warn!(folder = %path.display(), files = valid.len(), ?replaced, "interrupted compaction is completed");
    for (base_offset, kind) in invalid {
        disk.remove(&swap(path, *base_offset, *kind))?;
    }
    for entry in disk.done("list", path, disk.files.list(path))? {
        if Kind::parse(&entry.name).is_some_and(|(base_offset, _)| replaced.contains(&base_offset)) {
            disk.remove(&path.join(&entry.name))?;
        }
    }
    // Or a power loss could bring an old segment back beside the one that replaced it.
    disk.sync_dir(path)?;
    for (base_offset, kind) in valid {
        let (from, to) = (swap(path, *base_offset, *kind), kind.path(path, *base_offset));
        disk.done("rename", &from, disk.files.rename(&from, &to))?;
    }
    disk.sync_dir(path)?;
    Ok(true)
}

/// Offsets of the segments that the new ones replace; empty when only indexes are left to rename.
fn replaced(disk: &Disk, path: &Path, swaps: &[&(i64, Kind)]) -> Result<Range<i64>, Error> {
    let mut range: Option<Range<i64>> = None;
    for (base_offset, _) in swaps.iter().filter(|(_, kind)| *kind == Kind::Log) {
        let end_offset = end_of(disk, &swap(path, *base_offset, Kind::Log), *base_offset)?;
        // Of one without batches too: it takes the place of the segment of its name.
        let end_offset = end_offset.max(base_offset.saturating_add(1));
        let before = range.unwrap_or(*base_offset..end_offset);
        range = Some(before.start.min(*base_offset)..before.end.max(end_offset));
    }
    Ok(range.unwrap_or(0..0))
}

/// The offset behind the last batch of a file.
fn end_of(disk: &Disk, path: &Path, base_offset: i64) -> Result<i64, Error> {
    let Some(file) = disk.open(path)? else { return Ok(base_offset) };
    let size = disk.done("look at", path, file.size())?;
    let size = u32::try_from(size).map_err(|_| Error::damaged(path.to_owned(), 0, "it is too large"))?;
    let mut scan = Scan::new(file, 0, size, base_offset);
    let mut next_offset = base_offset;
    loop {
        match scan.next() {
            Ok(Some(located)) => next_offset = located.header.next_offset(),
            Ok(None) => return Ok(next_offset),
            Err(ScanError::Damaged { position, reason }) => {
                return Err(Error::damaged(path.to_owned(), position, reason));
            }
            Err(ScanError::Io(error)) => return Err(disk.failed("read", path, &error)),
            Err(ScanError::Storage(error)) => return Err(error),
            Err(ScanError::Cold(cold)) => {
                return Err(Error::damaged(path.to_owned(), cold.position, "not in memory"));
            }
        }
    }
}

fn swap(path: &Path, base_offset: i64, kind: Kind) -> PathBuf {
    let mut name = kind.path(path, base_offset).into_os_string();
    name.push(SWAP);
    name.into()
}
