//! What goes into the engine and what comes out of it.
//!
//! The shell feeds one [`Input`] at a time with the time it happened and carries out the
//! [`Effect`]s in their order. `Record` effects come before the effect they make safe: the shell
//! has stored them before it does the next. Nothing else passes the border: no I/O, no clock, no
//! randomness (the invocation ids come in with the inputs' `entropy`).

use crate::rel::Rel;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use units::name::UnitName;
use units::spec::{Action, UnitSpec};
use units::state::{
    ActiveState, Invocation, JobMode, JobResult, JobVerb, Micros, Outcome, RestartWish, Times,
};
use units::wire::helper::Verb;

/// A unit in the arena. Stable as long as the engine lives; not across managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u32);

/// A job. Numbers rise and are not reused within a manager; recovered jobs keep theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u32);

/// Who asked for a transaction, so that its answer finds the way back. 0 is the engine itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The boot.
    pub const BOOT: Self = Self(1);
    /// The shutdown.
    pub const SHUTDOWN: Self = Self(2);
    /// A signal; nobody waits for the answer.
    pub const SIGNAL: Self = Self(3);
    /// The first of clients' tickets.
    pub const CLIENT: Self = Self(16);
}

/// Why a job came to be. Eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobCause {
    /// Nobody knows any more.
    #[default]
    Unknown,
    /// The machine booted to it.
    Boot,
    /// The machine goes down.
    Shutdown,
    /// A signal to init asked for it.
    Signal,
    /// A client did.
    Command,
    /// It follows from this unit, which has this relation to the job's unit.
    Unit(UnitId, Rel),
    /// This unit is isolated.
    Isolate(UnitId),
    /// `Restart=`.
    Restart,
    /// An atomic start is rolled back.
    RollBack,
    /// `StopWhenUnneeded=`.
    Unneeded,
    /// It never was: the transaction left it out because of an ordering cycle,
    Cycle,
    /// because it, or a unit it requires, cannot be loaded,
    Unusable,
    /// because it contradicts another job.
    Contradiction,
}

impl From<Ticket> for JobCause {
    fn from(ticket: Ticket) -> Self {
        match ticket {
            Ticket::BOOT => Self::Boot,
            Ticket::SHUTDOWN => Self::Shutdown,
            Ticket::SIGNAL => Self::Signal,
            _ => Self::Command,
        }
    }
}

/// How a unit's type carries out commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backing {
    /// By itself: being started is being active (targets, slices).
    Engine,
    /// By the helper of its type.
    Helper,
}

/// What a helper's report means to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Invocation spoken of.
    pub invocation: Invocation,
    /// Last command accepted.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// State.
    pub active: ActiveState,
    /// The type wants another invocation.
    pub restart: Option<RestartWish>,
    /// Whether reload is possible.
    pub can_reload: bool,
}

/// What a unit's conditions and assertions said, evaluated by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All hold.
    Go,
    /// A condition does not hold.
    Skip,
    /// An assertion does not hold.
    Refuse,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A unit was loaded, or loaded again. Its id is made at the first mention of its name.
    Loaded {
        /// The merged unit.
        spec: Box<UnitSpec>,
        /// Who carries it out.
        backing: Backing,
    },
    /// A unit's helper has read its sections.
    CanReload {
        /// Unit.
        unit: UnitId,
        /// Whether a reload is possible.
        can: bool,
    },
    /// Somebody wants a transaction. Everything its requirements reach has been `Loaded`.
    Enqueue {
        /// For the answer.
        ticket: Ticket,
        /// Anchor.
        unit: UnitName,
        /// What.
        verb: JobVerb,
        /// How.
        mode: JobMode,
    },
    /// Somebody wants these units started, all or none: see [`AtomicRecord`]. Everything their
    /// requirements reach has been `Loaded`.
    Atomic {
        /// For the answer.
        ticket: Ticket,
        /// Anchors.
        units: Vec<UnitName>,
        /// How. Nothing that isolates, flushes or cannot be undone.
        mode: JobMode,
    },
    /// Cancel a job.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Conditions were evaluated: answer to [`Effect::Check`].
    Checked {
        /// Unit.
        unit: UnitId,
        /// Of the effect.
        seq: u64,
        /// What they said.
        verdict: Verdict,
    },
    /// A helper reported on a unit.
    Report {
        /// Unit.
        unit: UnitId,
        /// What it said.
        observed: Observed,
    },
    /// The helper of a type came into contact and has reported everything it knows; what it did
    /// not report is down. Commands without an outcome are sent again, under their sequence.
    HelperSynced {
        /// Type: `service` …
        unit_type: String,
        /// Units it reported in this sync.
        reported: Vec<UnitId>,
    },
    /// The type has no helper, and will have none: its jobs fail as unsupported.
    HelperMissing {
        /// Type.
        unit_type: String,
    },
    /// From failed to inactive; start limit from zero.
    ResetFailed {
        /// Unit.
        unit: UnitId,
    },
    /// The machine goes down: no job but those of the shutdown transaction from now on.
    ShuttingDown,
    /// The machine was suspended for so long until now. Comes before whatever has happened since.
    Slept {
        /// What the clock counts and nobody was awake for.
        span: Micros,
    },
    /// A deadline may have passed.
    Tick,
}

/// A state record. Key: the job's number, or the 64-bit FNV-1a hash of the unit's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A unit that is not in its initial state. (Twice as large as any other, and rarer than jobs in a transaction.)
    Unit(Box<UnitRecord>),
    /// A queued job.
    Job(JobRecord),
    /// The engine as a whole; there is one, its key is 0.
    Engine(EngineRecord),
    /// An atomic start that has not ended. Key: its transaction.
    Atomic(AtomicRecord),
}

/// What holds for all units. Written after the job records of a transaction, it is what commits
/// them: a job of a later transaction than `committed` is rolled back at recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// Number of the last transaction that stands.
    pub committed: u32,
    /// Jobs of transactions before this one were flushed by it.
    pub flushed: u32,
    /// Number of the last job made.
    pub last_job: u32,
    /// The machine is going down.
    pub shutting_down: bool,
}

/// All of a unit that must outlive the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Name.
    pub name: UnitName,
    /// State.
    pub active: ActiveState,
    /// Since when.
    pub since: Micros,
    /// Current or last invocation.
    pub invocation: Invocation,
    /// Last command sent; 0 if none.
    pub seq: u64,
    /// It, if its outcome is not known yet.
    pub pending: Option<Verb>,
    /// When the automatic restart is due.
    pub restart_at: Option<Micros>,
    /// Automatic restarts since it was last started by hand.
    pub restarts: u32,
    /// Starts within the limit's interval: when it began, how many.
    pub limit: (Micros, u32),
    /// The start limit was hit.
    pub limit_hit: bool,
    /// What became of the last command, once it is known.
    pub outcome: Outcome,
    /// When it changed.
    pub times: Times,
    /// Its last job.
    pub past: Option<PastRecord>,
    /// Whether it can reload, as its helper last said.
    pub can_reload: bool,
}

/// All of a job that must outlive the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Number.
    pub id: JobId,
    /// Unit name.
    pub unit: UnitName,
    /// What.
    pub verb: JobVerb,
    /// Whether its command was given.
    pub running: bool,
    /// Whether only an irreversible transaction may replace it.
    pub irreversible: bool,
    /// Whether dependencies are ignored.
    pub ignore_order: bool,
    /// Queued since.
    pub since: Micros,
    /// The transaction it came with, or that changed it last.
    pub transaction: u32,
    /// The command it was given under; 0 if none yet.
    pub seq: u64,
    /// What it was before `transaction`, if it is older: what it falls back to if that transaction
    /// was never committed.
    pub was: Option<(JobVerb, u32)>,
    /// Why it came to be.
    pub cause: CauseRecord,
    /// When it will be given up; 0: never. `None`: by a version that did not record it.
    pub deadline: Option<Micros>,
}

/// A [`JobCause`]: its number, and the unit it speaks of.
pub type CauseRecord = (u8, Option<UnitName>);

/// A unit's last job, remembered for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRecord {
    /// What it did.
    pub verb: JobVerb,
    /// How it ended.
    pub result: JobResult,
    /// Why it came to be.
    pub cause: CauseRecord,
    /// The unit because of which it failed.
    pub culprit: Option<UnitName>,
    /// When it was queued.
    pub asked: Micros,
    /// When it ended.
    pub ended: Micros,
}

/// All of an atomic start that must outlive the manager, besides its jobs. While `failed` is `None`
/// its jobs are on their way; once it is recorded, so are the stops of the roll-back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomicRecord {
    /// Its transaction.
    pub transaction: u32,
    /// The units asked for, and whether their start has ended well.
    pub anchors: Vec<(UnitName, bool)>,
    /// Units that were down and that it brings up; once it rolls back, those it stops.
    pub started: Vec<UnitName>,
    /// Why it is rolled back: the anchor that did not come up, how its job ended, and a reason.
    pub failed: Option<(UnitName, JobResult, String)>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Store this under (kind, key) in place of what stands there.
    Record(Record),
    /// Remove the unit's record: it is in its initial state.
    ForgetUnit {
        /// Name.
        unit: UnitName,
    },
    /// Remove the job's record.
    ForgetJob {
        /// Which.
        job: JobId,
    },
    /// Remove the record of an atomic start.
    ForgetAtomic {
        /// Its transaction.
        transaction: u32,
    },
    /// Send this to the unit's helper (start the helper if it does not run).
    Command {
        /// Unit.
        unit: UnitId,
        /// Invocation.
        invocation: Invocation,
        /// Sequence.
        seq: u64,
        /// What.
        verb: Verb,
    },
    /// Evaluate the unit's conditions and assertions, answer with [`Input::Checked`].
    Check {
        /// Unit.
        unit: UnitId,
        /// To be repeated.
        seq: u64,
    },
    /// The transaction stands: number of the anchor's job (`None` if nothing had to be done).
    Queued {
        /// Of `Enqueue`.
        ticket: Ticket,
        /// Anchor's job.
        job: Option<JobId>,
    },
    /// The atomic start stands, or is one under way already.
    Opened {
        /// Of `Atomic`.
        ticket: Ticket,
        /// Its transaction; 0 if nothing had to be done.
        transaction: u32,
    },
    /// An atomic start has ended.
    Closed {
        /// Its transaction.
        transaction: u32,
        /// Why it was rolled back; `None`: all units are up.
        failed: Option<(UnitId, JobResult, String)>,
        /// The units that were stopped again, those that need others first.
        stopped: Vec<UnitId>,
    },
    /// The transaction was refused; nothing has changed.
    Rejected {
        /// Of `Enqueue` or `Atomic`.
        ticket: Ticket,
        /// Why.
        reason: Rejection,
    },
    /// A job has ended.
    JobEnded {
        /// Which.
        job: JobId,
        /// Its unit.
        unit: UnitId,
        /// Its verb.
        verb: JobVerb,
        /// How.
        result: JobResult,
        /// For people, where there is a reason to give.
        detail: String,
    },
    /// A unit's active state is another.
    Changed {
        /// Unit.
        unit: UnitId,
        /// Was.
        from: ActiveState,
        /// Is.
        to: ActiveState,
    },
    /// What a unit's file says is to happen to the machine. Whoever carries it out records it by
    /// himself before anything else: it comes before the records of what it follows from, and may
    /// come again after a crash.
    Act {
        /// Unit.
        unit: UnitId,
        /// What; never [`Action::None`].
        action: Action,
        /// Why.
        cause: Cause,
    },
    /// Nobody refers to the unit, and it is down: it is forgotten, as if it had never been loaded.
    /// Its number stays its own.
    Collected {
        /// Unit.
        unit: UnitId,
    },
    /// Something people should read.
    Log {
        /// syslog level, 0..=7.
        level: u8,
        /// Unit it concerns.
        unit: Option<UnitId>,
        /// One line.
        text: String,
    },
}

/// Why the machine goes down by a unit's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The unit failed (`FailureAction=`).
    Failed,
    /// It ended well (`SuccessAction=`).
    Succeeded,
    /// It was started too often (`StartLimitAction=`).
    StartLimit,
    /// A job of it took too long (`JobTimeoutAction=`).
    JobTimeout,
}

/// Why a transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The anchor, or a unit it requires, could not be loaded: name and reason.
    NotLoaded(String, String),
    /// The unit cannot do this.
    Refused(String),
    /// The unit's settings keep it from being started, stopped or isolated by hand.
    Forbidden(String),
    /// The request makes no sense: this job mode does not go with this verb.
    Misfit(String),
    /// Jobs contradict each other: link by link, in words.
    Contradiction(String),
    /// An ordering cycle that could not be broken, link by link.
    Cycle(String),
    /// It would undo a job that may not be undone.
    Destructive(String),
    /// The machine is going down.
    ShuttingDown,
    /// More jobs than there is room for.
    Full,
}
