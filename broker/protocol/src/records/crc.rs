//! CRC32C, the checksum of a record batch: over everything behind the checksum field itself.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC32C of the concatenation of `parts`, so that a patched header and a borrowed payload need not
/// be copied together.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    if let [whole] = parts {
        return crc_fast::crc32_iscsi(whole);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // The 32 bit algorithms answer in the lower half of the 64 bit result.
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn matches_the_check_value_of_the_algorithm() {
        assert_eq!(crc32c(&[b"123456789"]), 0xE306_9283);
    }

    #[test]
    fn parts_give_the_crc_of_the_whole() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * 31) as u8).collect();
        for cut in [0, 1, 40, 4096, 5000] {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(crc32c(&[left, right]), crc32c(&[&bytes]), "cut at {cut}");
        }
    }
}
