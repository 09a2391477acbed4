use std::path::Path;

use milena_log::directory::Options;
use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_state::metadata::Record;
use milena_state::metadata::record::{FeatureLevel, TopicRecord};

use super::*;

const DIRECTORY: &str = "/data";
const MIB: usize = 1 << 20;
/// ENOSPC
const NO_SPACE: i32 = 28;

/// Topics enough for several blocks, and a level.
fn image(index: i64, metadata_version: i16) -> Image {
    let topic = |number: u128| {
        let topic_id = milena_protocol::types::Uuid::from_u128(number + 1);
        Record::Topic(TopicRecord { name: format!("topic-{number}"), topic_id })
    };
    let level = FeatureLevel { name: "metadata.version".to_owned(), level: metadata_version };
    let records = (0..2_500).map(topic).chain([Record::FeatureLevel(level)]);
    Image::from_snapshot(Applied { index, term: 3 }, records).expect("the records fit")
}

struct Scene {
    files: MemoryFiles,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
}

impl Scene {
    fn new() -> Self {
        let files = MemoryFiles::new();
        let options = Options { flusher_thread: false, ..Options::default() };
        let directory = Directory::open(Arc::new(files.clone()), Path::new(DIRECTORY), options);
        Self { files, directory: directory.expect("opens"), metrics: Arc::new(Metrics::new()) }
    }

    /// As the next start of a broker of that cluster has it.
    fn checkpoint(&self, cluster_id: &str) -> Checkpoint {
        let policy = SnapshotPolicy { bytes: 20 * MIB as u64, interval: Some(Duration::from_secs(3_600)) };
        let (files, directory) = (Arc::new(self.files.clone()), Arc::clone(&self.directory));
        Checkpoint::new(files, directory, cluster_id.into(), policy, Arc::clone(&self.metrics))
    }
}

fn file() -> PathBuf {
    Path::new(DIRECTORY).join(NAME)
}

#[test]
fn the_next_start_goes_on_from_what_was_written() {
    let scene = Scene::new();
    assert_eq!(scene.checkpoint("ours").load(), None);
    scene.checkpoint("ours").write(&image(70, 30)).expect("written");
    assert_eq!(scene.checkpoint("ours").load(), Some(image(70, 30)));
    // A broker that stops before it published anything leaves what it found.
    scene.checkpoint("ours").write(&Image::default()).expect("nothing to do");
    assert_eq!(scene.checkpoint("ours").load(), Some(image(70, 30)));
}

#[test]
fn what_is_damaged_foreign_or_newer_is_discarded_and_replaced() {
    let scene = Scene::new();
    scene.checkpoint("ours").write(&image(70, 30)).expect("written");
    let whole = scene.files.contents(&file());
    let check = |bytes: &[u8], cluster_id: &str, what: &str| {
        scene.files.put(&file(), bytes);
        let checkpoint = scene.checkpoint(cluster_id);
        assert_eq!(checkpoint.load(), None, "{what}");
        // The same place in the log, and yet what is there is of no use.
        checkpoint.write(&image(70, 30)).expect("written");
        assert_eq!(scene.checkpoint(cluster_id).load(), Some(image(70, 30)), "{what}");
    };
    for end in [0, 1, 60, whole.len() / 2, whole.len() - 1] {
        check(&whole[..end], "ours", "cut short");
    }
    for position in (0..whole.len()).step_by(whole.len() / 50) {
        let mut flipped = whole.clone();
        flipped[position] ^= 1;
        scene.files.put(&file(), &flipped);
        // The place of a batch in the file says nothing, and is below no checksum.
        let loaded = scene.checkpoint("ours").load();
        assert!(loaded.is_none() || loaded == Some(image(70, 30)), "a flipped bit at {position} is a lie");
    }
    check(&whole, "another", "of another cluster");
    let newer = scene.checkpoint("ours");
    newer.write(&image(80, 31)).expect("written");
    check(&scene.files.contents(&file()), "ours", "of a newer version");
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_one_before() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("ours");
    checkpoint.write(&image(70, 30)).expect("written");
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename] {
        scene.files.inject(Fault::errno(operation, 0, NO_SPACE));
        checkpoint.write(&image(90, 30)).expect_err("the disk fails");
        scene.files.heal();
        assert_eq!(scene.checkpoint("ours").load(), Some(image(70, 30)), "{operation:?}");
    }
    checkpoint.write(&image(90, 30)).expect("written");
    assert_eq!(scene.checkpoint("ours").load(), Some(image(90, 30)));
}

#[test]
fn a_power_failure_leaves_the_one_before_or_the_new_one() {
    let mut seen = Vec::new();
    for after in 0.. {
        let scene = Scene::new();
        let checkpoint = scene.checkpoint("ours");
        checkpoint.write(&image(70, 30)).expect("written");
        scene.files.inject(Fault::power_loss(Operation::Any, after));
        let outcome = checkpoint.write(&image(90, 30));
        let is_last = outcome.is_ok();
        drop(checkpoint);
        let scene = Scene { files: scene.files.crash(Loss::Unsynced), ..scene };
        let index = scene.checkpoint("ours").load().map(|image| image.applied().index);
        assert!(matches!(index, Some(70 | 90)), "{index:?} after {after} operations");
        seen.push(index);
        if is_last {
            break;
        }
    }
    assert!(seen.len() > 3 && seen.first() == Some(&Some(70)) && seen.last() == Some(&Some(90)), "{seen:?}");
}

#[test]
fn a_checkpoint_is_due_by_bytes_entries_and_time() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("ours");
    let at = |index| Applied { index, term: 3 };
    let (now, hour) = (Duration::ZERO, Duration::from_secs(3_600));
    assert!(!checkpoint.is_due(at(0), hour), "nothing is published");
    assert!(checkpoint.is_due(at(100), now), "there is none");
    scene.metrics.metadata_fetched(MIB);
    checkpoint.write(&image(100, 30)).expect("written");
    assert!(!checkpoint.is_due(at(100), hour), "nothing happened");
    assert!(!checkpoint.is_due(at(101), now));
    assert!(checkpoint.is_due(at(101), hour));
    assert!(checkpoint.is_due(at(100 + ENTRIES_MAX), now), "controllers may purge what comes after");
    assert!(checkpoint.is_due(at(99), now), "it was of another log");
    scene.metrics.metadata_fetched(19 * MIB);
    assert!(!checkpoint.is_due(at(101), now));
    scene.metrics.metadata_fetched(MIB);
    assert!(checkpoint.is_due(at(101), now));
}
