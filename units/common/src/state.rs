//! What a unit and a job can be: the vocabulary shared by engine, helpers, wire and `sctl`.
//!
//! The active states are systemd's. A unit type may have any number of sub-states of its own; to
//! everybody but the type they are words to print. The engine decides by [`ActiveState`],
//! [`Outcome`] and [`RestartWish`] alone.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Microseconds of `CLOCK_BOOTTIME`: the only time in engine, wire and stores.
pub type Micros = u64;

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcId {
    /// Process id as the manager sees it.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`); 0 if unknown.
    pub start: u64,
}

impl ProcId {
    /// Whether this is the other, too, as far as is known: of the same number, and with the same start time
    /// where both have one.
    pub fn may_be(self, other: Self) -> bool {
        self.pid == other.pid && (self.start == other.start || self.start == 0 || other.start == 0)
    }
}

/// One activation of a unit, from the start job to the last process gone; random, never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Invocation(pub u128);

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a unit is, in systemd's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActiveState {
    /// Nothing of it runs.
    #[default]
    Inactive,
    /// On its way up.
    Activating,
    /// Up.
    Active,
    /// Up and reading its configuration again.
    Reloading,
    /// On its way down.
    Deactivating,
    /// Down, and not as it should be.
    Failed,
}

impl ActiveState {
    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
        }
    }

    /// Whether dependants may count on it: active or reloading.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Active | Self::Reloading)
    }

    /// Whether nothing of it runs or is about to: inactive or failed.
    pub fn is_down(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed)
    }
}

/// How far the last command of a unit has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// No command is known for this unit.
    #[default]
    None,
    /// Accepted and recorded; under way.
    Pending,
    /// Done as asked.
    Done,
    /// Finished, not as asked.
    Failed,
    /// A condition of the unit's own (`ExecCondition=`) said: not now. Not a failure.
    Skipped,
    /// A step that must not be repeated was in flight when its process was lost, and what became
    /// of it cannot be known.
    Interrupted,
}

/// The type's policy (`Restart=` and its kin) asks for a new invocation. Whether and when it comes
/// is the engine's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartWish {
    /// Delay from the end of the old invocation, in microseconds (`RestartSec=`, after its steps).
    pub delay: Micros,
}

/// How the main or control process of a unit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It called exit with this code, 0..=255.
    Code(u8),
    /// It was killed by this signal.
    Signal(u8),
    /// It was killed by this signal and left a core.
    Core(u8),
}

impl Exit {
    /// Decodes a raw wait status. `None` for stopped and continued.
    pub fn from_wait(status: i32) -> Option<Self> {
        let low = (status & 0x7f) as u8;
        match low {
            0 => Some(Self::Code(((status >> 8) & 0xff) as u8)),
            0x7f => None,
            sig if status & 0x80 != 0 => Some(Self::Core(sig)),
            sig => Some(Self::Signal(sig)),
        }
    }

    /// Whether it is exit code 0.
    pub fn is_clean_code(self) -> bool {
        self == Self::Code(0)
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobVerb {
    /// Bring up; nothing if it is.
    Start,
    /// Wait until it is up, fail if it is not and nobody brings it up.
    VerifyActive,
    /// Bring down.
    Stop,
    /// Down, then up.
    Restart,
    /// Read the configuration again; fail if it is not up.
    Reload,
    /// Restart if it is up, else nothing.
    TryRestart,
    /// Reload if it can, else restart; start if it is down.
    ReloadOrStart,
    /// Reload if it can, else restart; nothing if it is down.
    TryReload,
}

impl JobVerb {
    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::VerifyActive => "verify-active",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::TryRestart => "try-restart",
            Self::ReloadOrStart => "reload-or-start",
            Self::TryReload => "try-reload",
        }
    }
}

/// What a new transaction may do to jobs that are queued already (systemd.unit(5), `--job-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobMode {
    /// Refuse if it contradicts a queued job.
    Fail,
    /// Replace what it contradicts.
    #[default]
    Replace,
    /// As replace, and nothing but another irreversible transaction may undo it.
    ReplaceIrreversibly,
    /// As replace, and stop everything that is not in the transaction.
    Isolate,
    /// Cancel every queued job first.
    Flush,
    /// This unit alone, at once.
    IgnoreDependencies,
    /// As it orders, without pulling anything in.
    IgnoreRequirements,
    /// As replace, for a stop; what could start the unit again (its sockets, timers, paths) is
    /// stopped with it.
    Triggering,
    /// As replace, for a start; what depends on the unit and is up is restarted.
    RestartDependencies,
}

impl JobMode {
    /// All of them, each with its name on a command line and in a unit file.
    pub const ALL: [(&'static str, Self); 9] = [
        ("fail", Self::Fail),
        ("replace", Self::Replace),
        ("replace-irreversibly", Self::ReplaceIrreversibly),
        ("isolate", Self::Isolate),
        ("flush", Self::Flush),
        ("ignore-dependencies", Self::IgnoreDependencies),
        ("ignore-requirements", Self::IgnoreRequirements),
        ("triggering", Self::Triggering),
        ("restart-dependencies", Self::RestartDependencies),
    ];

    /// The mode of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, mode)| *mode)
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobResult {
    /// As asked (or nothing had to be done).
    Done,
    /// Replaced or asked to go away.
    Canceled,
    /// Its time was over.
    Timeout,
    /// It failed.
    Failed,
    /// A unit it requires did not come up.
    Dependency,
    /// A condition said: not now.
    Skipped,
    /// The unit cannot be loaded or its kind cannot do this.
    Invalid,
    /// An assertion of the unit failed.
    Assert,
    /// The unit's type cannot do it.
    Unsupported,
}

impl JobResult {
    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Invalid => "invalid",
            Self::Assert => "assert",
            Self::Unsupported => "unsupported",
        }
    }

    /// Whether a client that waited for it should count it as success.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }
}

/// When a unit last changed in four ways; 0: not in this boot. systemd keeps the same four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// It left inactive or failed: its start began.
    pub inactive_exit: Micros,
    /// It was up.
    pub active_enter: Micros,
    /// It was not up any more.
    pub active_exit: Micros,
    /// It was inactive or failed.
    pub inactive_enter: Micros,
}

/// The job a unit has, or had last, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPast {
    /// What it does.
    pub verb: JobVerb,
    /// How it ended; without meaning while `ended` is 0.
    pub result: JobResult,
    /// Why it came to be: `boot`, `shutdown`, `signal`, `command`, `restart` (`Restart=`),
    /// `rollback` (of an atomic start), `unneeded` (`StopWhenUnneeded=`), `isolate`, or the relation
    /// of another unit to this one (`Requires`, `ConflictedBy` …). A job that was left out of its
    /// transaction: `cycle`, `unusable`, `contradiction`. Empty if it is not known.
    pub cause: String,
    /// The other unit, where there is one.
    pub cause_unit: String,
    /// The unit because of which it failed; empty if there is none.
    pub culprit: String,
    /// When it was queued.
    pub asked: Micros,
    /// When it ended; 0 while it has not.
    pub ended: Micros,
}

/// What a helper says of one unit, whole, each time something of it changes. The last one counts;
/// nothing is lost if those in between are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Unit name.
    pub unit: String,
    /// The invocation it speaks of.
    pub invocation: Invocation,
    /// Sequence of the last command accepted for this unit; 0 if none is known.
    pub seq: u64,
    /// What became of that command.
    pub outcome: Outcome,
    /// What the unit is now.
    pub active: ActiveState,
    /// The type's own word for it: `running`, `start-pre`, `stop-sigterm` …
    pub sub: String,
    /// systemd's result word: `success`, `exit-code`, `signal`, `timeout`, `watchdog`, `protocol`,
    /// `resources`, `exec-condition`, `interrupted` …
    pub result: String,
    /// A sentence for people where there is more to say than the result word: which step of which
    /// command failed, and why. Empty if not.
    pub detail: String,
    /// The type's free status line (`STATUS=` of sd_notify). Empty if none.
    pub status: String,
    /// Main process, while there is one.
    pub main: Option<ProcId>,
    /// Control process (a start, stop or reload command), while there is one.
    pub control: Option<ProcId>,
    /// How the main process of this invocation ended, once it has.
    pub exit: Option<Exit>,
    /// When the unit came into this active state.
    pub since: Micros,
    /// When what is under way will be given up, if it will.
    pub deadline: Option<Micros>,
    /// This invocation is over and the policy asks for another.
    pub restart: Option<RestartWish>,
    /// Whether a reload is possible as it is configured.
    pub can_reload: bool,
}

/// Who of a unit's processes gets a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// Every process of the unit.
    #[default]
    All,
    /// The main process.
    Main,
    /// The control process.
    Control,
}

#[cfg(test)]
mod tests {
    use super::ProcId;

    #[test]
    fn a_process_is_known_by_its_number_and_by_its_start_where_that_is_known() {
        let of = |pid, start| ProcId { pid, start };
        for (one, other, same) in [
            (of(1, 5), of(1, 5), true),
            (of(1, 5), of(1, 6), false),
            (of(1, 0), of(1, 6), true),
            (of(1, 5), of(1, 0), true),
            (of(1, 0), of(2, 0), false),
        ] {
            assert_eq!(one.may_be(other), same, "{one:?} {other:?}");
            assert_eq!(other.may_be(one), same, "{other:?} {one:?}");
        }
    }
}
