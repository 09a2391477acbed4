//! The part of a pass that needs the log: its beginning, and putting the new segments in place.
//!
//! In steps of which a power loss may leave any: `.cleaned` becomes `.swap`; with the sync of these names there is no way
//! back; the old files get names that count for nothing; after a sync of that the `.swap` get theirs. What is left of
//! it by a crash is completed or undone when the log is opened (`interrupted_cleaning`).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::choice::Dirty;
use super::filter::{LastOfProducer, Rules};
use super::map::OffsetMap;
use super::pass::{Compaction, Stage};
use super::writer::{Cleaned, Home};
use super::{Failure, Report};
use crate::error::Error;
use crate::log::Log;
use crate::names::{CLEANED, Kind, REPLACED, SWAP};
use crate::segment::Segment;

impl Log {
    /// Whether a pass is under way.
    pub fn is_being_compacted(&self) -> bool {
        self.compacting.strong_count() > 0
    }

    /// Begins a pass over what `dirty` says there is to clean. `buffer_bytes` are read at once.
    ///
    /// Errors: `Overtaken` when the log is no longer as it was when that was said.
    pub fn begin_compaction(
        &mut self,
        dirty: Dirty,
        map: OffsetMap,
        buffer_bytes: usize,
        now_ms: i64,
    ) -> Result<Compaction, Failure> {
        self.check_usable()?;
        let Dirty { first_dirty_offset, end_offset, is_merge, .. } = dirty;
        let count = self.segments.partition_point(|segment| segment.base_offset < end_offset);
        let is_current = self.segments.get(count).is_some_and(|next| next.base_offset == end_offset)
            && self.first_dirty_offset() == first_dirty_offset
            && self.directory.checkpointed_recovery_point(self.name()) >= end_offset;
        if !is_current
            || is_merge != (end_offset <= first_dirty_offset)
            || self.is_being_compacted()
            || !self.config.compact
        {
            return Err(Failure::Overtaken);
        }
        self.directory.compacted().note(&self.durability, first_dirty_offset);
        let busy = Arc::new(());
        self.compacting = Arc::downgrade(&busy);
        let home = Home {
            disk: self.disk.clone(),
            durability: self.durability.clone(),
            folder: self.folder(),
            log: Arc::downgrade(&self.alive),
        };
        Ok(Compaction {
            stage: Stage::Prepare,
            home,
            directory: self.directory.clone(),
            config: self.config.clone(),
            buffer_bytes: buffer_bytes.max(1),
            map,
            cuts: self.cuts,
            segments: self.segments[..count].to_vec(),
            dirty,
            rules: Rules {
                now_ms,
                delete_retention_ms: self.config.compaction.delete_retention_ms,
                end_offset,
                producers: LastOfProducer::of_all(&self.producers),
            },
            search: self.aborted_search(0, self.segments[0].base_offset, end_offset),
            mended: false,
            aborted: Vec::new(),
            groups: Vec::new(),
            report: Report { dirty_ratio: dirty.ratio(), ..Report::default() },
            _busy: busy,
        })
    }

    /// Does what the pass needs the log for, under its lock: a few renames, which are synced.
    pub fn compaction_turn(&mut self, compaction: &mut Compaction) -> Result<(), Failure> {
        let is_of_this_log = Arc::ptr_eq(&compaction.home.durability, &self.durability);
        let stage = std::mem::replace(&mut compaction.stage, Stage::Done);
        if !is_of_this_log || self.cuts != compaction.cuts {
            return Err(Failure::Overtaken);
        }
        self.check_usable()?;
        compaction.stage = match stage {
            Stage::Mend => {
                if let Some(search) = &compaction.search {
                    self.mend_transaction_indexes(search)?;
                }
                compaction.mended = true;
                Stage::Prepare
            }
            Stage::Swap { group, cleaned, fates } => {
                let places = compaction.groups[group].clone();
                let old = &compaction.segments[places];
                let replaced = self.change(|log| log.swap(&compaction.home, old, cleaned))?;
                Stage::Swapped { group, fates, replaced }
            }
            Stage::Note => {
                self.directory.compacted().note(&self.durability, compaction.report.cleaned_upto);
                Stage::Checkpoint
            }
            Stage::Suspect(error) => return Err(error.into()),
            other => other,
        };
        Ok(())
    }

    /// Puts a segment in the place of others. Says which files are left over.
    fn swap(&mut self, home: &Home, old: &[Segment], cleaned: Cleaned) -> Result<Vec<PathBuf>, Failure> {
        let first = self.segment_index(cleaned.files.base_offset);
        let found = self.segments.get(first..first + old.len()).unwrap_or_default();
        let is_same = found.iter().zip(old).all(|(found, old)| {
            (found.base_offset, found.size, found.version) == (old.base_offset, old.size, old.version)
        });
        if found.len() != old.len() || !is_same || first + old.len() > self.active_index() {
            return Err(Failure::Overtaken);
        }
        // From the first rename on there is no way back, for want of descriptors neither.
        let replaced =
            self.swap_files(home, old, cleaned, first).map_err(|error| self.disk.give_up(error))?;
        Ok(replaced)
    }

    fn swap_files(
        &mut self,
        home: &Home,
        old: &[Segment],
        mut cleaned: Cleaned,
        first: usize,
    ) -> Result<Vec<PathBuf>, Error> {
        let base_offset = cleaned.files.base_offset;
        cleaned.files.in_place = true;
        for kind in &cleaned.kinds {
            self.rename(home.path(base_offset, *kind, CLEANED), home.path(base_offset, *kind, SWAP))?;
        }
        self.disk.sync_dir(&home.folder)?;
        let replaced = self.set_aside(home, old, cleaned.end_offset)?;
        // Or a power loss could bring an old segment back beside the one that replaced it.
        self.disk.sync_dir(&home.folder)?;
        for kind in &cleaned.kinds {
            self.rename(home.path(base_offset, *kind, SWAP), home.path(base_offset, *kind, ""))?;
            if *kind == Kind::Log && cleaned.has_transaction_index() {
                // As long as there is a `.log.swap`, recovery removes indexes under the plain name. It builds the
                // others again.
                self.disk.sync_dir(&home.folder)?;
            }
        }
        self.durability.renamed();
        let mut segment = Segment::new(base_offset, cleaned.size);
        segment.largest = Some(cleaned.largest);
        segment.has_transaction_index = cleaned.has_transaction_index();
        segment.version = old[0].version + 1;
        self.segments.splice(first..first + old.len(), [segment]);
        tracing::debug!(
            log = self.name(),
            base_offset,
            size = segment.size,
            replaced = old.len(),
            "segments are replaced by a compacted one"
        );
        Ok(replaced)
    }

    /// Takes the old segments' files out of the log.
    fn set_aside(&self, home: &Home, old: &[Segment], end_offset: i64) -> Result<Vec<PathBuf>, Error> {
        let mut replaced = Vec::new();
        let mut set_aside = |log: &Log, base_offset: i64, kind: Kind| {
            let aside = home.path(base_offset, kind, REPLACED);
            log.rename(home.path(base_offset, kind, ""), aside.clone())?;
            replaced.push(aside);
            Ok::<(), Error>(())
        };
        // Recovery removes what lies between the new segment's offsets. A segment behind them, of which nothing stays,
        // it would take for one that lost its `.log` if only an index of it were left.
        let first_base = old[0].base_offset;
        let is_covered = |base_offset: i64| base_offset == first_base || base_offset < end_offset;
        let bases = old.iter().map(|segment| segment.base_offset);
        let (covered, uncovered): (Vec<i64>, Vec<i64>) =
            bases.partition(|base_offset| is_covered(*base_offset));
        for base_offset in &uncovered {
            Kind::INDEXES.into_iter().try_for_each(|kind| set_aside(self, *base_offset, kind))?;
        }
        if !uncovered.is_empty() {
            self.disk.sync_dir(&home.folder)?;
        }
        for base_offset in covered.into_iter().chain(uncovered) {
            self.forget_files(base_offset);
            for kind in Kind::ALL {
                // The producers as of the first offset are still those of the new segment.
                if kind != Kind::Snapshot || base_offset != first_base {
                    set_aside(self, base_offset, kind)?;
                }
            }
        }
        Ok(replaced)
    }

    /// Renames a file; one that is missing stays so.
    fn rename(&self, from: PathBuf, to: PathBuf) -> Result<(), Error> {
        match self.disk.files.rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.disk.failed("rename", &from, &error))
            }
            _ => Ok(()),
        }
    }
}
