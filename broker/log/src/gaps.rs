//! Holes between segments: compaction's work, damage, or a tail that a power loss took.
//!
//! Compaction removes records and with them whole batches, so a compacted segment may end below the offset at
//! which its successor begins. So may one whose tail was lost while the bytes behind it were kept. What tells
//! them apart: our compaction only ever rewrites what the checkpointed recovery point vouches for, and
//! `cleaner-offset-checkpoint` says how far it was, also after the topic's policy has changed. Above that a hole in
//! a compacted topic's log (Kafka's cleaner may make one there) has to be proved by the indexes of the segment.
//!
//! Source: ADR 23.

use crate::directory::Checkpointed;

/// What is known of the holes of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// Below this compaction has been, or may have been.
    compacted_upto: i64,
    /// The topic is compacted now.
    compact: bool,
}

/// A segment whose batches end below the offset where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub segment_base: i64,
    pub end_offset: i64,
    pub next_base: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Compaction removed what was there.
    Compacted,
    /// Compacted, if the segment's indexes end where it does.
    Unproved,
    /// Something durable is gone.
    Damage,
    /// A power loss took the end of the segment and kept what came later.
    LostTail,
}

impl Gaps {
    pub fn of(known: &Checkpointed, compact: bool) -> Self {
        let compacted_upto = match (known.compacted_upto, known.recovery_point) {
            (None, _) if !compact => 0,
            // Nobody can say what was durable. As in Kafka every hole is believed.
            _ if known.recovery_points_lost => i64::MAX,
            (compacted_upto, recovery_point) => compacted_upto.unwrap_or(0).max(recovery_point.unwrap_or(0)),
        };
        Gaps { compacted_upto, compact }
    }

    /// Whether this log can have holes at all.
    pub fn are_possible(self) -> bool {
        self.compact || self.compacted_upto > 0
    }

    pub fn judge(self, hole: Hole, recovery_point: i64) -> Verdict {
        let Hole { segment_base, end_offset, next_base } = hole;
        debug_assert!(end_offset < next_base, "{end_offset} < {next_base}");
        // No batch of the segment could reach so far: a replica skipped what its leader had compacted.
        let is_out_of_reach = next_base.saturating_sub(segment_base) > i64::from(i32::MAX) + 1;
        if is_out_of_reach || next_base <= self.compacted_upto {
            Verdict::Compacted
        } else if self.compact {
            Verdict::Unproved
        } else {
            Hole::unmeant(end_offset, recovery_point)
        }
    }
}

impl Hole {
    /// What a hole is that compaction did not make.
    pub fn unmeant(end_offset: i64, recovery_point: i64) -> Verdict {
        if end_offset < recovery_point { Verdict::Damage } else { Verdict::LostTail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(recovery_point: i64, compacted_upto: Option<i64>) -> Checkpointed {
        Checkpointed { recovery_point: Some(recovery_point), compacted_upto, ..Checkpointed::default() }
    }

    fn check(gaps: Gaps, end_offset: i64, next_base: i64, wanted: Verdict) {
        let hole = Hole { segment_base: 5, end_offset, next_base };
        assert_eq!(gaps.judge(hole, 50), wanted, "{gaps:?}, {hole:?}");
    }

    #[test]
    fn hole_is_judged_by_where_it_ends_and_what_was_durable() {
        let never = Gaps::of(&known(50, None), false);
        check(never, 10, 20, Verdict::Damage);
        check(never, 49, 60, Verdict::Damage);
        check(never, 50, 60, Verdict::LostTail);
        let compacts = Gaps::of(&known(50, None), true);
        check(compacts, 10, 20, Verdict::Compacted);
        check(compacts, 40, 50, Verdict::Compacted);
        check(compacts, 49, 60, Verdict::Unproved);
        check(compacts, 50, 60, Verdict::Unproved);
    }

    #[test]
    fn log_that_was_compacted_once_keeps_its_holes_under_another_policy() {
        let once = Gaps::of(&known(50, Some(30)), false);
        assert!(once.are_possible());
        check(once, 10, 20, Verdict::Compacted);
        check(once, 50, 60, Verdict::LostTail);
    }

    #[test]
    fn offsets_out_of_a_segments_reach_were_skipped() {
        let far = i64::from(i32::MAX) + 7;
        check(Gaps::of(&known(50, None), false), 50, far, Verdict::Compacted);
        check(Gaps::of(&known(50, None), false), 50, far - 1, Verdict::LostTail);
    }

    #[test]
    fn without_recovery_points_a_compacted_log_keeps_everything() {
        let lost = Checkpointed { recovery_points_lost: true, ..Checkpointed::default() };
        check(Gaps::of(&lost, true), 10, 20, Verdict::Compacted);
        check(Gaps::of(&lost, false), 50, 60, Verdict::LostTail);
    }
}
