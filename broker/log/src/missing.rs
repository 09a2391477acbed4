//! Segments that a log must have and does not, told from the names in its folder.
//!
//! A segment leaves by being renamed (retention; `.log.deleted` stays until a checkpoint knows the new log start) or
//! is removed at or above a recovery point that was lowered before. So below the recovery point there is no legal
//! way to an index without its `.log`, nor to a first segment above the log start in the checkpoint, unless a
//! `.log.deleted` tells of it.
//!
//! Source: ADR 34.

use std::path::Path;

use crate::directory::Checkpointed;
use crate::disk::Disk;
use crate::error::Error;
use crate::folder::Folder;
use crate::names::Kind;

/// Fails when a durable segment is missing; otherwise removes the indexes of segments that rightly are not there.
pub(crate) fn check(
    disk: &Disk,
    path: &Path,
    folder: &mut Folder,
    known: &Checkpointed,
) -> Result<(), Error> {
    let recovery_point = known.durable_upto();
    if let Some(base_offset) = missing_below(folder, recovery_point) {
        let reason = format!(
            "the file is gone, its index is there, and everything below offset {recovery_point} was durable"
        );
        return Err(Error::damaged(Kind::Log.path(path, base_offset), 0, reason));
    }
    if let (Some(log_start_offset), Some(first)) = (known.log_start_offset, folder.segments.first()) {
        let first = first.base_offset;
        let is_deleted = folder.deleted.range(..first).next().is_some();
        if log_start_offset < first && log_start_offset < recovery_point && !is_deleted {
            let reason =
                format!("the log begins here, but offset {log_start_offset} was durable and not deleted");
            return Err(Error::damaged(Kind::Log.path(path, first), 0, reason));
        }
    }
    remove_orphans(disk, path, folder)
}

/// The first segment below the recovery point of which only an index is left.
fn missing_below(folder: &Folder, recovery_point: i64) -> Option<i64> {
    // Deletion goes upwards, so that a deleted segment explains those before it.
    let explained_upto = folder.deleted.last().map_or(i64::MIN, |last| last.saturating_add(1));
    folder.orphans.range(explained_upto..).next().copied().filter(|base_offset| *base_offset < recovery_point)
}

/// Durably, before anything that explains them goes, and before the recovery point passes them.
fn remove_orphans(disk: &Disk, path: &Path, folder: &mut Folder) -> Result<(), Error> {
    if folder.orphans.is_empty() {
        return Ok(());
    }
    for base_offset in std::mem::take(&mut folder.orphans) {
        for kind in Kind::INDEXES {
            disk.remove(&kind.path(path, base_offset))?;
        }
    }
    disk.sync_dir(path)
}

#[cfg(test)]
#[path = "missing_test.rs"]
mod tests;
