//! Bytes to messages and back, for every message and version of Kafka 4.3.1.
//!
//! - [`messages`]: the messages, generated from the tables in `schema/`; [`codec`] has their traits,
//!   [`reader`] and [`writer`] the primitives underneath, [`types`] the values.
//! - [`frame`] and [`header`]: what stands around a message on a connection.
//! - [`records`]: record batches, compression, control records.
//! - [`api_key`], [`error`], [`versions`]: the numbers that both sides agree on.
//!
//! Deliberately absent: I/O, state, and any decision. Input is never trusted: each length and count is
//! checked against what is left before memory is reserved for it.

pub mod api_key;
pub mod codec;
pub mod error;
pub mod frame;
pub mod header;
pub mod messages;
pub mod reader;
pub mod records;
pub mod types;
pub mod versions;
pub mod writer;

pub use api_key::ApiKey;
pub use codec::{
    Decode, DecodeError, Encode, EncodeError, Message, Problem, Request, decode_exact, decode_start,
    encode_to_vec,
};
pub use error::ErrorCode;
pub use reader::Reader;
pub use types::{Records, Str, Uuid};
pub use writer::{Splice, Writer};
