//! The disk of [`MemoryFiles`](super::MemoryFiles): what is readable now, what is durable, and what is
//! between.
//!
//! Every file keeps its durable contents and the changes since its last sync; every change of a name waits
//! for the sync of its directory. A power loss takes the durable state and lets a choice of the rest in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::Entry;

/// What tears when the power fails: the unit that a disk writes whole.
const SECTOR_SIZE: usize = 512;

pub(super) type InodeId = usize;
const ROOT: InodeId = 0;

/// What a power loss takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the process died, not the machine.
    Nothing,
    /// Everything that was not synced.
    Unsynced,
    /// Some of what was not synced, torn and out of order, chosen by the seed.
    Random(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    /// Changes of names that no directory sync has covered, oldest first.
    names_unsynced: Vec<NameChange>,
    pub(super) bytes_max: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Body,
    durable: Body,
    unsynced: Vec<Unsynced>,
    modified_ms: i64,
}

#[derive(Debug, Clone)]
enum Body {
    File(Vec<u8>),
    Directory(BTreeMap<String, InodeId>),
}

impl Default for Body {
    fn default() -> Self {
        Body::File(Vec::new())
    }
}

#[derive(Debug, Clone)]
struct Unsynced {
    change: Change,
    /// A sync failed after this change: no later sync makes it durable.
    doomed: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

/// One atomic change of names, durable with the sync of `synced_with`.
#[derive(Debug, Clone)]
struct NameChange {
    synced_with: InodeId,
    set: Vec<(InodeId, String, Option<InodeId>)>,
}

impl Default for Disk {
    fn default() -> Self {
        Disk { inodes: vec![Inode::directory()], names_unsynced: Vec::new(), bytes_max: None }
    }
}

impl Inode {
    fn directory() -> Self {
        let empty = || Body::Directory(BTreeMap::new());
        Inode { live: empty(), durable: empty(), ..Inode::default() }
    }
}

impl Body {
    fn file(&self) -> &[u8] {
        match self {
            Body::File(contents) => contents,
            Body::Directory(_) => &[],
        }
    }

    fn file_mut(&mut self) -> &mut Vec<u8> {
        match self {
            Body::File(contents) => contents,
            Body::Directory(_) => unreachable!("handles are of files only"),
        }
    }

    fn names(&self) -> Option<&BTreeMap<String, InodeId>> {
        match self {
            Body::File(_) => None,
            Body::Directory(names) => Some(names),
        }
    }

    fn set_name(&mut self, name: &str, target: Option<InodeId>) {
        let Body::Directory(names) = self else { unreachable!("names are set in directories only") };
        match target {
            Some(id) => names.insert(name.to_owned(), id),
            None => names.remove(name),
        };
    }
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Change::Write { position, bytes } => write_at(contents, *position, bytes),
            Change::Truncate { size } => contents.resize(*size, 0),
        }
    }

    /// Applies the sectors that `keep` chooses.
    fn apply_torn(&self, contents: &mut Vec<u8>, mut keep: impl FnMut() -> bool) {
        let Change::Write { position, bytes } = self else { return self.apply(contents) };
        let mut done = 0;
        while done < bytes.len() {
            let at = position + done;
            let count = (SECTOR_SIZE - at % SECTOR_SIZE).min(bytes.len() - done);
            if keep() {
                write_at(contents, at, &bytes[done..done + count]);
            }
            done += count;
        }
    }
}

fn write_at(contents: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[position..end].copy_from_slice(bytes);
}

impl Disk {
    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        let mut id = ROOT;
        for name in names_of(path) {
            let names = self.inodes[id].live.names().ok_or(io::ErrorKind::NotADirectory)?;
            id = *names.get(name?).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<InodeId> {
        let id = self.find(path)?;
        if self.inodes[id].live.names().is_some() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(id)
    }

    pub(super) fn contents(&self, id: InodeId) -> &[u8] {
        self.inodes[id].live.file()
    }

    pub(super) fn modified_ms(&self, id: InodeId) -> i64 {
        self.inodes[id].modified_ms
    }

    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let id = self.find(directory)?;
        let names = self.inodes[id].live.names().ok_or(io::ErrorKind::NotADirectory)?;
        let entry = |(name, id): (&String, &InodeId)| Entry {
            name: name.clone(),
            is_directory: self.inodes[*id].live.names().is_some(),
        };
        Ok(names.iter().map(entry).collect())
    }

    pub(super) fn paths_below(&self, directory: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in self.list(directory).unwrap_or_default() {
            let path = directory.join(&entry.name);
            if entry.is_directory {
                found.extend(self.paths_below(&path));
            } else {
                found.push(path);
            }
        }
        found
    }

    pub(super) fn create_file(&mut self, path: &Path, now_ms: i64) -> io::Result<InodeId> {
        match self.find_file(path) {
            Ok(id) => {
                self.truncate(id, 0, now_ms)?;
                Ok(id)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.link_new(path, Inode { modified_ms: now_ms, ..Inode::default() })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn create_dirs(&mut self, path: &Path) -> io::Result<()> {
        let mut above = PathBuf::from("/");
        for name in names_of(path) {
            above.push(name?);
            match self.find(&above) {
                Ok(id) if self.inodes[id].live.names().is_some() => {}
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => {
                    self.link_new(&above, Inode::directory())?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let moved = self.find(from)?;
        let (from_directory, from_name) = self.parent_of(from)?;
        let (to_directory, to_name) = self.parent_of(to)?;
        if let Ok(replaced) = self.find(to)
            && let Some(names) = self.inodes[replaced].live.names()
            && !names.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let set = vec![(from_directory, from_name, None), (to_directory, to_name, Some(moved))];
        self.change_names(NameChange { synced_with: to_directory, set });
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.find_file(path)?;
        self.unlink(path)
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        for entry in self.list(path)? {
            let below = path.join(&entry.name);
            if entry.is_directory { self.remove_dir_all(&below)? } else { self.unlink(&below)? }
        }
        self.unlink(path)
    }

    pub(super) fn write(
        &mut self,
        id: InodeId,
        position: u64,
        mut bytes: Vec<u8>,
        now_ms: i64,
    ) -> io::Result<usize> {
        const ENOSPC: i32 = 28;
        let position = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Some(bytes_max) = self.bytes_max {
            let size = self.contents(id).len();
            let used: u64 = self.inodes.iter().map(|inode| inode.live.file().len() as u64).sum();
            let room = size + bytes_max.saturating_sub(used) as usize;
            if room <= position && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            bytes.truncate(room - position);
        }
        let count = bytes.len();
        self.change(id, Change::Write { position, bytes }, now_ms);
        Ok(count)
    }

    pub(super) fn truncate(&mut self, id: InodeId, size: u64, now_ms: i64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.change(id, Change::Truncate { size }, now_ms);
        Ok(())
    }

    pub(super) fn sync_data(&mut self, id: InodeId) {
        let Inode { durable, unsynced, .. } = &mut self.inodes[id];
        unsynced.retain(|unsynced| {
            if !unsynced.doomed {
                unsynced.change.apply(durable.file_mut());
            }
            unsynced.doomed
        });
    }

    /// A sync failed: the kernel has marked the pages clean, so no later sync writes them.
    pub(super) fn doom_unsynced(&mut self, id: InodeId) {
        self.inodes[id].unsynced.iter_mut().for_each(|unsynced| unsynced.doomed = true);
    }

    pub(super) fn sync_dir(&mut self, directory: &Path) -> io::Result<()> {
        let id = self.find(directory)?;
        let (synced, rest): (Vec<_>, Vec<_>) =
            self.names_unsynced.drain(..).partition(|change| change.synced_with == id);
        self.names_unsynced = rest;
        synced.iter().for_each(|change| self.make_durable(change));
        Ok(())
    }

    /// Replaces or creates a file, durably.
    pub(super) fn put(&mut self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let id = self.create_file(path, 0)?;
        let body = Body::File(contents.to_vec());
        self.inodes[id] = Inode { live: body.clone(), durable: body, ..Inode::default() };
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        self.sync_dir(&parent)
    }

    pub(super) fn after_power_loss(&self, loss: Loss) -> Disk {
        let mut disk = self.clone();
        let mut random = match loss {
            Loss::Nothing => None,
            Loss::Unsynced => {
                disk.names_unsynced.clear();
                disk.inodes.iter_mut().for_each(|inode| inode.unsynced.clear());
                None
            }
            Loss::Random(seed) => Some(Random(seed)),
        };
        for change in std::mem::take(&mut disk.names_unsynced) {
            if random.as_mut().is_none_or(Random::coin) {
                disk.make_durable(&change);
            }
        }
        for inode in &mut disk.inodes {
            for unsynced in std::mem::take(&mut inode.unsynced) {
                apply_by_chance(&unsynced.change, inode.durable.file_mut(), &mut random);
            }
            inode.live = inode.durable.clone();
        }
        disk
    }

    fn link_new(&mut self, path: &Path, inode: Inode) -> io::Result<InodeId> {
        let (directory, name) = self.parent_of(path)?;
        let id = self.inodes.len();
        self.inodes.push(inode);
        self.change_names(NameChange { synced_with: directory, set: vec![(directory, name, Some(id))] });
        Ok(id)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (directory, name) = self.parent_of(path)?;
        self.change_names(NameChange { synced_with: directory, set: vec![(directory, name, None)] });
        Ok(())
    }

    fn parent_of(&self, path: &Path) -> io::Result<(InodeId, String)> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().and_then(OsStr::to_str).ok_or(io::ErrorKind::InvalidInput)?;
        let id = self.find(parent)?;
        self.inodes[id].live.names().ok_or(io::ErrorKind::NotADirectory)?;
        Ok((id, name.to_owned()))
    }

    fn change(&mut self, id: InodeId, change: Change, now_ms: i64) {
        let inode = &mut self.inodes[id];
        change.apply(inode.live.file_mut());
        inode.modified_ms = now_ms;
        inode.unsynced.push(Unsynced { change, doomed: false });
    }

    fn change_names(&mut self, change: NameChange) {
        for (directory, name, target) in &change.set {
            self.inodes[*directory].live.set_name(name, *target);
        }
        self.names_unsynced.push(change);
    }

    fn make_durable(&mut self, change: &NameChange) {
        for (directory, name, target) in &change.set {
            self.inodes[*directory].durable.set_name(name, *target);
        }
    }
}

fn apply_by_chance(change: &Change, contents: &mut Vec<u8>, random: &mut Option<Random>) {
    let Some(random) = random else { return change.apply(contents) };
    match random.below(4) {
        0 => {}
        1 => change.apply_torn(contents, || random.coin()),
        _ => change.apply(contents),
    }
}

/// Names on the way from the root to `path`.
fn names_of(path: &Path) -> impl Iterator<Item = io::Result<&str>> {
    let names = path.components().filter(|part| matches!(part, std::path::Component::Normal(_)));
    names.map(|part| part.as_os_str().to_str().ok_or_else(|| io::ErrorKind::InvalidFilename.into()))
}

/// SplitMix64: enough to choose by, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
