//! Disks that fill up or fail: the log directory goes offline, KAFKA_STORAGE_ERROR is answered, the process
//! stays, and after a restart everything acknowledged is there.
//!
//! The metadata has a directory of its own, but for one test: faults are then those of partitions alone.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;
use milena_tests::disk::{Injector, SmallDisk, may};
use milena_tests::process::{Broker, Config};
use milena_tests::{http, wait};

use crate::Load;
use crate::client::Client;
use crate::random::Random;

const FAULT_LIMIT: Duration = Duration::from_secs(60);

fn config(folder: &Path, metadata_apart: bool) -> Config {
    let config = Config::at(folder);
    if metadata_apart {
        config.property("metadata.log.dir", folder.join("metadata").display())
    } else {
        config
    }
}

/// Every producer was told KAFKA_STORAGE_ERROR, the process lives, its metrics say what happened, and a new
/// connection is told the same.
fn assert_offline(broker: &mut Broker, load: &Load, context: &str) {
    let told = wait::poll(FAULT_LIMIT, || {
        let told = |load: &Load| {
            load.producers.iter().all(|producer| producer.journal.storage_errors.load(Ordering::Relaxed) > 0)
        };
        told(load).then_some(())
    });
    let troubles: Vec<String> =
        load.producers.iter().map(|producer| producer.journal.last_trouble()).collect();
    assert!(told.is_some(), "{context}: not told within {FAULT_LIMIT:?}: {troubles:?}\n{}", tail(broker));
    assert!(broker.is_running(), "{context}: the process ended:\n{}", tail(broker));
    let metrics = broker.metrics().expect("the admin port answers");
    assert_eq!(http::metric(&metrics, "milena_log_directories_offline", ""), Some(1.0), "{context}");
    let mut client = Client::connect(broker.port()).expect("the broker still accepts");
    let mut builder = Builder::new();
    builder.append(1, None, Some(b"no"), &[]).expect("a small record");
    client.send_batch("plain", 0, &builder.finish().expect("a small batch")).expect("the broker still reads");
    let produced = client.produced().expect("the broker still answers");
    assert_eq!(produced.error, ErrorCode::KafkaStorageError, "{context}");
}

fn tail(broker: &Broker) -> String {
    let output = broker.output();
    let lines: Vec<&str> = output.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Brings the broker back on a good disk: everything acknowledged is there, and it goes on.
fn assert_recovered(broker: &mut Broker, load: Load, context: &str) {
    broker.kill().expect("a running broker");
    broker.start_again().expect("the broker comes back");
    load.progress(100);
    let acked_count = load.finish(broker.port(), context);
    println!("{context}: {acked_count} records acknowledged before and after");
}

fn full_disk(metadata_apart: bool, context: &str) {
    if !may("a small disk", "mount") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = SmallDisk::mount(&folder.path().join("data"), 64);
    let mut broker = config(folder.path(), metadata_apart).start().expect("the broker starts");
    let load = Load::start(broker.port(), 1, &[("segment.bytes", "8388608")], 16 << 10, &mut Random(1));
    assert_offline(&mut broker, &load, context);
    disk.grow(512);
    assert_recovered(&mut broker, load, context);
    drop(broker);
}

#[test]
fn a_full_disk_takes_the_directory_offline_and_loses_nothing() {
    full_disk(true, "a full disk");
}

#[test]
fn a_full_disk_with_the_metadata_on_it_does_no_worse() {
    full_disk(false, "a full disk with the metadata");
}

#[test]
fn a_limit_of_file_sizes_takes_the_directory_offline_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The next start has no limit; units are 512 or 1024 bytes.
    let limited = format!(
        "test -e {0} || ulimit -f 3000; : > {0}; exec \"$0\" \"$@\"",
        folder.path().join("limited").display()
    );
    let config = config(folder.path(), true).under(&["sh", "-c", &limited]);
    let mut broker = config.start().expect("the broker starts");
    let load = Load::start(broker.port(), 1, &[], 16 << 10, &mut Random(3));
    assert_offline(&mut broker, &load, "a limit of file sizes");
    assert_recovered(&mut broker, load, "a limit of file sizes");
}

/// The files that the two partitions of the load write to now.
fn active_files(broker: &Broker) -> Vec<PathBuf> {
    ["once-0", "plain-0"]
        .map(|name| broker.data().join(name).join("00000000000000000000.log"))
        .into_iter()
        .inspect(|path| assert!(path.exists(), "{}", path.display()))
        .collect()
}

fn failing_calls(calls: &str, configs: &[(&str, &str)]) {
    if !may(calls, "strace") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut broker = config(folder.path(), true).start().expect("the broker starts");
    let load = Load::start(broker.port(), 1, configs, 40, &mut Random(2));
    load.progress(50);
    let injector = Injector::attach(broker.pid(), calls, &active_files(&broker));
    assert_offline(&mut broker, &load, calls);
    drop(injector);
    assert_recovered(&mut broker, load, calls);
}

#[test]
fn a_failed_write_takes_the_directory_offline_and_loses_nothing() {
    failing_calls("pwritev,pwritev2,pwrite64", &[]);
}

#[test]
fn a_failed_sync_takes_the_directory_offline_and_loses_nothing() {
    failing_calls("fdatasync,fsync", &[("milena.flush", "durable")]);
}
