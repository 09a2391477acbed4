//! Which neighbouring segments become one, so that compaction does not leave many small ones.

use std::ops::Range;

use crate::config::Config;
use crate::index_file::Entry;
use crate::segment::Segment;
use crate::time_index::TimeEntry;

/// The smallest batch: with dense indexes each has an entry.
const BATCH_BYTES_MIN: u64 = milena_protocol::records::HEADER_SIZE as u64;

/// Neighbours that fit one segment together, by their size before compaction, by what their indexes may need and by the
/// reach of relative offsets. `segments` end at `end_offset`.
pub(super) fn groups(segments: &[Segment], end_offset: i64, config: &Config) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut bytes, mut index_bytes) = (0, 0);
    for (index, segment) in segments.iter().enumerate() {
        let next_base = segments.get(index + 1).map_or(end_offset, |next| next.base_offset);
        let (size, index_size) = (u64::from(segment.size), index_bytes_max(segment, config));
        let fits = groups.last().is_some_and(|group| {
            let reach = next_base - 1 - segments[group.start].base_offset;
            bytes + size <= u64::from(config.segment_bytes)
                && index_bytes + index_size <= u64::from(config.segment_index_bytes)
                && (size == 0 || reach <= i64::from(i32::MAX))
        });
        match groups.last_mut() {
            Some(group) if fits => {
                group.end = index + 1;
                (bytes, index_bytes) = (bytes + size, index_bytes + index_size);
            }
            _ => {
                groups.push(index..index + 1);
                (bytes, index_bytes) = (size, index_size);
            }
        }
    }
    groups
}

/// Bytes that the larger index of a segment can have.
fn index_bytes_max(segment: &Segment, config: &Config) -> u64 {
    let entries = u64::from(segment.size) / u64::from(config.index_interval_bytes).max(BATCH_BYTES_MIN) + 1;
    entries * TimeEntry::SIZE as u64
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one group is a list of one range")]
mod tests {
    use super::*;

    fn check(sizes: &[(i64, u32)], end_offset: i64, expected: &[Range<usize>]) {
        let config = Config { segment_bytes: 1000, index_interval_bytes: 100, ..Config::default() };
        let segments: Vec<Segment> = sizes.iter().map(|(base, size)| Segment::new(*base, *size)).collect();
        assert_eq!(groups(&segments, end_offset, &config), expected, "{sizes:?}");
    }

    #[test]
    fn neighbours_are_joined_as_long_as_they_fit_a_segment() {
        check(&[], 0, &[]);
        check(&[(0, 600), (10, 400), (20, 1), (30, 999)], 40, &[0..2, 2..4]);
        check(&[(0, 5000), (10, 0), (20, 1000)], 40, &[0..1, 1..3]);
    }

    #[test]
    fn offsets_of_a_group_stay_within_reach() {
        let far = i64::from(i32::MAX);
        check(&[(0, 10), (far, 10)], far + 1, &[0..2]);
        check(&[(0, 10), (far, 10)], far + 2, &[0..1, 1..2]);
        check(&[(0, 10), (far, 0), (far + 9, 10)], far + 20, &[0..2, 2..3]);
    }

    #[test]
    fn indexes_bound_a_group_too() {
        let config = Config { segment_index_bytes: 120, index_interval_bytes: 0, ..Config::default() };
        let segments = [Segment::new(0, 300), Segment::new(5, 300), Segment::new(9, 300)];
        assert_eq!(groups(&segments, 12, &config), [0..2, 2..3]);
    }
}
