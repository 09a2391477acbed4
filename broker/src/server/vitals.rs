//! What the sweep of a reactor sees of a connection, and what it makes of it.
//!
//! One look at all connections every now and then costs less than a timer for each of them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::limits::{Limits, PARTIAL_FRAME_PROGRESS_MIN};

/// State of one connection, kept up to date by its task.
#[derive(Debug)]
pub struct Vitals {
    last_active: Cell<Instant>,
    in_flight: Cell<u32>,
    /// Since when, and how much of it was there, an unfinished frame waits for the client.
    unfinished: Cell<Option<(Instant, usize)>>,
    /// Since when answers wait for the client to read.
    blocked: Cell<Option<Instant>>,
}

/// What a task reports after each turn.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub now: Instant,
    pub in_flight: usize,
    /// Bytes read or written in this turn.
    pub moved: bool,
    /// Bytes of an unfinished frame that we are ready to read on.
    pub unfinished: Option<usize>,
    /// Bytes written in this turn, when more wait for the client.
    pub blocked: Option<u64>,
}

/// Why the sweep closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Idle,
    UnfinishedFrame,
    BlockedWrite,
}

impl Vitals {
    pub fn new(now: Instant) -> Self {
        Self {
            last_active: Cell::new(now),
            in_flight: Cell::new(0),
            unfinished: Cell::new(None),
            blocked: Cell::new(None),
        }
    }

    pub fn note(&self, turn: Turn) {
        if turn.moved {
            self.last_active.set(turn.now);
        }
        self.in_flight.set(turn.in_flight as u32);
        self.unfinished.set(turn.unfinished.map(|bytes| match self.unfinished.get() {
            Some((since, before)) if (before..before + PARTIAL_FRAME_PROGRESS_MIN).contains(&bytes) => {
                (since, before)
            }
            _ => (turn.now, bytes),
        }));
        self.blocked.set(turn.blocked.map(|written| match self.blocked.get() {
            Some(since) if written == 0 => since,
            _ => turn.now,
        }));
    }

    /// Nothing is asked and nothing is owed: closing loses nothing.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.get() == 0 && self.blocked.get().is_none()
    }

    pub fn overdue(&self, now: Instant, limits: &Limits) -> Option<Overdue> {
        let since = |then: Instant| now.saturating_duration_since(then);
        if self.blocked.get().is_some_and(|then| since(then) >= limits.write_stall_time_max) {
            return Some(Overdue::BlockedWrite);
        }
        if self.unfinished.get().is_some_and(|(then, _)| since(then) >= limits.partial_frame_time_max) {
            return Some(Overdue::UnfinishedFrame);
        }
        let idle = |max: Duration| since(self.last_active.get()) >= max;
        let waits = self.unfinished.get().is_some();
        (self.is_quiet() && !waits && limits.idle_time_max.is_some_and(idle)).then_some(Overdue::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            idle_time_max: Some(SECOND * 100),
            partial_frame_time_max: SECOND * 30,
            write_stall_time_max: SECOND * 60,
            ..Limits::default()
        }
    }

    fn turn(now: Instant) -> Turn {
        Turn { now, in_flight: 0, moved: true, unfinished: None, blocked: None }
    }

    #[test]
    fn quiet_connection_is_overdue_after_the_idle_time() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        vitals.note(turn(start + SECOND));
        assert_eq!(vitals.overdue(start + SECOND * 100, &limits()), None);
        assert_eq!(vitals.overdue(start + SECOND * 101, &limits()), Some(Overdue::Idle));
    }

    #[test]
    fn connection_with_a_request_in_flight_is_not_idle() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        vitals.note(Turn { in_flight: 1, ..turn(start) });
        assert_eq!(vitals.overdue(start + SECOND * 1_000, &limits()), None);
    }

    #[test]
    fn byte_now_and_then_does_not_extend_an_unfinished_frame() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        for second in 0..30 {
            vitals.note(Turn { unfinished: Some(5 + second as usize), ..turn(start + SECOND * second) });
            assert_eq!(vitals.overdue(start + SECOND * second, &limits()), None);
        }
        assert_eq!(vitals.overdue(start + SECOND * 30, &limits()), Some(Overdue::UnfinishedFrame));
    }

    #[test]
    fn slow_link_that_makes_progress_may_finish_its_frame() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        for step in 0..10 {
            let arrived = 5 + PARTIAL_FRAME_PROGRESS_MIN * step as usize;
            vitals.note(Turn { unfinished: Some(arrived), ..turn(start + SECOND * 20 * step) });
            assert_eq!(vitals.overdue(start + SECOND * 20 * step, &limits()), None, "{step}");
        }
    }

    #[test]
    fn client_that_reads_nothing_is_overdue_and_one_that_reads_a_little_is_not() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        vitals.note(Turn { blocked: Some(0), in_flight: 1, ..turn(start) });
        vitals.note(Turn { blocked: Some(100), in_flight: 1, ..turn(start + SECOND * 50) });
        assert_eq!(vitals.overdue(start + SECOND * 100, &limits()), None);
        vitals.note(Turn { blocked: Some(0), in_flight: 1, ..turn(start + SECOND * 100) });
        assert_eq!(vitals.overdue(start + SECOND * 110, &limits()), Some(Overdue::BlockedWrite));
    }
}
