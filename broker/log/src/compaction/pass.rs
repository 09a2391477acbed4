//! One pass over one log, in steps that each read about one buffer.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use milena_protocol::records::RecordIter;

use super::choice::Dirty;
use super::filter::{self, Kept, Rules};
use super::groups::groups;
use super::map::OffsetMap;
use super::transactions::Fates;
use super::writer::{Cleaned, Home, Writer};
use super::{Failure, Progress, Report};
use crate::config::Config;
use crate::directory::Directory;
use crate::error::Error;
use crate::names::{CLEANED, Kind};
use crate::scan::{HEADERS_CHUNK, Located, Scan, ScanError};
use crate::search::scan_failed;
use crate::segment::Segment;
use crate::transaction_index::AbortedTransaction;
use crate::transactions::AbortedSearch;

/// A pass that is under way. Dropping it ends it; what was not put in place is removed.
#[derive(Debug)]
pub struct Compaction {
    // First, so that its files are gone before another pass may begin.
    pub(super) stage: Stage,
    pub(super) home: Home,
    pub(super) directory: Arc<Directory>,
    pub(super) config: Arc<Config>,
    /// Bytes read, and kept for writing, at once (`log.cleaner.io.buffer.size` shared by the threads).
    pub(super) buffer_bytes: usize,
    pub(super) map: OffsetMap,
    /// Cuts of the log before the pass.
    pub(super) cuts: u64,
    /// All that may be cleaned.
    pub(super) segments: Vec<Segment>,
    pub(super) dirty: Dirty,
    pub(super) rules: Rules,
    pub(super) search: Option<AbortedSearch>,
    pub(super) mended: bool,
    pub(super) aborted: Vec<AbortedTransaction>,
    pub(super) groups: Vec<Range<usize>>,
    pub(super) report: Report,
    /// While it lives, the log knows that it is being compacted.
    pub(super) _busy: Arc<()>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Stage {
    Prepare,
    /// A transaction index has to be made again, which needs the log.
    Mend,
    /// Notes the keys of the segment at this place.
    Index {
        place: usize,
        reading: Option<Reading>,
        fates: Fates,
    },
    Rewrite(Box<Rewriting>),
    /// The group is written and waits for the log.
    Swap {
        group: usize,
        cleaned: Cleaned,
        fates: Fates,
    },
    /// The group is in place; the files it replaced are left over.
    Swapped {
        group: usize,
        fates: Fates,
        replaced: Vec<PathBuf>,
    },
    /// All groups are in place: the log may say how far it is compacted, if it was not cut.
    Note,
    Checkpoint,
    /// A file is not as it was: damage, unless the log was cut meanwhile.
    Suspect(Error),
    Done,
}

/// A group that is being written.
#[derive(Debug)]
pub(super) struct Rewriting {
    group: usize,
    /// Place of the segment that is read.
    place: usize,
    writer: Option<Writer>,
    reading: Option<Reading>,
    fates: Fates,
}

/// A walk over one segment.
#[derive(Debug)]
pub(super) struct Reading {
    scan: Scan,
    path: PathBuf,
    size: u32,
}

/// Why a step did not get on.
enum Stop {
    Failed(Failure),
    Suspect(Error),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

impl Reading {
    /// What a failed walk means.
    fn stop(&self, home: &Home, error: ScanError) -> Stop {
        match scan_failed(&home.disk, self.path.clone(), self.size, error) {
            error @ Error::Damaged { .. } => Stop::Suspect(error),
            error => error.into(),
        }
    }

    fn damaged(&self, located: &Located, reason: String) -> Stop {
        Stop::Suspect(Error::damaged(self.path.clone(), u64::from(located.position), reason))
    }
}

impl Compaction {
    /// Does the next part of the work, without the log's lock.
    ///
    /// Errors: the pass is over, and there is nothing more to do for it.
    pub fn step(&mut self) -> Result<Progress, Failure> {
        self.home.disk.check()?;
        let before = self.report.bytes_read + self.report.bytes_written;
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        let next = match stage {
            Stage::Prepare => self.prepare(),
            Stage::Index { place, reading, fates } => self.index(place, reading, fates),
            Stage::Rewrite(rewriting) => self.rewrite(*rewriting),
            Stage::Swapped { group, fates, replaced } => self.clear_up(group, fates, &replaced),
            Stage::Checkpoint => self.checkpoint(),
            waiting => Ok(waiting),
        };
        self.stage = match next {
            Ok(stage) => stage,
            Err(Stop::Suspect(error)) => Stage::Suspect(error),
            Err(Stop::Failed(failure)) => return Err(failure),
        };
        Ok(match self.stage {
            Stage::Mend | Stage::Swap { .. } | Stage::Note | Stage::Suspect(_) => Progress::NeedsLog,
            Stage::Done => Progress::Done,
            _ => Progress::More(self.report.bytes_read + self.report.bytes_written - before),
        })
    }

    /// What the pass did so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Ends the pass and gives the map back for the next one.
    pub fn into_map(self) -> OffsetMap {
        let Compaction { map, .. } = self;
        map
    }

    fn prepare(&mut self) -> Result<Stage, Stop> {
        // Before the first hole, recovery must know that there may be some.
        self.directory.compacted().write(&self.home.disk)?;
        self.remove_unfinished()?;
        if let Some(search) = &self.search {
            match search.wait() {
                Ok(aborted) => self.aborted = aborted,
                Err(Error::Damaged { .. }) if !self.mended => return Ok(Stage::Mend),
                Err(error @ Error::Damaged { .. }) => return Err(Stop::Suspect(error)),
                Err(error) => return Err(error.into()),
            }
        }
        let Dirty { first_dirty_offset, end_offset, is_merge, .. } = self.dirty;
        if is_merge {
            self.map.reset(0);
            return self.rewriting();
        }
        self.map.reset(u64::try_from(end_offset.saturating_sub(first_dirty_offset)).unwrap_or(0));
        let behind = self.segments.partition_point(|segment| segment.base_offset <= first_dirty_offset);
        let ahead = self.aborted.iter().filter(|aborted| aborted.last_offset >= first_dirty_offset);
        let fates = Fates::new(ahead.copied().collect());
        Ok(Stage::Index { place: behind.saturating_sub(1), reading: None, fates })
    }

    /// Removes what a pass before left unfinished. A `.cleaned` beside a later `.swap` would undo that (see
    /// `interrupted_cleaning`), when the segments it replaces are gone.
    fn remove_unfinished(&self) -> Result<(), Stop> {
        let disk = &self.home.disk;
        self.home.in_folder(|folder| {
            let entries = disk.done("list", folder, disk.files.list(folder))?;
            for entry in entries.iter().filter(|entry| entry.name.ends_with(CLEANED)) {
                disk.remove(&folder.join(&entry.name))?;
            }
            disk.sync_dir(folder)
        })?;
        Ok(())
    }

    fn index(&mut self, place: usize, reading: Option<Reading>, mut fates: Fates) -> Result<Stage, Stop> {
        let mut reading = match reading {
            Some(reading) => reading,
            None => self.read(place)?,
        };
        let first_dirty_offset = self.dirty.first_dirty_offset;
        reading.scan.chunk(HEADERS_CHUNK);
        let mut left = self.buffer_bytes;
        while left > 0 {
            let located = match reading.scan.next() {
                Ok(Some(located)) => located,
                Ok(None) => return self.indexed(place, fates),
                Err(error) => return Err(reading.stop(&self.home, error)),
            };
            if located.header.last_offset() < first_dirty_offset {
                continue;
            }
            reading.scan.chunk(self.buffer_bytes);
            if !self.note_keys(&mut reading, &located, &mut fates)? {
                self.report.is_partial = true;
                return self.rewriting();
            }
            self.map.mapped_upto(located.header.last_offset());
            self.report.bytes_read += u64::from(located.size());
            left = left.saturating_sub(located.size() as usize);
        }
        Ok(Stage::Index { place, reading: Some(reading), fates })
    }

    /// The segment at `place` is in the map, up to where the next begins.
    fn indexed(&mut self, place: usize, fates: Fates) -> Result<Stage, Stop> {
        let next = self.segments.get(place + 1).map(|next| next.base_offset);
        self.map.mapped_upto(next.unwrap_or(self.dirty.end_offset) - 1);
        if next.is_none() {
            return self.rewriting();
        }
        Ok(Stage::Index { place: place + 1, reading: None, fates })
    }

    /// Notes the keys of a batch; false when one did not fit.
    fn note_keys(
        &mut self,
        reading: &mut Reading,
        located: &Located,
        fates: &mut Fates,
    ) -> Result<bool, Stop> {
        let verified = reading.scan.verify(located);
        let batch = match verified {
            Ok(batch) => batch,
            Err(error) => return Err(reading.stop(&self.home, error)),
        };
        if batch.attributes.is_control() {
            fates.is_marker_done(&batch);
            return Ok(true);
        }
        if fates.is_aborted(&batch) {
            return Ok(true);
        }
        let mut unpacked = Vec::new();
        let noted = filter::payload_of(&batch, &mut unpacked).and_then(|payload| {
            for record in RecordIter::new(payload, batch.count) {
                let record = record.map_err(|error| error.to_string())?;
                let offset = batch.offset_of(&record);
                if let Some(key) = record.key
                    && offset >= self.dirty.first_dirty_offset
                    && !self.map.put(key, offset)
                {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        noted.map_err(|reason| reading.damaged(located, reason))
    }

    /// The keys are noted; how far is known.
    fn rewriting(&mut self) -> Result<Stage, Stop> {
        let Dirty { first_dirty_offset, is_merge, .. } = self.dirty;
        let cleaned_upto = if is_merge { first_dirty_offset } else { self.map.latest_offset() + 1 };
        if cleaned_upto <= first_dirty_offset && !is_merge {
            let reason =
                format!("the keys of one batch at offset {first_dirty_offset} do not fit the offset map");
            return Err(Failure::Uncleanable { reason }.into());
        }
        self.report.cleaned_upto = cleaned_upto;
        self.report.map_utilization = self.map.utilization();
        let count = self.segments.partition_point(|segment| segment.base_offset < cleaned_upto);
        let end_offset = self.segments.get(count).map_or(self.dirty.end_offset, |next| next.base_offset);
        self.groups = groups(&self.segments[..count], end_offset, &self.config);
        self.report.segments_before = count;
        self.report.segments_after = self.groups.len();
        if is_merge && self.aborted.is_empty() {
            // Those that stay alone need not be read. With aborted transactions they must, as the fate of one that
            // reaches over several segments follows from all of them.
            self.groups.retain(|places| places.len() > 1);
        }
        let fates = Fates::new(std::mem::take(&mut self.aborted));
        Ok(self.group(0, fates))
    }

    fn group(&self, group: usize, fates: Fates) -> Stage {
        match self.groups.get(group) {
            Some(places) => {
                let place = places.start;
                let writer = None;
                Stage::Rewrite(Box::new(Rewriting { group, place, writer, reading: None, fates }))
            }
            None => Stage::Note,
        }
    }

    fn rewrite(&mut self, mut rewriting: Rewriting) -> Result<Stage, Stop> {
        let places = self.groups[rewriting.group].clone();
        let mut writer = match rewriting.writer.take() {
            Some(writer) => writer,
            None => {
                let base_offset = self.segments[places.start].base_offset;
                let interval = self.config.index_interval_bytes;
                Writer::create(&self.home, base_offset, self.buffer_bytes, interval)?
            }
        };
        let mut reading = match rewriting.reading.take() {
            Some(reading) => reading,
            None => self.read(rewriting.place)?,
        };
        reading.scan.chunk(self.buffer_bytes);
        let mut left = self.buffer_bytes;
        while left > 0 {
            let located = match reading.scan.next() {
                Ok(Some(located)) => located,
                Ok(None) if rewriting.place + 1 < places.end => {
                    rewriting.place += 1;
                    return Ok(Stage::Rewrite(Box::new(Rewriting { writer: Some(writer), ..rewriting })));
                }
                Ok(None) => {
                    let Rewriting { group, mut fates, .. } = rewriting;
                    let (cleaned, bytes) = writer.finish(&fates.take_kept())?;
                    self.report.bytes_written += bytes;
                    return Ok(Stage::Swap { group, cleaned, fates });
                }
                Err(error) => return Err(reading.stop(&self.home, error)),
            };
            self.copy(&mut reading, &located, &mut rewriting.fates, &mut writer)?;
            left = left.saturating_sub(located.size() as usize);
        }
        let (writer, reading) = (Some(writer), Some(reading));
        Ok(Stage::Rewrite(Box::new(Rewriting { writer, reading, ..rewriting })))
    }

    /// Writes what stays of a batch.
    fn copy(
        &mut self,
        reading: &mut Reading,
        located: &Located,
        fates: &mut Fates,
        writer: &mut Writer,
    ) -> Result<(), Stop> {
        let verified = reading.scan.verify(located);
        let batch = match verified {
            Ok(batch) => batch,
            // A new checksum would make the damage look sound.
            Err(error) => return Err(reading.stop(&self.home, error)),
        };
        let filtered = match self.dirty.is_merge {
            true => Ok(filter::merged(&batch, fates)),
            false => filter::filter(&batch, &self.map, fates, &self.rules),
        };
        let filtered = match filtered {
            Ok(filtered) => filtered,
            Err(reason) => return Err(reading.damaged(located, reason)),
        };
        let report = &mut self.report;
        report.bytes_read += u64::from(located.size());
        report.records_read += filter::records_of(&located.header);
        report.records_kept += filtered.records_kept;
        report.records_keyless += filtered.keyless;
        report.bytes_written += match &filtered.kept {
            Kept::Nothing => 0,
            Kept::Whole => writer.add(&located.header, batch.as_bytes())?,
            Kept::Rewritten(bytes) => {
                let header = bytes.first_chunk().expect("a batch begins with its header");
                writer.add(&milena_protocol::records::BatchHeader::from_bytes(header), bytes)?
            }
        };
        Ok(())
    }

    fn clear_up(&mut self, group: usize, fates: Fates, replaced: &[PathBuf]) -> Result<Stage, Stop> {
        let disk = &self.home.disk;
        for path in replaced {
            disk.remove(path)?;
        }
        // The names in place must be durable before the next `.cleaned`, see `remove_unfinished`.
        self.home.in_folder(|folder| disk.sync_dir(folder))?;
        Ok(self.group(group + 1, fates))
    }

    fn checkpoint(&mut self) -> Result<Stage, Stop> {
        self.directory.compacted().write(&self.home.disk)?;
        Ok(Stage::Done)
    }

    fn read(&self, place: usize) -> Result<Reading, Stop> {
        let Segment { base_offset, size, .. } = self.segments[place];
        let path = self.home.path(base_offset, Kind::Log, "");
        match self.home.disk.open(&path)? {
            Some(file) => Ok(Reading { scan: Scan::new(file, 0, size, base_offset), path, size }),
            None => Err(Stop::Suspect(Error::damaged(path, 0, "the file is gone"))),
        }
    }
}
