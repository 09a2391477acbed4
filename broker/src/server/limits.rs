//! The bounds of a connection: sizes, counts and times. Each has a name and, where something is refused
//! because of it, a metric (`crate::metrics::Limit`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena_state::config::broker::Settings;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Requests of one connection that may wait for their answer. Clients keep 5 (Java) or up to 1,000
/// (librdkafka's default) in flight, but the rest waits well in the socket.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 128;

/// Answers of one connection that may wait for the client to read them, before we stop reading requests.
pub const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// A connection gives way to others after this many bytes, so that one producer cannot starve a reactor.
pub const BYTES_PER_TURN_MAX: usize = 1 << 20;

/// What a client must deliver of an unfinished frame within `partial_frame_time_max` to be given as much time
/// again: slow links may send large requests, a slowloris may not hold a connection.
pub const PARTIAL_FRAME_PROGRESS_MIN: usize = 64 << 10;

/// How long in-flight requests may take to finish when the broker stops.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// The longest that a request may make us wait, whatever it says: for acknowledgement, for records to fetch. Clients
/// wait half a minute or less themselves; 24 days is what fits into the field.
pub const WAIT_TIME_MAX: Duration = Duration::from_secs(300);

/// A poll of one connection above this is counted as a stall of its reactor.
pub const STALL: Duration = Duration::from_millis(10);

/// Descriptors that clients leave to files, the HTTP port and brokers: a quarter, and no more than this.
const RESERVED_DESCRIPTORS_MAX: u64 = 4096;

/// The bounds that settings decide, and those times that tests shorten.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `socket.request.max.bytes`
    pub request_bytes_max: u32,
    /// `queued.max.request.bytes`; `None` for no bound.
    pub in_flight_bytes_max: Option<u64>,
    /// `connections.max.idle.ms`; `None` for never.
    pub idle_time_max: Option<Duration>,
    /// `max.connections`
    pub connections_max: usize,
    /// `max.connections.per.ip`
    pub connections_per_ip_max: usize,
    /// Time for an unfinished frame to make progress.
    pub partial_frame_time_max: Duration,
    /// Time for a client to take some of the answers that wait for it.
    pub write_stall_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 100 << 20,
            in_flight_bytes_max: None,
            idle_time_max: Some(Duration::from_secs(600)),
            connections_max: i32::MAX as usize,
            connections_per_ip_max: i32::MAX as usize,
            partial_frame_time_max: Duration::from_secs(30),
            write_stall_time_max: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The bounds that `settings` ask for.
    pub fn of(settings: &Settings) -> Self {
        Self {
            request_bytes_max: u32::try_from(settings.socket_request_max_bytes).unwrap_or(u32::MAX),
            in_flight_bytes_max: settings.queued_max_request_bytes,
            idle_time_max: settings.connections_max_idle_ms.map(Duration::from_millis),
            connections_max: settings.max_connections,
            connections_per_ip_max: settings.max_connections_per_ip,
            ..Self::default()
        }
    }

    /// The same, with room left for what is not a client in a process that may hold so many descriptors: connections
    /// that wait to be accepted cost nothing, an append that cannot open its file costs a client its record.
    pub fn within(self, descriptors: u64) -> Self {
        let reserved = (descriptors / 4).min(RESERVED_DESCRIPTORS_MAX);
        let left = usize::try_from(descriptors - reserved).unwrap_or(usize::MAX).max(1);
        Self { connections_max: self.connections_max.min(left), ..self }
    }

    /// How often deadlines are looked at: an eighth of the shortest, and never more than once in 10 ms nor
    /// less than once a second.
    pub fn sweep_interval(&self) -> Duration {
        let shortest = self.partial_frame_time_max.min(self.write_stall_time_max);
        let shortest = self.idle_time_max.map_or(shortest, |idle| idle.min(shortest));
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Counts the open connections of all listeners, and says how many there may be.
#[derive(Debug)]
pub struct Connections {
    total: AtomicUsize,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    total_max: AtomicUsize,
    per_ip_max: AtomicUsize,
    /// One closed, or more are allowed.
    room: Notify,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub struct Admission {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    pub fn new(limits: &Limits) -> Self {
        Self {
            total: AtomicUsize::new(0),
            per_ip: Mutex::default(),
            total_max: AtomicUsize::new(limits.connections_max),
            per_ip_max: AtomicUsize::new(limits.connections_per_ip_max),
            room: Notify::new(),
        }
    }

    /// Takes the bounds on connections from `limits`; those that are open stay open.
    pub fn allow(&self, limits: &Limits) {
        self.total_max.store(limits.connections_max, Ordering::Relaxed);
        self.per_ip_max.store(limits.connections_per_ip_max, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Whether there are as many as there may be.
    pub fn is_full(&self) -> bool {
        self.total() >= self.total_max.load(Ordering::Relaxed).max(1)
    }

    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Waits until there is room for one more: the rest stays in the kernel's backlog, as with Apache Kafka.
    pub async fn room(&self) {
        loop {
            let room = self.room.notified();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    /// Counts a connection in, or refuses it when its address has as many as it may.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admission> {
        let mut per_ip = self.per_ip.lock();
        let count = per_ip.get(&address).copied().unwrap_or(0);
        if count >= self.per_ip_max.load(Ordering::Relaxed) {
            return None;
        }
        per_ip.insert(address, count + 1);
        self.total.fetch_add(1, Ordering::Relaxed);
        Some(Admission { connections: Arc::clone(self), address })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut per_ip = self.connections.per_ip.lock();
        if let Some(count) = per_ip.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.address);
            }
        }
        drop(per_ip);
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
        self.connections.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn localhost() -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    fn connections(connections_max: usize, connections_per_ip_max: usize) -> Arc<Connections> {
        let limits = Limits { connections_max, connections_per_ip_max, ..Limits::default() };
        Arc::new(Connections::new(&limits))
    }

    #[test]
    fn address_with_all_its_connections_is_refused_until_one_closes() {
        let connections = connections(100, 2);
        let first = connections.admit(localhost()).expect("the first fits");
        let _second = connections.admit(localhost()).expect("the second fits");
        assert!(connections.admit(localhost()).is_none());
        assert_eq!(connections.total(), 2);
        drop(first);
        assert!(connections.admit(localhost()).is_some());
        assert_eq!(connections.total(), 1, "the last one was dropped at once");
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_when_more_are_allowed() {
        let connections = connections(1, 1);
        let _open = connections.admit(localhost()).expect("it fits");
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && connections.admit(localhost()).is_none());
        connections.allow(&Limits { connections_max: 2, connections_per_ip_max: 2, ..Limits::default() });
        waiting.await.expect("there is room");
        assert!(connections.admit(localhost()).is_some());
    }

    #[test]
    fn connections_leave_descriptors_to_the_rest_of_the_process() {
        let within = |connections_max, descriptors| {
            Limits { connections_max, ..Limits::default() }.within(descriptors).connections_max
        };
        assert_eq!(within(usize::MAX, 64), 48);
        assert_eq!(within(10, 64), 10);
        assert_eq!(within(usize::MAX, 1_000_000), 995_904);
        assert_eq!(within(usize::MAX, 0), 1);
    }

    #[test]
    fn sweep_interval_follows_the_shortest_deadline() {
        let mut limits = Limits::default();
        assert_eq!(limits.sweep_interval(), Duration::from_secs(1));
        limits.idle_time_max = Some(Duration::from_millis(400));
        assert_eq!(limits.sweep_interval(), Duration::from_millis(50));
    }
}
