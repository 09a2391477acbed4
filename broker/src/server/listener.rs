//! Listening sockets: accept, count, hand to a reactor.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use milena_state::quota::connections::Refusal;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use super::admission::{Connections, HeldBack};
use super::quiet::Quiet;
use super::reactor::{Accepted, Reactors};
use crate::api::Audience;
use crate::metrics::{Limit, Metrics};

/// Pause after the system refused a new descriptor: the condition lasts longer than a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static CONNECTION_IDS: AtomicU64 = AtomicU64::new(0);

/// How sockets are set up: `socket.*` properties; `None` leaves the choice to the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketOptions {
    pub backlog: i32,
    pub receive_buffer_bytes: Option<usize>,
    pub send_buffer_bytes: Option<usize>,
}

/// A socket that listens and accepts nothing yet.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    name: Arc<str>,
    address: SocketAddr,
    audience: Audience,
}

/// What accepting needs to know.
#[derive(Clone)]
pub struct Acceptor {
    pub reactors: Arc<Reactors>,
    pub connections: Arc<Connections>,
    pub held_back: HeldBack,
    pub metrics: Arc<Metrics>,
}

impl Listener {
    /// Binds the first address that `host` stands for; an empty host is every interface.
    pub fn bind(name: &str, host: &str, port: u16, options: SocketOptions) -> io::Result<Self> {
        let address = resolve(host, port)?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Accepted sockets inherit the sizes; the window is agreed on before accept returns.
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        socket.set_nonblocking(true)?;
        let socket = std::net::TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, name: Arc::from(name), address, audience: Audience::Clients })
    }

    /// The same socket, for controllers instead of clients.
    pub fn for_controllers(self) -> Self {
        Self { audience: Audience::Controllers, ..self }
    }

    /// Another handle of the same socket, for whoever answers before this process can.
    pub fn copy(&self) -> io::Result<std::net::TcpListener> {
        self.socket.try_clone()
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the future is dropped, which closes the socket.
    pub async fn accept(self, acceptor: Acceptor) {
        let quiet = Quiet::new(Instant::now());
        let listener = match TcpListener::from_std(self.socket) {
            Ok(listener) => listener,
            Err(error) => {
                return tracing::error!(listener = &*self.name, %error, "listener cannot be registered");
            }
        };
        loop {
            outlived(acceptor.accept_one(&listener, (&self.name, self.audience), &quiet)).await;
        }
    }
}

/// Awaits one turn of a loop. A panic ends that turn: the port must not close because of one connection.
async fn outlived(turn: impl Future<Output = ()>) {
    // What a turn shares are counters behind locks, which are whole between any two of their steps.
    if AssertUnwindSafe(turn).catch_unwind().await.is_err() {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl Acceptor {
    async fn accept_one(&self, listener: &TcpListener, named: (&Arc<str>, Audience), quiet: &Quiet) {
        let (name, audience) = named;
        self.await_room(name).await;
        let accepted =
            listener.accept().await.and_then(|(stream, address)| Ok((stream.into_std()?, address)));
        match accepted {
            Ok((socket, address)) => {
                self.connections.slow_down(name, &self.metrics).await;
                self.admit(socket, address, (name, audience), quiet).await;
            }
            Err(error) => {
                self.metrics.refused(Limit::Descriptors);
                if let Some(suppressed) = quiet.permit(Instant::now()) {
                    tracing::warn!(listener = &**name, %error, suppressed, "connection cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    async fn await_room(&self, listener: &str) {
        if !self.connections.has_room(listener) {
            self.metrics.refused(Limit::Connections);
            self.connections.room(listener).await;
        }
    }

    async fn admit(
        &self,
        socket: std::net::TcpStream,
        address: SocketAddr,
        (listener, audience): (&Arc<str>, Audience),
        quiet: &Quiet,
    ) {
        let admission = loop {
            self.await_room(listener).await;
            match self.connections.admit(listener, address.ip().to_canonical()) {
                Ok(Some(admission)) => break admission,
                Ok(None) => {}
                Err(refusal) => return self.turn_away(refusal, socket, address, quiet),
            }
        };
        let local_address = match prepare(&socket) {
            Ok(local_address) => local_address,
            Err(error) => return tracing::debug!(peer = %address, %error, "connection went away"),
        };
        let connection_id = CONNECTION_IDS.fetch_add(1, Ordering::Relaxed);
        let listener = Arc::clone(listener);
        self.metrics.connection_accepted();
        let accepted =
            Accepted { socket, address, local_address, listener, audience, connection_id, admission };
        self.reactors.adopt(accepted).await;
    }

    fn turn_away(&self, refusal: Refusal, socket: std::net::TcpStream, address: SocketAddr, quiet: &Quiet) {
        match refusal {
            Refusal::TooFast { ms } => {
                let time = Duration::from_millis(ms.unsigned_abs());
                self.held_back.hold(socket, time, &self.metrics);
            }
            Refusal::TooMany => {
                self.metrics.refused(Limit::ConnectionsPerIp);
                if let Some(suppressed) = quiet.permit(Instant::now()) {
                    tracing::warn!(peer = %address, suppressed, "too many connections from this address");
                }
            }
        }
    }
}

/// Answers leave at once, and a peer that vanished is noticed in the end.
fn prepare(socket: &std::net::TcpStream) -> io::Result<SocketAddr> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new())?;
    socket.local_addr()
}

fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    if host.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    (host, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_one_turn() {
        let begun = tokio::time::Instant::now();
        outlived(async { panic!("injected") }).await;
        assert_eq!(begun.elapsed(), ACCEPT_PAUSE);
        outlived(async {}).await;
        assert_eq!(begun.elapsed(), ACCEPT_PAUSE);
    }

    #[test]
    fn sockets_have_the_buffers_and_the_backlog_that_are_asked_for() {
        let options =
            SocketOptions { backlog: 1, receive_buffer_bytes: Some(30_000), send_buffer_bytes: Some(40_000) };
        let listener = Listener::bind("PLAINTEXT", "127.0.0.1", 0, options).expect("a free port");
        let connect = || TcpStream::connect_timeout(&listener.address(), Duration::from_millis(300));
        // One more than is asked for may wait to be accepted, on Linux.
        let waiting = [connect().expect("the first waits"), connect().expect("the second waits")];
        assert!(connect().is_err(), "there is no room for a third");
        drop(waiting);
        let (accepted, _) = (0..).find_map(|_| listener.socket.accept().ok()).expect("one is there");
        let accepted = SockRef::from(&accepted);
        // The system doubles what it is asked for.
        let sizes = (accepted.send_buffer_size().expect("told"), accepted.recv_buffer_size().expect("told"));
        assert_eq!(sizes, (80_000, 60_000));
    }
}
