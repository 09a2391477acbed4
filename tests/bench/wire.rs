//! Requests built by hand, for what librdkafka can't do: ten thousand connections, and the first answer
//! of a broker that is just starting.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1);
const CLIENT_ID: &str = "bench";

pub fn request(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let size = 2 + 2 + 4 + 2 + CLIENT_ID.len() + body.len();
    let mut out = Vec::with_capacity(4 + size);
    out.extend_from_slice(&(size as i32).to_be_bytes());
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    string(&mut out, CLIENT_ID);
    out.extend_from_slice(body);
    out
}

pub fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Metadata (key 3) version 4 for no topic at all: brokers only.
fn metadata() -> Vec<u8> {
    request(3, 4, 1, &[0, 0, 0, 0, 0])
}

/// Produce (key 0) version 7 with acks=1: one batch of one record for partition 0.
pub fn produce(topic: &str, value: &[u8]) -> Vec<u8> {
    let batch = batch(value);
    let mut body = Vec::new();
    body.extend_from_slice(&(-1i16).to_be_bytes());
    body.extend_from_slice(&1i16.to_be_bytes());
    body.extend_from_slice(&30_000i32.to_be_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    string(&mut body, topic);
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&0i32.to_be_bytes());
    body.extend_from_slice(&(batch.len() as i32).to_be_bytes());
    body.extend_from_slice(&batch);
    request(0, 7, 1, &body)
}

/// Where the error code of partition 0 is in the answer to [`produce`], after the 4 bytes of its size.
pub fn produce_error(topic: &str, answer: &[u8]) -> Option<i16> {
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    answer.get(at..at + 2).map(|code| i16::from_be_bytes([code[0], code[1]]))
}

fn batch(value: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 1]; // attributes, time delta, offset delta, null key (varint -1)
    varint(&mut record, value.len());
    record.extend_from_slice(value);
    record.push(0);
    let mut size = Vec::new();
    varint(&mut size, record.len());

    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let mut sealed = Vec::new(); // what the CRC covers
    sealed.extend_from_slice(&0i16.to_be_bytes());
    sealed.extend_from_slice(&0i32.to_be_bytes());
    sealed.extend_from_slice(&(now_ms.as_millis() as i64).to_be_bytes());
    sealed.extend_from_slice(&(now_ms.as_millis() as i64).to_be_bytes());
    sealed.extend_from_slice(&(-1i64).to_be_bytes());
    sealed.extend_from_slice(&(-1i16).to_be_bytes());
    sealed.extend_from_slice(&(-1i32).to_be_bytes());
    sealed.extend_from_slice(&1i32.to_be_bytes());
    sealed.extend_from_slice(&size);
    sealed.extend_from_slice(&record);

    let mut out = Vec::new();
    out.extend_from_slice(&0i64.to_be_bytes());
    out.extend_from_slice(&((4 + 1 + 4 + sealed.len()) as i32).to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&crc32c(&sealed).to_be_bytes());
    out.extend_from_slice(&sealed);
    out
}

/// A number that is not negative, in zigzag encoding.
fn varint(out: &mut Vec<u8>, value: usize) {
    let mut left = value << 1;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// CRC32C bit by bit: made once per run, so no table is worth its lines.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

/// Asks a broker for Metadata on a new connection; an error while it is not serving yet.
pub fn ask_metadata(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&metadata())?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer)?;
    // Correlation id, throttle time, then the count of brokers.
    match answer.get(8..12) {
        Some(&[0, 0, 0, count]) if count > 0 => Ok(()),
        _ => Err(io::Error::other("Metadata names no broker")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn varint_is_zigzag() {
        let mut out = Vec::new();
        varint(&mut out, 64);
        assert_eq!(out, [0x80, 0x01]);
    }
}
