//! The log cleaner's settings: how many threads compact, with how much memory, how fast.
//!
//! Kafka gives the memory for all threads together; what one thread has of it is computed here. All of it but
//! [`Settings::is_enabled`] may change while the broker runs.

use super::broker::Values;
use super::definition::ConfigError;

/// What a thread's offset map may take; Kafka's has the same bound, an array's.
const MAP_BYTES_MAX: u64 = i32::MAX as u64;

/// What is read at once where the share of a thread would be nothing.
const BUFFER_BYTES_MIN: usize = 4096;

/// The `log.cleaner.*` properties that are no defaults of topics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub is_enabled: bool,
    /// Logs that are compacted at a time. 0 is none at all.
    pub threads: usize,
    /// Of all threads, reads and writes together; not above 0 is no bound.
    pub io_bytes_per_second_max: f64,
    /// Of all threads, for remembering keys.
    pub map_bytes: u64,
    /// Of all threads, one half for reading and one for writing.
    pub buffer_bytes: usize,
    pub map_load_factor: f64,
    /// Pause when no log needs compaction.
    pub backoff_ms: u64,
}

impl Settings {
    pub(super) fn of(values: &Values<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            is_enabled: values.bool("log.cleaner.enable"),
            threads: values.number("log.cleaner.threads")?,
            io_bytes_per_second_max: values.double("log.cleaner.io.max.bytes.per.second")?,
            map_bytes: values.number::<i64>("log.cleaner.dedupe.buffer.size")?.max(0) as u64,
            buffer_bytes: values.number("log.cleaner.io.buffer.size")?,
            map_load_factor: values.double("log.cleaner.io.buffer.load.factor")?,
            backoff_ms: values.number("log.cleaner.backoff.ms")?,
        })
    }

    /// Threads that run with these settings.
    pub fn running_threads(&self) -> usize {
        if self.is_enabled { self.threads } else { 0 }
    }

    /// Bytes of the offset map of one thread.
    pub fn map_bytes_per_thread(&self) -> usize {
        let share = self.map_bytes / self.threads.max(1) as u64;
        usize::try_from(share.min(MAP_BYTES_MAX)).unwrap_or(usize::MAX)
    }

    /// Bytes that one thread reads, or keeps for writing, at once.
    pub fn buffer_bytes_per_thread(&self) -> usize {
        (self.buffer_bytes / self.threads.max(1) / 2).max(BUFFER_BYTES_MIN)
    }

    /// Whether a running cleaner may go over to `next`. As in Kafka the number of threads changes by a factor of two
    /// at most, so that a slip of the hand does no great harm; it is not looked at when the cleaner is switched off.
    pub fn check_change(&self, next: &Self) -> Result<(), ConfigError> {
        let refused = |reason: String| {
            Err(ConfigError::Invalid {
                name: "log.cleaner.threads".to_owned(),
                value: next.threads.to_string(),
                reason,
            })
        };
        if !self.is_enabled || next.threads == self.threads {
            return Ok(());
        }
        if next.threads < 1 {
            return refused("Log cleaner threads should be at least 1".to_owned());
        }
        if next.threads < self.threads / 2 {
            let reason = "Log cleaner threads cannot be reduced to less than half the current value";
            return refused(format!("{reason} {}", self.threads));
        }
        if next.threads > self.threads * 2 {
            let reason = "Log cleaner threads cannot be increased to more than double the current value";
            return refused(format!("{reason} {}", self.threads));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::broker;
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> Settings {
        let properties: BTreeMap<_, _> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        broker::Settings::parse(&properties).expect("valid").cleaner
    }

    #[test]
    fn defaults_are_kafkas() {
        let expected = Settings {
            is_enabled: true,
            threads: 1,
            io_bytes_per_second_max: f64::MAX,
            map_bytes: 128 << 20,
            buffer_bytes: 512 << 10,
            map_load_factor: 0.9,
            backoff_ms: 15_000,
        };
        assert_eq!(settings(&[]), expected);
        assert_eq!(expected.buffer_bytes_per_thread(), 256 << 10);
    }

    #[test]
    fn memory_is_shared_by_the_threads_and_bounded_for_each() {
        let of = |threads: &str, map: &str, buffer: &str| {
            let properties = [
                ("log.cleaner.threads", threads),
                ("log.cleaner.dedupe.buffer.size", map),
                ("log.cleaner.io.buffer.size", buffer),
            ];
            let settings = settings(&properties);
            (settings.map_bytes_per_thread(), settings.buffer_bytes_per_thread())
        };
        assert_eq!(of("4", "4000000", "400000"), (1_000_000, 50_000));
        assert_eq!(of("1", "9000000000", "0"), (i32::MAX as usize, BUFFER_BYTES_MIN));
        assert_eq!(of("0", "-5", "100"), (0, BUFFER_BYTES_MIN));
    }

    #[test]
    fn number_of_threads_changes_by_a_factor_of_two_at_most() {
        let check = |from: &str, to: &str, enabled: &str, expected: &str| {
            let of = |threads| settings(&[("log.cleaner.threads", threads), ("log.cleaner.enable", enabled)]);
            let outcome = of(from).check_change(&of(to)).map_err(|error| error.to_string());
            match (outcome, expected) {
                (Ok(()), "") => {}
                (Err(found), expected) if !expected.is_empty() && found.contains(expected) => {}
                (outcome, _) => panic!("{from} to {to}: {outcome:?}"),
            }
        };
        check("4", "8", "true", "");
        check("4", "2", "true", "");
        check("4", "9", "true", "more than double the current value 4");
        check("5", "1", "true", "less than half the current value 5");
        check("1", "0", "true", "at least 1");
        check("1", "9", "false", "");
        check("0", "0", "true", "");
    }

    #[test]
    fn cleaner_that_is_switched_off_has_no_threads() {
        assert_eq!(settings(&[("log.cleaner.enable", "false")]).running_threads(), 0);
        assert_eq!(settings(&[("log.cleaner.threads", "3")]).running_threads(), 3);
    }
}
