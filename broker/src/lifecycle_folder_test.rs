//! What a start makes of partition folders that are not as they were left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::files::Files as _;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::ErrorCode;

use super::test_node::Node;

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
    let damages: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"version: 0\ntopic_id: x"), Some(&[0; 40])];
    for damage in damages {
        let (directory, file) = stopped();
        let whole = fs::read(&file).expect("it is there");
        match damage {
            Some(bytes) => fs::write(&file, bytes).expect("writable"),
            None => fs::remove_file(&file).expect("writable"),
        }
        for _ in 0..2 {
            let node = Node::start(directory.path());
            let found = node.lifecycle.partitions().by_name("events", 0);
            assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError), "{damage:?}");
            node.lifecycle.partitions().by_name("events", 1).expect("its other partition serves");
            node.stop();
        }
        assert_eq!(strays(&directory), 0, "{damage:?}");
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
    let damaged = Path::new(folders[0]).join("events-0/partition.metadata");
    let whole = milena_log::files::read_file(&files, &damaged, 1 << 10).expect("it is there");
    // More than such a file can be: reading it fails.
    files.put(&damaged, &vec![b'x'; 2 << 20]);
    let node = Node::start_on(Arc::new(files.clone()), &properties).expect("the other directory serves");
    let found = node.lifecycle.partitions().by_name("events", 0);
    assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError));
    node.stop();
    files.put(&damaged, &whole);
    let node = Node::start_on(Arc::new(files), &properties).expect("memory");
    assert_eq!(node.consume("events"), ["a"]);
    node.stop();
}
