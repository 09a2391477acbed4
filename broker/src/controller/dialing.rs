//! One attempt to connect, which everybody joins who wants the connection meanwhile.
//!
//! It is a task of its own: whoever began it may give up, or live on a runtime that ends before the others do.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use milena_client::connection::{Connection, Options};
use milena_client::error::Error;
use milena_client::net::Dialer;
use milena_protocol::messages::describe_controller_request::DescribeControllerRequest;
use tokio::runtime::Handle;

/// What the attempt comes to.
pub type Dialed = Result<Arc<Connection>, Error>;

/// The attempt; each of its copies may be waited for.
pub type Dialing = Shared<BoxFuture<'static, Dialed>>;

/// Connects to `address` on the runtime `background`, where the tasks of the connection stay. `dialed` is told what
/// came of it, also when nobody waits any more. Where a `cluster_id` is given, whoever is there has to be a controller of
/// that cluster: another may have been founded at the same address, and would do what it is asked.
pub fn dial(
    background: &Handle,
    dialer: &Dialer,
    address: String,
    options: Options,
    cluster_id: Option<Arc<str>>,
    dialed: impl FnOnce(&Dialed) + Send + 'static,
) -> Dialing {
    let (dialer, to) = (Arc::clone(dialer), address.clone());
    let attempt = background.spawn(async move {
        let opened = open(&dialer, &to, options, cluster_id).await.map(Arc::new);
        dialed(&opened);
        opened
    });
    let lost = move |error: tokio::task::JoinError| Error::Connect { address, message: error.to_string() };
    attempt.map(|joined| joined.unwrap_or_else(|error| Err(lost(error)))).boxed().shared()
}

async fn open(
    dialer: &Dialer,
    address: &str,
    options: Options,
    cluster_id: Option<Arc<str>>,
) -> Result<Connection, Error> {
    let connection = Connection::open(dialer, address, options).await?;
    let Some(ours) = cluster_id else { return Ok(connection) };
    let response = connection.call(&DescribeControllerRequest::default()).await?;
    let theirs = response.decode::<DescribeControllerRequest<'_>>()?.cluster_id;
    if theirs.as_deref() == Some(&*ours) {
        return Ok(connection);
    }
    let theirs = theirs.as_deref().unwrap_or("none");
    let message = format!("it belongs to another cluster: {theirs}, not {ours}");
    Err(Error::Connect { address: address.to_owned(), message })
}
