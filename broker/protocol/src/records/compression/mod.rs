//! The codecs of record batches, their levels (KIP-390) and the limits on what they may unpack to.
//!
//! Decompression writes in bounded steps and stops at [`Limits`]: a length that the input claims is
//! never trusted with memory. Contexts are kept per thread, because building one costs more than
//! compressing a small batch.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::str::FromStr;

/// A codec, by its number in the attributes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    /// Kafka's name of the codec, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Lowest, highest and default level; `None` for the codecs that have none.
    pub fn levels(self) -> Option<Levels> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(gzip::LEVELS),
            Self::Lz4 => Some(lz4::LEVELS),
            Self::Zstd => Some(zstd::LEVELS),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// A name that is no codec's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression type {0:?}")]
pub struct UnknownName(pub String);

/// The levels of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    pub min: i32,
    pub max: i32,
    pub default: i32,
}

impl Levels {
    pub fn contains(self, level: i32) -> bool {
        (self.min..=self.max).contains(&level)
    }

    fn choose(self, level: Option<i32>) -> i32 {
        level.unwrap_or(self.default).clamp(self.min, self.max)
    }
}

/// How much a batch may unpack to; the smaller of both bounds holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes_max: usize,
    /// Times the compressed size, beyond a first [`Limits::RATIO_FREE`] bytes.
    pub ratio_max: usize,
}

impl Limits {
    /// Small inputs may unpack to this much at any ratio: a batch of one repeated record is honest.
    pub const RATIO_FREE: usize = 8 << 20;

    /// Bytes that an input of `compressed` bytes may unpack to.
    pub fn output_max(&self, compressed: usize) -> usize {
        self.bytes_max.min(compressed.saturating_mul(self.ratio_max).max(Self::RATIO_FREE))
    }
}

impl Default for Limits {
    /// 64 MiB and a ratio of 1,100: above what snappy (64), lz4 (255) and deflate (1,032) can reach.
    fn default() -> Self {
        Self { bytes_max: 64 << 20, ratio_max: 1100 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{codec} data unpacks to more than the limit of {max} bytes")]
    Limit { codec: Compression, max: usize },
    #[error("{codec} data is damaged: {reason}")]
    Damaged { codec: Compression, reason: String },
    #[error("{codec} cannot compress: {reason}")]
    Compress { codec: Compression, reason: String },
}

/// Appends the compressed form of `input` to `out`; `None` is the codec's default level. A level
/// outside the codec's range is moved into it; the configuration refuses such a level earlier.
pub fn compress(
    compression: Compression,
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    match compression {
        Compression::None => out.extend_from_slice(input),
        Compression::Gzip => gzip::compress(gzip::LEVELS.choose(level), input, out)?,
        Compression::Snappy => snappy::compress(input, out)?,
        Compression::Lz4 => lz4::compress(input, out)?,
        Compression::Zstd => zstd::compress(zstd::LEVELS.choose(level), input, out)?,
    }
    Ok(())
}

/// Appends what `input` unpacks to. On an error `out` holds what was unpacked so far.
pub fn decompress(
    compression: Compression,
    input: &[u8],
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let max = limits.output_max(input.len());
    let mut sink = Sink { codec: compression, start: out.len(), max, out };
    match compression {
        Compression::None => sink.extend(input),
        Compression::Gzip => gzip::decompress(input, &mut sink),
        Compression::Snappy => snappy::decompress(input, &mut sink),
        Compression::Lz4 => lz4::decompress(input, &mut sink),
        Compression::Zstd => zstd::decompress(input, &mut sink),
    }
}

/// Output of a decompressor: a vector that refuses to grow beyond the limit.
struct Sink<'a> {
    codec: Compression,
    start: usize,
    max: usize,
    out: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > self.room() {
            return Err(self.limit());
        }
        self.reserve(bytes.len());
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for `additional` bytes, growing by halves and never beyond the limit by more than
    /// was asked for.
    fn reserve(&mut self, additional: usize) {
        let (length, capacity) = (self.out.len(), self.out.capacity());
        if capacity - length < additional {
            let grown = (capacity + capacity / 2).min(self.start + self.max).max(length + additional);
            self.out.reserve_exact(grown - length);
        }
    }

    /// Bytes that may still be written.
    fn room(&self) -> usize {
        self.max.saturating_sub(self.out.len() - self.start)
    }

    fn limit(&self) -> Error {
        Error::Limit { codec: self.codec, max: self.max }
    }

    fn damaged(&self, reason: impl fmt::Display) -> Error {
        Error::Damaged { codec: self.codec, reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn packed(codec: Compression, level: Option<i32>, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, level, input, &mut out).unwrap();
        out
    }

    fn unpacked(codec: Compression, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decompress(codec, input, Limits { bytes_max, ratio_max: usize::MAX }, &mut out).map(|()| out)
    }

    proptest! {
        // Few cases: an unoptimised deflate and zstd take milliseconds for each.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_packed_unpacks(
            text in prop::collection::vec(prop_oneof![4 => Just(b'x'), 1 => any::<u8>()], 0..3000),
            level in prop::option::of(-3..10),
        ) {
            for codec in Compression::ALL {
                let packed = packed(codec, level, &text);
                prop_assert_eq!(&unpacked(codec, &packed, text.len()).unwrap(), &text, "{}", codec);
            }
        }

        #[test]
        fn garbage_and_damage_never_panic_nor_exceed_the_limit(
            garbage in prop::collection::vec(any::<u8>(), 0..200),
            position in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            for codec in CODECS {
                let _ = unpacked(codec, &garbage, 4096);
                let mut damaged = packed(codec, None, &b"some text ".repeat(300));
                *position.get_mut(&mut damaged) ^= 1u8 << bit;
                let mut out = Vec::new();
                let _ = decompress(codec, &damaged, Limits { bytes_max: 4096, ratio_max: 5 }, &mut out);
                prop_assert!(out.len() <= 4096 + 1);
            }
        }
    }

    #[test]
    fn texts_of_several_blocks_unpack_at_every_end_of_the_levels() {
        let text: Vec<u8> =
            (0..150_000_u32).map(|i| if i % 5 == 0 { (i >> 7) as u8 } else { b'x' }).collect();
        for codec in Compression::ALL {
            let levels = codec.levels().map_or(vec![None], |levels| {
                [levels.min, levels.default, levels.max, i32::MIN, i32::MAX].map(Some).to_vec()
            });
            for level in levels {
                let packed = packed(codec, level, &text);
                assert!(unpacked(codec, &packed, text.len()).unwrap() == text, "{codec} at {level:?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_with_a_clear_error() {
        let bytes_max = 1 << 20;
        for codec in CODECS {
            let bomb = packed(codec, None, &vec![0; 4 << 20]);
            let mut out = Vec::new();
            let limits = Limits { bytes_max, ratio_max: usize::MAX };
            let error = decompress(codec, &bomb, limits, &mut out).unwrap_err();
            assert_eq!(error, Error::Limit { codec, max: bytes_max });
            assert!(out.capacity() <= bytes_max + bytes_max / 2, "{codec}: {}", out.capacity());
        }
    }

    #[test]
    fn the_ratio_holds_beyond_what_is_free() {
        let limits = Limits { bytes_max: 64 << 20, ratio_max: 20 };
        for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
            let honest = packed(codec, None, &vec![0; Limits::RATIO_FREE]);
            decompress(codec, &honest, limits, &mut Vec::new()).unwrap();
            let bomb = packed(codec, None, &vec![0; Limits::RATIO_FREE + 1]);
            let error = decompress(codec, &bomb, limits, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{codec}: {error}");
        }
    }

    #[test]
    fn every_cut_of_a_packed_text_is_an_error() {
        for codec in CODECS {
            let packed = packed(codec, None, &b"0123456789".repeat(20));
            // A cut between two xerial blocks leaves a shorter stream that is whole.
            let whole = if codec == Compression::Snappy { 17 } else { 0 };
            for cut in whole..packed.len() {
                assert!(unpacked(codec, &packed[..cut], 4096).is_err(), "{codec} cut at {cut}");
            }
        }
    }

    #[test]
    fn names_and_codes_are_kafkas() {
        let names: Vec<&str> = Compression::ALL.iter().map(|codec| codec.name()).collect();
        assert_eq!(names, ["none", "gzip", "snappy", "lz4", "zstd"]);
        for (code, codec) in (0..).zip(Compression::ALL) {
            assert_eq!((codec.code(), Compression::from_code(code)), (code, Some(codec)));
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        assert_eq!(Compression::from_code(5), None);
    }
}
