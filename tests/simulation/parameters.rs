//! What one run is like: every seed draws another cluster, network and amount of misfortune.
//!
//! Bugs hide in corners that the average of all settings never reaches, so each run leans to one side (swarm testing).

use crate::random::Random;

/// None of the kept seeds that are older than this fault knows it.
const UNREGISTERS_SALT: u64 = 0x0e61_57f9;

/// How brokers end when they crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    /// The process dies, the page cache stays.
    Process,
    /// Unsynced bytes may be lost, but only so often as the promise of ADR 6 covers: less than the minimum ISR.
    LossyWithinPromise,
    /// Unsynced bytes may be lost, any number of times.
    Lossy,
}

/// A rule of the shell that is left out, to see that the simulation notices (docs/simulation.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    None,
    /// AlterPartition says −1 for every broker epoch.
    BrokerEpochsNotSent,
    /// A broker that crashed says that it stopped in order.
    CrashCalledClean,
    /// A follower cuts to its high watermark, and does not compare epochs.
    TruncatesToHighWatermark,
    /// A follower cuts to where the leader's epoch ends, not to the smaller of both ends.
    TakesLeadersEnd,
    /// A follower with nothing new since its last fetch does not say the epoch of its last record.
    EpochNotSentWhenIdle,
    /// A restarted broker acts on an image from before its own registration.
    ActsBeforeRegistration,
    /// A fetch that diverges counts as progress of the follower.
    CountsDivergingFetch,
    /// `acks=all` is answered when the leader has it.
    AcknowledgesAtOnce,
    /// Consumers read up to the log's end.
    ReadsAboveHighWatermark,
    /// In durable mode a follower fetches on before it synced.
    FetchesBeforeSync,
    /// The leader epoch of a fetch is not looked at.
    IgnoresLeaderEpoch,
    /// The answer to an append waits for no particular leadership.
    ForgetsWhoseAppend,
    /// A broker that hears that its epoch is stale goes on with it.
    KeepsStaleEpoch,
}

/// Drawn from the seed; every value is in the failure report.
#[derive(Debug, Clone)]
pub struct Parameters {
    pub seed: u64,
    pub mutation: Mutation,
    pub brokers: i32,
    pub partitions: i32,
    pub replication_factor: usize,
    pub min_isr: i32,
    pub eligible_leader_replicas: bool,
    pub durable: bool,
    pub unclean_election: bool,
    pub crashes: Crashes,
    /// Steps with faults; then everything must come to rest.
    pub steps: u64,
    pub delay_ms_max: i64,
    /// Of a thousand messages, those that take up to twenty times as long.
    pub late_per_mille: u64,
    /// Of a thousand proposals to the controller (AlterPartition), those that take up to a crash and a start longer.
    pub late_proposals_per_mille: u64,
    pub lost_per_mille: u64,
    pub repeated_per_mille: u64,
    /// Mean time between two faults.
    pub fault_ms: i64,
    pub segment_bytes: u32,
    pub fetch_bytes: usize,
    pub lag_time_ms: i64,
    pub session_timeout_ms: i64,
    pub heartbeat_ms: i64,
    /// The controller fences a broker soon after its connection broke, without waiting for its session.
    pub fences_on_disconnect: bool,
    /// An administrator unregisters brokers that are fenced, whether they live or not.
    pub unregisters: bool,
    pub request_timeout_ms: i64,
    pub producers: u32,
    pub consumers: u32,
    /// Of a thousand batches, those that the system writes back by itself soon.
    pub writeback_per_mille: u64,
}

impl Parameters {
    pub fn of(seed: u64, mutation: Mutation, steps: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_5eed);
        let random = &mut random;
        let brokers = *random.pick(&[3, 3, 3, 4, 5, 7]);
        let replication_factor = *random.pick(&[3, 3, 3, 2, brokers.min(5)]) as usize;
        let min_isr = *random.pick(&[2, 2, 2, 1, replication_factor as i32]);
        let eligible_leader_replicas = !random.per_mille(200);
        let durable = random.per_mille(250);
        let crashes = match random.below(3) {
            // Without eligible leaders the last of the ISR stays in it, whatever it lost.
            _ if !eligible_leader_replicas && !durable => Crashes::Process,
            0 => Crashes::Process,
            1 => Crashes::LossyWithinPromise,
            _ => Crashes::Lossy,
        };
        let heartbeat_ms = random.between(50, 300);
        // Drawn by a generator of its own: the kept seeds are older.
        let late_proposals_per_mille = *Random::new(seed ^ 0x1a7e_1a7e).pick(&[0, 0, 300, 900]);
        Self {
            seed,
            mutation,
            brokers,
            partitions: random.between(1, 3) as i32,
            replication_factor,
            min_isr,
            eligible_leader_replicas,
            durable,
            unclean_election: random.per_mille(100),
            crashes,
            steps,
            delay_ms_max: *random.pick(&[1, 3, 10, 40]),
            late_per_mille: *random.pick(&[0, 5, 30, 100]),
            late_proposals_per_mille,
            lost_per_mille: *random.pick(&[0, 2, 20, 100]),
            repeated_per_mille: *random.pick(&[0, 5, 50]),
            fault_ms: random.between(200, 1500),
            segment_bytes: *random.pick(&[300, 600, 4000]),
            fetch_bytes: *random.pick(&[100, 300, 2000, 100_000]),
            lag_time_ms: random.between(200, 1500),
            session_timeout_ms: heartbeat_ms * random.between(3, 9),
            heartbeat_ms,
            fences_on_disconnect: random.coin(),
            // As above.
            unregisters: Random::new(seed ^ UNREGISTERS_SALT).per_mille(250),
            request_timeout_ms: random.between(100, 600),
            producers: random.between(1, 4) as u32,
            consumers: random.between(1, 2) as u32,
            writeback_per_mille: *random.pick(&[0, 30, 300]),
        }
    }

    /// Whether nothing that was acknowledged may ever be lost.
    pub fn is_strict(&self) -> bool {
        !self.unclean_election && (self.durable || self.crashes != Crashes::Lossy)
    }

    /// Crashes with loss that the promise covers.
    pub fn lossy_crashes_max(&self) -> i32 {
        match self.crashes {
            Crashes::Process => 0,
            Crashes::Lossy => i32::MAX,
            Crashes::LossyWithinPromise if self.durable => i32::MAX,
            Crashes::LossyWithinPromise => self.min_isr.min(self.replication_factor as i32) - 1,
        }
    }
}
