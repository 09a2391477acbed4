//! zstd, by the reference library with one context per thread and direction.
//!
//! Frames are unpacked in one call straight into the output: the library then needs no window of its
//! own, so a frame that claims a window of gigabytes costs nothing.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, get_error_name};

use super::{Compression, Error, Levels, Sink};

/// The library's own range and default; 0 means the default too.
pub const LEVELS: Levels = Levels { min: -131_072, max: 22, default: 3 };

thread_local! {
    static COMPRESS: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static DECOMPRESS: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

pub fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let failed = |code| Error::Compress { codec: Compression::Zstd, reason: get_error_name(code).to_owned() };
    COMPRESS.with_borrow_mut(|kept| {
        let context = kept.get_or_insert_with(CCtx::create);
        context.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
        out.reserve(zstd_safe::compress_bound(input.len()));
        append(out, |cursor| context.compress2(cursor, input)).map_err(failed)?;
        Ok(())
    })
}

pub fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
    if input.is_empty() {
        return Err(sink.damaged("no frame"));
    }
    // Derived from the block headers, so it is at most 128 KiB per three bytes of input; the limit cuts
    // what is still too much.
    let bound = zstd_safe::decompress_bound(input).map_err(|code| sink.damaged(get_error_name(code)))?;
    let room = sink.room();
    let size_max = usize::try_from(bound).unwrap_or(usize::MAX).min(room);
    DECOMPRESS.with_borrow_mut(|kept| {
        let context = kept.get_or_insert_with(DCtx::create);
        sink.reserve(size_max);
        let size = append(sink.out, |cursor| context.decompress(cursor, input));
        match size {
            Ok(size) if size > room => Err(sink.limit()),
            Ok(_) => Ok(()),
            Err(code) if bound > room as u64 && get_error_name(code) == TOO_SMALL => Err(sink.limit()),
            Err(code) => Err(sink.damaged(get_error_name(code))),
        }
    })
}

/// The library's name of "the output buffer is too small"; its code has no constant in the crate.
const TOO_SMALL: &str = "Destination buffer is too small";

/// Lets the library write into the spare capacity of `out`.
fn append(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Cursor<Vec<u8>>) -> zstd_safe::SafeResult,
) -> zstd_safe::SafeResult {
    let start = out.len();
    let mut cursor = Cursor::new(std::mem::take(out));
    cursor.set_position(start as u64);
    let result = write(&mut cursor);
    *out = cursor.into_inner();
    out.truncate(start + *result.as_ref().unwrap_or(&0));
    result
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, compress, decompress};
    use super::*;
    use std::io::Write;

    fn unpack(input: &[u8], bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut out = b"kept".to_vec();
        let limits = Limits { bytes_max, ratio_max: usize::MAX };
        decompress(Compression::Zstd, input, limits, &mut out).map(|()| out[4..].to_vec())
    }

    #[test]
    fn frames_of_unknown_size_with_a_huge_window_unpack() {
        let text = b"window ".repeat(30_000);
        let mut writer = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        writer.window_log(27).unwrap();
        writer.write_all(&text).unwrap();
        let packed = writer.finish().unwrap();
        assert_eq!(unpack(&packed, 1 << 20).unwrap(), text);
    }

    #[test]
    fn the_limit_is_told_apart_from_damage() {
        let mut packed = Vec::new();
        compress(Compression::Zstd, None, &vec![7; 100_000], &mut packed).unwrap();
        assert_eq!(unpack(&packed, 100_000).unwrap().len(), 100_000);
        let limit = Error::Limit { codec: Compression::Zstd, max: 99_999 };
        assert_eq!(unpack(&packed, 99_999).unwrap_err(), limit);
        packed.truncate(packed.len() - 1);
        assert!(matches!(unpack(&packed, 100_000), Err(Error::Damaged { .. })));
    }

    #[test]
    fn frames_in_a_row_are_one_stream() {
        let mut packed = Vec::new();
        compress(Compression::Zstd, Some(-5), b"first ", &mut packed).unwrap();
        compress(Compression::Zstd, Some(19), b"second", &mut packed).unwrap();
        assert_eq!(unpack(&packed, 100).unwrap(), b"first second");
    }
}
