//! Which offset is the latest of each key, in memory of a fixed size.
//!
//! A key is remembered by a hash of 128 bits, so that an entry has one size whatever the key's. Two keys with one hash
//! would lose records: the hash is keyed at random, so that nobody can make such keys, and by chance it takes 2^64 of
//! them. The table is never filled beyond its load factor; a pass whose keys do not fit cleans as far as they do.

use std::hash::{BuildHasher, RandomState};

/// Bytes of an entry: the hash and the offset.
const ENTRY_BYTES: usize = 24;
const ENTRY_WORDS: usize = ENTRY_BYTES / 8;

/// The fewest entries that a table has room for.
const SLOTS_MIN: usize = 2;

/// Latest offset by key.
#[derive(Debug)]
pub struct OffsetMap {
    // Hash, hash, offset plus one; 0 is an empty slot.
    words: Vec<u64>,
    slots: usize,
    slots_max: usize,
    load_factor: f64,
    count: usize,
    latest_offset: i64,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// A map that takes at most so many bytes (`log.cleaner.dedupe.buffer.size` shared by the threads) and is filled
    /// to `load_factor` (`log.cleaner.io.buffer.load.factor`) at most.
    pub fn new(bytes_max: usize, load_factor: f64) -> Self {
        OffsetMap {
            words: Vec::new(),
            slots: 0,
            slots_max: (bytes_max / ENTRY_BYTES).max(SLOTS_MIN),
            load_factor: load_factor.clamp(0.01, 1.0),
            count: 0,
            latest_offset: -1,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Forgets everything and makes room for `keys` keys, or for as many as the bound allows.
    pub(super) fn reset(&mut self, keys: u64) {
        let wanted = (keys as f64 / self.load_factor).ceil() + SLOTS_MIN as f64;
        self.slots = if wanted < self.slots_max as f64 { wanted as usize } else { self.slots_max };
        let words = self.slots * ENTRY_WORDS;
        if self.words.len() < words {
            // Frees the old one first: never two of them.
            self.words = Vec::new();
            self.words = vec![0; words];
        } else {
            self.words[..words].fill(0);
        }
        self.count = 0;
        self.latest_offset = -1;
    }

    /// Gives the memory back until the next pass.
    pub fn release(&mut self) {
        self.words = Vec::new();
        (self.slots, self.count) = (0, 0);
    }

    /// Notes a later offset of a key; false when there is no room for another key.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let (slot, found) = self.find(hash);
        if found.is_none() {
            if self.count >= self.count_max() {
                return false;
            }
            self.count += 1;
        }
        let words = &mut self.words[slot * ENTRY_WORDS..][..ENTRY_WORDS];
        // Offsets are below `i64::MAX`, see `OffsetsExhausted`.
        words.copy_from_slice(&[hash[0], hash[1], offset as u64 + 1]);
        true
    }

    /// The latest offset of a key, if it is among those noted.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        if self.slots == 0 {
            return None;
        }
        self.find(self.hash(key)).1
    }

    /// Everything up to this offset is in the map; -1 for nothing.
    pub(super) fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    pub(super) fn mapped_upto(&mut self, latest_offset: i64) {
        self.latest_offset = self.latest_offset.max(latest_offset);
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Share of the bound that the entries take.
    pub fn utilization(&self) -> f64 {
        self.count as f64 / self.slots_max as f64
    }

    /// At least one slot stays empty, which ends a search.
    fn count_max(&self) -> usize {
        ((self.slots as f64 * self.load_factor) as usize).clamp(1, self.slots.max(SLOTS_MIN) - 1)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    /// The slot of a hash, or the one where it belongs, and the offset it has.
    fn find(&self, hash: [u64; 2]) -> (usize, Option<i64>) {
        let mut slot = (hash[0] % self.slots as u64) as usize;
        loop {
            let words = &self.words[slot * ENTRY_WORDS..][..ENTRY_WORDS];
            if words[2] == 0 {
                return (slot, None);
            }
            if words[..2] == hash {
                return (slot, Some((words[2] - 1) as i64));
            }
            slot = if slot + 1 == self.slots { 0 } else { slot + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn map_knows_the_latest_offset_of_each_key(keys in proptest::collection::vec(0_u16..200, 0..600)) {
            let mut map = OffsetMap::new(1 << 20, 0.9);
            map.reset(keys.len() as u64);
            let mut model = BTreeMap::new();
            for (offset, key) in (0..).zip(&keys) {
                prop_assert!(map.put(&key.to_be_bytes(), offset));
                model.insert(*key, offset);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0_u16..200 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }

    #[test]
    fn map_is_filled_to_its_load_factor_and_still_takes_keys_it_has() {
        let mut map = OffsetMap::new(100 * ENTRY_BYTES, 0.5);
        map.reset(u64::MAX);
        let taken = (0_u32..100).take_while(|key| map.put(&key.to_be_bytes(), i64::from(*key))).count();
        assert_eq!((taken, map.len()), (50, 50));
        assert!(map.put(&7_u32.to_be_bytes(), 1000));
        assert_eq!(map.get(&7_u32.to_be_bytes()), Some(1000));
        assert_eq!(map.get(&50_u32.to_be_bytes()), None);
        map.reset(3);
        assert_eq!((map.len(), map.get(&7_u32.to_be_bytes())), (0, None));
    }

    #[test]
    fn smallest_map_takes_one_key() {
        let mut map = OffsetMap::new(0, 0.9);
        map.reset(u64::MAX);
        assert!(map.put(b"a", 0));
        assert!(!map.put(b"b", 1));
        assert!(map.put(b"a", 2));
    }
}
