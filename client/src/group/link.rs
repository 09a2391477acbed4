//! A connection of its own to the coordinator, found again when it was lost or the coordinator moved.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub(super) struct Link {
    cluster: Cluster,
    group_id: Arc<str>,
    connection: Option<Arc<Connection>>,
}

impl Link {
    pub(super) fn new(cluster: Cluster, group_id: Arc<str>) -> Self {
        Self { cluster, group_id, connection: None }
    }

    pub(super) fn group_id(&self) -> &str {
        &self.group_id
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Asks the coordinator once. After an error that casts doubt on the connection or the coordinator, the next attempt
    /// looks for it anew.
    pub(super) async fn attempt<T, F>(&mut self, ask: impl FnOnce(Arc<Connection>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let asked = async { ask(self.connection().await?).await };
        let outcome = asked.await;
        if let Err(error) = &outcome {
            self.doubt(error);
        }
        outcome
    }

    async fn connection(&mut self) -> Result<Arc<Connection>> {
        if let Some(open) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let connection = Arc::new(self.cluster.dial_coordinator(&self.group_id).await?);
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn doubt(&mut self, error: &Error) {
        if self.cluster.doubt_coordinator(&self.group_id, error) {
            self.connection = None;
        }
    }
}
