//! What a start waits for. A node may wait for others without end: for controllers to found the cluster with, for one
//! that leads, for its registration. Whoever asks `/readyz` meanwhile is told.

use std::sync::Arc;

use parking_lot::Mutex;

/// What the node waits for until it has started; cheap to clone.
#[derive(Debug, Clone)]
pub struct Starting(Arc<Mutex<Option<String>>>);

impl Starting {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Some("configuration is read".to_owned()))))
    }

    /// What it waits for from now on.
    pub fn waits_for(&self, what: impl Into<String>) {
        *self.0.lock() = Some(what.into());
    }

    /// It waits for nothing any more.
    pub fn done(&self) {
        *self.0.lock() = None;
    }

    /// What it waits for now; `None` when it has started.
    pub fn now(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

impl Default for Starting {
    fn default() -> Self {
        Self::new()
    }
}
