//! Reading a partition: file ranges for fetches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use milena_log::leader_epochs::EpochEnd;
use milena_log::transaction_index::AbortedTransaction;
use milena_log::{AbortedSearch, Cold, Error, Log, Lookup, Slice};
use milena_protocol::ErrorCode;
use milena_state::partition::follower::DivergingEpoch;
use milena_state::partition::leader::{Fetched, check_leader_epoch};
use milena_state::partition::reads::{self, Ends, Isolation};

use super::lock::Locked;
use super::partition::Partition;
use super::progress::Mark;

/// Bytes that one partition of a fetch returns at most, whatever was asked: lengths are 32 bits on the wire.
const READ_BYTES_MAX: usize = 1 << 30;

/// One partition of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    /// Bytes at most; the last batch may be cut there, as in Kafka.
    pub bytes_max: usize,
    /// Give the first batch whole even when it is larger than `bytes_max`.
    pub first_batch_whole: bool,
    pub isolation: Isolation,
    /// The leader epoch that the client believes in, −1 when it does not say.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has, −1 when it does not say.
    pub last_fetched_epoch: i32,
}

/// What a read found, consistent as of one moment.
#[derive(Debug)]
pub struct Readout {
    /// Bytes of the log; `None` when there is nothing to read below the bound.
    pub records: Option<Slice>,
    /// The leadership that all of this is of.
    pub(super) term: u64,
    pub log_end_offset: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// For read committed: the transactions that were aborted and overlap the records.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// Set when the answer needs what is not in memory: bring it where waiting for a disk is allowed, then read
    /// again.
    pub missing: Option<Missing>,
    /// Set when the client's history diverges from ours; there are no records then.
    pub diverging: Option<EpochEnd>,
    /// Whether records were withheld from a follower that is not in sync, because its replica is throttled.
    pub is_withheld: bool,
    /// Set when the consumer should read from this broker instead; there are no records then.
    pub preferred_replica: Option<i32>,
}

/// What a read would have had to wait for. [`Partition::bring`] waits for it.
#[derive(Debug)]
pub enum Missing {
    Bytes(Cold),
    /// An index that has to be built again.
    Index(Box<Lookup>),
    Aborted(AbortedSearch),
}

impl Readout {
    fn of(term: u64, ends: Ends, log_start_offset: i64) -> Self {
        Self {
            records: None,
            term,
            log_end_offset: ends.log_end_offset,
            high_watermark: ends.high_watermark,
            last_stable_offset: ends.last_stable_offset(),
            log_start_offset,
            aborted: None,
            missing: None,
            diverging: None,
            preferred_replica: None,
            is_withheld: false,
        }
    }

    /// Bytes of records that were found.
    pub fn bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |slice| slice.length)
    }

    /// The number that must rise before there is more to read.
    pub fn seen(&self, mark: Mark) -> i64 {
        match mark {
            Mark::LogEnd | Mark::Synced => self.log_end_offset,
            Mark::HighWatermark => self.high_watermark,
            Mark::LastStable => self.last_stable_offset,
        }
    }
}

/// A read or lookup that cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Below the log start or above the log end; the numbers go into the response.
    #[error("offset is outside of {log_start_offset}..={high_watermark}")]
    OutOfRange { log_start_offset: i64, high_watermark: i64 },
    #[error("{0:?}")]
    Code(ErrorCode),
}

impl ReadError {
    /// What the client is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Code(code) => code,
        }
    }
}

impl From<ErrorCode> for ReadError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl Partition {
    /// Finds the bytes for one partition of a fetch. They are sent after the lock is released.
    ///
    /// A read between the bound and the log end finds nothing and is no error: a consumer may know a record that is
    /// not committed any more.
    pub fn read(&self, read: Read) -> Result<Readout, ReadError> {
        let mut inner = self.lock();
        inner.leading_in(read.current_leader_epoch)?;
        self.read_in(inner, &read, None)
    }

    /// As [`read`](Self::read), for a consumer that may read from a follower too (KIP-392).
    pub fn read_any(&self, read: Read) -> Result<Readout, ReadError> {
        let inner = self.lock();
        check_leader_epoch(inner.role.leader_epoch(), read.current_leader_epoch)?;
        self.read_in(inner, &read, None)
    }

    /// As [`read`](Self::read), by a follower: what it has counts from then on.
    ///
    /// `over_rate`: more was copied of throttled replicas than this broker may give.
    ///
    /// Errors: NOT_LEADER_OR_FOLLOWER too for a broker that holds no replica, as Kafka answers.
    pub fn read_as_replica(
        &self,
        read: Read,
        fetched: Fetched,
        over_rate: bool,
        now_ms: i64,
    ) -> Result<Readout, ReadError> {
        let mut inner = self.lock();
        let (_, leader) = inner.leading_in(read.current_leader_epoch)?;
        if !leader.is_follower(fetched.broker_id) {
            return Err(ErrorCode::NotLeaderOrFollower.into());
        }
        let is_withheld =
            over_rate && self.withholds(leader.broker_id(), leader.waits_for(fetched.broker_id, now_ms));
        let read = match is_withheld {
            true => Read { bytes_max: 0, first_batch_whole: false, ..read },
            false => read,
        };
        let readout = self.read_in(inner, &read, Some((fetched, now_ms)))?;
        Ok(Readout { is_withheld, ..readout })
    }

    /// The broker from which a consumer in `rack` should read instead of us, with the ends to answer with.
    ///
    /// Errors: those of the leader epoch. Nothing when it should read here.
    pub fn preferred_replica<'a>(
        &self,
        read: &Read,
        rack: &str,
        rack_of: impl Fn(i32) -> Option<&'a str>,
    ) -> Result<Option<Readout>, ReadError> {
        let mut inner = self.lock();
        check_leader_epoch(inner.role.leader_epoch(), read.current_leader_epoch)?;
        let term = inner.term;
        let Ok((log, leader)) = inner.leading() else { return Ok(None) };
        let Some(broker_id) = leader.preferred_replica(rack, read.offset, rack_of) else { return Ok(None) };
        let readout = Readout::of(term, ends(log, leader.high_watermark()), log.log_start_offset());
        Ok(Some(Readout { preferred_replica: Some(broker_id), ..readout }))
    }

    /// What the reader may see is checked before a follower's offset counts: records that the leader does not have
    /// would be taken for committed.
    fn read_in(
        &self,
        mut inner: Locked<'_>,
        read: &Read,
        fetched: Option<(Fetched, i64)>,
    ) -> Result<Readout, ReadError> {
        let (term, high_watermark) = (inner.term, inner.role.high_watermark());
        let Some(log) = &mut inner.log else { return Err(ErrorCode::NotLeaderOrFollower.into()) };
        let mut seen = ends(log, high_watermark);
        let mut readout = Readout::of(term, seen, log.log_start_offset());
        if read.last_fetched_epoch >= 0 {
            readout.diverging = diverging(log, read).map_err(|_| out_of_range(&readout))?;
            if readout.diverging.is_some() {
                return Ok(readout);
            }
        }
        if !(readout.log_start_offset..=readout.log_end_offset).contains(&read.offset) {
            return Err(out_of_range(&readout));
        }
        let mut outcome = None;
        if let Some((fetched, now_ms)) = fetched {
            let effects = inner.leading()?.1.fetched(fetched, now_ms)?;
            outcome = inner.settle(effects);
            seen.high_watermark = inner.role.high_watermark();
            readout.high_watermark = seen.high_watermark;
            readout.last_stable_offset = seen.last_stable_offset();
        }
        let upto_offset = seen.visible(read.isolation);
        let gives_nothing = read.bytes_max == 0 && !read.first_batch_whole;
        let found = match &mut inner.log {
            Some(log) if read.offset < upto_offset && !gives_nothing => {
                self.find(log, read, upto_offset, &mut readout)
            }
            _ => Ok(()),
        };
        let search = match &inner.log {
            Some(log) if read.isolation == Isolation::ReadCommitted => {
                log.aborted_in(read.offset, readout.records.as_ref(), upto_offset)
            }
            _ => None,
        };
        drop(inner);
        self.tell(outcome);
        found?;
        if read.isolation == Isolation::ReadCommitted {
            self.name_aborted(search, &mut readout)?;
        }
        Ok(readout)
    }

    /// Puts the records, or what is missing on the way to them, into `readout`.
    fn find(
        &self,
        log: &mut Log,
        read: &Read,
        upto_offset: i64,
        readout: &mut Readout,
    ) -> Result<(), ReadError> {
        let asked = milena_log::Read {
            from_offset: read.offset,
            upto_offset,
            max_bytes: read.bytes_max.min(READ_BYTES_MAX),
            min_one_batch: read.first_batch_whole,
            // The lock is held, and the thread has other connections: neither may wait for a disk.
            hot_only: true,
        };
        match log.read(asked) {
            Ok(slice) => readout.records = slice.filter(|slice| !slice.first_batch_incomplete),
            Err(milena_log::ReadError::Cold(cold)) => readout.missing = Some(Missing::Bytes(cold)),
            Err(milena_log::ReadError::NeedsIndex(lookup)) => {
                readout.missing = Some(Missing::Index(lookup));
            }
            Err(milena_log::ReadError::OutOfRange { .. }) => return Err(out_of_range(readout)),
            Err(milena_log::ReadError::Storage(error)) => return Err(self.storage_failed(&error).into()),
        }
        Ok(())
    }

    /// Names the aborted transactions among the records. Without the names the records must not go out.
    fn name_aborted(&self, search: Option<AbortedSearch>, readout: &mut Readout) -> Result<(), ReadError> {
        let Some(search) = search else {
            readout.aborted = Some(Vec::new());
            return Ok(());
        };
        match search.hot() {
            Ok(Some(aborted)) => readout.aborted = Some(aborted),
            Ok(None) => {
                readout.records = None;
                readout.missing = Some(Missing::Aborted(search));
            }
            Err(error) => return Err(self.storage_failed(&error).into()),
        }
        Ok(())
    }

    /// Waits for the disk until what a read lacked is in memory. When that fails the next read says so.
    pub fn bring(&self, missing: Missing) {
        let brought = match missing {
            Missing::Bytes(cold) => {
                return cold
                    .warm()
                    .unwrap_or_else(|error| self.read_failed(&cold.path, cold.position, &error));
            }
            Missing::Index(mut lookup) => {
                let built = lookup.build_index();
                match self.learn(*lookup) {
                    // What looks like damage is a file that went meanwhile.
                    Ok(false) => return,
                    Ok(true) => built,
                    Err(error) => Err(error),
                }
            }
            Missing::Aborted(search) => match search.warm() {
                Err(Error::Damaged { .. }) => self.mend_transaction_indexes(&search),
                outcome => outcome,
            },
        };
        if let Err(error) = brought {
            self.storage_failed(&error);
        }
    }

    fn learn(&self, lookup: Lookup) -> Result<bool, Error> {
        self.lock().log.as_mut().map_or(Ok(false), |log| log.learn(lookup))
    }

    /// The one repair under the lock: it needs the producers' whole history, and happens to a file that somebody
    /// else changed.
    fn mend_transaction_indexes(&self, search: &AbortedSearch) -> Result<(), Error> {
        self.lock().log.as_mut().map_or(Ok(()), |log| log.mend_transaction_indexes(search))
    }

    /// Records that a read gave out could not be read from their file.
    pub(crate) fn slice_failed(&self, slice: &Slice, error: &io::Error) {
        let name = format!("{}-{}", self.topic(), self.index());
        // Of a log that was moved to another directory meanwhile nobody reads again.
        let directory = self
            .lock()
            .log
            .as_ref()
            .filter(|log| log.id() == slice.log)
            .map(|log| Arc::clone(log.directory()));
        if let Some(directory) = directory {
            let path = directory.segment_path(&name, slice.segment);
            self.storage_failed(&directory.read_failed(&path, slice.position, error));
        }
    }

    fn read_failed(&self, path: &Path, position: u64, error: &io::Error) {
        let directory = self.directory();
        if path.starts_with(directory.path()) {
            self.storage_failed(&directory.read_failed(path, position, error));
        }
    }
}

fn ends(log: &Log, high_watermark: i64) -> Ends {
    Ends { log_end_offset: log.log_end_offset(), stable_in_log: log.last_stable_offset(), high_watermark }
}

fn diverging(log: &Log, read: &Read) -> Result<Option<EpochEnd>, ErrorCode> {
    let ours = log.end_offset_for_epoch(read.last_fetched_epoch);
    let ours = ours.map(|EpochEnd { epoch, end_offset }| DivergingEpoch { epoch, end_offset });
    let diverging = reads::diverging(read.last_fetched_epoch, read.offset, ours)?;
    Ok(diverging.map(|DivergingEpoch { epoch, end_offset }| EpochEnd { epoch, end_offset }))
}

fn out_of_range(readout: &Readout) -> ReadError {
    ReadError::OutOfRange {
        log_start_offset: readout.log_start_offset,
        high_watermark: readout.high_watermark,
    }
}
