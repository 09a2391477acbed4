//! gzip: deflate by zlib's Rust port, the frame around it (RFC 1952) by hand.
//!
//! By hand, because the deflate contexts of a thread can then be reset and reused (one weighs 256 KiB)
//! and because every length of the frame is checked here.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Compression, Error, Levels, Sink};

/// KIP-390 counts as zlib does; 6 is zlib's own default, which Kafka calls -1.
pub const LEVELS: Levels = Levels { min: 1, max: 9, default: 6 };

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_SIZE: usize = 10;
const TRAILER_SIZE: usize = 8;
/// What a deflate step may write before the limit is looked at again.
const STEP: usize = 32 * 1024;

const FLAG_HEADER_CRC: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAGS_RESERVED: u8 = 0xe0;

thread_local! {
    static DEFLATE: RefCell<Option<(i32, Compress)>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

pub fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(&MAGIC);
    // No flags, no time, no hint on the level, and the operating system "unknown" as Java writes it.
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 255]);
    DEFLATE.with_borrow_mut(|kept| {
        let deflate = match kept {
            Some((kept_level, deflate)) if *kept_level == level => {
                deflate.reset();
                deflate
            }
            _ => &mut kept.insert((level, Compress::new(flate2::Compression::new(level as u32), false))).1,
        };
        deflate_all(deflate, input, out)
    })?;
    out.extend_from_slice(&crc_fast::crc32_iso_hdlc(input).to_le_bytes());
    out.extend_from_slice(&(input.len() as u32).to_le_bytes());
    Ok(())
}

fn deflate_all(deflate: &mut Compress, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    loop {
        out.reserve((input.len() / 4).clamp(256, STEP));
        let consumed = deflate.total_in() as usize;
        let status = deflate.compress_vec(&input[consumed..], out, FlushCompress::Finish);
        match status {
            Ok(Status::StreamEnd) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                return Err(Error::Compress { codec: Compression::Gzip, reason: error.to_string() });
            }
        }
    }
}

/// Several members in a row are one stream, as in `cat a.gz b.gz`; Java reads them so.
pub fn decompress(mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
    INFLATE.with_borrow_mut(|kept| {
        let inflate = kept.get_or_insert_with(|| Decompress::new(false));
        loop {
            input = skip_header(input).ok_or_else(|| sink.damaged("invalid gzip header"))?;
            inflate.reset(false);
            let start = sink.out.len();
            inflate_all(inflate, input, sink)?;
            input = &input[inflate.total_in() as usize..];
            input = check_trailer(input, start, sink)?;
            if input.is_empty() {
                return Ok(());
            }
        }
    })
}

fn inflate_all(inflate: &mut Decompress, input: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
    loop {
        let (consumed, produced) = (inflate.total_in(), inflate.total_out());
        // One byte more than may be kept: a stream that fills the limit exactly must still reach its end.
        sink.reserve(STEP.min(sink.room() + 1));
        let room = sink.room();
        let status = inflate
            .decompress_vec(&input[consumed as usize..], sink.out, FlushDecompress::None)
            .map_err(|error| sink.damaged(error))?;
        if inflate.total_out() - produced > room as u64 {
            return Err(sink.limit());
        }
        if status == Status::StreamEnd {
            return Ok(());
        }
        if (inflate.total_in(), inflate.total_out()) == (consumed, produced) {
            return Err(sink.damaged("deflate data ends early"));
        }
    }
}

fn check_trailer<'i>(input: &'i [u8], start: usize, sink: &Sink<'_>) -> Result<&'i [u8], Error> {
    let (trailer, rest) =
        input.split_first_chunk::<TRAILER_SIZE>().ok_or_else(|| sink.damaged("gzip trailer is cut"))?;
    let member = &sink.out[start..];
    let (crc, size) = (crc_fast::crc32_iso_hdlc(member), member.len() as u32);
    if trailer[..4] != crc.to_le_bytes() || trailer[4..] != size.to_le_bytes() {
        return Err(sink.damaged("gzip checksum does not match"));
    }
    Ok(rest)
}

/// What follows the header of a member; `None` when it is damaged or cut.
fn skip_header(input: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = input.split_first_chunk::<HEADER_SIZE>()?;
    let flags = fixed[3];
    if fixed[..3] != MAGIC || flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (size, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*size))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, compress, decompress};
    use super::*;
    use std::io::Write;

    fn unpack(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decompress(Compression::Gzip, input, Limits::default(), &mut out).map(|()| out)
    }

    #[test]
    fn members_in_a_row_are_one_stream() {
        let mut packed = Vec::new();
        compress(Compression::Gzip, None, b"first ", &mut packed).unwrap();
        compress(Compression::Gzip, Some(9), b"second", &mut packed).unwrap();
        assert_eq!(unpack(&packed).unwrap(), b"first second");
    }

    #[test]
    fn every_optional_header_field_is_skipped() {
        let builder = flate2::GzBuilder::new().extra(vec![7; 300]).filename("name").comment("comment");
        let mut writer = builder.write(Vec::new(), flate2::Compression::fast());
        writer.write_all(b"text").unwrap();
        assert_eq!(unpack(&writer.finish().unwrap()).unwrap(), b"text");
    }

    #[test]
    fn a_wrong_checksum_or_size_is_found() {
        let mut packed = Vec::new();
        compress(Compression::Gzip, None, b"some text", &mut packed).unwrap();
        for back in 1..=8 {
            let mut damaged = packed.clone();
            let position = damaged.len() - back;
            damaged[position] ^= 0x10;
            assert!(matches!(unpack(&damaged), Err(Error::Damaged { .. })), "byte {position}");
        }
    }
}
