//! What is remembered of one mount unit.
//!
//! Written to the journal before any effect that it announces, as a postcard frame under the hash of
//! the unit's name. Fields are only ever appended.

use serde::{Deserialize, Serialize};
use units::journal::Remembered;
use units::state::{ActiveState, Invocation, Micros, Outcome, ProcId};

/// Where a mount unit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not mounted.
    #[default]
    Dead,
    /// `mount` runs.
    Mounting,
    /// Mounted, by us or by others.
    Mounted,
    /// `mount -o remount` runs.
    Remounting,
    /// `umount` runs, or a `mount` that is to end first.
    Unmounting,
    /// Not mounted, and not as it should be.
    Failed,
}

impl State {
    /// What it is to everybody else.
    pub fn active(self) -> ActiveState {
        match self {
            Self::Dead => ActiveState::Inactive,
            Self::Mounting => ActiveState::Activating,
            Self::Mounted => ActiveState::Active,
            Self::Remounting => ActiveState::Reloading,
            Self::Unmounting => ActiveState::Deactivating,
            Self::Failed => ActiveState::Failed,
        }
    }

    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Mounting => "mounting",
            Self::Mounted => "mounted",
            Self::Remounting => "remounting",
            Self::Unmounting => "unmounting",
            Self::Failed => "failed",
        }
    }

    /// Whether a command runs.
    pub fn is_busy(self) -> bool {
        matches!(self, Self::Mounting | Self::Remounting | Self::Unmounting)
    }
}

/// What was sent to a command to end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signalled {
    /// Nothing.
    #[default]
    No,
    /// SIGTERM, since it took too long.
    Late,
    /// SIGTERM, since the unit is to be stopped.
    Stopped,
    /// SIGKILL.
    Killed,
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
    /// The command's process, once it is known.
    pub process: Option<ProcId>,
    /// Which command of this record it is; rises with each.
    pub number: u32,
    /// When the command gets its next signal; `u64::MAX`: never.
    pub deadline: Micros,
    /// Signals it got.
    pub signalled: Signalled,
    /// How often `umount` was tried for this stop: mounts can lie one on the other.
    pub tries: u32,
}

impl Remembered for Record {
    fn unit(&self) -> &str {
        &self.unit
    }

    fn is_blank(&self) -> bool {
        self.state == State::Dead && self.seq == 0
    }
}
