//! Reactors: threads with one single-threaded runtime each, on which connections live and die.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::admission::Admission;
use super::budget::Budget;
use super::buffers::Buffers;
use super::connection::{self, Busy, Connection};
use super::limits::{DRAIN_TIME_MAX, Limits};
use super::mute::Mute;
use super::quiet::Quiet;
use super::request::Peer;
use super::vitals::{Overdue, Vitals};
use crate::api::Audience;
use crate::broker::Node;
use crate::metrics::{Failure, Limit, Shard};

/// Connections that were accepted and not yet taken over by their reactor.
const INBOX_MAX: usize = 256;

/// States of busy connections that a reactor keeps for the next one.
const BUSY_KEPT_MAX: usize = 64;

/// Threads of one reactor that read cold files.
const BLOCKING_THREADS_MAX: usize = 4;

/// Looks at kept memory happen once in so many sweeps.
const SWEEPS_PER_TRIM: u32 = 10;

/// A connection on its way to a reactor.
#[derive(Debug)]
pub struct Accepted {
    pub socket: std::net::TcpStream,
    pub address: SocketAddr,
    pub local_address: SocketAddr,
    pub listener: Arc<str>,
    pub audience: Audience,
    pub connection_id: u64,
    pub admission: Admission,
}

/// What the connections of one reactor share. Seen by its thread only.
pub struct Reactor {
    pub(super) node: Arc<Node>,
    pub(super) limits: Arc<Limits>,
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) buffers: Buffers,
    pub(super) quiet: Quiet,
    pub(super) shard: Arc<Shard>,
    #[allow(clippy::vec_box, reason = "the boxes are what is lent")]
    busy: RefCell<Vec<Box<Busy>>>,
    connections: RefCell<FxHashMap<u64, Watched>>,
    count: Arc<AtomicUsize>,
    draining: Cell<bool>,
    closed: Notify,
    /// Of the quotas, when it was last looked who waits for them.
    quotas_seen: Cell<u64>,
}

/// A connection as the sweep sees it.
struct Watched {
    vitals: Rc<Vitals>,
    task: AbortHandle,
    peer: Rc<Peer>,
}

/// The other side of a reactor: hands it connections and stops it.
pub struct Handle {
    inbox: mpsc::Sender<Accepted>,
    count: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

/// Starts a reactor on a thread of its own, `milena-reactor-NAME`.
pub fn spawn(
    name: &str,
    node: Arc<Node>,
    limits: Arc<Limits>,
    budget: Option<Arc<Budget>>,
) -> io::Result<Handle> {
    let (inbox, accepted) = mpsc::channel(INBOX_MAX);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let cold = format!("milena-cold-{name}");
    let runtime = move || {
        Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name(cold)
            .build_local(LocalOptions::default())
    };
    let thread =
        thread::Builder::new().name(format!("milena-reactor-{name}")).spawn(move || match runtime() {
            Ok(runtime) => runtime.block_on(run(Reactor::new(node, limits, budget, counted), accepted)),
            Err(error) => tracing::error!(%error, "reactor cannot start"),
        })?;
    Ok(Handle { inbox, count, thread })
}

impl Handle {
    pub fn connections(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Hands a connection over; waits while the reactor has too many of them to take over.
    pub async fn adopt(&self, accepted: Accepted) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.inbox.send(accepted).await.is_err() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Serves connections until the inbox is closed, then drains them.
async fn run(reactor: Reactor, mut inbox: mpsc::Receiver<Accepted>) {
    let reactor = Rc::new(reactor);
    let mut sweep = tokio::time::interval(reactor.limits.sweep_interval());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweeps = 0;
    loop {
        tokio::select! {
            accepted = inbox.recv() => match accepted {
                Some(accepted) => reactor.adopt(accepted),
                None => break,
            },
            _ = sweep.tick() => {
                reactor.sweep();
                reactor.review_quotas();
                sweeps += 1;
                if sweeps % SWEEPS_PER_TRIM == 0 {
                    reactor.buffers.trim();
                }
            }
        }
    }
    reactor.drain().await;
}

impl Reactor {
    fn new(
        node: Arc<Node>,
        limits: Arc<Limits>,
        budget: Option<Arc<Budget>>,
        count: Arc<AtomicUsize>,
    ) -> Self {
        let shard = node.metrics.shard();
        Self {
            node,
            limits,
            budget,
            shard,
            count,
            buffers: Buffers::default(),
            quiet: Quiet::new(Instant::now()),
            busy: RefCell::default(),
            connections: RefCell::default(),
            draining: Cell::new(false),
            closed: Notify::new(),
            quotas_seen: Cell::new(0),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(super) fn lend_busy(&self) -> Box<Busy> {
        self.busy.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn take_back_busy(&self, busy: Box<Busy>) {
        let mut kept = self.busy.borrow_mut();
        if kept.len() < BUSY_KEPT_MAX {
            kept.push(busy);
        }
    }

    /// Takes a connection over and gives it a task.
    fn adopt(self: &Rc<Self>, accepted: Accepted) {
        let Accepted { socket, address, local_address, listener, audience, connection_id, admission } =
            accepted;
        let guard = Guard { reactor: Rc::clone(self), connection_id, _admission: admission };
        let stream = match TcpStream::from_std(socket) {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(peer = %address, %error, "connection cannot be registered"),
        };
        let (mute, presence) = (Mute::default(), RefCell::default());
        let peer =
            Rc::new(Peer { address, local_address, listener, audience, connection_id, mute, presence });
        let vitals = Rc::new(Vitals::new(Instant::now()));
        let connection = Connection {
            reactor: Rc::clone(self),
            stream,
            peer: Rc::clone(&peer),
            vitals: Rc::clone(&vitals),
        };
        // Tokio catches a panic of the task, so that it ends this connection and no other.
        let task = tokio::task::spawn_local(async move {
            let _guard = guard;
            connection::serve(connection).await;
        });
        let watched = Watched { vitals, task: task.abort_handle(), peer };
        self.connections.borrow_mut().insert(connection_id, watched);
    }

    /// Lets go of connections that wait for a quota which holds them no longer.
    fn review_quotas(&self) {
        let quotas = &self.node.quotas;
        let generation = quotas.generation();
        if self.quotas_seen.replace(generation) != generation {
            self.connections.borrow().values().for_each(|watched| watched.peer.mute.review(quotas));
        }
    }

    /// Closes the connections whose time is over.
    fn sweep(&self) {
        let now = Instant::now();
        for watched in self.connections.borrow().values() {
            let Some(overdue) = watched.vitals.overdue(now, &self.limits) else { continue };
            match overdue {
                Overdue::Idle => {
                    self.node.metrics.refused(Limit::Idle);
                    tracing::debug!(peer = %watched.peer.address, "closing an idle connection");
                }
                Overdue::UnfinishedFrame => self.close_late(watched, Limit::UnfinishedFrame),
                Overdue::BlockedWrite => self.close_late(watched, Limit::BlockedWrite),
            }
            watched.task.abort();
        }
    }

    fn close_late(&self, watched: &Watched, limit: Limit) {
        self.node.metrics.refused(limit);
        if let Some(suppressed) = self.quiet.permit(Instant::now()) {
            let peer = watched.peer.address;
            tracing::warn!(%peer, limit = limit.name(), suppressed, "closing a connection that took too long");
        }
    }

    /// Closes what is quiet, and the rest as soon as it is answered or the time is up.
    async fn drain(&self) {
        self.draining.set(true);
        self.abort_where(Vitals::is_quiet);
        let emptied = async {
            loop {
                let closed = self.closed.notified();
                if self.connections.borrow().is_empty() {
                    return;
                }
                closed.await;
            }
        };
        if tokio::time::timeout(DRAIN_TIME_MAX, emptied).await.is_err() {
            let left = self.connections.borrow().len();
            tracing::warn!(connections = left, "requests in flight did not finish in time");
            self.abort_where(|_| true);
        }
    }

    fn abort_where(&self, condition: impl Fn(&Vitals) -> bool) {
        let connections = self.connections.borrow();
        connections
            .values()
            .filter(|watched| condition(&watched.vitals))
            .for_each(|watched| watched.task.abort());
    }
}

/// Counts a connection out, however its task ends.
struct Guard {
    reactor: Rc<Reactor>,
    connection_id: u64,
    _admission: Admission,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.reactor.node.metrics.request_failed(Failure::Panic);
        }
        self.reactor.connections.borrow_mut().remove(&self.connection_id);
        if let Some(budget) = &self.reactor.budget {
            budget.forget(self.connection_id);
        }
        self.reactor.count.fetch_sub(1, Ordering::Relaxed);
        self.reactor.closed.notify_waiters();
    }
}

/// The reactors of this process.
pub struct Reactors {
    handles: Vec<Handle>,
}

impl Reactors {
    pub fn new(handles: Vec<Handle>) -> Self {
        Self { handles }
    }

    /// Hands a connection to the reactor with the fewest.
    pub async fn adopt(&self, accepted: Accepted) {
        if let Some(handle) = self.handles.iter().min_by_key(|handle| handle.connections()) {
            handle.adopt(accepted).await;
        }
    }

    /// Lets all of them finish what is in flight, for a bounded time, and waits for their end.
    pub fn stop(self) {
        // The inboxes close first, so that all drain at the same time.
        let threads: Vec<_> = self.handles.into_iter().map(|handle| handle.thread).collect();
        for thread in threads {
            // A panic on the reactor itself was logged by the hook; there is nothing else to do about it here.
            let _ = thread.join();
        }
    }
}
