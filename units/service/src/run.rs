//! What is remembered of one service: the record its machine works on.
//!
//! A [`Run`] is all that a new helper needs, beside the unit's configuration, to go on where the
//! old one was killed. It is written to the journal before any effect that it announces, as a
//! postcard frame under the hash of the unit's name. Fields are only ever appended.

use crate::policy::Step;
use serde::{Deserialize, Serialize};
use units::journal::Remembered;
use units::state::{ActiveState, Exit, Invocation, Micros, Outcome, ProcId, RestartWish};

/// Where a service is. [`crate::machine`] says what each state waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Down, and as it should be.
    #[default]
    Dead,
    /// Waiting for its notify socket to be in init's keeping.
    Prepare,
    /// `ExecCondition=` runs.
    Condition,
    /// `ExecStartPre=` runs.
    StartPre,
    /// `ExecStart=` runs and does not count as started yet.
    Start,
    /// `ExecStartPost=` runs.
    StartPost,
    /// Up.
    Running,
    /// Up by `RemainAfterExit=`; nothing need run.
    Exited,
    /// `ExecReload=` runs.
    Reload,
    /// The reload signal is sent and not answered yet.
    ReloadSignal,
    /// The service has said that it reloads, and not yet that it is ready.
    ReloadNotify,
    /// `ExecStop=` runs.
    Stop,
    /// `WatchdogSignal=` was sent.
    StopWatchdog,
    /// `KillSignal=` was sent, or the service has said that it stops.
    StopSigterm,
    /// `FinalKillSignal=` was sent.
    StopSigkill,
    /// `ExecStopPost=` runs.
    StopPost,
    /// `KillSignal=` was sent to what is left after `ExecStopPost=`.
    FinalSigterm,
    /// `FinalKillSignal=` was sent to it.
    FinalSigkill,
    /// Down, and not as it should be.
    Failed,
}

impl State {
    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Prepare => "start-prepare",
            Self::Condition => "condition",
            Self::StartPre => "start-pre",
            Self::Start => "start",
            Self::StartPost => "start-post",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Reload => "reload",
            Self::ReloadSignal => "reload-signal",
            Self::ReloadNotify => "reload-notify",
            Self::Stop => "stop",
            Self::StopWatchdog => "stop-watchdog",
            Self::StopSigterm => "stop-sigterm",
            Self::StopSigkill => "stop-sigkill",
            Self::StopPost => "stop-post",
            Self::FinalSigterm => "final-sigterm",
            Self::FinalSigkill => "final-sigkill",
            Self::Failed => "failed",
        }
    }

    /// What it is to everybody else.
    pub fn active(self) -> ActiveState {
        match self {
            Self::Dead => ActiveState::Inactive,
            Self::Prepare | Self::Condition | Self::StartPre | Self::Start | Self::StartPost => {
                ActiveState::Activating
            }
            Self::Running | Self::Exited => ActiveState::Active,
            Self::Reload | Self::ReloadSignal | Self::ReloadNotify => ActiveState::Reloading,
            Self::Stop
            | Self::StopWatchdog
            | Self::StopSigterm
            | Self::StopSigkill
            | Self::StopPost
            | Self::FinalSigterm
            | Self::FinalSigkill => ActiveState::Deactivating,
            Self::Failed => ActiveState::Failed,
        }
    }

    /// Whether nothing of the service runs or is about to.
    pub fn is_down(self) -> bool {
        matches!(self, Self::Dead | Self::Failed)
    }

    /// Whether a signal was sent and its effect is awaited.
    pub fn is_killing(self) -> bool {
        matches!(
            self,
            Self::StopWatchdog
                | Self::StopSigterm
                | Self::StopSigkill
                | Self::FinalSigterm
                | Self::FinalSigkill
        )
    }
}

/// How an invocation went, in systemd's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// As it should.
    #[default]
    Success,
    /// Something the helper needs was refused: a process, memory, a file.
    Resources,
    /// The service did not keep its side of `Type=`.
    Protocol,
    /// Its time was over.
    Timeout,
    /// An exit code that is not a success.
    ExitCode,
    /// A signal that is not a success.
    Signal,
    /// The same, and a core was left.
    CoreDump,
    /// It did not pat its watchdog.
    Watchdog,
    /// `ExecCondition=` said: not now.
    Condition,
    /// A step was in flight when its helper was lost, and what became of it cannot be known.
    Interrupted,
}

impl Why {
    /// systemd's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Watchdog => "watchdog",
            Self::Condition => "exec-condition",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Which process of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The service itself.
    Main,
    /// A start, stop or reload command.
    Control,
}

/// A command of the configuration: which list, and which in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// List.
    pub step: Step,
    /// Index in it.
    pub index: u16,
}

/// An effect that was asked for and has not been answered. It is in the record, so that a new
/// helper can tell whether it has to be done still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// None.
    #[default]
    Nothing,
    /// The notify socket.
    Socket,
    /// A fork. Whether it happened stands in the journal's slots.
    Fork(Role, At),
    /// A signal. Sending it once more does no harm.
    Signal,
    /// The main process of a forking service, by its PID file or by looking.
    MainPid,
}

/// What the service last said about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// Nothing yet.
    #[default]
    Nothing,
    /// READY=1
    Ready,
    /// RELOADING=1
    Reloading,
    /// STOPPING=1
    Stopping,
}

/// The command that the last report answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// None is open.
    #[default]
    None,
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Reload.
    Reload,
}

/// All that is remembered of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Unit name: a record is found by a hash, and verified by this.
    pub unit: String,
    /// Current or last invocation.
    pub invocation: Invocation,
    /// Last command accepted.
    pub seq: u64,
    /// Last `Kill` passed on; they have no outcome.
    pub kill_seq: u64,
    /// The open command.
    pub order: Order,
    /// What became of the last command.
    pub outcome: Outcome,
    /// State.
    pub state: State,
    /// Since when in this active state.
    pub since: Micros,
    /// When what is under way is given up; [`crate::policy::NEVER`] if never.
    pub deadline: Micros,
    /// Unanswered effect.
    pub awaited: Awaited,
    /// How the invocation goes.
    pub why: Why,
    /// How the last reload went.
    pub reload_why: Why,
    /// Main process.
    pub main: Option<ProcId>,
    /// Whether `main` is all that can be known: if it is `None`, there is none.
    pub main_known: bool,
    /// Whether the main process was named by PID file, notification or guess rather than forked
    /// as such.
    pub main_foreign: bool,
    /// Which command the main process is.
    pub main_at: u16,
    /// Control process.
    pub control: Option<ProcId>,
    /// Which command it is.
    pub control_at: At,
    /// How the main process ended.
    pub main_exit: Option<Exit>,
    /// What the service last said.
    pub said: Said,
    /// `STATUS=`.
    pub status: String,
    /// `ERRNO=`.
    pub errno: i32,
    /// For people: what failed.
    pub detail: String,
    /// `WATCHDOG_USEC=`, if the service has set it.
    pub watchdog: Option<Micros>,
    /// No automatic restart: it was stopped by a command.
    pub forbid_restart: bool,
    /// A new invocation is wished for.
    pub wish: Option<RestartWish>,
    /// Automatic restarts in a row.
    pub restarts: u32,
    /// A start that came while the service was going down.
    pub next: Option<(u64, Invocation)>,
    /// Whether the clean-up after the invocation is still to be done.
    pub dirty: bool,
    /// Sessions made for its processes, where there are no control groups.
    pub sessions: Vec<u32>,
    /// What the service has deposited: name and number of the label.
    pub stored: Vec<(String, u16)>,
    /// Whether its notify socket is in init's keeping.
    pub socket: bool,
    /// Control group of this invocation, below the root: a reload may move the next one.
    pub cgroup: String,
    /// Numbers of deposits whose end is not watched for (`FDPOLL=0`).
    pub unwatched: Vec<u16>,
}

impl Remembered for Run {
    fn unit(&self) -> &str {
        &self.unit
    }

    fn is_blank(&self) -> bool {
        self.state == State::Dead && self.seq == 0
    }
}

impl Run {
    /// A service of which nothing is known.
    pub fn new(unit: &str) -> Self {
        Self {
            unit: unit.into(),
            deadline: crate::policy::NEVER,
            ..Self::default()
        }
    }
}
