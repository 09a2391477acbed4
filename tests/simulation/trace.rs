//! What happened: a hash of it always, in words only when a run is told again.
//!
//! Words cost more than the steps that they describe, and a run can be had again for the asking: a failed one is run a
//! second time with words.

use std::collections::VecDeque;
use std::fmt::Arguments;

use crate::random::mix;

/// Lines that a report shows, unless `MILENA_SIM_LINES` says how many.
const LINES_MAX: usize = 120;

#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    in_words: bool,
    lines_max: usize,
    lines: VecDeque<String>,
}

impl Trace {
    pub fn new(in_words: bool) -> Self {
        let lines_max = crate::variable("MILENA_SIM_LINES").map_or(LINES_MAX, |lines| lines as usize);
        Self { in_words, lines_max, ..Self::default() }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn note(&mut self, value: u64) {
        self.hash = mix(self.hash ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }

    pub fn say(&mut self, line: Arguments<'_>) {
        if !self.in_words {
            return;
        }
        if self.lines.len() >= self.lines_max {
            self.lines.pop_front();
        }
        let mut line = line.to_string();
        if line.len() > 400 {
            line.truncate(line.floor_char_boundary(400));
        }
        self.lines.push_back(line);
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
