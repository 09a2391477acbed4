//! Changes of the ISR on their way to the controller: gathered per broker, one request in flight.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_state::metadata::partitions::{AlterPartition, AlteredPartition, ProposedPartition};
use milena_state::metadata::record::RecoveryState;
use milena_state::partition::isr::ProposeIsr;

use super::Out;
use super::process::Process;
use crate::controller::TOPIC_ID;
use crate::message::{Message, Node, RequestId};
use crate::parameters::Mutation;
use crate::schedule::Timer;

/// What is with the controller.
#[derive(Debug, Default)]
pub struct InFlight {
    request: Option<RequestId>,
    proposals: BTreeMap<i32, ProposeIsr>,
}

impl InFlight {
    pub fn is_empty(&self) -> bool {
        self.request.is_none()
    }
}

impl Process {
    /// Sends what replicas want to propose, unless a request is under way.
    pub fn send_proposals(&mut self, out: &mut Out) {
        let Some(broker_epoch) = self.acting_epoch() else { return };
        if self.altering.request.is_some() {
            return;
        }
        let proposals: BTreeMap<i32, ProposeIsr> = self
            .replicas
            .iter_mut()
            .filter_map(|(partition, replica)| Some((*partition, replica.proposal.take()?)))
            .collect();
        if proposals.is_empty() {
            return;
        }
        let hides_epochs = self.setup.mutation == Mutation::BrokerEpochsNotSent;
        let partitions = proposals
            .iter()
            .map(|(partition, proposal)| ProposedPartition {
                topic_id: TOPIC_ID,
                partition_id: *partition,
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                new_isr: proposal
                    .new_isr
                    .iter()
                    .map(|(id, epoch)| (*id, if hides_epochs { -1 } else { *epoch }))
                    .collect(),
                leader_recovery_state: RecoveryState::Recovered,
            })
            .collect();
        let request = self.next_request();
        let broker_id = self.setup.broker_id;
        let command = AlterPartition { broker_id, broker_epoch, partitions };
        out.sends.push((Node::Controller, Message::AlterPartition(request, command)));
        out.timers.push((self.setup.request_timeout_ms, Timer::AlterPartitionTimeout { request }));
        self.altering = InFlight { request: Some(request), proposals };
    }

    pub fn proposals_answered(
        &mut self,
        request: RequestId,
        answer: Result<Vec<AlteredPartition>, ErrorCode>,
        out: &mut Out,
    ) {
        if self.altering.request != Some(request) {
            return;
        }
        let InFlight { proposals, .. } = std::mem::take(&mut self.altering);
        match answer {
            Ok(partitions) => {
                for altered in partitions {
                    let Some(proposal) = proposals.get(&altered.partition_id) else { continue };
                    let result = altered.result.map(|state| (state.partition_epoch, state.isr));
                    self.settle_proposal(altered.partition_id, proposal, result, out);
                }
            }
            Err(error) => self.proposals_failed(&proposals, error, out),
        }
        self.after_step(out);
    }

    pub fn proposals_timed_out(&mut self, request: RequestId, out: &mut Out) {
        if self.altering.request == Some(request) {
            let InFlight { proposals, .. } = std::mem::take(&mut self.altering);
            self.proposals_failed(&proposals, ErrorCode::RequestTimedOut, out);
        }
    }

    fn proposals_failed(&mut self, proposals: &BTreeMap<i32, ProposeIsr>, error: ErrorCode, out: &mut Out) {
        for (partition, proposal) in proposals {
            self.settle_proposal(*partition, proposal, Err(error), out);
        }
    }

    fn settle_proposal(
        &mut self,
        partition: i32,
        proposal: &ProposeIsr,
        result: Result<(i32, Vec<i32>), ErrorCode>,
        out: &mut Out,
    ) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        if let super::replica::Role::Leader(leader) = &mut replica.role {
            let effects = leader.proposal_answered(proposal, result, out.now_ms);
            replica.settle(effects, out);
        }
    }
}
