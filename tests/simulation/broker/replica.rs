//! One partition of one broker: its log, its role, and the numbers around it.

use std::sync::Arc;

use milena_log::{Directory, Log, Read};
use milena_protocol::ErrorCode;
use milena_protocol::records::Batches;
use milena_state::metadata::{Image, Partition};
use milena_state::partition::follower::Follower;
use milena_state::partition::isr::ProposeIsr;
use milena_state::partition::leader::{Effects, Leader, LogEnds, Rules};

use super::{Cell, Note, Out, Setup};
use crate::controller::TOPIC;
use crate::message::{Message, Node, RequestId};
use crate::parameters::Mutation;

#[derive(Debug)]
pub struct Replica {
    pub setup: Arc<Setup>,
    pub partition: i32,
    pub log: Log,
    /// What the log should hold, record by record.
    pub shadow: Vec<Cell>,
    pub role: Role,
    pub high_watermark: i64,
    /// Offsets below this agree with what is committed, as far as the oracle has looked.
    pub agreed: usize,
    /// `given_up` of the truth when that was looked at.
    pub agreed_in: u32,
    pub waiting: Vec<Waiting>,
    /// Proposals that are not sent yet.
    pub proposal: Option<ProposeIsr>,
    /// Followers that wait for records should be looked after.
    pub wakes: bool,
    pub sync_is_due: bool,
}

#[derive(Debug)]
pub enum Role {
    Leader(Box<Leader>),
    Follower { follower: Follower, leader: Option<i32> },
}

/// A produce that waits for its acknowledgement.
#[derive(Debug)]
pub struct Waiting {
    pub client: Node,
    pub request: RequestId,
    pub base_offset: i64,
    pub required_offset: i64,
    pub leader_epoch: i32,
    /// Waits for the disk of the leader instead of the high watermark.
    pub for_sync: bool,
}

/// The process that the replica belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Myself {
    pub broker_id: i32,
    pub broker_epoch: i64,
}

impl Replica {
    pub fn open(setup: Arc<Setup>, partition: i32, directory: &Arc<Directory>, now_ms: i64) -> Self {
        let name = format!("{TOPIC}-{partition}");
        let (mut log, _) = Log::open(directory, &name, setup.log.clone(), now_ms)
            .unwrap_or_else(|error| panic!("{name} of broker {}: {error}", setup.broker_id));
        let shadow = read_all(&mut log);
        Self {
            setup,
            partition,
            log,
            shadow,
            role: Role::Follower { follower: Follower::new(-1, 0, 0), leader: None },
            high_watermark: 0,
            agreed: 0,
            agreed_in: 0,
            waiting: Vec::new(),
            proposal: None,
            wakes: false,
            sync_is_due: false,
        }
    }

    pub fn leader_epoch(&self) -> i32 {
        match &self.role {
            Role::Leader(leader) => leader.leader_epoch(),
            Role::Follower { follower, .. } => follower.leader_epoch(),
        }
    }

    pub fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower { .. } => None,
        }
    }

    pub fn log_end_offset(&self) -> i64 {
        self.log.log_end_offset()
    }

    /// Start and end of the log.
    pub fn ends(&self) -> (i64, i64) {
        (self.log.log_start_offset(), self.log.log_end_offset())
    }

    fn rules(&self) -> Rules {
        Rules {
            min_insync_replicas: self.setup.min_isr,
            durable: self.setup.durable,
            replica_lag_time_max_ms: self.setup.lag_time_ms,
        }
    }

    /// Takes what the image says about this partition.
    pub fn assign(&mut self, assigned: &Partition, image: &Image, myself: Myself, out: &mut Out) {
        if assigned.leader_epoch < self.leader_epoch() {
            return out.notes.push(Note::Impossible("the leader epoch of an image went back".to_owned()));
        }
        if assigned.leader != Some(myself.broker_id) {
            return self.follow(assigned, out);
        }
        let effects = match &mut self.role {
            Role::Leader(leader) if leader.leader_epoch() == assigned.leader_epoch => {
                leader.image_changed(assigned, out.now_ms)
            }
            Role::Leader(_) | Role::Follower { .. } => self.lead(assigned, myself, out),
        };
        self.settle(effects, out);
        let effects = self.set_eligible(image, out.now_ms);
        self.settle(effects, out);
    }

    /// As the shell does every second.
    pub fn note_high_watermark(&self) {
        if self.high_watermark > self.log.noted_high_watermark().unwrap_or(-1) {
            self.log.note_high_watermark(self.high_watermark);
        }
    }

    fn follow(&mut self, assigned: &Partition, out: &mut Out) {
        let followed = matches!(self.role, Role::Follower { follower, leader }
            if follower.leader_epoch() == assigned.leader_epoch && leader == assigned.leader);
        if followed {
            return;
        }
        let follower = Follower::new(assigned.leader_epoch, self.high_watermark, self.log_end_offset());
        self.high_watermark = follower.high_watermark();
        self.role = Role::Follower { follower, leader: assigned.leader };
        self.proposal = None;
        self.dismiss(out);
        if self.setup.mutation == Mutation::TruncatesToHighWatermark {
            self.truncate(self.high_watermark);
        } else {
            // Epochs that this broker led without a record are no part of its log.
            self.truncate(self.log_end_offset());
        }
    }

    fn lead(&mut self, assigned: &Partition, myself: Myself, out: &mut Out) -> Effects {
        self.dismiss(out);
        self.proposal = None;
        self.log.assign_epoch_start(assigned.leader_epoch);
        let ends = LogEnds {
            log_start_offset: self.log.log_start_offset(),
            log_end_offset: self.log.log_end_offset(),
            synced_offset: self.log.durable_offset(),
            high_watermark: self.high_watermark.max(self.log.noted_high_watermark().unwrap_or(0)),
        };
        let (leader, effects) =
            Leader::new(myself.broker_id, myself.broker_epoch, assigned, ends, self.rules(), out.now_ms);
        out.notes.push(Note::Leads { partition: self.partition, leader_epoch: assigned.leader_epoch });
        self.high_watermark = leader.high_watermark();
        self.role = Role::Leader(Box::new(leader));
        effects
    }

    /// The brokers that may join the ISR changed.
    pub fn set_eligible(&mut self, image: &Image, now_ms: i64) -> Effects {
        let mut risen = Effects::default();
        if let Role::Leader(leader) = &mut self.role {
            for broker in image.brokers() {
                let epoch = broker.is_active().then_some(broker.broker_epoch);
                let effects = leader.set_eligible(broker.broker_id, epoch, now_ms);
                risen.advance_high_watermark =
                    effects.advance_high_watermark.or(risen.advance_high_watermark);
            }
        }
        risen
    }

    /// The image gives this replica to nobody here any more.
    pub fn delete(mut self, unique: u64, out: &mut Out) {
        self.dismiss(out);
        let unique = format!("{unique:032x}");
        self.log.delete(&unique).expect("no fault of the disk is simulated here");
    }

    /// Carries out what the rules ask for.
    pub fn settle(&mut self, effects: Effects, out: &mut Out) {
        if let Some(high_watermark) = effects.advance_high_watermark {
            self.log.high_watermark_reached(high_watermark);
            self.high_watermark = high_watermark;
        }
        if effects.propose_isr.is_some() {
            self.proposal = effects.propose_isr;
        }
        self.acknowledge(out);
    }

    /// Answers the appends that have reached what they wait for.
    pub fn acknowledge(&mut self, out: &mut Out) {
        let Role::Leader(leader) = &self.role else { return };
        let synced = self.log.durable_offset();
        let forgets = self.setup.mutation == Mutation::ForgetsWhoseAppend;
        self.waiting.retain(|waiting| {
            let epoch = if forgets { leader.leader_epoch() } else { waiting.leader_epoch };
            let outcome = match waiting.for_sync {
                true => (synced >= waiting.required_offset).then(|| leader.check_appended_in(epoch)),
                false => leader.acks_all_outcome(waiting.required_offset, epoch),
            };
            if let Some(outcome) = outcome {
                let result = outcome.map(|()| waiting.base_offset);
                out.sends.push((waiting.client, Message::Produced(waiting.request, result)));
            }
            outcome.is_none()
        });
    }

    /// Sends away whoever waits: this leadership is over.
    fn dismiss(&mut self, out: &mut Out) {
        if self.setup.mutation == Mutation::ForgetsWhoseAppend {
            return;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let result = Err(ErrorCode::NotLeaderOrFollower);
            out.sends.push((waiting.client, Message::Produced(waiting.request, result)));
        }
    }

    /// A sync of the log is over.
    pub fn synced(&mut self, out: &mut Out) {
        self.sync_is_due = false;
        self.log.sync().expect("no fault of the disk is simulated here");
        let synced = self.log.durable_offset();
        if let Role::Leader(leader) = &mut self.role {
            let effects = leader.synced(synced, out.now_ms);
            self.settle(effects, out);
        }
    }

    pub fn truncate(&mut self, offset: i64) {
        self.log.truncate_to(offset).expect("no fault of the disk is simulated here");
        let (start, end) = self.ends();
        self.shadow.truncate(end as usize);
        self.agreed = self.agreed.min(self.shadow.len());
        if let Role::Follower { follower, .. } = &mut self.role {
            follower.cut((start, end));
            self.high_watermark = follower.high_watermark();
        }
        assert_eq!(self.shadow.len() as i64, end, "a log ends where its last batch does");
    }

    /// Notes records that were appended at the end of the log.
    pub fn appended(&mut self, bytes: &[u8], leader_epoch: Option<i32>) {
        self.shadow.extend(cells(bytes, leader_epoch));
        assert_eq!(self.shadow.len() as i64, self.log_end_offset(), "the log grew by what was appended");
    }

    /// Records from `offset` on, as they are in the files.
    pub fn read(&mut self, offset: i64, upto_offset: i64, max_bytes: usize) -> Vec<u8> {
        read(&mut self.log, offset, upto_offset, max_bytes)
    }
}

fn read(log: &mut Log, from_offset: i64, upto_offset: i64, max_bytes: usize) -> Vec<u8> {
    let read = Read { from_offset, upto_offset, max_bytes, min_one_batch: true, hot_only: false };
    match log.read(read) {
        Ok(Some(slice)) => slice.read().expect("no fault of the disk is simulated here"),
        Ok(None) => Vec::new(),
        Err(error) => panic!("{} at {from_offset}: {error}", log.name()),
    }
}

/// Everything that is in the files of the log.
pub fn read_all(log: &mut Log) -> Vec<Cell> {
    let mut found = Vec::new();
    let end = log.log_end_offset();
    while (found.len() as i64) < end {
        let bytes = read(log, found.len() as i64, end, 1 << 20);
        assert!(!bytes.is_empty(), "a log without gaps has records up to its end");
        found.extend(cells(&bytes, None));
    }
    found
}

/// The records of whole batches; a batch that was cut is left out.
pub fn cells(bytes: &[u8], leader_epoch: Option<i32>) -> Vec<Cell> {
    let mut found = Vec::new();
    for batch in Batches::maybe_truncated(bytes) {
        let batch = batch.expect("the log gives whole batches");
        let leader_epoch = leader_epoch.unwrap_or(batch.leader_epoch);
        for record in batch.records().expect("nothing is compressed here") {
            let value = record.expect("the log gives whole records").value.expect("every record has one");
            let value = u64::from_be_bytes(value.try_into().expect("of eight bytes"));
            found.push(Cell { leader_epoch, value });
        }
    }
    found
}
