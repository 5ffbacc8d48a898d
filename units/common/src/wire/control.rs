//! The channel between a client (`sctl`) and the manager.
//!
//! Two sockets: `/run/sysmaster/control` (mode 0600, everything) and `/run/sysmaster/public` (mode
//! 0666, the requests that only read, limited per user). The client connects, sends `Hello`, gets
//! `Hello`, then sends requests; each is answered by any number of frames and ends with
//! [`Reply::End`] or [`Reply::Error`]. Requests on one connection are answered in order; a client
//! that does not read its answers is dropped.

use crate::state::{
    ActiveState, Exit, JobMode, JobPast, JobResult, JobVerb, Micros, ProcId, Times, Whom,
};
use crate::wire::helper::Difference;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What the machine shall become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownKind {
    /// Switch the power off.
    PowerOff,
    /// Restart.
    Reboot,
    /// Stop the processor, power stays on.
    Halt,
    /// Start the kernel loaded by kexec.
    Kexec,
}

/// Client to manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First frame.
    Hello {
        /// Highest protocol version spoken.
        version: u16,
    },
    /// The manager as a whole: [`Reply::Manager`].
    Manager,
    /// Loaded units: a [`Reply::Unit`] each.
    ListUnits {
        /// Glob patterns over names; empty means all.
        patterns: Vec<String>,
        /// Also those that are inactive and have no job.
        all: bool,
    },
    /// Queued jobs: a [`Reply::Job`] each.
    ListJobs,
    /// One unit in full, loaded if need be: [`Reply::Detail`], then [`Reply::Findings`].
    Show {
        /// Unit name.
        unit: String,
    },
    /// The dependency tree: a [`Reply::Edge`] each.
    Dependencies {
        /// Unit name.
        unit: String,
        /// Who needs it, instead of whom it needs.
        reverse: bool,
        /// Beyond targets, as `--all`.
        all: bool,
    },
    /// Queue jobs, one transaction a unit. [`Reply::Queued`] for each; with `wait` also
    /// [`Reply::Waiting`] once a second at most and [`Reply::Ended`] for each; then `End`.
    Jobs {
        /// What.
        verb: JobVerb,
        /// Unit names.
        units: Vec<String>,
        /// How.
        mode: JobMode,
        /// Whether to answer until all have ended.
        wait: bool,
    },
    /// Cancel queued jobs; empty means all.
    Cancel {
        /// Job numbers.
        jobs: Vec<u32>,
    },
    /// Send a signal to processes of a unit.
    Kill {
        /// Unit name.
        unit: String,
        /// To whom.
        whom: Whom,
        /// Signal number, 1..=64.
        signal: u8,
    },
    /// From failed to inactive, and the start limit counted from zero; empty means all.
    ResetFailed {
        /// Unit names.
        units: Vec<String>,
    },
    /// Read the unit files again.
    Reload,
    /// Replace the manager by what is installed now.
    Reexec,
    /// Bring the machine down.
    Shutdown {
        /// To what.
        kind: ShutdownKind,
        /// Do not stop units in order; init kills what is left at once.
        force: bool,
    },
    /// Start these units, all or none. [`Reply::Queued`] for each; with `wait` also
    /// [`Reply::Waiting`] once a second at most, [`Reply::Ended`] for each, and [`Reply::Undone`] if
    /// it was rolled back; then `End`.
    Atomic {
        /// Unit names.
        units: Vec<String>,
        /// How.
        mode: JobMode,
        /// Whether to answer until it has ended.
        wait: bool,
    },
    /// What a request for jobs, in one transaction, would come to: a [`Reply::Planned`] each, then
    /// [`Reply::Findings`] with what the log would say.
    Plan {
        /// What.
        verb: JobVerb,
        /// Unit names.
        units: Vec<String>,
        /// How.
        mode: JobMode,
        /// As [`Request::Atomic`].
        atomic: bool,
    },
    /// What is remembered of units: a [`Reply::History`] each. Empty means all that are loaded.
    History {
        /// Unit names.
        units: Vec<String>,
    },
    /// Our own crashes since boot: a [`Reply::Crash`] each, the oldest first.
    Crashes,
    /// Try what lies beside what is installed (`sysmaster.new`, `helpers/TYPE.new`), and install it if
    /// it proves good. Answered when the trial has begun.
    Upgrade {
        /// `sysmaster`, `init` (which re-executes itself), a unit type for its helper alone; empty for
        /// the manager and all helpers that are links to it.
        only: String,
        /// How long it is on trial, seconds.
        seconds: u16,
    },
    /// How the last upgrade stands: [`Reply::Upgrade`].
    UpgradeState,
    /// Compare what is recorded with what the kernel says, and see to what differs: a [`Reply::Difference`]
    /// each.
    Reconcile,
}

/// A unit in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitLine {
    /// Name.
    pub name: String,
    /// `loaded`, `not-found`, `bad-setting`, `error`, `masked`, `no-helper`.
    pub load: String,
    /// State.
    pub active: ActiveState,
    /// The type's own word.
    pub sub: String,
    /// `Description=`.
    pub description: String,
    /// Number of its queued job, and what it does.
    pub job: Option<(u32, JobVerb)>,
}

/// A unit in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitDetail {
    /// The line.
    pub line: UnitLine,
    /// Alias names.
    pub names: Vec<String>,
    /// Unit file; empty if none.
    pub fragment: String,
    /// Drop-ins in merge order.
    pub dropins: Vec<String>,
    /// The file on disk is not the one that was loaded.
    pub need_reload: bool,
    /// Why it did not load; empty if it did.
    pub load_error: String,
    /// systemd's result word of the last invocation.
    pub result: String,
    /// A sentence on the last failure; empty if none.
    pub detail: String,
    /// The unit's own status line.
    pub status: String,
    /// 128 bits in hex; empty if never started.
    pub invocation: String,
    /// Main process.
    pub main: Option<ProcId>,
    /// Control process.
    pub control: Option<ProcId>,
    /// How the main process of the last invocation ended.
    pub exit: Option<Exit>,
    /// Since when it is what it is.
    pub since: Micros,
    /// When what is under way will be given up.
    pub deadline: Option<Micros>,
    /// How often the engine restarted it by itself.
    pub restarts: u32,
    /// When the next automatic restart is due.
    pub restart_at: Option<Micros>,
    /// cgroup below the root; empty if none.
    pub cgroup: String,
    /// Documentation addresses.
    pub documentation: Vec<String>,
    /// Directives systemd knows and we do not carry out: `file:line: Name=`.
    pub unsupported: Vec<String>,
    /// Whether a condition kept it from starting, and which.
    pub condition: String,
    /// Dependencies by kind: directive name and units.
    pub dependencies: Vec<(String, Vec<String>)>,
    /// Whether reload is possible.
    pub can_reload: bool,
}

impl UnitDetail {
    /// A unit of which no more is known than its line.
    pub fn of(line: UnitLine) -> Self {
        Self {
            line,
            names: Vec::new(),
            fragment: String::new(),
            dropins: Vec::new(),
            need_reload: false,
            load_error: String::new(),
            result: String::new(),
            detail: String::new(),
            status: String::new(),
            invocation: String::new(),
            main: None,
            control: None,
            exit: None,
            since: 0,
            deadline: None,
            restarts: 0,
            restart_at: None,
            cgroup: String::new(),
            documentation: Vec::new(),
            unsupported: Vec::new(),
            condition: String::new(),
            dependencies: Vec::new(),
            can_reload: false,
        }
    }
}

/// A queued job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLine {
    /// Number.
    pub id: u32,
    /// Unit name.
    pub unit: String,
    /// What it does.
    pub verb: JobVerb,
    /// Under way, or waiting for others.
    pub running: bool,
    /// Queued since.
    pub since: Micros,
    /// When it will be given up.
    pub deadline: Option<Micros>,
    /// Units it waits for.
    pub waits_for: Vec<String>,
}

/// A job as a request would bring it about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Unit name.
    pub unit: String,
    /// What it would do.
    pub verb: JobVerb,
    /// Why it is there, and which unit pulled it in: as in [`JobPast`].
    pub cause: String,
    /// See `cause`; empty for what was asked for.
    pub cause_unit: String,
    /// What was asked for cannot do without it.
    pub needed: bool,
    /// `new`, `joins` or `replaces` (a queued job); or why it would be left out: `redundant`,
    /// `unusable`, `cycle`, `contradiction`, `impact` (mode fail), `orphan`.
    pub fate: String,
    /// The queued job of its unit.
    pub queued: Option<(u32, JobVerb)>,
    /// Which jobs of the plan, counted from 0, go first.
    pub after: Vec<u32>,
    /// Units whose queued jobs go first.
    pub waits_for: Vec<String>,
}

/// What is remembered of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitHistory {
    /// Name.
    pub unit: String,
    /// State.
    pub active: ActiveState,
    /// When it changed.
    pub times: Times,
    /// The job it has, or had last.
    pub job: Option<JobPast>,
    /// Of the units it comes after, the one that was there last before it began; empty if none was.
    pub before: String,
    /// It was started too often, and is not started again until it is reset.
    pub limit_hit: bool,
}

/// The manager as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerInfo {
    /// Program version.
    pub version: String,
    /// Build id.
    pub build: String,
    /// `initializing`, `starting`, `running`, `degraded`, `maintenance`, `stopping`.
    pub state: String,
    /// Epoch init gave it: 1 for the first of this boot.
    pub epoch: u64,
    /// Its process id.
    pub pid: u32,
    /// Now, in the clock of every other time here.
    pub now: Micros,
    /// Loaded units.
    pub units: u32,
    /// Queued jobs.
    pub jobs: u32,
    /// Failed units.
    pub failed: u32,
    /// When the manager of this boot first ran, and when the default target was reached.
    pub started: Micros,
    /// See `started`; 0 while it is not.
    pub finished: Micros,
    /// How long the last recovery took, microseconds; 0 for the first manager of a boot.
    pub recovery: Micros,
    /// Helpers: type, pid, whether in contact.
    pub helpers: Vec<(String, u32, bool)>,
    /// Features missing on this machine, each with what follows.
    pub missing: Vec<String>,
    /// What is not done any more because it killed one of ours twice.
    pub quarantine: Vec<String>,
}

/// A death of one of our own processes by its own fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashLine {
    /// When it was found out.
    pub at: Micros,
    /// Who: `manager 3`, `service helper`.
    pub who: String,
    /// How: `was killed by SIGSEGV`.
    pub how: String,
    /// What it was at; empty if that is not known.
    pub what: String,
}

/// How the last upgrade of this boot stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeLine {
    /// `none`, `trial`, `taken-back`, `committed`.
    pub state: String,
    /// What it is of: `sysmaster and helpers`, `sysmaster`, `service helper`.
    pub what: String,
    /// Microseconds the trial goes on for.
    pub left: Micros,
    /// Why it was taken back; empty if it was not.
    pub why: String,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The frame or an argument cannot be understood.
    BadRequest,
    /// Only root, over the control socket; or a unit's settings (`RefuseManualStart=`,
    /// `AllowIsolate=`) or a queued job that may not be undone stand against it.
    Denied,
    /// There is no such unit or job.
    NotFound,
    /// The unit exists and cannot be loaded.
    BadUnit,
    /// The unit cannot do that.
    Unsupported,
    /// The transaction is contradictory or cyclic.
    Transaction,
    /// Too many clients, jobs or units.
    Busy,
    /// The machine is going down.
    ShuttingDown,
    /// Something of ours failed.
    Internal,
}

/// Manager to client.
// One at a time exists, to be encoded or looked at: a box would buy nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Answer to `Hello`.
    Hello {
        /// Version spoken on this connection.
        version: u16,
        /// Build of the manager.
        build: String,
        /// Whether this connection may change anything.
        control: bool,
    },
    /// The manager.
    Manager(ManagerInfo),
    /// A unit.
    Unit(UnitLine),
    /// A unit in full.
    Detail(UnitDetail),
    /// Findings in its files: `file:line: text`.
    Findings(Vec<String>),
    /// A job.
    Job(JobLine),
    /// `from` has `to` as a dependency of `kind` (or, reversed, is one of it).
    Edge {
        /// Unit name.
        from: String,
        /// Unit name.
        to: String,
        /// Directive name.
        kind: String,
        /// State of `to`.
        active: ActiveState,
    },
    /// The job for this unit is queued; 0 if there was nothing to do.
    Queued {
        /// Unit name.
        unit: String,
        /// Job number.
        job: u32,
    },
    /// Still waiting.
    Waiting(Vec<JobLine>),
    /// A job of the request has ended.
    Ended {
        /// Unit name.
        unit: String,
        /// Its verb.
        verb: JobVerb,
        /// How.
        result: JobResult,
        /// A sentence on why it failed; empty if it did not.
        detail: String,
    },
    /// The request is refused or has failed; it is over.
    Error {
        /// Kind, for the exit code.
        kind: ErrorKind,
        /// What was found, what was expected, what to do.
        message: String,
    },
    /// The request is answered.
    End,
    /// An atomic start was rolled back.
    Undone {
        /// The unit that did not come up.
        unit: String,
        /// How its start ended.
        result: JobResult,
        /// A sentence on why; empty if there is none.
        detail: String,
        /// Units that were stopped again.
        stopped: Vec<String>,
    },
    /// A job of a plan.
    Planned(PlannedJob),
    /// What is remembered of a unit.
    History(UnitHistory),
    /// A crash of one of our own processes.
    Crash(CrashLine),
    /// How the last upgrade stands.
    Upgrade(UpgradeLine),
    /// Something was not as it was recorded.
    Difference(Difference),
}
