//! Stand-in for the crate `base2histogram`, which openraft records its own statistics with.
//!
//! The original builds lookup tables for 16 resolutions as soon as the first histogram is made: 3.3 million numbers,
//! 26 MiB that stay resident and several milliseconds of every start, where a whole idle broker is to take less than
//! 16 MiB. Nothing in this project reads these statistics (the feature `runtime-stats` is off), so here is a histogram
//! of one bucket per power of two behind the same names. Wired in by `[patch.crates-io]`; it goes when upstream builds
//! its tables on demand.

use std::fmt;
use std::marker::PhantomData;

const BUCKETS: usize = u64::BITS as usize + 1;

/// Counts values by their number of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; BUCKETS]>,
    kind: PhantomData<T>,
}

impl Histogram<()> {
    #[must_use]
    pub fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), kind: PhantomData }
    }
}

impl Default for Histogram<()> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, count: u64) {
        self.counts[bucket(value)] += count;
    }

    /// Each percentile as the smallest value of its bucket.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        let at = |fraction| self.percentile(fraction);
        PercentileStats {
            samples: self.counts.iter().sum(),
            p0_1: at(0.001),
            p1: at(0.01),
            p5: at(0.05),
            p10: at(0.1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
        }
    }

    fn percentile(&self, fraction: f64) -> u64 {
        let samples: u64 = self.counts.iter().sum();
        let rank = ((samples as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, |bucket| if bucket == 0 { 0 } else { 1 << (bucket - 1) })
    }
}

fn bucket(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// What openraft shows of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples, p50 {}, p99 {}, p99.9 {}", self.samples, self.p50, self.p99, self.p99_9)
    }
}

/// Several histograms as text.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn add<T>(mut self, name: impl ToString, histogram: Histogram<T>) -> Self {
        self.rows.push((name.to_string(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_lower_ends_of_their_buckets() {
        let mut histogram = Histogram::new();
        histogram.record_n(0, 50);
        histogram.record_n(9, 49);
        histogram.record(1_000);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p10, stats.p90, stats.p99, stats.p99_9), (100, 0, 8, 8, 512));
    }
}
