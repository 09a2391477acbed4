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
use crate::health::Health;
use crate::metrics;
use crate::server::admission::Connections;

/// What the pages are made from.
#[derive(Clone)]
pub struct Admin {
    pub node: Arc<Node>,
    pub connections: Arc<Connections>,
    pub health: Health,
}

/// Serves `listener` until `stop` is sent or dropped.
pub async fn serve(listener: std::net::TcpListener, admin: Admin, stop: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "HTTP port cannot be registered"),
    };
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .merge(console::routes(&admin))
        .with_state(admin.clone());
    let listener = Bounded::new(listener, Arc::clone(&admin.node.metrics));
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

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.health.signs().problem() {
        None => "ready\n".into_response(),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response(),
    }
}
