//! A simulation that finds nothing proves nothing: each rule that is left out must be missed within so many seeds.
//!
//! Those of the shell are switches; those of `state` are patches (`mutants/`, see docs/simulation.md).

use crate::parameters::Mutation;
use crate::run;

/// The first seed of 1, 2, 3, … that notices, and what it says.
fn caught_by(mutation: Mutation, seeds_max: u64) -> Option<(u64, String)> {
    (1..=seeds_max).find_map(|seed| {
        let failure = run::run(seed, mutation).err()?;
        Some((seed, format!("{}: {}", failure.violation.invariant, failure.violation.what)))
    })
}

fn check(mutation: Mutation, seeds_max: u64) {
    let caught = caught_by(mutation, seeds_max);
    let (seed, what) = caught.unwrap_or_else(|| panic!("{mutation:?} is not noticed by {seeds_max} seeds"));
    println!("{mutation:?}: seed {seed}: {what}");
}

macro_rules! mutants {
    ($($name:ident: $mutation:ident within $seeds:literal,)*) => {
        $(#[test]
        fn $name() {
            check(Mutation::$mutation, $seeds);
        })*
    };
}

mutants! {
    broker_epochs_not_sent: BrokerEpochsNotSent within 300,
    crash_called_clean: CrashCalledClean within 50,
    truncates_to_high_watermark: TruncatesToHighWatermark within 50,
    takes_leaders_end: TakesLeadersEnd within 300,
    epoch_not_sent_when_idle: EpochNotSentWhenIdle within 300,
    acts_before_registration: ActsBeforeRegistration within 300,
    counts_diverging_fetch: CountsDivergingFetch within 300,
    acknowledges_at_once: AcknowledgesAtOnce within 20,
    reads_above_high_watermark: ReadsAboveHighWatermark within 20,
    fetches_before_sync: FetchesBeforeSync within 100,
    ignores_leader_epoch: IgnoresLeaderEpoch within 100,
    forgets_whose_append: ForgetsWhoseAppend within 100,
}
