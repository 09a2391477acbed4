#![no_main]
//! Header and body of any request, as a connection reads them before it knows who sent them.

use libfuzzer_sys::fuzz_target;
use milena_fuzz::allocations::{self, decoding_bound};
use milena_fuzz::messages;
use milena_protocol::{Reader, header};

fuzz_target!(|frame: &[u8]| {
    let mut r = Reader::new(frame);
    let (incoming, taken) = allocations::total(|| header::decode_request(&mut r));
    assert!(taken <= decoding_bound(frame.len()), "the header took {taken} bytes ({incoming:?})");
    let Ok(incoming) = incoming else { return };
    if !incoming.is_known_version() {
        return;
    }
    let (request, _) = messages::of_api(incoming.api).expect("an API with versions has messages");
    if request.decode(r.rest(), incoming.version).is_ok() {
        request.round_trip(r.rest(), incoming.version);
    }
});
