//! A connection: read what is there, answer every whole request in order, write.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::api::Broker;
use crate::log::Slice;
use crate::syscalls;

/// Below this a copy through memory is cheaper than `sendfile`.
const SENDFILE_MIN: usize = 16 * 1024;
const BUFFER: usize = 256 * 1024;

/// What goes out next: bytes with runs of files between them.
#[derive(Default)]
pub struct Outgoing {
    pub bytes: Vec<u8>,
    files: Vec<(usize, Slice)>,
}

impl Outgoing {
    /// Appends a run of a file.
    pub fn file(&mut self, slice: Slice) -> io::Result<()> {
        if slice.length >= SENDFILE_MIN {
            self.files.push((self.bytes.len(), slice));
            return Ok(());
        }
        let start = self.bytes.len();
        self.bytes.resize(start + slice.length, 0);
        slice.file.read_exact_at(&mut self.bytes[start..], slice.position)
    }

    async fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        let mut done = 0;
        for (at, slice) in self.files.drain(..) {
            write_all(stream, &self.bytes[done..at], true).await?;
            send_file(stream, &slice.file, slice.position, slice.length).await?;
            done = at;
        }
        write_all(stream, &self.bytes[done..], false).await?;
        self.bytes.clear();
        Ok(())
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8], more: bool) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = match more {
            true => stream.try_io(Interest::WRITABLE, || syscalls::send_more(stream.as_fd(), bytes)),
            false => stream.try_write(bytes),
        };
        match sent {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn send_file(
    stream: &TcpStream,
    file: &Rc<File>,
    mut position: u64,
    mut length: usize,
) -> io::Result<()> {
    while length > 0 {
        let sent =
            stream.try_io(Interest::WRITABLE, || syscalls::sendfile(stream.as_fd(), file, position, length));
        match sent {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => {
                position += sent as u64;
                length -= sent;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serves one connection until the client closes it.
pub async fn run(stream: TcpStream, broker: &Broker) -> io::Result<()> {
    let mut outgoing = Outgoing::default();
    loop {
        // An idle connection holds no buffer: there may be ten thousand.
        stream.readable().await?;
        let mut buffer = broker.take_buffer();
        let open = serve(&stream, broker, &mut buffer, &mut outgoing).await;
        broker.give_buffer(buffer);
        if !open? {
            return Ok(());
        }
    }
}

/// Answers until every byte that came is used up; false when the client has closed.
async fn serve(
    stream: &TcpStream,
    broker: &Broker,
    buffer: &mut Vec<u8>,
    outgoing: &mut Outgoing,
) -> io::Result<bool> {
    let (mut start, mut end) = (0, 0);
    loop {
        match stream.try_read(&mut buffer[end..]) {
            Ok(0) => return Ok(false),
            Ok(read) => end += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if start == end {
                    return Ok(true);
                }
                stream.readable().await?;
                continue;
            }
            Err(error) => return Err(error),
        }
        while let Some(frame) = whole_frame(&mut buffer[start..end]) {
            start += 4 + frame.len();
            broker.answer(frame, outgoing).await?;
        }
        outgoing.write(stream).await?;
        if start == end {
            (start, end) = (0, 0);
        } else if let Some(needed) =
            frame_size(&buffer[start..end]).filter(|size| start + size > buffer.len())
        {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            buffer.resize(buffer.len().max(needed), 0);
        } else if end == buffer.len() {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
    }
}

fn frame_size(bytes: &[u8]) -> Option<usize> {
    bytes.get(..4).map(|size| 4 + u32::from_be_bytes(size.try_into().expect("4 bytes")) as usize)
}

fn whole_frame(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let size = frame_size(bytes)?;
    bytes.get_mut(4..size)
}

/// A fresh read buffer.
pub fn new_buffer() -> Vec<u8> {
    vec![0; BUFFER]
}
