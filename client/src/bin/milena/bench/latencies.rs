//! Latencies in a histogram whose size does not depend on how many there are.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longest that is told apart, in microseconds: ten minutes. `delivery.timeout.ms` is two by default.
const LONGEST_US: u64 = 600_000_000;

/// Digits that hold: a latency is known to a thousandth of itself. The histogram then has about 200 KiB.
const DIGITS: u8 = 3;

/// What is told of a run: names and percentiles.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9)];

#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are sound"))
    }

    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let percentiles =
            PERCENTILES.map(|(name, at)| format!("{name} {}", ms(self.0.value_at_percentile(at))));
        format!("{}, max {} ms", percentiles.join(", "), ms(self.0.max()))
    }

    /// Milliseconds by name; null when nothing was measured.
    pub fn json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        let mut all = json!({ "mean": as_ms(self.0.mean().round() as u64), "max": as_ms(self.0.max()) });
        for (name, at) in PERCENTILES {
            all[name] = as_ms(self.0.value_at_percentile(at)).into();
        }
        all
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn as_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn ms(us: u64) -> String {
    // Digits below a thousandth of the value are not known.
    let digits = if us < 10_000 {
        3
    } else if us < 100_000 {
        2
    } else {
        1
    };
    format!("{:.digits$}", as_ms(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut latencies = Latencies::new();
        assert_eq!((latencies.is_empty(), latencies.json()), (true, Value::Null));
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let near = |value: &Value, expected: f64| {
            let found = value.as_f64().expect("a number");
            assert!((found - expected).abs() <= expected / 500.0, "{found} is not about {expected}");
        };
        let json = latencies.json();
        for (name, expected) in [
            ("mean", 500.5),
            ("p50", 500.0),
            ("p95", 950.0),
            ("p99", 990.0),
            ("p99.9", 999.0),
            ("max", 1000.0),
        ] {
            near(&json[name], expected);
        }
        assert!(
            latencies.text().starts_with("p50 500.") && latencies.text().ends_with(" ms"),
            "{}",
            latencies.text()
        );
    }

    #[test]
    fn neither_the_shortest_nor_the_longest_is_lost() {
        let mut latencies = Latencies::new();
        latencies.add(Duration::ZERO);
        latencies.add(Duration::from_secs(86_400));
        assert!(latencies.json()["max"].as_f64().expect("a number") >= 600_000.0);
        assert_eq!(latencies.0.len(), 2);
    }
}
