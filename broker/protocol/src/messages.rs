//! Every message of Kafka 4.3.1, generated from the tables in `schema/`: one module per message, with
//! the message itself re-exported here.
//!
//! Field names are Kafka's in snake case. Nullable fields are `Option`, arrays are `Vec`, strings and
//! bytes borrow from the frame. A field that a version lacks holds its default after decoding; encoding
//! refuses a value in it that would be lost, unless Kafka calls the field ignorable.

#![allow(clippy::all, unused_variables, unused_imports)]

use crate::api_key::ApiKey;
use crate::codec::Request;

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// What each generated module uses.
mod prelude {
    pub(super) use std::borrow::Cow;
    pub(super) use std::ops::RangeInclusive;

    pub(super) use crate::codec::{Decode, DecodeError, Encode, EncodeError, Message};
    pub(super) use crate::reader::Reader;
    pub(super) use crate::types::{Records, Str, Uuid};
    pub(super) use crate::writer::Writer;

    #[cold]
    pub(super) fn not_in_version(field: &'static str, version: i16) -> EncodeError {
        EncodeError::FieldNotInVersion { field, version }
    }

    pub(super) fn required<'v, T>(value: Option<&'v T>, field: &'static str) -> Result<&'v T, EncodeError> {
        value.ok_or(EncodeError::Null { field })
    }
}
