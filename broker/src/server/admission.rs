//! Which connections are served: the rules of [`milena_state::quota::connections`] under one short lock, and the waits
//! that they ask for.
//!
//! Every listener waits for itself. While it waits for room nothing is accepted, so that the rest stays in the kernel's
//! backlog; while it waits for its rate it holds one connection. Those of addresses that open them too fast are held by
//! [`HeldBack`], a bounded number of them. None of this touches a connection that is served, but its end.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_state::quota::Window;
use milena_state::quota::connections::{self as rules, Bounds, IpRates, Refusal, Scope};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::metrics::{Limit, Metrics};

/// Connections that are not served and held until they are closed; those of one more are closed at once.
const HELD_BACK_MAX: usize = 128;

/// The connections of all listeners, and what they are held to.
#[derive(Debug)]
pub struct Connections {
    began: Instant,
    rules: Mutex<rules::Connections>,
    /// One closed, or more are allowed.
    changed: Notify,
    /// Host names among the quotas of addresses, for who resolves them.
    ip_rates: watch::Sender<Arc<IpRates>>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub struct Admission {
    connections: Arc<Connections>,
    listener: Arc<str>,
    address: IpAddr,
}

impl Connections {
    pub fn new(window: Window, bounds: Bounds) -> Self {
        Self {
            began: Instant::now(),
            rules: Mutex::new(rules::Connections::new(window, bounds)),
            changed: Notify::new(),
            ip_rates: watch::Sender::default(),
        }
    }

    /// Connections from here on are held to these bounds; those that are open stay open.
    pub fn allow(&self, bounds: Bounds) {
        self.rules.lock().allow(bounds);
        self.changed.notify_waiters();
    }

    /// Puts the quotas of addresses in force; those of host names follow when [`resolve_ip_rates`](Self::resolve_ip_rates) is done with them.
    pub fn set_ip_rates(&self, rates: IpRates) {
        // Any quota may have changed: what host names stand for is known already, or being asked for.
        if **self.ip_rates.borrow() == rates {
            return;
        }
        let known = rates.hosts.iter().filter_map(|(host, rate)| Some((host.parse::<IpAddr>().ok()?, *rate)));
        let known = known.map(|(address, rate)| (address.to_canonical(), rate)).collect();
        self.rules.lock().set_ip_rates(known, rates.default);
        self.ip_rates.send_replace(Arc::new(rates));
    }

    /// Follows the quotas of host names for as long as the future lives.
    pub async fn resolve_ip_rates(self: Arc<Self>) {
        let mut changes = self.ip_rates.subscribe();
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            let rates = Arc::clone(&changes.borrow_and_update());
            if rates.hosts.keys().all(|host| host.parse::<IpAddr>().is_ok()) {
                continue;
            }
            let asked = Arc::clone(&rates);
            let Ok(resolved) = tokio::task::spawn_blocking(move || resolve(&asked.hosts)).await else {
                return;
            };
            let addresses = resolved.into_iter().filter_map(|(host, found)| match found {
                Ok(found) => Some(found),
                Err(error) => {
                    tracing::warn!(%host, %error, "host with a quota is not known and bound to none");
                    None
                }
            });
            let addresses = addresses.flatten().collect();
            if Arc::ptr_eq(&rates, &self.ip_rates.borrow()) {
                self.rules.lock().set_ip_rates(addresses, rates.default);
            }
        }
    }

    pub fn total(&self) -> usize {
        self.rules.lock().total()
    }

    pub fn measured_addresses(&self) -> usize {
        self.rules.lock().measured_addresses()
    }

    pub fn has_room(&self, listener: &str) -> bool {
        self.rules.lock().has_room(listener)
    }

    /// Waits until there is room for one more: the rest stays in the kernel's backlog, as with Apache Kafka.
    pub async fn room(&self, listener: &str) {
        loop {
            let changed = self.changed.notified();
            if self.has_room(listener) {
                return;
            }
            changed.await;
        }
    }

    /// A connection came: waits until it is not faster than it may be, or until the bounds are such that it is not.
    pub async fn slow_down(&self, listener: &str, metrics: &Metrics) {
        let wait = self.rules.lock().came(listener, self.now_ms());
        if wait.ms <= 0 {
            return;
        }
        let began = tokio::time::Instant::now();
        let over = began + Duration::from_millis(wait.ms.unsigned_abs());
        self.until_slow_enough(listener, over).await;
        metrics.connection_throttled(wait.scope, began.elapsed());
    }

    async fn until_slow_enough(&self, listener: &str, over: tokio::time::Instant) {
        loop {
            let changed = self.changed.notified();
            if self.rules.lock().wait(listener, self.now_ms()).ms <= 0 {
                return;
            }
            if tokio::time::timeout_at(over, changed).await.is_err() {
                return;
            }
        }
    }

    /// Counts a connection in, or says why it is not served; none when another listener took the room that was waited for.
    pub fn admit(
        self: &Arc<Self>,
        listener: &Arc<str>,
        address: IpAddr,
    ) -> Result<Option<Admission>, Refusal> {
        let mut rules = self.rules.lock();
        if !rules.has_room(listener) {
            return Ok(None);
        }
        rules.admit(listener, address, self.now_ms())?;
        Ok(Some(Admission { connections: Arc::clone(self), listener: Arc::clone(listener), address }))
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.connections.rules.lock().closed(&self.listener, self.address);
        self.connections.changed.notify_waiters();
    }
}

/// Connections that are not served, until the time comes to close them.
#[derive(Debug, Clone)]
pub struct HeldBack(Arc<Semaphore>);

impl Default for HeldBack {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HELD_BACK_MAX)))
    }
}

impl HeldBack {
    /// Closes the connection after this time, or at once when there are too many.
    pub fn hold(&self, socket: std::net::TcpStream, time: Duration, metrics: &Metrics) {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            return metrics.refused(Limit::ConnectionsHeld);
        };
        metrics.connection_throttled(Scope::Ip, time);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop((socket, permit));
        });
    }
}

/// Hosts, and for each of their addresses what it is bound to, or why nobody knows the host.
pub type Resolved<T> = Vec<(String, std::io::Result<Vec<(IpAddr, T)>>)>;

/// What each host is bound to, with its addresses. Asks a resolver, and blocks until it has answered.
pub fn resolve<T: Copy>(hosts: &BTreeMap<String, T>) -> Resolved<T> {
    let with = |(host, bound): (&String, &T)| {
        let found = addresses(host).map(|found| found.into_iter().map(|address| (address, *bound)).collect());
        (host.clone(), found)
    };
    // Addresses come last and so prevail over names that stand for them.
    let (literal, named): (Vec<_>, Vec<_>) =
        hosts.iter().partition(|(host, _)| host.parse::<IpAddr>().is_ok());
    named.into_iter().chain(literal).map(with).collect()
}

fn addresses(host: &str) -> std::io::Result<Vec<IpAddr>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![address.to_canonical()]),
        Err(_) => Ok((host, 0).to_socket_addrs()?.map(|found| found.ip().to_canonical()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use milena_state::quota::connections::Bound;

    use super::*;

    const WINDOW: Window = Window { samples_max: 11, sample_ms: 1000 };

    fn localhost() -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    fn connections(all: Bound) -> (Arc<Connections>, Arc<str>) {
        let bounds = Bounds { all, ..Bounds::default() };
        (Arc::new(Connections::new(WINDOW, bounds)), Arc::from("PLAINTEXT"))
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_when_more_are_allowed_or_one_closes() {
        let (connections, listener) = connections(Bound { max: 1, rate: None });
        let mut open = Vec::new();
        for allow_more in [true, false] {
            open.push(connections.admit(&listener, localhost()).expect("it may").expect("it fits"));
            assert!(connections.admit(&listener, localhost()).expect("it may").is_none(), "nobody slips in");
            let waiting = tokio::spawn({
                let connections = Arc::clone(&connections);
                async move { connections.room("PLAINTEXT").await }
            });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished() && !connections.has_room("PLAINTEXT"));
            if allow_more {
                connections.allow(Bounds { all: Bound { max: 2, rate: None }, ..Bounds::default() });
            } else {
                open.pop();
            }
            waiting.await.expect("there is room");
        }
        assert_eq!(connections.total(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_too_fast_waits_and_is_let_go_when_the_rate_is_taken_away() {
        let (connections, _) = connections(Bound { max: 9, rate: Some(0.1) });
        let metrics = Metrics::new();
        connections.slow_down("PLAINTEXT", &metrics).await;
        let began = tokio::time::Instant::now();
        connections.slow_down("PLAINTEXT", &metrics).await;
        let waited_ms = began.elapsed().as_millis();
        assert!((1000..1010).contains(&waited_ms), "no longer than one sample: {waited_ms}");
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.slow_down("PLAINTEXT", &Metrics::new()).await }
        });
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        connections.allow(Bounds::default());
        waiting.await.expect("it ends");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn an_address_prevails_over_a_name_that_stands_for_it() {
        let hosts = BTreeMap::from([("localhost".to_owned(), 9), ("127.0.0.1".to_owned(), 1)]);
        let found = resolve(&hosts).into_iter().filter_map(|(_, found)| found.ok()).flatten();
        assert_eq!(found.collect::<BTreeMap<_, _>>()[&localhost()], 1);
    }

    #[tokio::test]
    async fn quotas_of_host_names_act_when_they_are_resolved() {
        let (connections, listener) = connections(Bound::default());
        let following = tokio::spawn(Arc::clone(&connections).resolve_ip_rates());
        let hosts = BTreeMap::from([("localhost".to_owned(), 0.1), ("no such host".to_owned(), 1.0)]);
        let rates = IpRates { hosts, default: None };
        connections.set_ip_rates(rates.clone());
        let acts = async {
            while connections.admit(&listener, localhost()).is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), acts).await.expect("the second is one too many");
        // Another quota was changed.
        connections.set_ip_rates(rates);
        assert!(connections.admit(&listener, localhost()).is_err(), "host names are still bound");
        following.abort();
    }
}
