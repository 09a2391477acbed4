//! The way to brokers in memory: dialling one of two, and frames to it and back.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use milena_client::admin::Admin;
use milena_client::net::{Dial, Dialing, Stream};
use milena_client::{ClientConfig, Cluster};
use milena_protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const FRAME_SIZE_MAX: usize = 16 << 20;

pub enum Answer {
    Frame(Vec<u8>),
    /// A fetch that waits for records.
    Later(Duration, Vec<u8>),
    None,
    HangUp,
}

/// Two brokers, numbered from 1 on, behind `broker-1:9092` and `broker-2:9092`.
pub trait Brokers: Clone + Debug + Send + Sync + 'static {
    fn answer(&self, broker: i32, request: &[u8]) -> Answer;
}

/// What a client of such brokers is told that does not wait long.
pub fn impatient() -> ClientConfig {
    ClientConfig {
        bootstrap_servers: vec!["broker-1:9092".to_owned()],
        retry_backoff: Duration::from_millis(1),
        retry_backoff_max: Duration::from_millis(5),
        ..ClientConfig::default()
    }
}

pub fn cluster(brokers: &impl Brokers, config: ClientConfig) -> Cluster {
    Cluster::with_dialer(config, Arc::new(Network(brokers.clone())))
}

/// Brokers that answer from a state into which the test looks.
#[derive(Debug, Default)]
pub struct Stateful<S>(Arc<Mutex<S>>);

impl<S> Clone for Stateful<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Stateful<S> {
    pub fn state(&self) -> MutexGuard<'_, S> {
        self.0.lock().expect("no test panics with it")
    }
}

impl<S> Stateful<S>
where
    Self: Brokers,
{
    pub fn admin(&self) -> Admin {
        Admin::new(cluster(self, impatient()))
    }
}

#[derive(Debug)]
struct Network<B>(B);

impl<B: Brokers> Dial for Network<B> {
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a> {
        let broker = match address {
            "broker-1:9092" => 1,
            "broker-2:9092" => 2,
            _ => return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
        };
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(serve(self.0.clone(), broker, theirs));
        Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

async fn serve(brokers: impl Brokers, broker: i32, mut stream: DuplexStream) {
    let mut buffer = BytesMut::new();
    loop {
        let request = loop {
            match frame::split(&mut buffer, FRAME_SIZE_MAX).expect("the client sends frames") {
                Some(request) => break request,
                None if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 => return,
                None => {}
            }
        };
        let bytes = match brokers.answer(broker, &request) {
            Answer::Frame(bytes) => bytes,
            Answer::Later(wait, bytes) => {
                tokio::time::sleep(wait).await;
                bytes
            }
            Answer::None => continue,
            Answer::HangUp => return,
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
