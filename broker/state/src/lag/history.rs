//! Lag of one group over the last hour, for a chart.
//!
//! Points are a second apart at first, so that a young group has a curve at all, and twice as far each time
//! there would be too many. A point has the largest values of its time: a peak is not lost.

use std::collections::VecDeque;

/// How far back the history goes.
pub const SPAN_MS: i64 = 3_600_000;

/// Points of one group.
pub const POINTS_MAX: usize = 240;

const STEP_MIN_MS: i64 = 1_000;

/// The first step with which [`POINTS_MAX`] points reach over the whole [`SPAN_MS`].
const STEP_MAX_MS: i64 = 16_000;

/// The largest lag of a group from `at_ms` on, for one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub at_ms: i64,
    /// Of all partitions together.
    pub records: i64,
    /// Of the oldest record; none when it is not known.
    pub age_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    step_ms: i64,
    points: VecDeque<Point>,
}

impl Default for History {
    fn default() -> Self {
        Self { step_ms: STEP_MIN_MS, points: VecDeque::new() }
    }
}

impl History {
    pub fn step_ms(&self) -> i64 {
        self.step_ms
    }

    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }

    pub fn note(&mut self, now_ms: i64, records: i64, age_ms: Option<i64>) {
        self.add(Point { at_ms: now_ms, records, age_ms });
        while self.points.len() > POINTS_MAX && self.step_ms < STEP_MAX_MS {
            self.step_ms *= 2;
            std::mem::take(&mut self.points).into_iter().for_each(|point| self.add(point));
        }
        let is_old = |point: &Point| now_ms.saturating_sub(point.at_ms) > SPAN_MS;
        while self.points.len() > POINTS_MAX || self.points.front().is_some_and(is_old) {
            self.points.pop_front();
        }
    }

    /// A clock that goes back raises the last point.
    fn add(&mut self, point: Point) {
        let at_ms = point.at_ms - point.at_ms.rem_euclid(self.step_ms);
        match self.points.back_mut() {
            Some(last) if last.at_ms >= at_ms => {
                last.records = last.records.max(point.records);
                last.age_ms = last.age_ms.max(point.age_ms);
            }
            _ => self.points.push_back(Point { at_ms, ..point }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(seconds: impl Iterator<Item = i64>) -> History {
        let mut history = History::default();
        seconds.for_each(|second| history.note(second * 1_000, second, Some(second * 1_000)));
        history
    }

    #[test]
    fn young_history_has_a_point_for_every_second() {
        let history = noted(100..110);
        assert_eq!((history.step_ms(), history.points().count()), (1_000, 10));
    }

    #[test]
    fn two_hours_leave_the_last_one_within_the_bound() {
        let history = noted(0..7_200);
        let first = history.points().next().expect("there are points");
        assert_eq!(history.step_ms(), STEP_MAX_MS);
        assert!(history.points().count() <= POINTS_MAX, "{}", history.points().count());
        let span_ms = 7_199_000 - first.at_ms;
        assert!((SPAN_MS - STEP_MAX_MS..=SPAN_MS).contains(&span_ms), "{span_ms}");
    }

    #[test]
    fn point_has_the_peak_of_its_time() {
        let mut history = History::default();
        for (now_ms, records, age_ms) in
            [(5_000, 3, None), (5_400, 900, Some(7)), (5_900, 1, Some(2)), (6_000, 0, None)]
        {
            history.note(now_ms, records, age_ms);
        }
        let points: Vec<_> = history.points().copied().collect();
        let peak = Point { at_ms: 5_000, records: 900, age_ms: Some(7) };
        assert_eq!(points, [peak, Point { at_ms: 6_000, records: 0, age_ms: None }]);
    }

    #[test]
    fn points_that_are_far_apart_stay_within_the_bound_too() {
        let history = noted((0..2_000).map(|index| index * 7));
        assert!(history.points().count() <= POINTS_MAX);
        assert!(history.points().zip(history.points().skip(1)).all(|(a, b)| a.at_ms < b.at_ms));
    }
}
