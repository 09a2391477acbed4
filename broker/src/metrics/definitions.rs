//! The table of metrics: names, kinds, labels, and one sentence each.

/// One metric family.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! definitions {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(pub const $constant: Definition = Definition {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All of them, in the order of the reference page.
        pub const ALL: &[Definition] = &[$($constant),*];
    };
}

definitions! {
    REQUEST_DURATION = "milena_request_duration_seconds" Histogram ["api", "version"]
        "Time from a complete request frame to its answer standing in the output of its connection.";
    REQUEST_FAILURES = "milena_request_failures_total" Counter ["reason"]
        "Requests that closed their connection instead of being answered.";
    RECEIVED_BYTES = "milena_received_bytes_total" Counter []
        "Bytes read from client connections.";
    SENT_BYTES = "milena_sent_bytes_total" Counter []
        "Bytes written to client connections, file bytes included.";
    CONNECTIONS = "milena_connections" Gauge []
        "Open client connections.";
    CONNECTIONS_ACCEPTED = "milena_connections_accepted_total" Counter []
        "Client connections that were accepted.";
    LIMIT_REACHED = "milena_limit_reached_total" Counter ["limit"]
        "How often a bound made something wait, cut it short, refused it or closed a connection.";
    CONNECTIONS_THROTTLED = "milena_connections_throttled_total" Counter ["scope"]
        "Connections that came faster than `max.connection.creation.rate` of the broker or the listener and were served later, or than their address may open them and were closed later.";
    CONNECTION_THROTTLE_SECONDS = "milena_connection_throttle_seconds_total" Counter ["scope"]
        "Time by which they were served or closed later.";
    QUOTA_THROTTLED = "milena_quota_throttled_requests_total" Counter ["quota"]
        "Requests whose client was told to wait, by the quota that it exceeded.";
    QUOTA_THROTTLE_SECONDS = "milena_quota_throttle_seconds_total" Counter ["quota"]
        "Time that these clients were told to wait.";
    QUOTA_CLIENTS = "milena_quota_clients" Gauge ["quota"]
        "Clients or addresses whose use of a quota is remembered, at most 10000 for each.";
    FETCH_SESSIONS = "milena_fetch_sessions" Gauge []
        "Incremental fetch sessions that are remembered.";
    FETCH_SESSION_PARTITIONS = "milena_fetch_session_partitions" Gauge []
        "Partitions in all of them.";
    REACTOR_STALLS = "milena_reactor_stalls_total" Counter ["reactor"]
        "Turns of a connection that kept their reactor for 10 ms or longer.";
    REACTOR_STALL_SECONDS = "milena_reactor_stall_seconds_total" Counter ["reactor"]
        "Time spent in such turns.";
    LOG_SIZE = "milena_log_size_bytes" Gauge ["topic", "partition"]
        "Bytes of the segments of a partition.";
    LOG_START_OFFSET = "milena_log_start_offset" Gauge ["topic", "partition"]
        "First offset that a client may read.";
    LOG_END_OFFSET = "milena_log_end_offset" Gauge ["topic", "partition"]
        "Next offset to be written.";
    HIGH_WATERMARK = "milena_high_watermark" Gauge ["topic", "partition"]
        "Offset below which every in-sync replica holds the records.";
    PARTITIONS = "milena_partitions" Gauge []
        "Partitions with a replica on this broker.";
    UNDER_REPLICATED = "milena_under_replicated_partitions" Gauge []
        "Partitions led here of which a replica is not in sync.";
    UNDER_MIN_ISR = "milena_under_min_isr_partitions" Gauge []
        "Partitions led here with fewer in-sync replicas than `min.insync.replicas`.";
    FOLLOWER_LAG_MAX = "milena_follower_lag_records_max" Gauge []
        "Most offsets by which a follower is behind this leader, over all partitions led here; one that has not fetched yet counts from the log start.";
    REPLICATION_FETCHED_BYTES = "milena_replication_fetched_bytes_total" Counter []
        "Bytes of records that this broker fetched from leaders.";
    REPLICATION_THROTTLED_BYTES = "milena_replication_throttled_bytes_total" Counter ["direction"]
        "Bytes of records of throttled replicas while a rate is set: given to followers (out), copied from leaders (in).";
    ISR_SHRINKS = "milena_isr_shrinks_total" Counter []
        "Times that a leader here took a replica from the in-sync ones.";
    ISR_EXPANDS = "milena_isr_expands_total" Counter []
        "Times that a leader here added a replica to the in-sync ones.";
    DIRECTORY_MOVES = "milena_directory_moves" Gauge []
        "Replicas that are being moved to another log directory of this broker.";
    DIRECTORY_MOVE_LAG_MAX = "milena_directory_move_lag_records_max" Gauge []
        "Most offsets by which one of their copies is behind its replica.";
    DIRECTORY_MOVES_DONE = "milena_directory_moves_done_total" Counter []
        "Replicas that were moved to another log directory of this broker.";
    DIRECTORY_MOVES_FAILED = "milena_directory_moves_failed_total" Counter []
        "Such moves that were given up; the replica stays where it is, and the log says why.";
    DIRECTORY_MOVED_BYTES = "milena_directory_moved_bytes_total" Counter []
        "Bytes of records that were copied between log directories of this broker.";
    GROUP_LAG_RECORDS = "milena_group_lag_records" Gauge ["group", "topic", "partition"]
        "Offsets from what a group has committed, or the log start, to the high watermark; none without a commit.";
    GROUP_LAG_SECONDS = "milena_group_lag_seconds" Gauge ["group", "topic", "partition"]
        "Age of the oldest record that a group has not consumed, 0 when there is none.";
    GROUP_LAGS_LEFT_OUT = "milena_group_lags_left_out" Gauge []
        "Lags that are not told: at most 10000 are, in the order of group, topic and partition.";
    LOG_DIRECTORIES_OFFLINE = "milena_log_directories_offline" Gauge []
        "Data directories that failed and are not used until the next start.";
    GROUPS = "milena_groups" Gauge ["state"]
        "Groups that this broker coordinates, by their state.";
    GROUP_OFFSETS = "milena_group_offsets" Gauge []
        "Committed offsets of those groups.";
    GROUP_REBALANCES = "milena_group_rebalances_total" Counter []
        "Rebalances that ended with an assignment.";
    GROUP_OFFSET_COMMITS = "milena_group_offset_commits_total" Counter []
        "Offsets that were committed, one for each partition that a request names.";
    GROUP_OFFSET_EXPIRATIONS = "milena_group_offset_expirations_total" Counter []
        "Offsets that were taken away because nobody used them for `offsets.retention.minutes`.";
    GROUP_OFFSET_DELETIONS = "milena_group_offset_deletions_total" Counter []
        "Offsets that were taken away by a request, with their group or with their topic.";
    GROUP_LOADS = "milena_group_loads_total" Counter []
        "Partitions of `__consumer_offsets` that were loaded because this broker became their leader.";
    GROUP_LOADS_FAILED = "milena_group_loads_failed_total" Counter []
        "Attempts to load such a partition that failed; what may pass is tried again after a pause.";
    GROUP_LOAD_SECONDS = "milena_group_load_seconds_total" Counter []
        "Time that these loads took; divided by their number, the average.";
    GROUP_LOAD_SECONDS_MAX = "milena_group_load_seconds_max" Gauge []
        "Time that the longest of them took.";
    GROUP_RECORDS_SKIPPED = "milena_group_records_skipped_total" Counter []
        "Records of `__consumer_offsets` that could not be read and were skipped.";
    CLEANER_THREADS = "milena_cleaner_threads" Gauge []
        "Cleaners that should run: `log.cleaner.threads`, 0 without `log.cleaner.enable`.";
    CLEANER_DEAD_THREADS = "milena_cleaner_dead_threads" Gauge []
        "Cleaners that panicked and wait for their restart.";
    CLEANER_RESTARTS = "milena_cleaner_restarts_total" Counter []
        "Cleaners that were started again after a panic.";
    CLEANER_LAST_RUN = "milena_cleaner_last_run_time_seconds" Gauge []
        "When a cleaner looked for a log to compact for the last time, in seconds since 1970; 0 before.";
    CLEANER_DIRTY_RATIO_MAX = "milena_cleaner_dirty_ratio_max" Gauge []
        "Largest share of bytes that are not compacted yet in what could be, over the logs that the last look found.";
    CLEANER_DELAY_MAX = "milena_cleaner_delay_seconds_max" Gauge []
        "Longest time by which `max.compaction.lag.ms` was exceeded at the last look.";
    CLEANER_UNCLEANABLE_PARTITIONS = "milena_cleaner_uncleanable_partitions" Gauge ["directory"]
        "Partitions of compacted topics that are left as they are, since compaction failed on them for good.";
    CLEANER_UNCLEANABLE_BYTES = "milena_cleaner_uncleanable_bytes" Gauge ["directory"]
        "Bytes in them that wait for compaction.";
    CLEANER_PASSES = "milena_cleaner_passes_total" Counter ["outcome"]
        "Passes over a log: done, failed, or interrupted by a stop or a change of the log.";
    CLEANER_LAST_PASS = "milena_cleaner_last_pass_time_seconds" Gauge []
        "When the last pass came to its end, in seconds since 1970; 0 before.";
    CLEANER_PASS_SECONDS_MAX = "milena_cleaner_pass_seconds_max" Gauge []
        "Time of the longest among the last passes of each cleaner.";
    CLEANER_RECOPY_RATIO = "milena_cleaner_recopy_ratio" Gauge []
        "Bytes written by the bytes read in the last passes of all cleaners.";
    CLEANER_MAP_UTILIZATION_MAX = "milena_cleaner_map_utilization_max" Gauge []
        "Largest share of the memory for keys that was needed in the last passes of all cleaners.";
    CLEANER_READ_BYTES = "milena_cleaner_read_bytes_total" Counter []
        "Bytes that cleaners read.";
    CLEANER_WRITTEN_BYTES = "milena_cleaner_written_bytes_total" Counter []
        "Bytes that cleaners wrote.";
    RAFT_TERM = "milena_raft_term" Gauge []
        "Term of the metadata quorum as this node knows it.";
    RAFT_COMMITTED_INDEX = "milena_raft_committed_index" Gauge []
        "Last index of the metadata log that a majority holds.";
    RAFT_APPLIED_INDEX = "milena_raft_applied_index" Gauge []
        "Last index of the metadata log that this node applied.";
    METADATA_PUBLISHED_INDEX = "milena_metadata_published_index" Gauge []
        "Index of the metadata log that this broker answers requests from.";
    METADATA_FETCHED_BYTES = "milena_metadata_fetched_bytes_total" Counter []
        "Bytes of records of the metadata log that this broker fetched from controllers; 0 in a controller that votes.";
    METADATA_CHECKPOINT_INDEX = "milena_metadata_checkpoint_index" Gauge []
        "Index of the metadata log at which the next start of this broker goes on; 0 without a checkpoint, and in a controller.";
    METADATA_AGE_SECONDS = "milena_metadata_age_seconds" Gauge []
        "How long ago this node last heard of a metadata quorum that works, by itself or from a controller; up to 1 s while all is well. Missing before the first time.";
    METADATA_FOLLOWED = "milena_metadata_followed" Gauge []
        "1 while this broker follows the committed metadata log; 0 needs a restart.";
    QUORUM_MEMBER_RUNNING = "milena_quorum_member_running" Gauge []
        "1 while the metadata quorum member of this process runs; 0 needs a restart.";
    READY = "milena_ready" Gauge []
        "1 while clients may be sent here: what /readyz answers.";
    PROCESS_CPU = "process_cpu_seconds_total" Counter []
        "User and system time of the process.";
    PROCESS_RSS = "process_resident_memory_bytes" Gauge []
        "Resident memory of the process.";
    PROCESS_OPEN_FDS = "process_open_fds" Gauge []
        "Open file descriptors.";
    PROCESS_MAX_FDS = "process_max_fds" Gauge []
        "File descriptors that the process may open.";
    PROCESS_THREADS = "process_threads" Gauge []
        "Threads of the process.";
    PROCESS_START_TIME = "process_start_time_seconds" Gauge []
        "Start of the process, in seconds since 1970.";
}

/// The page `docs/metrics.md`.
pub fn reference() -> String {
    use std::fmt::Write as _;

    use milena_state::quota::Key;
    use milena_state::quota::connections::Scope;

    let mut page = String::from(
        "# Metrics\n\nServed at `/metrics` of `milena.http.listener`. Generated from the table in \
         `broker/src/metrics/definitions.rs`; a test compares the two.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for Definition { name, kind, labels, help } in ALL {
        let kind = format!("{kind:?}").to_lowercase();
        let labels = if labels.is_empty() { String::from("–") } else { labels.join(", ") };
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
    let limits = super::Limit::ALL.map(super::Limit::name).join("`, `");
    let failures = super::Failure::ALL.map(super::Failure::name).join("`, `");
    let outcomes = super::cleaning::Outcome::ALL.map(super::cleaning::Outcome::name).join("`, `");
    let quotas = Key::ALL.map(Key::name).join("`, `");
    let scopes = Scope::ALL.map(Scope::name).join("`, `");
    let _ = writeln!(
        page,
        "\nValues of `limit`: `{limits}`. Values of `reason`: `{failures}`. Values of `outcome`: `{outcomes}`. \
         Values of `quota`: `{quotas}`. Values of `scope`: `{scopes}`."
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_end_in_total_and_nothing_else_does() {
        for definition in ALL {
            let total = definition.name.ends_with("_total");
            assert_eq!(total, definition.kind == Kind::Counter, "{}", definition.name);
        }
    }

    #[test]
    fn reference_page_is_up_to_date() {
        crate::reference::check("docs/metrics.md", &reference());
    }
}
