//! A broker as the shipped one is: a disk that outlives its processes, and a process that may end at any step.
//!
//! [`process`] is the life of a process, [`registration`] what it and the controller say to each other, [`replica`] one
//! partition's log and role, [`leading`] and [`following`] its two sides. They do what `broker/src/partition` and
//! `broker/src/replication` do, with the shipped rules and the shipped log, and talk to the world only through [`Out`]; the
//! shipped shell can take their place when it does too.

pub mod alter_partition;
pub mod following;
pub mod leading;
pub mod process;
pub mod registration;
pub mod replica;

use std::path::Path;
use std::sync::Arc;

use milena_log::directory::Options;
use milena_log::memory_files::{Loss, MemoryFiles};
use milena_log::{Config, Directory};

use crate::message::{Message, Node};
use crate::parameters::{Mutation, Parameters};
use crate::schedule::Timer;
use process::Process;

const PATH: &str = "/data";

/// What a step of a broker asks of the world, and what the oracle should know of it.
#[derive(Debug, Default)]
pub struct Out {
    pub now_ms: i64,
    pub sends: Vec<(Node, Message)>,
    /// Wait, then what to be woken for.
    pub timers: Vec<(i64, Timer)>,
    pub notes: Vec<Note>,
}

/// What only somebody who sees everything can judge.
#[derive(Debug)]
pub enum Note {
    /// A consumer was given these records.
    Read { partition: i32, leader_epoch: i32, offset: i64, cells: Vec<Cell> },
    /// This broker begins to lead.
    Leads { partition: i32, leader_epoch: i32 },
    /// A process ended in order.
    Stopped,
    /// The shell met what cannot be.
    Impossible(String),
}

/// One record as the oracle sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub leader_epoch: i32,
    pub value: u64,
}

/// What does not change from process to process.
#[derive(Debug, Clone)]
pub struct Setup {
    pub broker_id: i32,
    pub mutation: Mutation,
    pub min_isr: i32,
    pub durable: bool,
    pub lag_time_ms: i64,
    pub heartbeat_ms: i64,
    pub request_timeout_ms: i64,
    pub fetch_bytes: usize,
    pub writeback_per_mille: u64,
    pub log: Arc<Config>,
}

#[derive(Debug)]
pub struct Broker {
    pub setup: Arc<Setup>,
    pub files: MemoryFiles,
    pub process: Option<Process>,
    /// Number of the process that lives or lived last.
    pub process_number: u64,
    /// No process ended but in order, and so nothing was lost; nor was the broker unregistered, which says so.
    pub was_clean: bool,
    /// Of the process before, which must not know it unless it stopped in order.
    last_epoch: Option<i64>,
    /// The process does nothing before this time.
    pub paused_until_ms: i64,
}

impl Broker {
    pub fn new(broker_id: i32, parameters: &Parameters) -> Self {
        let log = Config {
            segment_bytes: parameters.segment_bytes,
            index_interval_bytes: 100,
            retention_ms: None,
            ..Config::default()
        };
        let setup = Setup {
            broker_id,
            mutation: parameters.mutation,
            min_isr: parameters.min_isr,
            durable: parameters.durable,
            lag_time_ms: parameters.lag_time_ms,
            heartbeat_ms: parameters.heartbeat_ms,
            request_timeout_ms: parameters.request_timeout_ms,
            fetch_bytes: parameters.fetch_bytes,
            writeback_per_mille: parameters.writeback_per_mille,
            log: Arc::new(log),
        };
        Self {
            setup: Arc::new(setup),
            files: MemoryFiles::new(),
            process: None,
            process_number: 0,
            was_clean: true,
            last_epoch: None,
            paused_until_ms: 0,
        }
    }

    pub fn start(&mut self, random: crate::random::Random, out: &mut Out) {
        assert!(self.process.is_none(), "one process at a time");
        self.process_number += 1;
        self.paused_until_ms = 0;
        self.files.set_now(out.now_ms);
        let options = Options { flusher_thread: false, open_files_max: 8 };
        let directory = Directory::open(Arc::new(self.files.clone()), Path::new(PATH), options)
            .unwrap_or_else(|error| panic!("directory of broker {}: {error}", self.setup.broker_id));
        let (setup, number) = (self.setup.clone(), self.process_number);
        self.process = Some(Process::start(setup, number, directory, self.last_epoch, random, out));
    }

    /// The process is gone, and what the disk had not synced may be.
    pub fn crash(&mut self, loss: Loss) {
        self.last_epoch = self.process.take().and_then(|process| process.epoch);
        self.was_clean = false;
        self.files = self.files.crash(loss);
    }

    /// Closes logs and directory in the order in which the shipped broker does.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            self.last_epoch = process.epoch;
            process.close();
        }
    }
}
