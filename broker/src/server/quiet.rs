//! Keeps a client that misbehaves from filling the log: at most so many lines a second, then a count.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const LINES_PER_SECOND_MAX: u32 = 10;

/// Counts the lines of one reactor or listener.
#[derive(Debug)]
pub struct Quiet(Mutex<Second>);

#[derive(Debug)]
struct Second {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

impl Quiet {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Second { began: now, lines: 0, suppressed: 0 }))
    }

    /// Whether a line may be written now, and then how many were left out since the last one.
    pub fn permit(&self, now: Instant) -> Option<u64> {
        let mut second = self.0.lock();
        if now.saturating_duration_since(second.began) >= Duration::from_secs(1) {
            second.began = now;
            second.lines = 0;
        }
        if second.lines == LINES_PER_SECOND_MAX {
            second.suppressed += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

/// A string of a client, safe in a log line: control characters escaped, and cut to a bounded length.
pub fn printable(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_rate_are_counted_instead_of_written() {
        let start = Instant::now();
        let quiet = Quiet::new(start);
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(quiet.permit(start), Some(0));
        }
        assert_eq!(quiet.permit(start), None);
        assert_eq!(quiet.permit(start), None);
        assert_eq!(quiet.permit(start + Duration::from_secs(1)), Some(2));
    }

    #[test]
    fn control_characters_of_clients_are_escaped() {
        assert_eq!(printable("a\n\u{1b}[31mred"), "a\\n\\u{1b}[31mred");
        assert_eq!(printable(&"x".repeat(1_000)).len(), 100);
    }
}
