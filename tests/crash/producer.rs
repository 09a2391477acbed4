//! Producers that live through crashes of the broker, and note what was acknowledged.
//!
//! An idempotent one keeps up to five batches in flight and, on a new connection, sends again what is not
//! acknowledged, in order and with the same sequences: each of its records must be in the log exactly once.
//! A plain one forgets what was in flight: of its records only the acknowledged ones must be there.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;
use milena_tests::wait;

use crate::client::{Client, Produced};
use crate::random::Random;

const IN_FLIGHT_MAX: usize = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// A broker that is down for longer has failed the test.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);

/// Acknowledged records: numbers `first_number..first_number + count` from `base_offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    pub base_offset: i64,
    pub first_number: u64,
    pub count: u64,
}

/// What a producer shares with the test.
#[derive(Debug)]
pub struct Journal {
    pub topic: String,
    pub partition: i32,
    pub idempotent: bool,
    /// Bytes added to each record.
    padding: usize,
    acked: Mutex<Vec<Acked>>,
    acked_count: AtomicU64,
    /// Answers that mean the directory is offline, where the test expects that.
    pub storage_errors: AtomicU64,
    /// What it last ran into, for the message of a test that fails.
    last_trouble: Mutex<String>,
    stop: AtomicBool,
    /// Nothing is sent beyond so many acknowledged records.
    ceiling: AtomicU64,
}

impl Journal {
    /// Lets the producer go on for so many records; `None` for as long as it likes.
    pub fn allow(&self, records: Option<u64>) {
        let ceiling = records.map_or(u64::MAX, |records| self.acked_count() + records);
        self.ceiling.store(ceiling, Ordering::Relaxed);
    }

    fn is_at_ceiling(&self) -> bool {
        self.acked_count() >= self.ceiling.load(Ordering::Relaxed)
    }

    pub fn last_trouble(&self) -> String {
        format!("{}-{}: {}", self.topic, self.partition, self.last_trouble.lock().expect("no panic under it"))
    }

    pub fn acked(&self) -> MutexGuard<'_, Vec<Acked>> {
        self.acked.lock().expect("no producer panics while it holds the lock")
    }

    pub fn acked_count(&self) -> u64 {
        self.acked_count.load(Ordering::Relaxed)
    }
}

/// Value of the record with this number.
pub fn value(journal: &Journal, number: u64) -> Vec<u8> {
    let Journal { topic, partition, padding, .. } = journal;
    format!("{topic}-{partition}-{number:012} some text {:x<padding$}", "").into_bytes()
}

/// What a producer does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub topic: &'static str,
    pub partition: i32,
    pub idempotent: bool,
    pub padding: usize,
}

pub struct Running {
    pub journal: Arc<Journal>,
    thread: JoinHandle<Result<(), String>>,
}

impl Running {
    /// Starts to produce to a partition that nobody else writes to.
    pub fn start(port: u16, plan: Plan, seed: u64) -> Self {
        let Plan { topic, partition, idempotent, padding } = plan;
        let journal = Arc::new(Journal {
            topic: topic.to_owned(),
            partition,
            idempotent,
            padding,
            acked: Mutex::default(),
            acked_count: AtomicU64::new(0),
            storage_errors: AtomicU64::new(0),
            last_trouble: Mutex::default(),
            stop: AtomicBool::new(false),
            ceiling: AtomicU64::new(u64::MAX),
        });
        let mut producer = Producer {
            port,
            journal: Arc::clone(&journal),
            id: None,
            next_number: 0,
            next_sequence: 0,
            in_flight: VecDeque::new(),
            random: Random(seed),
        };
        Running { journal, thread: std::thread::spawn(move || producer.run()) }
    }

    /// Lets it finish what is in flight; says what it ran into.
    pub fn stop(self) -> Result<(), String> {
        self.journal.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err("the producer panicked".into()))
    }
}

struct Batch {
    bytes: Vec<u8>,
    first_number: u64,
    count: u64,
}

struct Producer {
    port: u16,
    journal: Arc<Journal>,
    id: Option<(i64, i16)>,
    next_number: u64,
    next_sequence: i32,
    in_flight: VecDeque<Batch>,
    random: Random,
}

impl Producer {
    fn run(&mut self) -> Result<(), String> {
        loop {
            let mut client = self.connect()?;
            match self.converse(&mut client) {
                Ok(()) => return Ok(()),
                Err(Trouble::Connection(_)) if self.stopping() && !self.journal.idempotent => return Ok(()),
                Err(Trouble::Connection(error)) => self.pause(&error),
                Err(Trouble::Refused(error)) => {
                    let Journal { topic, partition, .. } = &*self.journal;
                    return Err(format!(
                        "{topic}-{partition}: {error:?} after {} acknowledged",
                        self.next_number
                    ));
                }
            }
        }
    }

    /// A broker that refuses everything must not be asked thousands of times a second.
    fn pause(&self, error: &io::Error) {
        *self.journal.last_trouble.lock().expect("no panic under it") = error.to_string();
        let stopped = wait::poll(RETRY_PAUSE, || self.stopping().then_some(()));
        debug_assert!(stopped.is_none() || self.stopping());
    }

    fn stopping(&self) -> bool {
        self.journal.stop.load(Ordering::Relaxed)
    }

    fn connect(&mut self) -> Result<Client, String> {
        let mut last_trouble = String::new();
        let connected = wait::poll(RECONNECT_LIMIT, || match self.try_connect() {
            Ok(client) => Some(client),
            Err(error) => {
                last_trouble = error.to_string();
                None
            }
        });
        connected.ok_or_else(|| format!("no connection within {RECONNECT_LIMIT:?}: {last_trouble}"))
    }

    fn try_connect(&mut self) -> io::Result<Client> {
        let mut client = Client::connect(self.port)?;
        if self.journal.idempotent && self.id.is_none() {
            self.id = Some(client.init_producer_id()?);
        }
        Ok(client)
    }

    /// Produces over one connection until it breaks, or until all is acknowledged after `stop`.
    fn converse(&mut self, client: &mut Client) -> Result<(), Trouble> {
        if !self.journal.idempotent {
            // Their fate is unknown, and sending them again could only hide a loss.
            self.in_flight.clear();
        }
        for batch in &self.in_flight {
            client.send_batch(&self.journal.topic, self.journal.partition, &batch.bytes)?;
        }
        loop {
            let goes_on = !self.stopping() && !self.journal.is_at_ceiling();
            if self.in_flight.len() < IN_FLIGHT_MAX && goes_on {
                let batch = self.next_batch();
                self.in_flight.push_back(batch);
                let batch = self.in_flight.back().expect("just pushed");
                client.send_batch(&self.journal.topic, self.journal.partition, &batch.bytes)?;
            } else if self.in_flight.is_empty() && self.stopping() {
                return Ok(());
            } else if self.in_flight.is_empty() {
                let lifted = || (self.stopping() || !self.journal.is_at_ceiling()).then_some(());
                // Whether it is or not, the loop looks again.
                let _ = wait::poll(RETRY_PAUSE, lifted);
            } else {
                let produced = client.produced()?;
                self.answered(produced)?;
            }
        }
    }

    fn next_batch(&mut self) -> Batch {
        let count = 1 + self.random.below(8);
        let mut builder = Builder::new();
        if let Some((id, epoch)) = self.id {
            builder = builder.producer(id, epoch, self.next_sequence);
        }
        let first_number = self.next_number;
        // Not a constant: retention and the expiry of producers go by it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        for number in first_number..first_number + count {
            let value = value(&self.journal, number);
            builder.append(now, None, Some(&value), &[]).expect("small records");
        }
        self.next_number += count;
        self.next_sequence += count as i32;
        Batch { bytes: builder.finish().expect("small records"), first_number, count }
    }

    fn answered(&mut self, produced: Produced) -> Result<(), Trouble> {
        match produced.error {
            ErrorCode::None => {}
            ErrorCode::KafkaStorageError => {
                self.journal.storage_errors.fetch_add(1, Ordering::Relaxed);
                return Err(Trouble::Connection(io::Error::other("the directory is offline")));
            }
            // What follows in the pipe was sent for a state that did not come: begin again.
            error if error.is_retriable() && error != ErrorCode::CorruptMessage => {
                return Err(Trouble::Connection(io::Error::other(format!("{error:?}"))));
            }
            error => return Err(Trouble::Refused(error)),
        }
        let batch = self.in_flight.pop_front().expect("answers come to requests");
        let acked =
            Acked { base_offset: produced.base_offset, first_number: batch.first_number, count: batch.count };
        self.journal.acked().push(acked);
        self.journal.acked_count.fetch_add(batch.count, Ordering::Relaxed);
        Ok(())
    }
}

enum Trouble {
    Connection(io::Error),
    Refused(ErrorCode),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Connection(error)
    }
}
