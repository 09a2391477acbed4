//! What a handler knows about the request that it answers, and how it answers.

use std::net::SocketAddr;
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
use crate::broker::Node;
use crate::metrics::Limit;

/// The other end of a connection; the same for all of its requests.
#[derive(Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Our end of the connection.
    pub local_address: SocketAddr,
    /// Name of the listener that accepted the connection, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// Increases by one with every accepted connection of this process.
    pub connection_id: u64,
    /// Nothing is read while it is on: a quota was exceeded.
    pub(super) mute: Mute,
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
