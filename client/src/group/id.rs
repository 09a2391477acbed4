//! The member id as the coordinator gave it, known also while a join is under way, so that whoever closes can leave.

use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, Default)]
pub(super) struct KnownId(Arc<Mutex<String>>);

impl KnownId {
    pub(super) fn set(&self, member_id: &str) {
        member_id.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Empty while the coordinator has given none.
    pub(super) fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
