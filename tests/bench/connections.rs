//! Many connections with a request a second each, on a timetable that does not wait for answers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::load::{Failure, histogram};
use crate::wire;

const VALUE: &[u8] = &[b'x'; 100];
/// How long the last answers may take.
const LIMIT: Duration = Duration::from_secs(10);

struct Shared {
    start: Instant,
    /// When the request now under way on each connection was due, in nanoseconds since `start`.
    due: Vec<AtomicU64>,
    found: Mutex<Histogram<u64>>,
    answered: AtomicU64,
}

/// Open connections, ready for requests.
pub struct Connections {
    runtime: Runtime,
    streams: Vec<Arc<TcpStream>>,
    request: Vec<u8>,
    topic: String,
}

impl Connections {
    pub fn open(port: u16, topic: &str, count: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connect = || async {
            let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
            stream.set_nodelay(true)?;
            Ok(Arc::new(stream))
        };
        let streams = (0..count).map(|_| runtime.block_on(connect())).collect::<io::Result<_>>()?;
        Ok(Self { runtime, streams, request: wire::produce(topic, VALUE), topic: topic.to_owned() })
    }

    /// Each connection sends one request per second for a while; latencies in microseconds.
    pub fn run(self, length: Duration) -> Result<(Histogram<u64>, u64), Failure> {
        let count = self.streams.len();
        let shared = Arc::new(Shared {
            start: Instant::now(),
            due: (0..count).map(|_| AtomicU64::new(0)).collect(),
            found: Mutex::new(histogram()),
            answered: AtomicU64::new(0),
        });
        let (ended, errors) = channel();
        let Self { runtime, streams, request, topic } = self;
        let thread = std::thread::spawn({
            // The same sockets for both directions: ten thousand are within the usual limit of open files.
            let (shared, streams) = (Arc::clone(&shared), streams.clone());
            move || read_all(&runtime, streams, &shared, &topic, &ended)
        });
        let sent = send_all(&streams, &request, &shared, length)?;
        let deadline = Instant::now() + LIMIT;
        while shared.answered.load(Ordering::Relaxed) < sent
            && Instant::now() < deadline
            && !thread.is_finished()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let trouble = errors.try_recv();
        for stream in &streams {
            // Fails only where the broker closed first, which is then in `trouble`.
            let _ = SockRef::from(&**stream).shutdown(std::net::Shutdown::Both);
        }
        thread.join().map_err(|_| "the reading thread panicked")?;
        if let Ok(error) = trouble {
            return Err(error.into());
        }
        let answered = shared.answered.load(Ordering::Relaxed);
        if answered != sent {
            return Err(format!("{answered} of {sent} requests were answered").into());
        }
        Ok((shared.found.lock().expect("no holder panics").clone(), sent))
    }
}

fn send_all(
    streams: &[Arc<TcpStream>],
    request: &[u8],
    shared: &Shared,
    length: Duration,
) -> Result<u64, Failure> {
    milena_tests::syscalls::sharpen_timers();
    let count = streams.len();
    let step = Duration::from_secs(1).as_nanos() as u64 / count as u64;
    let requests = length.as_secs() * count as u64;
    let begin = shared.start.elapsed();
    for i in 0..requests {
        let due = begin + Duration::from_nanos(i * step);
        std::thread::sleep(due.saturating_sub(shared.start.elapsed()));
        let at = i as usize % count;
        shared.due[at].store(due.as_nanos() as u64, Ordering::Release);
        // The socket's buffer is empty: its last request was answered a second ago.
        if SockRef::from(&*streams[at]).send(request)? != request.len() {
            return Err("a connection takes no more bytes".into());
        }
    }
    Ok(requests)
}

fn read_all(
    runtime: &Runtime,
    streams: Vec<Arc<TcpStream>>,
    shared: &Arc<Shared>,
    topic: &str,
    ended: &Sender<String>,
) {
    let mut tasks = Vec::new();
    runtime.block_on(async {
        for (at, stream) in streams.into_iter().enumerate() {
            let (shared, topic, ended) = (Arc::clone(shared), topic.to_owned(), ended.clone());
            tasks.push(tokio::spawn(async move {
                if let Err(error) = read_one(stream, at, &shared, &topic).await {
                    // The receiver is gone when the run is over already.
                    let _ = ended.send(format!("connection {at}: {error}"));
                }
            }));
        }
        for task in tasks {
            // A task ends with its connection; a panic in it shows as missing answers.
            let _ = task.await;
        }
    });
}

async fn read_one(stream: Arc<TcpStream>, at: usize, shared: &Shared, topic: &str) -> io::Result<()> {
    let (mut answer, mut piece) = (Vec::new(), [0; 512]);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        // One request is under way per connection, so nothing follows a whole answer.
        let whole =
            answer.first_chunk().is_some_and(|size| answer.len() == 4 + u32::from_be_bytes(*size) as usize);
        if !whole {
            continue;
        }
        let taken = shared.start.elapsed().as_nanos() as u64 - shared.due[at].load(Ordering::Acquire);
        shared.found.lock().expect("no holder panics").saturating_record(taken / 1000);
        shared.answered.fetch_add(1, Ordering::Relaxed);
        match wire::produce_error(topic, &answer[4..]) {
            Some(0) => answer.clear(),
            other => return Err(io::Error::other(format!("Produce answered {other:?}"))),
        }
    }
}
