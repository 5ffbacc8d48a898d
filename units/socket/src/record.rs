//! What is remembered of one socket unit.
//!
//! Written to the journal before any effect that it announces, as a postcard frame under the hash of
//! the unit's name. Fields are only ever appended.

use serde::{Deserialize, Serialize};
use units::journal::Remembered;
use units::state::{ActiveState, Invocation, Micros, Outcome};

/// Where a socket unit is. Whether what it triggers runs is no part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Down.
    #[default]
    Dead,
    /// Its listeners are being made and given to init.
    Opening,
    /// Up: all of them are in init's keeping.
    Listening,
    /// Down, and not as it should be.
    Failed,
}

impl State {
    /// What it is to everybody else.
    pub fn active(self) -> ActiveState {
        match self {
            Self::Dead => ActiveState::Inactive,
            Self::Opening => ActiveState::Activating,
            Self::Listening => ActiveState::Active,
            Self::Failed => ActiveState::Failed,
        }
    }

    /// Whether nothing of it is there.
    pub fn is_down(self) -> bool {
        matches!(self, Self::Dead | Self::Failed)
    }
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unit name: a record is found by a hash, and verified by this.
    pub unit: String,
    /// Current or last invocation.
    pub invocation: Invocation,
    /// Last command accepted.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// State.
    pub state: State,
    /// Since when.
    pub since: Micros,
    /// How it went, in systemd's word; empty for success.
    pub why: String,
    /// For people: what failed.
    pub detail: String,
    /// Listeners of this invocation, in init's keeping or about to be; after a stop, those that init
    /// was told to drop.
    pub count: u16,
    /// Who gets them, and what they are called.
    pub to: String,
    /// `FileDescriptorName=`.
    pub name: String,
    /// Paths and links to be removed at the stop (`RemoveOnStop=`).
    pub paths: Vec<String>,
    /// For people: where it listens.
    pub places: String,
    /// Triggers within the limit's interval: since when, how many.
    pub triggers: (Micros, u32),
}

impl Remembered for Record {
    fn unit(&self) -> &str {
        &self.unit
    }

    fn is_blank(&self) -> bool {
        self.state == State::Dead && self.seq == 0
    }
}
