//! snappy in both framings: xerial's blocks, which Kafka's Java side writes and reads, and a single raw
//! block, which librdkafka writes and Java reads too.

use std::cell::RefCell;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Compression, Error, Sink};

/// Magic, version 1, lowest version that reads it 1.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_MAGIC: &[u8] = XERIAL_HEADER.first_chunk::<8>().expect("the header is longer");
/// Block size of snappy-java, which Kafka leaves as it is.
const BLOCK_SIZE: usize = 32 * 1024;
/// No snappy element makes more than 64 bytes of output, so a length beyond that is a lie.
const RATIO_MAX: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Option<(Encoder, Vec<u8>)>> = const { RefCell::new(None) };
}

pub fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(&XERIAL_HEADER);
    SCRATCH.with_borrow_mut(|kept| {
        let (encoder, block) =
            kept.get_or_insert_with(|| (Encoder::new(), vec![0; max_compress_len(BLOCK_SIZE)]));
        input.chunks(BLOCK_SIZE).try_for_each(|chunk| {
            let size = encoder
                .compress(chunk, block)
                .map_err(|error| Error::Compress { codec: Compression::Snappy, reason: error.to_string() })?;
            out.extend_from_slice(&(size as u32).to_be_bytes());
            out.extend_from_slice(&block[..size]);
            Ok(())
        })
    })
}

pub fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
    if !input.starts_with(XERIAL_MAGIC) {
        return read_block(input, sink);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // A header may come again where streams were joined; its first bytes are no valid length.
        if rest.starts_with(XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER.len()..).ok_or_else(|| sink.damaged("xerial header is cut"))?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or_else(|| sink.damaged("block length is cut"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or_else(|| sink.damaged("block is cut"))?;
        read_block(block, sink)?;
        rest = after;
    }
    Ok(())
}

fn read_block(block: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
    let size = decompress_len(block).map_err(|error| sink.damaged(error))?;
    if size > block.len().saturating_mul(RATIO_MAX) {
        return Err(sink.damaged("claims more bytes than its input can make"));
    }
    if size > sink.room() {
        return Err(sink.limit());
    }
    let start = sink.out.len();
    sink.reserve(size);
    sink.out.resize(start + size, 0);
    match Decoder::new().decompress(block, &mut sink.out[start..]) {
        Ok(_) => Ok(()),
        Err(error) => {
            sink.out.truncate(start);
            Err(sink.damaged(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, compress, decompress};
    use super::*;

    fn unpack(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decompress(Compression::Snappy, input, Limits::default(), &mut out).map(|()| out)
    }

    #[test]
    fn both_framings_unpack() {
        let text = b"some text, ".repeat(10_000);
        let mut xerial = Vec::new();
        compress(Compression::Snappy, None, &text, &mut xerial).unwrap();
        assert_eq!(xerial[..8], *XERIAL_MAGIC);
        assert_eq!(unpack(&xerial).unwrap(), text);
        let raw = Encoder::new().compress_vec(&text).unwrap();
        assert_eq!(unpack(&raw).unwrap(), text);
    }

    #[test]
    fn joined_xerial_streams_are_one() {
        let mut packed = Vec::new();
        compress(Compression::Snappy, None, b"first ", &mut packed).unwrap();
        compress(Compression::Snappy, None, b"second", &mut packed).unwrap();
        assert_eq!(unpack(&packed).unwrap(), b"first second");
    }

    #[test]
    fn a_claimed_size_is_not_trusted_with_memory() {
        // A raw block that claims 4 GiB, and a xerial block whose length does (CVE-2023-34455).
        let claims = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(matches!(unpack(&claims), Err(Error::Damaged { .. })));
        let mut xerial = XERIAL_HEADER.to_vec();
        xerial.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(matches!(unpack(&xerial), Err(Error::Damaged { .. })));
    }
}
