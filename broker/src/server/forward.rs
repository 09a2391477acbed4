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

use super::dispatch;
use super::reply::Reply;
use super::request::RequestContext;
use crate::api::{self, Audience, Running};
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

/// The answer, header and body, to a request that this node makes of a part of what a client asked for, in the client's
/// version: decided wherever the whole would be.
pub async fn run_part<R: Request>(cx: &RequestContext, part: &R) -> Option<Bytes> {
    let part = dispatch::part(cx, remote::frame(part, cx.version).ok()?).ok()?;
    let reply = match cx.peer.audience {
        Audience::Clients => decided(part).await,
        Audience::Controllers => (api::find(part.api.as_i16())?.run)(part).await,
    };
    unframed(reply.ok()?)
}

/// The answer of the active controller to the whole request, when that is another node and answers in time.
async fn pass_on_until(cx: &RequestContext, deadline: Instant) -> Option<Reply> {
    let client = cx.peer.address.ip();
    let passed_on = cx.node.controller.pass_on(cx.frame(), client, deadline).await?;
    // Late to follow is no reason to say that nothing was done.
    let _ = tokio::time::timeout_at(deadline, cx.node.metadata.reached(passed_on.index)).await;
    Some(framed(&passed_on.response))
}

/// A response as the connection sends it, with its length in front.
fn framed(response: &Bytes) -> Reply {
    let mut bytes = Vec::with_capacity(4 + response.len());
    bytes.extend_from_slice(&(response.len() as u32).to_be_bytes());
    bytes.extend_from_slice(response);
    Reply::Frame { bytes, files: Vec::new() }
}

/// A response without its length; none where no whole one is sent.
fn unframed(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Frame { bytes, files } if files.is_empty() => Some(Bytes::from(bytes).slice(4..)),
        _ => None,
    }
}

/// The answer to a request that another broker passed on: the response without its length, none when this node is not
/// the one to decide.
pub async fn answer_for(cx: RequestContext) -> Result<Option<Bytes>, DecodeError> {
    let Some(route) = api::find(cx.api.as_i16()) else { return Ok(None) };
    let undecided = Rc::new(Cell::new(false));
    let reply = (route.run)(cx.again(Rc::clone(&undecided))).await?;
    Ok(unframed(reply).filter(|_| !undecided.get()))
}
