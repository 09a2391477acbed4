//! Sending what an input holds, and judging what comes back.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use milena_broker::api;
use milena_fuzz::messages;
use milena_protocol::messages::ApiVersionsRequest;
use milena_protocol::{ApiKey, Reader, Request, decode_exact, frame, header};

use crate::requests;

/// How long an answer may take before its connection is dropped: requests may ask to wait for hours.
const WAIT: Duration = Duration::from_millis(40);

/// Behind all others: when this is answered, everything is.
const LAST: i32 = i32::MAX;

/// Sends all frames at once and reads the answers until the broker closes, the last one is there, or none comes.
pub fn exchange(address: SocketAddr, sent: &[Vec<u8>]) {
    let mut stream = connect(address, WAIT).expect("it listens");
    let last = requests::frame(&ApiVersionsRequest::default(), 0, LAST).expect("it can be encoded");
    let bytes = [&sent.concat(), &last[..]].concat();
    if stream.write_all(&bytes).is_err() {
        return;
    }
    let mut expected = expected(&bytes);
    while let Ok(answer) = read_frame(&mut stream) {
        let correlation_id = Reader::new(&answer).i32().expect("an answer begins with its id");
        // Requests without an answer are passed over: acks=0.
        let asked = loop {
            let asked = expected.pop_front().expect("nothing is answered that was not asked");
            if asked.correlation_id == correlation_id {
                break asked;
            }
        };
        asked.check(&answer);
        if correlation_id == LAST {
            return;
        }
    }
}

struct Asked {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Asked {
    fn check(&self, answer: &[u8]) {
        let (api, version) = (self.api, self.version);
        let served = api::find(api.as_i16()).is_some_and(|route| route.serves(version));
        // The one answer to a version that is not served says which are, in the oldest version. Produce 0 to 2 are
        // advertised and refused.
        let version = if !served && api == ApiKey::ApiVersions { 0 } else { version };
        let mut r = Reader::new(answer);
        let header = header::decode_response(&mut r, api, version);
        assert_eq!(header, Ok(self.correlation_id), "header of the answer to {api} {version}");
        let (_, response) = messages::of_api(api).expect("it was answered");
        if let Err(error) = response.decode(r.rest(), version) {
            panic!("answer to {api} {version}: {error}, in {answer:02x?}");
        }
    }
}

/// The requests in the bytes as the broker will find them, up to the first that ends the connection.
fn expected(bytes: &[u8]) -> VecDeque<Asked> {
    let mut found = VecDeque::new();
    let mut rest = bytes;
    while let Ok(Some(size)) = frame::size(rest, i32::MAX as usize) {
        let Some(frame) = rest.get(frame::PREFIX_SIZE..frame::PREFIX_SIZE + size) else { break };
        rest = &rest[frame::PREFIX_SIZE + size..];
        let Ok(incoming) = header::decode_request(&mut Reader::new(frame)) else { break };
        let (api, version, correlation_id) = (incoming.api, incoming.version, incoming.correlation_id);
        found.push_back(Asked { api, version, correlation_id });
    }
    found
}

/// Connections end with a reset, so that thousands of them leave nothing behind in the kernel.
pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; frame::PREFIX_SIZE];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(i32::from_be_bytes(size)).expect("a size is not negative");
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Asks for something that must be answered.
pub fn ask<R: Request>(
    stream: &mut TcpStream,
    request: &R,
    version: i16,
    check: impl FnOnce(R::Response<'_>),
) {
    let bytes = requests::frame(request, version, 1).expect("it can be encoded");
    stream.write_all(&bytes).expect("it reads");
    let answer = read_frame(stream).expect("it answers");
    let mut r = Reader::new(&answer);
    assert_eq!(header::decode_response(&mut r, R::API, version), Ok(1));
    check(decode_exact(r.rest(), version).expect("the answer decodes"));
}
