//! P4, P6 and P13: latency at a fixed rate, durable mode, and retention that keeps up.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use milena_tests::procfs;

use crate::Options;
use crate::contender::{Contender, Kind, Settings};
use crate::load::{Bulk, Failure, Paced, Topics, Values};
use crate::measure::{Cost, Reading};
use crate::report::{Case, Round};
use crate::runner::{Shape, alternate, bulk, contenders, start, unique};

use super::length;

const SIZE: usize = 1024;
const PACED_S: f64 = 10.0;
const BULK_S: f64 = 1.6;

/// P13: a partition keeps four segments of 64 MiB.
const SEGMENT_BYTES: u64 = 64 << 20;
const RETENTION_BYTES: u64 = 4 * SEGMENT_BYTES;
const STEADY_S: f64 = 10.0;
const STEADY_BURST: u64 = 64_000;
/// P6: the rate of the load, and the fdatasyncs that it is compared with.
const SYNCS_PER_S: u64 = 1_000;
const SYNCS: u32 = 3_000;

fn paced(contender: &Contender, values: &Values, rate: u64, length: Duration) -> Result<Round, Failure> {
    let topic = format!("paced-{}", unique());
    let topics = Topics::new(&contender.bootstrap)?;
    topics.create(&topic, 1, &[])?;
    let load = Paced::new(&contender.bootstrap, &topic)?;
    load.run(values, SIZE, rate, Duration::from_millis(500))?;
    let (mut cost, before) = (Cost::default(), Reading::take(contender.pid)?);
    let (found, records) = load.run(values, SIZE, rate, length)?;
    cost.add_since(&before, contender.pid)?;
    let (_, rss) = procfs::resident(contender.pid)?;
    drop(load);
    topics.delete(&topic)?;
    Ok(Round::paced(&cost, &found, records, rss))
}

pub fn latency(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let values = Values::new();
    let contenders = contenders(options, &Settings::default())?;
    let mut cases = Vec::new();
    for rate in [1_000, 10_000] {
        let mut case = Case::new(name, &format!("{rate} records/s"));
        alternate(&mut case, options, &contenders, |one| {
            paced(one, &values, rate, length(options, PACED_S))
        })?;
        cases.push(case);
    }
    Ok(cases)
}

pub fn durable(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let values = Values::new();
    let kinds = [Kind::Durable, Kind::Milena].into_iter();
    let contenders = start(kinds, &Settings::default(), &options.directory)?;
    let shape =
        Shape { partitions: 1, size: SIZE, codec: "none", shrinks: 1, length: length(options, BULK_S) };
    let mut full = Case::new(name, "1 KiB at saturation");
    alternate(&mut full, options, &contenders, |one| bulk(one, &values, shape, &options.directory))?;
    let title = format!("{SYNCS_PER_S} records/s; the sync is an fdatasync alone, as often");
    let mut rate = Case::new(name, &title);
    alternate(&mut rate, options, &contenders, |one| {
        let found = paced(one, &values, SYNCS_PER_S, length(options, PACED_S))?;
        let syncs = fdatasyncs_us(&options.directory)?;
        let at = |quantile| Some(syncs.value_at_quantile(quantile) as f64);
        Ok(Round { sync_p50_us: at(0.5), sync_p99_us: at(0.99), ..found })
    })?;
    Ok(vec![full, rate])
}

/// How long an fdatasync takes after one record was appended, at the rate of the load, on the disk that the
/// brokers use.
fn fdatasyncs_us(root: &Path) -> Result<Histogram<u64>, Failure> {
    let path = root.join("sync-probe");
    let mut file = File::create(&path)?;
    let mut found = Histogram::new(3)?;
    let began = Instant::now();
    for index in 0..SYNCS {
        let due = began + Duration::from_secs(1) * index / SYNCS_PER_S as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let before = Instant::now();
        file.write_all(&[7; SIZE])?;
        file.sync_data()?;
        found.record(before.elapsed().as_micros() as u64)?;
    }
    std::fs::remove_file(path)?;
    Ok(found)
}

pub fn retention(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let values = Values::new();
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = Settings {
        properties: vec![set("log.retention.check.interval.ms", "200")],
        floor: [
            "--segment-bytes",
            &SEGMENT_BYTES.to_string(),
            "--retention-bytes",
            &RETENTION_BYTES.to_string(),
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    let contenders = contenders(options, &settings)?;
    let topic = format!("steady-{}", unique());
    let (segment, retention) = (SEGMENT_BYTES.to_string(), RETENTION_BYTES.to_string());
    let config = [
        ("segment.bytes", segment.as_str()),
        ("retention.bytes", retention.as_str()),
        ("file.delete.delay.ms", "0"),
    ];
    for contender in &contenders {
        Topics::new(&contender.bootstrap)?.create(&topic, 1, &config)?;
    }
    let mut case = Case::new(name, "1 KiB, four segments of 64 MiB kept");
    let least = length(options, STEADY_S);
    // No pages are supplied: whether a broker frees as many as it needs is what this compares.
    alternate(&mut case, options, &contenders, |contender| {
        let mut load = Bulk::new(&contender.bootstrap, &topic, 1, SIZE, "none")?;
        load.burst(&values, 1)?;
        let (mut cost, mut records) = (Cost::default(), 0);
        while cost.wall < least {
            let before = Reading::take(contender.pid)?;
            load.burst(&values, STEADY_BURST)?;
            cost.add_since(&before, contender.pid)?;
            records += STEADY_BURST;
        }
        let (_, rss) = procfs::resident(contender.pid)?;
        Ok(Round::bulk(&cost, records, records * SIZE as u64, rss))
    })?;
    Ok(vec![case])
}
