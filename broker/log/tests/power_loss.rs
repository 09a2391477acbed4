//! The power fails: at every operation of a short history, and at random in long ones.
//!
//! Replay a random failure with `MILENA_SEED=<seed> cargo test -p milena-log --test power_loss`; more seeds
//! with `MILENA_SEEDS=<count>`.

mod support;

use milena_log::memory_files::{Fault, Loss, Operation};
use support::{Model, Random, Step, World, open};

/// A little of everything, in few operations.
const SHORT: &[Step] = &[
    Step::Append { producer: 1, count: 3 },
    Step::Append { producer: 0, count: 2 },
    Step::Sync,
    Step::Append { producer: 1, count: 2 },
    Step::Append { producer: 2, count: 4 },
    Step::Append { producer: 1, count: 1 },
    Step::Lead,
    Step::Append { producer: 0, count: 3 },
    Step::Append { producer: 2, count: 3 },
    Step::Sync,
    Step::Append { producer: 2, count: 3 },
    Step::Append { producer: 1, count: 3 },
    Step::Checkpoint,
    Step::Truncate { batches: 2 },
    Step::Lead,
    Step::Append { producer: 2, count: 2 },
    Step::Append { producer: 1, count: 2 },
    Step::Append { producer: 0, count: 4 },
    Step::DeleteRecords { batches: 4 },
    Step::Append { producer: 1, count: 2 },
    Step::Sync,
    Step::Checkpoint,
    Step::Append { producer: 1, count: 2 },
    Step::Append { producer: 2, count: 2 },
    Step::Truncate { batches: 6 },
    Step::Restart,
    Step::Repeat { producer: 1 },
    Step::Append { producer: 2, count: 2 },
    Step::Append { producer: 1, count: 2 },
    Step::Sync,
    Step::Append { producer: 0, count: 2 },
];

/// Plays `steps` until the power fails; says in which one, and what the log said. `None` when it lasts.
fn play(world: &mut World, steps: &[Step]) -> Option<String> {
    steps.iter().find_map(|step| world.step(*step).err().map(|error| format!("{step:?}: {error}")))
}

fn losses() -> impl Iterator<Item = Loss> {
    [Loss::Unsynced, Loss::Nothing].into_iter().chain((0..6).map(Loss::Random))
}

/// After a recovery the log must go on as if nothing had been, and survive the next loss.
fn go_on(mut world: World, context: &str) {
    let steps = [
        Step::Repeat { producer: 1 },
        Step::Append { producer: 1, count: 2 },
        Step::Append { producer: 2, count: 1 },
        Step::Sync,
        Step::Append { producer: 0, count: 1 },
    ];
    assert_eq!(play(&mut world, &steps), None, "{context}");
    World::recover(world.files.crash(Loss::Unsynced), world.model, &format!("{context}, then once more"));
}

#[test]
fn power_loss_at_every_operation_of_a_short_history() {
    let mut whole = World::new();
    let before = whole.files.operations_count();
    assert_eq!(play(&mut whole, SHORT), None, "the history is valid without a fault");
    let operations = whole.files.operations_count() - before;
    assert!(operations > 50, "the history is worth the name: {operations}");
    for at in 0..=operations {
        let mut world = World::new();
        world.files.inject(Fault::power_loss(Operation::Any, at));
        let stopped_in = play(&mut world, SHORT);
        for loss in losses() {
            let context = format!("power loss at operation {at}, in {stopped_in:?}, {loss:?}");
            let recovered = World::recover(world.files.crash(loss), world.model.clone(), &context);
            go_on(recovered, &context);
        }
    }
}

#[test]
fn power_loss_at_every_operation_of_a_recovery() {
    // Stops with unsynced bytes over two segments, so that the recovery has much to do.
    for stop_at in [9, 12, 19, 25, SHORT.len()] {
        let mut world = World::new();
        assert_eq!(play(&mut world, &SHORT[..stop_at]), None);
        for seed in 0..4 {
            let damaged = world.files.crash(Loss::Random(seed));
            for at in 0.. {
                let context = format!("stopped after step {stop_at}, seed {seed}, again at operation {at}");
                // A fresh copy each time, with everything on it durable.
                let files = damaged.crash(Loss::Nothing);
                files.inject(Fault::power_loss(Operation::Any, at));
                let finished = open(&files).is_ok();
                let recovered = World::recover(files.crash(Loss::Random(at)), world.model.clone(), &context);
                go_on(recovered, &context);
                if finished {
                    break;
                }
            }
        }
    }
}

/// One long life with many power losses.
fn live(seed: u64) {
    let mut random = Random(seed);
    let mut files = milena_log::memory_files::MemoryFiles::new();
    let mut model = Model::default();
    for life in 0..6 {
        let context = format!("seed {seed}, life {life}");
        let mut world = World::recover(files, model, &context);
        world.files.inject(Fault::power_loss(Operation::Any, random.below(400)));
        let mut steps = Vec::new();
        for _ in 0..300 {
            let step = random.step();
            steps.push(step);
            if world.step(step).is_err() {
                break;
            }
        }
        let loss = match random.below(4) {
            0 => Loss::Unsynced,
            1 => Loss::Nothing,
            _ => Loss::Random(random.below(1 << 32)),
        };
        files = world.files.crash(loss);
        model = world.model;
        let last_steps = &steps[steps.len().saturating_sub(12)..];
        let context = format!("{context}, {loss:?} in the last of {last_steps:?}");
        World::recover(files.crash(Loss::Nothing), model.clone(), &context);
    }
}

#[test]
fn power_losses_at_random_in_long_lives() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("MILENA_SEED") {
        return live(seed);
    }
    for seed in 0..number("MILENA_SEEDS").unwrap_or(60) {
        live(seed);
    }
}
