//! What a voter must never forget beside its log: its vote, and up to where the log was purged.
//!
//! Both stand in `quorum-state`, replaced as a whole (write, fsync, rename, fsync directory) before the caller goes
//! on. The committed index is a hint in a file of its own, written in place and not synced: losing it costs a replay
//! after the next election, never data.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::files::{self, File, Files};
use milena_protocol::records::crc::crc32c;

use super::entry::{EntryError, Reader, put_log_id, put_voter};
use super::types::{LeaderId, LogId, Vote};

const STATE_FILE: &str = "quorum-state";
const COMMITTED_FILE: &str = "quorum-committed";
const VERSION: u8 = 1;
/// Far above what either file holds: a larger one is not ours.
const SIZE_MAX: u64 = 4_096;

/// The durable state of a voter.
#[derive(Debug)]
pub struct HardState {
    files: Arc<dyn Files>,
    path: PathBuf,
    committed_file: Arc<dyn File>,
    /// There was a `quorum-state` when it was opened.
    found: bool,
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
}

impl HardState {
    /// Reads the state kept in `directory`, which exists.
    ///
    /// Errors: `InvalidData` when `quorum-state` is damaged. Voting again without knowing the earlier vote could
    /// elect two leaders, so the controller does not start then. A damaged hint is ignored.
    pub fn open(files: Arc<dyn Files>, directory: &Path) -> io::Result<Self> {
        let path = directory.join(STATE_FILE);
        let mut found = true;
        let (vote, purged) = match files::read_file(&*files, &path, SIZE_MAX) {
            Ok(bytes) => decode_state(&bytes).map_err(|reason| {
                let message = format!("{}: {reason}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found = false;
                (None, None)
            }
            Err(error) => return Err(error),
        };
        let committed_path = directory.join(COMMITTED_FILE);
        let committed = files::read_file(&*files, &committed_path, SIZE_MAX).ok();
        let committed = committed.and_then(|bytes| decode_committed(&bytes).ok());
        let committed_file = match files.open(&committed_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.create(&committed_path)?,
            opened => opened?,
        };
        Ok(Self { files, path, committed_file, found, vote, purged, committed })
    }

    /// Fails when the vote is lost: a log that holds entries of a term, or has dropped some, was written by a voter that
    /// had voted before. The first entry of a new quorum, of term 0, is there before any vote.
    pub fn check_beside(&self, last: Option<LogId>, log_start_index: u64) -> io::Result<()> {
        let term = last.map_or(0, |last| last.leader_id.term);
        if self.found || (term == 0 && log_start_index == 0) {
            return Ok(());
        }
        let message = format!(
            "{} is missing, but the metadata log beside it begins at {log_start_index} and reaches term {term}: \
             without the vote in it two leaders could be elected. Restore the file",
            self.path.display()
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }

    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// The last entry that was removed from the front of the log.
    pub fn purged(&self) -> Option<LogId> {
        self.purged
    }

    pub fn committed(&self) -> Option<LogId> {
        self.committed
    }

    /// Durable when it returns.
    pub fn save_vote(&mut self, vote: Vote) -> io::Result<()> {
        self.replace(Some(vote), self.purged)?;
        self.vote = Some(vote);
        Ok(())
    }

    /// Durable when it returns; the log may drop its prefix only afterwards.
    pub fn save_purged(&mut self, purged: LogId) -> io::Result<()> {
        self.replace(self.vote, Some(purged))?;
        self.purged = Some(purged);
        Ok(())
    }

    /// Remembers how far the log was committed; may be forgotten by a power loss.
    pub fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut bytes = vec![VERSION];
        put_optional(committed.as_ref(), &mut bytes, put_log_id);
        seal(&mut bytes);
        files::write_all_at(&*self.committed_file, &bytes, 0)?;
        self.committed = committed;
        Ok(())
    }

    fn replace(&self, vote: Option<Vote>, purged: Option<LogId>) -> io::Result<()> {
        let mut bytes = vec![VERSION];
        put_optional(vote.as_ref(), &mut bytes, put_vote);
        put_optional(purged.as_ref(), &mut bytes, put_log_id);
        seal(&mut bytes);
        files::replace_file(&*self.files, &self.path, &bytes)
    }
}

#[derive(Debug, thiserror::Error)]
enum StateError {
    #[error("checksum does not match")]
    Checksum,
    #[error("version {0} is not known to this version of Milena")]
    Version(u8),
    #[error(transparent)]
    Bytes(#[from] EntryError),
}

fn put_vote(vote: &Vote, out: &mut Vec<u8>) {
    out.extend_from_slice(&vote.leader_id.term.to_be_bytes());
    put_voter(&vote.leader_id.node_id, out);
    out.push(u8::from(vote.committed));
}

fn put_optional<T>(value: Option<&T>, out: &mut Vec<u8>, put: impl Fn(&T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn seal(bytes: &mut Vec<u8>) {
    let crc = crc32c(&[bytes]);
    bytes.extend_from_slice(&crc.to_be_bytes());
}

/// Checks the checksum and version, and gives what lies between.
fn unseal(bytes: &[u8]) -> Result<Reader<'_>, StateError> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or(EntryError::Truncated)?;
    if crc32c(&[body]) != u32::from_be_bytes(*crc) {
        return Err(StateError::Checksum);
    }
    let mut reader = Reader { rest: body };
    match reader.u8()? {
        VERSION => Ok(reader),
        other => Err(StateError::Version(other)),
    }
}

fn decode_state(bytes: &[u8]) -> Result<(Option<Vote>, Option<LogId>), StateError> {
    let mut reader = unseal(bytes)?;
    let vote = match reader.u8()? {
        0 => None,
        _ => {
            let (term, node_id) = (reader.u64()?, reader.voter()?);
            Some(Vote { leader_id: LeaderId { term, node_id }, committed: reader.u8()? != 0 })
        }
    };
    let purged = optional_log_id(&mut reader)?;
    reader.finish()?;
    Ok((vote, purged))
}

fn decode_committed(bytes: &[u8]) -> Result<LogId, StateError> {
    // The file is written in place and never shrinks, so it holds one value of fixed size or none.
    let mut reader = unseal(bytes)?;
    let committed = optional_log_id(&mut reader)?.ok_or(EntryError::Truncated)?;
    reader.finish()?;
    Ok(committed)
}

fn optional_log_id(reader: &mut Reader<'_>) -> Result<Option<LogId>, EntryError> {
    Ok(if reader.u8()? == 0 { None } else { Some(reader.log_id()?) })
}

#[cfg(test)]
mod tests {
    use milena_log::RealFiles;

    use super::*;
    use crate::controller::raft::types::VoterId;

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderId { term, node_id: VoterId::from(1) }, index)
    }

    #[test]
    fn everything_is_there_after_reopening() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let open = || HardState::open(Arc::new(RealFiles), directory.path()).expect("opens");
        let mut state = open();
        assert_eq!((state.vote(), state.purged(), state.committed()), (None, None, None));
        let vote = Vote { leader_id: LeaderId { term: 7, node_id: VoterId::from(3) }, committed: true };
        state.save_vote(vote).expect("saves");
        state.save_purged(log_id(2, 5)).expect("saves");
        state.save_committed(Some(log_id(3, 9))).expect("saves");
        drop(state);
        let state = open();
        assert_eq!(
            (state.vote(), state.purged(), state.committed()),
            (Some(vote), Some(log_id(2, 5)), Some(log_id(3, 9)))
        );
    }

    #[test]
    fn a_damaged_vote_refuses_to_open_and_a_damaged_hint_is_ignored() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut state = HardState::open(Arc::new(RealFiles), directory.path()).expect("opens");
        state.save_purged(log_id(1, 1)).expect("saves");
        state.save_committed(Some(log_id(1, 1))).expect("saves");
        drop(state);
        let flip = |name: &str| {
            let path = directory.path().join(name);
            let mut bytes = std::fs::read(&path).expect("is there");
            bytes[3] ^= 1;
            std::fs::write(&path, bytes).expect("writes");
        };
        flip(COMMITTED_FILE);
        let state = HardState::open(Arc::new(RealFiles), directory.path()).expect("opens");
        assert_eq!((state.purged(), state.committed()), (Some(log_id(1, 1)), None));
        flip(STATE_FILE);
        let error = HardState::open(Arc::new(RealFiles), directory.path()).expect_err("damaged");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
