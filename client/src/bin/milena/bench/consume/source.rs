//! Where a measured run gets its records from: partitions that it took itself, or those that a group gives it.

use std::time::Instant;

use milena_client::consumer::{Consumer, Fetched};
use milena_client::group::{Event, GroupConsumer};

use crate::error::Result;

pub enum Source {
    Alone(Box<Consumer>),
    Member {
        consumer: Box<GroupConsumer>,
        /// When the group first gave it partitions, be it none.
        assigned_at: Option<Instant>,
    },
}

impl Source {
    pub fn member(consumer: GroupConsumer) -> Self {
        Source::Member { consumer: Box::new(consumer), assigned_at: None }
    }

    /// The next records. Dropping the future loses nothing.
    pub async fn poll(&mut self) -> Result<Vec<Fetched>> {
        let (consumer, assigned_at) = match self {
            Source::Alone(consumer) => return Ok(consumer.poll().await?),
            Source::Member { consumer, assigned_at } => (consumer, assigned_at),
        };
        loop {
            match consumer.poll().await? {
                Event::Records(fetched) => return Ok(fetched),
                Event::Assigned(_) => {
                    assigned_at.get_or_insert_with(Instant::now);
                }
                // Nothing is committed, so there is nothing to do before partitions go.
                Event::Revoked(_) | Event::Lost(_) => {}
            }
        }
    }

    /// Whether no record can come any more. A group may give partitions at any time.
    pub fn is_idle(&self) -> bool {
        matches!(self, Source::Alone(consumer) if consumer.is_idle())
    }

    /// Stops reading a partition that is read as far as `stop`.
    pub fn drop_if_done(&mut self, part: &Fetched, stop: i64) {
        let Source::Alone(consumer) = self else { return };
        let position = consumer.position(&part.topic, part.partition);
        if position.is_some_and(|position| position >= stop) {
            consumer.unassign(&part.topic, part.partition);
        }
    }

    pub fn assigned_at(&self) -> Option<Instant> {
        match self {
            Source::Alone(_) => None,
            Source::Member { assigned_at, .. } => *assigned_at,
        }
    }

    /// Leaves the group, so that its other members need not wait for the session to expire.
    pub async fn close(self) -> Result<()> {
        match self {
            Source::Alone(_) => Ok(()),
            Source::Member { consumer, .. } => Ok(consumer.close().await?),
        }
    }
}
