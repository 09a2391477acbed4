//! A simulation that finds nothing proves nothing: each rule that is left out must be missed within so many seeds.
//!
//! Those of the shell are switches; those of `state` are patches (`mutants/`, see docs/simulation.md).

use crate::parameters::Mutation;
use crate::run;

/// The first seed from `first` on that notices, and what it says.
fn caught_by(mutation: Mutation, first: u64, seeds_max: u64) -> Option<(u64, String)> {
    (first..first + seeds_max).find_map(|seed| {
        let failure = run::run(seed, mutation).err()?;
        Some((seed, format!("{}: {}", failure.violation.invariant, failure.violation.what)))
    })
}

/// `first` is 1 where chance finds it soon; `MILENA_SIM_SEEDS` looks further, from 1 on.
fn check(mutation: Mutation, first: u64, seeds_max: u64) {
    let (first, seeds_max) =
        crate::variable("MILENA_SIM_SEEDS").map_or((first, seeds_max), |seeds| (1, seeds));
    let caught = caught_by(mutation, first, seeds_max);
    let (seed, what) =
        caught.unwrap_or_else(|| panic!("{mutation:?} is not noticed by {seeds_max} seeds from {first} on"));
    println!("{mutation:?}: seed {seed}: {what}");
}

macro_rules! mutants {
    ($($name:ident: $mutation:ident from $first:literal within $seeds:literal,)*) => {
        $(#[test]
        fn $name() {
            check(Mutation::$mutation, $first, $seeds);
        })*
    };
}

mutants! {
    broker_epochs_not_sent: BrokerEpochsNotSent from 100 within 100,
    crash_called_clean: CrashCalledClean from 1 within 50,
    truncates_to_high_watermark: TruncatesToHighWatermark from 1 within 50,
    takes_leaders_end: TakesLeadersEnd from 1 within 200,
    epoch_not_sent_when_idle: EpochNotSentWhenIdle from 100 within 200,
    acts_before_registration: ActsBeforeRegistration from 1 within 300,
    counts_diverging_fetch: CountsDivergingFetch from 1 within 300,
    acknowledges_at_once: AcknowledgesAtOnce from 1 within 20,
    reads_above_high_watermark: ReadsAboveHighWatermark from 1 within 20,
    fetches_before_sync: FetchesBeforeSync from 1 within 200,
    ignores_leader_epoch: IgnoresLeaderEpoch from 1 within 200,
    keeps_stale_epoch: KeepsStaleEpoch from 1 within 100,
    forgets_whose_append: ForgetsWhoseAppend from 1 within 200,
}
