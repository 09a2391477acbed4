//! Topics with partitions that could not be opened for want of descriptors, and when they are tried again.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_protocol::types::Uuid;
use tokio::time::Instant;

/// Pause before the first new attempt; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What has to be opened again.
#[derive(Debug, Default)]
pub struct Awaited {
    topics: BTreeSet<Uuid>,
    next: Option<(Instant, Duration)>,
}

impl Awaited {
    pub fn topics(&self) -> &BTreeSet<Uuid> {
        &self.topics
    }

    /// When to try again, none while nothing waits.
    pub fn at(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// These topics were tried, of which `failed` are still to be opened.
    pub fn tried<'a>(&mut self, topics: impl IntoIterator<Item = &'a Uuid>, failed: BTreeSet<Uuid>) {
        for topic in topics {
            self.topics.remove(topic);
        }
        if !failed.is_empty() {
            let pause = self.next.map_or(PAUSE_MIN, |(_, pause)| (pause * 2).min(PAUSE_MAX));
            self.next = Some((Instant::now() + pause, pause));
        }
        self.topics.extend(failed);
        self.end_if_empty();
    }

    /// Nobody wants these topics any more.
    pub fn forget<'a>(&mut self, topics: impl IntoIterator<Item = &'a Uuid>) {
        for topic in topics {
            self.topics.remove(topic);
        }
        self.end_if_empty();
    }

    fn end_if_empty(&mut self) {
        if self.topics.is_empty() {
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u8]) -> BTreeSet<Uuid> {
        numbers.iter().map(|number| Uuid::from_bytes([*number; 16])).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_their_bound_and_begin_anew_when_all_is_open() {
        let mut awaited = Awaited::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            awaited.tried(&ids(&[1, 2]), ids(&[2]));
            pauses.push((awaited.at().expect("one waits") - Instant::now()).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(*awaited.topics(), ids(&[2]));
        awaited.tried(&ids(&[1]), ids(&[]));
        assert!(awaited.at().is_some(), "another topic was opened, this one still waits");
        awaited.tried(&ids(&[2]), ids(&[]));
        assert_eq!(awaited.at(), None);
        awaited.tried(&ids(&[3]), ids(&[3]));
        assert_eq!(awaited.at(), Some(Instant::now() + PAUSE_MIN));
        awaited.forget(&ids(&[3]));
        assert_eq!(awaited.at(), None);
    }
}
