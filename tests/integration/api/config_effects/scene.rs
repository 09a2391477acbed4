//! A node on a disk in memory with the topics of one test, and the places where a value can be set.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milena_log::memory_files::{Loss, MemoryFiles};
use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;
use milena_tests::wait;

use super::Effect;
use crate::alter_configs::{BROKER, TOPIC, set};
use crate::node::{Node, now_ms};

pub const PATIENCE: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 86_400_000;
/// More than `segment.ms`: a record that comes so much later begins a segment, whenever the one before came.
const ROLL_MS: i64 = 16 * DAY_MS;
/// How often something must hold that is to hold for ever.
const LOOKS: usize = 20;

pub struct Scene {
    pub node: Node,
    pub files: MemoryFiles,
    /// Time of the records, which begins years ago.
    clock_ms: Cell<i64>,
    names: Cell<usize>,
}

impl Scene {
    pub fn start(properties: &[(&str, &str)]) -> Self {
        let files = MemoryFiles::new();
        let node = Node::start_on(&files, properties);
        Self::of(node, files)
    }

    /// On the disk of this machine.
    pub fn start_on_disk(properties: &[(&str, &str)]) -> Self {
        Self::of(Node::start(properties), MemoryFiles::new())
    }

    fn of(node: Node, files: MemoryFiles) -> Self {
        Self { node, files, clock_ms: Cell::new(now_ms() - 10_000 * DAY_MS), names: Cell::new(0) }
    }

    /// Goes through all places: a value acts from where it is set until it is unset, and the nearest wins.
    pub fn check(&self, effects: &[Effect]) {
        for effect in effects {
            let topic = self.create(effect.with);
            self.check_each_place(effect, &topic);
            if let (Some(_), Some(_)) = (effect.topic, effect.broker) {
                self.check_order(effect, &topic);
            }
        }
    }

    fn check_each_place(&self, effect: &Effect, topic: &str) {
        self.shows(effect, topic, false, "nowhere");
        let (on, _) = effect.values;
        for place in ["topic", "broker", "cluster"] {
            let name = if place == "topic" { effect.topic } else { effect.broker };
            let Some(name) = name else { continue };
            self.put(topic, place, name, Some(on));
            self.shows(effect, topic, true, place);
            self.put(topic, place, name, None);
            self.shows(effect, topic, false, "nowhere any more");
        }
    }

    fn check_order(&self, effect: &Effect, topic: &str) {
        let (Some(of_topic), Some(of_broker)) = (effect.topic, effect.broker) else { return };
        let (on, off) = effect.values;
        self.put(topic, "cluster", of_broker, Some(on));
        self.put(topic, "broker", of_broker, Some(off));
        self.shows(effect, topic, false, "the broker against the cluster");
        self.put(topic, "topic", of_topic, Some(on));
        self.shows(effect, topic, true, "the topic against the broker");
        self.put(topic, "topic", of_topic, Some(off));
        self.put(topic, "broker", of_broker, None);
        self.shows(effect, topic, false, "the topic against the cluster");
        self.put(topic, "topic", of_topic, None);
        self.shows(effect, topic, true, "the cluster alone");
        self.put(topic, "cluster", of_broker, None);
        self.shows(effect, topic, false, "nowhere at the end");
    }

    fn put(&self, topic: &str, place: &str, name: &str, value: Option<&str>) {
        let resource = match place {
            "topic" => (TOPIC, topic),
            "broker" => (BROKER, "1"),
            _ => (BROKER, ""),
        };
        set(&self.node, resource, name, value);
    }

    fn shows(&self, effect: &Effect, topic: &str, acts: bool, place: &str) {
        // What a failure is about: a test prints only when it fails.
        println!("{} set by {place}: must {}act", effect.name(), if acts { "" } else { "not " });
        (effect.shows)(self, topic, acts);
    }

    /// A topic with a name of its own.
    pub fn create(&self, configs: &[(&str, &str)]) -> String {
        let name = format!("t{}", self.names.replace(self.names.get() + 1));
        self.node.create(&name, configs);
        name
    }

    /// When the next record comes.
    pub fn time_ms(&self) -> i64 {
        self.clock_ms.get()
    }

    /// A batch of one record that is accepted; gives its offset.
    pub fn write(&self, topic: &str, timestamp_ms: i64, key: Option<&str>, value: Option<&[u8]>) -> i64 {
        let mut builder = Builder::new();
        builder.append(timestamp_ms, key.map(str::as_bytes), value, &[]).expect("room");
        let (error, offset) = self.node.produce(topic, &builder.finish().expect("a batch"));
        assert_eq!(error, ErrorCode::None, "writing to {topic}");
        offset
    }

    /// A small record of now.
    pub fn write_now(&self, topic: &str) -> i64 {
        self.write(topic, now_ms(), None, Some(b"now"))
    }

    /// Begins a segment with a record that comes weeks later; gives its base offset.
    pub fn roll(&self, topic: &str) -> i64 {
        self.clock_ms.set(self.clock_ms.get() + ROLL_MS);
        self.write(topic, self.clock_ms.get(), Some("roll"), Some(b"roll"))
    }

    pub fn segments(&self, topic: &str) -> usize {
        self.node.partition(topic).extent().expect("open").segments_count
    }

    /// Files of a topic that end so.
    pub fn paths(&self, topic: &str, ending: &str) -> Vec<PathBuf> {
        let folder = Path::new("/data").join(format!("{topic}-0"));
        let mut paths = self.files.paths_below(&folder);
        paths.retain(|path| path.to_string_lossy().ends_with(ending));
        paths
    }

    /// Bytes in the files of a topic that end so.
    pub fn file(&self, topic: &str, base_offset: i64, ending: &str) -> Vec<u8> {
        self.files.contents(&Path::new("/data").join(format!("{topic}-0/{base_offset:020}{ending}")))
    }

    /// Whether everything that was written would be there after a power loss.
    pub fn is_on_disk(&self, topic: &str) -> bool {
        let after = self.files.crash(Loss::Unsynced);
        let there = after.paths_below(Path::new("/data"));
        let kept = |path: &PathBuf| {
            there.contains(path) && after.contents(path).len() >= self.files.contents(path).len()
        };
        self.paths(topic, ".log").iter().all(kept)
    }

    /// What holds again and again while the node works.
    pub fn stays(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..LOOKS {
            // A scrape gives the node time, and is something to wait for.
            self.node.metrics();
            assert!(holds(), "no longer: {what}");
        }
    }
}

pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    wait::eventually(what, PATIENCE, holds);
}

/// As [`eventually`], or that it never does.
pub fn comes_true(holds: impl FnMut() -> bool, patience: Duration) -> bool {
    let mut holds = holds;
    wait::poll(patience, || holds().then_some(())).is_some()
}
