//! The channel between the manager and a unit helper.
//!
//! The helper connects to `/run/sysmaster/helper` and says [`FromHelper::Hello`]; the manager
//! checks that the peer is the process it recorded as the helper of that type and answers
//! [`ToHelper::Welcome`]. Then, in this order:
//!
//! 1. The manager hands over the helper's two memories, if init keeps any, as `Fd` frames with the
//!    labels of kinds Journal and Slots, or says `NotFound`; a helper that has its memories mapped
//!    already (it outlived a manager) ignores them. A helper that got none makes them and sends
//!    `Keep`.
//! 2. The manager sends `Load` for each unit of the type that it knows, then [`ToHelper::Sync`].
//! 3. The helper adopts what its journal holds, sends a [`Report`] for each unit of which it knows
//!    anything, and [`FromHelper::Synced`]. Whatever the manager believed to be up and was not
//!    reported is down.
//! 4. Commands, exits and descriptors flow. A command whose sequence is already in the journal is
//!    answered by a report and not carried out again.
//!
//! When the manager dies, the helper goes on with what it has accepted, keeps the last report of
//! each unit, and connects again; the listening socket is kept by init, so the connection waits in
//! its backlog. A `Welcome` of a lower epoch than the highest seen ends the connection.

use crate::state::{Invocation, Micros, ProcId, Report, Whom};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A descriptor kept by init: kind, 128-bit hash of its owner, and which of the owner's (see
/// `init-wire`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// Kind of descriptor; the numbers are init-wire's.
    pub kind: u16,
    /// Hash of the owner's name: the unit, or the helper's type.
    pub hash: [u8; 16],
    /// Which of the owner's descriptors of this kind, from 0.
    pub index: u16,
}

/// One line of a unit file that the engine does not interpret, with where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawEntry {
    /// Section without brackets.
    pub section: String,
    /// Key left of `=`.
    pub key: String,
    /// Value right of `=`, continuation lines joined, otherwise as written.
    pub value: String,
    /// Which of the unit's files: index into [`UnitSource::files`].
    pub file: u16,
    /// Line in it, from 1.
    pub line: u32,
}

/// A unit's own sections as merged from its files, for its type to interpret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSource {
    /// Unit name.
    pub unit: String,
    /// Unit file and drop-ins, in merge order.
    pub files: Vec<String>,
    /// Their entries except `[Unit]` and `[Install]`.
    pub entries: Vec<RawEntry>,
    /// `Description=`, or the name.
    pub description: String,
    /// Where the unit's processes belong below the cgroup root: `system.slice/nginx.service`.
    pub cgroup: String,
}

/// How bad a finding in a unit file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// The unit does not load.
    Error,
    /// An unknown name, ignored.
    Warning,
    /// A directive systemd knows and we do not carry out yet; ignored unless `Strict=yes`.
    Unsupported,
}

/// A finding in a unit file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Index into [`UnitSource::files`].
    pub file: u16,
    /// Line, from 1; 0 where it concerns the whole file.
    pub line: u32,
    /// What was found, what was expected, what to do.
    pub text: String,
}

impl Finding {
    /// An error of the unit as a whole: of no line of its file.
    pub fn of_unit(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: 0,
            line: 0,
            text: text.into(),
        }
    }
}

/// A dependency that follows from a unit's own section (a directory's mount, a bus, a device).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Implied {
    /// Directive of `[Unit]` that would say the same: `After`, `Requires` …
    pub key: String,
    /// The other unit, or path for `RequiresMountsFor`.
    pub value: String,
}

/// How it stands with what a unit triggers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Triggered {
    /// It is down, and nothing is to bring it up.
    Down,
    /// It is up, or on its way there.
    Up,
    /// It cannot be started, for this reason, in systemd's word for a result where it has one.
    Refused(String),
}

/// Listening descriptors of one unit that another gets when it starts, as first descriptors from 3
/// on. init keeps them under the kind `SOCKET_UNIT`, the hash of `from`, and the indices from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// Whose they are.
    pub from: String,
    /// Who gets them.
    pub to: String,
    /// What they are called (`LISTEN_FDNAMES`).
    pub name: String,
    /// How many; 0: no more.
    pub count: u16,
}

/// What a unit is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Come up under this command's invocation.
    Start,
    /// Go down, whatever runs.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Pass on a signal; changes no state by itself.
    Kill {
        /// To whom.
        whom: Whom,
        /// Signal number, 1..=64.
        signal: u8,
    },
    /// From failed to inactive.
    ResetFailed,
}

/// One command of the engine to one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Unit name.
    pub unit: String,
    /// The invocation it starts or belongs to.
    pub invocation: Invocation,
    /// Rises with each command: the manager's epoch in the upper 32 bits, a counter below.
    pub seq: u64,
    /// What to do.
    pub verb: Verb,
}

/// What surrounds a unit's next command. It says nothing about the one after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Unit name.
    pub unit: String,
    /// For a start: the one unit that has this one in its `OnFailure=` or `OnSuccess=`; empty if
    /// there is none, or more than one.
    pub triggered_by: String,
    /// For a stop: a start follows.
    pub restarting: bool,
}

/// What holds for all units of a helper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperConfig {
    /// A directive known but not carried out makes the unit fail to load.
    pub strict: bool,
    /// `DefaultTimeoutStartSec=`, microseconds; `u64::MAX` is infinity.
    pub timeout_start: Micros,
    /// `DefaultTimeoutStopSec=`.
    pub timeout_stop: Micros,
    /// `DefaultRestartSec=`.
    pub restart_delay: Micros,
    /// `DefaultEnvironment=`, as `NAME=value`.
    pub environment: Vec<String>,
    /// Mount point of the cgroup v2 hierarchy with the path of our own root in it, or empty if
    /// there is none: sessions and process groups then.
    pub cgroup_root: String,
    /// The helper's process before this one died by its own fault: what it was at may be to blame.
    pub fault: bool,
}

/// Something that is not as it is recorded, or recorded and not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Unit name; empty if it concerns none.
    pub unit: String,
    /// What it is: `process`, `cgroup`, `socket`, `directory`, `timer`.
    pub kind: String,
    /// What was found, for people.
    pub found: String,
    /// What was done about it, for people.
    pub done: String,
}

/// What the frame of a [`ToHelper::Load`] begins with.
pub const LOAD: u8 = 1;

/// In place of a wait status: the process is gone, and nobody will ever tell how it ended. (As a wait status it would be
/// a stop, which is no end.)
pub const END_UNKNOWN: i32 = 0x7f;

/// Manager to helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHelper {
    /// The manager of this epoch accepts the helper.
    Welcome {
        /// Protocol version spoken on this connection.
        version: u16,
        /// Build of the manager.
        build: String,
        /// Epoch init gave it.
        epoch: u64,
        /// Settings.
        config: HelperConfig,
    },
    /// Here is a unit of your type, or its new configuration. Answer: `Loaded`.
    Load(UnitSource),
    /// Forget a unit that is down.
    Unload {
        /// Unit name.
        unit: String,
    },
    /// All known units are sent: adopt, report, and say `Synced`.
    Sync,
    /// Do this. Answered by reports.
    Command(Command),
    /// A process that was not your child at its death, or no more, has ended; init reaped it.
    /// Answer: `ExitTaken`.
    Exited {
        /// Which.
        proc: ProcId,
        /// Raw wait status, or [`END_UNKNOWN`].
        status: i32,
    },
    /// The descriptor is safe in init.
    Kept {
        /// Of `Keep`.
        label: Label,
    },
    /// It could not be kept.
    NotKept {
        /// Of `Keep`.
        label: Label,
        /// Why.
        reason: String,
    },
    /// Here it is (one descriptor beside the frame).
    Fd {
        /// Of `Fetch`, or unasked for the two memories after `Welcome`.
        label: Label,
    },
    /// init keeps nothing under this label.
    NotFound {
        /// Of `Fetch`.
        label: Label,
    },
    /// Answer `Pong` at once.
    Ping {
        /// To be repeated.
        nonce: u64,
    },
    /// Finish: no unit of your type is up or will be. Answer by exiting with 0.
    Quit,
    /// What a unit of yours triggers has changed, or is told for the first time on this connection.
    Triggered {
        /// Your unit.
        unit: String,
        /// How it stands.
        state: Triggered,
    },
    /// What is in quarantine because of this unit (or of any, if it is empty) may be tried again.
    Pardon {
        /// Unit name, or empty.
        unit: String,
    },
    /// A unit of yours gets listening descriptors from now on. Told after its `Load`. To the one that
    /// has them it says what the manager has on record.
    Sockets(Sockets),
    /// What to know about the unit's next command (from version 2 on).
    About(About),
    /// Compare what is recorded with what the kernel says, see to what differs, and say it: any number of
    /// [`FromHelper::Difference`]. The answer to the next `Ping` is the end. (Helpers that do not know this
    /// pass it over.)
    Reconcile,
}

/// Helper to manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHelper {
    /// First frame of a connection.
    Hello {
        /// Highest protocol version spoken.
        version: u16,
        /// Build of the helper.
        build: String,
        /// Its unit type: `service` …
        unit_type: String,
        /// Highest epoch ever welcomed by; 0 for a new process.
        epoch: u64,
        /// Whether its memories are mapped already.
        adopted: bool,
    },
    /// Answer to `Load`.
    Loaded {
        /// Unit name.
        unit: String,
        /// All findings; any error means that the unit cannot be started.
        findings: Vec<Finding>,
        /// Dependencies to add.
        implied: Vec<Implied>,
        /// Whether a reload is possible.
        can_reload: bool,
    },
    /// A unit has changed, or a command was accepted or done.
    Report(Report),
    /// All reports of the adoption are sent.
    Synced,
    /// `Exited` is recorded.
    ExitTaken {
        /// Which.
        proc: ProcId,
    },
    /// Tell me when this process, not my child, ends.
    Watch {
        /// Which.
        proc: ProcId,
    },
    /// No longer.
    Unwatch {
        /// Which.
        proc: ProcId,
    },
    /// Have init keep the descriptor beside this frame. Answer: `Kept` or `NotKept`.
    Keep {
        /// Under this label, in place of what it holds.
        label: Label,
    },
    /// Let init close it.
    Drop {
        /// Which.
        label: Label,
    },
    /// Get it from init. Answer: `Fd` or `NotFound`.
    Fetch {
        /// Which.
        label: Label,
    },
    /// A line for the manager's log.
    Log {
        /// syslog level, 0..=7.
        level: u8,
        /// Unit, or empty.
        unit: String,
        /// One line.
        text: String,
    },
    /// Answer to `Ping`.
    Pong {
        /// As asked.
        nonce: u64,
    },
    /// What a unit waits for has come: what it triggers is to be started. Answer: `Triggered`, and
    /// again with each change. Not repeated: a unit that still waits says so to each new manager.
    Trigger {
        /// Unit name.
        unit: String,
    },
    /// What the process before this one was at when it died by its own fault, for people; and whether
    /// it is not done any more, because it was the second.
    Crashed {
        /// A command and its unit, say.
        what: String,
        /// In quarantine now.
        quarantined: bool,
    },
    /// A unit has listening descriptors for another, in init's keeping. Said before the report that
    /// it is up, so that whoever is started after it has them.
    Offer(Sockets),
    /// Part of the answer to [`ToHelper::Reconcile`].
    Difference(Difference),
}
