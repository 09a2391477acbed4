//! Descriptors of sealed segments and indexes, kept open up to a bound over all logs of a directory, the least
//! recently used going first. A file that somebody still reads stays open through its own reference.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::File;
use crate::names::Kind;

/// Log (a number that is never reused), base offset, kind of file.
pub(crate) type Key = (u64, i64, Kind);

#[derive(Debug)]
pub(crate) struct OpenFiles {
    count_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<Key, (Arc<dyn File>, u64)>,
    /// Use → key, so that the first is the least recently used.
    uses: BTreeMap<u64, Key>,
    clock: u64,
}

impl OpenFiles {
    pub fn new(count_max: usize) -> Self {
        OpenFiles { count_max: count_max.max(1), inner: Mutex::default() }
    }

    pub fn get(&self, key: Key) -> Option<Arc<dyn File>> {
        let inner = &mut *self.inner.lock();
        inner.clock += 1;
        let (file, used) = inner.files.get_mut(&key)?;
        inner.uses.remove(used);
        *used = inner.clock;
        inner.uses.insert(inner.clock, key);
        Some(file.clone())
    }

    pub fn put(&self, key: Key, file: Arc<dyn File>) {
        let inner = &mut *self.inner.lock();
        inner.clock += 1;
        if let Some((_, used)) = inner.files.insert(key, (file, inner.clock)) {
            inner.uses.remove(&used);
        }
        inner.uses.insert(inner.clock, key);
        while inner.files.len() > self.count_max {
            let Some((_, oldest)) = inner.uses.pop_first() else { break };
            inner.files.remove(&oldest);
        }
    }

    pub fn forget(&self, key: Key) {
        let inner = &mut *self.inner.lock();
        if let Some((_, used)) = inner.files.remove(&key) {
            inner.uses.remove(&used);
        }
    }

    /// Closes everything that nobody else uses, when descriptors are short.
    pub fn clear(&self) {
        let inner = &mut *self.inner.lock();
        inner.files.clear();
        inner.uses.clear();
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.inner.lock().files.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::memory_files::MemoryFiles;

    #[test]
    fn the_least_recently_used_goes_first() {
        let files = MemoryFiles::new();
        let file = files.create(std::path::Path::new("/f")).unwrap();
        let open = OpenFiles::new(2);
        let [first, second, third] = [0, 1, 2].map(|base_offset| (1, base_offset, Kind::Log));
        open.put(first, file.clone());
        open.put(second, file.clone());
        assert!(open.get(first).is_some());
        open.put(third, file.clone());
        assert_eq!(open.len(), 2);
        assert!(open.get(second).is_none());
        assert!(open.get(first).is_some() && open.get(third).is_some());
        open.forget(first);
        assert!(open.get(first).is_none());
    }
}
