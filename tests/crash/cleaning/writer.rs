//! The one writer of a partition: seeded batches of every kind, sent one after the other.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use milena_protocol::ErrorCode;
use milena_protocol::records::{Builder, Compression, Header};

use super::LATEST;
use super::history::History;
use super::record::Record;
use crate::client::{Client, Produced};
use crate::random::Random;

/// Topics have this as `segment.ms`: timestamps roll segments, so that tests say where.
pub const SEGMENT_MS: i64 = 1_000;
const KEYS: u64 = 300;
const IDEMPOTENT: usize = 3;

pub struct Writer {
    topic: &'static str,
    client: Client,
    history: Arc<Mutex<History>>,
    random: Random,
    clock_ms: i64,
    producers: Vec<Producer>,
}

struct Producer {
    id: i64,
    epoch: i16,
    next_sequence: i32,
    /// The bytes of its last batch, and where they are.
    last: Option<(Vec<u8>, i64)>,
}

/// A record before it has an offset.
#[derive(Debug, Clone)]
pub struct Draft {
    pub timestamp: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Writer {
    /// `clock_ms` is the timestamp that records begin with.
    pub fn new(port: u16, topic: &'static str, seed: u64, clock_ms: i64) -> io::Result<Self> {
        let mut client = Client::connect(port)?;
        let producer = |client: &mut Client| -> io::Result<Producer> {
            let (id, epoch) = client.init_producer_id()?;
            Ok(Producer { id, epoch, next_sequence: 0, last: None })
        };
        let producers = (0..IDEMPOTENT).map(|_| producer(&mut client)).collect::<io::Result<_>>()?;
        let (history, random) = (Arc::default(), Random(seed));
        Ok(Self { topic, client, history, random, clock_ms, producers })
    }

    pub fn history(&self) -> Arc<Mutex<History>> {
        Arc::clone(&self.history)
    }

    pub fn end_offset(&self) -> i64 {
        self.locked().end_offset()
    }

    fn locked(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no panic under it")
    }

    pub fn reconnect(&mut self, port: u16) -> io::Result<()> {
        self.client = Client::connect(port)?;
        Ok(())
    }

    /// A batch of any codec, by any producer or none, now and then one that must be refused.
    pub fn write_any(&mut self) {
        self.clock_ms += self.random.below(40) as i64;
        let codec = Compression::ALL[self.random.below(5) as usize];
        let count = 1 + self.random.below(6);
        let drafts: Vec<Draft> = (0..count).map(|_| self.draft()).collect();
        if self.random.below(40) == 0 {
            self.refused_without_key(codec, &drafts);
        }
        let producer = self.random.below(2 * IDEMPOTENT as u64) as usize;
        self.write(codec, &drafts, (producer < IDEMPOTENT).then_some(producer));
    }

    fn draft(&mut self) -> Draft {
        // Some keys come often, others hardly ever.
        let bound = if self.random.below(2) == 0 { KEYS } else { KEYS / 20 };
        let key = format!("key {}", self.random.below(bound)).into_bytes();
        let value_size = match self.random.below(30) {
            0 => self.random.below(6_000),
            1..4 => 0,
            _ => self.random.below(120),
        };
        let value = (self.random.below(6) > 0).then(|| self.bytes(value_size));
        let headers = (0..self.random.below(8).saturating_sub(5)).map(|index| {
            let value = (self.random.below(4) > 0).then(|| self.bytes(index * 3));
            (format!("header {}", index / 2).into_bytes(), value)
        });
        let headers = headers.collect();
        let late = if self.random.below(3) == 0 { self.random.below(3_000) as i64 } else { 0 };
        Draft { timestamp: self.clock_ms - late, key, value, headers }
    }

    fn bytes(&mut self, size: u64) -> Vec<u8> {
        (0..size).map(|_| self.random.below(256) as u8).collect()
    }

    /// What comes next is so much later that it begins a segment.
    pub fn later(&mut self) {
        // Than those that were late, too.
        self.clock_ms += 10 * SEGMENT_MS;
    }

    /// Seals the segments before: a record of a key that nothing else has begins the next one. Its offset.
    pub fn roll(&mut self) -> i64 {
        self.later();
        let offset = self.locked().end_offset();
        let key = format!("closes what is before {offset}").into_bytes();
        let draft = Draft { timestamp: self.clock_ms, key, value: Some(Vec::new()), headers: Vec::new() };
        self.write(Compression::None, &[draft], None);
        offset
    }

    /// One record with this key and a value, or tombstone, of a size.
    pub fn one(&mut self, key: &str, value_size: Option<u64>, producer: Option<usize>) {
        let value = value_size.map(|size| self.bytes(size));
        let draft = Draft { timestamp: self.clock_ms, key: key.into(), value, headers: Vec::new() };
        self.write(Compression::None, &[draft], producer);
    }

    pub fn write(&mut self, codec: Compression, drafts: &[Draft], producer: Option<usize>) {
        let mut builder = Builder::new().compression(codec, None);
        if let Some(Producer { id, epoch, next_sequence, .. }) = producer.map(|index| &self.producers[index])
        {
            builder = builder.producer(*id, *epoch, *next_sequence);
        }
        let bytes = built(builder, drafts);
        let base_offset = {
            let mut history = self.locked();
            let base_offset = history.end_offset();
            history.push((base_offset..).zip(drafts).map(|(offset, draft)| draft.at(offset)));
            base_offset
        };
        let answer = self.send(&bytes);
        assert_eq!(answer, Produced { error: ErrorCode::None, base_offset }, "{}", self.topic);
        if let Some(producer) = producer.map(|index| &mut self.producers[index]) {
            producer.next_sequence += drafts.len() as i32;
            producer.last = Some((bytes, base_offset));
        }
    }

    /// A compacted topic takes no record without a key, nor anything of its batch.
    fn refused_without_key(&mut self, codec: Compression, drafts: &[Draft]) {
        let mut builder = Builder::new().compression(codec, None);
        for draft in drafts {
            builder.append(draft.timestamp, Some(&draft.key), draft.value.as_deref(), &[]).expect("small");
        }
        builder.append(self.clock_ms, None, Some(b"without a key"), &[]).expect("small");
        let answer = self.send(&builder.finish().expect("small"));
        assert_eq!(answer.error, ErrorCode::InvalidRecord, "{}", self.topic);
    }

    /// What each producer sent last, and where it is.
    pub fn last_batches(&self) -> Vec<(Vec<u8>, i64)> {
        self.producers.iter().filter_map(|producer| producer.last.clone()).collect()
    }

    /// What each producer sent last is known to be there already, and what leaves a gap behind it is refused, wherever
    /// compaction has left its records.
    pub fn check_producers(&mut self) -> Result<(), String> {
        let end_offset = self.locked().end_offset();
        for index in 0..self.producers.len() {
            let Producer { id, epoch, next_sequence, ref last } = self.producers[index];
            let Some((bytes, base_offset)) = last.clone() else { continue };
            let again = self.send(&bytes);
            if again != (Produced { error: ErrorCode::None, base_offset }) {
                return Err(format!("producer {id} sends {base_offset} again and is told {again:?}"));
            }
            let drafts =
                [Draft { timestamp: self.clock_ms, key: b"gap".to_vec(), value: None, headers: Vec::new() }];
            let gap = self.send(&built(Builder::new().producer(id, epoch, next_sequence + 7), &drafts));
            if gap.error != ErrorCode::OutOfOrderSequenceNumber {
                return Err(format!("producer {id} leaves a gap and is told {gap:?}"));
            }
        }
        match self.client.list_offset(self.topic, LATEST) {
            Ok(latest) if latest == end_offset => Ok(()),
            other => Err(format!("the log should end at {end_offset}: {other:?}")),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Produced {
        self.client.send_batch(self.topic, 0, bytes).expect("the broker reads");
        self.client.produced().expect("the broker answers")
    }
}

fn built(mut builder: Builder, drafts: &[Draft]) -> Vec<u8> {
    for draft in drafts {
        let headers = draft.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() });
        let headers: Vec<Header<'_>> = headers.collect();
        builder.append(draft.timestamp, Some(&draft.key), draft.value.as_deref(), &headers).expect("small");
    }
    builder.finish().expect("small")
}

impl Draft {
    fn at(&self, offset: i64) -> Record {
        let Draft { timestamp, key, value, headers } = self.clone();
        Record { offset, timestamp, key: Some(key), value, headers }
    }
}
