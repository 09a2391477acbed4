use std::future::poll_fn;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use milena_log::RealFiles;
use milena_log::files::{File, Files};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A file in memory whose pages are on a disk until somebody waited for them.
#[derive(Debug)]
struct ColdFile {
    bytes: Vec<u8>,
    is_hot: AtomicBool,
    read_by: Mutex<Vec<ThreadId>>,
}

impl ColdFile {
    fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes, is_hot: AtomicBool::new(false), read_by: Mutex::default() })
    }
}

impl File for ColdFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if !self.is_hot.swap(true, Ordering::Relaxed) {
            self.read_by.lock().push(thread::current().id());
        }
        self.read_hot_at(buffer, position)
    }

    fn read_hot_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if !self.is_hot.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let rest = &self.bytes[position as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}

fn pattern(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|at| ((at * 31 + seed) >> 3) as u8).collect()
}

/// Writes what `fill` queued and gives the bytes that the other end read, or the error.
fn send(fill: impl FnOnce(&mut Output)) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut near = TcpStream::connect(listener.local_addr()?).await?;
        let (mut far, _) = listener.accept().await?;
        let reader = tokio::spawn(async move {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).await.map(|_| bytes)
        });
        let mut output = Output::default();
        fill(&mut output);
        let queued = output.pending_bytes();
        let mut written = 0;
        poll_fn(|cx| output.poll_write(cx, &mut near, &mut written)).await?;
        assert_eq!((output.pending_bytes(), written), (0, queued));
        assert!(output.is_empty());
        drop(near);
        reader.await.expect("the reader does not panic")
    })
}

fn file_slice(file: Arc<dyn File>, position: u64, length: usize) -> FileSlice {
    let slice = Slice {
        file,
        log: 0,
        segment: 0,
        position,
        length,
        first_base_offset: 0,
        first_batch_incomplete: false,
    };
    FileSlice { slice, partition: None }
}

/// Sends a frame with one slice of each size, and compares what arrives.
fn check(file: &Arc<dyn File>, contents: &[u8], slices: &[(u64, usize)]) {
    let mut frame = Vec::new();
    let mut files = Vec::new();
    let mut expected = Vec::new();
    for (index, (position, length)) in slices.iter().enumerate() {
        let head = pattern(10 + index, index);
        frame.extend_from_slice(&head);
        expected.extend_from_slice(&head);
        files.push((frame.len() as u32, file_slice(Arc::clone(file), *position, *length)));
        expected.extend_from_slice(&contents[*position as usize..*position as usize + *length]);
    }
    frame.extend_from_slice(b"tail");
    expected.extend_from_slice(b"tail");
    let arrived = send(|output| {
        output.push(b"before".to_vec(), Vec::new());
        output.push(frame, files);
        output.push(b"after".to_vec(), Vec::new());
    });
    let arrived = arrived.expect("everything is sent");
    assert!(arrived == [b"before", &expected[..], b"after"].concat(), "{slices:?}");
}

#[test]
fn slices_of_all_sizes_go_between_their_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("segment");
    let contents = pattern(5_000_000, 1);
    std::fs::write(&path, &contents).expect("it can be written");
    let file = RealFiles.open(&path).expect("it can be opened");
    check(&file, &contents, &[(0, 1)]);
    check(&file, &contents, &[(7, 100), (4_000, SENDFILE_BYTES_MIN - 1), (50, 3)]);
    check(
        &file,
        &contents,
        &[(9, SENDFILE_BYTES_MIN), (1_000_000, 2_345_678), (12, 5), (3_999_999, 1_000_001)],
    );
}

#[test]
fn cold_slices_are_read_by_another_thread_before_they_are_sent() {
    let contents = pattern(300_000, 2);
    for slice in [(0, 100), (10, 250_000)] {
        let cold = ColdFile::new(contents.clone());
        let file: Arc<dyn File> = Arc::clone(&cold) as _;
        check(&file, &contents, &[slice]);
        let read_by = cold.read_by.lock();
        assert_eq!(read_by.len(), 1);
        assert_ne!(read_by[0], thread::current().id(), "a reactor waited for a disk");
    }
}

#[test]
fn file_that_is_shorter_than_promised_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("segment");
    std::fs::write(&path, pattern(100_000, 3)).expect("it can be written");
    let file = RealFiles.open(&path).expect("it can be opened");
    let slice = file_slice(file, 0, 200_000);
    let error =
        send(|output| output.push(b"head".to_vec(), vec![(4, slice)])).expect_err("bytes are missing");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn small_answers_are_gathered_into_one_chunk() {
    let mut output = Output::default();
    for _ in 0..100 {
        output.push(vec![1; 100], Vec::new());
    }
    assert_eq!((output.chunks.len(), output.pending_bytes()), (1, 10_000));
    output.push(vec![1; GATHERED_BYTES_MAX], Vec::new());
    assert_eq!(output.chunks.len(), 2);
}
