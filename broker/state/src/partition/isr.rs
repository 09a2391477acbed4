//! The in-sync replicas of a partition as its leader sees them (KIP-497, KIP-966).
//!
//! While a change is with the controller nobody knows which of the two sets holds, so the leader
//! must satisfy both: the **maximal ISR** is the committed set together with the proposed one, and
//! the high watermark waits for all of it. Only the answer or a newer image ends that state.

/// Committed in-sync replicas and the change that is under way, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrState {
    committed: Vec<i32>,
    proposed: Option<ProposeIsr>,
}

/// What the leader asks of the controller (AlterPartition). Members carry the broker epoch under
/// which they were last heard, so that a restarted broker is not let in by an old proposal (KIP-903).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposeIsr {
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Broker id and broker epoch; −1 where it is not known.
    pub new_isr: Vec<(i32, i64)>,
}

impl IsrState {
    pub fn new(committed: Vec<i32>) -> Self {
        Self { committed, proposed: None }
    }

    /// The set in the last image or answer.
    pub fn committed(&self) -> &[i32] {
        &self.committed
    }

    /// Whether a proposal is with the controller.
    pub fn is_in_flight(&self) -> bool {
        self.proposed.is_some()
    }

    /// What is with the controller. It is asked again as it was: a member that has restarted since may have lost what it
    /// had, and must not come in under its new broker epoch.
    pub fn proposed(&self) -> Option<&ProposeIsr> {
        self.proposed.as_ref()
    }

    /// Committed and proposed members, each once.
    pub fn maximal(&self) -> impl Iterator<Item = i32> {
        let proposed = self.proposed.iter().flat_map(|proposed| proposed.new_isr.iter().map(|(id, _)| id));
        let added = proposed.filter(|member| !self.committed.contains(member));
        self.committed.iter().chain(added).copied()
    }

    pub fn maximal_contains(&self, broker_id: i32) -> bool {
        self.maximal().any(|member| member == broker_id)
    }

    pub fn contains(&self, broker_id: i32) -> bool {
        self.committed.contains(&broker_id)
    }

    pub fn propose(&mut self, proposal: ProposeIsr) {
        debug_assert!(self.proposed.is_none(), "one proposal at a time, {:?} is open", self.proposed);
        self.proposed = Some(proposal);
    }

    /// The controller's set holds now; whatever was proposed is settled.
    pub fn settle(&mut self, committed: Vec<i32>) {
        self.committed = committed;
        self.proposed = None;
    }

    /// The controller refused for certain: nothing changed.
    pub fn withdraw(&mut self) {
        self.proposed = None;
    }
}

/// The `min.insync.replicas` that can be met: never more than there are replicas.
pub fn effective_min_isr(min_insync_replicas: i32, replicas_count: usize) -> usize {
    usize::try_from(min_insync_replicas).unwrap_or(1).max(1).min(replicas_count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maximal_isr_is_the_union_until_the_proposal_is_settled() {
        let proposal = |members: &[i32]| ProposeIsr {
            leader_epoch: 0,
            partition_epoch: 0,
            new_isr: members.iter().map(|id| (*id, 7)).collect(),
        };
        let mut isr = IsrState::new(vec![1, 2]);
        isr.propose(proposal(&[1, 3]));
        assert_eq!(isr.maximal().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(isr.is_in_flight() && isr.maximal_contains(2) && isr.maximal_contains(3));
        isr.settle(vec![1, 3]);
        assert_eq!(isr.maximal().collect::<Vec<_>>(), [1, 3]);
        isr.propose(proposal(&[1]));
        isr.withdraw();
        assert_eq!(isr.maximal().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn min_isr_is_at_most_the_replicas_and_at_least_one() {
        for (min, replicas, effective) in [(2, 3, 2), (2, 1, 1), (3, 2, 2), (1, 3, 1), (0, 1, 1)] {
            assert_eq!(effective_min_isr(min, replicas), effective, "min {min} of {replicas}");
        }
    }
}
