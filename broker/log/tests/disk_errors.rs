//! Each operation of a short history fails once: the directory goes offline, stays so, and a restart finds
//! everything that was acknowledged.

mod support;

use milena_log::memory_files::{Fault, Loss, Operation};
use milena_log::{AppendError, Error};
use support::{Step, World};

const EIO: i32 = 5;

const HISTORY: &[Step] = &[
    Step::Append { producer: 1, count: 3 },
    Step::Append { producer: 0, count: 2 },
    Step::Sync,
    Step::Append { producer: 2, count: 4 },
    Step::Append { producer: 1, count: 2 },
    Step::Append { producer: 1, count: 3 },
    Step::Lead,
    Step::Append { producer: 0, count: 3 },
    Step::Checkpoint,
    Step::Append { producer: 2, count: 3 },
    Step::Append { producer: 1, count: 3 },
    Step::Truncate { batches: 1 },
    Step::Append { producer: 2, count: 2 },
    Step::Append { producer: 0, count: 4 },
    Step::DeleteRecords { batches: 5 },
    Step::Sync,
    Step::Checkpoint,
    Step::Append { producer: 1, count: 2 },
];

/// Plays until a step fails.
fn play(world: &mut World, steps: &[Step]) -> Option<(Step, AppendError)> {
    steps.iter().copied().find_map(|step| world.step(step).err().map(|error| (step, error)))
}

fn is_offline(error: &AppendError) -> bool {
    matches!(error, AppendError::Storage(Error::DirectoryOffline { .. }))
}

/// Nothing works any more, and nothing is acknowledged.
fn assert_offline(world: &mut World, context: &str) {
    assert!(world.directory.offline_reason().is_some(), "{context}");
    let model = world.model.clone();
    for step in [
        Step::Append { producer: 0, count: 1 },
        Step::Sync,
        Step::Checkpoint,
        Step::Truncate { batches: 1 },
        Step::Append { producer: 0, count: 1 },
    ] {
        match world.step(step) {
            Err(error) if is_offline(&error) => {}
            other => panic!("{context}: {step:?} of an offline directory gave {other:?}"),
        }
    }
    // What failed since then never reached the log.
    world.model = model;
}

fn check_recovery(world: World, context: &str) {
    for loss in [Loss::Nothing, Loss::Unsynced, Loss::Random(1), Loss::Random(2)] {
        let files = world.files.crash(loss);
        let mut recovered = World::recover(files, world.model.clone(), &format!("{context}, {loss:?}"));
        let steps = [Step::Append { producer: 1, count: 1 }, Step::Sync];
        assert!(play(&mut recovered, &steps).is_none(), "{context}: the log goes on after a restart");
    }
}

/// Fails the first, the second … operation of a kind until there is none left to fail. Says how many struck.
fn fail_each(operation: Operation, fault: impl Fn(u64) -> Fault) -> u64 {
    for at in 0.. {
        let mut world = World::new();
        world.files.inject(fault(at));
        let failed = play(&mut world, HISTORY);
        let context = format!("{operation:?} {at} failed in {:?}", failed.as_ref().map(|(step, _)| step));
        if world.files.faults_count() > 0 {
            assert!(failed.is_none(), "{context}: nothing was injected yet");
            return at;
        }
        if let Some((_, error)) = &failed {
            assert!(is_offline(error), "{context}: {error}");
            world.files.heal();
            assert_offline(&mut world, &context);
        }
        check_recovery(world, &context);
    }
    unreachable!("histories end")
}

#[test]
fn failed_writes_take_the_directory_offline() {
    let operation = Operation::Write;
    assert!(fail_each(operation, |at| Fault::errno(operation, at, EIO)) > 10);
}

#[test]
fn failed_syncs_take_the_directory_offline() {
    for operation in [Operation::Sync, Operation::SyncDir] {
        assert!(fail_each(operation, |at| Fault::errno(operation, at, EIO)) > 3, "{operation:?}");
    }
}

#[test]
fn failed_changes_of_names_take_the_directory_offline() {
    for operation in [Operation::Create, Operation::Rename, Operation::Remove, Operation::Truncate] {
        assert!(fail_each(operation, |at| Fault::errno(operation, at, EIO)) > 0, "{operation:?}");
    }
}

#[test]
fn a_write_that_fails_in_the_middle_leaves_a_torn_tail_and_no_more() {
    let operation = Operation::Write;
    for torn_bytes in [1, 40, 70] {
        for at in 0..8 {
            let mut world = World::new();
            world.files.inject(Fault::short_write(at, torn_bytes));
            world.files.inject(Fault::errno(operation, at + 1, EIO));
            let failed = play(&mut world, HISTORY);
            let context = format!("write {at} tore after {torn_bytes} bytes in {failed:?}");
            check_recovery(world, &context);
        }
    }
}

#[test]
fn short_writes_are_finished() {
    for at in 0..12 {
        let mut world = World::new();
        world.files.inject(Fault::short_write(at, 7));
        assert!(play(&mut world, HISTORY).is_none(), "write {at} was short");
        assert_eq!(world.files.faults_count(), 0);
        let World { files, model, .. } = world;
        World::recover(files.crash(Loss::Nothing), model, &format!("write {at} was short"));
    }
}

#[test]
fn a_full_disk_loses_nothing_and_serves_again_after_a_restart_with_room() {
    for bytes_max in [400, 900, 1_500, 2_500, 4_000] {
        let mut world = World::new();
        world.files.set_capacity(bytes_max);
        let mut steps = [Step::Append { producer: 1, count: 2 }, Step::Sync].into_iter().cycle();
        let context = format!("a disk of {bytes_max} bytes");
        let failed = steps.by_ref().take(200).find_map(|step| world.step(step).err());
        let error = failed.unwrap_or_else(|| panic!("{context} does not hold 100 batches"));
        assert!(is_offline(&error), "{context}: {error}");
        assert_offline(&mut world, &context);
        world.files.set_capacity(1 << 30);
        check_recovery(world, &context);
    }
}

/// The process has no descriptor left for a while, at every point of a history: what fails has changed nothing and
/// may be repeated, and the directory stays online but where half of something was done.
#[test]
fn shortage_of_descriptors_changes_nothing_that_a_repetition_does_not_mend() {
    const EMFILE: i32 = 24;
    let mut refused_count = 0;
    for operation in [Operation::Create, Operation::Open, Operation::SyncDir] {
        for at in 0.. {
            let mut world = World::new();
            world.files.inject(Fault::errno(operation, at, EMFILE).lasting());
            let context = format!("no descriptors from {operation:?} {at} on");
            let failed = HISTORY.iter().copied().find_map(|step| {
                let error = world.step_or_nothing(step).err()?;
                if is_offline(&error) {
                    return Some(step);
                }
                assert!(
                    matches!(&error, AppendError::Storage(error) if error.is_retriable()),
                    "{context}: {error}"
                );
                refused_count += 1;
                world.files.heal();
                world.step(step).err().map(|error| panic!("{context}: {step:?} again: {error}"))
            });
            check_recovery(world, &format!("{context}, given up in {failed:?}"));
            let mut whole = World::new();
            whole.files.inject(Fault::errno(operation, at, EMFILE));
            play(&mut whole, HISTORY);
            if whole.files.faults_count() > 0 {
                break;
            }
        }
    }
    assert!(refused_count > 10, "{refused_count}");
}

#[test]
fn epoch_file_that_lacks_a_descriptor_refuses_the_append_and_costs_no_directory() {
    let mut world = World::new();
    world.step(Step::Append { producer: 1, count: 2 }).expect("memory");
    world.step(Step::Lead).expect("memory");
    world
        .files
        .inject(Fault::errno(Operation::Create, 0, 24).on_paths("leader-epoch-checkpoint.tmp").lasting());
    for _ in 0..2 {
        let error = world.step_or_nothing(Step::Append { producer: 1, count: 3 }).expect_err("no descriptor");
        assert!(matches!(&error, AppendError::Storage(error) if error.is_retriable()), "{error}");
        assert_eq!(world.directory.offline_reason(), None);
    }
    world.files.heal();
    for step in [Step::Append { producer: 1, count: 3 }, Step::Sync, Step::Checkpoint] {
        world.step(step).expect("there are descriptors again");
    }
    check_recovery(world, "the epoch file was written late");
}
