//! Liveness (L1–L4, L6): without faults everything comes to rest, and then all replicas are the same.

use milena_state::metadata::Partition;

use crate::broker::replica::{Replica, read_all};
use crate::controller::TOPIC_ID;
use crate::oracle::{Checked, violated};
use crate::world::World;

impl World {
    /// What is not as it should be yet, nothing when all is well.
    pub fn unrest(&self) -> Option<String> {
        let Some(topic) = self.controller.image.topic(TOPIC_ID) else {
            return Some("L3: there is no topic".to_owned());
        };
        for (id, broker) in &self.brokers {
            let Some(process) = &broker.process else { return Some(format!("broker {id} is down")) };
            let registered = self.controller.image.broker(*id);
            if registered
                .is_none_or(|broker| !broker.is_active() || Some(broker.broker_epoch) != process.epoch)
            {
                return Some(format!("L1: broker {id} is not active: {registered:?}"));
            }
            if process.image != self.controller.image {
                let (has, of) = (process.image.applied(), self.controller.image.applied());
                return Some(format!(
                    "L3: broker {id} has the image of {has:?}, the controller that of {of:?}"
                ));
            }
            if !process.altering.is_empty() {
                return Some(format!("L2: broker {id} waits for AlterPartition"));
            }
        }
        if let Some(producer) = self.producers.iter().find(|producer| !producer.is_idle()) {
            return Some(format!("L4: producer {} waits: {producer:?}", producer.id));
        }
        topic.partitions.iter().enumerate().find_map(|(index, partition)| {
            Some(format!("partition {index}: {}", self.unrest_of(index as i32, partition)?))
        })
    }

    fn unrest_of(&self, index: i32, partition: &Partition) -> Option<String> {
        if partition.leader != partition.replicas.first().copied() {
            return Some(format!("L6: the preferred replica does not lead: {partition:?}"));
        }
        if !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty() {
            return Some(format!("L5: the reassignment is not complete: {partition:?}"));
        }
        if let Some(out) = partition.replicas.iter().find(|id| !partition.isr.contains(id)) {
            return Some(format!("L5: {out} is not in sync: {partition:?}"));
        }
        let replica =
            |id: &i32| -> Option<&Replica> { self.brokers.get(id)?.process.as_ref()?.replicas.get(&index) };
        let ends = |replica: &Replica| (replica.log_end_offset(), replica.high_watermark);
        let leader = replica(&partition.replicas[0])?;
        let (end, high_watermark) = ends(leader);
        let committed = self.oracle.truths[&index].committed.len() as i64;
        if end != high_watermark || committed != end {
            return Some(format!(
                "L5: the log ends at {end}, its watermark is {high_watermark}, {committed} are committed"
            ));
        }
        partition.replicas.iter().find_map(|id| {
            let theirs = ends(replica(id)?);
            (theirs != (end, end)).then(|| format!("L5: broker {id} is at {theirs:?} of {end}"))
        })
    }

    /// At the end the files are read: they hold what they should, on every replica the same.
    pub fn check_disks(&mut self) -> Checked {
        for (id, broker) in &mut self.brokers {
            let Some(process) = &mut broker.process else { continue };
            for (index, replica) in &mut process.replicas {
                let committed = &self.oracle.truths[index].committed;
                let found = read_all(&mut replica.log);
                if found != *committed {
                    let at = found.iter().zip(committed).position(|(a, b)| a != b).unwrap_or(committed.len());
                    let (has, of) = (found.len(), committed.len());
                    let what =
                        format!("partition {index}: the files of broker {id} differ at {at}: {has} of {of}");
                    return violated("R4", what);
                }
            }
        }
        Ok(())
    }
}
