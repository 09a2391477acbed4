//! Files that were torn, truncated, flipped, removed or swapped while nobody watched. Each kind of damage is
//! told apart: what lies behind the recovery point may be cut, what was durable is never given up in silence,
//! and derived files are made again.

mod support;

use std::path::{Path, PathBuf};

use milena_log::memory_files::{Loss, MemoryFiles};
use milena_log::{Error, Log, Read};
use milena_protocol::records::Batches;
use support::{FOLDER, Model, NOW_MS, Step, World, open, open_directory, read_all};

/// Several segments below the recovery point, and some batches behind it.
const HISTORY: &[Step] = &[
    Step::Append { producer: 1, count: 3 },
    Step::Append { producer: 2, count: 2 },
    Step::Append { producer: 1, count: 4 },
    Step::Append { producer: 0, count: 4 },
    Step::Append { producer: 1, count: 4 },
    Step::Lead,
    Step::Append { producer: 2, count: 4 },
    Step::Append { producer: 1, count: 4 },
    Step::Append { producer: 0, count: 4 },
    Step::Append { producer: 2, count: 4 },
    Step::Append { producer: 1, count: 1 },
    Step::Sync,
    Step::Checkpoint,
    Step::Append { producer: 1, count: 2 },
    Step::Append { producer: 2, count: 3 },
];

/// Files after a crash of the process that lost nothing, and what they must say.
fn crashed() -> (MemoryFiles, Model) {
    let mut world = World::new();
    for step in HISTORY {
        world.step(*step).expect("memory");
    }
    (world.files.crash(Loss::Nothing), world.model)
}

/// The same after a clean stop.
fn stopped() -> (MemoryFiles, Model) {
    let mut world = World::new();
    for step in HISTORY.iter().chain(&[Step::Sync]) {
        world.step(*step).expect("memory");
    }
    world.log.close_clean().expect("memory");
    world.directory.close_clean(-1).expect("memory");
    (world.files.crash(Loss::Unsynced), world.model)
}

fn files_ending(files: &MemoryFiles, suffix: &str) -> Vec<PathBuf> {
    let mut found = files.paths_below(Path::new(FOLDER));
    found.retain(|path| path.to_string_lossy().ends_with(suffix));
    assert!(!found.is_empty(), "no file ends with {suffix}");
    found
}

/// Where in the last segment's file the first batch behind the recovery point begins.
fn recovery_position(files: &MemoryFiles, model: &Model) -> (PathBuf, usize) {
    let path = files_ending(files, ".log").pop().expect("a segment");
    let contents = files.contents(&path);
    let before = Batches::new(&contents).map(|batch| batch.expect("undamaged"));
    let position = before
        .take_while(|batch| batch.base_offset < model.synced_offset)
        .map(|batch| batch.size_bytes())
        .sum();
    assert!(position > 0, "the recovery point is within the last segment");
    (path, position)
}

#[test]
fn a_tail_torn_anywhere_behind_the_recovery_point_is_cut() {
    let (files, model) = crashed();
    let (path, position) = recovery_position(&files, &model);
    for size in position..files.contents(&path).len() {
        let damaged = files.crash(Loss::Nothing);
        damaged.damage(&path, |contents| contents.truncate(size));
        let context = format!("{} torn at {size}", path.display());
        let (_, mut log, opened) = open(&damaged).unwrap_or_else(|error| panic!("{context}: {error}"));
        model.clone().check(&mut log, &context);
        let kept: usize = read_all(&mut log).iter().map(Vec::len).sum();
        assert_eq!(
            opened.truncated_bytes > 0,
            size > position && !ends_between_batches(&files, &path, size),
            "{context}"
        );
        assert!(kept > 0, "{context}");
    }
}

fn ends_between_batches(files: &MemoryFiles, path: &Path, size: usize) -> bool {
    let contents = files.contents(path);
    let mut end = 0;
    Batches::new(&contents).any(|batch| {
        end += batch.expect("undamaged").size_bytes();
        end == size
    })
}

#[test]
fn zeros_behind_the_recovery_point_are_cut() {
    let (files, model) = crashed();
    let (path, position) = recovery_position(&files, &model);
    files.damage(&path, |contents| contents[position + 20..].fill(0));
    let (_, mut log, opened) = open(&files).expect("a torn tail is no error");
    assert!(opened.truncated_bytes > 0);
    assert_eq!(log.log_end_offset(), model.synced_offset);
    model.clone().check(&mut log, "zeros");
}

/// Whether a byte of a batch is one that its checksum does not cover and nothing else repeats.
fn is_unprotected(files: &MemoryFiles, path: &Path, position: usize) -> bool {
    let contents = files.contents(path);
    let mut start = 0;
    for batch in Batches::new(&contents) {
        let size = batch.expect("undamaged").size_bytes();
        if position < start + size {
            // The base offset may be larger after compaction, and the epoch is the leader's to write.
            return matches!(position - start, 0..8 | 12..16);
        }
        start += size;
    }
    false
}

#[test]
fn a_flipped_bit_behind_the_recovery_point_cuts_there() {
    let (files, model) = crashed();
    let (path, position) = recovery_position(&files, &model);
    for byte in position..files.contents(&path).len() {
        let damaged = files.crash(Loss::Nothing);
        damaged.flip_bit(&path, byte * 8 + byte % 8);
        let context = format!("bit flipped in byte {byte} of {}", path.display());
        let (_, mut log, opened) = open(&damaged).unwrap_or_else(|error| panic!("{context}: {error}"));
        if is_unprotected(&files, &path, byte) {
            assert!(log.log_end_offset() >= model.synced_offset, "{context}");
        } else {
            assert!(opened.truncated_bytes > 0, "{context}");
            model.clone().check(&mut log, &context);
        }
    }
}

#[test]
fn a_flipped_bit_below_the_recovery_point_never_cuts() {
    let (files, model) = crashed();
    let mut noticed_count = 0;
    for path in files_ending(&files, ".log") {
        for byte in 0..files.contents(&path).len() {
            let damaged = files.crash(Loss::Nothing);
            damaged.flip_bit(&path, byte * 8 + byte % 8);
            let context = format!("bit flipped in byte {byte} of {}", path.display());
            match open(&damaged) {
                // Not looked at, or behind the recovery point.
                Ok((_, log, _)) => assert!(log.log_end_offset() >= model.synced_offset, "{context}"),
                Err(Error::Damaged { file, .. }) => {
                    noticed_count += 1;
                    assert_eq!(file.parent(), path.parent(), "{context}");
                    let size = damaged.contents(&path).len();
                    assert_eq!(size, files.contents(&path).len(), "{context}: the evidence is kept");
                }
                Err(other) => panic!("{context}: {other}"),
            }
        }
    }
    assert!(noticed_count > 0, "lengths are looked at");
}

#[test]
fn a_durable_segment_that_is_cut_short_is_damage_with_file_and_position() {
    let (files, model) = crashed();
    let (last, position) = recovery_position(&files, &model);
    for path in files_ending(&files, ".log") {
        let end = if path == last { position } else { files.contents(&path).len() };
        let between = (0..end).filter(|size| ends_between_batches(&files, &path, *size));
        for size in (0..end).step_by(7).chain(between.collect::<Vec<_>>()) {
            let damaged = files.crash(Loss::Nothing);
            damaged.damage(&path, |contents| contents.truncate(size));
            let context = format!("{} cut to {size}", path.display());
            match open(&damaged) {
                Err(Error::Damaged { file, .. }) => assert_eq!(file, path, "{context}"),
                other => panic!("{context}: {:?}", other.map(|(_, _, opened)| opened)),
            }
        }
    }
}

#[test]
fn one_damaged_log_leaves_the_others_of_its_directory_alone() {
    let (files, _) = crashed();
    let last = files_ending(&files, ".log").pop().expect("a segment");
    files.damage(&last, |contents| contents.truncate(3));
    let directory = open_directory(&files).expect("the directory is fine");
    let open_log = |name: &str| Log::open(&directory, name, support::config(), NOW_MS);
    assert!(matches!(open_log(support::NAME), Err(Error::Damaged { .. })));
    assert!(directory.offline_reason().is_none());
    let (other, _) = open_log("other-0").expect("another log");
    assert_eq!(other.log_end_offset(), 0);
}

#[test]
fn a_missing_or_swapped_durable_segment_is_damage() {
    let (files, _) = crashed();
    let segments = files_ending(&files, ".log");
    assert!(segments.len() >= 3, "{segments:?}");
    let last = segments.last().expect("a segment");
    let remove = |path: &Path| {
        let damaged = files.crash(Loss::Nothing);
        milena_log::files::Files::remove_file(&damaged, path).expect("there");
        damaged.crash(Loss::Nothing)
    };
    assert!(matches!(open(&remove(last)), Err(Error::Damaged { .. })), "the last segment is gone");
    let swapped = files.crash(Loss::Nothing);
    let (first, second) = (swapped.contents(&segments[0]), swapped.contents(&segments[1]));
    swapped.put(&segments[0], &second);
    swapped.put(&segments[1], &first);
    match open(&swapped) {
        Err(Error::Damaged { file, .. }) => assert!(segments[..2].contains(&file), "{}", file.display()),
        other => panic!("swapped segments gave {:?}", other.map(|(_, log, _)| log.log_end_offset())),
    }
}

/// Finds every offset and every timestamp one by one, so that the indexes are used.
fn look_everything_up(log: &mut Log, model: &Model, context: &str) {
    for batch in &model.batches {
        for offset in batch.base_offset..batch.next_offset {
            let upto_offset = log.log_end_offset();
            let read =
                Read { from_offset: offset, upto_offset, max_bytes: 1, min_one_batch: true, hot_only: false };
            let slice = log.read(read).unwrap_or_else(|error| panic!("{context}, offset {offset}: {error}"));
            let bytes = slice.expect("below the end").read().expect("readable");
            assert!(bytes == batch.bytes, "{context}: offset {offset}");
        }
        let timestamp = Batches::new(&batch.bytes).next().expect("one").expect("whole").max_timestamp;
        let found = log.offset_for_timestamp(timestamp).unwrap_or_else(|error| panic!("{context}: {error}"));
        let found = found.unwrap_or_else(|| panic!("{context}: nothing at {timestamp}"));
        assert_eq!((found.timestamp, found.offset), (timestamp, batch.base_offset), "{context}");
    }
}

/// Damages each file with one of these endings in each of these ways, and expects that nobody notices.
fn derived_file_is_made_again(suffix: &str, left: fn() -> (MemoryFiles, Model)) {
    let (files, model) = left();
    let paths = files_ending(&files, suffix);
    let check = |damaged: &MemoryFiles, context: &str| {
        let (_directory, mut log, opened) =
            open(damaged).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(opened.truncated_bytes, 0, "{context}");
        assert_eq!(log.log_end_offset(), model.end_offset(), "{context}");
        model.clone().check(&mut log, context);
        look_everything_up(&mut log, &model, context);
    };
    for path in &paths {
        let size = files.contents(path).len();
        let damage = |change: &dyn Fn(&mut Vec<u8>), what: &str| {
            let damaged = files.crash(Loss::Nothing);
            damaged.damage(path, change);
            check(&damaged, &format!("{} {what}", path.display()));
        };
        damage(&|contents| contents.clear(), "emptied");
        damage(&|contents| contents.extend_from_slice(b"junk!"), "with junk behind");
        damage(&|contents| contents.extend_from_slice(&[0; 48]), "with zeros behind");
        for size in (0..size).step_by(5) {
            damage(&|contents| contents.truncate(size), &format!("cut to {size}"));
            damage(&|contents| contents[size..].fill(0), &format!("zero from {size} on"));
        }
        let removed = files.crash(Loss::Nothing);
        milena_log::files::Files::remove_file(&removed, path).expect("there");
        check(&removed, &format!("{} removed", path.display()));
    }
    // A snapshot does not say of which offset it is: an older one in a newer one's place cannot be told.
    for pair in paths.windows(2).filter(|_| suffix != ".snapshot") {
        let swapped = files.crash(Loss::Nothing);
        let (first, second) = (swapped.contents(&pair[0]), swapped.contents(&pair[1]));
        swapped.put(&pair[0], &second);
        swapped.put(&pair[1], &first);
        check(&swapped, &format!("{} swapped with its neighbour", pair[0].display()));
    }
}

#[test]
fn damaged_offset_indexes_are_made_again() {
    derived_file_is_made_again(".index", crashed);
    derived_file_is_made_again(".index", stopped);
}

#[test]
fn damaged_time_indexes_are_made_again() {
    derived_file_is_made_again(".timeindex", crashed);
    derived_file_is_made_again(".timeindex", stopped);
}

#[test]
fn damaged_producer_snapshots_are_not_used() {
    derived_file_is_made_again(".snapshot", crashed);
    derived_file_is_made_again(".snapshot", stopped);
}

#[test]
fn a_producer_snapshot_that_knows_later_batches_is_not_used() {
    let (files, model) = crashed();
    let snapshots = files_ending(&files, ".snapshot");
    let newest = files.contents(snapshots.last().expect("one per roll"));
    for path in &snapshots[..snapshots.len() - 1] {
        files.put(path, &newest);
    }
    milena_log::files::Files::remove_file(&files, snapshots.last().expect("one")).expect("there");
    let (_directory, mut log, _) = open(&files).expect("readable");
    model.clone().check(&mut log, "a later snapshot under an earlier name");
    let remembered = log.producers().get(1).map(|producer| producer.batches().len());
    assert!(remembered > Some(1), "the state comes from the log: {remembered:?}");
}

/// A checksum does not cover a batch's base offset, and a closed segment is not walked after a clean stop. Without
/// snapshots the producers come from every segment, and find it.
#[test]
fn a_batch_that_claims_offsets_of_the_next_segment_is_damage() {
    let (files, _) = stopped();
    for snapshot in files_ending(&files, ".snapshot") {
        milena_log::files::Files::remove_file(&files, &snapshot).expect("there");
    }
    let first = files_ending(&files, ".log").remove(0);
    let contents = files.contents(&first);
    let sizes = Batches::new(&contents).map(|batch| batch.expect("undamaged").size_bytes());
    let last = contents.len() - sizes.last().expect("a batch");
    files.damage(&first, |contents| contents[last..last + 8].copy_from_slice(&38_000_i64.to_be_bytes()));
    match open(&files) {
        Err(Error::Damaged { file, position, .. }) => assert_eq!((file, position), (first, last as u64)),
        other => panic!("{:?}", other.map(|(_, log, _)| log.log_end_offset())),
    }
}

/// No bit of a base offset may make a reader step over the records that it asks for: they are answered, or the damage
/// is named. (Behind the first batch of an answer nobody looks: it is sent as it lies.)
#[test]
fn a_flipped_bit_of_a_base_offset_hides_no_record_that_is_asked_for() {
    let (files, model) = stopped();
    let paths = files_ending(&files, ".log");
    for path in &paths {
        let contents = files.contents(path);
        let mut position = 0;
        for batch in Batches::new(&contents).map(|batch| batch.expect("undamaged")) {
            for bit in 0..64 {
                let damaged = files.crash(Loss::Nothing);
                damaged.damage(path, |contents| contents[position + bit / 8] ^= 0x80 >> (bit % 8));
                let context = format!("{} at {position}, bit {bit}", path.display());
                match open(&damaged) {
                    Ok((_directory, mut log, _)) => read_each_offset(&mut log, &model, &context),
                    Err(Error::Damaged { file, .. }) => assert_eq!(&file, path, "{context}"),
                    Err(error) => panic!("{context}: {error}"),
                }
            }
            position += batch.size_bytes();
        }
    }
}

fn read_each_offset(log: &mut Log, model: &Model, context: &str) {
    let upto_offset = model.end_offset();
    for from_offset in log.log_start_offset()..upto_offset {
        let read = Read { from_offset, upto_offset, max_bytes: 1, min_one_batch: true, hot_only: false };
        // An error is an answer: it names the damage.
        let Ok(slice) = log.read(read) else { continue };
        let bytes =
            slice.unwrap_or_else(|| panic!("{context}: nothing at {from_offset}")).read().expect("memory");
        let batch = Batches::new(&bytes).next().expect("one").expect("whole");
        assert!(batch.base_offset <= from_offset, "{context}: {from_offset} is stepped over");
    }
}

#[test]
fn a_damaged_epoch_file_is_made_again() {
    derived_file_is_made_again("leader-epoch-checkpoint", crashed);
    derived_file_is_made_again("leader-epoch-checkpoint", stopped);
}

#[test]
fn damaged_offset_checkpoints_cost_a_recovery_and_no_records() {
    derived_file_is_made_again("recovery-point-offset-checkpoint", crashed);
    derived_file_is_made_again("recovery-point-offset-checkpoint", stopped);
}

#[test]
fn an_identity_that_does_not_read_is_refused_and_named() {
    let (files, _) = stopped();
    files.put(&Path::new(FOLDER).join("meta.properties"), b"version=7\ncluster.id=x\n");
    match open_directory(&files) {
        Err(Error::Unreadable { file, reason }) => {
            assert!(file.ends_with("meta.properties") && reason.contains("version"), "{reason}");
        }
        other => panic!("{:?}", other.map(|directory| directory.identity())),
    }
}
