#![no_main]
//! Compressed payloads under limits.

use libfuzzer_sys::fuzz_target;
use milena_protocol::records::Compression;

fuzz_target!(|input: &[u8]| milena_fuzz::codec::check(Compression::Lz4, input));
