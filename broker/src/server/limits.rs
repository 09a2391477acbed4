//! The bounds of a connection: sizes, counts and times. Each has a name and, where something is refused
//! because of it, a metric (`crate::metrics::Limit`).

use std::time::Duration;

use milena_state::config::broker::Settings;
use milena_state::quota::connections::Bounds;

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
    /// `max.connections`, `max.connection.creation.rate` and their like.
    pub connections: Bounds,
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
            connections: Bounds::default(),
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
            connections: settings.connections.clone(),
            ..Self::default()
        }
    }

    /// The same, with room left for what is not a client in a process that may hold so many descriptors: connections
    /// that wait to be accepted cost nothing, an append that cannot open its file costs a client its record.
    pub fn within(mut self, descriptors: u64) -> Self {
        let reserved = (descriptors / 4).min(RESERVED_DESCRIPTORS_MAX);
        let left = usize::try_from(descriptors - reserved).unwrap_or(usize::MAX).max(1);
        self.connections.total_max = self.connections.total_max.min(left);
        self
    }

    /// How often deadlines are looked at: an eighth of the shortest, and never more than once in 10 ms nor
    /// less than once a second.
    pub fn sweep_interval(&self) -> Duration {
        let shortest = self.partial_frame_time_max.min(self.write_stall_time_max);
        let shortest = self.idle_time_max.map_or(shortest, |idle| idle.min(shortest));
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_the_rest_of_the_process() {
        let within = |descriptors| Limits::default().within(descriptors).connections.total_max;
        assert_eq!(within(64), 48);
        assert_eq!(within(1_000_000), 995_904);
        assert_eq!(within(0), 1);
    }

    #[test]
    fn sweep_interval_follows_the_shortest_deadline() {
        let mut limits = Limits::default();
        assert_eq!(limits.sweep_interval(), Duration::from_secs(1));
        limits.idle_time_max = Some(Duration::from_millis(400));
        assert_eq!(limits.sweep_interval(), Duration::from_millis(50));
    }
}
