//! A node, and a log cleaner beside it whose clock and settings the test has in its hands.

use std::collections::BTreeMap;

use milena_log::memory_files::MemoryFiles;
use milena_protocol::records::{Batches, Builder, Compression, Limits, RecordIter, compression};

use super::test_node::{Node, eventually, read};
use super::*;
use crate::metrics::cleaning::{Look, Outcome};
use crate::partition::AppendAs;

pub(super) const START_MS: i64 = 1_700_000_000_000;
pub(super) const DAY_MS: i64 = 86_400_000;

/// Key and value of a record; without value it is a tombstone.
pub(super) type Keyed<'a> = (&'a str, Option<&'a str>);

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<String>,
}

pub(super) struct Scene {
    pub files: MemoryFiles,
    pub node: Node,
    pub metrics: Arc<Metrics>,
    clock: Arc<AtomicI64>,
    settings: watch::Sender<Arc<Settings>>,
    cleaner: Option<Cleaner>,
}

const NODE: &[(&str, &str)] = &[("log.dirs", "/data"), ("log.cleaner.enable", "false")];

impl Scene {
    /// Cleaners that rest for a millisecond, with these properties besides.
    pub fn start(properties: &[(&str, &str)]) -> Self {
        Self::start_on(MemoryFiles::new(), properties)
    }

    pub fn start_on(files: MemoryFiles, properties: &[(&str, &str)]) -> Self {
        let node = Node::start_on(Arc::new(files.clone()), NODE).expect("starts");
        let settings = watch::Sender::new(settings(properties));
        let (metrics, clock) = (Arc::new(Metrics::new()), Arc::new(AtomicI64::new(START_MS)));
        let mut scene = Self { files, node, metrics, clock, settings, cleaner: None };
        scene.start_cleaner();
        scene
    }

    fn start_cleaner(&mut self) {
        let clock = Arc::clone(&self.clock);
        let _guard = self.node.runtime.enter();
        self.cleaner = Some(Cleaner::start(
            Arc::clone(self.node.lifecycle.partitions()),
            self.settings.subscribe(),
            Arc::clone(&self.metrics),
            Arc::new(move || clock.load(Ordering::SeqCst)),
        ));
    }

    pub fn set(&self, properties: &[(&str, &str)]) {
        self.settings.send_replace(settings(properties));
    }

    pub fn stop_cleaner(&mut self) {
        if let Some(cleaner) = self.cleaner.take() {
            self.node.run(cleaner.stop());
        }
    }

    /// Stops the node in order and starts it again with the cleaner.
    pub fn restart(mut self) -> Self {
        self.stop_cleaner();
        let Self { files, node, metrics, clock, settings, .. } = self;
        node.stop();
        let node = Node::start_on(Arc::new(files.clone()), NODE).expect("starts again");
        let mut scene = Self { files, node, metrics, clock, settings, cleaner: None };
        scene.start_cleaner();
        scene
    }

    pub fn stop(mut self) {
        self.stop_cleaner();
        self.node.stop();
    }

    pub fn advance_ms(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn create(&self, topic: &str, configs: &[(&str, &str)]) -> Uuid {
        let compact = [("cleanup.policy", "compact")];
        self.node.create(topic, &[&compact, configs].concat())
    }

    pub fn append(&self, topic: &str, records: &[Keyed<'_>]) {
        self.append_batch(topic, &batch(Builder::new(), records));
    }

    pub fn append_batch(&self, topic: &str, batch: &[u8]) {
        let append = AppendAs { acks_all: true, log_append_time: None };
        self.node.partition(topic).append(batch, append, START_MS).expect("appended");
    }

    /// Seals what there is and lets a checkpoint vouch for it, which is when it may be compacted.
    pub fn seal(&self, topic: &str) {
        let partition = self.node.partition(topic);
        partition.with_log(|log| log.roll(START_MS).and_then(|()| log.sync())).expect("a disk");
        partition.directory().checkpoint().expect("a disk");
    }

    /// Records of a segment of their own, which may be compacted.
    pub fn segment(&self, topic: &str, records: &[Keyed<'_>]) {
        self.append(topic, records);
        self.seal(topic);
    }

    /// What the next look found that began after now.
    pub fn look(&self) -> Look {
        self.advance_ms(1);
        let now_ms = self.clock.load(Ordering::SeqCst);
        eventually("a look", || self.metrics.cleaning.look().at_ms >= now_ms);
        self.metrics.cleaning.look()
    }

    pub fn passes(&self, outcome: Outcome) -> u64 {
        self.metrics.cleaning.count(outcome)
    }

    /// Waits until so many passes came to their end.
    pub fn done(&self, passes: u64) {
        eventually("a pass", || self.passes(Outcome::Done) >= passes);
    }

    /// What a consumer sees from the beginning, batch by batch.
    pub fn seen(&self, topic: &str) -> Vec<Seen> {
        let partition = self.node.partition(topic);
        let (mut seen, mut offset) = (Vec::new(), partition.log_start_offset());
        while offset < partition.high_watermark().get() {
            let slice = partition.read(read(offset)).expect("reads").records.expect("records below the end");
            let bytes = slice.read().expect("reads");
            let before = offset;
            for found in Batches::new(&bytes) {
                let batch = found.expect("a valid batch");
                offset = batch.header().next_offset();
                let mut unpacked = Vec::new();
                let payload = match batch.attributes.compression().expect("known") {
                    Compression::None => batch.payload(),
                    codec => {
                        let limits = Limits::default();
                        compression::decompress(codec, batch.payload(), limits, &mut unpacked)
                            .expect("sound");
                        &unpacked[..]
                    }
                };
                let text =
                    |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                for record in RecordIter::new(payload, batch.count) {
                    let record = record.expect("a valid record");
                    let (key, value) = (text(record.key), text(record.value));
                    seen.push(Seen { offset: batch.offset_of(&record), key, value });
                }
            }
            assert!(offset > before, "{offset} > {before}");
        }
        seen
    }

    pub fn offsets(&self, topic: &str) -> Vec<i64> {
        self.seen(topic).iter().map(|seen| seen.offset).collect()
    }
}

fn settings(properties: &[(&str, &str)]) -> Arc<Settings> {
    let mut all = BTreeMap::from([("log.cleaner.backoff.ms".to_owned(), "1".to_owned())]);
    all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Arc::new(Settings::parse(&all).expect("valid"))
}

pub(super) fn batch(mut builder: Builder, records: &[Keyed<'_>]) -> Vec<u8> {
    for (key, value) in records {
        builder.append(START_MS, Some(key.as_bytes()), value.map(str::as_bytes), &[]).expect("fits");
    }
    builder.finish().expect("fits")
}
