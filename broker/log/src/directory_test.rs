use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use milena_protocol::records::Builder;
use milena_protocol::types::Uuid;

use super::*;
use crate::config::Config;
use crate::files::{Entry, File, Metadata};
use crate::log::{AppendAs, Log};
use crate::memory_files::{Fault, Loss, MemoryFiles, Operation};
use crate::partition_folders::Found;
use crate::producers::Origin;
use crate::real_files::RealFiles;

const NOW_MS: i64 = 1_700_000_000_000;
const DEADLINE: Duration = Duration::from_secs(20);
const LEADER: AppendAs = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };

fn inline(files: &MemoryFiles) -> Arc<Directory> {
    let options = Options { flusher_thread: false, ..Options::default() };
    Directory::open(Arc::new(files.clone()), Path::new("/data"), options).expect("usable")
}

fn open(directory: &Arc<Directory>, name: &str) -> Log {
    Log::open(directory, name, Arc::new(Config::default()), NOW_MS).expect("readable").0
}

fn append(log: &mut Log) {
    let mut builder = Builder::new();
    builder.append(NOW_MS, None, Some(b"value"), &[]).expect("small");
    log.append(&builder.finish().expect("small"), LEADER, NOW_MS).expect("valid");
}

#[test]
fn directory_has_one_owner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a/b");
    let open = || Directory::open(Arc::new(RealFiles), &path, Options::default());
    let first = open().expect("usable");
    assert!(matches!(open(), Err(Error::Locked { path: locked }) if locked == path));
    drop(first);
    open().expect("the lock is free again");
}

#[test]
fn identity_survives_and_must_make_sense() {
    let files = MemoryFiles::new();
    let identity =
        Identity { cluster_id: "cluster".to_owned(), node_id: 7, directory_id: Uuid::from_u128(12345) };
    let directory = inline(&files);
    assert_eq!(directory.identity(), None);
    directory.initialise(&identity).expect("writable");
    drop(directory);
    assert_eq!(inline(&files).identity(), Some(identity));
    files.put(Path::new("/data/meta.properties"), b"version=1\nnode.id=seven\n");
    let options = Options { flusher_thread: false, ..Options::default() };
    let error =
        Directory::open(Arc::new(files), Path::new("/data"), options).expect_err("node.id is no number");
    assert!(matches!(&error, Error::Unreadable { reason, .. } if reason.contains("missing")), "{error}");
}

#[test]
fn clean_stop_is_believed_once() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    assert_eq!(directory.clean_stop(), None);
    directory.close_clean(42).expect("writable");
    drop(directory);
    assert_eq!(inline(&files).clean_stop(), Some(42));
    assert_eq!(inline(&files).clean_stop(), None);
}

#[test]
fn folders_are_listed_with_their_topic_ids() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    let id = Uuid::from_u128(99);
    for name in ["b-1", "a-0"] {
        open(&directory, name).close_clean().expect("writable");
    }
    directory.write_topic_id("b-1", id).expect("writable");
    let gone = open(&directory, "gone-0").delete("0f").expect("writable");
    let listed: Vec<_> = directory.list().expect("readable").into_iter().collect();
    let wanted =
        [("a-0", "a", 0, None), ("b-1", "b", 1, Some(id))].map(|(name, topic, partition, topic_id)| Found {
            name: name.to_owned(),
            topic: topic.to_owned(),
            partition,
            topic_id,
        });
    assert_eq!(listed, wanted);
    assert_eq!(directory.deleted_folders().expect("readable"), [gone.as_str()]);
    for _ in 0..2 {
        directory.remove_deleted(&gone).expect("gone already is no error");
        assert!(directory.deleted_folders().expect("readable").is_empty());
    }
}

#[test]
fn log_is_not_judged_by_a_deleted_one_of_its_name() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    let mut log = open(&directory, "t-0");
    (0..5).for_each(|_| append(&mut log));
    log.sync().expect("writable");
    log.set_log_start_offset(3);
    directory.checkpoint().expect("writable");
    log.delete("0f").expect("writable");
    let log = open(&directory, "t-0");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 0));
    // Without another checkpoint: the crash comes right after the creation.
    drop(log);
    drop(directory);
    let log = open(&inline(&files), "t-0");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 0));
}

#[test]
fn log_that_a_checkpoint_under_way_knows_is_a_predecessor() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    let mut log = open(&directory, "t-0");
    (0..5).for_each(|_| append(&mut log));
    log.sync().expect("writable");
    // From here on a crash may leave files that know the log.
    let (recovery_points, ..) = directory.logs.lock().begin_checkpoint();
    log.delete("0f").expect("writable");
    drop(open(&directory, "t-0"));
    let text = files.contents(Path::new("/data/recovery-point-offset-checkpoint"));
    assert!(!recovery_points.is_empty());
    assert_eq!(String::from_utf8_lossy(&text), "0\n0\n", "written again before there is another");
}

#[test]
fn what_lacked_a_descriptor_is_synced_by_the_next_sync() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    let mut log = open(&directory, "t-0");
    append(&mut log);
    files.inject(Fault::errno(Operation::SyncDir, 0, libc::EMFILE).lasting());
    assert!(matches!(log.sync(), Err(Error::TooManyOpenFiles)));
    assert_eq!((log.durable_offset(), directory.offline_reason()), (0, None));
    files.heal();
    assert_eq!(log.sync().expect("writable"), 1);
    drop((log, directory));
    let log = open(&inline(&files.crash(Loss::Unsynced)), "t-0");
    assert_eq!(log.log_end_offset(), 1, "the name of the segment is durable too");
}

#[test]
fn flusher_repeats_what_lacked_a_descriptor() {
    let files = MemoryFiles::new();
    let directory =
        Directory::open(Arc::new(files.clone()), Path::new("/data"), Options::default()).expect("usable");
    let mut log = open(&directory, "t-0");
    append(&mut log);
    // Two syncs fail, each after one more try.
    (0..4).for_each(|at| files.inject(Fault::errno(Operation::SyncDir, at, libc::EMFILE)));
    let (done, answers) = mpsc::channel();
    let done = move |result: Result<i64, Error>| done.send(result.ok()).expect("received below");
    directory.request_sync(log.durability(), Some(Box::new(done)));
    assert_eq!(answers.recv_timeout(DEADLINE), Ok(Some(1)));
    assert_eq!(directory.offline_reason(), None);
}

#[test]
fn checkpoint_keeps_what_was_not_opened() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    for (name, count) in [("t-0", 3), ("t-1", 4)] {
        let mut log = open(&directory, name);
        (0..count).for_each(|_| append(&mut log));
        log.close_clean().expect("writable");
    }
    directory.checkpoint().expect("writable");
    drop(directory);
    let directory = inline(&files);
    let mut log = open(&directory, "t-1");
    append(&mut log);
    log.sync().expect("writable");
    directory.checkpoint().expect("writable");
    let text = files.contents(Path::new("/data/recovery-point-offset-checkpoint"));
    assert_eq!(String::from_utf8_lossy(&text), "0\n2\nt 0 3\nt 1 5\n");
}

#[test]
fn first_failure_takes_the_directory_offline_for_good() {
    let files = MemoryFiles::new();
    let directory = inline(&files);
    let (mut log, mut other) = (open(&directory, "t-0"), open(&directory, "t-1"));
    append(&mut log);
    let (told, reasons) = mpsc::channel();
    directory.on_offline(Box::new(move |reason| told.send(reason.to_owned()).expect("received below")));
    files.inject(Fault::errno(Operation::Sync, 0, libc::EIO));
    let (done, answers) = mpsc::channel();
    let done = move |result| done.send(result).expect("received below");
    directory.request_sync(log.durability(), Some(Box::new(done)));
    let answer = answers.recv().expect("answered");
    assert!(matches!(answer, Err(Error::DirectoryOffline { .. })), "{answer:?}");
    assert_eq!(log.durable_offset(), 0);
    assert_eq!(reasons.iter().count(), 1, "told once");
    files.heal();
    for log in [&mut log, &mut other] {
        assert!(matches!(log.sync(), Err(Error::DirectoryOffline { .. })));
    }
    assert!(matches!(directory.checkpoint(), Err(Error::DirectoryOffline { .. })));
    assert!(directory.offline_reason().expect("offline").contains("cannot sync"));
}

/// Files whose `sync_data` waits to be let through, and counts.
#[derive(Debug, Clone)]
struct Gated {
    files: MemoryFiles,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    entered: parking_lot::Mutex<mpsc::Sender<()>>,
    leave: parking_lot::Mutex<mpsc::Receiver<()>>,
    count: AtomicUsize,
}

#[derive(Debug)]
struct GatedFile(Arc<dyn File>, Arc<Gate>);

impl File for GatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }
    fn read_hot_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_hot_at(buffer, position)
    }
    fn write_vectored_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.write_vectored_at(buffers, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.count.fetch_add(1, Ordering::SeqCst);
        self.1.entered.lock().send(()).map_err(io::Error::other)?;
        self.1.leave.lock().recv().map_err(io::Error::other)?;
        self.0.sync_data()
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }
    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.0.allocate(position, length)
    }
    fn raw_fd(&self) -> Option<std::os::fd::RawFd> {
        None
    }
}

impl Gated {
    fn gated(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        let is_log = path.ends_with("t-0/00000000000000000000.log");
        if is_log { Arc::new(GatedFile(file, self.gate.clone())) } else { file }
    }
}

impl Files for Gated {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.gated(path, self.files.open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.gated(path, self.files.create(path)?))
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.files.list(directory)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.files.metadata(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.files.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.files.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.files.remove_dir_all(path)
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.files.sync_dir(directory)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.files.lock(path)
    }
}

fn gate() -> (Arc<Gate>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, has_entered) = mpsc::channel();
    let (let_leave, leave) = mpsc::channel();
    let gate = Gate {
        entered: parking_lot::Mutex::new(entered),
        leave: parking_lot::Mutex::new(leave),
        count: AtomicUsize::new(0),
    };
    (Arc::new(gate), has_entered, let_leave)
}

#[test]
fn log_with_a_flusher_of_its_own_does_not_queue_behind_others() {
    let (gate, has_entered, let_leave) = gate();
    let files = Gated { files: MemoryFiles::new(), gate };
    let directory = Directory::open(Arc::new(files), Path::new("/data"), Options::default()).expect("usable");
    let (mut slow, mut apart) = (open(&directory, "t-0"), open(&directory, "metadata-0"));
    directory.flush_apart(apart.durability()).expect("starts");
    let (done, answers) = mpsc::channel();
    for (name, log) in [("slow", &mut slow), ("apart", &mut apart)] {
        append(log);
        let done = done.clone();
        let done = move |result: Result<i64, Error>| done.send((name, result.ok())).expect("received below");
        directory.request_sync(log.durability(), Some(Box::new(done)));
    }
    has_entered.recv_timeout(DEADLINE).expect("the slow sync has begun");
    assert_eq!(answers.recv_timeout(DEADLINE), Ok(("apart", Some(1))));
    let_leave.send(()).expect("the slow sync waits");
    assert_eq!(answers.recv_timeout(DEADLINE), Ok(("slow", Some(1))));
}

#[test]
fn one_sync_serves_everything_that_came_while_the_last_one_ran() {
    let (gate, has_entered, let_leave) = gate();
    let files = Gated { files: MemoryFiles::new(), gate: gate.clone() };
    let directory = Directory::open(Arc::new(files), Path::new("/data"), Options::default()).expect("usable");
    let mut log = open(&directory, "t-0");
    let (done, answers) = mpsc::channel();
    let request = |log: &Log| {
        let done = done.clone();
        let done = move |result: Result<i64, Error>| done.send(result.expect("synced")).expect("received");
        directory.request_sync(log.durability(), Some(Box::new(done)));
    };
    append(&mut log);
    request(&log);
    has_entered.recv_timeout(DEADLINE).expect("the first sync has begun");
    for _ in 0..50 {
        append(&mut log);
        request(&log);
    }
    let_leave.send(()).expect("the sync waits");
    assert_eq!(answers.recv_timeout(DEADLINE), Ok(1), "the first sync vouches for what it found");
    has_entered.recv_timeout(DEADLINE).expect("the second sync has begun");
    let_leave.send(()).expect("the sync waits");
    for _ in 0..50 {
        assert_eq!(answers.recv_timeout(DEADLINE), Ok(51));
    }
    assert_eq!(gate.count.load(Ordering::SeqCst), 2);
    assert_eq!(log.durable_offset(), 51);
}
