//! The socket of the HTTP port: at most so many connections, each for a bounded time.
//!
//! The port is for an operator's few scrapers and probes. Without bounds whoever reaches it could use up the
//! descriptors of the broker; with a bound on the number alone, keep the scrapers out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::metrics::{Limit, Metrics};

/// Open connections of the HTTP port; accepting waits for one to end.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// How long a connection may ask: then it reads its end, answers what it was asked, and is closed.
pub const HTTP_CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a client may take to say what it wants, until the first byte of an answer: whoever says nothing keeps
/// nobody out for long.
pub const HTTP_FIRST_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a client may take to read what was answered when the time to ask is over.
pub const HTTP_LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

pub struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
    times: Times,
    metrics: Arc<Metrics>,
}

/// How long the stages of a connection may last.
#[derive(Debug, Clone, Copy)]
struct Times {
    first_answer: Duration,
    asking: Duration,
    last_answer: Duration,
}

const TIMES: Times = Times {
    first_answer: HTTP_FIRST_ANSWER_TIME_MAX,
    asking: HTTP_CONNECTION_TIME_MAX,
    last_answer: HTTP_LAST_ANSWER_TIME_MAX,
};

impl Bounded {
    pub fn new(listener: TcpListener, metrics: Arc<Metrics>) -> Self {
        let free = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
        Self { listener, free, times: TIMES, metrics }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return permit;
        }
        self.metrics.refused(Limit::HttpConnections);
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.permit().await;
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let Times { first_answer, asking, last_answer } = self.times;
        let now = Instant::now();
        let connection = Connection {
            stream,
            asking: Box::pin(sleep_until(now + first_answer.min(asking))),
            asking_until: now + asking,
            answering: Box::pin(sleep_until(now + asking + last_answer)),
            has_answered: false,
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection and its place among those that may be open.
pub struct Connection {
    stream: TcpStream,
    /// Ends what may be read: until the first answer early, then at `asking_until`.
    asking: Pin<Box<Sleep>>,
    asking_until: Instant,
    /// Ends what may be written.
    answering: Pin<Box<Sleep>>,
    has_answered: bool,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.asking.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Connection {
    /// Fails when nothing may be written any more: the client does not read.
    fn may_answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.answering.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.may_answer(cx)?;
        if !self.has_answered {
            self.has_answered = true;
            let until = self.asking_until;
            self.asking.as_mut().reset(until);
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may_answer(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may_answer(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn bounded() -> (Bounded, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        (Bounded::new(listener, Arc::new(Metrics::new())), address)
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn connection_above_the_bound_waits_for_one_to_end() {
        let (bounded, address) = bounded().await;
        let mut bounded = Bounded { free: Arc::new(Semaphore::new(1)), ..bounded };
        let connect = || TcpStream::connect(address);
        let _clients = (connect().await.expect("it listens"), connect().await.expect("the kernel takes it"));
        let (first, _) = bounded.accept().await;
        let mut second = Box::pin(bounded.accept());
        assert!(is_pending(&mut second).await);
        drop(first);
        second.await;
    }

    const NEVER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn connection_whose_time_is_over_reads_its_end() {
        let times = Times { first_answer: NEVER, asking: Duration::ZERO, last_answer: NEVER };
        let (mut connection, _client) = connection(times).await;
        assert_eq!(connection.read(&mut [0; 1]).await.expect("the end, not an error"), 0);
        connection.write_all(b"an answer").await.expect("what was asked is still answered");
    }

    #[tokio::test]
    async fn connection_that_says_nothing_is_over_early_and_one_that_was_answered_is_not() {
        let times = Times { first_answer: Duration::ZERO, asking: NEVER, last_answer: NEVER };
        let (mut silent, _client) = connection(times).await;
        assert_eq!(silent.read(&mut [0; 1]).await.expect("the end, not an error"), 0);
        let (mut answered, _client) = connection(times).await;
        answered.write_all(b"an answer").await.expect("it is open");
        assert!(is_pending(&mut Box::pin(answered.read(&mut [0; 1]))).await);
    }

    #[tokio::test]
    async fn client_that_does_not_read_is_given_up() {
        let times = Times { first_answer: NEVER, asking: Duration::ZERO, last_answer: Duration::ZERO };
        let (mut connection, _client) = connection(times).await;
        let long = vec![b'x'; 1 << 20];
        let refused = loop {
            // At first the kernel takes it.
            if let Err(error) = connection.write_all(&long).await {
                break error;
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    }

    async fn connection(times: Times) -> (Connection, TcpStream) {
        let (bounded, address) = bounded().await;
        let mut bounded = Bounded { times, ..bounded };
        let client = TcpStream::connect(address).await.expect("it listens");
        (bounded.accept().await.0, client)
    }
}
