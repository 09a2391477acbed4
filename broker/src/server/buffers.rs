//! Buffers that the connections of one reactor lend each other.
//!
//! An idle connection holds none. What a reactor keeps is bounded, and given back to the allocator by
//! [`Buffers::trim`] when nobody asked for a while.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// Room for many small requests, and the first piece of a large one.
pub const READ_BYTES_MIN: usize = 64 << 10;

/// A connection that sent requests of this size gets no larger buffer in advance.
pub const READ_BYTES_EXPECTED_MAX: usize = 4 << 20;

/// Kept by one reactor for the next connection to read.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Buffers for answers, kept by one thread.
const REPLIES_KEPT_MAX: usize = 32;
const REPLY_KEPT_BYTES_MAX: usize = 64 << 10;

/// Read buffers of one reactor.
#[derive(Debug, Default)]
pub struct Buffers {
    kept: RefCell<Vec<BytesMut>>,
    kept_bytes: Cell<usize>,
    asked: Cell<bool>,
}

impl Buffers {
    /// An empty buffer with room for at least `capacity` bytes.
    pub fn take(&self, capacity: usize) -> BytesMut {
        self.asked.set(true);
        let mut kept = self.kept.borrow_mut();
        match kept.iter().rposition(|buffer| buffer.capacity() >= capacity) {
            Some(found) => {
                let buffer = kept.swap_remove(found);
                self.kept_bytes.set(self.kept_bytes.get() - buffer.capacity());
                buffer
            }
            None => BytesMut::with_capacity(capacity.max(READ_BYTES_MIN)),
        }
    }

    /// Takes an empty buffer back. One whose memory frames still share is let go: it is freed with the last.
    ///
    /// `size` is its capacity when it was taken or last grown; reading on moves the buffer's own idea of it.
    pub fn give_back(&self, mut buffer: BytesMut, size: usize) {
        debug_assert!(buffer.is_empty(), "{} unread bytes would be lost", buffer.len());
        let reclaimed = buffer.try_reclaim(size);
        if reclaimed && self.kept_bytes.get() + buffer.capacity() <= KEPT_BYTES_MAX {
            self.kept_bytes.set(self.kept_bytes.get() + buffer.capacity());
            self.kept.borrow_mut().push(buffer);
        }
    }

    /// Frees what is kept, unless somebody took a buffer since the last call.
    pub fn trim(&self) {
        if !self.asked.replace(false) {
            self.kept.borrow_mut().clear();
            self.kept_bytes.set(0);
        }
    }
}

thread_local! {
    static REPLIES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer for an answer.
pub fn take_reply() -> Vec<u8> {
    REPLIES.with_borrow_mut(|replies| replies.pop()).unwrap_or_default()
}

/// Keeps the memory of an answer that was sent, unless it is large.
pub fn recycle_reply(mut bytes: Vec<u8>) {
    if bytes.capacity() == 0 || bytes.capacity() > REPLY_KEPT_BYTES_MAX {
        return;
    }
    bytes.clear();
    REPLIES.with_borrow_mut(|replies| {
        if replies.len() < REPLIES_KEPT_MAX {
            replies.push(bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_whose_frames_are_gone_is_lent_again() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(100);
        buffer.extend_from_slice(b"frame");
        let address = buffer.as_ptr();
        drop(buffer.split_to(5).freeze());
        buffers.give_back(buffer, READ_BYTES_MIN);
        let again = buffers.take(READ_BYTES_MIN);
        assert_eq!(again.as_ptr(), address);
        assert!(again.capacity() >= READ_BYTES_MIN);
    }

    #[test]
    fn buffer_that_a_frame_still_shares_is_not_lent_again() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(100);
        buffer.extend_from_slice(b"frame");
        let frame = buffer.split_to(5).freeze();
        buffers.give_back(buffer, READ_BYTES_MIN);
        let mut other = buffers.take(100);
        other.extend_from_slice(b"other");
        assert_eq!(&frame[..], b"frame");
    }

    #[test]
    fn trim_frees_only_what_nobody_asked_for() {
        let buffers = Buffers::default();
        buffers.give_back(buffers.take(100), READ_BYTES_MIN);
        buffers.trim();
        assert!(buffers.kept_bytes.get() > 0, "it was used since the last look");
        buffers.trim();
        assert_eq!(buffers.kept_bytes.get(), 0);
    }
}
