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
use tokio::time::Sleep;

use crate::metrics::{Limit, Metrics};

/// Open connections of the HTTP port; accepting waits for one to end.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// How long a connection may ask: then it reads its end, answers what it was asked, and is closed.
pub const HTTP_CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

pub struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
    time_max: Duration,
    metrics: Arc<Metrics>,
}

impl Bounded {
    pub fn new(listener: TcpListener, metrics: Arc<Metrics>) -> Self {
        let free = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
        Self { listener, free, time_max: HTTP_CONNECTION_TIME_MAX, metrics }
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
        let over = Box::pin(tokio::time::sleep(self.time_max));
        (Connection { stream, over, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection and its place among those that may be open.
pub struct Connection {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

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

    #[tokio::test]
    async fn connection_whose_time_is_over_reads_its_end() {
        let (bounded, address) = bounded().await;
        let mut bounded = Bounded { time_max: Duration::ZERO, ..bounded };
        let _client = TcpStream::connect(address).await.expect("it listens");
        let (mut connection, _) = bounded.accept().await;
        assert_eq!(connection.read(&mut [0; 1]).await.expect("the end, not an error"), 0);
    }
}
