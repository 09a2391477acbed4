//! Lag: how far the groups are behind, in records and in time.
//!
//! In **records** it is the distance of offsets between the high watermark and what a group has committed
//! ([`records`]), as Kafka's tools count it: compaction leaves offsets without records, and they count. What
//! retention took away does not: nobody will read it any more.
//!
//! In **time** it is the age of the oldest record that the group has not consumed. A [`timeline`] remembers
//! when the end of a partition was where, so that the age is known without a look at the records; where it is
//! known too badly, the [`Ledger`] asks for the timestamp of one record.
//!
//! The ledger is driven in rounds: [`collect`] takes the first commits of each coordinator, as many as are kept,
//! [`Ledger::observe`] takes those of all and where the partitions end, and says which timestamps would help; [`Ledger::learn`] takes those that were found; [`Ledger::finish`]
//! gives the lags. A group without a commit, or with one that names another topic of the same name, has no
//! lag: no number rather than a wrong one.

pub mod history;
mod ledger;
pub mod records;
pub mod timeline;

pub use ledger::{Collected, Commit, LAGS_MAX, Lag, Ledger, Lookup, Round, collect};
pub use records::Ends;

#[cfg(test)]
mod ledger_test;
