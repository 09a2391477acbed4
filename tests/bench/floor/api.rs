//! The eight requests, each in the newest version before compact encoding began.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Outgoing, new_buffer};
use crate::log::{Limits, Partition};
use crate::wire::{Input, Output};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const INIT_PRODUCER_ID: i16 = 22;

/// Key, lowest and highest version that ApiVersions names. Clients take the highest; the lowest is what
/// librdkafka looks at to decide which features a broker has.
const VERSIONS: [(i16, i16, i16); 9] = [
    (PRODUCE, 0, 7),
    (FETCH, 0, 11),
    (LIST_OFFSETS, 0, 1),
    (METADATA, 0, 4),
    // librdkafka sends no lz4 to a broker without it, and says nothing.
    (FIND_COORDINATOR, 0, 0),
    (API_VERSIONS, 0, 0),
    (CREATE_TOPICS, 0, 4),
    (DELETE_TOPICS, 0, 1),
    (INIT_PRODUCER_ID, 0, 1),
];

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;

type Partitions = Vec<Rc<RefCell<Partition>>>;

pub struct Broker {
    port: u16,
    directory: PathBuf,
    limits: Limits,
    topics: RefCell<HashMap<String, Partitions>>,
    appended: Notify,
    producer_ids: Cell<i64>,
    buffers: RefCell<Vec<Vec<u8>>>,
}

impl Broker {
    pub fn new(port: u16, directory: PathBuf, limits: Limits) -> Self {
        let (topics, appended, producer_ids) = (RefCell::default(), Notify::new(), Cell::new(0));
        Self { port, directory, limits, topics, appended, producer_ids, buffers: RefCell::default() }
    }

    pub fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(new_buffer)
    }

    pub fn give_buffer(&self, buffer: Vec<u8>) {
        self.buffers.borrow_mut().push(buffer);
    }

    /// Answers one request; `frame` is without its length.
    pub async fn answer(&self, frame: &mut [u8], outgoing: &mut Outgoing) -> io::Result<()> {
        let mut input = Input(frame);
        let mut header = || Some((input.i16()?, input.i16()?, input.i32()?, input.string()?));
        let Some((key, version, correlation, _)) = header() else { return Err(invalid()) };
        let body_at = frame.len() - input.0.len();
        let body = &mut frame[body_at..];
        let start = outgoing.bytes.len();
        outgoing.bytes.i32(0);
        outgoing.bytes.i32(correlation);
        let known = VERSIONS.iter().find(|row| row.0 == key).is_some_and(|row| row.2 == version);
        let mut file_bytes = 0;
        match key {
            API_VERSIONS => api_versions(version, &mut outgoing.bytes),
            _ if !known => return Err(invalid()),
            PRODUCE => {
                if !self.produce(body, &mut outgoing.bytes)? {
                    outgoing.bytes.truncate(start);
                    return Ok(());
                }
            }
            FETCH => file_bytes = self.fetch(body, outgoing).await?,
            LIST_OFFSETS => self.list_offsets(body, &mut outgoing.bytes).ok_or_else(invalid)?,
            METADATA => self.metadata(body, &mut outgoing.bytes)?,
            FIND_COORDINATOR => self.find_coordinator(&mut outgoing.bytes),
            DELETE_TOPICS => self.delete_topics(body, &mut outgoing.bytes)?,
            CREATE_TOPICS => self.create_topics(body, &mut outgoing.bytes)?,
            _ => self.init_producer_id(&mut outgoing.bytes),
        }
        let size = outgoing.bytes.len() - start - 4 + file_bytes;
        outgoing.bytes.set_i32(start, size as i32);
        Ok(())
    }

    fn partition(&self, topic: &str, index: i32) -> Option<Rc<RefCell<Partition>>> {
        self.topics.borrow().get(topic)?.get(usize::try_from(index).ok()?).cloned()
    }

    fn create(&self, topic: &str, count: i32) -> io::Result<i32> {
        if let Some(partitions) = self.topics.borrow().get(topic) {
            return Ok(partitions.len() as i32);
        }
        let open = |index| {
            let directory = self.directory.join(format!("{topic}-{index}"));
            Partition::create(directory, self.limits).map(|partition| Rc::new(RefCell::new(partition)))
        };
        let partitions = (0..count).map(open).collect::<io::Result<_>>()?;
        self.topics.borrow_mut().insert(topic.to_owned(), partitions);
        Ok(count)
    }

    /// False when the client wants no answer (acks=0).
    fn produce(&self, body: &mut [u8], out: &mut Vec<u8>) -> io::Result<bool> {
        // Batches are changed in place, so a first pass over the borrowed body notes where they are.
        let length = body.len();
        let mut found = Vec::new();
        let mut input = Input(body);
        let mut parse = || {
            input.string()?;
            let acks = input.i16()?;
            input.i32()?;
            let topics = input.count()?;
            out.i32(topics);
            for _ in 0..topics {
                let topic = input.string()?;
                let count = input.count()?;
                out.string(topic);
                out.i32(count);
                for _ in 0..count {
                    let index = input.i32()?;
                    let size = input.count()? as usize;
                    found.push((self.partition(topic, index), out.len(), length - input.0.len(), size));
                    input.bytes(size)?;
                    out.i32(index);
                    out.extend_from_slice(&[0; 2 + 8]);
                    out.i64(-1);
                    out.i64(0);
                }
            }
            out.i32(0);
            Some(acks)
        };
        let acks = parse().ok_or_else(invalid)?;
        for (partition, answer_at, start, size) in found {
            let result = match partition {
                Some(partition) => partition.borrow_mut().append(&mut body[start..start + size])?,
                None => Err(UNKNOWN_TOPIC_OR_PARTITION),
            };
            let (code, offset) = result.map_or_else(|code| (code, -1), |offset| (0, offset));
            out[answer_at + 4..answer_at + 6].copy_from_slice(&i16::to_be_bytes(code));
            out[answer_at + 6..answer_at + 14].copy_from_slice(&i64::to_be_bytes(offset));
        }
        self.appended.notify_waiters();
        Ok(acks != 0)
    }

    /// Bytes of files in the answer.
    async fn fetch(&self, body: &[u8], outgoing: &mut Outgoing) -> io::Result<usize> {
        let request = FetchRequest::parse(body).ok_or_else(invalid)?;
        let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms);
        loop {
            let appended = self.appended.notified();
            if self.available(&request)? >= request.min_bytes || Instant::now() >= deadline {
                break;
            }
            // Either way the loop looks again: something was appended, or the time is up.
            let _ = timeout_at(deadline, appended).await;
        }
        self.fetch_answer(&request, outgoing)
    }

    fn available(&self, request: &FetchRequest) -> io::Result<usize> {
        let mut sum = 0;
        for want in &request.partitions {
            let Some(partition) = self.partition(want.topic, want.index) else { return Ok(usize::MAX) };
            match partition.borrow().read(want.offset, want.max_bytes)? {
                Ok(slice) => sum += slice.map_or(0, |slice| slice.length),
                Err(_) => return Ok(usize::MAX),
            }
        }
        Ok(sum)
    }

    fn fetch_answer(&self, request: &FetchRequest, outgoing: &mut Outgoing) -> io::Result<usize> {
        outgoing.bytes.i32(0);
        outgoing.bytes.i16(0);
        outgoing.bytes.i32(0);
        outgoing.bytes.i32(request.partitions.len() as i32);
        let (mut left, mut detached) = (request.max_bytes, 0);
        for want in &request.partitions {
            let partition = self.partition(want.topic, want.index);
            let read = match &partition {
                Some(partition) => partition.borrow().read(want.offset, want.max_bytes.min(left))?,
                None => Err(UNKNOWN_TOPIC_OR_PARTITION),
            };
            let ends = |p: &Rc<RefCell<Partition>>| (p.borrow().next_offset, p.borrow().start_offset());
            let (next_offset, start_offset) = partition.as_ref().map_or((-1, -1), ends);
            outgoing.bytes.string(want.topic);
            outgoing.bytes.i32(1);
            outgoing.bytes.i32(want.index);
            outgoing.bytes.i16(*read.as_ref().err().unwrap_or(&0));
            outgoing.bytes.i64(next_offset);
            outgoing.bytes.i64(next_offset);
            outgoing.bytes.i64(start_offset);
            outgoing.bytes.i32(-1);
            outgoing.bytes.i32(-1);
            match read {
                Ok(Some(slice)) => {
                    left = left.saturating_sub(slice.length);
                    outgoing.bytes.i32(slice.length as i32);
                    let (before, length) = (outgoing.bytes.len(), slice.length);
                    outgoing.file(slice)?;
                    detached += length - (outgoing.bytes.len() - before);
                }
                _ => outgoing.bytes.i32(0),
            }
        }
        Ok(detached)
    }

    fn list_offsets(&self, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut input = Input(body);
        input.i32()?;
        let topics = input.count()?;
        out.i32(topics);
        for _ in 0..topics {
            let topic = input.string()?;
            let count = input.count()?;
            out.string(topic);
            out.i32(count);
            for _ in 0..count {
                let (index, timestamp) = (input.i32()?, input.i64()?);
                let partition = self.partition(topic, index);
                out.i32(index);
                out.i16(if partition.is_some() { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
                out.i64(-1);
                out.i64(partition.map_or(-1, |partition| match timestamp {
                    -2 => partition.borrow().start_offset(),
                    _ => partition.borrow().next_offset,
                }));
            }
        }
        Some(())
    }

    fn metadata(&self, body: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = Input(body);
        let named = input.i32().ok_or_else(invalid)?;
        let mut names = Vec::new();
        for _ in 0..named {
            names.push(input.string().ok_or_else(invalid)?.to_owned());
        }
        if named < 0 {
            names = self.topics.borrow().keys().cloned().collect();
        }
        out.i32(0);
        out.i32(1);
        out.i32(1);
        out.string("127.0.0.1");
        out.i32(i32::from(self.port));
        out.i16(-1);
        out.string("floor");
        out.i32(1);
        out.i32(names.len() as i32);
        for name in names {
            let count = self.create(&name, 1)?;
            out.i16(0);
            out.string(&name);
            out.i8(0);
            out.i32(count);
            for index in 0..count {
                out.i16(0);
                for value in [index, 1, 1, 1, 1, 1] {
                    out.i32(value);
                }
            }
        }
        Ok(())
    }

    /// Consumers ask, whether or not they commit anything.
    fn find_coordinator(&self, out: &mut Vec<u8>) {
        out.i16(0);
        out.i32(1);
        out.string("127.0.0.1");
        out.i32(i32::from(self.port));
    }

    fn create_topics(&self, body: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = Input(body);
        let mut parse = || {
            let mut found = Vec::new();
            for _ in 0..input.count()? {
                found.push((input.string()?, input.i32()?));
                input.i16()?;
                for _ in 0..input.count()? {
                    input.i32()?;
                    let replicas = input.count()? as usize;
                    input.bytes(4 * replicas)?;
                }
                for _ in 0..input.count()? {
                    input.string()?;
                    input.string()?;
                }
            }
            Some(found)
        };
        let topics = parse().ok_or_else(invalid)?;
        out.i32(0);
        out.i32(topics.len() as i32);
        for (name, partitions) in topics {
            self.create(name, partitions.max(1))?;
            out.string(name);
            out.i16(0);
            out.i16(-1);
        }
        Ok(())
    }

    fn delete_topics(&self, body: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = Input(body);
        let count = input.count().ok_or_else(invalid)?;
        out.i32(0);
        out.i32(count);
        for _ in 0..count {
            let name = input.string().ok_or_else(invalid)?;
            let removed = self.topics.borrow_mut().remove(name);
            out.string(name);
            out.i16(if removed.is_some() { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
            for partition in removed.iter().flatten() {
                partition.borrow_mut().delete()?;
            }
        }
        Ok(())
    }

    fn init_producer_id(&self, out: &mut Vec<u8>) {
        self.producer_ids.set(self.producer_ids.get() + 1);
        out.i32(0);
        out.i16(0);
        out.i64(self.producer_ids.get());
        out.i16(0);
    }
}

struct Wanted<'a> {
    topic: &'a str,
    index: i32,
    offset: i64,
    max_bytes: usize,
}

struct FetchRequest<'a> {
    max_wait_ms: u64,
    min_bytes: usize,
    max_bytes: usize,
    partitions: Vec<Wanted<'a>>,
}

impl<'a> FetchRequest<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        let mut input = Input(body);
        input.i32()?;
        let (max_wait_ms, min_bytes, max_bytes) = (input.count()?, input.count()?, input.count()?);
        input.i8()?;
        input.i64()?;
        let mut partitions = Vec::new();
        for _ in 0..input.count()? {
            let topic = input.string()?;
            for _ in 0..input.count()? {
                let (index, _, offset, _) = (input.i32()?, input.i32()?, input.i64()?, input.i64()?);
                partitions.push(Wanted { topic, index, offset, max_bytes: input.count()? as usize });
            }
        }
        let (min_bytes, max_bytes) = (min_bytes as usize, max_bytes as usize);
        Some(Self { max_wait_ms: max_wait_ms as u64, min_bytes, max_bytes, partitions })
    }
}

fn api_versions(version: i16, out: &mut Vec<u8>) {
    // Clients begin with a newer version; told 35, they take this oldest form as it is.
    out.i16(if version == 0 { 0 } else { UNSUPPORTED_VERSION });
    out.i32(VERSIONS.len() as i32);
    for (key, lowest, highest) in VERSIONS {
        out.i16(key);
        out.i16(lowest);
        out.i16(highest);
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
