//! Group commit: one thread per directory that syncs logs on request. Everything that is asked for while a
//! sync runs is served together by the next one. A log may have a flusher of its own (the metadata log has one).

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;

/// Told the durable offset, or why there is none.
pub type Done = Box<dyn FnOnce(Result<i64, Error>) + Send>;

/// Pause before a sync that failed for want of descriptors is tried again: nobody above must give up for that.
const REPEAT_AFTER: Duration = Duration::from_millis(100);

type Request = (Arc<Durability>, Option<Done>);

#[derive(Debug)]
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    /// `None`: inline, in the thread of the caller.
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    disk: Arc<Disk>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    // Bounded by the callers: a log has as many requests as it has appends in flight.
    requests: Vec<Request>,
    stopped: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Flusher {
    pub fn start(disk: Arc<Disk>, name: &str, in_thread: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { disk, queue: Mutex::default(), wake: Condvar::new() });
        let thread = if in_thread {
            let shared = shared.clone();
            let run = move || shared.run();
            Some(std::thread::Builder::new().name(name.to_owned()).spawn(run)?)
        } else {
            None
        };
        Ok(Flusher { shared, thread })
    }

    pub fn request(&self, log: &Arc<Durability>, done: Option<Done>) {
        if self.thread.is_none() {
            serve(&self.shared.disk, vec![(log.clone(), done)], false);
            return;
        }
        self.shared.queue.lock().requests.push((log.clone(), done));
        self.shared.wake.notify_one();
    }
}

impl Flusher {
    pub fn has_thread(&self) -> bool {
        self.thread.is_some()
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.queue.lock().stopped = true;
        self.shared.wake.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // A completion may hold the last reference to the directory; the thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the flusher panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut again = Vec::new();
        while let Some((requests, may_repeat)) = self.next(again) {
            again = serve(&self.disk, requests, may_repeat);
        }
    }

    /// Everything queued, as soon as there is something, and whether it may be served again later; `None` when
    /// stopped with nothing left to do. Waits before what is served again, unless something new comes.
    fn next(&self, again: Vec<Request>) -> Option<(Vec<Request>, bool)> {
        let mut queue = self.queue.lock();
        if !again.is_empty() && queue.requests.is_empty() && !queue.stopped {
            self.wake.wait_for(&mut queue, REPEAT_AFTER);
        }
        queue.requests.extend(again);
        loop {
            if !queue.requests.is_empty() {
                let requests = std::mem::take(&mut queue.requests);
                return Some((requests, !queue.stopped));
            }
            if queue.stopped {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }
}

/// Syncs each log once and tells everyone who asked for it; returns the requests that wait for descriptors.
fn serve(disk: &Disk, mut requests: Vec<Request>, may_repeat: bool) -> Vec<Request> {
    let mut again = Vec::new();
    requests.sort_by_key(|(log, _)| Arc::as_ptr(log));
    let mut requests = requests.into_iter().peekable();
    while let Some((log, done)) = requests.next() {
        let result = disk.sync_log(&log);
        let repeats = may_repeat && matches!(&result, Err(error) if error.is_retriable());
        let mut answer = |done: Option<Done>| match done {
            done if repeats => again.push((log.clone(), done)),
            Some(done) => done(result.clone()),
            None => {}
        };
        answer(done);
        while let Some((_, done)) = requests.next_if(|(other, _)| Arc::ptr_eq(other, &log)) {
            answer(done);
        }
    }
    again
}
