//! The follower's side: where to cut the log so that it agrees with the leader's.
//!
//! Both logs map a leader epoch to its start offset. When they differ, records of the follower above
//! the point of agreement were never committed and go. Truncation is by epoch and never by the high
//! watermark, which may be behind (KIP-101, KIP-279, KIP-595).

/// Where a leader epoch begins in our log. Ascending in both fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// The leader's word about the last epoch we named: the largest epoch it has that is not greater,
/// and where that one ends in its log (`divergingEpoch` in Fetch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingEpoch {
    pub epoch: i32,
    pub end_offset: i64,
}

/// What to do about a diverging epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// Cut here and fetch on: the logs agree below.
    To(i64),
    /// Cut here and fetch again: the leader's next answer may cut further.
    ToAndAskAgain(i64),
    /// No common epoch above the log start: begin anew at the leader's log start offset.
    Fully,
}

/// Offset below which this replica and its leader may hold the same records.
///
/// Truncating to the result never drops a committed record, because every committed record is in
/// the leader's log. The smaller of both ends is taken, since either log may be the shorter one.
///
/// Source: KIP-279, KIP-595.
pub fn truncation(
    history: &[EpochStart],
    log_start_offset: i64,
    log_end_offset: i64,
    diverging: DivergingEpoch,
) -> Truncation {
    debug_assert!(history.is_sorted_by_key(|e| e.epoch), "epochs ascend: {history:?}");
    // −1 is the leader saying that it has no epoch as old as ours.
    if diverging.epoch < 0 || diverging.end_offset < 0 {
        return Truncation::Fully;
    }
    let after = history.partition_point(|e| e.epoch <= diverging.epoch);
    let Some(ours) = after.checked_sub(1).map(|at| history[at]) else {
        // Everything we hold is of later epochs than the leader has: none of it is in its log.
        return cut(log_start_offset, diverging.end_offset);
    };
    let our_end = history.get(after).map_or(log_end_offset, |next| next.start_offset);
    let offset = our_end.min(diverging.end_offset);
    if offset < log_start_offset {
        return Truncation::Fully;
    }
    if ours.epoch == diverging.epoch { Truncation::To(offset) } else { Truncation::ToAndAskAgain(offset) }
}

fn cut(log_start_offset: i64, leader_end: i64) -> Truncation {
    if leader_end >= log_start_offset { Truncation::To(log_start_offset) } else { Truncation::Fully }
}

/// How a follower goes on whose fetch offset its leader cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Cut here and ask again.
    CutTo(i64),
    /// Drop everything and begin here.
    BeginAt(i64),
}

/// What follows from OFFSET_OUT_OF_RANGE, after the leader was asked where its log begins and ends.
///
/// Above the leader's end we hold what was never committed. Below its start, what we need is deleted. In between only
/// our epochs can be the reason: the leader has none as old as our last, so nothing tells where the histories part.
/// Every committed record is in the leader's log, so nothing that counts is dropped.
pub fn out_of_range(own: (i64, i64), leader: (i64, i64)) -> Restart {
    let ((own_start, own_end), (leader_start, leader_end)) = (own, leader);
    if own_end > leader_end && leader_end >= own_start.max(leader_start) {
        Restart::CutTo(leader_end)
    } else {
        Restart::BeginAt(leader_start)
    }
}

/// The high watermark of a follower after an answer of its leader: as far as both know that it is committed. It never
/// goes back while the leadership lasts.
pub fn high_watermark(own: i64, own_log_end: i64, leaders: i64) -> i64 {
    own.max(leaders.min(own_log_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(starts: &[(i32, i64)]) -> Vec<EpochStart> {
        starts.iter().map(|&(epoch, start_offset)| EpochStart { epoch, start_offset }).collect()
    }

    fn check(starts: &[(i32, i64)], ends: (i64, i64), diverging: (i32, i64), expected: Truncation) {
        let diverging = DivergingEpoch { epoch: diverging.0, end_offset: diverging.1 };
        assert_eq!(truncation(&history(starts), ends.0, ends.1, diverging), expected);
    }

    #[test]
    fn cuts_at_the_smaller_end_of_the_common_epoch() {
        check(&[(1, 0), (2, 10)], (0, 20), (2, 15), Truncation::To(15));
        check(&[(1, 0), (2, 10)], (0, 20), (2, 25), Truncation::To(20));
        check(&[(1, 0), (3, 10)], (0, 20), (1, 12), Truncation::To(10));
        check(&[(1, 0), (3, 10)], (0, 20), (1, 8), Truncation::To(8));
    }

    #[test]
    fn asks_again_when_the_leader_names_an_epoch_that_we_lack() {
        check(&[(1, 0), (4, 10)], (0, 20), (3, 14), Truncation::ToAndAskAgain(10));
    }

    #[test]
    fn starts_anew_without_a_common_epoch() {
        check(&[(1, 0)], (0, 20), (-1, -1), Truncation::Fully);
        check(&[(5, 100)], (100, 120), (3, 40), Truncation::Fully);
        check(&[(2, 50), (3, 60)], (55, 70), (2, 52), Truncation::Fully);
        check(&[(5, 100)], (100, 120), (3, 100), Truncation::To(100));
    }

    /// Two histories that share a prefix: follower and leader loop until they agree.
    #[test]
    fn repeated_truncation_ends_at_the_point_of_divergence() {
        let leader = history(&[(1, 0), (3, 10), (5, 30)]);
        let leader_end = 40;
        let mut ours = history(&[(1, 0), (2, 8), (4, 12)]);
        let mut our_end = 20;
        for _ in 0..5 {
            let last = ours.last().unwrap().epoch;
            let at = leader.partition_point(|e| e.epoch <= last) - 1;
            let end = leader.get(at + 1).map_or(leader_end, |e| e.start_offset);
            let diverging = DivergingEpoch { epoch: leader[at].epoch, end_offset: end };
            if diverging.epoch == last && end >= our_end {
                break;
            }
            let offset = match truncation(&ours, 0, our_end, diverging) {
                Truncation::To(offset) | Truncation::ToAndAskAgain(offset) => offset,
                Truncation::Fully => 0,
            };
            assert!(offset < our_end, "every round cuts something");
            our_end = offset;
            ours.retain(|e| e.start_offset < our_end);
        }
        assert_eq!((our_end, ours), (8, history(&[(1, 0)])));
    }

    #[test]
    fn out_of_range_cuts_above_the_leader_and_begins_anew_elsewhere() {
        for (own, leader, expected) in [
            ((0, 20), (0, 15), Restart::CutTo(15)),
            ((0, 20), (15, 15), Restart::CutTo(15)),
            // The leader deleted what we need.
            ((0, 20), (30, 40), Restart::BeginAt(30)),
            // Nothing of ours is left below the leader's end.
            ((10, 20), (0, 5), Restart::BeginAt(0)),
            // In range: the epochs have nothing in common.
            ((0, 20), (5, 25), Restart::BeginAt(5)),
            ((0, 20), (0, 20), Restart::BeginAt(0)),
        ] {
            assert_eq!(out_of_range(own, leader), expected, "{own:?} {leader:?}");
        }
    }

    #[test]
    fn a_follower_knows_to_be_committed_what_it_holds_below_the_leaders_watermark() {
        for (own, own_end, leaders, expected) in [(0, 10, 7, 7), (0, 10, 12, 10), (8, 10, 7, 8), (0, 0, 5, 0)]
        {
            assert_eq!(high_watermark(own, own_end, leaders), expected);
        }
    }
}
