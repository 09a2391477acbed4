//! Bytes of one client on their way to frames.
//!
//! No buffer is held while nothing is read. Memory follows the bytes that arrived and the sizes of frames that
//! this client completed before, never a length that it merely claims.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use milena_protocol::frame::{self, FrameError, PREFIX_SIZE};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::budget::{Budget, Permit, Waiter};
use super::buffers::{Buffers, READ_BYTES_EXPECTED_MAX, READ_BYTES_MIN};

/// Frames up to this size are copied to memory of their own: cheaper than holding a read buffer for as long
/// as the request waits.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// First read of a connection that sends large frames. The rest of a large frame is then read exactly, so
/// that no piece of the next one must be moved.
const FIRST_READ_BYTES: usize = 16 << 10;

/// An unfinished frame may get room for this many times the bytes that have arrived.
const GROWTH: usize = 3;

/// What was read and not yet taken.
#[derive(Debug, Default)]
pub struct Input {
    buffer: BytesMut,
    /// Capacity of `buffer` when it was taken or grown; 0 when there is none.
    size: usize,
    /// Size of the frames that this client sends, slowly forgotten.
    expected: usize,
    /// The share of the frame at the front in the memory budget.
    permit: Option<Permit>,
}

/// What stands at the front of the input.
#[derive(Debug)]
pub enum Next {
    Frame(Bytes, Option<Permit>),
    /// More bytes must be read.
    Unfinished,
    /// The memory budget is used up; the task is woken when there is room.
    Paused,
}

impl Input {
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of the unfinished frame that have arrived.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn expected(&self) -> usize {
        self.expected
    }

    /// Starts again for a client that sent frames of `expected` bytes.
    pub fn reset(&mut self, expected: usize) {
        debug_assert!(self.buffer.is_empty() && self.size == 0, "buffer was released");
        self.expected = expected;
        self.permit = None;
    }

    /// Takes the frame at the front off the input.
    pub fn next(
        &mut self,
        size_max: usize,
        budget: Option<&Arc<Budget>>,
        waiter: Waiter<'_>,
    ) -> Result<Next, FrameError> {
        let Some(size) = frame::size(&self.buffer, size_max)? else { return Ok(Next::Unfinished) };
        if let Some(budget) = budget
            && self.permit.is_none()
        {
            self.permit = budget.acquire(size as u64, waiter);
            if self.permit.is_none() {
                return Ok(Next::Paused);
            }
        }
        if self.buffer.len() < PREFIX_SIZE + size {
            return Ok(Next::Unfinished);
        }
        self.expected = size.max(self.expected - self.expected / 8).min(READ_BYTES_EXPECTED_MAX);
        self.buffer.advance(PREFIX_SIZE);
        let frame = if size <= COPIED_BYTES_MAX {
            let copy = Bytes::copy_from_slice(&self.buffer[..size]);
            self.buffer.advance(size);
            copy
        } else {
            self.buffer.split_to(size).freeze()
        };
        Ok(Next::Frame(frame, self.permit.take()))
    }

    /// Reads once what the socket has; `Ok(0)` is its end.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        ready!(stream.poll_read_ready(cx))?;
        let room = self.make_room(buffers);
        let mut limited = (&mut self.buffer).limit(room);
        let read = pin!(stream.read_buf(&mut limited)).poll(cx);
        if self.buffer.is_empty() {
            self.release(buffers);
        }
        read
    }

    /// Gives the buffer back unless bytes are left in it.
    pub fn release(&mut self, buffers: &Buffers) {
        if self.buffer.is_empty() && self.size > 0 {
            buffers.give_back(std::mem::take(&mut self.buffer), self.size);
            self.size = 0;
        }
    }

    /// Sees to free memory behind the bytes that are there, and says how much may be read into it.
    fn make_room(&mut self, buffers: &Buffers) -> usize {
        if self.size == 0 {
            self.buffer = buffers.take(self.expected + PREFIX_SIZE);
            self.size = self.buffer.capacity();
        }
        let arrived = self.buffer.len();
        let Ok(Some(size)) = frame::size(&self.buffer, usize::MAX) else {
            self.reserve(READ_BYTES_MIN - arrived.min(READ_BYTES_MIN / 2));
            return if self.expected > READ_BYTES_MIN { FIRST_READ_BYTES } else { self.spare() };
        };
        let missing = (PREFIX_SIZE + size).saturating_sub(arrived);
        self.reserve(missing.min((arrived * GROWTH).max(READ_BYTES_MIN)));
        if PREFIX_SIZE + size > READ_BYTES_MIN { missing.min(self.spare()) } else { self.spare() }
    }

    fn reserve(&mut self, additional: usize) {
        self.buffer.reserve(additional);
        self.size = self.size.max(self.buffer.capacity());
    }

    fn spare(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const WAITER: Waiter<'_> = Waiter { connection_id: 1, waker: Waker::noop() };

    fn frame_of(size: usize) -> Vec<u8> {
        let mut bytes = (size as i32).to_be_bytes().to_vec();
        bytes.extend((0..size).map(|at| at as u8));
        bytes
    }

    fn feed(input: &mut Input, buffers: &Buffers, mut bytes: &[u8]) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let count = input.make_room(buffers).min(bytes.len());
            assert!(count > 0, "there is always room to read into");
            input.buffer.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            while let Next::Frame(frame, None) = input.next(usize::MAX, None, WAITER).expect("valid") {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn frames_of_all_sizes_come_out_as_they_went_in() {
        let sizes =
            [0, 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 70_000, 3, 1_000_000, 1_000_000, 900_000, 8];
        let wire: Vec<u8> = sizes.iter().flat_map(|size| frame_of(*size)).collect();
        let (mut input, buffers) = (Input::default(), Buffers::default());
        let frames = feed(&mut input, &buffers, &wire);
        assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), sizes);
        for (frame, size) in frames.iter().zip(sizes) {
            assert_eq!(frame[..], frame_of(size)[PREFIX_SIZE..]);
        }
    }

    #[test]
    fn claimed_length_alone_gets_no_memory() {
        let (mut input, buffers) = (Input::default(), Buffers::default());
        feed(&mut input, &buffers, &(100i32 << 20).to_be_bytes());
        input.make_room(&buffers);
        assert!(input.buffer.capacity() <= 2 * READ_BYTES_MIN, "{}", input.buffer.capacity());
    }

    #[test]
    fn large_frame_leaves_nothing_of_the_next_in_its_buffer() {
        let (mut input, buffers) = (Input::default(), Buffers::default());
        let wire = [frame_of(1_000_000), frame_of(1_000_000)].concat();
        feed(&mut input, &buffers, &wire[..PREFIX_SIZE + 1_000_000]);
        assert!(input.is_empty());
        assert_eq!(input.make_room(&buffers), FIRST_READ_BYTES, "the second is read exactly as well");
    }

    #[test]
    fn frame_waits_for_the_memory_budget() {
        let (mut input, buffers) = (Input::default(), Buffers::default());
        let budget = Arc::new(Budget::new(10));
        let other = budget.acquire(10, Waiter { connection_id: 2, ..WAITER }).expect("the budget is free");
        input.make_room(&buffers);
        input.buffer.extend_from_slice(&frame_of(5));
        let next = input.next(100, Some(&budget), WAITER);
        assert!(matches!(next, Ok(Next::Paused)), "{next:?}");
        drop(other);
        let next = input.next(100, Some(&budget), WAITER);
        assert!(matches!(&next, Ok(Next::Frame(frame, Some(_))) if frame.len() == 5), "{next:?}");
    }
}
