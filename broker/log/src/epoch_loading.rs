//! The leader epochs of a log that is opened: from their file, and from the batches where the file is lost.

use crate::checkpoint;
use crate::error::Error;
use crate::leader_epochs::{self, LeaderEpochs};
use crate::log::Log;

impl Log {
    /// The epochs of the file; `None` when it is missing or does not parse.
    pub(crate) fn read_epochs(&self) -> Result<Option<LeaderEpochs>, Error> {
        let path = self.folder().join(leader_epochs::FILE_NAME);
        let parse = |text: &str| if text.is_empty() { Ok(None) } else { LeaderEpochs::parse(text).map(Some) };
        match checkpoint::read(&*self.disk.files, &path, parse) {
            Ok(epochs) => Ok(epochs.flatten()),
            Err(checkpoint::Error::Io { source, .. }) => Err(self.disk.failed("read", &path, &source)),
            Err(error @ checkpoint::Error::Damaged { .. }) => {
                tracing::warn!(file = %path.display(), %error, "leader epochs are read from the log");
                Ok(None)
            }
        }
    }

    /// Reads from the headers which epochs the records before the first known one have: the file is gone, or
    /// it knows of a deletion that a crash undid.
    pub(crate) fn complete_epochs(&mut self) -> Result<(), Error> {
        let known_from = self.epochs.earliest().map_or(self.log_end_offset, |first| first.start_offset);
        if known_from <= self.log_start_offset {
            return Ok(());
        }
        let mut epochs = LeaderEpochs::default();
        self.replay(self.log_start_offset, known_from, |batch| {
            let header = batch.header();
            if header.leader_epoch > epochs.latest_epoch().unwrap_or(-1) {
                epochs.assign(header.leader_epoch, header.base_offset);
            }
            Ok(())
        })?;
        epochs.truncate_from_start(self.log_start_offset);
        for known in self.epochs.entries() {
            epochs.assign(known.epoch, known.start_offset);
        }
        self.epochs_changed |= epochs != self.epochs;
        self.epochs = epochs;
        Ok(())
    }
}
