//! kill -9 at each step of a pass: at every system call that changes a file or a name of the log, or makes that durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use milena_protocol::ErrorCode;
use milena_tests::disk::may;
use milena_tests::process::{Broker, Config, copy_directory};
use milena_tests::wait;

use super::record::Record;
use super::tracer::Traced;
use super::writer::{SEGMENT_MS, Writer};
use super::{CLEAN_LIMIT, bases, cleaned_upto, files, read_all, strays};
use crate::client::{Client, Produced};
use crate::number;

const TOPIC: &str = "keyed";
/// Brokers at once: one is traced while another starts.
const WORKERS: usize = 3;
/// Six of them in a segment, and two such segments do not become one.
const BIG: u64 = 100 << 10;

/// What is there before a pass and after it.
struct World {
    /// A log directory as kill -9 left it, with a pass to be done.
    template: PathBuf,
    before: Vec<Record>,
    after: Vec<Record>,
    /// Each bound of a group of segments, which is compacted at once; and the base offset of the segment of which nothing
    /// stays: where the group's new segment ends before it, an interrupted swap leaves it to the next pass, as Kafka does.
    bounds: Vec<i64>,
    /// Base offsets after the pass and what follows it: its two segments are merged, as they fit one.
    bases: Vec<i64>,
    /// What producers sent last, and where it was.
    last_batches: Vec<(Vec<u8>, i64)>,
    /// The calls of a pass.
    calls: Vec<String>,
}

fn config(folder: &Path, cleaner: bool) -> Config {
    Config::at(folder)
        .property("log.cleaner.enable", cleaner)
        .property("log.cleaner.backoff.ms", 20)
        // Smaller than a segment, so that it takes more than one write.
        .property("log.cleaner.io.buffer.size", 256 << 10)
}

fn partition(folder: &Path) -> PathBuf {
    folder.join("data").join(format!("{TOPIC}-0"))
}

fn client(broker: &Broker) -> Client {
    Client::connect(broker.port()).expect("the broker is ready")
}

fn read(broker: &Broker) -> Vec<Record> {
    read_all(&mut client(broker), TOPIC).expect("readable").0
}

/// Two groups of segments, one of them with a segment of which nothing stays; a tombstone; a producer of whose records
/// none stays.
fn write(broker: &Broker) -> (Writer, Vec<i64>) {
    let segment_ms = SEGMENT_MS.to_string();
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("segment.bytes", "1048576"),
        ("segment.ms", &segment_ms),
    ];
    client(broker).create_topic(TOPIC, 1, &configs).expect("a new topic");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut writer =
        Writer::new(broker.port(), TOPIC, 1, now.as_millis() as i64 - 1_000_000).expect("connects");
    for key in 0..6 {
        writer.one(&format!("big {key}"), Some(BIG), Some(0));
    }
    writer.one("gone", Some(10), None);
    writer.one("gone", None, None);
    let nothing_stays = writer.end_offset();
    writer.later();
    writer.one("x", Some(10), None);
    writer.one("y", Some(10), None);
    let second_group = writer.end_offset();
    writer.later();
    for key in 3..9 {
        writer.one(&format!("big {key}"), Some(BIG), None);
    }
    writer.one("x", Some(20), Some(1));
    writer.one("y", Some(20), Some(1));
    writer.later();
    writer.one("x", Some(30), None);
    writer.one("y", Some(30), Some(2));
    let end_offset = writer.roll();
    (writer, vec![0, nothing_stays, second_group, end_offset])
}

/// The names that a pass may touch.
fn touched(folder: &Path) -> Vec<PathBuf> {
    let partition = partition(folder);
    let mut touched = vec![partition.clone()];
    for base in bases(&partition) {
        for kind in ["log", "index", "timeindex", "txnindex", "snapshot"] {
            for ending in ["cleaned", "swap", "replaced.deleted"] {
                touched.push(partition.join(format!("{base:020}.{kind}.{ending}")));
            }
        }
    }
    let checkpoint = folder.join("data/cleaner-offset-checkpoint");
    touched.extend([checkpoint.with_extension("tmp"), checkpoint]);
    touched
}

fn prepare(folder: &Path) -> World {
    let template = folder.join("template");
    let mut broker = config(&template, false)
        .property("log.flush.offset.checkpoint.interval.ms", 20)
        .start()
        .expect("starts");
    let (writer, bounds) = write(&broker);
    let end_offset = bounds[bounds.len() - 1];
    let is_vouched_for = || {
        let text = std::fs::read_to_string(template.join("data/recovery-point-offset-checkpoint")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{TOPIC} 0 ")))?;
        (line.parse::<i64>().ok()? >= end_offset).then_some(())
    };
    wait::poll(CLEAN_LIMIT, is_vouched_for).expect("a checkpoint");
    let before = read(&broker);
    broker.kill().expect("a running broker");

    let whole = folder.join("whole");
    copy_directory(&template, &whole).expect("a disk");
    let mut traced = Traced::start(config(&whole, true), &touched(&whole), &folder.join("whole.trace"));
    let is_over = || is_over(&whole, &[0, end_offset]);
    let mut calls = Vec::new();
    while let Some(call) = traced.stopped(is_over) {
        calls.push(call);
        traced.go_on();
    }
    traced.kill();
    let broker = config(&whole, false).start().expect("starts");
    let (after, bases) = (read(&broker), bases(&partition(&whole)));
    World { template, before, after, bounds, bases, last_batches: writer.last_batches(), calls }
}

/// Whether a pass has come to its end, and the merge after it.
fn is_over(folder: &Path, wanted: &[i64]) -> bool {
    let partition = partition(folder);
    let is_cleaned = cleaned_upto(&folder.join("data"), TOPIC).is_some_and(|upto| wanted.ends_with(&[upto]));
    is_cleaned && bases(&partition) == wanted && strays(&partition).is_empty()
}

/// Compacted below one of the bounds, and as before from there on.
fn is_between(found: &[Record], world: &World) -> bool {
    world.bounds.iter().any(|bound| {
        let after = world.after.iter().filter(|record| record.offset < *bound);
        let before = world.before.iter().filter(|record| record.offset >= *bound);
        found.iter().eq(after.chain(before))
    })
}

/// Kills the broker behind the `step`-th call of a pass, and looks at what is left.
fn kill_at(world: &World, step: usize, folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    copy_directory(&world.template, folder).expect("a disk");
    let is_over = || is_over(folder, &world.bases);
    let mut traced = Traced::start(config(folder, true), &touched(folder), &folder.join("trace"));
    let mut call = "the start".to_owned();
    for index in 0..step {
        if index > 0 {
            traced.go_on();
        }
        match traced.stopped(is_over) {
            Some(next) => call = next,
            None => break,
        }
    }
    traced.kill();
    let left = files(&partition(folder));
    let context = format!("killed at step {step}, {call}, with {left:?}");

    let mut broker = config(folder, false).start().unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = read(&broker);
    assert!(is_between(&found, world), "{context}: neither before nor after: {}", summary(&found));
    assert_eq!(strays(&partition(folder)), Vec::<PathBuf>::new(), "{context}");
    broker.kill().expect("a running broker");

    let broker = config(folder, true).start().unwrap_or_else(|error| panic!("{context}: {error}"));
    wait::eventually(&format!("{context}: a whole pass"), CLEAN_LIMIT, is_over);
    let found = read(&broker);
    assert!(found == world.after, "{context}: not as after a whole pass: {}", summary(&found));
    for (bytes, base_offset) in &world.last_batches {
        let mut client = client(&broker);
        client.send_batch(TOPIC, 0, bytes).expect("the broker reads");
        let again = client.produced().expect("the broker answers");
        assert_eq!(again, Produced { error: ErrorCode::None, base_offset: *base_offset }, "{context}");
    }
}

fn summary(records: &[Record]) -> String {
    let short = records.iter().map(|record| {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        (record.offset, key, record.value.as_ref().map(Vec::len))
    });
    format!("{:?}", short.collect::<Vec<_>>())
}

#[test]
fn kill_9_at_each_step_of_a_pass_leaves_the_log_as_before_or_after() {
    if !may("kill -9 at each step of a pass", "strace") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = prepare(folder.path());
    // Programs with debug assertions need minutes for all: some of them there, others each time.
    let stride = if cfg!(debug_assertions) { 6 } else { 1 };
    let stride = number("MILENA_CLEAN_STRIDE").map_or(stride, |stride| stride.max(1) as usize);
    println!("{} steps, of {} records {} stay", world.calls.len(), world.before.len(), world.after.len());
    assert_eq!(world.bases, [world.bounds[0], world.bounds[3]]);
    for word in
        ["log.cleaned", "timeindex.cleaned", "log.swap", "replaced.deleted", "cleaner-offset-checkpoint"]
    {
        assert!(world.calls.iter().any(|call| call.contains(word)), "{word}: {:#?}", world.calls);
    }
    let next = AtomicUsize::new(1 + std::process::id() as usize % stride);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (world, next, folder) = (&world, &next, folder.path().join(format!("worker-{worker}")));
            scope.spawn(move || {
                loop {
                    let step = next.fetch_add(stride, Ordering::SeqCst);
                    if step > world.calls.len() {
                        break;
                    }
                    kill_at(world, step, &folder);
                }
            });
        }
    });
}
