//! R7: a broker that came back from a crash is neither in sync nor eligible nor leader until a leader finds it caught up.

use milena_state::metadata::{Command, Partition};

use crate::controller::{Change, Controller, TOPIC_ID};
use crate::oracle::{Checked, Oracle, violated};

pub fn check(oracle: &mut Oracle, change: &Change, controller: &Controller) -> Checked {
    let unclean_election = oracle.parameters.unclean_election;
    let with_eligible = oracle.parameters.eligible_leader_replicas;
    note_restart(oracle, change, with_eligible);
    for (index, truth) in &mut oracle.truths {
        let Some(after) = controller.partition(*index) else { continue };
        let let_in = |id: &i32| {
            let before = change.before.partition(TOPIC_ID, *index);
            let by_leader = matches!(change.command, Command::AlterPartition(_));
            // An election that may lose records makes it the only one in sync: where those are allowed, or when it led
            // last and nobody is left.
            let elected = before.filter(|before| after.leader_epoch > before.leader_epoch);
            let may_be = |p: &Partition| unclean_election || p.last_known_elr == [*id];
            let alone = after.isr == [*id] && elected.is_some_and(|before| may_be(before));
            after.isr.contains(id) && (by_leader || alone)
        };
        truth.restarted.retain(|id| !let_in(id));
        for id in &truth.restarted {
            if after.isr.contains(id)
                || after.eligible_leader_replicas.contains(id)
                || after.leader == Some(*id)
            {
                let what =
                    format!("partition {index}: broker {id} crashed and was not caught up since: {after:?}");
                return violated("R7", what);
            }
        }
    }
    Ok(())
}

fn note_restart(oracle: &mut Oracle, change: &Change, with_eligible: bool) {
    let Command::RegisterBroker(command) = &change.command else { return };
    let before = change.before.broker(command.broker_id);
    let is_new = before.is_none_or(|before| before.incarnation_id != command.incarnation_id);
    // Of one that was unregistered nobody knows how it ended.
    let is_unclean = before.is_none_or(|before| command.previous_broker_epoch != before.broker_epoch);
    if is_new && with_eligible && is_unclean && change.before.topic(TOPIC_ID).is_some() {
        for truth in oracle.truths.values_mut() {
            truth.restarted.insert(command.broker_id);
        }
    }
}
