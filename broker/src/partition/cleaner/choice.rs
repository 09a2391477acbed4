//! Which partition a cleaner takes next, and what the look at all of them tells the metrics.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use milena_log::compaction::{Compaction, Dirty, Failure, OffsetMap, Progress, Status, View, next_to_clean};
use milena_state::config::cleaner::Settings;

use super::shared::{Claim, Key, Shared, Taken, key_of};
use crate::metrics::cleaning::{Look, Uncleanable};
use crate::partition::partition::{Inner, Partition};

/// A partition that is worth a pass.
pub(super) struct Chosen {
    pub partition: Arc<Partition>,
    pub dirty: Dirty,
    _taken: Taken,
}

/// Looks at the compacted logs and takes the one that needs a pass most, but for those `left_out`. Blocks on the disk
/// where lags are set, as what the segments' timestamps are may have to be read.
pub(super) fn choose(shared: &Arc<Shared>, settings: &Settings, left_out: &HashSet<Key>) -> Option<Chosen> {
    let compacted = shared.table.compacted_partitions();
    shared.forget_marks(&compacted, settings);
    let now_ms = (shared.clock)();
    let mut look = Look { at_ms: now_ms, ..Look::default() };
    let (mut partitions, mut statuses) = (Vec::new(), Vec::new());
    for partition in compacted.into_iter().filter(|partition| !partition.is_offline()) {
        let key = key_of(&partition);
        match shared.claim(key) {
            Claim::Taken => continue,
            Claim::Uncleanable => {
                note_uncleanable(&partition, now_ms, &mut look);
                continue;
            }
            Claim::Free => {}
        }
        match partition.compaction_status() {
            Ok(Some(status)) => {
                note_dirty(&status.dirty(now_ms), &mut look);
                if !left_out.contains(&key) {
                    partitions.push(partition);
                    statuses.push(status);
                }
            }
            Ok(None) => {}
            Err(failure) => {
                shared.failed(&partition, &failure);
                if shared.claim(key) == Claim::Uncleanable {
                    note_uncleanable(&partition, now_ms, &mut look);
                }
            }
        }
    }
    shared.metrics.cleaning.looked(look);
    while let Some((place, dirty)) = next_to_clean(&statuses, now_ms) {
        let partition = partitions.swap_remove(place);
        statuses.swap_remove(place);
        // Another cleaner may have looked at the same time; the next dirtiest is for this one.
        if let Some(taken) = shared.take(key_of(&partition)) {
            return Some(Chosen { partition, dirty, _taken: taken });
        }
    }
    None
}

fn note_dirty(dirty: &Dirty, look: &mut Look) {
    look.dirty_ratio_max = look.dirty_ratio_max.max(dirty.ratio());
    look.late_ms_max = look.late_ms_max.max(dirty.late_ms);
}

fn note_uncleanable(partition: &Partition, now_ms: i64, look: &mut Look) {
    let directory = partition.directory().path().display().to_string();
    let uncleanable: &mut BTreeMap<String, Uncleanable> = &mut look.uncleanable;
    let sum = uncleanable.entry(directory).or_default();
    sum.partitions += 1;
    // Without the timestamps, which may be what cannot be read.
    sum.bytes += partition.compaction_view().map_or(0, |view| view.unread().dirty(now_ms).cleanable_bytes);
}

impl Partition {
    /// The segments as of now; `None` when the log is closed, not compacted, or being compacted.
    pub(in crate::partition) fn compaction_view(&self) -> Option<View> {
        let inner = self.lock();
        // Nor while it is being moved.
        let log = inner.log.as_ref().filter(|_| inner.future.is_none())?;
        log.compaction_view(log.last_stable_offset().min(self.high_watermark().get()))
    }

    /// What there is to compact.
    fn compaction_status(&self) -> Result<Option<Status>, Failure> {
        let Some(mut view) = self.compaction_view() else { return Ok(None) };
        let status = view.status();
        let mut inner = self.lock();
        let Some(log) = &mut inner.log else { return Ok(None) };
        let is_current = log.learn(view.into_lookup())?;
        match status {
            Ok(status) => Ok(Some(status)),
            // What looks like damage is a file that went meanwhile.
            Err(_) if !is_current => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a pass.
    pub(super) fn begin_compaction(
        &self,
        dirty: Dirty,
        map: OffsetMap,
        buffer_bytes: usize,
        now_ms: i64,
    ) -> Result<Compaction, Failure> {
        let mut inner = self.lock();
        let Inner { log: Some(log), future: None, .. } = &mut *inner else { return Err(Failure::Overtaken) };
        log.begin_compaction(dirty, map, buffer_bytes, now_ms)
    }

    /// Does the next step of a pass, and what it needs the log for. The bytes that were read and written, or `None` when
    /// the pass is over.
    pub(super) fn advance_compaction(&self, pass: &mut Compaction) -> Result<Option<u64>, Failure> {
        match pass.step()? {
            Progress::More(bytes) => Ok(Some(bytes)),
            Progress::Done => Ok(None),
            Progress::NeedsLog => {
                let mut inner = self.lock();
                let Inner { log: Some(log), .. } = &mut *inner else { return Err(Failure::Overtaken) };
                log.compaction_turn(pass)?;
                Ok(Some(0))
            }
        }
    }
}
