//! Virtual time: events in the order of their time, those of one moment in the order in which they were made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::message::{Message, Node};

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    Deliver {
        from: Node,
        to: Node,
        process: u64,
        message: Message,
    },
    Timer {
        broker: i32,
        process: u64,
        timer: Timer,
    },
    Client(u32, ClientTimer),
    ControllerTick,
    Fault,
    /// A broker that is down starts again.
    Start(i32),
    /// A cut in the network heals.
    Heal(u64),
    CheckRest,
}

/// What a broker asked to be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Register,
    Heartbeat,
    FollowMetadata,
    /// The next fetch from this leader; the number tells a fetch that was given up from the one that followed.
    Fetch {
        leader: i32,
        attempt: u64,
    },
    /// A fetch that waits for records has waited long enough.
    ParkedFetch {
        id: u64,
    },
    AlterPartitionTimeout {
        request: u64,
    },
    Sync {
        partition: i32,
    },
    CheckIsr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTimer {
    Act,
    Timeout { round: u64 },
}

#[derive(Debug)]
struct Scheduled {
    at_ms: i64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.sequence).cmp(&(other.at_ms, other.sequence))
    }
}

#[derive(Debug, Default)]
pub struct Schedule {
    heap: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
}

impl Schedule {
    pub fn at(&mut self, at_ms: i64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled { at_ms, sequence: self.sequence, event }));
    }

    pub fn next(&mut self) -> Option<(i64, Event)> {
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.at_ms, scheduled.event))
    }
}
