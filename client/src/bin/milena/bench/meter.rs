//! Counts records and bytes, and says once a second on standard error how it goes.

use std::io::Write;
use std::time::{Duration, Instant};

use super::latencies::Latencies;

/// How often something is said.
pub const INTERVAL: Duration = Duration::from_secs(1);

const MIB: f64 = 1_048_576.0;

#[derive(Debug)]
pub struct Meter {
    began: Instant,
    /// When the last record was counted.
    last: Instant,
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
    pub latencies: Latencies,
    window: Window,
}

/// What came since something was said.
#[derive(Debug)]
struct Window {
    began: Instant,
    records: u64,
    bytes: u64,
    timed: u64,
    latency_sum: Duration,
    latency_max: Duration,
}

impl Window {
    fn new(began: Instant) -> Self {
        let (latency_sum, latency_max) = (Duration::ZERO, Duration::ZERO);
        Self { began, records: 0, bytes: 0, timed: 0, latency_sum, latency_max }
    }
}

impl Meter {
    pub fn new(now: Instant) -> Self {
        let (latencies, window) = (Latencies::new(), Window::new(now));
        Self { began: now, last: now, records: 0, bytes: 0, latencies, window }
    }

    pub fn add(&mut self, records: u64, bytes: u64, now: Instant) {
        self.records += records;
        self.bytes += bytes;
        self.window.records += records;
        self.window.bytes += bytes;
        self.last = self.last.max(now);
    }

    /// A record of which it is known how long it took.
    pub fn add_timed(&mut self, bytes: u64, sent: Instant, done: Instant) {
        self.add(1, bytes, done);
        let latency = done.saturating_duration_since(sent);
        self.latencies.add(latency);
        self.window.timed += 1;
        self.window.latency_sum += latency;
        self.window.latency_max = self.window.latency_max.max(latency);
    }

    /// Says how the last interval went and begins the next.
    pub fn tell(&mut self, now: Instant) {
        let line = self.line(now);
        // Progress that nobody can read is no reason to end.
        let _ = writeln!(std::io::stderr(), "{line}");
        self.window = Window::new(now);
    }

    fn line(&self, now: Instant) -> String {
        let Window { began, records, bytes, timed, latency_sum, latency_max } = &self.window;
        let speed = speed(*records, *bytes, now.saturating_duration_since(*began));
        let seconds = now.saturating_duration_since(self.began).as_secs_f64();
        let mut line = format!("{seconds:5.1} s  {} records, {speed}", self.records);
        if *timed > 0 {
            let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
            let mean = ms(*latency_sum) / *timed as f64;
            line.push_str(&format!(", mean {mean:.2} ms, max {:.2} ms", ms(*latency_max)));
        }
        line
    }

    /// From the beginning to the last record.
    pub fn elapsed(&self) -> Duration {
        self.last.saturating_duration_since(self.began)
    }

    pub fn speed(&self) -> String {
        speed(self.records, self.bytes, self.elapsed())
    }

    pub fn records_per_second(&self) -> f64 {
        per_second(self.records, self.elapsed())
    }

    pub fn bytes_per_second(&self) -> f64 {
        per_second(self.bytes, self.elapsed())
    }
}

fn speed(records: u64, bytes: u64, elapsed: Duration) -> String {
    let mib = per_second(bytes, elapsed) / MIB;
    format!("{:.0} records/s, {mib:.2} MiB/s", per_second(records, elapsed))
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    // What took no time that can be measured has no speed.
    if elapsed.is_zero() { 0.0 } else { (count as f64 / elapsed.as_secs_f64() * 1000.0).round() / 1000.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_run_and_the_last_interval_are_told_apart() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let mut meter = Meter::new(began);
        meter.add_timed(1024 * 1024, began, at(10));
        meter.add_timed(1024 * 1024, began, at(30));
        assert_eq!(
            meter.line(at(1000)),
            "  1.0 s  2 records, 2 records/s, 2.00 MiB/s, mean 20.00 ms, max 30.00 ms"
        );
        meter.tell(at(1000));
        meter.add(3, 0, at(1500));
        assert_eq!(meter.line(at(2000)), "  2.0 s  5 records, 3 records/s, 0.00 MiB/s");
        assert_eq!(meter.elapsed(), Duration::from_millis(1500));
        assert_eq!(meter.records_per_second(), 3.333);
    }

    #[test]
    fn nothing_has_no_speed() {
        let meter = Meter::new(Instant::now());
        assert_eq!(meter.speed(), "0 records/s, 0.00 MiB/s");
    }
}
