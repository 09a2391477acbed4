//! lz4 frames as Kafka writes them: independent blocks of 64 KiB, no checksum but the header's.
//!
//! Read is what Kafka reads: any block size, with or without checksums and content size, never blocks
//! that refer to earlier ones. The content checksum is not verified, as in Kafka; the batch has a CRC.
//! The crate behind has one speed, so the level (KIP-390) chooses nothing yet.

use std::cell::RefCell;

use lz4_flex::block::{self, CompressTable};
use twox_hash::XxHash32;

use super::{Compression, Error, Levels, Sink};

/// Kafka's range; 9 stands for its fast compressor, which is the default.
pub const LEVELS: Levels = Levels { min: 1, max: 17, default: 9 };

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
const VERSION_MASK: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAGS_RESERVED: u8 = 0x03;
/// Version 1, independent blocks.
const FLAGS_WRITTEN: u8 = VERSION_1 | FLAG_INDEPENDENT;
/// Block size code 4.
const BLOCK_SIZE_WRITTEN: u8 = 0x40;
const BLOCK_SIZE: usize = 64 * 1024;
/// Set in a block's length when the block is stored as it is.
const STORED: u32 = 0x8000_0000;
/// A byte of lz4 input makes at most this many bytes of output.
const RATIO_MAX: usize = 255;

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

struct Scratch {
    table: CompressTable,
    block: Vec<u8>,
}

pub fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let descriptor = [FLAGS_WRITTEN, BLOCK_SIZE_WRITTEN];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    SCRATCH.with_borrow_mut(|kept| {
        let scratch = kept.get_or_insert_with(|| Scratch {
            table: CompressTable::large(),
            block: vec![0; block::get_maximum_output_size(BLOCK_SIZE)],
        });
        input.chunks(BLOCK_SIZE).try_for_each(|chunk| write_block(scratch, chunk, out))
    })?;
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

fn write_block(scratch: &mut Scratch, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let size = block::compress_into_with_table(chunk, &mut scratch.block, &mut scratch.table)
        .map_err(|error| Error::Compress { codec: Compression::Lz4, reason: error.to_string() })?;
    let (length, bytes) = if size < chunk.len() {
        (size as u32, &scratch.block[..size])
    } else {
        (chunk.len() as u32 | STORED, chunk)
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

pub fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
    let (frame, mut rest) = Frame::parse(input).map_err(|reason| sink.damaged(reason))?;
    loop {
        let length = u32::from_le_bytes(take(&mut rest).ok_or_else(|| sink.damaged("block length is cut"))?);
        if length == 0 {
            return Ok(());
        }
        let size = (length & !STORED) as usize;
        if size > frame.block_size {
            return Err(sink.damaged("block is longer than the frame allows"));
        }
        let (block, after) = rest.split_at_checked(size).ok_or_else(|| sink.damaged("block is cut"))?;
        rest = after;
        if frame.block_checksums {
            let checksum = take(&mut rest).ok_or_else(|| sink.damaged("block checksum is cut"))?;
            if XxHash32::oneshot(0, block) != u32::from_le_bytes(checksum) {
                return Err(sink.damaged("block checksum does not match"));
            }
        }
        if length & STORED != 0 { sink.extend(block)? } else { read_block(block, frame.block_size, sink)? }
    }
}

fn read_block(block: &[u8], block_size: usize, sink: &mut Sink<'_>) -> Result<(), Error> {
    let size_max = block_size.min(block.len().saturating_mul(RATIO_MAX));
    let bound = size_max.min(sink.room());
    let start = sink.out.len();
    sink.reserve(bound);
    sink.out.resize(start + bound, 0);
    match block::decompress_into(block, &mut sink.out[start..]) {
        Ok(size) => {
            sink.out.truncate(start + size);
            Ok(())
        }
        Err(error) => {
            sink.out.truncate(start);
            let too_small = matches!(error, block::DecompressError::OutputTooSmall { .. });
            Err(if too_small && bound < size_max { sink.limit() } else { sink.damaged(error) })
        }
    }
}

/// What the header of a frame says about its blocks.
struct Frame {
    block_size: usize,
    block_checksums: bool,
}

impl Frame {
    fn parse(input: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let mut rest = input;
        if take(&mut rest) != Some(MAGIC) {
            return Err("not an lz4 frame");
        }
        let descriptor = rest;
        let [flags, block_code] = take(&mut rest).ok_or("frame header is cut")?;
        if flags & VERSION_MASK != VERSION_1 || flags & FLAGS_RESERVED != 0 {
            return Err("unknown frame version or flags");
        }
        if flags & FLAG_INDEPENDENT == 0 {
            return Err("blocks that depend on each other are not supported");
        }
        if block_code & 0x8f != 0 || block_code >> 4 < 4 {
            return Err("invalid block size");
        }
        if flags & FLAG_CONTENT_SIZE != 0 {
            take::<8>(&mut rest).ok_or("frame header is cut")?;
        }
        let described = &descriptor[..descriptor.len() - rest.len()];
        let [checksum] = take(&mut rest).ok_or("frame header is cut")?;
        if checksum != header_checksum(described) {
            return Err("frame header checksum does not match");
        }
        let block_size = 1 << (2 * (block_code >> 4) + 8);
        Ok((Self { block_size, block_checksums: flags & FLAG_BLOCK_CHECKSUM != 0 }, rest))
    }
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, compress, decompress};
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    fn unpack(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decompress(Compression::Lz4, input, Limits::default(), &mut out).map(|()| out)
    }

    fn frame(info: FrameInfo, text: &[u8]) -> Vec<u8> {
        let mut writer = FrameEncoder::with_frame_info(info, Vec::new());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn frames_of_every_kind_that_kafka_reads_unpack() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            let info = FrameInfo::new().block_size(size).block_mode(BlockMode::Independent);
            let checked = info.clone().block_checksums(true).content_checksum(true);
            let sized = checked.clone().content_size(Some(text.len() as u64));
            for info in [info, checked, sized] {
                assert_eq!(unpack(&frame(info.clone(), &text)).unwrap(), text, "{info:?}");
            }
        }
    }

    #[test]
    fn linked_blocks_are_refused() {
        let packed = frame(FrameInfo::new().block_mode(BlockMode::Linked), &[7; 1000]);
        assert!(unpack(&packed).unwrap_err().to_string().contains("depend on each other"));
    }

    #[test]
    fn the_reference_frame_decoder_reads_ours() {
        for size in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let text: Vec<u8> = (0..size).map(|i: u32| (i.wrapping_mul(i) >> 5) as u8).collect();
            let mut packed = Vec::new();
            compress(Compression::Lz4, None, &text, &mut packed).unwrap();
            let mut unpacked = Vec::new();
            std::io::copy(&mut lz4_flex::frame::FrameDecoder::new(&packed[..]), &mut unpacked).unwrap();
            assert_eq!(unpacked, text);
            assert_eq!(unpack(&packed).unwrap(), text);
        }
    }

    #[test]
    fn a_damaged_block_checksum_is_found() {
        let mut packed = frame(FrameInfo::new().block_checksums(true), &[7; 1000]);
        let position = packed.len() - 5;
        packed[position] ^= 1;
        assert!(unpack(&packed).unwrap_err().to_string().contains("block checksum"));
    }
}
