//! A group coordinator without a log: what the machine writes is applied at once.

use std::collections::VecDeque;

use milena_state::group::reply::Reply;
use milena_state::group::request::Token;
use milena_state::group::{Command, CommandReply, Config, Effects, Event, Groups, TimerChange, TimerKey};

/// More than any input of a target sets in motion; a machine that goes on for longer never comes to rest.
const STEPS_MAX: usize = 100_000;

/// How long a group is watched. A log may claim sessions of weeks, in which nothing happens but rounds of waiting.
const WATCHED_MS: i64 = 300_000;

pub struct Coordinator {
    pub groups: Groups,
    pub now_ms: i64,
    pub next_offset: i64,
    pub replies: Vec<(Token, Reply)>,
    timers: Vec<(i64, TimerKey)>,
}

impl Coordinator {
    /// Over a machine that is still to be loaded.
    pub fn new(now_ms: i64) -> Self {
        let config = Config { initial_rebalance_delay_ms: 0, ..Config::default() };
        Self { groups: Groups::new(config), now_ms, next_offset: 0, replies: Vec::new(), timers: Vec::new() }
    }

    pub fn loaded(&mut self) {
        let effects = self.groups.loaded(self.now_ms);
        self.carry_out(effects);
    }

    pub fn event(&mut self, event: Event) {
        let effects = self.groups.on_event(event, self.now_ms);
        self.carry_out(effects);
        self.fire(self.now_ms);
    }

    pub fn command(&mut self, command: &Command) -> CommandReply {
        let decision = self.groups.decide(command, self.now_ms);
        for record in &decision.records {
            self.groups.apply(record, self.next_offset);
            self.next_offset += 1;
        }
        if let Some(alive) = decision.alive_event() {
            self.event(alive);
        }
        decision.reply
    }

    /// Lets some minutes pass: fires timers in the order of their deadlines.
    pub fn pass_time(&mut self) {
        self.fire(self.now_ms + WATCHED_MS);
    }

    fn fire(&mut self, until_ms: i64) {
        for _ in 0..STEPS_MAX {
            self.timers.sort();
            if self.timers.first().is_none_or(|(deadline_ms, _)| *deadline_ms > until_ms) {
                return;
            }
            let (deadline_ms, key) = self.timers.remove(0);
            self.now_ms = self.now_ms.max(deadline_ms);
            let effects = self.groups.on_event(Event::Timer(key), self.now_ms);
            self.carry_out(effects);
        }
        panic!("timers without end");
    }

    /// In the order of the shell: whatever follows from a write comes behind what stood beside it.
    fn carry_out(&mut self, effects: Effects) {
        let mut due = VecDeque::from([effects]);
        while let Some(effects) = due.pop_front() {
            for write in effects.writes {
                for record in &write.records {
                    let (key, value) = record.encode().expect("what a machine writes has bytes");
                    let read = milena_state::group::Record::decode(Some(&key), value.as_deref());
                    let expected = milena_state::group::Decoded::Record(record.clone());
                    assert_eq!(read, Ok(expected), "a record is what was written");
                    self.groups.apply(record, self.next_offset);
                    self.next_offset += 1;
                }
                let stored = Event::Stored { write: write.id, outcome: Ok(()) };
                due.push_back(self.groups.on_event(stored, self.now_ms));
            }
            self.replies.extend(effects.replies);
            for change in effects.timers {
                let (TimerChange::Set(key, _) | TimerChange::Cancel(key)) = &change;
                self.timers.retain(|(_, known)| known != key);
                if let TimerChange::Set(key, deadline_ms) = change {
                    self.timers.push((deadline_ms, key));
                }
            }
        }
    }
}
