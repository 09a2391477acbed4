//! What one answer may hold, for requests of which a few bytes ask for many.

use milena_protocol::ErrorCode;

/// Bytes of one answer: the configs of 3,000 topics with their documentation, two million committed offsets, and more
/// than most clients would read.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is left of an answer's bytes.
#[derive(Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ANSWER_BYTES_MAX)
    }
}

impl Room {
    /// Takes about so many bytes.
    ///
    /// Errors: INVALID_REQUEST when there is not that much; what is smaller may still fit.
    pub fn take(&mut self, bytes: usize) -> Result<(), ErrorCode> {
        self.0 = self.0.checked_sub(bytes).ok_or(ErrorCode::InvalidRequest)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let mut room = Room::default();
        assert_eq!(room.take(ANSWER_BYTES_MAX - 10), Ok(()));
        assert_eq!(room.take(11), Err(ErrorCode::InvalidRequest));
        assert_eq!((room.take(10), room.take(1)), (Ok(()), Err(ErrorCode::InvalidRequest)));
    }
}
