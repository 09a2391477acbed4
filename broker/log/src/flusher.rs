//! Group commit: one thread per directory that syncs logs on request. Everything that is asked for while a
//! sync runs is served together by the next one.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;

/// Told the durable offset, or why there is none.
pub type Done = Box<dyn FnOnce(Result<i64, Error>) + Send>;

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
    pub fn start(disk: Arc<Disk>, in_thread: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { disk, queue: Mutex::default(), wake: Condvar::new() });
        let thread = if in_thread {
            let shared = shared.clone();
            let run = move || shared.run();
            Some(std::thread::Builder::new().name("log-flusher".to_owned()).spawn(run)?)
        } else {
            None
        };
        Ok(Flusher { shared, thread })
    }

    pub fn request(&self, log: &Arc<Durability>, done: Option<Done>) {
        if self.thread.is_none() {
            serve(&self.shared.disk, vec![(log.clone(), done)]);
            return;
        }
        self.shared.queue.lock().requests.push((log.clone(), done));
        self.shared.wake.notify_one();
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
        while let Some(requests) = self.next() {
            serve(&self.disk, requests);
        }
    }

    /// Everything queued, as soon as there is something; `None` when stopped with nothing left to do.
    fn next(&self) -> Option<Vec<Request>> {
        let mut queue = self.queue.lock();
        loop {
            if !queue.requests.is_empty() {
                return Some(std::mem::take(&mut queue.requests));
            }
            if queue.stopped {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }
}

/// Syncs each log once and tells everyone who asked for it.
fn serve(disk: &Disk, mut requests: Vec<Request>) {
    requests.sort_by_key(|(log, _)| Arc::as_ptr(log));
    let mut requests = requests.into_iter().peekable();
    while let Some((log, done)) = requests.next() {
        let result = disk.sync_log(&log);
        let tell = |done: Option<Done>| {
            if let Some(done) = done {
                done(result.clone());
            }
        };
        tell(done);
        while let Some((_, done)) = requests.next_if(|(other, _)| Arc::ptr_eq(other, &log)) {
            tell(done);
        }
    }
}
