//! The traits that every message has, and what can go wrong between bytes and messages.

use std::ops::RangeInclusive;

use crate::api_key::ApiKey;
use crate::reader::Reader;
use crate::writer::Writer;

/// Something that can be read from bytes at a version of its message.
pub trait Decode<'a>: Sized {
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;
}

/// Something that can be written as bytes at a version of its message.
pub trait Encode {
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A whole message of the protocol, as opposed to a struct inside one.
pub trait Message {
    /// Kafka's name, such as `ProduceRequest`.
    const NAME: &'static str;
    /// The API key of a request or response, the record type of a coordinator record.
    const KEY: Option<i16>;
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: Option<i16>;

    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE_FROM.is_some_and(|from| version >= from)
    }
}

/// A request and the response that answers it.
pub trait Request: Encode + Message {
    const API: ApiKey;
    type Response<'b>: Decode<'b> + Encode + Message;
}

/// Decodes a message that must fill `bytes` to the end.
pub fn decode_exact<'a, T: Decode<'a>>(bytes: &'a [u8], version: i16) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let message = T::decode(&mut r, version)?;
    r.finish()?;
    Ok(message)
}

/// Decodes a message from the beginning of `bytes` and leaves alone what follows it.
///
/// For requests: Apache Kafka does not look behind the last field either, and librdkafka sends three bytes too many when
/// it asks for the metadata of all topics.
pub fn decode_start<'a, T: Decode<'a>>(bytes: &'a [u8], version: i16) -> Result<T, DecodeError> {
    T::decode(&mut Reader::new(bytes), version)
}

/// Encodes a message that holds no detached records.
pub fn encode_to_vec<T: Encode>(message: &T, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    w.into_bytes()
}

/// Why bytes are not the message they should be, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {position}")]
pub struct DecodeError {
    pub problem: Problem,
    /// Bytes read before the problem was met.
    pub position: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{needed} bytes are needed but {left} are left")]
    UnexpectedEnd { needed: usize, left: usize },
    #[error("length {0} is out of bounds")]
    Length(i64),
    #[error("{count} elements cannot stand in {left} bytes")]
    Count { count: i64, left: usize },
    #[error("decoding would take more memory than the message's size allows")]
    Memory,
    #[error("variable-length integer is too long")]
    Varint,
    #[error("string is not UTF-8")]
    Utf8,
    #[error("null where a value is required")]
    Null,
    #[error("tagged fields are not in ascending order")]
    TagOrder,
    #[error("tagged field does not fill its size")]
    TagSize,
    #[error("{0} bytes follow the message")]
    TrailingBytes(usize),
    #[error("{message} has no version {version}")]
    Version { message: &'static str, version: i16 },
    #[error("unknown API key {0}")]
    ApiKey(i16),
}

/// Why a message cannot be written at a version. Each one is a mistake of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{message} has no version {version}")]
    Version { message: &'static str, version: i16 },
    #[error("field {field} is set but does not exist in version {version}")]
    FieldNotInVersion { field: &'static str, version: i16 },
    #[error("field {field} may not be null in this version")]
    Null { field: &'static str },
    #[error("{size} is too long for the length prefix")]
    TooLong { size: usize },
    #[error("detached records where plain bytes are asked for")]
    Detached,
}
