//! The two tasks of a connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use milena_protocol::{ApiKey, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};

use super::open_frame;
use crate::error::{Error, Result};
use crate::net::Stream;

/// Bytes gathered into one write when several requests wait.
const WRITE_BYTES: usize = 256 * 1024;

/// The read buffer grows in steps of at least this.
const READ_BYTES: usize = 64 * 1024;

/// Whether a connection is of no use any more, and whoever waits for that.
#[derive(Debug, Default)]
pub(super) struct Closed {
    is_set: AtomicBool,
    changed: Notify,
}

impl Closed {
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    pub async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_set() {
                return;
            }
            changed.await;
        }
    }
}

/// A request on its way out.
pub(super) struct Outgoing {
    pub frame: Vec<u8>,
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub sender: Sender,
}

/// What the sender of a request waits for.
pub(super) enum Sender {
    Response(oneshot::Sender<Result<Bytes>>),
    /// No response will come: that the socket has the request.
    Written(oneshot::Sender<()>),
}

/// A request that waits for its response.
struct Waiting {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes>>,
}

pub(super) fn spawn(
    stream: Box<dyn Stream>,
    outgoing: mpsc::Receiver<Outgoing>,
    address: Arc<str>,
    response_bytes_max: usize,
    closed: Arc<Closed>,
) {
    let (read, write) = tokio::io::split(stream);
    // As many may wait for a response as were written: the broker bounds that, not we.
    let (waiting, due) = mpsc::unbounded_channel();
    let reading =
        tokio::spawn(read_all(read, due, Arc::clone(&address), response_bytes_max, Arc::clone(&closed)));
    tokio::spawn(async move {
        write_all(write, outgoing, waiting).await;
        closed.set();
        // Who still waits gets what arrives; dropping the write half does not end the read half.
        let _ = reading.await;
    });
}

async fn write_all(
    mut write: WriteHalf<Box<dyn Stream>>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    waiting: mpsc::UnboundedSender<Waiting>,
) {
    let mut gathered = Vec::new();
    let mut unanswered = Vec::new();
    while let Some(request) = outgoing.recv().await {
        gathered.clear();
        gather(request, &mut gathered, &waiting, &mut unanswered);
        while gathered.len() < WRITE_BYTES {
            let Ok(request) = outgoing.try_recv() else { break };
            gather(request, &mut gathered, &waiting, &mut unanswered);
        }
        if write.write_all(&gathered).await.is_err() || write.flush().await.is_err() {
            // The reader sees the same end and tells everybody who waits.
            break;
        }
        for written in unanswered.drain(..) {
            // Who does not wait any more needs no answer.
            let _ = written.send(());
        }
    }
    let _ = write.shutdown().await;
}

fn gather(
    request: Outgoing,
    gathered: &mut Vec<u8>,
    waiting: &mpsc::UnboundedSender<Waiting>,
    unanswered: &mut Vec<oneshot::Sender<()>>,
) {
    let Outgoing { frame, api, version, correlation_id, sender } = request;
    match sender {
        // A reader that is gone drops the sender, which its receiver understands.
        Sender::Response(answer) => drop(waiting.send(Waiting { api, version, correlation_id, answer })),
        Sender::Written(written) => unanswered.push(written),
    }
    if gathered.is_empty() {
        *gathered = frame;
    } else {
        gathered.extend_from_slice(&frame);
    }
}

async fn read_all(
    mut read: ReadHalf<Box<dyn Stream>>,
    mut due: mpsc::UnboundedReceiver<Waiting>,
    address: Arc<str>,
    response_bytes_max: usize,
    closed: Arc<Closed>,
) {
    let mut buffer = BytesMut::new();
    let error = loop {
        match read_frame(&mut read, &mut buffer, response_bytes_max).await {
            Ok(frame) => {
                // A response is written after its request, so whoever waits for it is registered.
                let Ok(waiting) = due.try_recv() else {
                    break protocol(&address, "a response to nothing".to_owned());
                };
                match open_frame(frame, waiting.api, waiting.version, waiting.correlation_id) {
                    Ok(body) => drop(waiting.answer.send(Ok(body))),
                    Err(message) => {
                        let error = protocol(&address, message);
                        let _ = waiting.answer.send(Err(error.clone()));
                        break error;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                break protocol(&address, error.to_string());
            }
            Err(error) => break Error::disconnected(&address, error),
        }
    };
    closed.set();
    due.close();
    while let Ok(waiting) = due.try_recv() {
        let _ = waiting.answer.send(Err(error.clone()));
    }
}

fn protocol(address: &str, message: String) -> Error {
    Error::Protocol { address: address.to_owned(), message }
}

async fn read_frame(
    read: &mut ReadHalf<Box<dyn Stream>>,
    buffer: &mut BytesMut,
    size_max: usize,
) -> io::Result<Bytes> {
    loop {
        match frame::split(buffer, size_max) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        // Grows with what arrives, never by what the length claims.
        buffer.reserve(buffer.len().clamp(READ_BYTES, 4 * 1024 * 1024));
        if read.read_buf(buffer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed it"));
        }
    }
}
