//! The power fails: at every operation of a short history, and at random in long ones.
//!
//! Replay a random failure with `MILENA_SEED=<seed> cargo test -p milena-log --test power_loss`; more seeds
//! with `MILENA_SEEDS=<count>`.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use milena_log::directory::{Done, Options};
use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_log::{Directory, Log};
use support::{FOLDER, Model, NAME, NOW_MS, Random, Step, World, config, open};

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

/// Nothing was synced yet but what rolling syncs: what is left begins where the log began.
#[test]
fn log_that_was_never_synced_does_not_begin_in_its_middle() {
    let append = Step::Append { producer: 1, count: 3 };
    let steps = [append, append, append, append, append, append, append, append];
    let delete = [Step::DeleteRecords { batches: 4 }, append, append];
    let history: Vec<Step> = steps.iter().chain(&delete).copied().collect();
    for at in 0.. {
        let mut world = World::new();
        world.files.inject(Fault::power_loss(Operation::Any, at));
        let stopped_in = play(&mut world, &history);
        for seed in 0..40 {
            let context = format!("power loss at operation {at}, in {stopped_in:?}, seed {seed}");
            World::recover(world.files.crash(Loss::Random(seed)), world.model.clone(), &context);
        }
        if stopped_in.is_none() {
            break;
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
    let mut files = MemoryFiles::new();
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

/// The flusher runs beside the appends; whatever it says is durable must be.
#[test]
fn what_the_flusher_thread_acknowledged_survives() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let files = MemoryFiles::new();
        let options = Options { flusher_thread: true, ..Options::default() };
        let directory = Directory::open(Arc::new(files.clone()), Path::new(FOLDER), options).expect("memory");
        let (log, _) = Log::open(&directory, NAME, config(), NOW_MS).expect("memory");
        let mut world = World { files, directory, log, model: Model::default() };
        world.files.inject(Fault::power_loss(Operation::Any, random.below(300)));
        let acknowledged = Arc::new(AtomicI64::new(0));
        for _ in 0..2_000 {
            if world.step(Step::Append { producer: 1 + random.below(2) as i64, count: 1 }).is_err() {
                break;
            }
            let told = Arc::clone(&acknowledged);
            let done: Done = Box::new(move |durable| {
                if let Ok(offset) = durable {
                    told.fetch_max(offset, Ordering::SeqCst);
                }
            });
            world.directory.request_sync(world.log.durability(), Some(done));
        }
        let World { files, directory, log, mut model } = world;
        // Ends the thread, so that all it has to say is said.
        drop((log, directory));
        model.synced_offset = acknowledged.load(Ordering::SeqCst);
        let context = format!("seed {seed}, {} acknowledged", model.synced_offset);
        World::recover(files.crash(Loss::Unsynced), model, &context);
    }
}
