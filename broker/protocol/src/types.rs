//! The few value types that Kafka's messages are made of, beside the integers.
//!
//! Strings, bytes and records borrow from the frame they were read from; a handler that keeps one
//! copies it. Absent on purpose: newtypes for offsets and epochs, which the messages do not tell apart.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A string of a message, borrowed from the frame when it was decoded.
pub type Str<'a> = Cow<'a, str>;

/// 16 bytes that name a topic, directory, or incarnation. Written as base64url without padding, as Kafka does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// "No id": the default of every uuid field.
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// Reserved: the metadata topic's id.
    pub const METADATA_TOPIC: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Uuid(bytes)
    }

    pub const fn from_u128(value: u128) -> Self {
        Uuid(value.to_be_bytes())
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub const fn as_u128(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 digits of 6 bits and one of 2, which stands in the digit's upper bits.
        let value = self.as_u128();
        let mut text = [0; 22];
        for (index, digit) in text.iter_mut().enumerate() {
            let bits = if index < 21 { value >> (122 - 6 * index) } else { value << 4 };
            *digit = ALPHABET[(bits & 0x3f) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 22 digits of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Kafka uuid: 22 characters of base64url are expected")]
pub struct UuidError;

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        // Kafka pads its own output nowhere, but accepts padded text.
        let digits = text.trim_end_matches('=').as_bytes();
        if digits.len() != 22 {
            return Err(UuidError);
        }
        let mut value: u128 = 0;
        for (index, digit) in digits.iter().enumerate() {
            let bits = ALPHABET.iter().position(|c| c == digit).ok_or(UuidError)? as u128;
            value = if index < 21 { value << 6 | bits } else { value << 2 | bits >> 4 };
        }
        Ok(Uuid::from_u128(value))
    }
}

/// The record batches of one partition inside Produce, Fetch, and their like.
#[derive(Debug, Clone, PartialEq)]
pub enum Records<'a> {
    /// The batches themselves.
    Bytes(Cow<'a, [u8]>),
    /// Only the length is encoded; the writer notes where the bytes belong and the connection
    /// sends them from the file. Never the result of decoding.
    Detached(u32),
}

impl<'a> Records<'a> {
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::Detached(size) => *size as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, or none when they are detached.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::Detached(_) => None,
        }
    }
}

impl<'a> From<&'a [u8]> for Records<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Records::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Records<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Records::Bytes(Cow::Owned(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        // org.apache.kafka.common.Uuid prints these.
        let cases = [
            (0, "AAAAAAAAAAAAAAAAAAAAAA"),
            (1, "AAAAAAAAAAAAAAAAAAAAAQ"),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "ASNFZ4mrze8BI0VniavN7w"),
            (u128::MAX, "_____________________w"),
        ];
        for (value, text) in cases {
            assert_eq!(Uuid::from_u128(value).to_string(), text);
            assert_eq!(text.parse(), Ok(Uuid::from_u128(value)));
        }
        assert_eq!("AAAA".parse::<Uuid>(), Err(UuidError));
        assert_eq!("AAAAAAAAAAAAAAAAAAAA!Q".parse::<Uuid>(), Err(UuidError));
    }
}
