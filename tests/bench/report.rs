//! Rounds, their medians, and the table with ratios.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::contender::Kind;
use crate::measure::Cost;

/// What one round of one contender gave. What a scenario does not measure is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    pub records_per_s: Option<f64>,
    pub mb_per_s: Option<f64>,
    /// The broker's CPU seconds per GB (10⁹ bytes) of values.
    pub cpu_per_gb: Option<f64>,
    pub cpu_us_per_record: Option<f64>,
    pub records_per_cpu_s: Option<f64>,
    pub cores: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    pub rss_mib: Option<f64>,
    pub start_ms: Option<f64>,
    /// From the first JoinGroup until every group is stable.
    pub stable_ms: Option<f64>,
    pub kib_per_connection: Option<f64>,
    /// An fdatasync alone at the same rate: median and 99th percentile.
    pub sync_p50_us: Option<f64>,
    pub sync_p99_us: Option<f64>,
    /// Cores that other processes used meanwhile: above a tenth, the figures are not to be quoted.
    pub foreign_cores: f64,
}

type Get = fn(&Round) -> Option<f64>;

/// Heading, digits after the point, and the field.
const COLUMNS: [(&str, usize, Get); 15] = [
    ("records/s", 0, |r| r.records_per_s),
    ("MB/s", 0, |r| r.mb_per_s),
    ("CPU-s/GB", 3, |r| r.cpu_per_gb),
    ("µs CPU/rec", 1, |r| r.cpu_us_per_record),
    ("rec/CPU-s", 0, |r| r.records_per_cpu_s),
    ("cores", 4, |r| r.cores),
    ("p50 µs", 0, |r| r.p50_us),
    ("p99 µs", 0, |r| r.p99_us),
    ("p99.9 µs", 0, |r| r.p999_us),
    ("start ms", 1, |r| r.start_ms),
    ("stable ms", 0, |r| r.stable_ms),
    ("RSS MiB", 1, |r| r.rss_mib),
    ("KiB/conn", 1, |r| r.kib_per_connection),
    ("sync p50 µs", 0, |r| r.sync_p50_us),
    ("sync p99 µs", 0, |r| r.sync_p99_us),
];

impl Round {
    /// A round of bulk load.
    pub fn bulk(cost: &Cost, records: u64, bytes: u64, rss: u64) -> Self {
        let (wall, cpu) = (cost.wall.as_secs_f64(), cost.broker.as_secs_f64());
        Self {
            records_per_s: Some(records as f64 / wall),
            mb_per_s: Some(bytes as f64 / 1e6 / wall),
            cpu_per_gb: Some(cpu / (bytes as f64 / 1e9)),
            records_per_cpu_s: Some(records as f64 / cpu.max(0.01)),
            rss_mib: Some(mib(rss)),
            foreign_cores: cost.foreign_cores(),
            ..Self::default()
        }
    }

    /// A round at a fixed rate.
    pub fn paced(cost: &Cost, found: &Histogram<u64>, records: u64, rss: u64) -> Self {
        let at = |quantile| Some(found.value_at_quantile(quantile) as f64);
        Self {
            cpu_us_per_record: Some(cost.broker.as_secs_f64() * 1e6 / records as f64),
            cores: Some(cost.broker.as_secs_f64() / cost.wall.as_secs_f64()),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            rss_mib: Some(mib(rss)),
            foreign_cores: cost.foreign_cores(),
            ..Self::default()
        }
    }
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// All rounds of one line of a scenario.
#[derive(Serialize)]
pub struct Case {
    pub scenario: String,
    pub title: String,
    pub results: Vec<(String, Vec<Round>)>,
}

impl Case {
    pub fn new(scenario: &str, title: &str) -> Self {
        Self { scenario: scenario.to_owned(), title: title.to_owned(), results: Vec::new() }
    }

    pub fn add(&mut self, kind: Kind, round: Round) {
        match self.results.iter_mut().find(|(name, _)| name == kind.name()) {
            Some((_, rounds)) => rounds.push(round),
            None => self.results.push((kind.name().to_owned(), vec![round])),
        }
    }

    /// A table in Markdown: medians, and in brackets what the broker under test has of each peer's.
    pub fn print(&self) {
        let used: Vec<_> = COLUMNS.iter().filter(|(_, _, get)| self.median(0, *get).is_some()).collect();
        println!("\n### {} {}\n", self.scenario, self.title);
        let headings: Vec<&str> = used.iter().map(|(heading, ..)| *heading).collect();
        println!("| | {} | foreign cores | rounds |", headings.join(" | "));
        println!("|---|{}---|---|", "---|".repeat(used.len()));
        for (at, (name, rounds)) in self.results.iter().enumerate() {
            let cells: Vec<String> =
                used.iter().map(|(_, digits, get)| self.cell(at, *digits, *get)).collect();
            let foreign = median(rounds.iter().map(|round| round.foreign_cores)).unwrap_or_default();
            println!("| {name} | {} | {foreign:.2} | {} |", cells.join(" | "), rounds.len());
        }
    }

    fn cell(&self, at: usize, digits: usize, get: Get) -> String {
        let Some(value) = self.median(at, get) else { return "–".to_owned() };
        let ratio = self.median(0, get).filter(|_| at > 0 && value > 0.0).map(|first| first / value);
        match ratio {
            Some(ratio) => format!("{value:.digits$} [{ratio:.2}×]"),
            None => format!("{value:.digits$}"),
        }
    }

    fn median(&self, at: usize, get: Get) -> Option<f64> {
        median(self.results.get(at)?.1.iter().filter_map(get))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_even_and_odd() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
