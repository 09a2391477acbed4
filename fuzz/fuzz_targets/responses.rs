#![no_main]
//! Responses as our own clients read them: the broker's among themselves, and `milena`.
//!
//! Input: API key and version, two bytes each, then the frame that answers such a request.

use libfuzzer_sys::fuzz_target;
use milena_fuzz::messages;
use milena_protocol::{ApiKey, Reader, header};

fuzz_target!(|input: &[u8]| {
    let mut r = Reader::new(input);
    let (Ok(key), Ok(version)) = (r.i16(), r.i16()) else { return };
    let Some(api) = ApiKey::from_i16(key).filter(|api| api.has_version(version)) else { return };
    if header::decode_response(&mut r, api, version).is_err() {
        return;
    }
    let (_, response) = messages::of_api(api).expect("an API with versions has messages");
    if response.decode(r.rest(), version).is_ok() {
        response.round_trip(r.rest(), version);
    }
});
