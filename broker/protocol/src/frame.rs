//! Frames: a four-byte length, then that many bytes.
//!
//! Reading is incremental over a buffer that the connection fills. Nothing is reserved for a length that
//! a peer claims before the caller's limit has been checked.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::EncodeError;
use crate::writer::Writer;

/// Bytes of the length prefix.
pub const PREFIX_SIZE: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame length {0} is negative")]
    Negative(i32),
    #[error("frame of {size} bytes is above the limit of {size_max}")]
    TooLarge { size: usize, size_max: usize },
}

/// The size of the frame at the start of `bytes` without its prefix, or none when the prefix is not
/// there yet.
pub fn size(bytes: &[u8], size_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_SIZE>() else { return Ok(None) };
    let size = i32::from_be_bytes(*prefix);
    let size = usize::try_from(size).map_err(|_| FrameError::Negative(size))?;
    if size > size_max { Err(FrameError::TooLarge { size, size_max }) } else { Ok(Some(size)) }
}

/// Takes the first whole frame off `buffer`, without its prefix; none when more bytes are needed.
pub fn split(buffer: &mut BytesMut, size_max: usize) -> Result<Option<Bytes>, FrameError> {
    match size(buffer, size_max)? {
        Some(size) if buffer.len() - PREFIX_SIZE >= size => {
            buffer.advance(PREFIX_SIZE);
            Ok(Some(buffer.split_to(size).freeze()))
        }
        _ => Ok(None),
    }
}

/// Starts a frame in `w`; [`end`] fills in its length. Returns where the frame starts.
pub fn begin(w: &mut Writer) -> usize {
    let start = w.wire_size();
    w.i32(0);
    start
}

/// Ends the frame that [`begin`] started at `start`, counting the bytes that will be spliced in.
///
/// A writer may hold several frames, but none with detached records before another: positions of the
/// buffer and of the wire would differ.
pub fn end(w: &mut Writer, start: usize) -> Result<(), EncodeError> {
    debug_assert!(w.splices().iter().all(|splice| splice.position > start), "one frame with splices at most");
    let size = w.wire_size() - start - PREFIX_SIZE;
    match i32::try_from(size) {
        Ok(size_i32) => {
            w.patch_i32(start, size_i32);
            Ok(())
        }
        Err(_) => Err(EncodeError::TooLong { size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Records;

    #[test]
    fn frame_arrives_byte_by_byte() {
        let wire = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0];
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in wire {
            buffer.extend_from_slice(&[byte]);
            frames.extend(split(&mut buffer, 2).unwrap());
        }
        assert_eq!(frames, [Bytes::from_static(&[7, 8]), Bytes::new()]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn length_is_judged_before_the_body_is_there() {
        assert_eq!(size(&[0, 0, 1], 10), Ok(None));
        assert_eq!(size(&[0, 0, 0, 11], 10), Err(FrameError::TooLarge { size: 11, size_max: 10 }));
        assert_eq!(size(&[0xff; 4], 10), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn length_counts_spliced_bytes() {
        let mut w = Writer::new();
        let start = begin(&mut w);
        w.records(&Records::Detached(1000), false).unwrap();
        w.i8(1);
        end(&mut w, start).unwrap();
        assert_eq!(w.wire_size(), 4 + 4 + 1000 + 1);
        assert_eq!(w.bytes()[..4], 1005i32.to_be_bytes());
        assert_eq!(w.splices()[0].position, 8);
    }
}
