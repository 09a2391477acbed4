//! How many connections there may be and how fast they may come: of the broker, of a listener, of an address.
//!
//! A listener has bounds of its own as `listener.name.NAME.max.connections` and
//! `listener.name.NAME.max.connection.creation.rate`, with its name in lower case; without them it has those of the
//! broker, as in Kafka.

use std::collections::BTreeMap;

use super::broker::Values;
use super::broker_check::Sockets;
use super::definition::{ConfigError, list};
use super::listener::Listener;
use crate::quota::connections::{Bound, Bounds};

pub(super) const MAX: &str = "max.connections";
pub(super) const RATE: &str = "max.connection.creation.rate";
pub(super) const OVERRIDES: &str = "max.connections.per.ip.overrides";

const PREFIX: &str = "listener.name.";

/// The property of all listeners that this one of a single listener stands for.
pub(super) fn base(name: &str) -> Option<&'static str> {
    let (listener, base) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let base = [MAX, RATE].into_iter().find(|known| *known == base)?;
    (!listener.is_empty()).then_some(base)
}

/// Refuses bounds of listeners that this broker does not have: nobody would notice that they bound nothing.
pub(super) fn check_listeners(
    properties: &BTreeMap<String, String>,
    sockets: &Sockets,
) -> Result<(), ConfigError> {
    let known = |name: &str| {
        let of = |listener: &Listener| [MAX, RATE].iter().any(|base| own(&listener.name, base) == name);
        sockets.listeners.iter().any(of)
    };
    match properties.keys().find(|name| base(name).is_some() && !known(name)) {
        None => Ok(()),
        Some(name) => Err(ConfigError::Conflict {
            first: name.clone(),
            second: "listeners".to_owned(),
            reason: "no listener for clients has that name, in lower case".to_owned(),
        }),
    }
}

fn own(listener: &str, base: &str) -> String {
    format!("{PREFIX}{}.{base}", listener.to_lowercase())
}

impl Values<'_> {
    pub(super) fn connections(&self, sockets: &Sockets) -> Result<Bounds, ConfigError> {
        let all = Bound { max: self.number(MAX)?, rate: rate(self.number(RATE)?) };
        let mut listeners = BTreeMap::new();
        for listener in &sockets.listeners {
            let (max, of_rate) = (own(&listener.name, MAX), own(&listener.name, RATE));
            let max = if self.is_set(&max) { self.number(&max)? } else { all.max };
            let rate = if self.is_set(&of_rate) { rate(self.number(&of_rate)?) } else { all.rate };
            listeners.insert(listener.name.clone(), Bound { max, rate });
        }
        let protected = (listeners.len() > 1).then(|| sockets.inter_broker_listener_name.clone());
        let per_ip_max = self.number("max.connections.per.ip")?;
        Ok(Bounds { all, listeners, protected, per_ip_max, ..Bounds::default() })
    }
}

/// The largest number is Kafka's way to say that there is no bound.
fn rate(per_second: i32) -> Option<f64> {
    (per_second != i32::MAX).then(|| f64::from(per_second))
}

/// Hosts with the connections that each may have: `host:number` pairs, of which the number stands behind the last colon.
pub(super) fn overrides(text: &str) -> Result<BTreeMap<String, usize>, ConfigError> {
    let invalid = |pair: &str, reason: &str| ConfigError::Invalid {
        name: OVERRIDES.to_owned(),
        value: pair.to_owned(),
        reason: reason.to_owned(),
    };
    let mut overrides = BTreeMap::new();
    for pair in list(text) {
        let (host, number) =
            pair.rsplit_once(':').ok_or_else(|| invalid(pair, "each element must be host:number"))?;
        let host = host.trim();
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
        if host.is_empty() || !host.chars().all(is_of_host) {
            return Err(invalid(pair, "it names neither a host nor an address"));
        }
        let number = number.trim().parse::<i32>().ok().and_then(|number| usize::try_from(number).ok());
        let number = number.ok_or_else(|| invalid(pair, "its number must be from 0 to 2147483647"))?;
        overrides.insert(host.to_owned(), number);
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::Settings;

    fn settings(text: &str) -> Result<Settings, ConfigError> {
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        Settings::parse(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    const TWO: &str = "listeners=INSIDE://:1,OUTSIDE://:2\n\
        listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
        inter.broker.listener.name=INSIDE\n";

    #[test]
    fn listener_has_the_bounds_of_the_broker_where_it_has_none_of_its_own() {
        let text = "max.connections=100\nmax.connection.creation.rate=20\n\
            listener.name.outside.max.connections=5\nlistener.name.inside.max.connection.creation.rate=3";
        let bounds = settings(&format!("{TWO}{text}")).expect("they go together").connections;
        assert_eq!(bounds.all, Bound { max: 100, rate: Some(20.0) });
        assert_eq!(bounds.listeners["OUTSIDE"], Bound { max: 5, rate: Some(20.0) });
        assert_eq!(bounds.listeners["INSIDE"], Bound { max: 100, rate: Some(3.0) });
        assert_eq!(bounds.protected.as_deref(), Some("INSIDE"));
        let one = settings("").expect("the defaults go together").connections;
        assert_eq!((one.all.rate, one.protected), (None, None), "alone it is for everybody");
    }

    #[test]
    fn bounds_of_unknown_listeners_are_refused_in_the_file_and_dynamic_ones_bound_nothing() {
        for name in ["listener.name.nowhere.max.connections", "listener.name.OUTSIDE.max.connections"] {
            let error = settings(&format!("{TWO}{name}=5")).expect_err("no such listener").to_string();
            assert!(error.contains(name) && error.contains("listeners"), "{error}");
            let dynamic = BTreeMap::from([(name.to_owned(), "5".to_owned())]);
            let settings = settings(TWO).expect("they go together");
            assert_eq!(settings.with_dynamic(&[&dynamic]).map(|s| s.connections), Ok(settings.connections));
        }
    }

    #[test]
    fn other_properties_of_one_listener_do_not_act() {
        assert_eq!(base("listener.name.a.max.connections"), Some(MAX));
        for name in [
            "listener.name.a.ssl.keystore.location",
            "listener.name.max.connections",
            "listener.name..max.connections",
            MAX,
        ] {
            assert_eq!(base(name), None, "{name}");
        }
    }

    #[test]
    fn overrides_are_hosts_with_numbers() {
        let good = overrides(" 127.0.0.1:5, ::1:7 ,host.example:0,").expect("they are good");
        let named = |host: &str, number| (host.to_owned(), number);
        assert_eq!(good, BTreeMap::from([named("127.0.0.1", 5), named("::1", 7), named("host.example", 0)]));
        for bad in ["127.0.0.1", "a:b", "a:-1", "a:2147483648", ":5", "a b:5", "127.0.0.1:"] {
            let error = overrides(bad).expect_err(bad).to_string();
            assert!(error.contains(OVERRIDES) && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn no_connections_per_address_need_overrides() {
        assert!(settings("max.connections.per.ip=0").is_err());
        let text = "max.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:5";
        let settings = settings(text).expect("one address may connect");
        assert_eq!((settings.connections.per_ip_max, settings.connection_overrides["127.0.0.1"]), (0, 5));
    }
}
