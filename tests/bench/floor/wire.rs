//! The few primitive types of Kafka's old, not yet compact, encoding.

/// Reads from the front of a slice; every method is `None` past its end.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn i8(&mut self) -> Option<i8> {
        self.bytes(1).map(|b| b[0] as i8)
    }

    pub fn i16(&mut self) -> Option<i16> {
        self.bytes(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.bytes(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.bytes(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    /// A string; null reads as empty.
    pub fn string(&mut self) -> Option<&'a str> {
        let length = self.i16()?;
        std::str::from_utf8(self.bytes(length.max(0) as usize)?).ok()
    }

    /// Number of elements of an array; null reads as none.
    pub fn count(&mut self) -> Option<i32> {
        self.i32().map(|count| count.max(0))
    }
}

/// Appends to a response.
pub trait Output {
    fn i8(&mut self, value: i8);
    fn i16(&mut self, value: i16);
    fn i32(&mut self, value: i32);
    fn i64(&mut self, value: i64);
    fn string(&mut self, value: &str);
    fn set_i32(&mut self, position: usize, value: i32);
}

impl Output for Vec<u8> {
    fn i8(&mut self, value: i8) {
        self.push(value as u8);
    }

    fn i16(&mut self, value: i16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn string(&mut self, value: &str) {
        self.i16(value.len() as i16);
        self.extend_from_slice(value.as_bytes());
    }

    fn set_i32(&mut self, position: usize, value: i32) {
        self[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }
}
