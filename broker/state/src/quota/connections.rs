//! Connections: how many there may be, and how fast they may come (KIP-308, KIP-402, KIP-612).
//!
//! A connection that comes faster than the broker or its listener takes them is accepted and waits; one of an address
//! that opens them too fast is closed, and not before it would have been within the rate, so that its client does not
//! come again at once. The listener between brokers is held up neither by the number nor by the rate of all, as long as
//! there are others; its connections count in that number, as in Kafka. All rates are measured as Kafka measures them ([`Rate`]), and only those that are bounded.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::entity::{Entity, Key, Name};
use super::rate::{Rate, Window};
use super::usage::Usage;
use crate::metadata::Image;

/// What the properties allow.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Of all listeners together; one that is `protected` is not held to it.
    pub all: Bound,
    /// By name of the listener.
    pub listeners: BTreeMap<String, Bound>,
    /// Listener between brokers, when there are others.
    pub protected: Option<String>,
    pub per_ip_max: usize,
    pub per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// What the process can hold, whoever asks.
    pub total_max: usize,
}

/// A number of connections, and of new ones per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    pub max: usize,
    /// None bounds nothing.
    pub rate: Option<f64>,
}

/// How fast addresses may open connections: the quotas of entities of the type `ip`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IpRates {
    /// By name or address, as the quota was set.
    pub hosts: BTreeMap<String, f64>,
    pub default: Option<f64>,
}

/// What kept a connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Broker,
    Listener,
    Ip,
}

/// For how long a new connection waits until it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub ms: i64,
    pub scope: Scope,
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its address has as many as it may.
    TooMany,
    /// Its address opens them too fast. It is closed after this time.
    TooFast { ms: i64 },
}

/// The connections that are open, and how fast they came.
#[derive(Debug)]
pub struct Connections {
    window: Window,
    bounds: Bounds,
    ip_rates: BTreeMap<IpAddr, f64>,
    default_ip_rate: Option<f64>,
    total: usize,
    per_listener: BTreeMap<String, usize>,
    per_ip: BTreeMap<IpAddr, usize>,
    came: Rate,
    came_per_listener: BTreeMap<String, Rate>,
    came_per_ip: Usage<Rate, IpAddr>,
}

impl Default for Bound {
    fn default() -> Self {
        Self { max: i32::MAX as usize, rate: None }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            all: Bound::default(),
            listeners: BTreeMap::new(),
            protected: None,
            per_ip_max: i32::MAX as usize,
            per_ip_overrides: BTreeMap::new(),
            total_max: usize::MAX,
        }
    }
}

impl Bounds {
    fn of_listener(&self, listener: &str) -> Bound {
        // Those of all bound a listener that has none of its own, as in Kafka also the one between brokers.
        self.listeners.get(listener).copied().unwrap_or(self.all)
    }

    fn is_protected(&self, listener: &str) -> bool {
        self.protected.as_deref() == Some(listener)
    }

    fn per_ip_max(&self, address: IpAddr) -> usize {
        self.per_ip_overrides.get(&address).copied().unwrap_or(self.per_ip_max)
    }
}

impl IpRates {
    pub fn of(image: &Image) -> Self {
        let mut rates = Self::default();
        for (entity, quotas) in image.client_quotas() {
            let Some(rate) = quotas.get(&Key::ConnectionCreationRate) else { continue };
            match entity {
                Entity { ip: Some(Name::Exactly(host)), .. } => {
                    rates.hosts.insert(host.clone(), rate.get());
                }
                Entity { ip: Some(Name::Default), .. } => rates.default = Some(rate.get()),
                Entity { ip: None, .. } => {}
            }
        }
        rates
    }
}

impl Connections {
    pub fn new(window: Window, bounds: Bounds) -> Self {
        Self {
            window,
            bounds,
            ip_rates: BTreeMap::new(),
            default_ip_rate: None,
            total: 0,
            per_listener: BTreeMap::new(),
            per_ip: BTreeMap::new(),
            came: Rate::default(),
            came_per_listener: BTreeMap::new(),
            came_per_ip: Usage::default(),
        }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Connections from here on are held to these bounds; those that are open stay open.
    pub fn allow(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// As [`allow`](Self::allow), for the quotas of addresses.
    pub fn set_ip_rates(&mut self, rates: BTreeMap<IpAddr, f64>, default: Option<f64>) {
        (self.ip_rates, self.default_ip_rate) = (rates, default);
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// Addresses whose rate is remembered.
    pub fn measured_addresses(&self) -> usize {
        self.came_per_ip.len()
    }

    /// Whether one more may be open on a listener.
    pub fn has_room(&self, listener: &str) -> bool {
        // With none at all nobody could take the bound back.
        let own = self.per_listener.get(listener).copied().unwrap_or(0);
        self.total < self.bounds.total_max.max(1)
            && own < self.bounds.of_listener(listener).max.max(1)
            && (self.bounds.is_protected(listener) || self.total < self.bounds.all.max.max(1))
    }

    /// A connection came. How long it waits before it is served, at most one sample of the window.
    pub fn came(&mut self, listener: &str, now_ms: i64) -> Wait {
        self.note(listener, 1.0, now_ms);
        self.wait(listener, now_ms)
    }

    /// How long one that came would wait by what came until now and by the bounds that are in force now.
    pub fn wait(&mut self, listener: &str, now_ms: i64) -> Wait {
        let window = self.window;
        let by = |rate: Option<&mut Rate>, limit: Option<f64>| match (rate, limit) {
            (Some(rate), Some(limit)) => rate.throttle_ms(window, limit, now_ms).min(window.sample_ms),
            _ => 0,
        };
        let all = if self.bounds.is_protected(listener) { None } else { self.bounds.all.rate };
        let all_ms = by(Some(&mut self.came), all);
        let own_ms = by(self.came_per_listener.get_mut(listener), self.bounds.of_listener(listener).rate);
        if own_ms > all_ms {
            Wait { ms: own_ms, scope: Scope::Listener }
        } else {
            Wait { ms: all_ms, scope: Scope::Broker }
        }
    }

    /// Counts a connection in whose wait is over. Errors: it must not be served, and counts as if it had not come when
    /// its address was too fast.
    pub fn admit(&mut self, listener: &str, address: IpAddr, now_ms: i64) -> Result<(), Refusal> {
        if let Some(limit) = self.ip_rates.get(&address).copied().or(self.default_ip_rate) {
            let rate = self.came_per_ip.of(address, now_ms);
            rate.record(self.window, 1.0, now_ms);
            let ms = rate.throttle_ms(self.window, limit, now_ms).min(self.window.sample_ms);
            if ms > 0 {
                rate.record(self.window, -1.0, now_ms);
                self.note(listener, -1.0, now_ms);
                return Err(Refusal::TooFast { ms });
            }
        }
        let count = self.per_ip.get(&address).copied().unwrap_or(0);
        if count >= self.bounds.per_ip_max(address) {
            return Err(Refusal::TooMany);
        }
        self.per_ip.insert(address, count + 1);
        self.total += 1;
        *self.per_listener.entry(listener.to_owned()).or_default() += 1;
        Ok(())
    }

    /// A connection that was counted in is closed.
    pub fn closed(&mut self, listener: &str, address: IpAddr) {
        if let Some(count) = self.per_ip.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&address);
            }
        }
        self.total -= 1;
        if let Some(count) = self.per_listener.get_mut(listener) {
            *count -= 1;
        }
    }

    /// Adds to the rates that are bounded.
    fn note(&mut self, listener: &str, amount: f64, now_ms: i64) {
        if !self.bounds.is_protected(listener) && self.bounds.all.rate.is_some() {
            self.came.record(self.window, amount, now_ms);
        }
        if self.bounds.of_listener(listener).rate.is_some() {
            let rate = self.came_per_listener.entry(listener.to_owned()).or_default();
            rate.record(self.window, amount, now_ms);
        }
    }
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Broker, Scope::Listener, Scope::Ip];

    pub fn name(self) -> &'static str {
        match self {
            Scope::Broker => "broker",
            Scope::Listener => "listener",
            Scope::Ip => "ip",
        }
    }
}

#[cfg(test)]
#[path = "connections_test.rs"]
mod tests;
