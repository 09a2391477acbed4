//! Appending: check all batches, then write them with one call, then take them into account.
//!
//! The caller's bytes are not changed. A leader's offset, epoch and append time go into copies of the headers,
//! which are written in front of the borrowed payloads.

use std::io::IoSlice;

use milena_protocol::records::control::{ControlType, EndTxnMarker};
use milena_protocol::records::{Batch, Batches, HEADER_SIZE};
use smallvec::SmallVec;

use crate::error::{AppendError, Error};
use crate::files::{self, File};
use crate::log::{AppendAs, Appended, FirstTimestamp, Log};
use crate::names::Kind;
use crate::producers::{self, Marker, Origin, RememberedBatch, Staged, Staging};
use crate::segment::RecentBatch;
use crate::transaction_index::AbortedTransaction;

/// A checked batch: where it is in the caller's bytes, and what it becomes.
#[derive(Debug)]
struct Planned {
    start: usize,
    size: usize,
    /// The leader's copy of the header; `None` when the batch is stored as it is.
    header: Option<[u8; HEADER_SIZE]>,
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
    leader_epoch: i32,
}

#[derive(Debug, Default)]
struct Plan {
    batches: SmallVec<[Planned; 1]>,
    staged: Staged,
    duplicate: Option<RememberedBatch>,
}

impl Log {
    /// Appends whole batches with one write, inline. On an error nothing was appended. A replica's empty log may start
    /// within the first of them, which is stored whole.
    ///
    /// Errors: `Batch`, `OutOfOrder`, `EpochWentBack`, `TooLarge` and `Refused` say what is wrong with the
    /// batches; after `Storage` the directory is offline (or descriptors were short, and it may be retried).
    pub fn append(
        &mut self,
        batches: &[u8],
        append_as: AppendAs,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.change(|log| log.append_all(batches, append_as, now_ms))
    }

    pub(crate) fn append_all(
        &mut self,
        batches: &[u8],
        append_as: AppendAs,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        if let AppendAs::Replica = append_as
            && let Some(base_offset) = self.begins_within(batches)
        {
            return self.append_around_start(base_offset, batches, now_ms);
        }
        let plan = self.plan(batches, append_as)?;
        if let Some(batch) = plan.duplicate {
            return Ok(self.duplicate(&batch));
        }
        let (Some(first), Some(last)) = (plan.batches.first(), plan.batches.last()) else {
            return Ok(self.nothing());
        };
        if std::mem::take(&mut self.owes_noted) {
            self.directory.high_watermarks().write(&self.disk)?;
        }
        self.write_epochs_ahead(&plan.batches)?;
        let appended = Appended {
            base_offset: first.base_offset,
            last_offset: last.last_offset,
            max_timestamp: plan.batches.iter().map(|batch| batch.max_timestamp).max().unwrap_or(-1),
            log_start_offset: self.log_start_offset,
            duplicate: false,
            rolled: self.write_all(batches, plan, now_ms)?,
        };
        self.publish(now_ms);
        Ok(appended)
    }

    fn duplicate(&self, batch: &RememberedBatch) -> Appended {
        Appended {
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset,
            max_timestamp: batch.timestamp,
            log_start_offset: self.log_start_offset,
            duplicate: true,
            rolled: false,
        }
    }

    fn nothing(&self) -> Appended {
        Appended {
            base_offset: self.log_end_offset,
            last_offset: self.log_end_offset - 1,
            max_timestamp: -1,
            log_start_offset: self.log_start_offset,
            duplicate: false,
            rolled: false,
        }
    }

    /// Checks all batches without changing anything.
    fn plan(&self, bytes: &[u8], append_as: AppendAs) -> Result<Plan, AppendError> {
        let mut plan = Plan::default();
        let mut next_offset = self.log_end_offset;
        let mut epoch = self.latest_epoch().unwrap_or(-1);
        let mut start = 0;
        for batch in Batches::new(bytes) {
            let batch = batch?;
            let planned = match append_as {
                AppendAs::Leader { leader_epoch, log_append_time, .. } => {
                    let header = batch.patched_header(next_offset, leader_epoch, log_append_time);
                    let max_timestamp = log_append_time.unwrap_or(batch.max_timestamp);
                    let base_offset = next_offset;
                    Planned {
                        header: Some(header),
                        base_offset,
                        max_timestamp,
                        leader_epoch,
                        ..at(&batch, start)
                    }
                }
                AppendAs::Replica => {
                    check_replicated(&batch, next_offset, epoch)?;
                    at(&batch, start)
                }
            };
            let planned = self.placed(planned, &batch)?;
            if batch.has_producer_id() {
                let origin = match append_as {
                    AppendAs::Leader { origin, .. } => origin,
                    AppendAs::Replica => Origin::Replication,
                };
                let write = write_of(&batch, planned.base_offset, planned.max_timestamp);
                if let Staging::Duplicate(duplicate) =
                    self.producers.stage(&mut plan.staged, origin, &write)?
                {
                    // Kafka answers a request with one repeated batch as if all of it were repeated.
                    return Ok(Plan { duplicate: Some(duplicate), ..Plan::default() });
                }
            }
            next_offset = planned.last_offset + 1;
            epoch = epoch.max(planned.leader_epoch);
            start += planned.size;
            plan.batches.push(planned);
        }
        Ok(plan)
    }

    /// Gives a batch its last offset, and checks that the log has room for it at all.
    fn placed(&self, mut planned: Planned, batch: &Batch<'_>) -> Result<Planned, AppendError> {
        if batch.last_offset_delta < 0 {
            batch.check_count()?;
        }
        let last_offset = planned.base_offset.checked_add(i64::from(batch.last_offset_delta));
        // One offset is left over, because the log end offset is one more than the last.
        planned.last_offset =
            last_offset.filter(|last| *last < i64::MAX).ok_or(AppendError::OffsetsExhausted)?;
        let segment_bytes = self.config.segment_bytes;
        if planned.size > segment_bytes as usize {
            return Err(AppendError::TooLarge { size: planned.size, segment_bytes });
        }
        Ok(planned)
    }

    /// Writes the epoch file as it is with these batches in the log. Before them, because it may fail for want of a
    /// descriptor, and then nothing has happened; opening a log forgets epochs that begin where nothing is.
    fn write_epochs_ahead(&mut self, batches: &[Planned]) -> Result<(), Error> {
        let latest = self.latest_epoch().unwrap_or(-1);
        if !self.epochs_changed && batches.iter().all(|batch| batch.leader_epoch <= latest) {
            return Ok(());
        }
        let before = self.epochs.clone();
        for batch in batches {
            self.note_epoch(batch);
        }
        let written = self.write_epochs();
        self.epochs = before;
        self.epochs_changed = true;
        written
    }

    fn note_epoch(&mut self, batch: &Planned) {
        if batch.leader_epoch > self.latest_epoch().unwrap_or(-1) {
            self.epochs_changed |= self.epochs.assign(batch.leader_epoch, batch.base_offset);
        }
    }

    /// Writes all batches, rolling before each that the active segment must not take, and takes them into account.
    /// True when it rolled.
    fn write_all(&mut self, bytes: &[u8], plan: Plan, now_ms: i64) -> Result<bool, Error> {
        let Plan { batches, mut staged, .. } = plan;
        let mut rolled = false;
        let mut rest = &batches[..];
        while let Some(first) = rest.first() {
            let unwritten = rest;
            match self.write_next(bytes, first, &mut rest, now_ms) {
                Ok(has_rolled) => rolled |= has_rolled,
                Err(error) if unwritten.len() == batches.len() => return Err(error),
                // Part of the batches is in the log, and the caller cannot be told which.
                Err(error) => return Err(self.disk.give_up(error)),
            }
            // From here on there is no way back: what is written must be accounted for.
            let run = &unwritten[..unwritten.len() - rest.len()];
            if run.len() < batches.len() {
                // The roll before the next run writes a snapshot, which must know this run and nothing beyond it.
                staged = self.stage_again(bytes, run).map_err(|error| self.disk.give_up(error))?;
            }
            self.commit(std::mem::take(&mut staged)).map_err(|error| self.disk.give_up(error))?;
        }
        Ok(rolled)
    }

    /// What some of the batches of a plan, which were all checked, change by themselves.
    fn stage_again(&self, bytes: &[u8], run: &[Planned]) -> Result<Staged, Error> {
        let mut staged = Staged::default();
        for planned in run {
            let own = &bytes[planned.start..planned.start + planned.size];
            for batch in Batches::new(own).flatten().filter(|batch| batch.has_producer_id()) {
                let write = write_of(&batch, planned.base_offset, planned.max_timestamp);
                self.producers.stage(&mut staged, Origin::Replication, &write).map_err(|refusal| {
                    let file = self.path(planned.base_offset, Kind::Log);
                    tracing::error!(%refusal, offset = planned.base_offset, "a batch is refused after it was accepted");
                    Error::damaged(file, 0, "a written batch contradicts its producer's state")
                })?;
            }
        }
        Ok(staged)
    }

    /// Writes the batches from `first` on that go into one segment, and takes them off `rest`.
    fn write_next(
        &mut self,
        bytes: &[u8],
        first: &Planned,
        rest: &mut &[Planned],
        now_ms: i64,
    ) -> Result<bool, Error> {
        let rolls = self.must_roll(first, 0, now_ms)?;
        if rolls {
            self.roll_at(self.base_for(first), now_ms)?;
        }
        let mut count = 1;
        let mut run_bytes = first.size;
        while let Some(batch) = rest.get(count) {
            if self.must_roll(batch, run_bytes, now_ms)? {
                break;
            }
            run_bytes += batch.size;
            count += 1;
        }
        let (run, others) = rest.split_at(count);
        self.write_run(bytes, run, run_bytes)?;
        *rest = others;
        Ok(rolls)
    }

    /// Whether `batch`, behind `run_bytes` that are about to be written, belongs into a new segment.
    fn must_roll(&mut self, batch: &Planned, run_bytes: usize, now_ms: i64) -> Result<bool, Error> {
        let index = self.active_index();
        let segment = self.segments[index];
        let size = segment.size as usize + run_bytes;
        if size == 0 {
            // Even then the offset must fit: a replica's first batch may be far from where the segment begins.
            return Ok(batch.last_offset - segment.base_offset > i64::from(i32::MAX));
        }
        let waited_ms = match self.first_timestamp(index)? {
            FirstTimestamp::At(timestamp) if timestamp >= 0 => batch.max_timestamp.saturating_sub(timestamp),
            _ => now_ms.saturating_sub(self.active.created_ms),
        };
        let config = &self.config;
        Ok(size + batch.size > config.segment_bytes as usize
            || waited_ms > config.roll_ms() - self.jitter_ms(segment.base_offset)
            || batch.last_offset - segment.base_offset > i64::from(i32::MAX)
            || self.active.indexer.is_full(config.segment_index_bytes))
    }

    /// Where the segment begins that is to take `batch`: at the log end offset, unless a replica's leader has
    /// compacted so much away that the batch would be out of reach.
    fn base_for(&self, batch: &Planned) -> i64 {
        let reach = batch.last_offset - self.log_end_offset;
        if reach > i64::from(i32::MAX) { batch.base_offset } else { self.log_end_offset }
    }

    /// Some of `segment.jitter.ms`, always the same for a segment.
    fn jitter_ms(&self, base_offset: i64) -> i64 {
        let jitter_ms = self.config.segment_jitter_ms.min(self.config.roll_ms());
        if jitter_ms <= 0 {
            return 0;
        }
        // FNV-1a over the name and the offset.
        let bytes = self.name().bytes().chain(base_offset.to_be_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash % jitter_ms as u64) as i64
    }

    fn write_run(&mut self, bytes: &[u8], run: &[Planned], run_bytes: usize) -> Result<(), Error> {
        let file = self.log_file(self.active_index())?;
        let position = self.active_segment().size;
        self.reserve(&*file, u64::from(position) + run_bytes as u64);
        let result = write_batches(&*file, bytes, run, u64::from(position));
        if let Err(error) = result {
            let base_offset = self.active_segment().base_offset;
            return Err(self.disk.failed("write", &self.path(base_offset, Kind::Log), &error));
        }
        for batch in run {
            self.note(batch);
        }
        if self.active.indexer.wants_to_spill() {
            match self.spill() {
                // The batches are in the log. Their index entries stay in memory until there are descriptors again;
                // `segment.index.bytes` bounds them.
                Err(error) if error.is_retriable() => {}
                spilled => spilled?,
            }
        }
        Ok(())
    }

    /// Takes a batch that was written into account.
    fn note(&mut self, batch: &Planned) {
        debug_assert!(batch.base_offset >= self.log_end_offset, "offsets ascend");
        let size = batch.size as u32;
        let position = self.active_segment().size;
        self.active_segment().size += size;
        let interval = self.config.index_interval_bytes;
        self.active.indexer.note(position, batch.last_offset, batch.max_timestamp, size, interval);
        self.active.recent.push(RecentBatch {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            position,
            size,
        });
        if self.active.first_timestamp == FirstTimestamp::Empty {
            self.active.first_timestamp = FirstTimestamp::At(batch.max_timestamp);
        }
        self.note_epoch(batch);
        self.log_end_offset = batch.last_offset + 1;
    }

    /// Reserves blocks ahead of what is written, in steps that grow with the segment, so that a small
    /// partition does not hold a whole segment's space, unless `preallocate` asks for just that.
    fn reserve(&mut self, file: &dyn File, end: u64) {
        let is_whole = self.config.preallocate;
        if end <= self.active.allocated || (end < RESERVE_FROM && !is_whole) {
            return;
        }
        let step = if is_whole { u64::MAX } else { end.clamp(RESERVE_FROM, RESERVE_MAX) };
        let upto = end.saturating_add(step).min(u64::from(self.config.segment_bytes)).max(end);
        let from = self.active.allocated.max(u64::from(self.active_segment().size));
        // A full disk shows at the write; a file system without the call shows here, and is not asked again.
        self.active.allocated = match file.allocate(from, upto - from) {
            Ok(()) => upto,
            Err(_) => u64::MAX,
        };
    }

    fn commit(&mut self, staged: Staged) -> Result<(), Error> {
        let completed = self.producers.commit(staged);
        self.producers.advance_to(self.log_end_offset);
        for transaction in &completed {
            if let Some(aborted) = AbortedTransaction::of(transaction) {
                self.note_aborted(&aborted)?;
            }
        }
        Ok(())
    }

    fn note_aborted(&mut self, aborted: &AbortedTransaction) -> Result<(), Error> {
        let index = self.segment_index(aborted.last_offset);
        let base_offset = self.segments[index].base_offset;
        self.segments[index].has_transaction_index = true;
        let file = self.cached_or_created(base_offset, Kind::TransactionIndex)?;
        let result = file.size().and_then(|size| files::write_all_at(&*file, &aborted.to_bytes(), size));
        self.disk.done("write", &self.path(base_offset, Kind::TransactionIndex), result)?;
        self.durability.touched(file);
        Ok(())
    }

    /// Everything that belongs to the batches is written: the next sync may vouch for them.
    fn publish(&mut self, now_ms: i64) {
        // Their file was written ahead.
        self.epochs_changed = false;
        self.changed = true;
        self.dirty_since_ms.get_or_insert(now_ms);
        if let Some(file) = &self.active.file {
            self.durability.appended(file, self.log_end_offset);
        }
    }
}

/// Below this a segment's blocks are not reserved.
const RESERVE_FROM: u64 = 1 << 20;
/// Blocks reserved at once, at most.
const RESERVE_MAX: u64 = 64 << 20;

fn at(batch: &Batch<'_>, start: usize) -> Planned {
    Planned {
        start,
        size: batch.size_bytes(),
        header: None,
        base_offset: batch.base_offset,
        last_offset: batch.last_offset(),
        max_timestamp: batch.max_timestamp,
        leader_epoch: batch.leader_epoch,
    }
}

fn check_replicated(batch: &Batch<'_>, expected: i64, latest_epoch: i32) -> Result<(), AppendError> {
    batch.verify_crc()?;
    // Above is fine: compaction leaves gaps.
    if batch.base_offset < expected {
        return Err(AppendError::OutOfOrder { base_offset: batch.base_offset, expected });
    }
    if (0..latest_epoch).contains(&batch.leader_epoch) {
        return Err(AppendError::EpochWentBack { epoch: batch.leader_epoch, latest: latest_epoch });
    }
    Ok(())
}

/// What a batch means to its producer.
pub(crate) fn write_of(batch: &Batch<'_>, base_offset: i64, max_timestamp: i64) -> producers::Write {
    let kind = if batch.attributes.is_control() {
        producers::Kind::Marker(marker_of(batch))
    } else {
        producers::Kind::Data { transactional: batch.attributes.is_transactional() }
    };
    producers::Write {
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        last_sequence: batch.last_sequence(),
        base_offset,
        last_offset: base_offset + i64::from(batch.last_offset_delta),
        max_timestamp,
        kind,
    }
}

fn marker_of(batch: &Batch<'_>) -> Option<Marker> {
    let record = batch.records()?.next()?.ok()?;
    ControlType::of(&record)?;
    let EndTxnMarker { committed, coordinator_epoch } = EndTxnMarker::of_record(&record)?;
    let timestamp = batch.base_timestamp.wrapping_add(record.timestamp_delta);
    Some(Marker { committed, coordinator_epoch, timestamp })
}

fn write_batches(file: &dyn File, bytes: &[u8], run: &[Planned], position: u64) -> std::io::Result<()> {
    let mut slices: SmallVec<[IoSlice<'_>; 4]> = SmallVec::new();
    match (run.first(), run.last()) {
        // Nothing to change: the run is one piece of the caller's bytes.
        (Some(first), Some(last)) if first.header.is_none() => {
            slices.push(IoSlice::new(&bytes[first.start..last.start + last.size]));
        }
        _ => {
            for batch in run {
                let whole = &bytes[batch.start..batch.start + batch.size];
                if let Some(header) = &batch.header {
                    slices.push(IoSlice::new(header));
                    slices.push(IoSlice::new(&whole[HEADER_SIZE..]));
                }
            }
        }
    }
    files::write_all_vectored_at(file, &mut slices, position)
}
