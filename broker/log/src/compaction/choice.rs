//! Which log to clean next, and how far.
//!
//! [`Log::compaction_view`] notes under the lock what the segments are; [`View::status`] reads without it the timestamps
//! that the settings ask for; what follows is arithmetic.
//!
//! A pass forms its groups by what the segments were before it, as Kafka does, and may leave many small ones; Kafka leaves
//! them until there is something to clean again, which may be never. Here they are merged by a pass of their own.

use std::ops::Range;

use super::Settings;
use super::groups::groups;
use crate::error::Error;
use crate::log::Log;
use crate::lookup::Lookup;

/// The segments of a compacted log as of one moment.
#[derive(Debug)]
pub struct View {
    status: Status,
    /// The sealed segments from the first dirty one on.
    lookup: Lookup,
    dirty_from: usize,
}

/// What the choice needs to know of one compacted log.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub settings: Settings,
    /// Up to here the log was compacted.
    pub first_dirty_offset: i64,
    /// Nothing at or above may be cleaned: the last stable offset, the recovery point on disk and the active segment
    /// bound it.
    pub bound_offset: i64,
    pub active_base_offset: i64,
    /// The sealed segments, ascending.
    pub segments: Vec<SealedSegment>,
    /// Where the compacted segments end, if they are so many more than they need be that a pass should merge them.
    pub merge_upto: Option<i64>,
}

/// A sealed segment, as the choice sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedSegment {
    pub base_offset: i64,
    pub size: u32,
    /// Largest timestamp, if `min.compaction.lag.ms` asks for it and the segment is dirty.
    pub largest_timestamp: Option<i64>,
    /// Timestamp of the first batch, if `max.compaction.lag.ms` asks for it and the segment is dirty.
    pub first_timestamp: Option<i64>,
}

/// What there is to clean in one log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dirty {
    pub first_dirty_offset: i64,
    /// A segment's base offset; below it all may be cleaned.
    pub end_offset: i64,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// How long ago a record should have been cleaned by `max.compaction.lag.ms`; 0 when none is late.
    pub late_ms: i64,
    /// Nothing is to be cleaned: the segments below `end_offset` are to become fewer, with all that is in them.
    pub is_merge: bool,
}

impl Dirty {
    /// Share of what was not cleaned yet in what could be.
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether it is worth a pass.
    pub fn is_due(&self, settings: &Settings) -> bool {
        self.cleanable_bytes > 0 && (self.late_ms > 0 || self.ratio() > settings.min_dirty_ratio)
    }
}

impl Status {
    /// What there is to clean now.
    pub fn dirty(&self, now_ms: i64) -> Dirty {
        let dirty = self.dirty_segments();
        let oldest_kept_ms = now_ms.saturating_sub(self.settings.min_lag_ms.max(0));
        let too_young = self.segments[dirty.clone()]
            .iter()
            .find(|segment| segment.largest_timestamp.is_some_and(|timestamp| timestamp > oldest_kept_ms));
        let bound = too_young.map_or(self.bound_offset, |young| self.bound_offset.min(young.base_offset));
        // Whole segments only.
        let below = self.segments.partition_point(|segment| segment.base_offset <= bound);
        let end_offset = match self.segments.get(below.saturating_sub(1)) {
            _ if bound >= self.active_base_offset => self.active_base_offset,
            Some(segment) => segment.base_offset,
            None => self.first_dirty_offset.min(bound),
        };
        let bytes = |segments: &[SealedSegment]| -> u64 {
            segments.iter().map(|segment| u64::from(segment.size)).sum()
        };
        let clean = self.segments.partition_point(|segment| segment.base_offset < self.first_dirty_offset);
        let end = self.segments.partition_point(|segment| segment.base_offset < end_offset);
        Dirty {
            first_dirty_offset: self.first_dirty_offset,
            end_offset,
            clean_bytes: bytes(&self.segments[..clean]),
            cleanable_bytes: bytes(&self.segments[dirty.start.min(end)..end]),
            late_ms: self.late_ms(&self.segments[dirty], now_ms),
            is_merge: false,
        }
    }

    /// The pass that merges what passes before have left, if it is worth one. It ends with fewer segments than before, so
    /// that passes do not follow each other without end.
    pub fn merge(&self) -> Option<Dirty> {
        let end_offset = self.merge_upto.filter(|upto| *upto <= self.bound_offset)?;
        let clean = self.segments.partition_point(|segment| segment.base_offset < end_offset);
        Some(Dirty {
            first_dirty_offset: self.first_dirty_offset,
            end_offset,
            clean_bytes: self.segments[..clean].iter().map(|segment| u64::from(segment.size)).sum(),
            cleanable_bytes: 0,
            late_ms: 0,
            is_merge: true,
        })
    }

    fn late_ms(&self, dirty: &[SealedSegment], now_ms: i64) -> i64 {
        let clean_until_ms = now_ms.saturating_sub(self.settings.max_lag_ms.max(0));
        let timestamps = dirty.iter().filter_map(|segment| segment.first_timestamp);
        let oldest = timestamps.filter(|timestamp| *timestamp > 0).min();
        oldest.map_or(0, |oldest| clean_until_ms.saturating_sub(oldest).max(0))
    }

    /// The sealed segments that are not wholly clean.
    fn dirty_segments(&self) -> Range<usize> {
        let behind = self.segments.partition_point(|segment| segment.base_offset <= self.first_dirty_offset);
        let is_all_clean = self.first_dirty_offset >= self.active_base_offset;
        let first = if is_all_clean { behind } else { behind.saturating_sub(1) };
        first..self.segments.len()
    }
}

/// The log that needs it most: its place among `statuses`, and what there is to clean. When there is none, one whose
/// segments are to be merged. `None` when no log is worth it. Leave out logs that are being cleaned, and those that cannot be ([`Failure::is_lasting`](super::Failure)).
pub fn next_to_clean<'a>(
    statuses: impl IntoIterator<Item = &'a Status>,
    now_ms: i64,
) -> Option<(usize, Dirty)> {
    let statuses: Vec<&Status> = statuses.into_iter().collect();
    let dirty = statuses.iter().map(|status| (status.dirty(now_ms), status.settings)).enumerate();
    let due = dirty.filter(|(_, (dirty, settings))| dirty.is_due(settings));
    let dirtiest = due
        .map(|(index, (dirty, _))| (index, dirty))
        .max_by(|(_, one), (_, other)| one.ratio().total_cmp(&other.ratio()));
    let mut merges = statuses.iter().enumerate().filter_map(|(index, status)| Some((index, status.merge()?)));
    dirtiest.or_else(|| merges.next())
}

/// Compacted segments are merged when they are at least so many times more than they need be.
const MERGE_FACTOR: usize = 2;

impl Log {
    /// What the choice needs of this log; `None` when it is not compacted, or a pass is under way. `stable_offset` is the
    /// last stable offset, and not above the high watermark.
    pub fn compaction_view(&self, stable_offset: i64) -> Option<View> {
        if !self.config.compact || self.is_being_compacted() {
            return None;
        }
        let active = self.active_index();
        let sealed = self.segments[..active].iter().map(|segment| SealedSegment {
            base_offset: segment.base_offset,
            size: segment.size,
            largest_timestamp: None,
            first_timestamp: None,
        });
        let status = Status {
            settings: self.config.compaction,
            first_dirty_offset: self.first_dirty_offset(),
            bound_offset: stable_offset.min(self.directory.checkpointed_recovery_point(self.name())),
            active_base_offset: self.segments[active].base_offset,
            segments: sealed.collect(),
            merge_upto: self.merge_upto(),
        };
        let dirty = status.dirty_segments();
        let dirty_from = dirty.start;
        Some(View { status, lookup: self.lookup_in(dirty), dirty_from })
    }

    fn merge_upto(&self) -> Option<i64> {
        let first_dirty_offset = self.first_dirty_offset();
        let clean = self.segments.partition_point(|segment| segment.base_offset <= first_dirty_offset);
        // The last of them has the offset itself.
        let clean = clean.saturating_sub(1);
        let end_offset = self.segments[clean].base_offset;
        let needed = groups(&self.segments[..clean], end_offset, &self.config).len();
        (needed > 0 && needed * MERGE_FACTOR <= clean).then_some(end_offset)
    }

    /// Where the next pass begins: where the last one ended, unless the log no longer has that offset.
    pub(super) fn first_dirty_offset(&self) -> i64 {
        let known = self.directory.compacted().offset(self.name());
        let range = self.log_start_offset..=self.log_end_offset;
        known.filter(|offset| range.contains(offset)).unwrap_or(self.log_start_offset)
    }
}

impl View {
    /// Reads what the settings ask for. Blocks on the disk. [`View::into_lookup`] gives it back to the log.
    pub fn status(&mut self) -> Result<Status, Error> {
        let Settings { min_lag_ms, max_lag_ms, .. } = self.status.settings;
        for place in 0..self.lookup.segments_count() {
            let segment = &mut self.status.segments[self.dirty_from + place];
            if min_lag_ms > 0 {
                segment.largest_timestamp = Some(self.lookup.largest(place)?.timestamp);
            }
            if max_lag_ms < i64::MAX {
                segment.first_timestamp = self.lookup.first_timestamp(place)?;
            }
        }
        Ok(self.status.clone())
    }

    /// What is known without reading timestamps: as if no lag were set.
    pub fn unread(&self) -> &Status {
        &self.status
    }

    /// For [`Log::learn`], so that the next look need not read again. When that says that segments changed meanwhile, an
    /// error of [`View::status`] means nothing.
    pub fn into_lookup(self) -> Lookup {
        self.lookup
    }
}

#[cfg(test)]
#[path = "choice_test.rs"]
mod tests;
