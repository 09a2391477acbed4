//! The marker of a clean stop, and what is noted beside it of each log.
//!
//! The marker is Kafka's. It speaks for a whole directory, but a log may have been left out: found damaged, not
//! opened since an unclean stop, or not closed in order. Those are listed beside it (`unclean-logs`, ours) and are
//! checked at the next start as after a crash. How much of each log there was stands in `closed-logs`, also ours.
//!
//! Kafka knows neither file, so it may leave an old one beside a marker of its own. Markers of ours end with a
//! line's end; beside any other `closed-logs` is not believed.

use std::collections::BTreeSet;
use std::io;

use crate::checkpoint;
use crate::disk::Disk;
use crate::error::Error;
use crate::extent::{Extent, Extents};
use crate::files;
use crate::properties;

const MARKER: &str = ".kafka_cleanshutdown";
const UNCLEAN: &str = "unclean-logs";
const CLOSED: &str = "closed-logs";

/// Bound on the size of the marker.
const MARKER_SIZE_MAX: u64 = 64 << 10;

/// What the last stop left behind.
#[derive(Debug)]
pub(crate) struct CleanStop {
    /// -1 when the marker names none.
    pub broker_epoch: i64,
    /// `None` when the list does not read: then no log is believed.
    unclean: Option<BTreeSet<String>>,
    /// How much there was of each log; `None` when the stop was Kafka's, who does not say.
    extents: Option<Extents>,
}

impl CleanStop {
    /// Reads the marker and removes it, durably: from now on a stop is not clean until it says so.
    pub fn take(disk: &Disk) -> Result<Option<CleanStop>, Error> {
        let path = disk.path.join(MARKER);
        let text = match files::read_file(&*disk.files, &path, MARKER_SIZE_MAX) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::Unreadable { file: path, reason: error.to_string() });
            }
            Err(error) => return Err(disk.failed("read", &path, &error)),
        };
        let unclean = read_list(disk, UNCLEAN, |line| Some(line.to_owned()))?;
        let unclean = unclean.map(|names| names.into_iter().collect());
        let extents = if properties::is_our_clean_stop(&text) {
            let extents = read_list(disk, CLOSED, Extent::parse_line)?.unwrap_or_default();
            Some(extents.into_iter().collect())
        } else {
            None
        };
        disk.remove(&path)?;
        disk.sync_dir(&disk.path)?;
        Ok(Some(CleanStop { broker_epoch: properties::parse_clean_stop(&text), unclean, extents }))
    }

    /// Whether everything of this log was synced and its indexes are complete.
    pub fn vouches_for(&self, name: &str) -> bool {
        self.unclean.as_ref().is_some_and(|unclean| !unclean.contains(name))
            && self.extents.as_ref().is_none_or(|extents| extents.contains_key(name))
    }

    /// How much there was of this log when it was last closed, if it has not changed since.
    pub fn extent(&self, name: &str) -> Option<Extent> {
        self.extents.as_ref()?.get(name).copied()
    }

    /// Writes lists and marker.
    pub fn write(
        disk: &Disk,
        broker_epoch: i64,
        unclean: &BTreeSet<String>,
        extents: &Extents,
    ) -> Result<(), Error> {
        let path = disk.path.join(CLOSED);
        let text = checkpoint::to_text(extents.iter().map(|(name, extent)| extent.to_line(name)));
        disk.done("write", &path, files::replace_file(&*disk.files, &path, text.as_bytes()))?;
        let path = disk.path.join(UNCLEAN);
        if unclean.is_empty() {
            // Coming back after a power loss it would only cost time.
            disk.remove(&path)?;
        } else {
            tracing::warn!(directory = %disk.path.display(), logs = ?unclean, "logs are left unclean");
            let text = checkpoint::to_text(unclean.iter().cloned());
            disk.done("write", &path, files::replace_file(&*disk.files, &path, text.as_bytes()))?;
        }
        let path = disk.path.join(MARKER);
        let text = properties::clean_stop_to_text(broker_epoch);
        disk.done("write", &path, files::replace_file(&*disk.files, &path, text.as_bytes()))
    }
}

/// The entries of one of the lists, none when it is missing; `None` when it does not read.
fn read_list<T>(
    disk: &Disk,
    name: &str,
    parse_entry: impl FnMut(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, Error> {
    let path = disk.path.join(name);
    match checkpoint::read(&*disk.files, &path, |text| checkpoint::parse(text, parse_entry)) {
        Ok(entries) => Ok(Some(entries.unwrap_or_default())),
        Err(checkpoint::Error::Io { source, .. }) => Err(disk.failed("read", &path, &source)),
        Err(error @ checkpoint::Error::Damaged { .. }) => {
            tracing::warn!(path = %path.display(), %error, "list of logs is damaged; all it may name are checked");
            Ok(None)
        }
    }
}
