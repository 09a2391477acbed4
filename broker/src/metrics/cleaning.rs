//! What the log cleaner did and found: Kafka's figures, in base units.

use std::collections::BTreeMap;

use milena_log::compaction::Report;
use parking_lot::Mutex;
use prometheus::proto::MetricFamily;

use super::definitions as table;
use super::scrape::{family, plain};

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Done,
    Failed,
    /// The log was closed, cut or deleted, or the cleaner was stopped.
    Interrupted,
}

impl Outcome {
    pub(super) const ALL: [Outcome; 3] = [Outcome::Done, Outcome::Failed, Outcome::Interrupted];

    /// Value of the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Interrupted => "interrupted",
        }
    }
}

/// What a look at all compacted logs found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    pub at_ms: i64,
    /// Of the logs that can be cleaned and are not being cleaned.
    pub dirty_ratio_max: f64,
    /// By how much `max.compaction.lag.ms` is exceeded.
    pub late_ms_max: i64,
    /// By log directory.
    pub uncleanable: BTreeMap<String, Uncleanable>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uncleanable {
    pub partitions: u64,
    pub bytes: u64,
}

/// The figures; rarely written, so behind one lock.
#[derive(Debug, Default)]
pub struct Cleaning(Mutex<Figures>);

#[derive(Debug, Default)]
struct Figures {
    look: Look,
    threads: usize,
    dead: usize,
    restarts: u64,
    bytes_read: u64,
    bytes_written: u64,
    ended: [u64; Outcome::ALL.len()],
    last_pass_ms: i64,
    /// The last pass of each cleaner, and the seconds it took.
    last: BTreeMap<usize, (Report, f64)>,
}

impl Cleaning {
    /// So many cleaners should run.
    pub fn threads(&self, count: usize) {
        let mut figures = self.0.lock();
        figures.threads = count;
        figures.last.retain(|index, _| *index < count);
    }

    /// A cleaner panicked, and waits for its restart.
    pub fn died(&self) {
        self.0.lock().dead += 1;
    }

    pub fn restarted(&self) {
        let mut figures = self.0.lock();
        figures.dead -= 1;
        figures.restarts += 1;
    }

    pub fn looked(&self, look: Look) {
        self.0.lock().look = look;
    }

    pub fn moved(&self, bytes_read: u64, bytes_written: u64) {
        let mut figures = self.0.lock();
        figures.bytes_read += bytes_read;
        figures.bytes_written += bytes_written;
    }

    /// A pass of the cleaner with this number came to its end.
    pub fn passed(&self, index: usize, report: &Report, seconds: f64, now_ms: i64) {
        let mut figures = self.0.lock();
        figures.last.insert(index, (*report, seconds));
        figures.last_pass_ms = now_ms;
    }

    pub fn ended(&self, outcome: Outcome) {
        self.0.lock().ended[outcome as usize] += 1;
    }

    /// The last look, and so on, for tests that do not scrape.
    #[cfg(test)]
    pub(crate) fn look(&self) -> Look {
        self.0.lock().look.clone()
    }

    #[cfg(test)]
    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.0.lock().ended[outcome as usize]
    }

    #[cfg(test)]
    pub(crate) fn restarts(&self) -> u64 {
        self.0.lock().restarts
    }

    #[cfg(test)]
    pub(crate) fn moved_bytes(&self) -> u64 {
        let figures = self.0.lock();
        figures.bytes_read + figures.bytes_written
    }

    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let figures = self.0.lock();
        let last = || figures.last.values();
        let max = |of: fn(&(Report, f64)) -> f64| last().map(of).fold(0.0, f64::max);
        let (read, written) = last().fold((0, 0), |(read, written), (report, _)| {
            (read + report.bytes_read, written + report.bytes_written)
        });
        let uncleanable = |definition: &table::Definition, of: fn(&Uncleanable) -> u64| {
            let sums = figures.look.uncleanable.iter();
            family(definition, sums.map(|(directory, sum)| (vec![directory.clone()], of(sum) as f64)))
        };
        let ended = Outcome::ALL
            .map(|outcome| (vec![outcome.name().to_owned()], figures.ended[outcome as usize] as f64));
        vec![
            plain(&table::CLEANER_THREADS, figures.threads as f64),
            plain(&table::CLEANER_DEAD_THREADS, figures.dead as f64),
            plain(&table::CLEANER_RESTARTS, figures.restarts as f64),
            plain(&table::CLEANER_LAST_RUN, figures.look.at_ms as f64 / 1e3),
            plain(&table::CLEANER_DIRTY_RATIO_MAX, figures.look.dirty_ratio_max),
            plain(&table::CLEANER_DELAY_MAX, figures.look.late_ms_max as f64 / 1e3),
            uncleanable(&table::CLEANER_UNCLEANABLE_PARTITIONS, |sum| sum.partitions),
            uncleanable(&table::CLEANER_UNCLEANABLE_BYTES, |sum| sum.bytes),
            family(&table::CLEANER_PASSES, ended),
            plain(&table::CLEANER_LAST_PASS, figures.last_pass_ms as f64 / 1e3),
            plain(&table::CLEANER_PASS_SECONDS_MAX, max(|(_, seconds)| *seconds)),
            plain(&table::CLEANER_RECOPY_RATIO, written as f64 / read.max(1) as f64),
            plain(&table::CLEANER_MAP_UTILIZATION_MAX, max(|(report, _)| report.map_utilization)),
            plain(&table::CLEANER_READ_BYTES, figures.bytes_read as f64),
            plain(&table::CLEANER_WRITTEN_BYTES, figures.bytes_written as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cleaning: &Cleaning) -> String {
        let mut families = cleaning.families();
        families.retain(|family| !family.get_metric().is_empty());
        prometheus::TextEncoder::new().encode_to_string(&families).expect("valid")
    }

    #[test]
    fn ratios_are_of_the_last_pass_of_each_cleaner_and_sums_of_all() {
        let cleaning = Cleaning::default();
        cleaning.threads(2);
        let report = |bytes_read, bytes_written| Report { bytes_read, bytes_written, ..Report::default() };
        for (index, report, seconds) in
            [(0, report(999, 999), 9.0), (0, report(100, 10), 1.0), (1, report(100, 40), 2.5)]
        {
            cleaning.moved(report.bytes_read, report.bytes_written);
            cleaning.passed(index, &report, seconds, 7_000);
        }
        let found = text(&cleaning);
        for line in [
            "milena_cleaner_recopy_ratio 0.25",
            "milena_cleaner_pass_seconds_max 2.5",
            "milena_cleaner_read_bytes_total 1199",
            "milena_cleaner_written_bytes_total 1049",
            "milena_cleaner_last_pass_time_seconds 7",
        ] {
            assert!(found.contains(&format!("{line}\n")), "{line} in {found}");
        }
        cleaning.threads(1);
        assert!(text(&cleaning).contains("milena_cleaner_recopy_ratio 0.1\n"));
    }

    #[test]
    fn every_outcome_has_its_own_counter() {
        let cleaning = Cleaning::default();
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
            cleaning.ended(outcome);
            let line = format!("milena_cleaner_passes_total{{outcome=\"{}\"}} 1\n", outcome.name());
            assert!(text(&cleaning).contains(&line));
        }
    }
}
