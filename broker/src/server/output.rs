//! Answers on their way to one client: bytes and pieces of files, in order.
//!
//! Small answers are gathered into one write. Runs of a file of [`SENDFILE_BYTES_MIN`] or more go by sendfile,
//! shorter ones are read between the bytes around them. A reactor never waits for a disk: a run that is not in
//! the page cache is brought there by a thread of the blocking pool before the reactor sends it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use milena_log::{Slice, slice};

use super::buffers;
use super::reply::FileSlice;
use crate::system::sendfile;

/// From here on sendfile costs less than reading and writing (measured: 1.6 times at 16 KiB).
const SENDFILE_BYTES_MIN: usize = 16 << 10;

/// Answers are gathered into one write up to here.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// How much of a file is probed, warmed and sent before the next look at the page cache.
const WINDOW_BYTES: usize = 1 << 20;

/// One byte is probed in each of these: the kernel reads ahead in pieces of this size or larger.
const PROBE_STRIDE: u64 = 128 << 10;

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    pending_bytes: u64,
}

#[derive(Debug)]
enum Chunk {
    Bytes { bytes: Vec<u8>, written: usize },
    File { file: FileSlice, state: FileState },
}

#[derive(Debug)]
enum FileState {
    /// In the page cache up to this position, as far as we know.
    Hot { until: u64 },
    /// A pool thread reads up to this position.
    Warming { until: u64, read: JoinHandle<io::Result<()>> },
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that the client has not taken yet, files included.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Queues the frame of an answer. `files` are in the order of their places in `bytes`.
    pub fn push(&mut self, bytes: Vec<u8>, files: Vec<(u32, FileSlice)>) {
        if files.is_empty() {
            self.push_bytes(bytes);
            return;
        }
        let mut begin = 0;
        for (place, slice) in files {
            let place = place as usize;
            self.gather(&bytes[begin..place]);
            begin = place;
            self.push_file(slice);
        }
        self.gather(&bytes[begin..]);
        buffers::recycle_reply(bytes);
    }

    fn push_bytes(&mut self, bytes: Vec<u8>) {
        if matches!(self.chunks.back(), Some(Chunk::Bytes { bytes: tail, .. })
            if tail.len() + bytes.len() <= GATHERED_BYTES_MAX)
        {
            self.gather(&bytes);
            buffers::recycle_reply(bytes);
        } else {
            self.pending_bytes += bytes.len() as u64;
            self.chunks.push_back(Chunk::Bytes { bytes, written: 0 });
        }
    }

    fn gather(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.pending_bytes += piece.len() as u64;
            self.tail().extend_from_slice(piece);
        }
    }

    /// The bytes that are written last, to be added to.
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.chunks.back(), Some(Chunk::Bytes { .. })) {
            self.chunks.push_back(Chunk::Bytes { bytes: buffers::take_reply(), written: 0 });
        }
        match self.chunks.back_mut() {
            Some(Chunk::Bytes { bytes, .. }) => bytes,
            _ => unreachable!("bytes were just put at the end"),
        }
    }

    fn push_file(&mut self, file: FileSlice) {
        if file.slice.length < SENDFILE_BYTES_MIN && self.gather_hot(&file.slice) {
            return;
        }
        self.pending_bytes += file.slice.length as u64;
        let until = file.slice.position;
        self.chunks.push_back(Chunk::File { file, state: FileState::Hot { until } });
    }

    /// Reads a short slice right behind the bytes before it, when no disk is needed for that.
    fn gather_hot(&mut self, slice: &Slice) -> bool {
        let tail = self.tail();
        let begin = tail.len();
        tail.resize(begin + slice.length, 0);
        if read_hot(slice, &mut tail[begin..]).is_err() {
            tail.truncate(begin);
            return false;
        }
        self.pending_bytes += slice.length as u64;
        true
    }

    /// Writes until nothing is left or the client must read first; adds what went out to `written`.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.chunks.is_empty() {
            let count = ready!(self.poll_write_first(cx, stream))?;
            *written += count;
            self.pending_bytes -= count;
        }
        Poll::Ready(Ok(()))
    }

    /// One system call's worth of the first chunk, which is removed when nothing of it is left.
    fn poll_write_first(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<u64>> {
        let file_follows = matches!(self.chunks.get(1), Some(Chunk::File { .. }));
        match self.chunks.front_mut() {
            None => Poll::Ready(Ok(0)),
            Some(Chunk::Bytes { bytes, written }) => {
                let count = ready!(poll_send(cx, stream, &bytes[*written..], file_follows))?;
                *written += count;
                if *written == bytes.len()
                    && let Some(Chunk::Bytes { bytes, .. }) = self.chunks.pop_front()
                {
                    buffers::recycle_reply(bytes);
                }
                Poll::Ready(Ok(count as u64))
            }
            Some(Chunk::File { file, state }) => {
                let window_end = ready!(poll_hot(cx, file, state))?;
                let slice = &file.slice;
                let window = (window_end - slice.position) as usize;
                if slice.file.raw_fd().is_none() || slice.length < SENDFILE_BYTES_MIN {
                    return Poll::Ready(self.replace_by_bytes(window));
                }
                let count = ready!(poll_sendfile(cx, stream, file, window))?;
                if file.advance(count) {
                    self.chunks.pop_front();
                }
                Poll::Ready(Ok(count as u64))
            }
        }
    }

    /// Reads the next `window` bytes of the file in front into a chunk before it: short runs, and files
    /// without a descriptor. Writes nothing yet.
    fn replace_by_bytes(&mut self, window: usize) -> io::Result<u64> {
        let Some(Chunk::File { file, .. }) = self.chunks.front_mut() else { return Ok(0) };
        let mut bytes = buffers::take_reply();
        bytes.resize(window, 0);
        let read = milena_log::files::read_exact_at(&*file.slice.file, &mut bytes, file.slice.position);
        told(read, file)?;
        if file.advance(window) {
            self.chunks.pop_front();
        }
        self.chunks.push_front(Chunk::Bytes { bytes, written: 0 });
        Ok(0)
    }
}

/// Writes bytes; when a file follows, the kernel is told to send them with its first packet.
fn poll_send(
    cx: &mut Context<'_>,
    stream: &mut TcpStream,
    bytes: &[u8],
    file_follows: bool,
) -> Poll<io::Result<usize>> {
    let count = if file_follows {
        ready!(poll_try(cx, stream, |stream| SockRef::from(stream).send_with_flags(bytes, libc::MSG_MORE)))?
    } else {
        ready!(Pin::new(stream).poll_write(cx, bytes))?
    };
    if count == 0 && !bytes.is_empty() {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    Poll::Ready(Ok(count))
}

fn poll_sendfile(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    file: &FileSlice,
    window: usize,
) -> Poll<io::Result<usize>> {
    let slice = &file.slice;
    let Some(raw_fd) = slice.raw_fd() else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
    let sent = ready!(poll_try(cx, stream, |stream| {
        sendfile(stream.as_raw_fd(), raw_fd, slice.position, window)
    }));
    Poll::Ready(match sent {
        // The length was promised in the header of the frame; the connection cannot be saved.
        Ok(0) => told(
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file is shorter than its index says")),
            file,
        ),
        // What a socket never says of itself: the disk did not give the bytes.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => told(Err(error), file),
        sent => sent,
    })
}

/// Passes the result of a read on, after telling the file's owner of an error.
fn told<T>(read: io::Result<T>, file: &FileSlice) -> io::Result<T> {
    read.inspect_err(|error| file.read_failed(error))
}

impl FileSlice {
    /// So many bytes are sent; true when none is left.
    fn advance(&mut self, count: usize) -> bool {
        self.slice.position += count as u64;
        self.slice.length -= count;
        self.slice.length == 0
    }
}

/// Runs a writing system call whenever the socket has room, until it does not say `WouldBlock`.
fn poll_try(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    mut call: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, || call(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

/// Waits until the next piece of the slice is in the page cache; its end.
fn poll_hot(cx: &mut Context<'_>, file: &FileSlice, state: &mut FileState) -> Poll<io::Result<u64>> {
    let slice = &file.slice;
    loop {
        match state {
            FileState::Hot { until } if *until > slice.position => return Poll::Ready(Ok(*until)),
            FileState::Hot { .. } => {
                let window = slice.length.min(WINDOW_BYTES);
                let until = slice.position + window as u64;
                *state = if is_hot(slice, window) {
                    FileState::Hot { until }
                } else {
                    FileState::Warming { until, read: warm(slice, window) }
                };
            }
            FileState::Warming { until, read } => {
                let until = *until;
                let read = ready!(Pin::new(read).poll(cx)).map_err(io::Error::other)?;
                told(read, file)?;
                *state = FileState::Hot { until };
            }
        }
    }
}

/// Whether one byte of every stride, and the last one, can be read without the disk.
fn is_hot(slice: &Slice, window: usize) -> bool {
    let mut byte = [0];
    probes(slice.position, window as u64)
        .all(|position| !is_cold(slice.file.read_hot_at(&mut byte, position)))
}

/// Files that cannot be probed are taken as hot: waiting for them is all that is left.
fn is_cold(probe: io::Result<usize>) -> bool {
    probe.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn probes(position: u64, window: u64) -> impl Iterator<Item = u64> {
    let last = position + window.saturating_sub(1);
    (position..last).step_by(PROBE_STRIDE as usize).chain([last])
}

/// Has a pool thread bring the window into the page cache.
fn warm(slice: &Slice, window: usize) -> JoinHandle<io::Result<()>> {
    let (file, position) = (slice.file.clone(), slice.position);
    tokio::task::spawn_blocking(move || slice::warm(&*file, position, window))
}

/// Fills `buffer` from the page cache alone.
fn read_hot(slice: &Slice, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match slice.file.read_hot_at(&mut buffer[filled..], slice.position + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "output_test.rs"]
mod tests;
