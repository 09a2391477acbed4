//! Who can reach whom, and how long it takes.
//!
//! A message goes over a connection, so it reaches the process that lived when it was sent or nobody; one from a process
//! that died since still arrives. Cuts are one way: two of them make a partition.

use std::collections::BTreeMap;

use crate::message::Node;
use crate::parameters::Parameters;
use crate::random::Random;

/// Directions in which nothing arrives before it heals.
#[derive(Debug)]
struct Cut {
    directions: Vec<(Node, Node)>,
    heals_at_ms: i64,
    /// Messages wait for the end of the cut, as TCP sends them again; otherwise they are lost.
    holds: bool,
}

const LATE_PROPOSAL_MS_MAX: i64 = 3_000;

#[derive(Debug)]
pub struct Network {
    random: Random,
    delay_ms_max: i64,
    late_per_mille: u64,
    lost_per_mille: u64,
    repeated_per_mille: u64,
    cuts: BTreeMap<u64, Cut>,
    next_cut: u64,
    /// Brokers whose messages take longer, and by how much.
    pub slow: BTreeMap<i32, i64>,
}

impl Network {
    pub fn new(parameters: &Parameters, random: Random) -> Self {
        Self {
            random,
            delay_ms_max: parameters.delay_ms_max,
            late_per_mille: parameters.late_per_mille,
            lost_per_mille: parameters.lost_per_mille,
            repeated_per_mille: parameters.repeated_per_mille,
            cuts: BTreeMap::new(),
            next_cut: 0,
            slow: BTreeMap::new(),
        }
    }

    /// When a message arrives: not at all, once, or twice.
    pub fn delays(&mut self, from: Node, to: Node, now_ms: i64) -> [Option<i64>; 2] {
        let held_ms = self.held_ms(from, to, now_ms);
        let lost = self.random.per_mille(self.lost_per_mille);
        let Some(held_ms) = held_ms.filter(|_| !lost) else { return [None, None] };
        let first = held_ms + self.delay(from, to);
        let again = self.random.per_mille(self.repeated_per_mille).then(|| self.delay(from, to));
        [Some(first), again.filter(|_| held_ms == 0)]
    }

    /// What a proposal takes beyond that, in runs that have late ones; up to a crash and a start.
    pub fn proposal_is_late_ms(&mut self, parameters: &Parameters) -> i64 {
        // Runs that have none draw nothing, or the kept seeds would be other runs.
        let per_mille = parameters.late_proposals_per_mille;
        if per_mille > 0 && self.random.per_mille(per_mille) {
            self.random.between(0, LATE_PROPOSAL_MS_MAX)
        } else {
            0
        }
    }

    fn delay(&mut self, from: Node, to: Node) -> i64 {
        let reach = if self.random.per_mille(self.late_per_mille) { 20 } else { 1 };
        let slow = [from, to].into_iter().filter_map(|node| match node {
            Node::Broker(id) => self.slow.get(&id).copied(),
            Node::Controller | Node::Client(_) => None,
        });
        let slow: i64 = slow.sum();
        self.random.between(0, self.delay_ms_max * reach) + slow
    }

    /// How long a message waits for cuts to heal; `None` when it is lost in one.
    fn held_ms(&self, from: Node, to: Node, now_ms: i64) -> Option<i64> {
        let cuts = self.cuts.values().filter(|cut| cut.directions.contains(&(from, to)));
        cuts.map(|cut| cut.holds.then(|| cut.heals_at_ms - now_ms))
            .try_fold(0, |most, held| Some(held?.max(most)))
    }

    pub fn cut(&mut self, directions: Vec<(Node, Node)>, heals_at_ms: i64) -> u64 {
        self.next_cut += 1;
        let holds = self.random.coin();
        self.cuts.insert(self.next_cut, Cut { directions, heals_at_ms, holds });
        self.next_cut
    }

    pub fn heal(&mut self, cut: u64) {
        self.cuts.remove(&cut);
    }

    /// From here on the network does what it should.
    pub fn become_perfect(&mut self) {
        self.cuts.clear();
        self.slow.clear();
        self.delay_ms_max = self.delay_ms_max.min(5);
        (self.late_per_mille, self.lost_per_mille, self.repeated_per_mille) = (0, 0, 0);
    }
}
