//! What a start makes of partition folders that are not as they were left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::files::Files as _;
use milena_log::memory_files::{Fault, MemoryFiles, Operation};
use milena_protocol::ErrorCode;

use super::Error;
use super::test_node::{Node, eventually};

const EIO: i32 = 5;
const EMFILE: i32 = 24;

/// A stopped node with one record in partition 0 of `events`, and that partition's `partition.metadata`.
fn stopped() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    node.produce("events", "a");
    node.stop();
    let file = directory.path().join("events-0/partition.metadata");
    (directory, file)
}

fn strays(directory: &tempfile::TempDir) -> usize {
    let names = fs::read_dir(directory.path())
        .expect("it is there")
        .map(|entry| entry.expect("readable").file_name());
    names.filter(|name| name.to_string_lossy().ends_with("-stray")).count()
}

#[test]
fn records_whose_topic_id_is_damaged_are_neither_set_aside_nor_begun_anew() {
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;
    let damages: [(&str, Damage); 6] = [
        ("gone", |_| None),
        ("empty", |_| Some(Vec::new())),
        ("cut", |_| Some(b"version: 0\ntopic_id: x".to_vec())),
        ("zeros", |_| Some(vec![0; 40])),
        ("too large", |_| Some(vec![b'x'; 2 << 20])),
        ("another id, one character away", |mut whole| {
            let digit = whole.iter().rposition(|byte| *byte == b' ').expect("version: 0 topic_id: …") + 5;
            whole[digit] = if whole[digit] == b'A' { b'B' } else { b'A' };
            Some(whole)
        }),
    ];
    for (damage, make) in damages {
        let (directory, file) = stopped();
        let whole = fs::read(&file).expect("it is there");
        match make(whole.clone()) {
            Some(bytes) => fs::write(&file, bytes).expect("writable"),
            None => fs::remove_file(&file).expect("writable"),
        }
        for _ in 0..2 {
            let node = Node::start(directory.path());
            let found = node.lifecycle.partitions().by_name("events", 0);
            assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError), "{damage}");
            node.lifecycle.partitions().by_name("events", 1).expect("its other partition serves");
            node.stop();
        }
        assert_eq!(strays(&directory), 0, "{damage}");
        fs::write(&file, whole).expect("writable");
        let node = Node::start(directory.path());
        assert_eq!(node.consume("events"), ["a"]);
        node.stop();
    }
}

#[test]
fn folder_that_a_kill_left_without_records_is_taken_over() {
    let (directory, _) = stopped();
    // Partition 1 as a process leaves it that dies between creating the log and naming its topic.
    fs::remove_file(directory.path().join("events-1/partition.metadata")).expect("it is there");
    let node = Node::start(directory.path());
    node.lifecycle.partitions().by_name("events", 1).expect("it serves");
    node.stop();
    assert_eq!(strays(&directory), 0);
    assert!(directory.path().join("events-1/partition.metadata").exists());
}

#[test]
fn directory_with_partitions_that_lost_its_identity_is_refused_by_name() {
    let (directory, _) = stopped();
    fs::remove_file(directory.path().join("meta.properties")).expect("it is there");
    let properties = [("log.dirs", directory.path().to_str().expect("text"))];
    let refused = Node::start_on(Arc::new(milena_log::RealFiles), &properties);
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("meta.properties") && error.contains(properties[0].1), "{error}");
}

#[test]
fn partition_that_began_anew_beside_another_topics_folder_is_not_set_aside_itself() {
    let (directory, file) = stopped();
    fs::write(&file, format!("version: 0\ntopic_id: {}", super::new_id())).expect("writable");
    let node = Node::start(directory.path());
    assert_eq!(node.produce("events", "b").base_offset, 0);
    assert_eq!(node.consume("events"), ["b"]);
    node.stop();
    assert_eq!(strays(&directory), 1, "the other topic's");
}

/// A log directory that cannot be listed may hold any partition.
#[test]
fn partitions_of_a_directory_that_cannot_be_listed_do_not_begin_anew() {
    let files = MemoryFiles::new();
    let properties = [("log.dirs", "/data,/more"), ("metadata.log.dir", "/meta")];
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("memory");
    node.create("events", &[]);
    node.produce("events", "a");
    node.stop();
    let folders: Vec<_> = ["/data", "/more"]
        .into_iter()
        .filter(|path| files.metadata(&Path::new(path).join("events-0/partition.metadata")).is_ok())
        .collect();
    let unreadable = format!("{}/events-0/partition.metadata", folders[0]);
    files.inject(Fault::errno(Operation::Open, 0, EIO).on_paths(&unreadable).lasting());
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("the other directory serves");
    let found = node.lifecycle.partitions().by_name("events", 0);
    assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError));
    node.stop();
    files.heal();
    let node = Node::start_on(Arc::new(files), &properties).expect("memory");
    assert_eq!(node.consume("events"), ["a"]);
    node.stop();
}

/// Records of another topic of that name would be served as this one's.
#[test]
fn folder_that_cannot_be_listed_is_not_taken_for_absent() {
    let files = MemoryFiles::new();
    let properties = [("log.dirs", "/data"), ("metadata.log.dir", "/meta")];
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("memory");
    node.create("events", &[]);
    node.produce("events", "of another topic");
    node.stop();
    let tag = Path::new("/data/events-0/partition.metadata");
    files.put(tag, format!("version: 0\ntopic_id: {}", super::new_id()).as_bytes());
    files.inject(Fault::errno(Operation::Open, 0, EMFILE).on_paths("/data/events-0").lasting());
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("the rest serves");
    let found = node.lifecycle.partitions().by_name("events", 0);
    assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError));
    files.heal();
    eventually("it begins anew", || node.lifecycle.partitions().by_name("events", 0).is_ok());
    assert_eq!(node.consume("events"), [""; 0]);
    node.stop();
}

/// A stopped node with one record in partition 0 of `events`, and the folders of that partition in its two directories.
fn stopped_on_two() -> (tempfile::TempDir, String, [PathBuf; 2]) {
    let root = tempfile::tempdir().expect("temporary directory");
    let directories = ["one", "two"].map(|name| root.path().join(name));
    let log_dirs = directories.each_ref().map(|path| path.display().to_string()).join(",");
    let node = start_on_two(&log_dirs).expect("starts");
    node.create("events", &[]);
    node.produce("events", "a");
    node.stop();
    (root, log_dirs, directories.map(|path| path.join("events-0")))
}

fn start_on_two(log_dirs: &str) -> Result<Node, Error> {
    Node::start_on(Arc::new(milena_log::RealFiles), &[("log.dirs", log_dirs)])
}

/// The folder that is there is copied to where the other would be; the copy.
fn copied(folders: &[PathBuf; 2]) -> &PathBuf {
    let (from, to) =
        if folders[0].exists() { (&folders[0], &folders[1]) } else { (&folders[1], &folders[0]) };
    fs::create_dir(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let name = entry.expect("readable").file_name();
        fs::copy(from.join(&name), to.join(&name)).expect("writable");
    }
    to
}

#[test]
fn partition_in_two_directories_stops_the_start_and_loses_nothing() {
    let (_root, log_dirs, folders) = stopped_on_two();
    let copy = copied(&folders);
    for _ in 0..2 {
        let error = start_on_two(&log_dirs).err().expect("nobody can know which of them to serve");
        let message = error.to_string();
        let names = folders.each_ref().map(|folder| folder.display().to_string());
        assert!(matches!(error, Error::Twice(_)) && message.contains("events-0"), "{message}");
        assert!(names.iter().all(|name| message.contains(name)), "{message}");
        assert!(folders.iter().all(|folder| folder.exists()), "both are where they were");
    }
    fs::remove_dir_all(copy).expect("writable");
    let node = start_on_two(&log_dirs).expect("it is there once");
    assert_eq!(node.consume("events"), ["a"]);
    node.stop();
}

#[test]
fn partition_in_two_directories_that_nobody_wants_is_set_aside_in_both() {
    let (root, log_dirs, folders) = stopped_on_two();
    copied(&folders);
    for folder in &folders {
        let stranger = format!("version: 0\ntopic_id: {}", milena_protocol::types::Uuid::from_bytes([7; 16]));
        fs::write(folder.join("partition.metadata"), stranger).expect("writable");
    }
    let node = start_on_two(&log_dirs).expect("they belong to no topic");
    node.stop();
    for directory in ["one", "two"] {
        let names = fs::read_dir(root.path().join(directory)).expect("readable");
        let names = names.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
        assert_eq!(names.filter(|name| name.ends_with("-stray")).count(), 1, "{directory}");
    }
}

fn names(files: &MemoryFiles) -> Vec<String> {
    let entries = files.list(Path::new("/data")).expect("memory");
    let mut names: Vec<_> =
        entries.into_iter().map(|entry| entry.name).filter(|name| name.contains("events")).collect();
    names.sort();
    names
}

#[test]
fn partition_that_could_not_be_created_for_want_of_descriptors_is_created_later() {
    for operation in [Operation::Create, Operation::SyncDir, Operation::Open] {
        let files = MemoryFiles::new();
        let properties = [("log.dirs", "/data"), ("metadata.log.dir", "/meta")];
        let node = Node::start_on(Arc::new(files.clone()), &properties).expect("memory");
        files.inject(Fault::errno(operation, 0, EMFILE).on_paths("/data/events-0").lasting());
        node.create("events", &[]);
        let of = |node: &Node| node.lifecycle.partitions().by_name("events", 0).map(|_| ());
        if of(&node).is_ok() {
            // Nothing of that kind is done when a partition is made.
            assert_eq!(operation, Operation::Open);
        } else {
            assert_eq!(of(&node), Err(ErrorCode::KafkaStorageError), "{operation:?}");
        }
        files.heal();
        eventually("there are descriptors again", || of(&node).is_ok());
        node.produce("events", "a");
        node.stop();
        let node = Node::start_on(Arc::new(files.clone()), &properties).expect("memory");
        assert_eq!(node.consume("events"), ["a"], "{operation:?}");
        node.stop();
        assert_eq!(names(&files), ["events-0", "events-1"], "{operation:?}: nothing was set aside");
    }
}

#[test]
fn partition_that_could_not_be_opened_for_want_of_descriptors_is_opened_later() {
    let files = MemoryFiles::new();
    let properties = [("log.dirs", "/data"), ("metadata.log.dir", "/meta")];
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("memory");
    node.create("events", &[]);
    node.produce("events", "a");
    node.crash();
    files.inject(
        Fault::errno(Operation::Open, 0, EMFILE)
            .on_paths("/data/events-0/00000000000000000000.log")
            .lasting(),
    );
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("the rest serves");
    let found = node.lifecycle.partitions().by_name("events", 0);
    assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError));
    files.heal();
    eventually("it is opened", || node.lifecycle.partitions().by_name("events", 0).is_ok());
    assert_eq!(node.consume("events"), ["a"]);
    node.stop();
    assert_eq!(names(&files), ["events-0", "events-1"]);
}
