//! Every message of the protocol as a row of function pointers, found by name or by API key.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use milena_protocol::{ApiKey, Decode, DecodeError, Encode, Message, decode_exact, encode_to_vec};

use crate::allocations::{self, decoding_bound};

/// A message as the targets see it.
pub struct Entry {
    pub name: &'static str,
    pub versions: RangeInclusive<i16>,
    /// Decodes and forgets.
    decode: fn(&[u8], i16) -> Result<(), DecodeError>,
    /// Decodes and encodes again.
    transcode: fn(&[u8], i16) -> Result<Vec<u8>, DecodeError>,
}

impl Entry {
    /// Decodes under the memory oracle.
    pub fn decode(&self, bytes: &[u8], version: i16) -> Result<(), DecodeError> {
        let (result, taken) = allocations::total(|| (self.decode)(bytes, version));
        let bound = decoding_bound(bytes.len());
        assert!(taken <= bound, "{} {version} took {taken} of {bound} bytes ({result:?})", self.name);
        result
    }

    /// What is decoded can be encoded, and that form is final: decoding and encoding it changes nothing.
    pub fn round_trip(&self, bytes: &[u8], version: i16) -> Option<Vec<u8>> {
        let once = (self.transcode)(bytes, version).ok()?;
        let twice = (self.transcode)(&once, version);
        assert_eq!(twice.as_ref(), Ok(&once), "{} {version} is not stable", self.name);
        Some(once)
    }

    /// The version that `choice` stands for.
    pub fn version(&self, choice: u8) -> i16 {
        let (first, last) = (*self.versions.start(), *self.versions.end());
        first + i16::from(choice) % (last - first + 1)
    }
}

fn decode<'a, T: Decode<'a>>(bytes: &'a [u8], version: i16) -> Result<(), DecodeError> {
    decode_exact::<T>(bytes, version).map(drop)
}

fn transcode<'a, T: Decode<'a> + Encode>(bytes: &'a [u8], version: i16) -> Result<Vec<u8>, DecodeError> {
    let message: T = decode_exact(bytes, version)?;
    Ok(encode_to_vec(&message, version).expect("what was decoded at a version can be encoded at it"))
}

macro_rules! entries {
    ($($name:ident,)*) => {
        static ENTRIES: &[Entry] = &[$(Entry {
            name: stringify!($name),
            versions: <milena_protocol::messages::$name as Message>::VERSIONS,
            decode: |bytes, version| decode::<milena_protocol::messages::$name>(bytes, version),
            transcode: |bytes, version| transcode::<milena_protocol::messages::$name>(bytes, version),
        },)*];
    };
}
milena_protocol::for_each_message!(entries);

/// All messages, ascending by name.
pub fn all() -> &'static [Entry] {
    ENTRIES
}

/// The request and the response of an API; none when every version of it was removed.
pub fn of_api(api: ApiKey) -> Option<(&'static Entry, &'static Entry)> {
    static BY_KEY: LazyLock<Vec<Option<(usize, usize)>>> = LazyLock::new(|| {
        let find = |name: &str| ENTRIES.binary_search_by(|entry| entry.name.cmp(name)).ok();
        let pair = |api: ApiKey| {
            Some((find(&format!("{}Request", api.name()))?, find(&format!("{}Response", api.name()))?))
        };
        ApiKey::all().map(pair).collect()
    });
    let place = ApiKey::all().position(|other| other == api)?;
    let (request, response) = (*BY_KEY.get(place)?)?;
    Some((&ENTRIES[request], &ENTRIES[response]))
}
