//! Lag in records, and where a group reads on.

use milena_protocol::types::Uuid;

/// What there is of a partition for a group to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub topic_id: Uuid,
    pub log_start_offset: i64,
    /// The high watermark. A group that reads committed records only stops at the last stable offset, which
    /// the broker cannot know of a group; Kafka's tools count to here, too.
    pub end_offset: i64,
}

/// The first offset that the group has not consumed and that is still there.
///
/// None when the commit says nothing of this partition: it is negative, or was made for another topic that had
/// the same name. A commit without a topic id is one of its name.
pub fn next_offset(committed: i64, committed_topic_id: Uuid, ends: &Ends) -> Option<i64> {
    let same_topic = committed_topic_id == Uuid::ZERO || committed_topic_id == ends.topic_id;
    (committed >= 0 && same_topic).then(|| committed.max(ends.log_start_offset))
}

/// Offsets from `next_offset` to the end; 0 also for a group that has committed what was never written.
pub fn behind(next_offset: i64, ends: &Ends) -> i64 {
    ends.end_offset.saturating_sub(next_offset).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(7);
    const OTHER: Uuid = Uuid::from_u128(8);

    #[test]
    fn lag_counts_offsets_from_the_commit_or_the_log_start_to_the_high_watermark() {
        let check = |committed, log_start_offset, end_offset, expected| {
            let ends = Ends { topic_id: TOPIC, log_start_offset, end_offset };
            let lag = next_offset(committed, TOPIC, &ends).map(|next| behind(next, &ends));
            assert_eq!(lag, expected, "committed {committed} in {log_start_offset}..{end_offset}");
        };
        check(0, 0, 0, Some(0));
        check(10, 0, 25, Some(15));
        check(25, 0, 25, Some(0));
        // Retention took 5..20, which nobody can read any more.
        check(5, 20, 25, Some(5));
        check(5, 25, 25, Some(0));
        // Compaction leaves the offsets where they were: 3 records may be 15 offsets, as for Kafka's tools.
        check(10, 3, 25, Some(15));
        // Ahead of the end, by a mistake or after the end was lost.
        check(30, 0, 25, Some(0));
        check(i64::MAX, 0, 25, Some(0));
        // Nothing is committed.
        check(-1, 0, 25, None);
        check(i64::MIN, 0, 25, None);
    }

    #[test]
    fn commit_for_an_earlier_topic_of_the_same_name_says_nothing() {
        let ends = Ends { topic_id: TOPIC, log_start_offset: 0, end_offset: 9 };
        assert_eq!(next_offset(4, TOPIC, &ends), Some(4));
        assert_eq!(next_offset(4, OTHER, &ends), None);
        assert_eq!(next_offset(4, Uuid::ZERO, &ends), Some(4), "committed by name");
    }
}
