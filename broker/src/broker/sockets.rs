//! The sockets of the process, bound before anything else is touched.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use milena_state::config::address::HostPort;
use milena_state::config::broker::Settings;
use milena_state::config::listener::Listener as Advertised;

use crate::admin;
use crate::error::StartError;
use crate::server::listener::{Listener, SocketOptions};

/// The sockets of this process.
pub struct Listeners {
    pub clients: Vec<Listener>,
    pub controllers: Vec<Listener>,
}

impl Listeners {
    /// Those of clients first.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let all = self.clients.iter().chain(&self.controllers);
        all.map(|bound| (Arc::clone(bound.name()), bound.address())).collect()
    }
}

/// Binds all listeners and writes the ports that the system chose into the advertised ones.
pub fn bind(settings: &mut Settings) -> Result<Listeners, StartError> {
    let options = SocketOptions {
        backlog: settings.socket_listen_backlog_size,
        receive_buffer_bytes: settings.socket_receive_buffer_bytes,
        send_buffer_bytes: settings.socket_send_buffer_bytes,
    };
    let clients = bind_all(&mut settings.listeners, &mut settings.advertised_listeners, options)?;
    let controllers =
        bind_all(&mut settings.controller_listeners, &mut settings.advertised_controllers, options)?;
    let controllers = controllers.into_iter().map(Listener::for_controllers).collect();
    Ok(Listeners { clients, controllers })
}

fn bind_all(
    listeners: &mut [Advertised],
    advertised: &mut [Advertised],
    options: SocketOptions,
) -> Result<Vec<Listener>, StartError> {
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let socket =
            Listener::bind(&listener.name, &listener.host, listener.port, options).map_err(|source| {
                StartError::Listen { property: "listeners", address: listener.to_string(), source }
            })?;
        listener.port = socket.address().port();
        for advertised in advertised.iter_mut() {
            if advertised.name == listener.name && advertised.port == 0 {
                advertised.port = listener.port;
            }
        }
        bound.push(socket);
    }
    name_hosts(advertised)?;
    Ok(bound)
}

/// Gives listeners on all interfaces the name of this machine, as Apache Kafka does: a client needs a host.
fn name_hosts(advertised: &mut [Advertised]) -> Result<(), StartError> {
    for listener in advertised.iter_mut().filter(|listener| listener.host.is_empty()) {
        let name = gethostname::gethostname().to_string_lossy().into_owned();
        // A name that nobody can resolve would fail at the clients, far from its cause.
        if let Err(source) = (name.as_str(), listener.port).to_socket_addrs() {
            return Err(StartError::NoHostName { listener: listener.to_string(), name, source });
        }
        listener.host = name;
    }
    Ok(())
}

pub fn bind_http(settings: &Settings) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(http) = &settings.http_listener else { return Ok(None) };
    let bound = admin::bind(&http.host, http.port).map_err(|source| StartError::Listen {
        property: "milena.http.listener",
        address: HostPort(&http.host, http.port).to_string(),
        source,
    })?;
    Ok(Some(bound))
}
