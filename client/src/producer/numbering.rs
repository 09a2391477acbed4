//! Which sequence a batch gets, and how far the broker's memory of the last ones can be trusted. Pure.

use std::time::{Duration, Instant};

use milena_protocol::records::batch::sequence_add;

use super::identity::Identity;

/// A broker forgets a producer that was silent for long (`producer.id.expiration.ms`, a day) and then accepts any
/// sequence as its first. What was acknowledged within this time is not forgotten.
const PROVEN_TIME_MAX: Duration = Duration::from_secs(3600);

/// What the first record of a batch is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub identity: Identity,
    pub sequence: i32,
}

/// Which identity has to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The one that all partitions begin with.
    Shared,
    /// One that nobody had: the epochs of the last one are used up.
    Fresh,
}

#[derive(Debug, Default)]
pub(super) struct Numbering {
    identity: Option<Identity>,
    used_up: bool,
    next_sequence: i32,
    /// When the broker last acknowledged this identity.
    proven: Option<Instant>,
    /// A batch was given up that may be stored: the broker may expect its sequence or the one behind it.
    pub doubtful: bool,
}

impl Numbering {
    pub fn need(&self) -> Option<Need> {
        match self.identity {
            Some(_) => None,
            None if self.used_up => Some(Need::Fresh),
            None => Some(Need::Shared),
        }
    }

    pub fn identify(&mut self, identity: Identity) {
        (self.identity, self.next_sequence) = (Some(identity), 0);
    }

    pub fn take(&mut self, count: i32) -> Option<Number> {
        let number = Number { identity: self.identity?, sequence: self.next_sequence };
        self.next_sequence = sequence_add(self.next_sequence, count);
        Some(number)
    }

    pub fn acknowledged(&mut self, number: Option<Number>, now: Instant) {
        if number.map(|number| number.identity) == self.identity {
            self.proven = Some(now);
        }
    }

    /// Whether the broker will refuse a sequence that does not follow the last.
    pub fn is_proven(&self, now: Instant) -> bool {
        self.proven.is_some_and(|proven| now < proven + PROVEN_TIME_MAX)
    }

    /// Begins anew under the next epoch: whatever is still on its way under the last one is fenced by it (KIP-360).
    pub fn bump(&mut self) {
        self.identity = self.identity.and_then(|Identity { producer_id, producer_epoch }| {
            Some(Identity { producer_id, producer_epoch: producer_epoch.checked_add(1)? })
        });
        self.used_up |= self.identity.is_none();
        (self.next_sequence, self.proven, self.doubtful) = (0, None, false);
    }
}
