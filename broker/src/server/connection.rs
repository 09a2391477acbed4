//! One client connection: frames in, answers out in the same order, many requests at once.
//!
//! The task of an idle connection is a socket and a few words. Everything else is in a [`Busy`], which exists
//! while something is read, answered or written, and is lent by the reactor. Requests begin in the order of
//! their arrival, each as soon as its frame is complete, unless what is ahead of it holds the line
//! ([`Route::holds_the_line`]) or the connection is muted by a quota. An answer that is ready before those ahead of
//! it waits for them.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_protocol::DecodeError;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::budget::{Permit, Waiter};
use super::dispatch::{self, Malformed, Started};
use super::input::{Input, Next};
use super::limits::{BYTES_PER_TURN_MAX, OUTPUT_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX, STALL};
use super::output::Output;
use super::reactor::Reactor;
use super::reply::Reply;
use super::request::Peer;
use super::stopwatch::Stopwatch;
use super::vitals::{Turn, Vitals};
use crate::api::{Route, Running};
use crate::metrics::{Failure, Limit};

/// What a connection keeps when idle.
pub struct Connection {
    pub reactor: Rc<Reactor>,
    pub stream: TcpStream,
    pub peer: Rc<Peer>,
    pub vitals: Rc<Vitals>,
}

/// Serves the connection until one side closes it.
pub async fn serve(mut connection: Connection) {
    let mut expected = 0;
    while poll_fn(|cx| connection.stream.poll_read_ready(cx)).await.is_ok() {
        let mut busy = connection.reactor.lend_busy();
        busy.begin(expected);
        match poll_fn(|cx| busy.poll(cx, &mut connection)).await {
            End::Idle => {
                expected = busy.input.expected();
                connection.reactor.take_back_busy(busy);
            }
            End::Closed => return,
        }
    }
}

enum End {
    /// Everything was answered and written.
    Idle,
    Closed,
}

/// The state of a connection with something to do.
#[derive(Default)]
pub struct Busy {
    input: Input,
    in_flight: VecDeque<InFlight>,
    /// Bytes of the answers in `in_flight` that wait for one ahead of them.
    held_bytes: u64,
    output: Output,
    /// The client will send no more, or nothing that we could understand: the connection ends when what was
    /// asked before is answered.
    reading_ended: bool,
    /// The connection ends when the output is written.
    closing: bool,
    /// Nothing is read before memory was given back.
    paused: bool,
    /// Nothing is read before something was answered or written.
    full: bool,
    /// The end of the time in which nothing is read because of a quota.
    muted: Option<Pin<Box<Sleep>>>,
    /// Of the last request that a quota on time acts on.
    stopwatch: Option<Rc<Stopwatch>>,
    /// What this connection took on the reactor, and what of it requests are judged for.
    took: Duration,
    judged: Duration,
}

struct InFlight {
    state: State,
    stopwatch: Option<Rc<Stopwatch>>,
    began: Instant,
    route: &'static Route,
    version: i16,
    /// Given back when the request is answered.
    _permit: Option<Permit>,
}

enum State {
    Running(Running),
    Done(Reply),
}

/// What happened in one turn.
#[derive(Default)]
struct Moved {
    read: usize,
    written: u64,
}

impl Busy {
    /// Begins with a connection that sent frames of `expected` bytes.
    fn begin(&mut self, expected: usize) {
        self.input.reset(expected);
        self.stopwatch = None;
        self.took = Duration::ZERO;
        self.judged = Duration::ZERO;
    }

    /// One turn: does what can be done without waiting, and reports it.
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<End> {
        let began = Instant::now();
        let mut moved = Moved::default();
        let end = self.turn(cx, connection, &mut moved).unwrap_or_else(|error| {
            tracing::debug!(peer = %connection.peer.address, %error, "connection broke");
            Poll::Ready(End::Closed)
        });
        self.input.release(&connection.reactor.buffers);
        self.note_full(connection);
        let now = Instant::now();
        self.report(connection, &moved, now);
        self.took += now - began;
        self.note_time(connection);
        if now - began >= STALL {
            connection.reactor.shard.stalled(now - began);
        }
        end
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        moved: &mut Moved,
    ) -> io::Result<Poll<End>> {
        self.poll_running(cx, connection);
        loop {
            self.collect(connection);
            let written = self.output.poll_write(cx, &mut connection.stream, &mut moved.written)?;
            if let Some(end) = self.ended(connection) {
                return Ok(Poll::Ready(end));
            }
            if self.closing || self.reading_ended {
                return Ok(Poll::Pending);
            }
            if self.poll_muted(cx, connection).is_pending() {
                return Ok(Poll::Pending);
            }
            if self.start_requests(cx, connection) {
                continue;
            }
            if connection.peer.mute.is_on() {
                continue;
            }
            if self.paused || self.is_full() || self.is_held() {
                return Ok(Poll::Pending);
            }
            if moved.read >= BYTES_PER_TURN_MAX {
                cx.waker().wake_by_ref();
                return Ok(Poll::Pending);
            }
            match self.input.poll_fill(cx, &mut connection.stream, &connection.reactor.buffers) {
                Poll::Ready(Ok(0)) => self.reading_ended = true,
                Poll::Ready(Ok(read)) => moved.read += read,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending if written.is_ready() && self.in_flight.is_empty() && self.input.is_empty() => {
                    return Ok(Poll::Ready(End::Idle));
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }

    /// Whether the connection is over now that the output was written as far as possible.
    fn ended(&self, connection: &Connection) -> Option<End> {
        let answered = self.in_flight.is_empty() && self.output.is_empty();
        let over = (self.closing && self.output.is_empty())
            || (answered && (self.reading_ended || connection.reactor.is_draining()));
        over.then_some(End::Closed)
    }

    /// Waits until the connection may be read again.
    fn poll_muted(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        let Some(until) = connection.peer.mute.until(cx.waker()) else {
            self.muted = None;
            return Poll::Ready(());
        };
        let until = tokio::time::Instant::from_std(until);
        let sleep = self.muted.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // Another request in flight may have asked for more.
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        std::task::ready!(sleep.as_mut().poll(cx));
        self.muted = None;
        connection.peer.mute.end();
        Poll::Ready(())
    }

    fn is_full(&self) -> bool {
        let unsent_bytes = self.output.pending_bytes() + self.held_bytes;
        self.in_flight.len() >= REQUESTS_IN_FLIGHT_MAX || unsent_bytes >= OUTPUT_BYTES_MAX
    }

    /// Whether the last request wants to be answered before another begins (see [`Route::holds_the_line`]).
    fn is_held(&self) -> bool {
        let last = self.in_flight.back();
        last.is_some_and(|last| last.route.holds_the_line && matches!(last.state, State::Running(_)))
    }

    /// Counts that a bound stopped the reading, once for each time that it does.
    fn note_full(&mut self, connection: &Connection) {
        let is_full = self.is_full();
        let was_full = std::mem::replace(&mut self.full, is_full);
        if is_full && !was_full {
            let is_many = self.in_flight.len() >= REQUESTS_IN_FLIGHT_MAX;
            let limit = if is_many { Limit::RequestsInFlight } else { Limit::OutputBytes };
            connection.reactor.node.metrics.refused(limit);
        }
    }

    /// What reading, decoding and writing took is used by the client of the last request, which is that of all.
    fn note_time(&mut self, connection: &Connection) {
        // Also without a watch: what was used before there was a quota is nobody's debt.
        let besides = std::mem::take(&mut self.took).saturating_sub(std::mem::take(&mut self.judged));
        let Some(watch) = &self.stopwatch else { return };
        if !watch.is_exempt() {
            connection.reactor.node.quotas.took_besides(watch.quota(), besides);
        }
    }

    /// Polls the handlers that wait for something.
    fn poll_running(&mut self, cx: &mut Context<'_>, connection: &Connection) {
        for request in &mut self.in_flight {
            let State::Running(running) = &mut request.state else { continue };
            match poll_timed(cx, running, request.stopwatch.as_deref(), &mut self.judged) {
                Poll::Ready(Ok(reply)) => request.state = hold(&mut self.held_bytes, reply),
                Poll::Ready(Err(error)) => {
                    refuse(connection, &Malformed::Body(error));
                    request.state = State::Done(Reply::Close);
                }
                Poll::Pending => {}
            }
        }
    }

    /// Moves the answers that are next in order to the output.
    fn collect(&mut self, connection: &Connection) {
        while !self.closing
            && let Some(InFlight { state: State::Done(_), .. }) = self.in_flight.front()
            && let Some(request) = self.in_flight.pop_front()
            && let State::Done(reply) = request.state
        {
            self.held_bytes -= reply.memory_bytes();
            connection.reactor.shard.answered(request.route, request.version, request.began.elapsed());
            self.answer(reply);
        }
    }

    fn answer(&mut self, reply: Reply) {
        match reply {
            Reply::Frame { bytes, files } => self.output.push(bytes, files),
            Reply::Nothing => {}
            Reply::Close => {
                self.closing = true;
                self.in_flight.clear();
                self.held_bytes = 0;
            }
        }
    }

    /// Starts the requests that are complete in the input; whether there were any.
    fn start_requests(&mut self, cx: &mut Context<'_>, connection: &Connection) -> bool {
        let reactor = &connection.reactor;
        let size_max = reactor.limits.request_bytes_max as usize;
        let mut started = false;
        let was_paused = std::mem::take(&mut self.paused);
        while !self.is_full()
            && !self.is_held()
            && !self.closing
            && !self.reading_ended
            && !connection.peer.mute.is_on()
        {
            let waiter = Waiter { connection_id: connection.peer.connection_id, waker: cx.waker() };
            match self.input.next(size_max, reactor.budget.as_ref(), waiter) {
                Ok(Next::Frame(frame, permit)) => {
                    started = true;
                    self.start(cx, connection, frame, permit);
                }
                Ok(Next::Unfinished) => break,
                Ok(Next::Paused) => {
                    self.paused = true;
                    if !was_paused {
                        reactor.node.metrics.refused(Limit::RequestMemory);
                    }
                    break;
                }
                Err(error) => {
                    started = true;
                    self.end_reading(connection, &Malformed::Frame(error));
                }
            }
        }
        started
    }

    fn start(&mut self, cx: &mut Context<'_>, connection: &Connection, frame: Bytes, permit: Option<Permit>) {
        let began = Instant::now();
        let reactor = &connection.reactor;
        let Started { route, version, mut running, stopwatch } =
            match dispatch::start(&reactor.node, &connection.peer, frame) {
                Ok(started) => started,
                Err(malformed) => return self.end_reading(connection, &malformed),
            };
        if stopwatch.is_some() {
            self.stopwatch.clone_from(&stopwatch);
        }
        let state = match poll_timed(cx, &mut running, stopwatch.as_deref(), &mut self.judged) {
            Poll::Ready(Ok(reply)) if self.in_flight.is_empty() => {
                reactor.shard.answered(route, version, began.elapsed());
                return self.answer(reply);
            }
            Poll::Ready(Ok(reply)) => hold(&mut self.held_bytes, reply),
            Poll::Ready(Err(error)) => return self.end_reading(connection, &Malformed::Body(error)),
            Poll::Pending => State::Running(running),
        };
        self.in_flight.push_back(InFlight { state, stopwatch, began, route, version, _permit: permit });
    }

    /// Ends a connection whose next bytes cannot be trusted; what was asked before is still answered.
    fn end_reading(&mut self, connection: &Connection, malformed: &Malformed) {
        refuse(connection, malformed);
        self.reading_ended = true;
    }

    fn report(&self, connection: &Connection, moved: &Moved, now: Instant) {
        connection.reactor.shard.moved(moved.read as u64, moved.written);
        let stopped = self.paused || self.is_full() || self.is_held() || self.muted.is_some();
        let reads_on = !self.reading_ended && !stopped;
        let waits = !self.output.is_empty() || self.reading_ended;
        connection.vitals.note(Turn {
            now,
            in_flight: self.in_flight.len(),
            moved: moved.read > 0 || moved.written > 0,
            unfinished: (reads_on && !self.input.is_empty()).then_some(self.input.len()),
            blocked: waits.then_some(moved.written),
        });
    }
}

/// Polls a handler; where a quota on time acts, with a look at the clock before and after it.
fn poll_timed(
    cx: &mut Context<'_>,
    running: &mut Running,
    watch: Option<&Stopwatch>,
    judged: &mut Duration,
) -> Poll<Result<Reply, DecodeError>> {
    let Some(watch) = watch else { return running.as_mut().poll(cx) };
    let before = watch.here();
    watch.resume(Instant::now());
    let polled = running.as_mut().poll(cx);
    watch.pause(Instant::now());
    *judged += watch.here() - before;
    polled
}

/// Keeps an answer until those ahead of it are there. Its bytes count against the connection's output, or one slow
/// request would let a hundred large answers pile up behind it.
fn hold(held_bytes: &mut u64, reply: Reply) -> State {
    *held_bytes += reply.memory_bytes();
    State::Done(reply)
}

/// One line for a client that does not speak the protocol, unless there are too many.
fn refuse(connection: &Connection, malformed: &Malformed) {
    let metrics = &connection.reactor.node.metrics;
    metrics.request_failed(match malformed {
        Malformed::NotServed(_) | Malformed::UnsupportedVersion { .. } => Failure::Unsupported,
        _ => Failure::Malformed,
    });
    if let Some(suppressed) = connection.reactor.quiet.permit(Instant::now()) {
        tracing::warn!(peer = %connection.peer.address, error = %malformed, suppressed, "closing a connection");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_wait_for_an_earlier_one_fill_the_connection() {
        let mut busy = Busy::default();
        for _ in 0..2 {
            assert!(!busy.is_full(), "half of the output is not all of it");
            let half = Reply::Frame { bytes: vec![0; OUTPUT_BYTES_MAX as usize / 2], files: Vec::new() };
            assert!(matches!(hold(&mut busy.held_bytes, half), State::Done(_)));
        }
        assert!(busy.is_full());
    }
}
