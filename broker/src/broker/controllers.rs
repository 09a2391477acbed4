//! The listeners of controllers: sockets, and a reactor of their own, so that no client delays a heartbeat or a vote.

use std::sync::Arc;

use milena_state::quota::connections::Bounds;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::Node;
use crate::error::StartError;
use crate::server::admission::{Connections, HeldBack};
use crate::server::limits::Limits;
use crate::server::listener::{Acceptor, Listener};
use crate::server::reactor::{self, Reactors};

/// Connections to the controller listeners: a few of each node of the cluster, and of tools.
const CONNECTIONS_MAX: usize = 4096;

/// What serves the listeners of controllers; nothing in a process that has none.
pub struct Controllers {
    acceptors: Vec<JoinHandle<()>>,
    reactors: Option<Arc<Reactors>>,
}

impl Controllers {
    /// Begins to answer. The bounds are not those of clients, which could shut the cluster out of its own controllers.
    pub fn start(
        node: &Arc<Node>,
        listeners: Vec<Listener>,
        background: &Runtime,
    ) -> Result<Self, StartError> {
        if listeners.is_empty() {
            return Ok(Self { acceptors: Vec::new(), reactors: None });
        }
        let limits = Arc::new(Limits { idle_time_max: None, ..Limits::default() });
        let handle =
            reactor::spawn("controllers", Arc::clone(node), limits, None).map_err(StartError::Thread)?;
        let reactors = Arc::new(Reactors::new(vec![handle]));
        let bounds = Bounds { total_max: CONNECTIONS_MAX, ..Bounds::default() };
        let acceptor = Acceptor {
            reactors: Arc::clone(&reactors),
            connections: Arc::new(Connections::new(node.settings.quota_window, bounds)),
            held_back: HeldBack::default(),
            metrics: Arc::clone(&node.metrics),
        };
        let accept = |listener: Listener| background.spawn(listener.accept(acceptor.clone()));
        Ok(Self { acceptors: listeners.into_iter().map(accept).collect(), reactors: Some(reactors) })
    }

    pub fn stop(self, background: &Runtime) {
        background.block_on(async {
            for acceptor in self.acceptors {
                acceptor.abort();
                // Cancelled, as was just asked for.
                let _ = acceptor.await;
            }
        });
        if let Some(Ok(reactors)) = self.reactors.map(Arc::try_unwrap) {
            reactors.stop();
        }
    }
}
