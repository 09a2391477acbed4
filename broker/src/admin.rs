//! The HTTP port for operators: `/metrics`, `/healthz`, `/readyz`, and the console.
//!
//! Health is "the process answers" and never depends on others; readiness is "clients may be sent here", see
//! [`crate::health`].

mod listener;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::listener::Bounded;
use crate::broker::Node;
use crate::console;
use crate::health::{Health, STARTING};
use crate::metrics::{self, Metrics};
use crate::server::admission::Connections;
use crate::starting::Starting;

/// What the pages are made from.
#[derive(Clone)]
pub struct Admin {
    pub node: Arc<Node>,
    pub connections: Arc<Connections>,
    pub health: Health,
}

/// Serves `listener` until `stop` is sent or dropped.
pub async fn serve(listener: std::net::TcpListener, admin: Admin, stop: oneshot::Receiver<()>) {
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .merge(console::routes(&admin))
        .with_state(admin.clone());
    answer(listener, routes, Arc::clone(&admin.node.metrics), stop).await;
}

/// Serves `listener` while there is nothing yet that could be shown, until `opened` is sent or dropped: the process lives,
/// and clients may not be sent here. [`serve`] goes on with a copy of the listener.
pub async fn serve_start(
    listener: std::net::TcpListener,
    starting: Starting,
    metrics: Arc<Metrics>,
    opened: oneshot::Receiver<()>,
) {
    let not_ready = async move || {
        let what = starting.now().unwrap_or_default();
        (StatusCode::SERVICE_UNAVAILABLE, format!("{STARTING}: {what}\n"))
    };
    let routes = Router::new().route("/healthz", get(alive)).fallback(not_ready);
    answer(listener, routes, metrics, opened).await;
}

async fn answer(
    listener: std::net::TcpListener,
    routes: Router,
    metrics: Arc<Metrics>,
    stop: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "HTTP port cannot be registered"),
    };
    let listener = Bounded::new(listener, metrics);
    let stopped = async {
        let _ = stop.await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "HTTP port ended");
    }
}

/// Binds the HTTP port.
pub fn bind(host: &str, port: u16) -> std::io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((host, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn scrape(State(admin): State<Admin>) -> Response {
    match metrics::render(&admin.node, admin.connections.total(), admin.health.signs()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.health.problem() {
        None => "ready\n".into_response(),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response(),
    }
}
