//! The timers of one coordinator: at most one per key, the next one first.

use std::collections::{BTreeMap, BTreeSet};

use milena_state::group::{TimerChange, TimerKey};

/// Deadlines of members and phases. A member costs one entry in each of the two maps.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: BTreeMap<TimerKey, i64>,
    queue: BTreeSet<(i64, TimerKey)>,
}

impl Timers {
    pub fn change(&mut self, change: TimerChange) {
        match change {
            TimerChange::Set(key, deadline_ms) => {
                if let Some(before_ms) = self.deadlines.insert(key.clone(), deadline_ms) {
                    self.queue.remove(&(before_ms, key.clone()));
                }
                self.queue.insert((deadline_ms, key));
            }
            TimerChange::Cancel(key) => {
                if let Some(deadline_ms) = self.deadlines.remove(&key) {
                    self.queue.remove(&(deadline_ms, key));
                }
            }
        }
    }

    /// When the next timer is due.
    pub fn next_ms(&self) -> Option<i64> {
        self.queue.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes a timer out that is due.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<TimerKey> {
        if self.next_ms()? > now_ms {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.deadlines.remove(&key);
        Some(key)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.deadlines.len(), self.queue.len());
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str) -> TimerKey {
        TimerKey::Join { group: group.into() }
    }

    #[test]
    fn timers_come_out_in_the_order_of_their_deadlines_and_not_early() {
        let mut timers = Timers::default();
        for (group, deadline_ms) in [("b", 20), ("a", 30), ("c", 10)] {
            timers.change(TimerChange::Set(key(group), deadline_ms));
        }
        assert_eq!(timers.next_ms(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(20)).collect();
        assert_eq!(due, [key("c"), key("b")]);
        assert_eq!((timers.len(), timers.next_ms()), (1, Some(30)));
    }

    #[test]
    fn a_key_has_one_timer() {
        let mut timers = Timers::default();
        timers.change(TimerChange::Set(key("a"), 10));
        timers.change(TimerChange::Set(key("a"), 40));
        assert_eq!((timers.len(), timers.pop_due(39)), (1, None));
        timers.change(TimerChange::Cancel(key("a")));
        timers.change(TimerChange::Cancel(key("a")));
        assert_eq!((timers.len(), timers.pop_due(i64::MAX)), (0, None));
    }
}
