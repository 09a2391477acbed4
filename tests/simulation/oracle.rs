//! Sees everything, and knows what is committed: the records below the highest high watermark that a leader ever had.
//!
//! The invariants, one file each, are asked after every step about what the step may have changed. Where a run allows
//! loss (unclean elections, or more lossy crashes than the promise covers) an unclean election sets what is committed
//! back to what the new leader has.

use std::collections::{BTreeMap, BTreeSet};

use milena_state::metadata::{Command, Partition};

use crate::broker::replica::{Replica, Role};
use crate::broker::{Broker, Cell, Note};
use crate::clients::Told;
use crate::controller::{Change, Controller};
use crate::invariants;
use crate::parameters::Parameters;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// As in docs/simulation.md.
    pub invariant: &'static str,
    pub what: String,
}

pub type Checked = Result<(), Violation>;

pub fn violated(invariant: &'static str, what: String) -> Checked {
    Err(Violation { invariant, what })
}

/// What is true of one partition.
#[derive(Debug, Default)]
pub struct Truth {
    pub committed: Vec<Cell>,
    /// Who led in each leader epoch.
    pub leaders: BTreeMap<i32, i32>,
    /// Leaders of earlier epochs were overruled by an unclean election: nothing that they do counts.
    pub floor_epoch: i32,
    /// The leader of an unclean election has not begun yet.
    pub awaits_leader: bool,
    /// There was an unclean election, in a run where that may lose records.
    pub lost_some: bool,
    /// Next number of each idempotent producer's record.
    pub producers: BTreeMap<u32, u32>,
    /// How often what is committed was set back.
    pub given_up: u32,
    /// So many of the committed records were counted for their producers.
    pub counted: usize,
    /// What each consumer was told of the end, and in which epoch.
    pub told_latest: BTreeMap<u32, (i32, i64)>,
    /// Brokers that came back from a crash and were not let in again.
    pub restarted: BTreeSet<i32>,
}

#[derive(Debug)]
pub struct Oracle {
    pub parameters: Parameters,
    pub truths: BTreeMap<i32, Truth>,
    pub next_producer_id: i64,
    /// Producers that send sequences.
    pub idempotent: Vec<u32>,
    /// Epoch of each broker's last registration.
    pub broker_epochs: BTreeMap<i32, i64>,
    /// When each broker was heard last, by its epoch.
    pub heard_ms: BTreeMap<(i32, i64), i64>,
}

/// Everything, as it is after a step.
pub struct View<'a> {
    pub controller: &'a Controller,
    pub brokers: &'a mut BTreeMap<i32, Broker>,
}

impl Oracle {
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            parameters: parameters.clone(),
            truths: (0..parameters.partitions).map(|index| (index, Truth::default())).collect(),
            next_producer_id: 0,
            idempotent: Vec::new(),
            broker_epochs: BTreeMap::new(),
            heard_ms: BTreeMap::new(),
        }
    }

    pub fn lost_some(&self, partition: i32) -> bool {
        self.truths[&partition].lost_some
    }

    /// The controller changed the metadata.
    pub fn changed(&mut self, change: &Change, controller: &Controller) -> Checked {
        invariants::c1_sets::check(&controller.image, &self.parameters)?;
        invariants::c2_epochs::check(change, controller)?;
        invariants::c3_broker_epochs::check(self, change)?;
        invariants::c4_alter_partition::check(change, controller)?;
        invariants::c5_producer_ids::check(self, change)?;
        invariants::r7_unclean::check(self, change, controller)?;
        self.note_elections(change, controller);
        Ok(())
    }

    fn note_elections(&mut self, change: &Change, controller: &Controller) {
        for (index, truth) in &mut self.truths {
            let before = change.before.partition(crate::controller::TOPIC_ID, *index);
            let (Some(before), Some(after)) = (before, controller.partition(*index)) else { continue };
            let elected = after.leader.filter(|_| after.leader_epoch > before.leader_epoch);
            // Completing a reassignment elects among those whom the leader has just found caught up.
            let found = |leader| proposed(&change.command, *index).any(|id| id == leader);
            if elected.is_some_and(|leader| !is_complete(before, leader) && !found(leader)) {
                truth.floor_epoch = after.leader_epoch;
                truth.awaits_leader = true;
                truth.lost_some |= !self.parameters.is_strict();
            }
        }
    }

    /// A broker has done something.
    pub fn stepped(&mut self, broker_id: i32, notes: &[Note], view: &mut View<'_>) -> Checked {
        let broker = view.brokers.get_mut(&broker_id).expect("it has just stepped");
        if let Some(process) = &mut broker.process {
            for note in notes {
                if let Note::Leads { partition, leader_epoch } = note {
                    let replica = process.replicas.get_mut(partition).expect("it leads it");
                    self.begins_to_lead(broker_id, *leader_epoch, replica)?;
                }
            }
            for (index, replica) in &mut process.replicas {
                let truth = self.truths.get_mut(index).expect("every partition has its truth");
                truth.agree(replica);
                if let Role::Leader(leader) = &replica.role {
                    let (epoch, high_watermark) = (leader.leader_epoch(), leader.high_watermark());
                    invariants::r4_log_matching::commit(truth, replica, epoch, high_watermark)?;
                    truth.agree(replica);
                }
                invariants::r6_watermark::check(truth, broker_id, replica)?;
            }
        }
        for note in notes {
            match note {
                Note::Read { partition, leader_epoch, offset, cells } => {
                    let truth = &self.truths[partition];
                    invariants::r6_watermark::check_read(truth, broker_id, *leader_epoch, *offset, cells)?;
                }
                Note::Impossible(what) => return violated("shell", format!("broker {broker_id}: {what}")),
                Note::Leads { .. } | Note::Stopped => {}
            }
        }
        invariants::r9_idempotence::check(self)?;
        self.check_cluster(view)
    }

    /// What concerns the controller's image and all brokers at once.
    pub fn check_cluster(&mut self, view: &mut View<'_>) -> Checked {
        for (index, truth) in &mut self.truths {
            let Some(partition) = view.controller.partition(*index) else { continue };
            if truth.awaits_leader {
                continue;
            }
            invariants::r1_quorum::check(*index, partition, view, &self.parameters)?;
            invariants::r2_candidates::check(*index, truth, partition, view)?;
            invariants::r3_leader::check(*index, truth, partition, view)?;
        }
        Ok(())
    }

    fn begins_to_lead(&mut self, broker_id: i32, leader_epoch: i32, replica: &mut Replica) -> Checked {
        let is_strict = self.parameters.is_strict();
        let truth = self.truths.get_mut(&replica.partition).expect("every partition has its truth");
        invariants::c2_epochs::check_leader(truth, replica.partition, leader_epoch, broker_id)?;
        truth.agree(replica);
        if truth.awaits_leader && leader_epoch >= truth.floor_epoch {
            if is_strict && replica.agreed < truth.committed.len() {
                let (has, of) = (replica.agreed, truth.committed.len());
                let what = format!(
                    "partition {}: broker {broker_id} was elected with {has} of {of} committed records",
                    replica.partition
                );
                return violated("R5", what);
            }
            truth.give_up(replica.agreed);
        }
        Ok(())
    }

    /// A client was told something.
    pub fn told(&mut self, told: &Told) -> Checked {
        match told {
            Told::Acknowledged { partition, base_offset, values } => {
                let truth = &self.truths[partition];
                invariants::r5_acknowledged::check(truth, *partition, *base_offset, values)
            }
            Told::Latest { partition, consumer, leader_epoch, latest } => {
                let truth = self.truths.get_mut(partition).expect("every partition has its truth");
                invariants::r6_watermark::check_latest(truth, *consumer, *leader_epoch, *latest)
            }
        }
    }
}

impl Truth {
    /// Compares more of the replica's log with what is committed.
    pub fn agree(&self, replica: &mut Replica) {
        let upto = replica.shadow.len().min(self.committed.len());
        // What was given up may have been committed anew, with other records.
        let known = if replica.agreed_in == self.given_up { replica.agreed } else { 0 };
        (replica.agreed, replica.agreed_in) = (known.min(upto), self.given_up);
        while replica.agreed < upto && replica.shadow[replica.agreed] == self.committed[replica.agreed] {
            replica.agreed += 1;
        }
    }

    /// An unclean election: what the new leader lacks is lost.
    fn give_up(&mut self, from: usize) {
        self.awaits_leader = false;
        self.given_up += 1;
        self.committed.truncate(from);
        self.counted = self.counted.min(from);
    }

    /// Whether what happens in this leader epoch counts.
    pub fn counts(&self, leader_epoch: i32) -> bool {
        leader_epoch >= self.floor_epoch && !(self.awaits_leader && leader_epoch <= self.floor_epoch)
    }
}

/// Whom a leader says to be in sync.
fn proposed(command: &Command, partition: i32) -> impl Iterator<Item = i32> {
    let proposals = match command {
        Command::AlterPartition(command) => command.partitions.as_slice(),
        _ => &[],
    };
    let of = proposals.iter().filter(move |proposal| proposal.partition_id == partition);
    of.flat_map(|proposal| proposal.new_isr.iter().map(|(id, _)| *id))
}

/// Whether whoever is elected from here holds everything that is committed.
fn is_complete(before: &Partition, leader: i32) -> bool {
    before.isr.contains(&leader) || before.eligible_leader_replicas.contains(&leader)
}
