//! What the active controller does by itself from time to time: leaderships go back to the replicas that ought to have
//! them, and topics that have begun to allow it get unclean leaders. What a round may do is decided in `state`.

use std::time::Duration;

use milena_state::config::broker::Settings;
use milena_state::metadata::Command;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often partitions without a leader are looked at again, as in Kafka.
const UNCLEAN_ELECTION_INTERVAL: Duration = Duration::from_secs(300);
/// Pause after a round that stopped at its bound: clients find their new leaders meanwhile.
const NEXT_ROUND_PAUSE: Duration = Duration::from_secs(1);

pub struct Rounds {
    /// None when leaderships are to stay where they are.
    balance: Option<Interval>,
    unclean: Interval,
}

impl Rounds {
    pub fn new(settings: &Settings) -> Self {
        let balance = settings.leader_balance_interval_ms.map(Duration::from_millis);
        Self { balance: balance.map(every), unclean: every(UNCLEAN_ELECTION_INTERVAL) }
    }

    /// Waits for the next round. Nothing is lost when it is dropped.
    pub async fn due(&mut self) -> Command {
        let balance = async {
            match &mut self.balance {
                Some(interval) => interval.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = balance => Command::BalanceLeaders,
            _ = self.unclean.tick() => Command::ElectUncleanLeaders,
        }
    }

    /// A round stopped at its bound: another one follows.
    pub fn again_soon(&mut self, round: &Command) {
        match (round, &mut self.balance) {
            (Command::BalanceLeaders, Some(interval)) => interval.reset_after(NEXT_ROUND_PAUSE),
            (Command::ElectUncleanLeaders, _) => self.unclean.reset_after(NEXT_ROUND_PAUSE),
            _ => {}
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> Settings {
        let owned = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::parse(&owned.collect()).expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn leaders_are_balanced_as_often_as_the_property_says_and_soon_again_when_much_is_left() {
        let start = Instant::now();
        let mut rounds = Rounds::new(&settings(&[("leader.imbalance.check.interval.seconds", "40")]));
        assert!(matches!(rounds.due().await, Command::BalanceLeaders));
        assert_eq!(start.elapsed().as_secs(), 40);
        rounds.again_soon(&Command::BalanceLeaders);
        assert!(matches!(rounds.due().await, Command::BalanceLeaders));
        assert_eq!(start.elapsed().as_secs(), 41);
        assert!(matches!(rounds.due().await, Command::BalanceLeaders));
        assert_eq!(start.elapsed().as_secs(), 81);
    }

    #[tokio::test(start_paused = true)]
    async fn leaderships_stay_where_they_are_when_they_are_told_to() {
        let start = Instant::now();
        let mut rounds = Rounds::new(&settings(&[("auto.leader.rebalance.enable", "false")]));
        assert!(matches!(rounds.due().await, Command::ElectUncleanLeaders));
        assert_eq!(start.elapsed(), UNCLEAN_ELECTION_INTERVAL);
    }
}
