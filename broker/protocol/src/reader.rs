//! Reads the primitive values of the protocol out of one frame, trusting nothing in it.
//!
//! Every length and count is compared with what is left before anything is reserved for it. On top of
//! that a reader carries a memory budget of [`MEMORY_FACTOR`] times its input: an array of large structs
//! with tiny encodings (an error message that is null takes 1 byte on the wire and 24 in memory) is
//! refused when it would cost more. Counts are known up front, so vectors are reserved exactly and never
//! grow, which keeps the sum of all allocations under the budget.

use std::borrow::Cow;

use crate::codec::{Decode, DecodeError, Problem};
use crate::types::{Records, Str, Uuid};

/// Memory that decoding may take per byte of input.
pub const MEMORY_FACTOR: usize = 16;
/// Memory that decoding may take whatever the size of the input.
pub const MEMORY_BASE: usize = 32 * 1024;
/// Kafka's limit for a string in every version, set by the old two-byte length.
pub const STRING_SIZE_MAX: usize = i16::MAX as usize;

/// A position in the bytes of one message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    size: usize,
    budget: usize,
}

/// Where a loop over tagged fields stands.
#[derive(Debug)]
pub struct Tags {
    left: u32,
    /// The last tag read; the next must be above it.
    last: i64,
    size: usize,
    /// Bytes that must be left when the current field has been read.
    rest_after: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let budget = bytes.len().saturating_mul(MEMORY_FACTOR).saturating_add(MEMORY_BASE);
        Reader { rest: bytes, size: bytes.len(), budget }
    }

    /// Bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.size - self.rest.len()
    }

    /// An error at the current position.
    #[cold]
    pub fn error(&self, problem: Problem) -> DecodeError {
        DecodeError { problem, position: self.position() }
    }

    /// Refuses bytes after the message.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(Problem::TrailingBytes(self.rest.len()))) }
    }

    /// Refuses versions that a message does not have.
    pub fn check_version(&self, message: &'static str, first: i16, last: i16, version: i16) -> Result<()> {
        if (first..=last).contains(&version) {
            Ok(())
        } else {
            Err(self.error(Problem::Version { message, version }))
        }
    }

    pub fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(size) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error(Problem::UnexpectedEnd { needed: size, left: self.rest.len() })),
        }
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.error(Problem::UnexpectedEnd { needed: N, left: self.rest.len() })),
        }
    }

    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array_of()?))
    }

    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array_of()?))
    }

    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.array_of()?))
    }

    pub fn uuid(&mut self) -> Result<Uuid> {
        Ok(Uuid::from_bytes(self.array_of()?))
    }

    /// An unsigned integer of at most 5 bytes with 7 bits each, lowest first.
    pub fn uvarint(&mut self) -> Result<u32> {
        let value = self.uvarlong_of(5)?;
        u32::try_from(value).map_err(|_| self.error(Problem::Varint))
    }

    /// A zigzag-coded integer of at most 5 bytes.
    pub fn varint(&mut self) -> Result<i32> {
        let value = self.uvarint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// A zigzag-coded integer of at most 10 bytes.
    pub fn varlong(&mut self) -> Result<i64> {
        let value = self.uvarlong_of(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn uvarlong_of(&mut self, bytes_max: u32) -> Result<u64> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let [byte] = self.array_of()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; more would be lost silently.
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(Problem::Varint))
    }

    /// The length of a string (`wide` false) or of bytes, or none for null.
    fn size_prefix(&mut self, flexible: bool, wide: bool) -> Result<Option<usize>> {
        let size = match (flexible, wide) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, true) => i64::from(self.i32()?),
            (false, false) => i64::from(self.i16()?),
        };
        match usize::try_from(size) {
            Ok(size) => Ok(Some(size)),
            Err(_) if size == -1 => Ok(None),
            Err(_) => Err(self.error(Problem::Length(size))),
        }
    }

    pub fn string(&mut self, flexible: bool) -> Result<Str<'a>> {
        self.nullable_string(flexible)?.ok_or_else(|| self.error(Problem::Null))
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str<'a>>> {
        let Some(size) = self.size_prefix(flexible, false)? else { return Ok(None) };
        if size > STRING_SIZE_MAX {
            return Err(self.error(Problem::Length(size as i64)));
        }
        let bytes = self.take(size)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Cow::Borrowed(text))),
            Err(_) => Err(self.error(Problem::Utf8)),
        }
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>> {
        self.nullable_bytes(flexible)?.ok_or_else(|| self.error(Problem::Null))
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>> {
        let Some(size) = self.size_prefix(flexible, true)? else { return Ok(None) };
        Ok(Some(Cow::Borrowed(self.take(size)?)))
    }

    pub fn records(&mut self, flexible: bool) -> Result<Records<'a>> {
        Ok(Records::Bytes(self.bytes(flexible)?))
    }

    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records<'a>>> {
        Ok(self.nullable_bytes(flexible)?.map(Records::Bytes))
    }

    /// The number of elements of an array, or none for null, checked against what is left and against
    /// the memory budget. `size_min` is the least that one element takes on the wire.
    fn count(&mut self, flexible: bool, size_min: usize, size_in_memory: usize) -> Result<Option<usize>> {
        let Some(count) = self.size_prefix(flexible, true)? else { return Ok(None) };
        if count > self.rest.len() / size_min.max(1) {
            return Err(self.error(Problem::Count { count: count as i64, left: self.rest.len() }));
        }
        match count.checked_mul(size_in_memory).and_then(|cost| self.budget.checked_sub(cost)) {
            Some(budget) => self.budget = budget,
            None => return Err(self.error(Problem::Memory)),
        }
        Ok(Some(count))
    }

    pub fn array<T: Decode<'a>>(&mut self, version: i16, flexible: bool, size_min: usize) -> Result<Vec<T>> {
        self.nullable_array(version, flexible, size_min)?.ok_or_else(|| self.error(Problem::Null))
    }

    pub fn nullable_array<T: Decode<'a>>(
        &mut self,
        version: i16,
        flexible: bool,
        size_min: usize,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.count(flexible, size_min, size_of::<T>())? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::decode(self, version)?);
        }
        Ok(Some(elements))
    }

    pub fn strings(&mut self, flexible: bool) -> Result<Vec<Str<'a>>> {
        self.nullable_strings(flexible)?.ok_or_else(|| self.error(Problem::Null))
    }

    pub fn nullable_strings(&mut self, flexible: bool) -> Result<Option<Vec<Str<'a>>>> {
        let size_min = if flexible { 1 } else { 2 };
        let Some(count) = self.count(flexible, size_min, size_of::<Str<'a>>())? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.string(flexible)?);
        }
        Ok(Some(elements))
    }

    /// A struct behind a byte that says whether it is there.
    pub fn nullable_struct<T: Decode<'a>>(&mut self, version: i16) -> Result<Option<T>> {
        if self.i8()? < 0 { Ok(None) } else { T::decode(self, version).map(Some) }
    }

    /// Starts a loop over tagged fields: `while let Some(tag) = next_tag … end_tag`.
    pub fn tags(&mut self) -> Result<Tags> {
        let left = self.uvarint()?;
        // A tagged field is at least a tag and a size.
        if left as usize > self.rest.len() / 2 {
            return Err(self.error(Problem::Count { count: i64::from(left), left: self.rest.len() }));
        }
        Ok(Tags { left, last: -1, size: 0, rest_after: 0 })
    }

    pub fn next_tag(&mut self, tags: &mut Tags) -> Result<Option<u32>> {
        if tags.left == 0 {
            return Ok(None);
        }
        let tag = self.uvarint()?;
        if i64::from(tag) <= tags.last {
            return Err(self.error(Problem::TagOrder));
        }
        let size = self.uvarint()? as usize;
        if size > self.rest.len() {
            return Err(self.error(Problem::UnexpectedEnd { needed: size, left: self.rest.len() }));
        }
        tags.left -= 1;
        tags.last = i64::from(tag);
        tags.size = size;
        tags.rest_after = self.rest.len() - size;
        Ok(Some(tag))
    }

    /// Passes over a tagged field that nobody here knows.
    pub fn skip_tag(&mut self, tags: &Tags) -> Result<()> {
        self.take(tags.size).map(|_| ())
    }

    /// Holds a tagged field to the size that it announced.
    pub fn end_tag(&self, tags: &Tags) -> Result<()> {
        if self.rest.len() == tags.rest_after { Ok(()) } else { Err(self.error(Problem::TagSize)) }
    }

    /// Passes over all tagged fields of a struct that has none of its own.
    pub fn skip_tags(&mut self) -> Result<()> {
        let mut tags = self.tags()?;
        while self.next_tag(&mut tags)?.is_some() {
            self.skip_tag(&tags)?;
        }
        Ok(())
    }
}

macro_rules! decode_primitive {
    ($($type:ty => $method:ident),*) => { $(
        impl<'a> Decode<'a> for $type {
            fn decode(r: &mut Reader<'a>, _version: i16) -> Result<Self> { r.$method() }
        }
    )* };
}
decode_primitive!(i8 => i8, i16 => i16, i32 => i32, i64 => i64, Uuid => uuid);

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T: std::fmt::Debug>(found: Result<T>) -> Problem {
        found.unwrap_err().problem
    }

    #[test]
    fn varints_end_where_their_type_does() {
        let cases: [(&[u8], Option<u32>); 5] = [
            (&[0x7f], Some(127)),
            (&[0x80, 0x01], Some(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], None),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Reader::new(bytes).uvarint().ok(), expected, "{bytes:02x?}");
        }
        let min = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&min).varlong(), Ok(i64::MIN));
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(problem(Reader::new(&beyond).varlong()), Problem::Varint);
    }

    #[test]
    fn negative_length_other_than_null_is_refused() {
        assert_eq!(Reader::new(&[0xff, 0xff]).nullable_string(false), Ok(None));
        assert_eq!(problem(Reader::new(&[0xff, 0xfe]).nullable_string(false)), Problem::Length(-2));
        assert_eq!(problem(Reader::new(&[0xff, 0xff]).string(false)), Problem::Null);
        assert_eq!(problem(Reader::new(&[0]).bytes(true)), Problem::Null);
    }

    #[test]
    fn length_beyond_the_end_is_refused() {
        let found = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).bytes(false);
        assert_eq!(problem(found), Problem::UnexpectedEnd { needed: i32::MAX as usize, left: 1 });
    }

    #[test]
    fn string_must_be_utf8_and_short() {
        assert_eq!(problem(Reader::new(&[0, 1, 0xff]).string(false)), Problem::Utf8);
        // A compact length of 32768, and as many bytes.
        let mut long = vec![0x81, 0x80, 0x02];
        long.resize(3 + 32768, b'x');
        assert_eq!(problem(Reader::new(&long).string(true)), Problem::Length(32768));
    }

    #[test]
    fn count_is_compared_with_what_is_left() {
        let bytes = [0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2];
        let found: Result<Vec<i32>> = Reader::new(&bytes).array(0, false, 4);
        assert_eq!(problem(found), Problem::Count { count: 3, left: 8 });
    }

    #[test]
    fn array_of_large_structs_with_tiny_encodings_is_refused() {
        /// 1 byte on the wire, 512 in memory.
        #[derive(Debug)]
        struct Large([u64; 64]);
        impl<'a> Decode<'a> for Large {
            fn decode(r: &mut Reader<'a>, _version: i16) -> Result<Self> {
                Ok(Large([r.i8()? as u64; 64]))
            }
        }
        let array = |count: u16| [&[0, 0], &count.to_be_bytes()[..], &vec![1; usize::from(count)]].concat();
        let small = array(60);
        let elements: Vec<Large> = Reader::new(&small).array(0, false, 1).unwrap();
        assert!(elements.iter().all(|element| element.0[63] == 1) && elements.len() == 60);
        let found: Result<Vec<Large>> = Reader::new(&array(1000)).array(0, false, 1);
        assert_eq!(problem(found), Problem::Memory);
    }
}
