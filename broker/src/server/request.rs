//! What a handler knows about the request that it answers, and how it answers.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_protocol::{ApiKey, Encode, Message};
use tokio::time::Instant;

use super::limits::WAIT_TIME_MAX;
use super::mute::Mute;
use super::reply::{FileSlice, Reply};
use super::stopwatch::Stopwatch;
use crate::api::Audience;
use crate::broker::Node;
use crate::controller::Presence;
use crate::metrics::Limit;

/// The other end of a connection; the same for all of its requests.
#[derive(Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Our end of the connection.
    pub local_address: SocketAddr,
    /// Name of the listener that accepted the connection, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// Who the listener is for.
    pub audience: Audience,
    /// Increases by one with every accepted connection of this process.
    pub connection_id: u64,
    /// Nothing is read while it is on: a quota was exceeded.
    pub(super) mute: Mute,
    /// Set by the heartbeats of a broker: dropped with the connection, it tells that the broker may be gone.
    pub presence: RefCell<Option<Presence>>,
}

impl Peer {
    /// Whether it asked another broker, which passed its request on.
    pub fn asked_elsewhere(&self) -> bool {
        self.address.port() == 0
    }

    /// The client behind a request that a broker passed on over this connection.
    pub(super) fn behind(&self, client: IpAddr) -> Self {
        Self {
            address: SocketAddr::new(client, 0),
            local_address: self.local_address,
            listener: Arc::clone(&self.listener),
            audience: Audience::Clients,
            connection_id: self.connection_id,
            mute: Mute::default(),
            presence: RefCell::default(),
        }
    }
}

/// One request: where it came from, its header, and the node that serves it.
pub struct RequestContext {
    pub node: Arc<Node>,
    pub peer: Rc<Peer>,
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    /// While a quota on time acts on the client.
    pub(super) stopwatch: Option<Rc<Stopwatch>>,
    /// Of requests that the active controller decides: set when it turned out not to be this node.
    pub(super) undecided: Option<Rc<Cell<bool>>>,
    /// The whole frame without its length; the request that a handler gets borrows from it.
    pub(super) frame: Bytes,
    /// Where the client id is in `frame`.
    pub(super) client_id: Range<u32>,
    /// Where the body begins in `frame`.
    pub(super) body: u32,
}

impl RequestContext {
    /// What the client calls itself, or nothing; not checked, not unique, to be escaped before it is logged.
    pub fn client_id(&self) -> &str {
        let bytes = &self.frame[self.client_id.start as usize..self.client_id.end as usize];
        // It was UTF-8 when the header was decoded.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The whole frame without its length.
    pub(super) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The same request once more, noting in `undecided` when this node is not the one to decide it.
    pub(super) fn again(&self, undecided: Rc<Cell<bool>>) -> Self {
        Self {
            node: Arc::clone(&self.node),
            peer: Rc::clone(&self.peer),
            api: self.api,
            version: self.version,
            correlation_id: self.correlation_id,
            stopwatch: self.stopwatch.clone(),
            undecided: Some(undecided),
            frame: self.frame.clone(),
            client_id: self.client_id.clone(),
            body: self.body,
        }
    }

    /// Nothing was decided, because this node does not lead the quorum: another may be asked.
    pub fn not_controller(&self) {
        if let Some(undecided) = &self.undecided {
            undecided.set(true);
        }
    }

    /// The bytes after the request header.
    pub fn body(&self) -> &[u8] {
        &self.frame[self.body as usize..]
    }

    /// When to answer a request that lets us wait for so many milliseconds, in at most [`WAIT_TIME_MAX`].
    pub fn deadline(&self, wait_ms: i32) -> Instant {
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        if wait > WAIT_TIME_MAX {
            self.node.metrics.refused(Limit::WaitTime);
        }
        Instant::now() + wait.min(WAIT_TIME_MAX)
    }

    /// Encodes `response` with its header in the version of this request.
    ///
    /// The response may borrow from anything that the handler holds (the request, an image, a lock):
    /// it is encoded here and now.
    pub fn reply<M: Encode + Message>(&self, response: &M) -> Reply {
        Reply::encode(self, response, Vec::new())
    }

    /// As `reply`, for a response that holds `Records::Detached(length)`: one file slice for each,
    /// of exactly this length, in the order in which they are encoded.
    pub fn reply_with_files<M: Encode + Message>(&self, response: &M, files: Vec<FileSlice>) -> Reply {
        Reply::encode(self, response, files)
    }
}
