//! What the manager knows of a unit: `[Unit]` and `[Install]` as typed values.
//!
//! A [`UnitSpec`] is the merged result of a unit's file and drop-ins, plus what follows from links
//! (`.wants/` …) and from its type (default dependencies). It holds everything the engine decides
//! by and nothing of the unit's own sections, which belong to its type's helper. [`read`] makes
//! one from the entries of a [`crate::file::UnitFile`]; finding the files is the loader's work.
//!
//! Dependencies are kept as written, in one direction: the engine adds the inverses.

mod condition;
pub mod install;
mod read;
mod table;

pub use condition::{Condition, ConditionKind};
pub use install::Install;
pub use read::read;
pub use table::{keys, reads};

use crate::name::UnitName;
use crate::state::{JobMode, Micros};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How one unit depends on another. The name is the directive of `[Unit]` that says it; the
/// meaning is systemd.unit(5)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the directive of the same name.
pub enum DepKind {
    Requires,
    Requisite,
    Wants,
    BindsTo,
    PartOf,
    Upholds,
    Conflicts,
    Before,
    After,
    OnFailure,
    OnSuccess,
    PropagatesReloadTo,
    ReloadPropagatedFrom,
    PropagatesStopTo,
    StopPropagatedFrom,
    JoinsNamespaceOf,
    /// A timer, path or socket starts the other unit.
    Triggers,
    /// Its processes live in that slice.
    Slice,
}

impl DepKind {
    /// All kinds, in order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Requires,
        Self::Requisite,
        Self::Wants,
        Self::BindsTo,
        Self::PartOf,
        Self::Upholds,
        Self::Conflicts,
        Self::Before,
        Self::After,
        Self::OnFailure,
        Self::OnSuccess,
        Self::PropagatesReloadTo,
        Self::ReloadPropagatedFrom,
        Self::PropagatesStopTo,
        Self::StopPropagatedFrom,
        Self::JoinsNamespaceOf,
        Self::Triggers,
        Self::Slice,
    ];

    /// The directive's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requires => "Requires",
            Self::Requisite => "Requisite",
            Self::Wants => "Wants",
            Self::BindsTo => "BindsTo",
            Self::PartOf => "PartOf",
            Self::Upholds => "Upholds",
            Self::Conflicts => "Conflicts",
            Self::Before => "Before",
            Self::After => "After",
            Self::OnFailure => "OnFailure",
            Self::OnSuccess => "OnSuccess",
            Self::PropagatesReloadTo => "PropagatesReloadTo",
            Self::ReloadPropagatedFrom => "ReloadPropagatedFrom",
            Self::PropagatesStopTo => "PropagatesStopTo",
            Self::StopPropagatedFrom => "StopPropagatedFrom",
            Self::JoinsNamespaceOf => "JoinsNamespaceOf",
            Self::Triggers => "Triggers",
            Self::Slice => "Slice",
        }
    }

    /// The kind a directive (or its older spelling) stands for.
    pub fn from_key(key: &str) -> Option<Self> {
        match key {
            "BindTo" => Some(Self::BindsTo),
            "PropagateReloadTo" => Some(Self::PropagatesReloadTo),
            "PropagateReloadFrom" => Some(Self::ReloadPropagatedFrom),
            _ => Self::ALL.into_iter().find(|k| k.as_str() == key),
        }
    }

    /// Whether starting the unit pulls the other one in.
    pub fn pulls_in(self) -> bool {
        matches!(
            self,
            Self::Requires | Self::Wants | Self::BindsTo | Self::Upholds
        )
    }
}

/// Whether a unit can be used, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadState {
    /// Read, and everything in it understood.
    Loaded,
    /// There is no such unit file.
    #[default]
    NotFound,
    /// A directive has a value it cannot have, or a needed one is missing.
    BadSetting {
        /// file:line, what was found, what was expected.
        reason: String,
    },
    /// The file cannot be read or is no unit file.
    Error {
        /// Which file, and why.
        reason: String,
    },
    /// Switched off: the file is empty or a link to `/dev/null`.
    Masked,
    /// No helper is installed for its type.
    NoHelper,
}

impl LoadState {
    /// systemd's word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::NotFound => "not-found",
            Self::BadSetting { .. } => "bad-setting",
            Self::Error { .. } => "error",
            Self::Masked => "masked",
            Self::NoHelper => "no-helper",
        }
    }

    /// Whether it can be started.
    pub fn is_loaded(&self) -> bool {
        *self == Self::Loaded
    }

    /// Why it cannot be started; empty if it can.
    pub fn reason(&self) -> &str {
        match self {
            Self::Loaded => "",
            Self::NotFound => "no such unit file",
            Self::BadSetting { reason } | Self::Error { reason } => reason,
            Self::Masked => "the unit is masked",
            Self::NoHelper => "no helper is installed for units of this type",
        }
    }
}

/// What happens to the machine when a unit fails, succeeds, hits its start limit or a job timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // systemd's words; see systemd.unit(5), FailureAction=.
pub enum Action {
    #[default]
    None,
    Exit,
    ExitForce,
    Reboot,
    RebootForce,
    RebootImmediate,
    Poweroff,
    PoweroffForce,
    PoweroffImmediate,
    SoftReboot,
    SoftRebootForce,
    Kexec,
    KexecForce,
    Halt,
    HaltForce,
    HaltImmediate,
}

impl Action {
    const NAMES: [(&'static str, Self); 16] = [
        ("none", Self::None),
        ("exit", Self::Exit),
        ("exit-force", Self::ExitForce),
        ("reboot", Self::Reboot),
        ("reboot-force", Self::RebootForce),
        ("reboot-immediate", Self::RebootImmediate),
        ("poweroff", Self::Poweroff),
        ("poweroff-force", Self::PoweroffForce),
        ("poweroff-immediate", Self::PoweroffImmediate),
        ("soft-reboot", Self::SoftReboot),
        ("soft-reboot-force", Self::SoftRebootForce),
        ("kexec", Self::Kexec),
        ("kexec-force", Self::KexecForce),
        ("halt", Self::Halt),
        ("halt-force", Self::HaltForce),
        ("halt-immediate", Self::HaltImmediate),
    ];

    /// The action of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, action)| *action)
    }

    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, action)| *action == self);
        found.map_or("none", |(name, _)| name)
    }
}

/// How often a unit may be started (`StartLimit…=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartLimit {
    /// Length of the interval in microseconds; 0 switches the limit off, `u64::MAX` is infinity.
    pub interval: Micros,
    /// Starts allowed in it; 0 switches the limit off.
    pub burst: u32,
    /// What happens when it is hit, besides refusing the start.
    pub action: Action,
}

impl Default for StartLimit {
    fn default() -> Self {
        Self {
            interval: 10_000_000,
            burst: 5,
            action: Action::None,
        }
    }
}

/// When an unused unit is forgotten (`CollectMode=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollectMode {
    /// When it is inactive and did not fail.
    #[default]
    Inactive,
    /// Also when it failed.
    InactiveOrFailed,
}

/// A unit as the manager knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSpec {
    /// Its name. If it was asked for by an alias, the name the alias leads to.
    pub id: UnitName,
    /// Its other names, without `id`, sorted.
    pub names: Vec<UnitName>,
    /// `Description=`; the name if there is none.
    pub description: String,
    /// `Documentation=`, as addresses.
    pub documentation: Vec<String>,
    /// Whether it can be used.
    pub load: LoadState,
    /// Unit file, as seen below the root; empty if there is none.
    pub fragment: String,
    /// Drop-ins in merge order.
    pub dropins: Vec<String>,
    /// `SourcePath=`: what the unit file was generated from; empty if nothing.
    pub source_path: String,
    /// Dependencies, sorted and without repetition.
    pub deps: Vec<(DepKind, UnitName)>,
    /// Paths whose mounts it needs; `true` requires them, `false` wants them.
    pub mounts_for: Vec<(bool, String)>,
    /// The slice its processes belong to; `None` for types without processes.
    pub slice: Option<UnitName>,
    /// `DefaultDependencies=`, on unless switched off.
    pub default_dependencies: bool,
    /// `Condition…=`: if one does not hold, the unit is skipped.
    pub conditions: Vec<Condition>,
    /// `Assert…=`: if one does not hold, the start fails.
    pub asserts: Vec<Condition>,
    /// Start limit.
    pub start_limit: StartLimit,
    /// `RefuseManualStart=`.
    pub refuse_manual_start: bool,
    /// `RefuseManualStop=`.
    pub refuse_manual_stop: bool,
    /// `AllowIsolate=`.
    pub allow_isolate: bool,
    /// `IgnoreOnIsolate=`.
    pub ignore_on_isolate: bool,
    /// `StopWhenUnneeded=`.
    pub stop_when_unneeded: bool,
    /// `SurviveFinalKillSignal=`.
    pub survive_final_kill: bool,
    /// `JobTimeoutSec=` in microseconds; `None` is never.
    pub job_timeout: Option<Micros>,
    /// `JobRunningTimeoutSec=` in microseconds; `None` is never.
    pub job_running_timeout: Option<Micros>,
    /// `JobTimeoutAction=`.
    pub job_timeout_action: Action,
    /// `FailureAction=`.
    pub failure_action: Action,
    /// `SuccessAction=`.
    pub success_action: Action,
    /// `FailureActionExitStatus=`; `None` is that of the main process.
    pub failure_exit_status: Option<u8>,
    /// `SuccessActionExitStatus=`; `None` is that of the main process.
    pub success_exit_status: Option<u8>,
    /// `RebootArgument=`; empty if none.
    pub reboot_argument: String,
    /// `JobTimeoutRebootArgument=`; empty if none.
    pub job_timeout_argument: String,
    /// `OnFailureJobMode=`.
    pub on_failure_mode: JobMode,
    /// `OnSuccessJobMode=`.
    pub on_success_mode: JobMode,
    /// `CollectMode=`.
    pub collect: CollectMode,
    /// Directives systemd knows and we do not carry out: `file:line: Name=`.
    pub unsupported: Vec<String>,
}

impl UnitSpec {
    /// A unit of this name of which nothing else is known.
    pub fn new(id: UnitName) -> Self {
        let ignore_on_isolate = matches!(
            id.unit_type(),
            "device" | "mount" | "swap" | "slice" | "scope" | "automount"
        );
        Self {
            names: Vec::new(),
            description: id.as_str().into(),
            documentation: Vec::new(),
            load: LoadState::NotFound,
            fragment: String::new(),
            dropins: Vec::new(),
            source_path: String::new(),
            deps: Vec::new(),
            mounts_for: Vec::new(),
            slice: None,
            default_dependencies: true,
            conditions: Vec::new(),
            asserts: Vec::new(),
            start_limit: StartLimit::default(),
            refuse_manual_start: false,
            refuse_manual_stop: false,
            allow_isolate: false,
            ignore_on_isolate,
            stop_when_unneeded: false,
            survive_final_kill: false,
            job_timeout: None,
            job_running_timeout: None,
            job_timeout_action: Action::None,
            failure_action: Action::None,
            success_action: Action::None,
            failure_exit_status: None,
            success_exit_status: None,
            reboot_argument: String::new(),
            job_timeout_argument: String::new(),
            on_failure_mode: JobMode::Replace,
            on_success_mode: JobMode::Fail,
            collect: CollectMode::Inactive,
            unsupported: Vec::new(),
            id,
        }
    }

    /// Adds a dependency; a unit never depends on itself.
    pub fn add_dep(&mut self, kind: DepKind, other: UnitName) {
        if other != self.id {
            self.deps.push((kind, other));
        }
    }

    /// The units it depends on in this way.
    pub fn deps_of(&self, kind: DepKind) -> impl Iterator<Item = &UnitName> {
        self.deps
            .iter()
            .filter(move |(k, _)| *k == kind)
            .map(|(_, name)| name)
    }

    /// Sorts the dependencies and removes repetitions. Called last by whoever added some.
    pub fn tidy(&mut self) {
        // A target's thousand are a few runs in order: fewer comparisons of names than an unstable sort takes.
        self.deps.sort();
        self.deps.dedup();
    }
}
