use std::path::{Path, PathBuf};

use milena_log::Config;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::records::{Batches, Builder};
use milena_protocol::types::Uuid;
use milena_state::config::topic::Settings;
use milena_state::metadata::Partition as Assigned;
use milena_state::metadata::record::RecoveryState;
use milena_state::partition::follower::DivergingEpoch;

use super::*;
use crate::partition::{Brought, Isolation, Myself, Read};

const NOW_MS: i64 = 1_000;
const ME: Myself = Myself { broker_id: 2, broker_epoch: 20, replica_lag_time_max_ms: 1_000 };
const TOPIC: Uuid = Uuid::from_u128(7);
/// More than a move takes.
const STEPS_MAX: usize = 50;

struct Scene {
    directories: Directories,
    partition: Arc<Partition>,
}

impl Scene {
    /// A replica in the first of two directories, which follows broker 1 in its first epoch.
    fn following() -> Self {
        let paths = [PathBuf::from("/a"), PathBuf::from("/b")];
        let ids = std::cell::Cell::new(100);
        let new_id = || {
            ids.set(ids.get() + 1);
            Uuid::from_u128(ids.get())
        };
        let directories = Directories::open(Arc::new(MemoryFiles::new()), &paths, 2, Some("cluster"), new_id)
            .expect("memory");
        let partition = directories.open_partition(
            (&"t".into(), TOPIC),
            0,
            None,
            &Arc::new(Settings::kafka_defaults()),
            &Arc::new(Config::default()),
        );
        let scene = Self { partition: partition.expect("memory"), directories };
        scene.assign(1, 1);
        scene
    }

    fn assign(&self, leader: i32, leader_epoch: i32) {
        let assigned = Assigned {
            replicas: vec![1, 2],
            isr: vec![1, 2],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: Some(leader),
            leader_recovery_state: RecoveryState::Recovered,
            leader_epoch,
            partition_epoch: leader_epoch,
            directories: vec![Uuid::ZERO; 2],
            eligible_leader_replicas: Vec::new(),
            last_known_elr: Vec::new(),
        };
        self.partition.assign(&assigned, ME, NOW_MS);
    }

    /// Takes a batch of these values over from the leader.
    fn replicate(&self, leader_epoch: i32, base_offset: i64, values: &[&str]) {
        let mut batch = Builder::new().base_offset(base_offset).leader_epoch(leader_epoch);
        for value in values {
            batch.append(NOW_MS, None, Some(value.as_bytes()), &[]).expect("fits");
        }
        let records = batch.finish().expect("fits");
        let brought = Brought { leader_epoch, records: &records, high_watermark: 0, log_start_offset: 0 };
        self.partition.replicate(brought, NOW_MS).expect("it follows");
    }

    fn cut_to(&self, leader_epoch: i32, end_offset: i64) {
        let diverging = DivergingEpoch { epoch: leader_epoch, end_offset };
        self.partition.cut(leader_epoch, diverging, 0).expect("it follows");
    }

    fn begin(&self) -> Job {
        let from = self.partition.directory();
        let target = self.directories.online().iter().find(|directory| directory.path() != from.path());
        let future = self.partition.relocate(target.expect("there are two")).expect("may be moved");
        Job::new(&self.partition, future.expect("it is elsewhere"))
    }

    /// Does steps until it has copied that much.
    fn copied(&self, mut job: Job, upto: i64) -> Job {
        for _ in 0..STEPS_MAX {
            if job.future.log_end_offset() >= upto {
                return job;
            }
            job = match job.step(&self.directories) {
                Stepped::On(job, _) => job,
                _ => panic!("nothing is in its way"),
            };
        }
        panic!("{} of {upto}", job.future.log_end_offset());
    }

    fn finished(&self, mut job: Job) {
        for _ in 0..STEPS_MAX {
            match job.step(&self.directories) {
                Stepped::On(next, _) => job = next,
                Stepped::Done => return,
                _ => panic!("nothing is in its way"),
            }
        }
        panic!("it does not end");
    }

    /// All records, in order, and the leader epochs with their starts.
    fn contents(&self) -> (Vec<String>, Vec<(i32, i64)>) {
        self.partition.with_log(|log| {
            let epochs = log.epochs().iter().map(|entry| (entry.epoch, entry.start_offset)).collect();
            let (mut values, mut offset) = (Vec::new(), log.log_start_offset());
            while offset < log.log_end_offset() {
                let read = milena_log::Read {
                    from_offset: offset,
                    upto_offset: i64::MAX,
                    max_bytes: 1 << 20,
                    min_one_batch: true,
                    hot_only: false,
                };
                let slice = log.read(read).expect("readable").expect("below the end");
                let bytes = slice.read().expect("memory");
                for batch in Batches::new(&bytes) {
                    let batch = batch.expect("whole");
                    for record in batch.records().expect("plain") {
                        let value = record.expect("whole").value.expect("a value").to_vec();
                        values.push(String::from_utf8(value).expect("text"));
                    }
                    offset = batch.header().next_offset();
                }
            }
            (values, epochs)
        })
    }

    fn is_in(&self, path: &str) -> bool {
        self.partition.directory().path() == Path::new(path)
    }
}

#[test]
fn what_is_cut_from_the_log_is_cut_from_its_copy_also_when_the_log_has_grown_again() {
    let scene = Scene::following();
    let home = if scene.is_in("/a") { "/a" } else { "/b" };
    scene.replicate(1, 0, &["a", "b", "c"]);
    scene.replicate(1, 3, &["lost", "lost"]);
    let job = scene.copied(scene.begin(), 5);
    scene.cut_to(1, 3);
    scene.assign(1, 2);
    scene.replicate(2, 3, &["d", "e", "f", "g"]);
    scene.finished(job);
    assert!(!scene.is_in(home) && scene.partition.future_replica().is_none());
    let all = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).to_vec();
    assert_eq!(scene.contents(), (all, vec![(1, 0), (2, 3)]));
}

#[test]
fn a_copy_of_an_earlier_process_is_cut_where_the_histories_part() {
    let scene = Scene::following();
    scene.replicate(1, 0, &["a", "b", "c"]);
    scene.replicate(1, 3, &["lost", "lost"]);
    let job = scene.copied(scene.begin(), 5);
    // The log was cut, and grew, while nobody took notes.
    scene.cut_to(1, 3);
    scene.assign(1, 2);
    scene.replicate(2, 3, &["d", "e", "f", "g"]);
    let folder = job.future.folder().to_owned();
    let future = FutureReplica::new(Arc::clone(job.future.directory()), folder);
    drop(job);
    scene.partition.resume(&future);
    scene.finished(Job::resumed(&scene.partition, future));
    let all = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).to_vec();
    assert_eq!(scene.contents(), (all, vec![(1, 0), (2, 3)]));
}

#[test]
fn records_that_were_deleted_are_not_copied_and_the_copy_begins_where_the_log_does() {
    let scene = Scene::following();
    scene.replicate(1, 0, &["a", "b"]);
    scene.replicate(1, 2, &["c", "d"]);
    scene.replicate(1, 4, &["e"]);
    // In the middle of a batch.
    scene.partition.with_log(|log| assert!(log.set_log_start_offset(3)));
    scene.finished(scene.begin());
    let start = scene.partition.with_log(|log| (log.log_start_offset(), log.local_log_start_offset()));
    assert_eq!(start, (3, 3));
    assert_eq!(scene.contents().0, ["c", "d", "e"], "the batch that it begins within is there whole");
}

#[test]
fn a_follower_goes_on_in_its_new_place() {
    let scene = Scene::following();
    scene.replicate(1, 0, &["a"]);
    scene.finished(scene.begin());
    scene.replicate(1, 1, &["b"]);
    scene.assign(2, 2);
    let readout = scene.partition.read(Read {
        offset: 0,
        bytes_max: 1 << 20,
        first_batch_whole: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    });
    assert_eq!(readout.expect("it leads").log_end_offset, 2);
    assert_eq!(scene.contents().0, ["a", "b"]);
}

#[test]
fn a_log_that_is_being_moved_is_not_compacted() {
    let scene = Scene::following();
    scene.replicate(1, 0, &["a"]);
    let compacts = Arc::new(Config { compact: true, ..Config::default() });
    scene.partition.with_log(|log| log.take_config(compacts));
    assert!(scene.partition.compaction_view().is_some());
    let job = scene.begin();
    assert!(scene.partition.compaction_view().is_none());
    scene.partition.stay();
    assert!(matches!(job.step(&scene.directories), Stepped::Over));
}

#[test]
fn a_log_that_starts_later_than_the_mark_of_its_copy_says_has_it_marked_anew_first() {
    for syncs_count in [0, SYNCS_WITHOUT_LOCK_MAX] {
        let scene = Scene::following();
        let home = scene.partition.directory();
        scene.replicate(1, 0, &["a", "b", "c", "d"]);
        let mut job = scene.begin();
        while job.marked_start.is_none() {
            let Stepped::On(next, _) = job.step(&scene.directories) else { panic!("nothing is in its way") };
            job = next;
        }
        assert_eq!(job.marked_start, Some(0));
        scene.partition.with_log(|log| assert!(log.set_log_start_offset(3)));
        job.syncs_count = syncs_count;
        // At the last under the lock, so that a log whose start rises all the time moves too.
        job = match (job.step(&scene.directories), syncs_count) {
            (Stepped::On(next, _), 0) => next,
            (Stepped::Done, SYNCS_WITHOUT_LOCK_MAX) => {
                assert_ne!(scene.partition.directory().path(), home.path());
                assert_eq!(scene.partition.with_log(|log| log.log_start_offset()), 3);
                continue;
            }
            _ => panic!("after {syncs_count} syncs"),
        };
        assert_eq!((job.marked_start, scene.partition.directory().path()), (Some(3), home.path()));
        scene.finished(job);
        assert_ne!(scene.partition.directory().path(), home.path());
        assert_eq!(scene.partition.with_log(|log| log.log_start_offset()), 3);
    }
}
