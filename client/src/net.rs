//! The dial seam: how a connection to a broker comes about. Simulations dial through something else.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection as far as the protocol cares.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An attempt to connect.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Opens connections to brokers.
pub trait Dial: Send + Sync + Debug {
    /// Connects to `address`, a host name or IP address and a port as in `bootstrap.servers`.
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a>;
}

/// Plain TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // Requests are written whole: waiting for more only adds latency.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// A dialer that many connections share.
pub type Dialer = Arc<dyn Dial>;
