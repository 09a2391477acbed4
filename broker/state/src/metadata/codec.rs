//! Primitive fields of a metadata record: big-endian integers, unsigned varint lengths.
//!
//! Reading is total: every length is checked against the bytes that are left before anything is
//! allocated, so a damaged record costs an error and never memory.

use milena_protocol::types::Uuid;

use super::record::DecodeError;

/// Appends fields to a byte vector. Encoding cannot fail: the bounds of a record are kept by the
/// decisions that make it.
#[derive(Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(super) fn length(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.u8((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn i32s(&mut self, values: &[i32]) {
        self.length(values.len());
        for value in values {
            self.i32(*value);
        }
    }

    pub(super) fn uuids(&mut self, values: &[Uuid]) {
        self.length(values.len());
        for value in values {
            self.uuid(*value);
        }
    }
}

/// Takes fields off the front of a byte slice.
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, size: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(size)
            .ok_or(DecodeError::Truncated { needed: size, left: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take returned the size asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Field { what: "a boolean", value: i64::from(other) }),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// A count of bytes or elements. Five groups of seven bits reach past any record we accept.
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value)
                    .map_err(|_| DecodeError::Field { what: "a length", value: value as i64 });
            }
        }
        Err(DecodeError::Field { what: "a length", value: value as i64 })
    }

    /// A count of elements of at least `element_size_min` bytes each, all of which must still follow.
    pub(super) fn count(&mut self, element_size_min: usize) -> Result<usize, DecodeError> {
        let count = self.length()?;
        let needed = count.saturating_mul(element_size_min);
        if needed > self.remaining() {
            return Err(DecodeError::Truncated { needed, left: self.remaining() });
        }
        Ok(count)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let size = self.length()?;
        self.take(size)
    }

    pub(super) fn string(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::NotUtf8)
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn i32s(&mut self) -> Result<Vec<i32>, DecodeError> {
        let count = self.count(4)?;
        (0..count).map(|_| self.i32()).collect()
    }

    pub(super) fn uuids(&mut self) -> Result<Vec<Uuid>, DecodeError> {
        let count = self.count(16)?;
        (0..count).map(|_| self.uuid()).collect()
    }
}
