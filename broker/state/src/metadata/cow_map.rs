//! An ordered map that is cheap to clone and cheap to change after a clone.
//!
//! The broker publishes a new image after every metadata entry while readers hold the old one. A
//! plain `BTreeMap` behind an `Arc` would copy every topic for one changed partition; here the
//! sorted pairs sit in chunks behind their own `Arc`, so that a change copies one chunk and the
//! list of chunks: about a microsecond at ten thousand topics.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Pairs per chunk before it is split in two.
const CHUNK_PAIRS_MAX: usize = 128;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// Ordered map with structural sharing between clones. No chunk is empty.
#[derive(Clone)]
pub struct CowMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    count: usize,
}

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::new(Vec::new()), count: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> CowMap<K, V> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key)?)?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    /// The value for changing; copies what is shared with other clones.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let chunk_index = self.chunk_of(key)?;
        let at = self.chunks[chunk_index].binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunk = &mut Arc::make_mut(&mut self.chunks)[chunk_index];
        Some(&mut Arc::make_mut(chunk)[at].1)
    }

    /// Sets the value of `key` and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::new(vec![(key, value)]));
            self.count = 1;
            return None;
        }
        let mut chunk_index = chunks.partition_point(|chunk| chunk[0].0 <= key).saturating_sub(1);
        let at = match chunks[chunk_index].binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => {
                let chunk = Arc::make_mut(&mut chunks[chunk_index]);
                return Some(std::mem::replace(&mut chunk[at].1, value));
            }
            Err(at) => at,
        };
        self.count += 1;
        let mut at = at;
        if chunks[chunk_index].len() >= CHUNK_PAIRS_MAX {
            // Names mostly arrive unordered: halves leave room on both sides. Split before it grows, so that no chunk
            // keeps memory for more than it may hold.
            let chunk = Arc::make_mut(&mut chunks[chunk_index]);
            let upper = chunk.split_off(CHUNK_PAIRS_MAX / 2);
            chunk.shrink_to_fit();
            chunks.insert(chunk_index + 1, Arc::new(upper));
            if at > CHUNK_PAIRS_MAX / 2 {
                chunk_index += 1;
                at -= CHUNK_PAIRS_MAX / 2;
            }
        }
        Arc::make_mut(&mut chunks[chunk_index]).insert(at, (key, value));
        None
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let chunk_index = self.chunk_of(key)?;
        let at = self.chunks[chunk_index].binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let (_, value) = Arc::make_mut(&mut chunks[chunk_index]).remove(at);
        if chunks[chunk_index].is_empty() {
            chunks.remove(chunk_index);
        }
        self.count -= 1;
        Some(value)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
    }

    /// Bytes on the heap, without those of the values' own.
    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        let pairs: usize = self.chunks.iter().map(|chunk| chunk.capacity()).sum();
        // Each chunk has a vector and two counts beside its pairs, and a place in the list.
        let per_chunk = size_of::<Vec<(K, V)>>() + 3 * size_of::<usize>();
        pairs * size_of::<(K, V)>() + self.chunks.len() * per_chunk
    }

    /// All pairs whose key is `from` or greater.
    pub fn iter_from<'a, Q: Ord + ?Sized>(&'a self, from: &'a Q) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: Borrow<Q>,
    {
        let first = self.chunk_of(from).unwrap_or(0);
        self.chunks
            .iter()
            .skip(first)
            .flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
            .skip_while(move |(k, _)| (*k).borrow() < from)
    }

    /// Index of the only chunk that can hold `key`, none when it sorts before every key.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk[0].0.borrow() <= key).checked_sub(1)
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for CowMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        // Two histories may have cut the same pairs into different chunks.
        let (ours, theirs) = (&self.chunks, &other.chunks);
        self.count == other.count
            && ours.iter().flat_map(|c| c.iter()).eq(theirs.iter().flat_map(|c| c.iter()))
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for CowMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.chunks.iter().flat_map(|c| c.iter()).map(|(k, v)| (k, v))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::CowMap;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
        Change(u16, u32),
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        // A small key range makes removals and replacements hit.
        let key = 0_u16..600;
        prop_oneof![
            6 => (key.clone(), any::<u32>()).prop_map(|(k, v)| Step::Insert(k, v)),
            2 => key.clone().prop_map(Step::Remove),
            1 => (key, any::<u32>()).prop_map(|(k, v)| Step::Change(k, v)),
            1 => Just(Step::Clone),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_as_a_btree_map_and_leaves_clones_alone(steps in prop::collection::vec(step(), 0..1500)) {
            let mut model = BTreeMap::new();
            let mut map = CowMap::default();
            let mut clones = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(k, v) => prop_assert_eq!(map.insert(k, v), model.insert(k, v)),
                    Step::Remove(k) => prop_assert_eq!(map.remove(&k), model.remove(&k)),
                    Step::Change(k, v) => {
                        if let Some(value) = model.get_mut(&k) { *value = v }
                        if let Some(value) = map.get_mut(&k) { *value = v }
                        prop_assert_eq!(map.get(&k), model.get(&k));
                    }
                    Step::Clone => clones.push((map.clone(), model.clone())),
                }
            }
            clones.push((map, model));
            for (map, model) in clones {
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_from(&300).eq(model.range(300..)));
            }
        }
    }
}
