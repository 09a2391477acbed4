//! One connection to one broker: many requests in flight, answered in order.
//!
//! Two tasks own the halves of the socket. The writer takes encoded requests from a bounded queue and sends what has
//! gathered in one write; the reader matches responses with their requests by order and checks the correlation id.
//! When either ends, every waiting request fails with the reason, and the connection is done: reconnecting is the
//! business of `cluster`.

mod handshake;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use milena_protocol::{ApiKey, Reader, Request, Writer, header};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::net::Dialer;

pub use handshake::Versions;
use tasks::{Closed, Outgoing, Sender};

/// Requests that may wait for the socket; one more makes its sender wait.
const QUEUE_REQUESTS_MAX: usize = 64;

/// How connections are made.
#[derive(Debug, Clone)]
pub struct Options {
    pub client_id: String,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// Largest response that is read: a broker that sends a larger one is not believed.
    pub response_bytes_max: usize,
}

/// A connection that has learnt which versions its broker serves. Dropping it closes the socket.
#[derive(Debug)]
pub struct Connection {
    address: Arc<str>,
    options: Options,
    queue: mpsc::Sender<Outgoing>,
    versions: Versions,
    next_correlation_id: AtomicI32,
    closed: Arc<Closed>,
}

/// A response that is not decoded yet; decoding borrows from it.
#[derive(Debug)]
pub struct Response {
    address: Arc<str>,
    api: ApiKey,
    version: i16,
    /// After the header.
    body: Bytes,
}

impl Connection {
    /// Connects and asks for the broker's versions.
    pub async fn open(dialer: &Dialer, address: &str, options: Options) -> Result<Self> {
        let dialing = tokio::time::timeout(options.connect_timeout, dialer.dial(address)).await;
        let connect = |message: String| Error::Connect { address: address.to_owned(), message };
        let stream = match dialing {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(connect(error.to_string())),
            Err(_) => {
                return Err(connect(format!("no answer within {} ms", options.connect_timeout.as_millis())));
            }
        };
        let address: Arc<str> = address.into();
        let closed = Arc::new(Closed::default());
        let (queue, outgoing) = mpsc::channel(QUEUE_REQUESTS_MAX);
        tasks::spawn(stream, outgoing, Arc::clone(&address), options.response_bytes_max, Arc::clone(&closed));
        let mut connection = Self {
            address,
            options,
            queue,
            versions: Versions::default(),
            next_correlation_id: AtomicI32::new(0),
            closed,
        };
        connection.versions = handshake::run(&connection).await?;
        Ok(connection)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the broker serves.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Whether the socket is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.is_set()
    }

    /// Waits until the socket is gone.
    pub async fn closed(&self) {
        self.closed.wait().await;
    }

    /// The newest version of a request that both sides know, not above `at_most`.
    ///
    /// Errors: `UnsupportedApi`.
    pub fn version_of<R: Request>(&self, at_most: i16) -> Result<i16> {
        let ours = (*R::VERSIONS.start(), (*R::VERSIONS.end()).min(at_most));
        let theirs = self.versions.range(R::API);
        let common = theirs.map(|(first, last)| (ours.0.max(first), ours.1.min(last)));
        match common {
            Some((first, last)) if first <= last => Ok(last),
            _ => Err(Error::UnsupportedApi {
                address: self.address.to_string(),
                api: R::API,
                theirs: theirs.map_or("none".to_owned(), |(first, last)| format!("{first} to {last}")),
                ours: format!("{} to {}", ours.0, ours.1),
            }),
        }
    }

    /// Sends a request in the newest common version and waits for its response.
    pub async fn call<R: Request>(&self, request: &R) -> Result<Response> {
        self.call_at(request, self.version_of::<R>(i16::MAX)?).await
    }

    /// As [`Connection::call`] at a version of the caller's choice.
    pub async fn call_at<R: Request>(&self, request: &R, version: i16) -> Result<Response> {
        self.call_within(request, version, self.options.request_timeout).await
    }

    /// As [`Connection::call_at`] for a request that may rightly take longer than usual.
    pub async fn call_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Response> {
        // Waiting for room in the queue counts: a broker that does not read must not hold us for ever.
        let called = async { self.send(request, version).await?.await };
        match tokio::time::timeout(timeout, called).await {
            Ok(response) => response,
            Err(_) => Err(self.too_late(R::API, timeout)),
        }
    }

    /// As [`Connection::call_at`] in two steps: the request is queued, then the future that is returned waits for the
    /// response. It keeps the connection open.
    pub async fn post<R: Request>(
        self: &Arc<Self>,
        request: &R,
        version: i16,
    ) -> Result<BoxFuture<'static, Result<Response>>> {
        let timeout = self.options.request_timeout;
        let deadline = tokio::time::Instant::now() + timeout;
        let queued = tokio::time::timeout_at(deadline, self.enqueue(request, version)).await;
        let answer = queued.unwrap_or_else(|_| Err(self.too_late(R::API, timeout)))?;
        let connection = Arc::clone(self);
        Ok(Box::pin(async move {
            let answered = tokio::time::timeout_at(deadline, answer.wait()).await;
            answered.unwrap_or_else(|_| Err(connection.too_late(R::API, timeout)))
        }))
    }

    /// Responses come in order, so one that is missing blocks all that follow: the connection is given up.
    fn too_late(&self, api: ApiKey, timeout: Duration) -> Error {
        self.closed.set();
        Error::TimedOut {
            what: format!("{} on {}", api.name(), self.address),
            timeout_ms: timeout.as_millis() as u64,
        }
    }

    /// Queues a request; the future that is returned waits for the response. Requests reach the broker in the order
    /// in which this was awaited.
    pub async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<impl Future<Output = Result<Response>> + use<R>> {
        Ok(self.enqueue(request, version).await?.wait())
    }

    async fn enqueue<R: Request>(&self, request: &R, version: i16) -> Result<Answer> {
        let (frame, correlation_id) = self.frame(request, version)?;
        let (answer, answered) = oneshot::channel();
        let outgoing =
            Outgoing { frame, api: R::API, version, correlation_id, sender: Sender::Response(answer) };
        self.queue.send(outgoing).await.map_err(|_| self.gone())?;
        Ok(Answer { address: Arc::clone(&self.address), api: R::API, version, answered })
    }

    /// Sends a request that has no response, Produce with acks=0, and waits until the socket has it: what is only queued
    /// would be lost with the process.
    pub async fn send_unanswered<R: Request>(&self, request: &R, version: i16) -> Result<()> {
        let (frame, correlation_id) = self.frame(request, version)?;
        let (sender, written) = oneshot::channel();
        let sender = Sender::Written(sender);
        let outgoing = Outgoing { frame, api: R::API, version, correlation_id, sender };
        self.queue.send(outgoing).await.map_err(|_| self.gone())?;
        written.await.map_err(|_| self.gone())
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<(Vec<u8>, i32)> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let mut writer = Writer::new();
        let client_id = Some(&*self.options.client_id);
        header::request_frame(&mut writer, R::API, version, correlation_id, client_id, request)
            .map_err(Error::encode)?;
        Ok((writer.into_bytes().map_err(Error::encode)?, correlation_id))
    }

    fn gone(&self) -> Error {
        gone(&self.address)
    }
}

fn gone(address: &str) -> Error {
    Error::Disconnected { address: address.to_owned(), message: "the broker closed it".to_owned() }
}

/// The response to a request that was queued.
struct Answer {
    address: Arc<str>,
    api: ApiKey,
    version: i16,
    answered: oneshot::Receiver<Result<Bytes>>,
}

impl Answer {
    async fn wait(self) -> Result<Response> {
        let Self { address, api, version, answered } = self;
        match answered.await {
            Ok(body) => Ok(Response { address, api, version, body: body? }),
            Err(_) => Err(gone(&address)),
        }
    }
}

impl Response {
    /// Decodes the response to `R`.
    pub fn decode<R: Request>(&self) -> Result<R::Response<'_>> {
        debug_assert_eq!(R::API, self.api, "a response is decoded as what was asked for");
        milena_protocol::decode_exact(&self.body, self.version)
            .map_err(|error| Error::decode(&self.address, error))
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The bytes behind the header, for slices that outlive the decoded form.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Splits the header off a response frame and checks that it belongs to `correlation_id`.
fn open_frame(frame: Bytes, api: ApiKey, version: i16, correlation_id: i32) -> Result<Bytes, String> {
    let mut reader = Reader::new(&frame);
    let found = header::decode_response(&mut reader, api, version).map_err(|error| error.to_string())?;
    if found != correlation_id {
        return Err(format!("response {found} came where {correlation_id} was due"));
    }
    let left = reader.rest().len();
    Ok(frame.slice(frame.len() - left..))
}
