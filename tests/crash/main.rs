//! The broker dies while it is written to: by kill -9 at random moments, by a full disk, by failing system
//! calls. Nothing that was acknowledged may be lost, and nothing of an idempotent producer be there twice.
//!
//! `MILENA_CRASH_ROUNDS=100 cargo test --release -p milena-tests --test crash kill -- --nocapture` is the long run;
//! `MILENA_SEED` repeats the choices of one that failed (not its timing). The disk tests need root.

mod check;
mod cleaning;
mod client;
mod commits;
mod disk;
mod moving;
mod producer;
mod random;

use std::time::{Duration, Instant};

use milena_tests::process::{Broker, Config};
use milena_tests::wait;

use check::Checker;
use client::Client;
use producer::{Plan, Running};
use random::Random;

const PARTITIONS: i32 = 3;
/// Acknowledgements come within milliseconds; a broker that gives none for so long has failed.
const PROGRESS_LIMIT: Duration = Duration::from_secs(30);
/// Records that a producer may be ahead of a check that runs.
const AHEAD_MAX: u64 = 5_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Small segments, so that crashes meet rolls, indexes and snapshots.
const TOPIC_CONFIGS: &[(&str, &str)] = &[("segment.bytes", "1048576"), ("index.interval.bytes", "1024")];

struct Load {
    producers: Vec<Running>,
    checkers: Vec<Checker>,
}

impl Load {
    /// Creates a topic for idempotent and one for plain producers, and starts one on each partition.
    fn start(
        port: u16,
        partitions: i32,
        configs: &[(&str, &str)],
        padding: usize,
        random: &mut Random,
    ) -> Self {
        let mut client = Client::connect(port).expect("the broker is ready");
        let mut producers = Vec::new();
        for (topic, idempotent) in [("once", true), ("plain", false)] {
            client.create_topic(topic, partitions, configs).expect("a new topic");
            for partition in 0..partitions {
                let plan = Plan { topic, partition, idempotent, padding };
                producers.push(Running::start(port, plan, random.below(1 << 40)));
            }
        }
        let checkers = producers.iter().map(|_| Checker::default()).collect();
        Load { producers, checkers }
    }

    fn acked_count(&self) -> u64 {
        self.producers.iter().map(|producer| producer.journal.acked_count()).sum()
    }

    /// Waits until so many more records are acknowledged.
    fn progress(&self, records: u64) {
        self.allow(None);
        let target = self.acked_count() + records;
        let reached = wait::poll(PROGRESS_LIMIT, || (self.acked_count() >= target).then_some(()));
        assert!(
            reached.is_some(),
            "{} of {target} acknowledged within {PROGRESS_LIMIT:?}",
            self.acked_count()
        );
    }

    fn allow(&self, records: Option<u64>) {
        self.producers.iter().for_each(|producer| producer.journal.allow(records));
    }

    /// Reads what came since the last check. Producers go on meanwhile, but not without end: a check would take as
    /// long as the one before and what came during that.
    fn check(&mut self, port: u16, context: &str) {
        self.allow(Some(AHEAD_MAX));
        for (producer, checker) in self.producers.iter().zip(&mut self.checkers) {
            checker.check(port, &producer.journal).unwrap_or_else(|error| panic!("{context}: {error}"));
        }
    }

    /// Ends the load, and reads everything once more from the beginning.
    fn finish(self, port: u16, context: &str) -> u64 {
        let acked_count = self.acked_count();
        for producer in self.producers {
            let journal = producer.journal.clone();
            producer.stop().unwrap_or_else(|error| panic!("{context}: {error}"));
            let mut checker = Checker::from_the_start();
            checker.check(port, &journal).unwrap_or_else(|error| panic!("{context}, at the end: {error}"));
        }
        acked_count
    }
}

/// Ends the broker in one of several ways and brings it back. Returns how long the last start took.
fn crash(broker: &mut Broker, random: &mut Random) -> Duration {
    if random.below(8) == 0 {
        let status = broker.stop().expect("a clean stop");
        assert!(status.success(), "SIGTERM ends with {status}:\n{}", broker.output());
    } else {
        broker.kill().expect("a running broker");
    }
    // Some die again while they recover.
    while random.below(4) == 0 {
        broker.spawn_again().expect("the program starts");
        let life = Duration::from_micros(random.below(40_000));
        let ended_early = wait::poll(life, || (!broker.is_running()).then_some(()));
        assert!(ended_early.is_none(), "the broker ended by itself:\n{}", broker.output());
        broker.kill().expect("a running broker");
    }
    let start = Instant::now();
    broker.start_again().expect("the broker comes back");
    start.elapsed()
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged_and_repeats_nothing() {
    let rounds = number("MILENA_CRASH_ROUNDS").unwrap_or(3);
    let seed = number("MILENA_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{rounds} rounds with MILENA_SEED={seed}");
    let mut random = Random(seed);
    let mut broker =
        Config::new().property("log.flush.offset.checkpoint.interval.ms", 200).start().expect("starts");
    let mut load = Load::start(broker.port(), PARTITIONS, TOPIC_CONFIGS, 40, &mut random);
    let mut slowest_start = Duration::ZERO;
    for round in 1..=rounds {
        load.progress(200 + random.below(20_000));
        let took = crash(&mut broker, &mut random);
        slowest_start = slowest_start.max(took);
        load.check(broker.port(), &format!("seed {seed}, round {round}"));
        println!("round {round}: {} acknowledged, back after {took:?}", load.acked_count());
    }
    let acked_count = load.finish(broker.port(), &format!("seed {seed}"));
    println!("{acked_count} records acknowledged over {rounds} rounds, slowest start {slowest_start:?}");
}
