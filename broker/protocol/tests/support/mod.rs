//! What several tests of the codec need: every message by name, and the golden lines.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::io::Read;

use milena_protocol::{Decode, DecodeError, Encode, Message, decode_exact, encode_to_vec};

/// Decodes `bytes` as the named message and encodes the result again.
pub type Transcode = fn(&[u8], i16) -> Result<Vec<u8>, DecodeError>;

/// A message as tests see it.
pub struct Entry {
    pub name: &'static str,
    /// Not Kafka's: there are no golden bytes of it.
    pub is_private: bool,
    pub versions: std::ops::RangeInclusive<i16>,
    pub transcode: Transcode,
    /// Decodes only; the size of the message's own struct when that went well.
    pub decode: fn(&[u8], i16) -> Result<usize, DecodeError>,
    pub default_bytes: fn(i16) -> Result<Vec<u8>, milena_protocol::EncodeError>,
}

fn transcode<'a, T: Decode<'a> + Encode>(bytes: &'a [u8], version: i16) -> Result<Vec<u8>, DecodeError> {
    let message: T = decode_exact(bytes, version)?;
    Ok(encode_to_vec(&message, version).expect("what was decoded at a version can be encoded at it"))
}

fn decode<'a, T: Decode<'a>>(bytes: &'a [u8], version: i16) -> Result<usize, DecodeError> {
    decode_exact::<T>(bytes, version).map(|message| size_of_val(&message))
}

fn default_bytes<T: Default + Encode>(version: i16) -> Result<Vec<u8>, milena_protocol::EncodeError> {
    encode_to_vec(&T::default(), version)
}

fn is_private(key: Option<i16>) -> bool {
    key.and_then(milena_protocol::ApiKey::from_i16).is_some_and(milena_protocol::ApiKey::is_private)
}

macro_rules! entries {
    ($($name:ident,)*) => {
        /// Every message of the crate.
        pub fn entries() -> Vec<Entry> {
            vec![$(Entry {
                name: stringify!($name),
                is_private: is_private(<milena_protocol::messages::$name as Message>::KEY),
                versions: <milena_protocol::messages::$name as Message>::VERSIONS,
                transcode: |bytes, version| transcode::<milena_protocol::messages::$name>(bytes, version),
                decode: |bytes, version| decode::<milena_protocol::messages::$name>(bytes, version),
                default_bytes: default_bytes::<milena_protocol::messages::$name>,
            },)*]
        }
    };
}
milena_protocol::for_each_message!(entries);

/// One line of the golden file: bytes that Kafka's own classes made.
pub struct Golden {
    pub name: String,
    pub version: i16,
    pub filling: String,
    pub bytes: Vec<u8>,
    /// What is left when tagged fields that nobody knows are dropped.
    pub without_unknown: Vec<u8>,
}

pub fn golden() -> Vec<Golden> {
    let packed = include_bytes!("../golden/messages-4.3.1.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .expect("the golden file is sound");
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Golden {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, version, filling, bytes, ..] = words[..] else { panic!("golden line `{line}`") };
    Golden {
        name: name.to_owned(),
        version: version.parse().expect("a version"),
        filling: filling.to_owned(),
        bytes: unhex(bytes),
        without_unknown: unhex(words.get(4).unwrap_or(&bytes)),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    let digit = |c: u8| (c as char).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
