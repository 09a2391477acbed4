//! The batches of one partition between their first sending and their settlement: which goes next, what an answer means
//! for it and for those behind it, and when it is given up. Pure: no I/O, and time is a value.
//!
//! With idempotence the broker keeps the order: it refuses a batch whose predecessor it does not have. Three rules keep
//! us on the safe side of it:
//! - The first batch of an identity goes alone until it is acknowledged. A broker that knows nothing of a producer takes
//!   any sequence as its first, so a second batch could be stored before the first.
//! - From the oldest batch to the newest there are never more than the broker remembers, so that a repeat of any of them
//!   is recognised. While one is to be sent again, nothing new goes out, and those refused behind it follow one by one.
//! - A batch gets another number only if no attempt can have stored it. If one may have, it is asked for under its old
//!   number until that is known or time is up.
//!
//! Without idempotence the number of batches is the only rule: with one in flight order is kept, with more a batch that
//! is sent again may land behind younger ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::delivery::Stored;
use super::fate::{Failure, Verdict};
use super::identity::Identity;
use super::numbering::{Need, Number, Numbering};
use crate::error::{Error, Result};

/// What holds for all partitions of a producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub idempotent: bool,
    /// From the oldest unsettled batch to the newest.
    pub in_flight_max: u64,
    pub pause: Duration,
    pub pause_max: Duration,
}

#[derive(Debug)]
pub(super) struct Window<T> {
    rules: Rules,
    /// Oldest first; ids rise by one with each batch that came in.
    entries: VecDeque<Entry<T>>,
    next_id: u64,
    numbering: Numbering,
}

#[derive(Debug)]
struct Entry<T> {
    id: u64,
    item: T,
    count: i32,
    deadline: Instant,
    number: Option<Number>,
    state: State,
    attempts: u32,
    /// An attempt under this number ended without anybody knowing whether it was stored.
    maybe_stored: bool,
    last_error: Option<Error>,
}

#[derive(Debug)]
enum State {
    Ready,
    Waiting {
        until: Instant,
    },
    Out {
        /// Nothing was before it when it was sent, so an answer about order is about itself.
        as_first: bool,
        /// It has another number by now; the answer to come is to the old one, which cannot be stored.
        stale: bool,
    },
    /// Will fail with this when those before it are settled: until then, what is behind it cannot be judged.
    Refused(Error),
}

/// Items that are done, with their outcome.
pub(super) type Settled<T> = Vec<(T, Result<Stored>)>;

impl<T> Window<T> {
    pub fn new(rules: Rules) -> Self {
        Self { rules, entries: VecDeque::new(), next_id: 0, numbering: Numbering::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The identity that is missing; nothing is sent without.
    pub fn need(&self) -> Option<Need> {
        self.numbering.need().filter(|_| self.rules.idempotent)
    }

    pub fn identify(&mut self, identity: Identity) {
        self.numbering.identify(identity);
        self.give_numbers();
    }

    /// Whether another batch may come in.
    pub fn has_room(&self, now: Instant) -> bool {
        let Some(first) = self.entries.front() else {
            return self.need().is_none();
        };
        let all_out = self.entries.iter().all(|entry| matches!(entry.state, State::Out { stale: false, .. }));
        let in_order = !self.rules.idempotent
            || self.need().is_none() && self.numbering.is_proven(now) && !self.numbering.doubtful;
        self.next_id - first.id < self.rules.in_flight_max && all_out && in_order
    }

    /// Takes a batch in; only while there is room.
    pub fn admit(&mut self, item: T, count: i32, deadline: Instant) {
        let number = if self.rules.idempotent { self.numbering.take(count) } else { None };
        let (id, state) = (self.next_id, State::Ready);
        self.next_id += 1;
        self.entries.push_back(Entry {
            id,
            item,
            count,
            deadline,
            number,
            state,
            attempts: 0,
            maybe_stored: false,
            last_error: None,
        });
    }

    /// The batch to send now; it counts as sent.
    pub fn next(&mut self, now: Instant) -> Option<(u64, &mut T, Option<Number>)> {
        let index = self.sendable(now)?;
        let entry = &mut self.entries[index];
        entry.state = State::Out { as_first: index == 0, stale: false };
        entry.attempts = entry.attempts.saturating_add(1);
        Some((entry.id, &mut entry.item, entry.number))
    }

    fn sendable(&self, now: Instant) -> Option<usize> {
        let Rules { idempotent, .. } = self.rules;
        if self.need().is_some() {
            return None;
        }
        let beside = !idempotent || self.numbering.is_proven(now) && !self.numbering.doubtful;
        let index = self.entries.iter().position(|entry| match entry.state {
            State::Out { stale, .. } => stale,
            _ => true,
        })?;
        let may = match self.entries[index].state {
            State::Ready => index == 0 || beside,
            State::Waiting { until } => until <= now && (index == 0 || !idempotent),
            State::Out { .. } | State::Refused(_) => false,
        };
        may.then_some(index)
    }

    /// When something is to be done though nothing happens.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let deadline = self.entries.front().map(|first| first.deadline);
        // One whose pause is over waits for something else.
        let pauses = self.entries.iter().filter_map(|entry| match entry.state {
            State::Waiting { until } if until > now => Some(until),
            _ => None,
        });
        pauses.chain(deadline).min()
    }

    /// The attempt that [`Window::next`] began has ended. What was settled meanwhile is not spoken of again.
    pub fn answered(&mut self, id: u64, outcome: Result<Stored, Failure>, now: Instant) -> Settled<T> {
        let Some(index) = self.entries.iter().position(|entry| entry.id == id) else {
            return Vec::new();
        };
        let entry = &mut self.entries[index];
        let State::Out { as_first, stale } = entry.state else {
            debug_assert!(false, "an attempt that ends was begun: {:?}", entry.state);
            return Vec::new();
        };
        match outcome {
            Ok(stored) => self.stored(index, stale, stored, now),
            Err(_) if stale => {
                entry.state = State::Ready;
                Vec::new()
            }
            Err(failure) => self.failed(index, as_first, failure, now),
        }
    }

    fn stored(&mut self, index: usize, stale: bool, stored: Stored, now: Instant) -> Settled<T> {
        let Some(entry) = self.entries.remove(index) else { return Vec::new() };
        if !stale {
            self.numbering.acknowledged(entry.number, now);
            // Who is accepted follows what was in doubt: that is stored too.
            self.numbering.doubtful = false;
        }
        let mut settled = vec![(entry.item, Ok(stored))];
        self.settle_refused(&mut settled);
        settled
    }

    fn failed(&mut self, index: usize, as_first: bool, failure: Failure, now: Instant) -> Settled<T> {
        let pause = self.pause(self.entries[index].attempts);
        let verdict = failure.verdict();
        let Failure { error, not_stored } = failure;
        let entry = &mut self.entries[index];
        entry.maybe_stored |= !not_stored;
        entry.last_error = Some(error.clone());
        let mut settled = Vec::new();
        match verdict {
            Verdict::Retry => entry.state = State::Waiting { until: now + pause },
            Verdict::OutOfOrder if self.rules.idempotent && !as_first => {
                // Its predecessor is missing, it is not at fault.
                entry.state = State::Waiting { until: now };
            }
            Verdict::OutOfOrder if self.rules.idempotent && !entry.maybe_stored => {
                entry.state = State::Waiting { until: now + pause };
                self.renumber();
            }
            Verdict::OutOfOrder | Verdict::Final => {
                entry.state = State::Refused(error);
                self.settle_refused(&mut settled);
            }
        }
        settled
    }

    fn pause(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        self.rules.pause.saturating_mul(1 << doublings).min(self.rules.pause_max)
    }

    /// Gives up what is past its deadline. Batches come in by age, so the oldest is the first to go.
    pub fn expire(&mut self, now: Instant, too_late: &Error) -> Settled<T> {
        let mut settled = Vec::new();
        while let Some(first) = self.entries.front_mut()
            && first.deadline <= now
        {
            let error = match first.state {
                State::Out { stale, .. } => {
                    first.maybe_stored |= !stale;
                    too_late.clone()
                }
                _ => first.last_error.take().unwrap_or_else(|| too_late.clone()),
            };
            first.state = State::Refused(error);
            self.settle_refused(&mut settled);
        }
        settled
    }

    /// Fails the oldest batch, which never left: no identity can be had.
    pub fn fail_first(&mut self, error: Error) -> Settled<T> {
        let mut settled = Vec::new();
        if let Some(first) = self.entries.front_mut() {
            first.state = State::Refused(error);
            self.settle_refused(&mut settled);
        }
        settled
    }

    /// Settles refused batches that nothing is before, or all of them where order does not count.
    fn settle_refused(&mut self, settled: &mut Settled<T>) {
        let any = !self.rules.idempotent;
        while let Some(index) = self
            .entries
            .iter()
            .position(|entry| matches!(entry.state, State::Refused(_)))
            .filter(|index| any || *index == 0)
            && let Some(entry) = self.entries.remove(index)
        {
            if let State::Refused(error) = entry.state {
                settled.push((entry.item, Err(error)));
            }
            if !self.rules.idempotent {
                continue;
            }
            if entry.maybe_stored {
                self.numbering.doubtful = true;
            } else {
                self.renumber();
            }
        }
        if self.entries.is_empty() && self.numbering.doubtful {
            self.numbering.bump();
        }
    }

    /// The oldest batch is not stored under its number and never will be, so nothing behind it is either: all begin
    /// anew under the next epoch.
    fn renumber(&mut self) {
        self.numbering.bump();
        for entry in &mut self.entries {
            (entry.number, entry.maybe_stored) = (None, false);
            if let State::Out { stale, .. } = &mut entry.state {
                *stale = true;
            }
        }
        self.give_numbers();
    }

    fn give_numbers(&mut self) {
        for entry in &mut self.entries {
            if entry.number.is_none() && !matches!(entry.state, State::Refused(_)) {
                entry.number = self.numbering.take(entry.count);
            }
        }
    }
}

#[cfg(test)]
#[path = "window_test.rs"]
mod tests;
