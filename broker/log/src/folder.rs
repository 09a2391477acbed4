//! What a partition's folder holds before its log is opened.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::error::Error;
use crate::names::{CLEANED, DELETED, Kind, SWAP, TEMPORARY};
use crate::relocation::MOVED_FROM;
use crate::segment::Segment;

/// Segments and snapshots, ascending.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    pub segments: Vec<Segment>,
    pub snapshots: BTreeSet<i64>,
    /// Base offsets of indexes whose segment is not there.
    pub orphans: BTreeSet<i64>,
    /// Base offsets of segments that were renamed for deletion.
    pub deleted: BTreeSet<i64>,
    /// Files that a log cleaner was about to put in place of others.
    pub swaps: Vec<(i64, Kind)>,
    /// The lowest offset of a file that a log cleaner had not finished.
    pub cleaned_from: Option<i64>,
    /// It has the mark of a copy that took its log's place.
    pub is_marked: bool,
    /// Names of files that nobody needs any more. They are evidence until the log is open.
    pub leftovers: Vec<String>,
}

impl Folder {
    /// Lists a folder; `None` when there is none.
    pub fn read(disk: &Disk, path: &Path) -> Result<Option<Folder>, Error> {
        let entries = match disk.files.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => disk.done("list", path, result)?,
        };
        let mut folder = Folder::default();
        let mut transaction_indexes = BTreeSet::new();
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            let name = entry.name.as_str();
            if [DELETED, TEMPORARY, CLEANED].iter().any(|ending| name.ends_with(ending)) {
                folder.leftovers.push(name.to_owned());
                let plain = name.strip_suffix(DELETED).and_then(Kind::parse);
                folder.deleted.extend(plain.filter(|(_, kind)| *kind == Kind::Log).map(|(base, _)| base));
                if let Some((base, _)) = name.strip_suffix(CLEANED).and_then(Kind::parse) {
                    folder.cleaned_from = Some(folder.cleaned_from.map_or(base, |from| from.min(base)));
                }
            } else if let Some(plain) = name.strip_suffix(SWAP) {
                folder.swaps.extend(Kind::parse(plain));
            } else {
                match Kind::parse(name) {
                    Some((base_offset, Kind::Log)) => folder.segments.push(segment(disk, path, base_offset)?),
                    Some((offset, Kind::Snapshot)) => {
                        folder.snapshots.insert(offset);
                    }
                    Some((base_offset, kind)) => {
                        folder.orphans.insert(base_offset);
                        if kind == Kind::TransactionIndex {
                            transaction_indexes.insert(base_offset);
                        }
                    }
                    None => folder.is_marked |= name == MOVED_FROM,
                }
            }
        }
        folder.segments.sort_by_key(|segment| segment.base_offset);
        for segment in &mut folder.segments {
            folder.orphans.remove(&segment.base_offset);
            segment.has_transaction_index = transaction_indexes.contains(&segment.base_offset);
        }
        Ok(Some(folder))
    }
}

fn segment(disk: &Disk, folder: &Path, base_offset: i64) -> Result<Segment, Error> {
    let path = Kind::Log.path(folder, base_offset);
    let metadata = disk.files.metadata(&path);
    let size = disk.done("look at", &path, metadata)?.size;
    // Positions are 31 bits in Kafka's index.
    match u32::try_from(size).ok().filter(|size| *size <= i32::MAX as u32) {
        Some(size) => Ok(Segment::new(base_offset, size)),
        None => Err(Error::Unreadable { file: path, reason: format!("a segment cannot have {size} bytes") }),
    }
}
