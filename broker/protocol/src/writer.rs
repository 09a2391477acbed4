//! Writes the primitive values of the protocol into a growing buffer.
//!
//! Detached records leave a [`Splice`]: their length is in the buffer, their bytes are not, and the
//! connection sends them from the log file when it reaches that position.

use crate::codec::{Encode, EncodeError};
use crate::reader::STRING_SIZE_MAX;
use crate::types::{Records, Uuid};

/// Bytes to be sent from elsewhere, between two bytes of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splice {
    /// How many bytes of the buffer go before.
    pub position: usize,
    pub size: u32,
}

/// The bytes of a message, or of a frame, being made.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    splices: Vec<Splice>,
    /// Where the throttle time of a response stands.
    throttle_time_at: Option<usize>,
}

type Result<T> = std::result::Result<T, EncodeError>;

impl Writer {
    pub fn new() -> Self {
        Writer::default()
    }

    pub fn with_capacity(capacity: usize) -> Self {
        Self::from_vec(Vec::with_capacity(capacity))
    }

    /// Continues at the end of `bytes`, so that a buffer can be used again.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Writer { bytes, ..Writer::default() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn splices(&self) -> &[Splice] {
        &self.splices
    }

    /// Bytes that go over the wire: those in the buffer and those spliced in.
    pub fn wire_size(&self) -> usize {
        self.bytes.len() + self.splices.iter().map(|splice| splice.size as usize).sum::<usize>()
    }

    /// The buffer, when nothing is to be spliced into it.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        if self.splices.is_empty() { Ok(self.bytes) } else { Err(EncodeError::Detached) }
    }

    pub fn into_parts(self) -> (Vec<u8>, Vec<Splice>) {
        (self.bytes, self.splices)
    }

    /// Overwrites 4 bytes written earlier, for a length that is known only afterwards.
    pub(crate) fn patch_i32(&mut self, position: usize, value: i32) {
        self.bytes[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Writes the time that a response has its client wait, and remembers where: what the answer itself took is known
    /// only when it is encoded.
    pub(crate) fn throttle_time(&mut self, ms: i32) {
        self.throttle_time_at = Some(self.bytes.len());
        self.i32(ms);
    }

    /// Has the response say that the client waits for at least so long. Versions without the field say nothing.
    pub fn raise_throttle_time(&mut self, ms: i32) {
        let Some(at) = self.throttle_time_at else { return };
        let said = self.bytes[at..at + 4].try_into().map_or(0, i32::from_be_bytes);
        self.patch_i32(at, said.max(ms));
    }

    /// Refuses versions that a message does not have.
    pub fn check_version(&self, message: &'static str, first: i16, last: i16, version: i16) -> Result<()> {
        if (first..=last).contains(&version) {
            Ok(())
        } else {
            Err(EncodeError::Version { message, version })
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub fn i8(&mut self, value: i8) {
        self.bytes.push(value as u8);
    }

    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    pub fn uvarint(&mut self, value: u32) {
        self.uvarlong(u64::from(value));
    }

    pub fn varint(&mut self, value: i32) {
        self.uvarint((value << 1 ^ value >> 31) as u32);
    }

    pub fn varlong(&mut self, value: i64) {
        self.uvarlong((value << 1 ^ value >> 63) as u64);
    }

    fn uvarlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// The length of bytes, records or an array; none is null.
    fn size_prefix(&mut self, size: Option<usize>, flexible: bool) -> Result<()> {
        match size {
            Some(size) if size > i32::MAX as usize - 1 => return Err(EncodeError::TooLong { size }),
            Some(size) if flexible => self.uvarint(size as u32 + 1),
            Some(size) => self.i32(size as i32),
            None if flexible => self.uvarint(0),
            None => self.i32(-1),
        }
        Ok(())
    }

    pub fn string(&mut self, value: &str, flexible: bool) -> Result<()> {
        let size = value.len();
        if size > STRING_SIZE_MAX {
            return Err(EncodeError::TooLong { size });
        }
        if flexible {
            self.uvarint(size as u32 + 1)
        } else {
            self.i16(size as i16)
        }
        self.raw(value.as_bytes());
        Ok(())
    }

    pub fn nullable_string(&mut self, value: Option<&str>, flexible: bool) -> Result<()> {
        match value {
            Some(value) => self.string(value, flexible)?,
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    pub fn sized_bytes(&mut self, value: &[u8], flexible: bool) -> Result<()> {
        self.nullable_bytes(Some(value), flexible)
    }

    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, flexible: bool) -> Result<()> {
        self.size_prefix(value.map(<[u8]>::len), flexible)?;
        self.raw(value.unwrap_or_default());
        Ok(())
    }

    pub fn records(&mut self, value: &Records<'_>, flexible: bool) -> Result<()> {
        self.size_prefix(Some(value.len()), flexible)?;
        match value {
            Records::Bytes(bytes) => self.raw(bytes),
            Records::Detached(0) => {}
            Records::Detached(size) => self.splices.push(Splice { position: self.bytes.len(), size: *size }),
        }
        Ok(())
    }

    pub fn nullable_records(&mut self, value: Option<&Records<'_>>, flexible: bool) -> Result<()> {
        match value {
            Some(value) => self.records(value, flexible),
            None => self.size_prefix(None, flexible),
        }
    }

    pub fn array<T: Encode>(&mut self, elements: &[T], version: i16, flexible: bool) -> Result<()> {
        self.nullable_array(Some(elements), version, flexible)
    }

    pub fn nullable_array<T: Encode>(
        &mut self,
        elements: Option<&[T]>,
        version: i16,
        flexible: bool,
    ) -> Result<()> {
        self.size_prefix(elements.map(<[T]>::len), flexible)?;
        for element in elements.unwrap_or_default() {
            element.encode(self, version)?;
        }
        Ok(())
    }

    pub fn strings<S: AsRef<str>>(&mut self, elements: &[S], flexible: bool) -> Result<()> {
        self.nullable_strings(Some(elements), flexible)
    }

    pub fn nullable_strings<S: AsRef<str>>(&mut self, elements: Option<&[S]>, flexible: bool) -> Result<()> {
        self.size_prefix(elements.map(<[S]>::len), flexible)?;
        for element in elements.unwrap_or_default() {
            self.string(element.as_ref(), flexible)?;
        }
        Ok(())
    }

    /// A struct behind a byte that says whether it is there.
    pub fn nullable_struct<T: Encode>(&mut self, value: Option<&T>, version: i16) -> Result<()> {
        match value {
            Some(value) => {
                self.i8(1);
                value.encode(self, version)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// Starts a tagged field; its size is filled in by [`Writer::end_tag`].
    pub fn begin_tag(&mut self, tag: u32) -> usize {
        self.uvarint(tag);
        self.bytes.push(0);
        self.bytes.len()
    }

    /// Ends the tagged field that began at `start`. Most are short, so one byte was kept for the size.
    pub fn end_tag(&mut self, start: usize) -> Result<()> {
        let size = self.bytes.len() - start;
        let Ok(size_u32) = u32::try_from(size) else { return Err(EncodeError::TooLong { size }) };
        debug_assert!(
            self.splices.last().is_none_or(|s| s.position < start),
            "no tagged field holds records"
        );
        let mut prefix = Writer::new();
        prefix.uvarint(size_u32);
        self.bytes.splice(start - 1..start, prefix.bytes);
        Ok(())
    }
}

macro_rules! encode_primitive {
    ($($type:ty => $method:ident),*) => { $(
        impl Encode for $type {
            fn encode(&self, w: &mut Writer, _version: i16) -> Result<()> {
                w.$method(*self);
                Ok(())
            }
        }
    )* };
}
encode_primitive!(i8 => i8, i16 => i16, i32 => i32, i64 => i64, Uuid => uuid);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Reader;

    #[test]
    fn size_of_a_tagged_field_grows_to_what_it_needs() {
        for size in [0, 127, 128, 20_000] {
            let mut w = Writer::new();
            let start = w.begin_tag(3);
            w.raw(&vec![7; size]);
            w.end_tag(start).unwrap();
            let bytes = w.into_bytes().unwrap();
            let mut r = Reader::new(&bytes);
            assert_eq!((r.uvarint(), r.uvarint()), (Ok(3), Ok(size as u32)));
            assert_eq!(r.rest(), vec![7; size]);
        }
    }

    #[test]
    fn zigzag_integers_read_back() {
        for value in [0, -1, 1, 63, 64, -64, -65, i32::MAX, i32::MIN] {
            let mut w = Writer::new();
            w.varint(value);
            w.varlong(i64::from(value) << 31);
            let bytes = w.into_bytes().unwrap();
            let mut r = Reader::new(&bytes);
            assert_eq!((r.varint(), r.varlong()), (Ok(value), Ok(i64::from(value) << 31)));
            r.finish().unwrap();
        }
    }

    #[test]
    fn detached_records_are_not_plain_bytes() {
        let mut w = Writer::new();
        w.records(&Records::Detached(1), true).unwrap();
        assert_eq!(w.into_bytes(), Err(EncodeError::Detached));
    }
}
