//! Who can reach whom, and how long it takes.
//!
//! A message goes over a connection, so it reaches the process that lived when it was sent or nobody; one from a process
//! that died since still arrives. Cuts are one way: two of them make a partition.

use std::collections::BTreeMap;

use crate::message::Node;
use crate::parameters::Parameters;
use crate::random::Random;

#[derive(Debug)]
pub struct Network {
    random: Random,
    delay_ms_max: i64,
    late_per_mille: u64,
    lost_per_mille: u64,
    repeated_per_mille: u64,
    /// Cuts by their number, each a list of directions.
    cuts: BTreeMap<u64, Vec<(Node, Node)>>,
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
    pub fn delays(&mut self, from: Node, to: Node) -> [Option<i64>; 2] {
        if self.is_cut(from, to) || self.random.per_mille(self.lost_per_mille) {
            return [None, None];
        }
        let first = self.delay(from, to);
        let again = self.random.per_mille(self.repeated_per_mille).then(|| self.delay(from, to));
        [Some(first), again]
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

    pub fn is_cut(&self, from: Node, to: Node) -> bool {
        self.cuts.values().any(|directions| directions.contains(&(from, to)))
    }

    pub fn cut(&mut self, directions: Vec<(Node, Node)>) -> u64 {
        self.next_cut += 1;
        self.cuts.insert(self.next_cut, directions);
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
