//! Clients: they retry until they are answered, and remember what they were told.

pub mod consumer;
pub mod producer;

pub use consumer::Consumer;
pub use producer::Producer;

use crate::message::{Message, Node};
use crate::schedule::ClientTimer;

/// Ids of consumers begin here, those of producers at 0.
pub const CONSUMERS_FROM: u32 = 100;

/// What a step of a client asks of the world.
#[derive(Debug, Default)]
pub struct ClientOut {
    pub sends: Vec<(Node, Message)>,
    pub timers: Vec<(i64, ClientTimer)>,
    pub told: Vec<Told>,
}

/// What a client was told and will rely on.
#[derive(Debug)]
pub enum Told {
    /// These records are safe (`acks=all`) at this offset.
    Acknowledged { partition: i32, base_offset: i64, values: Vec<u64> },
    /// ListOffsets said so, under this leader epoch.
    Latest { partition: i32, consumer: u32, leader_epoch: i32, latest: i64 },
}
