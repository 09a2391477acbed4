//! One seed from begin to end, and what to say when it fails.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::oracle::Violation;
use crate::parameters::{Mutation, Parameters};
use crate::world::World;

/// Steps with faults; the rest until everything is at rest comes on top.
const STEPS: u64 = 6000;

/// A run that kept all promises.
#[derive(Debug)]
pub struct Done {
    pub hash: u64,
    pub steps: u64,
    /// Records that were committed, over all partitions.
    pub committed: u64,
}

/// A run that broke one.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub mutation: Mutation,
    pub step: u64,
    pub violation: Violation,
}

pub fn run(seed: u64, mutation: Mutation) -> Result<Done, Box<Failure>> {
    let (_, result) = play(seed, mutation, false);
    result
}

fn play(seed: u64, mutation: Mutation, in_words: bool) -> (World, Result<Done, Box<Failure>>) {
    let steps = crate::variable("MILENA_SIM_STEPS").unwrap_or(STEPS);
    let mut world = World::new(Parameters::of(seed, mutation, steps), in_words);
    // A broken assertion of the shipped code is a failure like any other.
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { invariant: "panic", what: text.unwrap_or_default() })
    });
    let step = world.steps;
    let result = match result {
        Ok(()) => {
            let committed = world.oracle.truths.values().map(|truth| truth.committed.len() as u64).sum();
            Ok(Done { hash: world.trace.hash(), steps: world.steps, committed })
        }
        Err(violation) => Err(Box::new(Failure { seed, mutation, step, violation })),
    };
    (world, result)
}

impl Failure {
    pub fn summary(&self) -> String {
        let Failure { seed, step, violation: Violation { invariant, what }, .. } = self;
        format!("seed {seed}, step {step}: {invariant}: {what}")
    }

    /// Seed, step, the last events and how to see it again.
    pub fn report(&self) -> String {
        let seed = self.seed;
        let (world, _) = play(seed, self.mutation, true);
        let mut text = String::new();
        for line in world.trace.lines() {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "{:?}", world.parameters);
        let _ = writeln!(text, "{} ({} ms)", self.summary(), world.now_ms);
        let _ = writeln!(
            text,
            "replay: MILENA_SIM_SEED={seed} cargo test -p milena-simulation -- replay --ignored --nocapture"
        );
        text
    }
}
