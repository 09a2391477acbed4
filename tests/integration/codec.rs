//! Our codec beside the crate `kafka-protocol`, which was written by others from the same definitions.
//!
//! Wherever both know a version, both decode the golden bytes of Kafka's own classes, and both encode
//! them back to the same bytes. Golden lines with tagged fields that nobody knows are compared without them:
//! we drop such fields, the other crate keeps them.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use milena_protocol::{Decode, Encode, Message, decode_exact, encode_to_vec};

/// Name, API key, and a round trip through our codec.
type Row = (&'static str, Option<i16>, fn(&[u8], i16) -> Result<Vec<u8>, String>);

fn ours<'a, T: Decode<'a> + Encode>(bytes: &'a [u8], version: i16) -> Result<Vec<u8>, String> {
    let message: T = decode_exact(bytes, version).map_err(|error| error.to_string())?;
    encode_to_vec(&message, version).map_err(|error| error.to_string())
}

macro_rules! rows {
    ($($name:ident,)*) => {
        fn rows() -> Vec<Row> {
            use milena_protocol::messages::*;
            vec![$((stringify!($name), <$name as Message>::KEY, |bytes, version| ours::<$name>(bytes, version)),)*]
        }
    };
}
milena_protocol::for_each_message!(rows);

/// Versions in the other crate's table of keys that its message itself does not have.
const UNKNOWN_TO_THEM: [(&str, i16); 3] =
    [("InitProducerIdRequest", 6), ("OffsetCommitRequest", 10), ("OffsetFetchRequest", 10)];

/// The same round trip through the other crate, or none where it does not know the message or the version.
fn theirs(name: &str, key: i16, version: i16, bytes: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let key = ApiKey::try_from(key).ok()?;
    let versions = key.valid_versions();
    if !(versions.min..=versions.max).contains(&version) || UNKNOWN_TO_THEM.contains(&(name, version)) {
        return None;
    }
    let mut input = Bytes::copy_from_slice(bytes);
    let mut output = BytesMut::new();
    let result = match name.strip_suffix("Request") {
        Some(_) => RequestKind::decode(key, &mut input, version).and_then(|m| m.encode(&mut output, version)),
        None => ResponseKind::decode(key, &mut input, version).and_then(|m| m.encode(&mut output, version)),
    };
    Some(match result {
        Ok(()) if input.is_empty() => Ok(output.to_vec()),
        Ok(()) => Err(format!("{} bytes left", input.len())),
        Err(error) => Err(error.to_string()),
    })
}

fn golden() -> String {
    let packed = include_bytes!("../../broker/protocol/tests/golden/messages-4.3.1.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .expect("the golden file is sound");
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a hex digit") as u8;
    let text = text.trim_start_matches('-').as_bytes();
    text.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn both_codecs_agree_on_kafkas_bytes() {
    let rows = rows();
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in golden().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, version): (_, i16) = (words[0], words[1].parse().expect("a version"));
        if !name.ends_with("Request") && !name.ends_with("Response") {
            continue;
        }
        let bytes = unhex(words[words.len() - 1]);
        let (_, key, ours) = rows.iter().find(|row| row.0 == name).expect("every golden message exists");
        let Some(theirs) = theirs(name, key.expect("requests and responses have keys"), version, &bytes)
        else {
            continue;
        };
        compared += 1;
        let ours = ours(&bytes, version);
        if ours != theirs || ours.as_ref() != Ok(&bytes) {
            wrong.push(format!("{name} {version} {}: ours {ours:02x?}, theirs {theirs:02x?}", words[2]));
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    // Both know nearly all requests and responses; far fewer would mean that nothing was compared.
    assert!(compared > 3000, "only {compared} lines were compared");
}
