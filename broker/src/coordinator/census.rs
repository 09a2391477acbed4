//! How many groups and offsets there are, for whoever scrapes.

use milena_state::group::State;

use super::Coordinators;

/// States that a group is counted in.
pub const STATES: [State; 5] =
    [State::Empty, State::PreparingRebalance, State::CompletingRebalance, State::Stable, State::Dead];

/// What the coordinators of this broker hold at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// In the order of [`STATES`].
    pub groups: [usize; STATES.len()],
    pub offsets: usize,
}

impl Census {
    /// Names of the states and how many groups are in each.
    pub fn by_state(&self) -> impl Iterator<Item = (&'static str, usize)> {
        STATES.iter().map(|state| state.name()).zip(self.groups)
    }
}

impl Coordinators {
    /// Counts, as of now, what is loaded. Whether it is committed does not matter to a count.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for coordinator in self.board.load().serving() {
            // One that ends at this moment counts no more.
            let _ = coordinator.look(|groups| {
                for (count, state) in census.groups.iter_mut().zip(STATES) {
                    *count += groups.count(state);
                }
                census.offsets += groups.offsets().count();
            });
        }
        census
    }
}
