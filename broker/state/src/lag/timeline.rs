//! When the end of a partition was where.
//!
//! A bounded list of marks: at some time the end was at some offset, and at a later time at the next one. A
//! record was written between the two marks around its offset, so its age is known up to the time between
//! them; within that, records are taken to have come evenly. Marks of a partition that is observed every
//! second are a second apart. When there are too many, the one whose loss matters least for its age goes.
//! The timestamp of a record that was read makes a mark that is exact.

use std::collections::VecDeque;

/// Marks of one partition. Those below the oldest commit are forgotten, so partitions whose readers keep up
/// have two or three.
pub const MARKS_MAX: usize = 64;

/// An age is good enough when it is known up to this, or up to a twentieth of itself.
pub const WITHIN_MS: i64 = 2_000;
const WITHIN_SHARE: i64 = 20;

/// The end was `end` from `since_ms` to `until_ms`, and above it afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    end: i64,
    since_ms: i64,
    until_ms: i64,
    /// The record at `end` is known to have been written at `until_ms`.
    is_exact: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Ascending in both offsets and times.
    marks: VecDeque<Mark>,
}

/// When a record was written: within `within_ms` before or after `at_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub at_ms: i64,
    pub within_ms: i64,
}

impl Written {
    /// Whether a look at the record would tell more.
    pub fn is_vague(self, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(self.at_ms);
        self.within_ms > WITHIN_MS.max(age_ms / WITHIN_SHARE)
    }
}

impl Timeline {
    /// The end is `end` now. An end below the last one is another log: what was known is forgotten.
    pub fn observe(&mut self, end: i64, now_ms: i64) {
        if self.marks.back().is_some_and(|last| end < last.end) {
            self.marks.clear();
        }
        match self.marks.back_mut() {
            Some(last) if last.end == end => last.until_ms = last.until_ms.max(now_ms),
            last => {
                let since_ms = last.map_or(now_ms, |last| now_ms.max(last.until_ms));
                self.marks.push_back(Mark { end, since_ms, until_ms: since_ms, is_exact: false });
                self.thin(now_ms);
            }
        }
    }

    /// When the record at `offset` was written; none when it was before anything that is known, or is not
    /// written yet.
    pub fn written(&self, offset: i64) -> Option<Written> {
        let after = self.marks.partition_point(|mark| mark.end <= offset);
        let before = self.marks.get(after.checked_sub(1)?)?;
        let after = self.marks.get(after)?;
        if before.is_exact && before.end == offset {
            return Some(Written { at_ms: before.until_ms, within_ms: 0 });
        }
        let within_ms = after.since_ms - before.until_ms;
        let share = (offset - before.end) as f64 / (after.end - before.end) as f64;
        Some(Written { at_ms: before.until_ms + (within_ms as f64 * share) as i64, within_ms })
    }

    /// The record at `offset`, or the next one that compaction left, has this timestamp.
    ///
    /// Clients may set timestamps as they like: one that contradicts what was observed is moved to where it
    /// does not.
    pub fn learn(&mut self, offset: i64, timestamp_ms: i64) {
        let after = self.marks.partition_point(|mark| mark.end <= offset);
        let Some(latest) = self.marks.get(after).map(|mark| mark.since_ms) else { return };
        let Some(before) = after.checked_sub(1).map(|before| &mut self.marks[before]) else {
            return self.insert(0, offset, timestamp_ms.min(latest));
        };
        let at_ms = timestamp_ms.clamp(before.until_ms, latest.max(before.until_ms));
        if before.end == offset {
            (before.until_ms, before.is_exact) = (at_ms, true);
        } else {
            self.insert(after, offset, at_ms);
        }
    }

    fn insert(&mut self, place: usize, end: i64, at_ms: i64) {
        self.marks.insert(place, Mark { end, since_ms: at_ms, until_ms: at_ms, is_exact: true });
        let now_ms = self.marks.back().map_or(at_ms, |last| last.until_ms);
        self.thin(now_ms);
    }

    /// Nobody will ask for records below `offset` any more.
    pub fn forget_below(&mut self, offset: i64) {
        while self.marks.get(1).is_some_and(|second| second.end <= offset) {
            self.marks.pop_front();
        }
    }

    /// Drops marks until there are few enough. Without a mark, the records around it are known only up to the
    /// time between its neighbours, which matters the less the older they are.
    fn thin(&mut self, now_ms: i64) {
        while self.marks.len() > MARKS_MAX {
            let cost = |place: usize| {
                let (before, after) = (&self.marks[place - 1], &self.marks[place + 1]);
                let age_ms = now_ms.saturating_sub(after.since_ms).max(1);
                (after.since_ms - before.until_ms) as f64 / age_ms as f64
            };
            let inner = 1..self.marks.len() - 1;
            let cheapest = inner.min_by(|a, b| cost(*a).total_cmp(&cost(*b))).expect("there are inner ones");
            self.marks.remove(cheapest);
        }
    }

    #[cfg(test)]
    pub(super) fn marks_count(&self) -> usize {
        self.marks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(observed: &[(i64, i64)]) -> Timeline {
        let mut timeline = Timeline::default();
        observed.iter().for_each(|(end, at_ms)| timeline.observe(*end, *at_ms));
        timeline
    }

    fn exact(at_ms: i64) -> Option<Written> {
        Some(Written { at_ms, within_ms: 0 })
    }

    #[test]
    fn record_was_written_between_the_observations_around_it() {
        let timeline = timeline(&[(10, 1_000), (10, 5_000), (20, 6_000), (20, 9_000), (21, 9_500)]);
        let check = |offset, expected: Option<(i64, i64)>| {
            let expected = expected.map(|(at_ms, within_ms)| Written { at_ms, within_ms });
            assert_eq!(timeline.written(offset), expected, "{offset}");
        };
        check(9, None);
        // The end was still 10 at 5,000.
        check(10, Some((5_000, 1_000)));
        check(15, Some((5_500, 1_000)));
        check(19, Some((5_900, 1_000)));
        check(20, Some((9_000, 500)));
        check(21, None);
    }

    #[test]
    fn timestamp_that_was_read_is_exact_and_stays_within_what_was_observed() {
        let mut timeline = timeline(&[(100, 50_000), (200, 60_000)]);
        assert_eq!(timeline.written(40), None);
        timeline.learn(40, 7_000);
        assert_eq!(timeline.written(40), exact(7_000));
        assert_eq!(timeline.written(70), Some(Written { at_ms: 28_500, within_ms: 43_000 }));
        timeline.learn(70, 45_000);
        assert_eq!(timeline.written(70), exact(45_000));
        // From clients whose clocks are wrong.
        timeline.learn(80, 900_000);
        assert_eq!(timeline.written(80), exact(50_000));
        timeline.learn(150, 3);
        assert_eq!(timeline.written(150), exact(50_000));
        timeline.learn(100, 55_000);
        assert_eq!(timeline.written(100), exact(50_000), "150 was there by then, as was told");
        let before = timeline.clone();
        timeline.learn(200, 70_000);
        assert_eq!(timeline, before, "200 is not written yet");
    }

    #[test]
    fn log_that_was_cut_or_made_anew_begins_a_new_line() {
        let mut timeline = timeline(&[(10, 1_000), (20, 2_000)]);
        timeline.observe(5, 3_000);
        assert_eq!(timeline.written(10), None);
        timeline.observe(6, 4_000);
        assert_eq!(timeline.written(5), Some(Written { at_ms: 3_000, within_ms: 1_000 }));
    }

    #[test]
    fn marks_that_no_reader_needs_are_forgotten() {
        let mut timeline = timeline(&[(1, 1_000), (2, 2_000), (3, 3_000), (4, 4_000)]);
        timeline.forget_below(3);
        assert_eq!((timeline.marks_count(), timeline.written(2)), (2, None));
        assert_eq!(timeline.written(3), Some(Written { at_ms: 3_000, within_ms: 1_000 }));
    }

    #[test]
    fn a_day_of_writing_fits_the_bound_and_ages_are_known_to_a_third() {
        let mut timeline = Timeline::default();
        let seconds = 24 * 3_600;
        (0..=seconds).for_each(|second| timeline.observe(second * 10, second * 1_000));
        assert_eq!(timeline.marks_count(), MARKS_MAX);
        for second in 0..seconds {
            let written = timeline.written(second * 10).expect("it was observed");
            let age_ms = (seconds - second) * 1_000;
            assert!((written.at_ms - second * 1_000).abs() <= 1_000, "{second}: writing was even");
            assert!(written.within_ms <= 2_000.max(age_ms / 3), "{second}: {written:?} of {age_ms}");
        }
    }
}
