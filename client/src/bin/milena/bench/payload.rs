//! What is sent: random text or lines of a file, with keys or without. The same in every run.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::memmem::Finder;

use crate::error::{Error, Result};

/// Random bytes that values are cut from: as many as a batch has at most (`max.request.size`), so that codecs hardly find
/// a value again within one.
const POOL_BYTES: usize = 1024 * 1024;

/// A file of values is held whole.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Values in turn.
#[derive(Debug)]
pub enum Values {
    /// Pieces of a pool, `size` long.
    Random { pool: Vec<u8>, size: usize },
    /// Pieces of a file: where each begins and ends.
    Listed { text: Vec<u8>, places: Vec<(u32, u32)> },
}

/// Keys of records, chosen at random from `count`.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    pub count: u64,
    /// Digits of each, zeros in front.
    pub width: usize,
}

/// A generator of Marsaglia's (xorshift64*): cheap, and good enough to choose letters and keys.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound.max(1)
    }
}

impl Values {
    /// Random capital letters, as Kafka's tool sends them.
    ///
    /// Errors: usage, for values that no producer sends.
    pub fn of_size(size: usize, request_size_max: usize) -> Result<Self> {
        if size > request_size_max {
            return Err(Error::Usage(format!(
                "--size {size} is more than max.request.size, which is {request_size_max}; \
                 -X max.request.size=… raises it"
            )));
        }
        Ok(Self::random(size))
    }

    fn random(size: usize) -> Self {
        let mut random = Random::new();
        let letters = (0..POOL_BYTES + size).map(|_| b'A' + random.below(26) as u8);
        Self::Random { pool: letters.collect(), size }
    }

    /// Values between delimiters of a file, in their order and again from the first.
    pub fn from_file(path: &Path, delimiter: &[u8]) -> Result<Self> {
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| Error::file(path, error))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("{} is larger than {} MiB", path.display(), FILE_BYTES_MAX >> 20);
            return Err(Error::Usage(message));
        }
        let places = places(&text, delimiter);
        if places.is_empty() {
            return Err(Error::Usage(format!("{} is empty", path.display())));
        }
        Ok(Self::Listed { text, places })
    }

    /// The value of the record with this number.
    pub fn value(&self, number: u64) -> &[u8] {
        match self {
            Values::Random { pool, size } => {
                // An odd stride beside the size, so that the second round of the pool gives other pieces.
                let start = (number as usize).wrapping_mul(*size | 1) % POOL_BYTES;
                &pool[start..start + size]
            }
            Values::Listed { text, places } => {
                let (start, end) = places[(number % places.len() as u64) as usize];
                &text[start as usize..end as usize]
            }
        }
    }
}

fn places(text: &[u8], delimiter: &[u8]) -> Vec<(u32, u32)> {
    let finder = Finder::new(delimiter);
    let mut places = Vec::new();
    let mut start = 0;
    // The file has less than 4 GiB.
    for end in finder.find_iter(text) {
        places.push((start as u32, end as u32));
        start = end + delimiter.len();
    }
    if start < text.len() {
        places.push((start as u32, text.len() as u32));
    }
    places
}

impl Keys {
    /// Errors: usage, when a key of that size cannot tell so many apart.
    pub fn new(count: u64, size: Option<usize>) -> Result<Self> {
        let digits = (count - 1).to_string().len();
        match size {
            Some(size) if size < digits => {
                Err(Error::Usage(format!("--keys {count} needs a --key-size of at least {digits}")))
            }
            size => Ok(Self { count, width: size.unwrap_or(digits) }),
        }
    }

    /// Writes a key into `key`.
    pub fn choose(&self, random: &mut Random, key: &mut Vec<u8>) {
        let mut number = random.below(self.count);
        key.clear();
        key.resize(self.width, b'0');
        for digit in key.iter_mut().rev() {
            if number == 0 {
                break;
            }
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn random_values_have_their_size_and_differ() {
        for size in [0, 1, 100, 3_000_000] {
            let values = Values::random(size);
            assert!((0..50).all(|number| values.value(number).len() == size), "{size}");
            assert!(values.value(u64::MAX).iter().all(u8::is_ascii_uppercase));
        }
        let values = Values::random(100);
        let distinct: BTreeSet<&[u8]> = (0..100_000).map(|number| values.value(number)).collect();
        assert_eq!(distinct.len(), 100_000);
    }

    #[test]
    fn a_file_gives_its_lines_again_and_again() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("values");
        std::fs::write(&path, "one\n\nthree").expect("written");
        let values = Values::from_file(&path, b"\n").expect("a file");
        let read: Vec<&[u8]> = (0..4).map(|number| values.value(number)).collect();
        assert_eq!(read, [&b"one"[..], b"", b"three", b"one"]);
        std::fs::write(&path, "").expect("written");
        assert!(Values::from_file(&path, b"\n").is_err());
        assert!(Values::from_file(folder.path(), b"\n").is_err());
    }

    #[test]
    fn keys_are_as_many_and_as_long_as_asked_for() {
        let check = |count: u64, size: Option<usize>, width: usize| {
            let keys = Keys::new(count, size).expect("possible");
            let mut random = Random::new();
            let mut found = BTreeSet::new();
            for _ in 0..10_000 {
                let mut key = Vec::new();
                keys.choose(&mut random, &mut key);
                assert_eq!(key.len(), width);
                found.insert(key);
            }
            assert_eq!(found.len() as u64, count);
        };
        check(1, None, 1);
        check(10, None, 1);
        check(100, Some(8), 8);
        assert!(Keys::new(100, Some(1)).is_err());
    }
}
