//! P7: how long from the start of the process until Metadata is answered.

use std::io;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use milena_tests::{ports, process, wait};

use crate::Options;
use crate::contender::{Contender, Kind, Settings, floor_command};
use crate::load::{Bulk, Failure, Topics, Values};
use crate::report::{Case, Round};
use crate::wire;

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 1_000;
/// More than one segment of the smallest size that Kafka allows, per partition.
const SEGMENT_BYTES: &str = "1048576";
const RECORD: usize = 64 << 10;
const RECORDS_PER_PARTITION: u64 = 20;
const BIG_BYTES: u64 = 10 << 30;

/// Milliseconds until a broker that is started by `spawn` answers Metadata on `port`.
fn until_metadata(port: u16, spawn: impl FnOnce() -> io::Result<Child>) -> Result<(Child, f64), Failure> {
    let began = Instant::now();
    let mut child = spawn()?;
    let answered = wait::poll(LIMIT, || match child.try_wait() {
        Ok(None) => wire::ask_metadata(port).ok().map(Ok),
        ended => Some(Err(format!("the broker ended: {ended:?}"))),
    });
    let taken = began.elapsed().as_secs_f64() * 1e3;
    answered.ok_or("Metadata was not answered")??;
    Ok((child, taken))
}

fn end(mut child: Child) {
    // Both fail only when it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn round(start_ms: f64) -> Round {
    Round { start_ms: Some(start_ms), ..Round::default() }
}

pub fn run(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let mut empty = Case::new(name, "empty");
    for _ in 0..options.rounds {
        let directory = tempfile::tempdir_in(&options.directory)?;
        empty.add(Kind::Milena, round(start_milena(directory.path())?));
        if options.peers.contains(&Kind::Floor) {
            let port = ports::free();
            let (child, taken) = until_metadata(port, || floor_command(port, directory.path())?.spawn())?;
            end(child);
            empty.add(Kind::Floor, round(taken));
        }
    }
    let values = Values::new();
    let mut clean = Case::new(name, "1,000 partitions of two segments, after a clean stop");
    after(&mut clean, options, PARTITIONS, RECORDS_PER_PARTITION * PARTITIONS as u64, &values, |broker| {
        broker.stop().map(drop)
    })?;
    let bytes =
        options.seconds.map_or(BIG_BYTES, |seconds| (seconds.as_secs_f64() * f64::from(1 << 30)) as u64);
    let title = format!("{} GiB in 16 partitions, after kill -9", bytes >> 30);
    let mut crash = Case::new(name, &title);
    after(&mut crash, options, 16, bytes / RECORD as u64, &values, process::Broker::kill)?;
    Ok(vec![empty, clean, crash])
}

fn start_milena(directory: &Path) -> Result<f64, Failure> {
    let config = process::Config::at(directory);
    let (child, taken) = until_metadata(config.port(), || config.spawn())?;
    end(child);
    Ok(taken)
}

/// Fills a broker, ends it in some way, and measures how long it takes to come back; once per round.
fn after(
    case: &mut Case,
    options: &Options,
    partitions: i32,
    records: u64,
    values: &Values,
    finish: impl Fn(&mut process::Broker) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut contender = Contender::start(Kind::Milena, &Settings::default(), &options.directory)?;
    let config = [("segment.bytes", SEGMENT_BYTES)];
    let config = if partitions == PARTITIONS { &config[..] } else { &[] };
    Topics::new(&contender.bootstrap)?.create("start", partitions, config)?;
    Bulk::new(&contender.bootstrap, "start", partitions, RECORD, "none")?.burst(values, records)?;
    let port = contender.port;
    let broker = contender.milena().ok_or("P7 restarts Milena only")?;
    for _ in 0..options.rounds {
        finish(broker)?;
        let began = Instant::now();
        broker.spawn_again()?;
        wait::poll(LIMIT, || wire::ask_metadata(port).ok()).ok_or("Metadata was not answered")?;
        case.add(Kind::Milena, round(began.elapsed().as_secs_f64() * 1e3));
        broker.wait_ready()?;
    }
    Ok(())
}
