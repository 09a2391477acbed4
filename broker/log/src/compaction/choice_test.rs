use super::*;

/// Sealed segments of 100 offsets and `sizes` bytes, and an active one.
fn status(first_dirty_offset: i64, bound_offset: i64, sizes: &[u32]) -> Status {
    let segments = (0..).zip(sizes).map(|(index, size)| SealedSegment {
        base_offset: index * 100,
        size: *size,
        largest_timestamp: None,
        first_timestamp: None,
    });
    Status {
        settings: Settings::default(),
        first_dirty_offset,
        bound_offset,
        active_base_offset: sizes.len() as i64 * 100,
        segments: segments.collect(),
        merge_upto: None,
    }
}

fn check(status: &Status, end_offset: i64, clean_bytes: u64, cleanable_bytes: u64) {
    let dirty = status.dirty(1_000_000);
    let found = (dirty.end_offset, dirty.clean_bytes, dirty.cleanable_bytes);
    assert_eq!(found, (end_offset, clean_bytes, cleanable_bytes), "{status:?}");
}

#[test]
fn whole_sealed_segments_below_the_bound_are_cleanable() {
    let sizes = [10, 20, 30];
    check(&status(0, 1000, &sizes), 300, 0, 60);
    check(&status(0, 300, &sizes), 300, 0, 60);
    check(&status(0, 299, &sizes), 200, 0, 30);
    check(&status(0, 0, &sizes), 0, 0, 0);
    check(&status(100, 1000, &sizes), 300, 10, 50);
    check(&status(200, 150, &sizes), 100, 30, 0);
    check(&status(300, 1000, &sizes), 300, 60, 0);
    check(&status(350, 1000, &sizes), 300, 60, 0);
    check(&status(0, 1000, &[]), 0, 0, 0);
}

#[test]
fn segment_that_a_partial_pass_ended_in_counts_twice_as_in_kafka() {
    check(&status(150, 1000, &[10, 20, 30]), 300, 30, 50);
}

#[test]
fn young_segment_and_all_behind_it_wait() {
    let mut status = status(100, 1000, &[10, 20, 30, 40]);
    status.settings.min_lag_ms = 1000;
    let timestamps = [None, Some(999_000), Some(999_001), Some(1)];
    for (segment, timestamp) in status.segments.iter_mut().zip(timestamps) {
        segment.largest_timestamp = timestamp;
    }
    check(&status, 200, 10, 20);
}

#[test]
fn log_is_due_by_its_ratio_or_when_a_record_is_late() {
    let mut status = status(100, 1000, &[10, 10]);
    assert_eq!(status.dirty(0).ratio(), 0.5);
    assert_eq!(next_to_clean([&status], 0), None, "not above the ratio");
    status.settings.min_dirty_ratio = 0.49;
    assert!(next_to_clean([&status], 0).is_some());
    status.settings = Settings { max_lag_ms: 50, ..Settings::default() };
    status.segments[1].first_timestamp = Some(1000);
    assert_eq!(next_to_clean([&status], 1050), None);
    let (_, dirty) = next_to_clean([&status], 1051).expect("late");
    assert_eq!(dirty.late_ms, 1);
    status.bound_offset = 100;
    assert_eq!(next_to_clean([&status], 1051), None, "late, but not to be cleaned yet");
}

#[test]
fn dirtiest_log_is_next() {
    let statuses = [status(100, 1000, &[10, 15]), status(0, 1000, &[10]), status(100, 1000, &[10, 40])];
    assert_eq!(next_to_clean(&statuses, 0).map(|(index, _)| index), Some(1));
    assert_eq!(next_to_clean(&statuses[2..], 0).map(|(index, _)| index), Some(0));
    assert_eq!(next_to_clean(&[] as &[Status], 0), None);
}

#[test]
fn segments_are_merged_when_no_log_is_dirty_enough() {
    let mut scattered = status(300, 1000, &[10, 10, 10, 5]);
    scattered.merge_upto = Some(300);
    let (index, dirty) = next_to_clean([&status(100, 1000, &[10, 10]), &scattered], 0).expect("to be merged");
    assert_eq!((index, dirty.is_merge, dirty.end_offset), (1, true, 300));
    assert_eq!((dirty.clean_bytes, dirty.cleanable_bytes, dirty.ratio()), (30, 0, 0.0));
    let (index, dirty) = next_to_clean([&scattered, &status(0, 1000, &[10])], 0).expect("dirty");
    assert_eq!((index, dirty.is_merge), (1, false), "cleaning goes first");
    scattered.bound_offset = 299;
    assert_eq!(next_to_clean([&scattered], 0), None, "no checkpoint vouches for it");
}
