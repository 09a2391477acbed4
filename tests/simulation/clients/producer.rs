//! A producer of one partition: up to five batches in flight, sent again in order from the first that is not answered.

use std::collections::{BTreeMap, VecDeque};

use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;
use milena_state::partition::acks;

use super::{ClientOut, Told};
use crate::message::{Bytes, Message, Node, Produce, RequestId};
use crate::random::Random;
use crate::schedule::ClientTimer;

/// Kafka's bound for idempotent producers: the leader remembers so many batches.
const IN_FLIGHT_MAX: usize = 5;
const BACKOFF_MS: i64 = 20;

#[derive(Debug)]
pub struct Producer {
    pub id: u32,
    pub partition: i32,
    acks: i16,
    pub is_idempotent: bool,
    producer_epoch: i16,
    /// Counter of the first record of this producer epoch.
    epoch_first: u32,
    next: u32,
    /// Something was acknowledged.
    is_known: bool,
    window: VecDeque<Batch>,
    in_flight_max: usize,
    leader: Option<i32>,
    requests: BTreeMap<RequestId, u32>,
    next_request: RequestId,
    round: u64,
    is_armed: bool,
    interval_ms: i64,
    timeout_ms: i64,
    /// No new records: what is there is still sent until it is answered.
    pub is_stopping: bool,
    random: Random,
}

#[derive(Debug)]
struct Batch {
    first: u32,
    count: u32,
    bytes: Bytes,
    is_sent: bool,
    is_answered: bool,
}

impl Producer {
    pub fn new(id: u32, partitions: i32, timeout_ms: i64, mut random: Random) -> Self {
        let is_idempotent = random.per_mille(600);
        let acks = if is_idempotent || random.coin() { acks::ALL } else { 1 };
        Self {
            id,
            partition: random.below(partitions as u64) as i32,
            acks,
            is_idempotent,
            producer_epoch: 0,
            epoch_first: 0,
            next: 0,
            is_known: false,
            window: VecDeque::new(),
            in_flight_max: if is_idempotent { random.between(1, IN_FLIGHT_MAX as i64) as usize } else { 1 },
            leader: None,
            requests: BTreeMap::new(),
            next_request: 0,
            round: 0,
            is_armed: false,
            interval_ms: random.between(5, 60),
            timeout_ms,
            is_stopping: false,
            random,
        }
    }

    /// Everything was answered.
    pub fn is_idle(&self) -> bool {
        self.window.is_empty()
    }

    pub fn wake(
        &mut self,
        timer: ClientTimer,
        find_leader: impl FnOnce() -> Option<i32>,
        out: &mut ClientOut,
    ) {
        match timer {
            ClientTimer::Act => {
                // Requests overtake each other here, as they do not on one connection; so the leader must know the
                // producer before there are two: of one that it does not know it takes any sequence (KIP-360).
                let in_flight_max = if self.is_known { self.in_flight_max } else { 1 };
                if !self.is_stopping && self.window.len() < in_flight_max {
                    self.produce();
                }
                self.leader = self.leader.or_else(find_leader);
                self.send(out);
                out.timers.push((self.random.between(1, self.interval_ms), ClientTimer::Act));
            }
            ClientTimer::Timeout { round } if round == self.round && self.is_armed => self.start_over(),
            ClientTimer::Timeout { .. } => {}
        }
    }

    /// `lost_some`: the cluster gave records of this partition up, as it may in this run.
    pub fn answered(
        &mut self,
        request: RequestId,
        result: Result<i64, ErrorCode>,
        lost_some: bool,
        out: &mut ClientOut,
    ) {
        let Some(first) = self.requests.remove(&request) else { return };
        let Some(at) = self.window.iter().position(|batch| batch.first == first) else { return };
        match result {
            Ok(base_offset) => {
                let batch = &mut self.window[at];
                batch.is_answered = true;
                self.is_known = true;
                if self.acks == acks::ALL {
                    let values =
                        (batch.first..batch.first + batch.count).map(|n| value(self.id, n)).collect();
                    out.told.push(Told::Acknowledged { partition: self.partition, base_offset, values });
                }
                while self.window.front().is_some_and(|batch| batch.is_answered) {
                    self.window.pop_front();
                }
                self.round += 1;
                self.is_armed = false;
                self.arm(out);
            }
            Err(ErrorCode::OutOfOrderSequenceNumber) if at == 0 && lost_some => self.begin_epoch(),
            Err(_) => self.start_over(),
        }
    }

    fn produce(&mut self) {
        let count = self.random.between(1, 3) as u32;
        let first = self.next;
        self.next += count;
        let bytes = self.batch(first, count);
        self.window.push_back(Batch { first, count, bytes, is_sent: false, is_answered: false });
    }

    fn batch(&self, first: u32, count: u32) -> Bytes {
        let mut builder = Builder::new();
        if self.is_idempotent {
            let sequence = (first - self.epoch_first) as i32;
            builder = builder.producer(1000 + i64::from(self.id), self.producer_epoch, sequence);
        }
        for number in first..first + count {
            let value = value(self.id, number).to_be_bytes();
            builder.append(0, None, Some(&value), &[]).expect("a small record fits");
        }
        builder.finish().map(Bytes::new).expect("a small batch fits")
    }

    fn send(&mut self, out: &mut ClientOut) {
        let Some(leader) = self.leader else { return };
        for batch in self.window.iter_mut().filter(|batch| !batch.is_sent) {
            batch.is_sent = true;
            self.next_request += 1;
            self.requests.insert(self.next_request, batch.first);
            let produce = Produce { partition: self.partition, acks: self.acks, bytes: batch.bytes.clone() };
            out.sends.push((Node::Broker(leader), Message::Produce(self.next_request, produce)));
        }
        self.arm(out);
    }

    fn arm(&mut self, out: &mut ClientOut) {
        if !self.is_armed && self.window.iter().any(|batch| batch.is_sent && !batch.is_answered) {
            self.is_armed = true;
            out.timers.push((self.timeout_ms, ClientTimer::Timeout { round: self.round }));
        }
    }

    /// Sends everything again, in order, to whoever leads by then.
    fn start_over(&mut self) {
        self.round += 1;
        self.is_armed = false;
        self.leader = None;
        self.window.iter_mut().filter(|batch| !batch.is_answered).for_each(|batch| batch.is_sent = false);
        // The next Act comes by itself; a whole backoff is the upper end of its interval.
        self.interval_ms = self.interval_ms.max(BACKOFF_MS);
    }

    /// The leader's sequences are behind what was acknowledged: begin again with those it can take (KIP-360).
    fn begin_epoch(&mut self) {
        self.producer_epoch += 1;
        let Some(front) = self.window.front() else { return };
        self.epoch_first = front.first;
        self.window.retain(|batch| !batch.is_answered);
        // Sequences of an epoch have no gaps, so everything behind the first is numbered anew.
        let mut first = self.epoch_first;
        let batches: Vec<u32> = self.window.iter().map(|batch| batch.count).collect();
        for (at, count) in batches.into_iter().enumerate() {
            let bytes = self.batch(first, count);
            let batch = &mut self.window[at];
            (batch.first, batch.bytes) = (first, bytes);
            first += count;
        }
        self.next = first;
        self.requests.clear();
        self.start_over();
    }
}

/// A value that no other record has.
pub fn value(producer: u32, number: u32) -> u64 {
    u64::from(producer) << 32 | u64::from(number)
}
