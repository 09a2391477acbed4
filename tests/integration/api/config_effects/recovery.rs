//! How many logs are recovered at once after a crash.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use milena_log::files::{Entry, File, Files, Lock, Metadata};
use milena_log::memory_files::{Loss, MemoryFiles};
use milena_protocol::ErrorCode;

use crate::alter_configs::{BROKER, set};
use crate::node::{Node, batch};

/// One more than without being told.
const THREADS: isize = 3;
const PATIENCE: Duration = Duration::from_secs(5);

/// What was set while the node ran before holds for the next start.
#[test]
fn logs_are_recovered_by_as_many_threads_as_was_said_before() {
    let files = MemoryFiles::new();
    let node = Node::start_on(&files, &[]);
    let topics: Vec<String> = (0..THREADS * 2).map(|number| format!("t{number}")).collect();
    for topic in &topics {
        node.create(topic, &[]);
        assert_eq!(node.produce(topic, &batch(&["x"])).0, ErrorCode::None);
    }
    set(&node, (BROKER, ""), "num.recovery.threads.per.data.dir", Some(&THREADS.to_string()));
    let meeting = Meeting::on(files.crash(Loss::Nothing));
    let node = Node::start_with(Arc::new(meeting.clone()), &[]);
    assert_eq!(*meeting.most.0.lock().expect("no panic"), THREADS);
    assert_eq!(node.fetch(&topics[0], 0).0, ErrorCode::None);
}

/// Whoever opens the log of a topic waits for others that do, until as many as there should be have met.
#[derive(Debug, Clone)]
struct Meeting {
    files: MemoryFiles,
    /// How many are there, and the most that there ever were.
    here: Arc<Mutex<isize>>,
    most: Arc<(Mutex<isize>, Condvar)>,
}

impl Meeting {
    fn on(files: MemoryFiles) -> Self {
        Self { files, here: Arc::default(), most: Arc::default() }
    }

    fn count(&self, change: isize) -> isize {
        let mut here = self.here.lock().expect("no panic");
        *here += change;
        *here
    }

    fn meet(&self) {
        let here = self.count(1);
        let (most, more) = &*self.most;
        let mut most = most.lock().expect("no panic");
        *most = here.max(*most);
        more.notify_all();
        let met = more.wait_timeout_while(most, PATIENCE, |most| *most < THREADS);
        drop(met.expect("no panic"));
        self.count(-1);
    }
}

impl Files for Meeting {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let is_of_topic = !path.to_string_lossy().contains("__cluster_metadata");
        if is_of_topic && path.extension().is_some_and(|extension| extension == "log") {
            self.meet();
        }
        self.files.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.files.create(path)
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
