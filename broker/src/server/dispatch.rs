//! From a frame to a running handler.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::frame::FrameError;
use milena_protocol::header::Incoming;
use milena_protocol::{ApiKey, DecodeError, ErrorCode, Reader, header};
use milena_state::quota::Key;
use tracing::Instrument as _;

use super::forward;
use super::request::{Peer, RequestContext};
use super::stopwatch::Stopwatch;
use crate::api::{self, Audience, Route, Running, api_versions};
use crate::broker::Node;

/// A request whose handler may run.
pub struct Started {
    pub route: &'static Route,
    pub version: i16,
    pub running: Running,
    pub stopwatch: Option<Rc<Stopwatch>>,
}

/// Why a frame closes its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("request header: {0}")]
    Header(DecodeError),
    #[error("request body: {0}")]
    Body(#[from] DecodeError),
    #[error("{0} is not served here")]
    NotServed(ApiKey),
    #[error("{api} has no version {version} here")]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Malformed {
    /// What another node hears that passed the request on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnsupportedVersion { .. } => ErrorCode::UnsupportedVersion,
            _ => ErrorCode::InvalidRequest,
        }
    }
}

/// Where the client id begins: after key, version, correlation id and its own length, in every version.
const CLIENT_ID_BEGINS: u32 = 10;

/// Reads the header and makes the future that answers the request. Nothing runs before it is polled.
pub fn start(node: &Arc<Node>, peer: &Rc<Peer>, frame: Bytes) -> Result<Started, Malformed> {
    let mut r = Reader::new(&frame);
    let incoming = header::decode_request(&mut r).map_err(Malformed::Header)?;
    let route = api::find(incoming.api.as_i16()).filter(|route| route.scope.includes(peer.audience));
    let route = route.ok_or(Malformed::NotServed(incoming.api))?;
    // Quotas are for clients: a heartbeat that they held up would cost a broker its leaderships.
    let quota = match peer.audience {
        Audience::Clients => node.quotas.find(Key::RequestPercentage, &incoming.client_id),
        Audience::Controllers => None,
    };
    let stopwatch = quota.map(|quota| Rc::new(Stopwatch::new(quota)));
    let mut cx = context(node, Rc::clone(peer), &incoming, r.position(), &frame);
    cx.stopwatch.clone_from(&stopwatch);
    if route.serves(cx.version) {
        return Ok(Started { route, version: cx.version, running: run(route, cx), stopwatch });
    }
    // A client newer than we are must learn what we speak: the oldest answer with error 35. The rest of its
    // request may look like nothing that we know, so it is not read.
    if route.key == ApiKey::ApiVersions {
        cx.version = 0;
        return Ok(Started {
            route,
            version: 0,
            running: Box::pin(async move { Ok(api_versions::unsupported(&cx)) }),
            stopwatch,
        });
    }
    Err(Malformed::UnsupportedVersion { api: cx.api, version: cx.version })
}

/// A request of a client that a broker passed on: the client's frame, and where the client is.
///
/// Errors: it cannot be read, or it is none that is passed on.
pub fn passed_on(cx: &RequestContext, frame: Bytes, client: IpAddr) -> Result<RequestContext, Malformed> {
    let mut r = Reader::new(&frame);
    let incoming = header::decode_request(&mut r).map_err(Malformed::Header)?;
    let route = api::find(incoming.api.as_i16()).filter(|route| route.forwards);
    let route = route.ok_or(Malformed::NotServed(incoming.api))?;
    if !route.serves(incoming.version) {
        return Err(Malformed::UnsupportedVersion { api: incoming.api, version: incoming.version });
    }
    Ok(context(&cx.node, Rc::new(cx.peer.behind(client)), &incoming, r.position(), &frame))
}

/// A request that this node makes of a part of what a client asked for, the whole frame of it.
///
/// Errors: it cannot be read.
pub(super) fn part(cx: &RequestContext, frame: Bytes) -> Result<RequestContext, Malformed> {
    let mut r = Reader::new(&frame);
    let incoming = header::decode_request(&mut r).map_err(Malformed::Header)?;
    let part = context(&cx.node, Rc::clone(&cx.peer), &incoming, r.position(), &frame);
    Ok(RequestContext { stopwatch: cx.stopwatch.clone(), ..part })
}

/// `body` is where the body begins in `frame`.
fn context(
    node: &Arc<Node>,
    peer: Rc<Peer>,
    incoming: &Incoming<'_>,
    body: usize,
    frame: &Bytes,
) -> RequestContext {
    RequestContext {
        stopwatch: None,
        undecided: None,
        node: Arc::clone(node),
        peer,
        api: incoming.api,
        version: incoming.version,
        correlation_id: incoming.correlation_id,
        client_id: CLIENT_ID_BEGINS..CLIENT_ID_BEGINS + incoming.client_id.len() as u32,
        body: body as u32,
        frame: frame.clone(),
    }
}

/// One span per request, which costs nothing unless somebody looks at debug level.
fn run(route: &'static Route, cx: RequestContext) -> Running {
    // Who asks a controller for what another decides is told so; clients never meet the difference.
    let is_passed_on = route.forwards && cx.peer.audience == Audience::Clients;
    let run = match is_passed_on && !(route.has_own_part)(&cx) {
        true => forward::run,
        false => route.run,
    };
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return run(cx);
    }
    let span = tracing::debug_span!(
        "request",
        api = route.key.name(),
        version = cx.version,
        client_id = super::quiet::printable(cx.client_id()),
        correlation_id = cx.correlation_id,
        peer = %cx.peer.address,
    );
    Box::pin(run(cx).instrument(span))
}
