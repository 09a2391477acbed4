//! Requests that only the active controller decides: answered here when that is this node, passed on otherwise.
//!
//! A client may ask any broker (KIP-590). The broker sends the client's frame as it is in an Envelope and gives back
//! what comes out of it, once it serves the outcome itself. While nobody leads it waits; after [`PASS_ON_TIME_MAX`] the
//! request is answered here, with NOT_CONTROLLER.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use milena_protocol::{DecodeError, Request};
use tokio::time::Instant;

use super::reply::Reply;
use super::request::RequestContext;
use crate::api::{self, Running};
use crate::controller::remote;

/// How long a request waits for a controller. Longer than an election takes, shorter than clients wait.
const PASS_ON_TIME_MAX: Duration = Duration::from_secs(15);

/// Pause before a leader is asked again that has only just begun or ceased to be one.
const TURNOVER_PAUSE: Duration = Duration::from_millis(20);

/// Runs a request of a client wherever it is decided.
pub fn run(cx: RequestContext) -> Running {
    Box::pin(decided(cx))
}

async fn decided(cx: RequestContext) -> Result<Reply, DecodeError> {
    let Some(route) = api::find(cx.api.as_i16()) else { return Ok(Reply::Close) };
    let deadline = Instant::now() + PASS_ON_TIME_MAX;
    let controller = &cx.node.controller;
    loop {
        if let Some(reply) = pass_on_until(&cx, deadline).await {
            return Ok(reply);
        }
        let undecided = Rc::new(Cell::new(false));
        let reply = (route.run)(cx.again(Rc::clone(&undecided))).await?;
        let may_be_decided = !controller.is_alone() && Instant::now() < deadline;
        if !(undecided.get() && may_be_decided) {
            return Ok(reply);
        }
        tokio::time::sleep(TURNOVER_PAUSE).await;
    }
}

/// The answer of the active controller to the whole request, when that is another node and answers in time.
pub async fn pass_on(cx: &RequestContext) -> Option<Reply> {
    pass_on_until(cx, Instant::now() + PASS_ON_TIME_MAX).await
}

async fn pass_on_until(cx: &RequestContext, deadline: Instant) -> Option<Reply> {
    let client = cx.peer.address.ip();
    let passed_on = cx.node.controller.pass_on(cx.frame(), client, deadline).await?;
    // Late to follow is no reason to say that nothing was done.
    let _ = tokio::time::timeout_at(deadline, cx.node.metadata.reached(passed_on.index)).await;
    Some(framed(&passed_on.response))
}

/// The answer, header and body, to a request that this node makes of what a client asked for, in the client's version.
pub async fn pass_on_own<R: Request>(cx: &RequestContext, request: &R) -> Option<Bytes> {
    let deadline = Instant::now() + PASS_ON_TIME_MAX;
    let frame = remote::frame(request, cx.version).ok()?;
    let passed_on = cx.node.controller.pass_on(&frame, cx.peer.address.ip(), deadline).await?;
    let _ = tokio::time::timeout_at(deadline, cx.node.metadata.reached(passed_on.index)).await;
    Some(passed_on.response)
}

/// Whether another node decides what clients ask for.
pub fn is_elsewhere(cx: &RequestContext) -> bool {
    !cx.node.controller.is_alone() && !cx.node.controller.leads_here()
}

/// A response as the connection sends it, with its length in front.
fn framed(response: &Bytes) -> Reply {
    let mut bytes = Vec::with_capacity(4 + response.len());
    bytes.extend_from_slice(&(response.len() as u32).to_be_bytes());
    bytes.extend_from_slice(response);
    Reply::Frame { bytes, files: Vec::new() }
}

/// The answer to a request that another broker passed on: the response without its length, none when this node is not
/// the one to decide.
pub async fn answer_for(cx: RequestContext) -> Result<Option<Bytes>, DecodeError> {
    let Some(route) = api::find(cx.api.as_i16()) else { return Ok(None) };
    let undecided = Rc::new(Cell::new(false));
    let reply = (route.run)(cx.again(Rc::clone(&undecided))).await?;
    match reply {
        Reply::Frame { bytes, files } if files.is_empty() && !undecided.get() => {
            Ok(Some(Bytes::from(bytes).slice(4..)))
        }
        _ => Ok(None),
    }
}
