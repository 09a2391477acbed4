//! Single claims about a log, on the model's world.

use super::*;
use crate::memory_files::Loss;
use crate::producers::{Origin, Producer};

fn world() -> World {
    World::new(Arc::new(MemoryFiles::new()), Path::new("/data"), config())
}

#[test]
fn slice_outlives_its_segment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut world = World::new(Arc::new(RealFiles), folder.path(), config());
    for _ in 0..20 {
        world.append(&[vec![1, 2, 3]], None, false);
    }
    let read = Read { from_offset: 0, upto_offset: 3, max_bytes: 1000, min_one_batch: true, hot_only: false };
    let slice = world.log().read(read).expect("in range").expect("something");
    let end = world.log_end_offset;
    assert!(world.log().delete_old_segments(end, NOW_MS + 1_000_000).expect("writable") > 3);
    world.log().directory.checkpoint().expect("writable");
    world.log().maintain(NOW_MS + 2_000_000).expect("writable");
    let names = |folder: &Path| std::fs::read_dir(folder.join(NAME)).expect("a folder").count();
    assert!(names(folder.path()) <= 6, "the files are gone");
    assert_eq!(slice.read().expect("still readable"), world.kept[0].bytes);
    let error = world.log().read(read).expect_err("the record is gone");
    assert!(matches!(error, ReadError::OutOfRange { requested: 0, .. }), "{error}");
}

#[test]
fn segment_rolls_when_the_timestamps_are_segment_ms_apart() {
    let config = Config { segment_ms: 50, segment_bytes: 1 << 20, ..config() };
    let mut world = World::new(Arc::new(MemoryFiles::new()), Path::new("/data"), config);
    for (timestamp, segments_count) in [(0, 1), (50, 1), (51, 2), (60, 2), (101, 2), (102, 3), (7, 3)] {
        world.append(&[vec![timestamp]], None, false);
        assert_eq!(world.log().segments_count(), segments_count, "after timestamp {timestamp}");
    }
}

#[test]
fn segment_rolls_when_its_index_is_full() {
    let config = Config { segment_index_bytes: 24, segment_bytes: 1 << 20, ..config() };
    let mut world = World::new(Arc::new(MemoryFiles::new()), Path::new("/data"), config);
    for timestamp in 0..12 {
        world.append(&[vec![timestamp]], None, false);
    }
    let counts: Vec<u32> = world.log().segments.iter().map(|segment| segment.size / 90).collect();
    assert!(counts.len() > 2, "{counts:?}");
}

#[test]
fn segment_rolls_when_an_offset_is_out_of_reach_of_its_index() {
    let mut world = world();
    world.append(&[vec![1]], None, false);
    let far = i64::from(i32::MAX) + 10;
    let bytes = World::batch(&[1], false, far);
    let appended = world.log().append(&bytes, AppendAs::Replica, NOW_MS).expect("valid");
    assert!(appended.rolled);
    assert_eq!(appended.base_offset, far);
    let read =
        Read { from_offset: 1, upto_offset: far + 1, max_bytes: 1000, min_one_batch: true, hot_only: false };
    let slice = world.log().read(read).expect("in range").expect("something");
    assert_eq!(slice.first_base_offset, far);
    for clean in [false, true] {
        if clean {
            world.log.take().expect("open").close_clean().expect("writable");
            world.directory.take().expect("open").close_clean(-1).expect("writable");
        }
        (world.log, world.directory) = (None, None);
        let opened = world.open();
        assert_eq!(opened.truncated_bytes, 0, "clean: {clean}");
        assert_eq!(world.log().log_end_offset(), far + 1, "clean: {clean}");
        let slice = world.log().read(read).expect("in range").expect("something");
        assert_eq!(slice.first_base_offset, far);
    }
}

#[test]
fn append_that_cannot_write_its_index_for_want_of_descriptors_is_an_append() {
    let files = MemoryFiles::new();
    let config = Config { segment_bytes: 1 << 20, index_interval_bytes: 1, ..config() };
    let mut world = World::new(Arc::new(files.clone()), Path::new("/data"), config);
    files.inject(Fault::errno(Operation::Create, 0, libc::EMFILE).on_paths("index").lasting());
    for _ in 0..300 {
        world.append(&[vec![1]], None, false);
    }
    assert!(world.log().active.indexer.offsets.memory.len() > crate::index_file::MEMORY_ENTRIES_MAX);
    files.heal();
    world.append(&[vec![1]], None, false);
    assert!(world.log().active.indexer.offsets.memory.is_empty(), "written when it can be");
    world.check();
}

#[test]
fn log_whose_change_a_panic_interrupted_is_not_used_until_it_was_checked() {
    let files = MemoryFiles::new();
    let mut world = World::new(Arc::new(files.clone()), Path::new("/data"), config());
    world.append(&[vec![1]], None, false);
    files.inject(Fault::panic(Operation::Write, 0));
    let bytes = World::batch(&[2], false, 0);
    let leader = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };
    let append = std::panic::AssertUnwindSafe(|| world.log().append(&bytes, leader, NOW_MS));
    std::panic::catch_unwind(append).expect_err("injected");
    let interrupted = |error: &Error| matches!(error, Error::Interrupted { .. });
    let again = world.log().append(&bytes, leader, NOW_MS);
    assert!(matches!(&again, Err(AppendError::Storage(error)) if interrupted(error)), "{again:?}");
    assert!(interrupted(&world.log().maintain(NOW_MS).expect_err("interrupted")));
    let closed = world.log.take().expect("open").close_clean();
    assert!(interrupted(&closed.expect_err("interrupted")));
    world.directory.take().expect("open").close_clean(-1).expect("writable");
    assert!(world.open().recovered_bytes > 0, "checked although the stop was clean");
    world.append(&[vec![1]], None, false);
    world.check();
}

#[test]
fn bad_batches_change_nothing() {
    let mut world = world();
    world.append(&[vec![1, 2]], None, false);
    let good = World::batch(&[1], false, 2);
    let leader = AppendAs::Leader { leader_epoch: 1, log_append_time: None, origin: Origin::Client };
    let check = |world: &mut World, bytes: &[u8], append_as: AppendAs, wanted: &str| {
        let error = world.log().append(bytes, append_as, NOW_MS).expect_err("refused");
        assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
        world.check();
    };
    check(&mut world, &good[..good.len() - 1], leader, "Batch(Truncated");
    check(&mut world, &[good.clone(), good[..20].to_vec()].concat(), leader, "Batch(Truncated");
    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    check(&mut world, &flipped, AppendAs::Replica, "Batch(Crc");
    check(&mut world, &World::batch(&[1], false, 1), AppendAs::Replica, "OutOfOrder");
    check(&mut world, &World::batch(&[1; 40], false, 2), AppendAs::Replica, "TooLarge");
    let mut last = World::batch(&[1, 2], false, 0);
    last[..8].copy_from_slice(&(i64::MAX - 1).to_be_bytes());
    check(&mut world, &last, AppendAs::Replica, "OffsetsExhausted");
    world.log().append(&good, leader, NOW_MS).expect("valid");
    world.log_end_offset += 1;
    let older = World::batch(&[1], false, 3);
    check(&mut world, &older, AppendAs::Replica, "EpochWentBack");
}

#[test]
fn a_request_that_fills_several_segments_is_durable_after_one_sync() {
    let files = MemoryFiles::new();
    let mut world = World::new(Arc::new(files.clone()), Path::new("/data"), config());
    world.append(&[vec![1; 5], vec![2; 5], vec![3; 5], vec![4; 5], vec![5; 5]], None, false);
    assert!(world.log().segments_count() > 2);
    assert_eq!(world.log().sync().expect("writable"), 25);
    let files = Arc::new(files.crash(crate::memory_files::Loss::Unsynced));
    let mut recovered = World::new(files, Path::new("/data"), config());
    assert_eq!(recovered.log().log_end_offset(), 25);
}

#[test]
fn leader_stamps_the_append_time_into_the_copy_it_stores() {
    let mut world = world();
    let sent = World::batch(&[1, 2], false, 0);
    let append_as =
        AppendAs::Leader { leader_epoch: 4, log_append_time: Some(NOW_MS + 99), origin: Origin::Client };
    let appended = world.log().append(&sent, append_as, NOW_MS).expect("valid");
    assert_eq!(appended.max_timestamp, NOW_MS + 99);
    let read = Read { from_offset: 0, upto_offset: 2, max_bytes: 1000, min_one_batch: true, hot_only: false };
    let bytes = world.log().read(read).expect("in range").expect("something").read().expect("readable");
    let (batch, _) = Batch::parse(&bytes).expect("whole");
    batch.verify_crc().expect("the checksum covers the new time");
    assert_eq!((batch.leader_epoch, batch.max_timestamp), (4, NOW_MS + 99));
    let found = world.log().offset_for_timestamp(NOW_MS + 50).expect("readable").expect("found");
    assert_eq!((found.offset, found.timestamp, found.leader_epoch), (0, NOW_MS + 99, Some(4)));
}

#[test]
fn append_error_is_small_enough_to_return() {
    assert!(size_of::<AppendError>() <= 64, "{}", size_of::<AppendError>());
}

#[test]
fn an_idle_log_costs_little_memory_and_no_file() {
    let mut world = world();
    world.append(&[vec![1]], None, false);
    world.log().sync().expect("writable");
    world.log().maintain(NOW_MS + 1000).expect("writable");
    world.log().maintain(NOW_MS + 2000).expect("writable");
    assert!(world.log().active.file.is_none(), "no file");
    let size = size_of::<Log>() + size_of::<Durability>();
    assert!(size <= 1200, "{size} bytes");
    world.append(&[vec![1]], None, false);
    world.check();
}

/// What a follower appends at once may fill several segments, and each of them has a snapshot of its own.
#[test]
fn snapshots_within_one_append_know_the_producers_so_far() {
    let config = Config { segment_bytes: 200, ..config() };
    let mut world = World::new(Arc::new(MemoryFiles::new()), Path::new("/data"), config);
    let mut bytes = Vec::new();
    for sequence in 0..6 {
        for producer in [7, 8] {
            let mut builder = Builder::new().producer(producer, 0, sequence);
            builder.append(NOW_MS, None, Some(b"value"), &[]).expect("small");
            bytes.extend(builder.finish().expect("small"));
        }
    }
    let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };
    assert!(world.log().append(&bytes, append_as, NOW_MS).expect("in order").rolled);
    let bases: Vec<i64> = world.log().segments.iter().map(|segment| segment.base_offset).collect();
    assert!(bases.len() > 4, "{bases:?}");

    let known = |world: &mut World| -> Vec<(i64, Producer)> {
        world.log().producers().iter().map(|(id, producer)| (id, *producer)).collect()
    };
    let all = known(&mut world);
    world.log = None;
    world.directory = None;
    world.open();
    assert_eq!(known(&mut world), all, "by the newest snapshot and what follows");
    for base_offset in bases.into_iter().rev() {
        world.log().truncate_to(base_offset).expect("memory");
        let last: Vec<i64> = known(&mut world)
            .iter()
            .map(|(_, producer)| producer.last_batch().expect("it wrote").last_offset)
            .collect();
        // They wrote in turn, so each has one of the two last offsets.
        let wanted: Vec<i64> = (0..base_offset).rev().take(2).collect();
        assert_eq!(
            std::collections::BTreeSet::from_iter(last),
            std::collections::BTreeSet::from_iter(wanted)
        );
    }
}

#[test]
fn a_noted_high_watermark_stays_and_never_speaks_of_records_that_came_later() {
    let mut world = world();
    for timestamp in 0..8 {
        world.append(&[vec![timestamp]], None, false);
    }
    assert_eq!(world.log().noted_high_watermark(), None);
    world.log().note_high_watermark(6);
    world.log().directory.checkpoint_high_watermarks().expect("memory");
    let reopen = |world: &mut World| {
        world.log = None;
        world.directory = None;
        world.open();
    };
    reopen(&mut world);
    assert_eq!(world.log().noted_high_watermark(), Some(6));

    world.log().truncate_to(4).expect("memory");
    for offset in 4..8 {
        let other = World::batch(&[9], false, offset);
        world.log().append(&other, AppendAs::Replica, NOW_MS).expect("they follow");
    }
    assert_eq!(world.log().noted_high_watermark(), Some(4), "6 was said of other records");
    reopen(&mut world);
    assert_eq!(world.log().noted_high_watermark(), Some(4));

    world.log().truncate_fully_and_start_at(0).expect("memory");
    assert_eq!(world.log().noted_high_watermark(), Some(0));
}

/// Records that a power loss took are followed by others, of which nothing is said yet.
#[test]
fn what_a_power_loss_took_is_not_noted_when_others_come_in_its_place() {
    let files = MemoryFiles::new();
    let mut world = World::new(Arc::new(files.clone()), Path::new("/data"), config());
    world.append(&[vec![0]], None, false);
    world.log().sync().expect("memory");
    world.append(&[vec![1]], None, false);
    world.append(&[vec![2]], None, false);
    world.log().note_high_watermark(3);
    world.log().directory.checkpoint_high_watermarks().expect("memory");

    let open_after = |files: MemoryFiles| World::new(Arc::new(files), Path::new("/data"), config());
    let lost = files.crash(Loss::Unsynced);
    let mut after = open_after(lost.clone());
    assert_eq!((after.log().log_end_offset(), after.log().noted_high_watermark()), (1, Some(1)));
    for offset in 1..3 {
        let other = World::batch(&[7], false, offset);
        after.log().append(&other, AppendAs::Replica, NOW_MS).expect("they follow");
    }
    // The process dies before anybody writes a checkpoint.
    let mut again = open_after(lost.crash(Loss::Nothing));
    assert_eq!((again.log().log_end_offset(), again.log().noted_high_watermark()), (3, Some(1)));
}
