//! Waiting for something outside this process, always with a deadline.

use std::time::{Duration, Instant};

/// Calls `attempt` until it gives a value or `limit` has passed; `None` then.
///
/// The pause between attempts starts at a tenth of a millisecond, so that short waits are measured well,
/// and grows to 20 ms, so that long ones cost no CPU.
pub fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Like [`poll`] for a condition: panics with `what` when it does not hold within `limit`.
pub fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    assert!(poll(limit, || holds().then_some(())).is_some(), "not within {limit:?}: {what}");
}
