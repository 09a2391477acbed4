//! How long a run goes on.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::text;

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Bounds {
    /// End after so many records
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = text::at_least::<u64, 1>, allow_negative_numbers = true)]
    records: Option<u64>,
    /// End after so many seconds; of two bounds the first counts
    #[arg(long, value_name = "NUMBER", value_parser = text::at_least::<u64, 1>, allow_negative_numbers = true)]
    seconds: Option<u64>,
}

/// The bounds of a run that has begun.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub records_max: u64,
    pub deadline: Option<Instant>,
}

impl Bounds {
    /// Errors: usage, when there is none and the run would go on for ever.
    pub fn check(&self) -> Result<()> {
        if self.is_open() {
            return Err(Error::Usage("how long? --records NUMBER or --seconds NUMBER is needed".to_owned()));
        }
        Ok(())
    }

    pub fn is_open(&self) -> bool {
        self.records.is_none() && self.seconds.is_none()
    }

    pub fn begin(&self, now: Instant) -> Limit {
        Limit {
            records_max: self.records.unwrap_or(u64::MAX),
            // One that is too far to count does not come.
            deadline: self.seconds.and_then(|seconds| now.checked_add(Duration::from_secs(seconds))),
        }
    }
}

impl Limit {
    pub fn is_reached(&self, records: u64, now: Instant) -> bool {
        records >= self.records_max || self.deadline.is_some_and(|deadline| now >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_bounds_counts() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let limit = Bounds { records: Some(10), seconds: Some(2) }.begin(now);
        assert!(!limit.is_reached(9, now + second));
        assert!(limit.is_reached(10, now));
        assert!(limit.is_reached(0, now + 2 * second));
        let huge = Bounds { records: None, seconds: Some(u64::MAX) }.begin(now);
        assert!(!huge.is_reached(u64::MAX - 1, now + second));
    }

    #[test]
    fn a_run_without_an_end_is_refused() {
        assert!(Bounds { records: None, seconds: None }.check().is_err());
        assert!(Bounds { records: None, seconds: Some(1) }.check().is_ok());
    }
}
