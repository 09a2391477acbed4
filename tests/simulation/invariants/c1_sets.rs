//! C1: the sets of a partition fit together, and no broker that is fenced is in sync.

use milena_state::metadata::{Image, Partition};
use milena_state::partition::isr::effective_min_isr;

use crate::controller::TOPIC_ID;
use crate::oracle::{Checked, violated};
use crate::parameters::Parameters;

pub fn check(image: &Image, parameters: &Parameters) -> Checked {
    let Some(topic) = image.topic(TOPIC_ID) else { return Ok(()) };
    for (index, partition) in topic.partitions.iter().enumerate() {
        if let Some(what) = wrong(image, partition, parameters) {
            return violated("C1", format!("partition {index}: {what}: {partition:?}"));
        }
    }
    Ok(())
}

fn wrong(image: &Image, p: &Partition, parameters: &Parameters) -> Option<&'static str> {
    let elr = &p.eligible_leader_replicas;
    let min_isr = effective_min_isr(parameters.min_isr, p.replicas.len());
    let fenced = |id: &i32| image.broker(*id).is_none_or(|broker| broker.fenced);
    // Without eligible leaders the last of the ISR stays in it.
    let may_be_fenced = !parameters.eligible_leader_replicas && p.isr.len() == 1;
    match () {
        () if !p.isr.iter().chain(elr).all(|id| p.replicas.contains(id)) => Some("not a replica"),
        () if p.isr.iter().any(|id| elr.contains(id)) => Some("in sync and eligible at once"),
        () if p.isr.len() >= min_isr && !elr.is_empty() => Some("eligible leaders beside a full ISR"),
        () if p.leader.is_some_and(|leader| !p.isr.contains(&leader)) => Some("the leader is not in sync"),
        () if p.isr.iter().any(fenced) && !may_be_fenced => Some("a fenced broker is in sync"),
        () if p.leader.is_some_and(|leader| fenced(&leader)) => Some("a fenced broker leads"),
        () => None,
    }
}
