//! What must hold between broker properties, and the values that several of them make together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::broker::{HttpListener, OWN_DEFAULTS, Values};
use super::connections;
use super::definition::ConfigError;
use super::listener::{self, Listener, SecurityProtocol};
use super::quorum::{self, Roles};

/// All listeners, sorted by who uses them.
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listener>,
    pub(super) controller_listeners: Vec<Listener>,
    pub(super) advertised_listeners: Vec<Listener>,
    pub(super) advertised_controllers: Vec<Listener>,
    pub(super) inter_broker_listener_name: String,
}

/// Adds what a user need not write: our own defaults, and `broker.id` as the older name of
/// `node.id`, whichever is given.
pub(super) fn complete(
    properties: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut complete = properties.clone();
    if let (Some(node), Some(broker)) = (properties.get("node.id"), properties.get("broker.id"))
        && node.trim() != broker.trim()
    {
        return Err(conflict("node.id", "broker.id", format!("{node} and {broker} name the same thing")));
    }
    if let Some(broker_id) = properties.get("broker.id").cloned() {
        complete.entry("node.id".to_owned()).or_insert(broker_id);
    }
    for (name, value) in OWN_DEFAULTS {
        // The one directory and the list of directories are two spellings of one setting.
        let given_otherwise = *name == "log.dirs" && properties.contains_key("log.dir");
        if !given_otherwise {
            complete.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
    }
    if let Some(node_id) = complete.get("node.id").cloned() {
        complete.insert("broker.id".to_owned(), node_id);
    }
    Ok(complete)
}

/// Bound on reactors: more threads than any machine has cores only take its descriptors and stacks.
const NETWORK_THREADS_MAX: i64 = 1024;

fn network_threads(values: &Values<'_>) -> Result<(), ConfigError> {
    let threads: i64 = values.number("num.network.threads")?;
    if threads <= NETWORK_THREADS_MAX {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        name: "num.network.threads".to_owned(),
        value: threads.to_string(),
        reason: format!("at most {NETWORK_THREADS_MAX}"),
    })
}

/// Refuses combinations that cannot work.
pub(super) fn combinations(values: &Values<'_>) -> Result<(), ConfigError> {
    network_threads(values)?;
    let request_max: i64 = values.number("socket.request.max.bytes")?;
    let queued_max: i64 = values.number("queued.max.request.bytes")?;
    if queued_max != -1 && queued_max < request_max {
        return Err(conflict(
            "queued.max.request.bytes",
            "socket.request.max.bytes",
            format!("a queue of {queued_max} bytes could never take a request of {request_max}"),
        ));
    }
    let heartbeat: i64 = values.number("broker.heartbeat.interval.ms")?;
    let session: i64 = values.number("broker.session.timeout.ms")?;
    if heartbeat < 1 || heartbeat > session / 2 {
        return Err(conflict(
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            format!("the interval {heartbeat} must be from 1 to half of the timeout {session}"),
        ));
    }
    if values.number::<i64>("max.connections.per.ip")? == 0
        && values.get(connections::OVERRIDES).is_none_or(str::is_empty)
    {
        let reason = "an address without connections needs others that have some".to_owned();
        return Err(conflict("max.connections.per.ip", "max.connections.per.ip.overrides", reason));
    }
    retention(values)
}

fn retention(values: &Values<'_>) -> Result<(), ConfigError> {
    for name in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        if values.get(name) == Some("0") {
            return Err(ConfigError::Invalid {
                name: name.to_owned(),
                value: "0".to_owned(),
                reason: "it must be -1 (keep for ever) or at least 1".to_owned(),
            });
        }
    }
    Ok(())
}

/// Resolves listeners, what is advertised for them and which one brokers use.
pub(super) fn sockets(values: &Values<'_>) -> Result<Sockets, ConfigError> {
    let roles = quorum::roles(values)?;
    let protocols = protocol_map(values)?;
    let all = parse_listeners(values, "listeners", &protocols)?;
    check_ports(&all)?;
    for listener in &all {
        if listener.security_protocol != SecurityProtocol::Plaintext {
            return Err(not_yet(values, "listeners", "PLAINTEXT listeners"));
        }
    }
    let controller_names: Vec<String> =
        values.list("controller.listener.names").iter().map(|name| name.to_ascii_uppercase()).collect();
    let (controller_listeners, listeners): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|listener| controller_names.contains(&listener.name));
    check_roles(roles, &listeners, &controller_listeners)?;
    let inter_broker_listener_name = match roles.broker {
        true => inter_broker_listener(values, &listeners)?,
        false => String::new(),
    };
    let given = parse_listeners(values, "advertised.listeners", &protocols)?;
    check_advertised(&given, roles, &listeners, &controller_names)?;
    let advertised_listeners = advertised(&given, &listeners)?;
    let advertised_controllers = advertised_or_own(&given, &controller_listeners);
    Ok(Sockets {
        listeners,
        controller_listeners,
        advertised_listeners,
        advertised_controllers,
        inter_broker_listener_name,
    })
}

/// Whoever is a broker has listeners for clients, and who is not has none; the same of controllers, where a process
/// with both roles may be alone.
fn check_roles(roles: Roles, clients: &[Listener], controllers: &[Listener]) -> Result<(), ConfigError> {
    let (first, second) = (
        "listeners",
        if roles.broker && roles.controller { "controller.listener.names" } else { "process.roles" },
    );
    let refuse = |reason: String| Err(conflict(first, second, reason));
    match (roles.broker, clients.first(), roles.controller, controllers.first()) {
        (true, None, ..) => refuse("no listener is left for clients".to_owned()),
        (false, Some(client), ..) => refuse(format!(
            "{client} is not in controller.listener.names, and a controller alone has no clients"
        )),
        (.., false, Some(controller)) => {
            refuse(format!("{controller} is for controllers, which this process is not"))
        }
        (false, _, true, None) => refuse("no listener is in controller.listener.names".to_owned()),
        _ => Ok(()),
    }
}

type Protocols = BTreeMap<String, SecurityProtocol>;

fn protocol_map(values: &Values<'_>) -> Result<Protocols, ConfigError> {
    let name = "listener.security.protocol.map";
    let mut map = Protocols::new();
    for pair in values.list(name) {
        let parsed = pair.split_once(':').and_then(|(listener, protocol)| {
            Some((listener.trim(), SecurityProtocol::parse(protocol.trim())?))
        });
        let Some((listener, protocol)) = parsed else {
            return Err(ConfigError::Invalid {
                name: name.to_owned(),
                value: pair.to_owned(),
                reason: "each element must be LISTENER:PROTOCOL with a protocol that Kafka knows".to_owned(),
            });
        };
        map.insert(listener.to_ascii_uppercase(), protocol);
    }
    if !values.is_set(name) {
        // As Kafka does: with the default map, controller listeners are plaintext.
        for controller in values.list("controller.listener.names") {
            map.entry(controller.to_ascii_uppercase()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn parse_listeners(
    values: &Values<'_>,
    property: &str,
    protocols: &Protocols,
) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    let invalid = |text: &str, reason: String| ConfigError::Invalid {
        name: property.to_owned(),
        value: text.to_owned(),
        reason,
    };
    for text in values.list(property) {
        let listener = listener::parse(text, |name| protocols.get(name).copied())
            .map_err(|reason| invalid(text, reason))?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(invalid(text, format!("listener name {} is used twice", listener.name)));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn check_ports(listeners: &[Listener]) -> Result<(), ConfigError> {
    for (index, listener) in listeners.iter().enumerate() {
        let same =
            |other: &&Listener| other.port != 0 && other.port == listener.port && other.host == listener.host;
        if let Some(other) = listeners[..index].iter().find(same) {
            return Err(ConfigError::Invalid {
                name: "listeners".to_owned(),
                value: listener.to_string(),
                reason: format!("{other} has the same address"),
            });
        }
    }
    Ok(())
}

fn inter_broker_listener(values: &Values<'_>, listeners: &[Listener]) -> Result<String, ConfigError> {
    let protocol = "security.inter.broker.protocol";
    let Some(name) = values.get("inter.broker.listener.name").filter(|name| !name.is_empty()) else {
        let wanted = values.get(protocol).and_then(SecurityProtocol::parse);
        let found = listeners.iter().find(|listener| Some(listener.security_protocol) == wanted);
        return match found {
            Some(listener) => Ok(listener.name.clone()),
            None => Err(conflict(protocol, "listeners", "no listener speaks that protocol".to_owned())),
        };
    };
    if values.is_set(protocol) {
        return Err(conflict(
            "inter.broker.listener.name",
            protocol,
            "both choose the listener between brokers; set one of them".to_owned(),
        ));
    }
    let name = name.to_ascii_uppercase();
    if listeners.iter().any(|listener| listener.name == name) {
        return Ok(name);
    }
    Err(conflict("inter.broker.listener.name", "listeners", format!("no listener is named {name}")))
}

fn check_advertised(
    given: &[Listener],
    roles: Roles,
    listeners: &[Listener],
    controller_names: &[String],
) -> Result<(), ConfigError> {
    let property = "advertised.listeners";
    for listener in given {
        let invalid = |reason: &str| ConfigError::Invalid {
            name: property.to_owned(),
            value: listener.to_string(),
            reason: reason.to_owned(),
        };
        if is_wildcard(listener) || listener.host.is_empty() {
            return Err(invalid("clients cannot connect to a wildcard address; name a host"));
        }
        let is_controllers = controller_names.contains(&listener.name);
        if is_controllers && !roles.controller {
            return Err(conflict(
                property,
                "process.roles",
                format!("{listener} is for controllers, which this process is not"),
            ));
        }
        if !is_controllers && !listeners.iter().any(|l| l.name == listener.name) {
            let reason = format!("no listener is named {}", listener.name);
            return Err(conflict(property, "listeners", reason));
        }
    }
    Ok(())
}

fn advertised(given: &[Listener], listeners: &[Listener]) -> Result<Vec<Listener>, ConfigError> {
    let is_given = |listener: &Listener| given.iter().any(|other| other.name == listener.name);
    if let Some(wildcard) = listeners.iter().find(|l| !is_given(l) && is_wildcard(l)) {
        let reason =
            format!("clients cannot connect to the wildcard address of {wildcard}; name a host for it");
        return Err(conflict("advertised.listeners", "listeners", reason));
    }
    Ok(advertised_or_own(given, listeners))
}

fn is_wildcard(listener: &Listener) -> bool {
    matches!(listener.host.as_str(), "0.0.0.0" | "::")
}

/// A listener that is not mentioned advertises itself; the shell puts in this machine's name where no host
/// is given, and the port where it was left to the system.
fn advertised_or_own(given: &[Listener], listeners: &[Listener]) -> Vec<Listener> {
    let of = |listener: &Listener| given.iter().find(|g| g.name == listener.name).unwrap_or(listener).clone();
    listeners.iter().map(of).collect()
}

pub(super) fn log_dirs(values: &Values<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let property = if values.is_set("log.dirs") { "log.dirs" } else { "log.dir" };
    let names = values.list(property);
    let invalid = |value: &str, reason: &str| ConfigError::Invalid {
        name: property.to_owned(),
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    if names.is_empty() {
        return Err(invalid("", "at least one directory is needed"));
    }
    let mut dirs: Vec<PathBuf> = Vec::new();
    for name in names {
        let dir = PathBuf::from(name);
        if dirs.contains(&dir) {
            return Err(invalid(name, "the directory is named twice"));
        }
        dirs.push(dir);
    }
    Ok(dirs)
}

pub(super) fn http_listener(values: &Values<'_>) -> Result<Option<HttpListener>, ConfigError> {
    let property = "milena.http.listener";
    let Some(text) = values.get(property).filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = parsed else {
        return Err(ConfigError::Invalid {
            name: property.to_owned(),
            value: text.to_owned(),
            reason: "it must be host:port, or empty to switch HTTP off".to_owned(),
        });
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Some(HttpListener { host: host.to_owned(), port }))
}

fn not_yet(values: &Values<'_>, name: &str, accepted: &str) -> ConfigError {
    ConfigError::NotYet {
        name: name.to_owned(),
        value: values.get(name).unwrap_or_default().to_owned(),
        default: accepted.to_owned(),
    }
}

pub(super) fn conflict(first: &str, second: &str, reason: String) -> ConfigError {
    ConfigError::Conflict { first: first.to_owned(), second: second.to_owned(), reason }
}
