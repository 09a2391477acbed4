//! The Raft log as openraft wants it, over a `milena_log::Log`: one entry is one batch, its index the base offset.
//!
//! Entries are written inline, which makes them readable at once; a flusher of the log's own syncs everything that
//! arrived meanwhile with one fdatasync and then completes the callbacks in order. The vote and the purge point are
//! in [`HardState`]. Damage found while reading stops the member: a hole must never look like a short log.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use milena_log::files::Files;
use milena_log::{AppendAs, Config, Directory, Log, Read, ReadError};
use milena_protocol::records::{Batch, Batches, Builder};
use milena_state::metadata::record::BATCH_BYTES_MAX;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;

use super::entry;
use super::hard_state::HardState;
use super::snapshot::only_value;
use super::state_machine::blocking;
use super::types::{Entry, LeaderId, LogId, Membership, Payload, TypeConfig, Vote, VoterAddress, VoterId};
use crate::broker::now_ms;

/// Name of the log's folder, as Kafka calls the partition of its metadata topic.
pub const LOG_NAME: &str = "__cluster_metadata-0";
/// `metadata.log.segment.bytes`: small next to a data log's, since the log is purged behind snapshots.
const SEGMENT_BYTES: u32 = 64 << 20;
/// Bytes of one read from the log. The first entry of a read is whole in any case; that none fills a read, let alone a
/// segment, is what `BATCH_BYTES_MAX` is for.
const READ_BYTES: usize = 4 << 20;
const _: () = assert!(BATCH_BYTES_MAX < READ_BYTES && READ_BYTES < SEGMENT_BYTES as usize);
/// Bytes of entries that one limited read returns.
const LIMITED_READ_BYTES: usize = 1 << 20;

/// The log and vote of this voter.
pub struct LogStore {
    shared: Arc<Shared>,
}

/// A handle that reads while the store writes.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

struct Shared {
    directory: Arc<Directory>,
    inner: Mutex<Inner>,
    hard: Mutex<HardState>,
}

struct Inner {
    /// `None` once it was closed.
    log: Option<Log>,
    /// The last entry, or the purge point when there is none after it.
    last: Option<LogId>,
}

impl LogStore {
    /// Opens or creates the log in `directory`.
    pub fn open(files: Arc<dyn Files>, directory: &Arc<Directory>) -> io::Result<Self> {
        let (mut log, opened) =
            Log::open(directory, LOG_NAME, Arc::new(config()), now_ms()).map_err(io::Error::other)?;
        if opened.truncated_bytes > 0 {
            tracing::warn!(bytes = opened.truncated_bytes, "torn tail of the metadata log was cut");
        }
        // The cluster's metadata must not wait for the syncs of partitions that happen to share the directory.
        directory.flush_apart(log.durability()).map_err(io::Error::other)?;
        let hard = HardState::open(files, &directory.path().join(LOG_NAME))?;
        let purged = hard.purged();
        if let Some(purged) = purged {
            drop_prefix(&mut log, purged.index)?;
        }
        let last = last_log_id(&mut log)?.or(purged);
        hard.check_beside(last, log.log_start_offset() as u64)?;
        let inner = Mutex::new(Inner { log: Some(log), last });
        Ok(Self {
            shared: Arc::new(Shared { directory: Arc::clone(directory), inner, hard: Mutex::new(hard) }),
        })
    }

    /// Makes `voter` the sole member of a new quorum, if this store is new.
    pub fn bootstrap(&mut self, voter: VoterId, address: VoterAddress) -> io::Result<()> {
        if self.shared.hard.lock().vote().is_some() {
            return Ok(());
        }
        self.found(voter, BTreeMap::from([(voter, address)]))
    }

    /// Begins a new quorum of `members`, if this store holds none: its first entry names them, durably, before there can
    /// be a leader. It may have voted for another founder of the same members, who never came to lead.
    ///
    /// openraft's own `initialize` may leave a vote without the entry when the power fails, and such a store can
    /// neither be initialized nor elect anybody.
    pub fn found(&mut self, voter: VoterId, members: BTreeMap<VoterId, VoterAddress>) -> io::Result<()> {
        let mut inner = self.shared.inner.lock();
        if inner.last.is_some() {
            return Ok(());
        }
        let voters = members.keys().copied().collect();
        let membership = Membership::new(vec![voters], members).map_err(io::Error::other)?;
        let log_id = LogId::new(LeaderId { term: 0, node_id: voter }, 0);
        let mut bytes = Vec::new();
        encode_batch(&Entry { log_id, payload: Payload::Membership(membership) }, &mut bytes)?;
        inner.log()?.append(&bytes, AppendAs::Replica, now_ms()).map_err(io::Error::other)?;
        inner.log()?.sync().map_err(io::Error::other)?;
        inner.last = Some(log_id);
        Ok(())
    }

    /// Whether it knows of a quorum: it holds entries, or has held some.
    pub fn has_membership(&self) -> bool {
        self.shared.inner.lock().last.is_some()
    }

    pub fn reader(&self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }
}

impl Inner {
    fn log(&mut self) -> io::Result<&mut Log> {
        self.log.as_mut().ok_or_else(|| io::Error::other("the metadata log is closed"))
    }
}

impl LogReader {
    /// The entries `first..end` of the committed log; `None` when its beginning was purged.
    pub fn committed(&self, first: u64, end: u64) -> io::Result<Option<Vec<Entry>>> {
        let mut inner = self.shared.inner.lock();
        if first >= end {
            return Ok(Some(Vec::new()));
        }
        if first < inner.log()?.log_start_offset() as u64 {
            return Ok(None);
        }
        read_entries(inner.log()?, first, end, LIMITED_READ_BYTES).map(Some)
    }

    /// Closes the log so that the next start needs no recovery. The member must have stopped.
    pub fn close(&self) -> io::Result<()> {
        self.shared.inner.lock().log.take().map_or(Ok(()), |log| log.close_clean().map_err(io::Error::other))
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let (first, end) = bounds(&range);
        read_entries(self.shared.inner.lock().log()?, first, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, first: u64, end: u64) -> io::Result<Vec<Entry>> {
        read_entries(self.shared.inner.lock().log()?, first, end, LIMITED_READ_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.hard.lock().vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.shared.hard.lock().purged();
        Ok(LogState { last_purged_log_id, last_log_id: self.shared.inner.lock().last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (shared, vote) = (Arc::clone(&self.shared), *vote);
        blocking(move || shared.hard.lock().save_vote(vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.hard.lock().save_committed(committed)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        // A hint may outlive the entries it speaks of: it is in another file, which is not synced with the log.
        let last = self.shared.inner.lock().last;
        Ok(self
            .shared
            .hard
            .lock()
            .committed()
            .filter(|committed| last.is_some_and(|last| *committed <= last)))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut bytes = Vec::new();
        let mut last = None;
        for entry in entries {
            encode_batch(&entry, &mut bytes)?;
            last = Some(entry.log_id);
        }
        if let Some(last) = last {
            let mut inner = self.shared.inner.lock();
            start_empty_log_at(inner.log()?, &bytes)?;
            inner.log()?.append(&bytes, AppendAs::Replica, now_ms()).map_err(io::Error::other)?;
            inner.last = Some(last);
        }
        let done = move |synced: Result<i64, milena_log::Error>| {
            callback.io_completed(synced.map(|_| ()).map_err(io::Error::other));
        };
        let durability = Arc::clone(self.shared.inner.lock().log()?.durability());
        self.shared.directory.request_sync(&durability, Some(Box::new(done)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.truncate_after(last)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.purge(upto)).await
    }
}

/// What waits for the disk; one lock at a time, since openraft gives one such order after another.
impl Shared {
    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        let purged = self.hard.lock().purged();
        let mut inner = self.inner.lock();
        let first_removed = last.map_or(inner.log()?.log_start_offset(), |last| last.index as i64 + 1);
        if first_removed >= inner.log()?.log_end_offset() {
            return Ok(());
        }
        inner.log()?.truncate_to(first_removed).map_err(io::Error::other)?;
        // Before anything is written in the place of what was cut.
        inner.log()?.sync().map_err(io::Error::other)?;
        inner.last = last_log_id(inner.log()?)?.or(purged);
        Ok(())
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        self.save_purged(upto)?;
        let mut inner = self.inner.lock();
        drop_prefix(inner.log()?, upto.index)?;
        inner.last = inner.last.max(Some(upto));
        Ok(())
    }
}

impl Shared {
    /// Durable before anything is dropped: after a power loss between the two, opening drops the prefix again.
    fn save_purged(&self, upto: LogId) -> io::Result<()> {
        let mut hard = self.hard.lock();
        if hard.purged().is_none_or(|purged| purged < upto) {
            hard.save_purged(upto)?;
        }
        Ok(())
    }
}

fn config() -> Config {
    Config {
        segment_bytes: SEGMENT_BYTES,
        segment_ms: i64::MAX,
        retention_ms: None,
        retention_bytes: None,
        ..Config::default()
    }
}

/// Removes everything up to and including `index`, also when the log does not reach so far (a snapshot does).
fn drop_prefix(log: &mut Log, index: u64) -> io::Result<()> {
    let first_kept = index as i64 + 1;
    if first_kept > log.log_end_offset() {
        return log.truncate_fully_and_start_at(first_kept).map_err(io::Error::other);
    }
    log.set_log_start_offset(first_kept);
    log.delete_old_segments(first_kept, now_ms()).map(|_| ()).map_err(io::Error::other)
}

/// The first entry of an empty log may have any index: the ones before it came in a snapshot.
fn start_empty_log_at(log: &mut Log, bytes: &[u8]) -> io::Result<()> {
    let Some(Ok(first)) = Batches::new(bytes).next() else { return Ok(()) };
    let (first, end) = (first.header().base_offset, log.log_end_offset());
    if first == end {
        return Ok(());
    }
    if log.log_start_offset() != end {
        return Err(io::Error::other(format!(
            "entry {first} would leave a hole after a log that ends at {end}"
        )));
    }
    log.truncate_fully_and_start_at(first).map_err(io::Error::other)
}

pub(super) fn encode_batch(entry: &Entry, out: &mut Vec<u8>) -> io::Result<()> {
    let term = i32::try_from(entry.log_id.leader_id.term).map_err(io::Error::other)?;
    let mut value = Vec::new();
    entry::encode_value(entry, &mut value);
    let mut batch = Builder::new().base_offset(entry.log_id.index as i64).leader_epoch(term);
    batch.append(now_ms(), None, Some(&value), &[]).map_err(io::Error::other)?;
    out.extend_from_slice(&batch.finish().map_err(io::Error::other)?);
    Ok(())
}

fn last_log_id(log: &mut Log) -> io::Result<Option<LogId>> {
    let end = log.log_end_offset() as u64;
    if end == log.log_start_offset() as u64 {
        return Ok(None);
    }
    Ok(read_entries(log, end - 1, end, usize::MAX)?.pop().map(|entry| entry.log_id))
}

/// Entries of `first..end` that the log holds, in order and without a hole; it may stop after `bytes_max`, but not
/// before the first.
fn read_entries(log: &mut Log, first: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
    let mut next = first.max(log.log_start_offset() as u64);
    let end = end.min(log.log_end_offset() as u64);
    let mut entries = Vec::new();
    let mut bytes_read = 0;
    while next < end && (bytes_read < bytes_max) {
        let read = Read {
            from_offset: next as i64,
            upto_offset: end as i64,
            max_bytes: READ_BYTES.min(bytes_max),
            min_one_batch: true,
            hot_only: false,
        };
        let slice = log.read(read).map_err(read_error)?.ok_or_else(|| hole(next))?;
        // The lock is still held: what was read is one consistent piece of the log.
        let bytes = Bytes::from(slice.read()?);
        bytes_read += bytes.len();
        next = decode_batches(&bytes, next, &mut entries).map_err(|(position, reason)| {
            let (file, position) = (log.file_of(&slice), slice.position + position);
            invalid(format!("{} is damaged at {position}: {reason}", file.display()))
        })?;
    }
    Ok(entries)
}

/// Says the index behind the last entry; or where in `bytes` they make no sense, and why.
fn decode_batches(bytes: &Bytes, mut next: u64, entries: &mut Vec<Entry>) -> Result<u64, (u64, String)> {
    let before = entries.len();
    let mut position = 0;
    for batch in Batches::maybe_truncated(bytes) {
        let fault = |reason: String| (position, reason);
        let batch = batch.map_err(|error| fault(error.to_string()))?;
        entries.push(decode_batch(&batch, bytes, next).map_err(fault)?);
        position += batch.size_bytes() as u64;
        next += 1;
    }
    if entries.len() == before { Err((0, hole(next).to_string())) } else { Ok(next) }
}

pub(super) fn decode_batch(batch: &Batch<'_>, bytes: &Bytes, index: u64) -> Result<Entry, String> {
    let header = batch.header();
    if header.base_offset != index as i64 {
        return Err(hole(index).to_string());
    }
    let value = only_value(batch)?;
    let term = u64::try_from(header.leader_epoch).map_err(|error| error.to_string())?;
    entry::decode_value(index, term, &bytes.slice_ref(value)).map_err(|error| error.to_string())
}

fn hole(index: u64) -> io::Error {
    invalid(format!("metadata log has no entry {index} where one must be"))
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn read_error(error: ReadError) -> io::Error {
    io::Error::other(error.to_string())
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let first = match range.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (first, end)
}

#[cfg(test)]
#[path = "log_store_test.rs"]
mod tests;
