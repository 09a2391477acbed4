//! Who follows the metadata log without voting, and how far: for DescribeQuorum.
//!
//! Soft state of the controller that answers their fetches. An observer that has not been heard of for
//! [`OBSERVER_TIME_MAX_MS`] is forgotten, as Kafka's leader does.

use std::collections::BTreeMap;

use milena_protocol::types::Uuid;
use parking_lot::Mutex;

/// Kafka's five minutes.
const OBSERVER_TIME_MAX_MS: i64 = 5 * 60 * 1_000;
/// Brokers of a cluster are hundreds; ids that somebody makes up must not fill the memory.
const OBSERVERS_MAX: usize = 10_000;

/// One observer as it was last heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observer {
    pub id: i32,
    pub directory: Uuid,
    pub log_end_offset: i64,
    pub last_fetch_ms: i64,
    /// When it last had everything that was committed; −1 before it ever had.
    pub last_caught_up_ms: i64,
}

/// All observers of this controller.
#[derive(Debug, Default)]
pub struct Observers {
    known: Mutex<BTreeMap<(i32, Uuid), Observer>>,
}

impl Observers {
    /// Notes that an observer holds everything before `log_end_offset` of a log that is committed up to
    /// `high_watermark`.
    pub fn fetched(&self, id: i32, directory: Uuid, log_end_offset: i64, high_watermark: i64, now_ms: i64) {
        let mut known = self.known.lock();
        let key = (id, directory);
        if known.len() >= OBSERVERS_MAX && !known.contains_key(&key) {
            // Whoever made up the others does not keep out those that come now.
            let stalest = known.iter().min_by_key(|(_, observer)| observer.last_fetch_ms);
            let stalest = stalest.map(|(key, _)| *key);
            stalest.map(|key| known.remove(&key));
        }
        let before = known.get(&key).map_or(-1, |observer| observer.last_caught_up_ms);
        let last_caught_up_ms = if log_end_offset >= high_watermark { now_ms } else { before };
        let observer = Observer { id, directory, log_end_offset, last_fetch_ms: now_ms, last_caught_up_ms };
        known.insert(key, observer);
    }

    /// The observers that were heard of lately, in the order of their ids.
    pub fn list(&self, now_ms: i64) -> Vec<Observer> {
        let mut known = self.known.lock();
        known.retain(|_, observer| now_ms - observer.last_fetch_ms <= OBSERVER_TIME_MAX_MS);
        known.values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observers_keep_the_time_when_they_were_caught_up_and_are_forgotten() {
        let observers = Observers::default();
        let directory = Uuid::from_u128(9);
        observers.fetched(7, directory, 10, 10, 1_000);
        observers.fetched(7, directory, 10, 12, 2_000);
        observers.fetched(8, directory, 3, 12, 2_000);
        let behind = |id, log_end_offset, last_caught_up_ms| Observer {
            id,
            directory,
            log_end_offset,
            last_fetch_ms: 2_000,
            last_caught_up_ms,
        };
        assert_eq!(observers.list(3_000), [behind(7, 10, 1_000), behind(8, 3, -1)]);
        assert_eq!(observers.list(2_001 + OBSERVER_TIME_MAX_MS), []);
    }

    #[test]
    fn who_comes_when_all_places_are_taken_gets_that_of_the_stalest() {
        let observers = Observers::default();
        let fetch = |id: usize, now_ms| observers.fetched(id as i32, Uuid::from_u128(9), 10, 10, now_ms);
        (0..OBSERVERS_MAX).for_each(|id| fetch(id, 1_000));
        fetch(5, 500);
        fetch(OBSERVERS_MAX, 2_000);
        let ids: Vec<_> = observers.list(2_000).iter().map(|observer| observer.id).collect();
        assert_eq!(ids.len(), OBSERVERS_MAX);
        assert!(!ids.contains(&5) && ids.contains(&(OBSERVERS_MAX as i32)));
    }
}
