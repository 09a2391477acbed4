//! The body of the targets `gzip`, `snappy`, `lz4` and `zstd`.

use milena_protocol::records::compression::{self, Error};
use milena_protocol::records::{Compression, Limits};

use crate::allocations;

/// Small enough that a bomb meets it within a few hundred bytes of input.
const LIMITS: Limits = Limits { bytes_max: 256 << 10, ratio_max: 1100 };

/// What a codec may hold besides its output: tables and buffers that it keeps per thread.
const CONTEXT_BYTES_MAX: usize = 1 << 20;

/// Unpacks `input`, then packs and unpacks it.
///
/// Oracles: no panic; no more output than the limit; memory within half as much again (the output grows by halves)
/// and a fixed context; what was packed unpacks to itself.
pub fn check(codec: Compression, input: &[u8]) {
    let bound = LIMITS.bytes_max + LIMITS.bytes_max / 2 + CONTEXT_BYTES_MAX;
    let mut out = Vec::new();
    let (result, peak) = allocations::peak(|| compression::decompress(codec, input, LIMITS, &mut out));
    // To see that there is more than the limit takes a byte more.
    let written_max = LIMITS.bytes_max + usize::from(result.is_err());
    assert!(out.len() <= written_max, "{codec} wrote {} bytes ({result:?})", out.len());
    assert!(peak <= bound, "{codec} held {peak} bytes ({result:?})");
    if let Err(Error::Limit { max, .. }) = result {
        assert_eq!(max, LIMITS.output_max(input.len()));
    }

    let mut packed = Vec::new();
    compression::compress(codec, None, input, &mut packed).expect("any bytes can be packed");
    out.clear();
    let limits = Limits { bytes_max: input.len(), ratio_max: usize::MAX };
    compression::decompress(codec, &packed, limits, &mut out).expect("what was packed can be unpacked");
    assert!(out == input, "{codec} changes {} bytes", input.len());
}
