//! The marker of a clean stop, and the list of logs for which it does not speak.
//!
//! The marker is Kafka's. It speaks for a whole directory, but a log may have been left out: found damaged, not
//! opened since an unclean stop, or not closed in order. Those are listed beside it (`unclean-logs`, ours) and are
//! checked at the next start as after a crash.

use std::collections::BTreeSet;
use std::io;

use crate::checkpoint;
use crate::disk::Disk;
use crate::error::Error;
use crate::files;
use crate::properties;

const MARKER: &str = ".kafka_cleanshutdown";
const UNCLEAN: &str = "unclean-logs";

/// Bound on the size of the marker.
const MARKER_SIZE_MAX: u64 = 64 << 10;

/// What the last stop left behind.
#[derive(Debug)]
pub(crate) struct CleanStop {
    /// -1 when the marker names none.
    pub broker_epoch: i64,
    /// `None` when the list does not read: then no log is believed.
    unclean: Option<BTreeSet<String>>,
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
        let unclean = read_unclean(disk)?;
        disk.remove(&path)?;
        disk.sync_dir(&disk.path)?;
        Ok(Some(CleanStop { broker_epoch: properties::parse_clean_stop(&text), unclean }))
    }

    /// Whether everything of this log was synced and its indexes are complete.
    pub fn vouches_for(&self, name: &str) -> bool {
        self.unclean.as_ref().is_some_and(|unclean| !unclean.contains(name))
    }

    /// Writes list and marker.
    pub fn write(disk: &Disk, broker_epoch: i64, unclean: &BTreeSet<String>) -> Result<(), Error> {
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

fn read_unclean(disk: &Disk) -> Result<Option<BTreeSet<String>>, Error> {
    let path = disk.path.join(UNCLEAN);
    let parse = |text: &str| checkpoint::parse(text, |line| Some(line.to_owned()));
    match checkpoint::read(&*disk.files, &path, parse) {
        Ok(names) => Ok(Some(names.unwrap_or_default().into_iter().collect())),
        Err(checkpoint::Error::Io { source, .. }) => Err(disk.failed("read", &path, &source)),
        Err(error @ checkpoint::Error::Damaged { .. }) => {
            tracing::warn!(path = %path.display(), %error, "list of unclean logs is damaged; all are checked");
            Ok(None)
        }
    }
}
