//! Which partition a record goes to: the key's hash, or a partition to stick with for a batch.

use std::hash::{BuildHasher, RandomState};

/// The partition of a key: Java's murmur2, positive, modulo the partitions. The same key goes to the same partition
/// from every client that partitions as Kafka's own.
pub fn by_key(key: &[u8], partitions_count: usize) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % (partitions_count.max(1) as u32)) as i32
}

/// MurmurHash2 with Kafka's seed.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// Records without a key stay with a partition for about a batch (KIP-794), so that batches fill.
#[derive(Debug)]
pub struct Sticky {
    chosen: usize,
    bytes: usize,
}

impl Sticky {
    pub fn new() -> Self {
        // Clients that start together should not start with the same partition.
        Self { chosen: RandomState::new().hash_one(()) as usize, bytes: 0 }
    }

    pub fn choose(&mut self, partitions_count: usize, record_size: usize, batch_size: usize) -> i32 {
        if self.bytes >= batch_size {
            self.bytes = 0;
            self.chosen = self.chosen.wrapping_add(1);
        }
        self.bytes += record_size;
        (self.chosen % partitions_count.max(1)) as i32
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Java's `Utils.murmur2`, as in Kafka's own test of it.
    #[test]
    fn murmur2_is_javas() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn keyless_records_stay_for_a_batch_and_then_move_on() {
        let mut sticky = Sticky::new();
        let chosen: Vec<i32> = (0..12).map(|_| sticky.choose(3, 100, 400)).collect();
        assert!(
            chosen.chunks(4).all(|batch| batch.iter().all(|partition| *partition == batch[0])),
            "{chosen:?}"
        );
        assert!(chosen[0] != chosen[4] && chosen[4] != chosen[8], "{chosen:?}");
    }
}
