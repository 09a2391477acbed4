//! Simulation, tier 1: whole clusters of the shipped rules and the shipped log, in one thread, on virtual time.
//!
//! `docs/simulation.md` says what is checked and how a failure is replayed. A seed is a cluster, a workload and a series
//! of faults; the same seed always gives the same run.

mod broker;
mod clients;
mod controller;
mod faults;
mod invariants;
mod message;
mod mutants;
mod network;
mod oracle;
mod parameters;
mod random;
mod rest;
mod run;
mod schedule;
mod trace;
mod world;

use std::time::{Duration, Instant};

use parameters::Mutation;
use random::Random;

/// Seeds that once found something.
const KEPT: &str = include_str!("seeds.txt");
/// How long fresh seeds are tried when nobody says otherwise.
const SECONDS: u64 = 20;

/// Each line is a seed, and why it is kept.
fn kept() -> impl Iterator<Item = (u64, &'static str)> {
    let lines = KEPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (seed, why) = line.split_once(' ').unwrap_or((line, ""));
        (seed.parse().unwrap_or_else(|error| panic!("seeds.txt: {line:?}: {error}")), why)
    })
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[test]
fn kept_seeds() {
    for (seed, why) in kept() {
        if let Err(failure) = run::run(seed, Mutation::None) {
            panic!("kept for: {why}\n{}", failure.report());
        }
    }
}

#[test]
fn fresh_seeds() {
    let limit = Duration::from_secs(variable("MILENA_SIM_SECONDS").unwrap_or(SECONDS));
    // The seed of seeds is the one thing that comes from outside.
    let first = variable("MILENA_SIM_FIRST").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64)
    });
    let mut random = Random::new(first);
    let begin = Instant::now();
    let (mut runs, mut steps, mut records) = (0_u64, 0, 0);
    while begin.elapsed() < limit {
        let seed = random.next() >> 16;
        match run::run(seed, Mutation::None) {
            Ok(done) => (runs, steps, records) = (runs + 1, steps + done.steps, records + done.committed),
            Err(failure) => panic!("{}", failure.report()),
        }
    }
    let per_second = steps as f64 / begin.elapsed().as_secs_f64();
    println!(
        "{runs} seeds, {steps} steps ({per_second:.0} per second), {records} records committed, from {first}"
    );
}

#[test]
fn same_seed_twice_is_the_same_run() {
    for seed in 1..=10 {
        let hash =
            || run::run(seed, Mutation::None).map(|done| (done.hash, done.steps)).map_err(|f| f.report());
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

/// The seeds from 1 to `MILENA_SIM_SEEDS`, for rules that were changed by hand (docs/simulation.md).
#[test]
#[ignore = "for who changes rules by hand: MILENA_SIM_SEEDS says how many"]
fn first_seeds() {
    let failures_max = variable("MILENA_SIM_FAILURES").unwrap_or(1) as usize;
    let seeds = 1..=variable("MILENA_SIM_SEEDS").expect("MILENA_SIM_SEEDS is set");
    let failures: Vec<_> =
        seeds.filter_map(|seed| run::run(seed, Mutation::None).err()).take(failures_max).collect();
    if let Some(first) = failures.first() {
        let all: Vec<String> = failures.iter().map(|failure| failure.summary()).collect();
        panic!("{}\n{}", first.report(), all.join("\n"));
    }
}

/// Runs one seed: `MILENA_SIM_SEED=… cargo test -p milena-simulation -- replay --ignored --nocapture`.
#[test]
#[ignore = "runs the one seed that MILENA_SIM_SEED names"]
fn replay() {
    let seed = variable("MILENA_SIM_SEED").expect("MILENA_SIM_SEED is set");
    match run::run(seed, Mutation::None) {
        Ok(done) => println!("seed {seed}: {done:?}"),
        Err(failure) => panic!("{}", failure.report()),
    }
}
