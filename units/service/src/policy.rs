//! What the state machine must know of a `[Service]` section: the rules, without the means.
//!
//! How a process is set up (users, directories, limits) is [`crate::context`]; the machine does
//! not look at it. Times are microseconds; `u64::MAX` is infinity.

use serde::{Deserialize, Serialize};
use units::state::Micros;
use units::value::exit::ExitSet;

/// No limit of time.
pub const NEVER: Micros = Micros::MAX;

/// `Type=`: what "started" means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Started as soon as the process is forked.
    #[default]
    Simple,
    /// Started when the process has executed its program.
    Exec,
    /// Started when the process has ended well and left a daemon behind.
    Forking,
    /// Started when all processes have ended well, one after the other.
    Oneshot,
    /// Started when the service says so.
    Notify,
    /// The same, and reloads by a signal that it answers.
    NotifyReload,
}

impl Kind {
    /// Whether the service itself says when it is ready.
    pub fn notifies(self) -> bool {
        matches!(self, Self::Notify | Self::NotifyReload)
    }
}

/// Which of the command lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    /// `ExecCondition=`.
    Condition,
    /// `ExecStartPre=`.
    StartPre,
    /// `ExecStart=`.
    #[default]
    Start,
    /// `ExecStartPost=`.
    StartPost,
    /// `ExecReload=`.
    Reload,
    /// `ExecStop=`.
    Stop,
    /// `ExecStopPost=`.
    StopPost,
}

impl Step {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Condition,
        Self::StartPre,
        Self::Start,
        Self::StartPost,
        Self::Reload,
        Self::Stop,
        Self::StopPost,
    ];

    /// The directive.
    pub fn directive(self) -> &'static str {
        match self {
            Self::Condition => "ExecCondition=",
            Self::StartPre => "ExecStartPre=",
            Self::Start => "ExecStart=",
            Self::StartPost => "ExecStartPost=",
            Self::Reload => "ExecReload=",
            Self::Stop => "ExecStop=",
            Self::StopPost => "ExecStopPost=",
        }
    }

    /// Its number in the journal.
    pub fn number(self) -> u16 {
        match self {
            Self::Condition => 0,
            Self::StartPre => 1,
            Self::Start => 2,
            Self::StartPost => 3,
            Self::Reload => 4,
            Self::Stop => 5,
            Self::StopPost => 6,
        }
    }

    /// From its number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// `Restart=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After a clean end.
    OnSuccess,
    /// After any other.
    OnFailure,
    /// After a signal, a time-out or the watchdog.
    OnAbnormal,
    /// After the watchdog.
    OnWatchdog,
    /// After an uncaught signal.
    OnAbort,
    /// Always.
    Always,
}

/// `KillMode=`: who is killed when the service stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillMode {
    /// Everything in the control group.
    #[default]
    ControlGroup,
    /// The main process by the first signal, everything by the last.
    Mixed,
    /// The main process.
    Process,
    /// Nobody.
    None,
}

/// `TimeoutStartFailureMode=`, `TimeoutStopFailureMode=`: by which signal a time-out ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutMode {
    /// `KillSignal=`.
    #[default]
    Terminate,
    /// `WatchdogSignal=`.
    Abort,
    /// `FinalKillSignal=`.
    Kill,
}

/// `NotifyAccess=`: whose notifications count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nobody's.
    #[default]
    None,
    /// The main process's.
    Main,
    /// The main and the control process's.
    Exec,
    /// Those of every process of the unit.
    All,
}

/// How the service is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// `KillMode=`.
    pub mode: KillMode,
    /// `KillSignal=`.
    pub signal: u8,
    /// `RestartKillSignal=`: in its place where a start follows; `None` if it is the same.
    pub restart: Option<u8>,
    /// `FinalKillSignal=`.
    pub last: u8,
    /// `WatchdogSignal=`.
    pub watchdog: u8,
    /// `SendSIGHUP=`.
    pub hup: bool,
    /// `SendSIGKILL=`.
    pub kill: bool,
}

/// SIGTERM, SIGKILL and SIGABRT have these numbers on every Linux.
const SIGTERM: u8 = 15;
const SIGKILL: u8 = 9;
const SIGABRT: u8 = 6;

impl Default for Kill {
    fn default() -> Self {
        Self {
            mode: KillMode::ControlGroup,
            signal: SIGTERM,
            restart: None,
            last: SIGKILL,
            watchdog: SIGABRT,
            hup: false,
            kill: true,
        }
    }
}

/// Limits of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `TimeoutStartSec=`; for each step of the start.
    pub start: Micros,
    /// `TimeoutStopSec=`; for each step of the stop.
    pub stop: Micros,
    /// `TimeoutAbortSec=`; after the watchdog's signal.
    pub abort: Micros,
    /// `RuntimeMaxSec=`.
    pub runtime: Micros,
    /// `WatchdogSec=`; 0 is none.
    pub watchdog: Micros,
    /// `TimeoutStartFailureMode=`.
    pub start_mode: TimeoutMode,
    /// `TimeoutStopFailureMode=`.
    pub stop_mode: TimeoutMode,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            start: 90_000_000,
            stop: 90_000_000,
            abort: 90_000_000,
            runtime: NEVER,
            watchdog: 0,
            start_mode: TimeoutMode::Terminate,
            stop_mode: TimeoutMode::Terminate,
        }
    }
}

/// When a new invocation is wished for, and how soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`.
    pub delay: Micros,
    /// `RestartMaxDelaySec=`.
    pub max: Micros,
    /// `RestartSteps=`.
    pub steps: u32,
    /// `RestartPreventExitStatus=`.
    pub prevent: ExitSet,
    /// `RestartForceExitStatus=`.
    pub force: ExitSet,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            restart: Restart::No,
            delay: 100_000,
            max: NEVER,
            steps: 0,
            prevent: ExitSet::default(),
            force: ExitSet::default(),
        }
    }
}

impl Again {
    /// The delay before automatic restart number `count` (from 0) in a row: it grows from `delay`
    /// to `max` by the same factor each time, within `steps` restarts.
    pub fn delay(&self, count: u32) -> Micros {
        if count == 0 || self.steps == 0 || self.delay == 0 || self.max == NEVER {
            return self.delay;
        }
        if self.max <= self.delay {
            return self.delay;
        }
        if count >= self.steps {
            return self.max;
        }
        let factor = root(self.max as f64 / self.delay as f64, power(self.steps));
        let grown = self.delay as f64 * factor.powi(power(count));
        ((grown + 0.5) as Micros).clamp(self.delay, self.max)
    }
}

/// An exponent; what is beyond is as good as the greatest.
fn power(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The `n`-th root of what is at least 1, by halving. (`powf` would bring 8 KiB of tables along.)
fn root(of: f64, n: i32) -> f64 {
    let (mut low, mut high) = (1.0, of);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if middle.powi(n) > of {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// One command list, as far as the machine looks at it: for each command whether its failure is
/// ignored (`-`).
pub type Flags = Box<[bool]>;

/// The rules of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `Type=`.
    pub kind: Kind,
    /// `RemainAfterExit=`.
    pub remain: bool,
    /// Whether there is a `PIDFile=`.
    pub pid_file: bool,
    /// `GuessMainPID=`, as its negation.
    pub no_guess: bool,
    /// `NotifyAccess=`, as implied by `Type=` and `WatchdogSec=`.
    pub access: Access,
    /// `ReloadSignal=`; 0 is SIGHUP.
    pub reload_signal: u8,
    /// The command lists, by the steps' numbers.
    pub commands: [Flags; 7],
    /// `SuccessExitStatus=`.
    pub success: ExitSet,
    /// `Restart=` and its kin.
    pub again: Again,
    /// Limits of time.
    pub times: Times,
    /// `KillMode=` and its kin.
    pub kill: Kill,
}

impl Policy {
    /// How many commands a list has.
    pub fn count(&self, step: Step) -> usize {
        self.commands
            .get(usize::from(step.number()))
            .map_or(0, |list| list.len())
    }

    /// Whether the failure of this command is ignored.
    pub fn ignores(&self, step: Step, index: u16) -> bool {
        self.commands
            .get(usize::from(step.number()))
            .and_then(|list| list.get(usize::from(index)))
            .copied()
            .unwrap_or(false)
    }

    /// Whether the service can read its configuration again.
    pub fn can_reload(&self) -> bool {
        self.kind == Kind::NotifyReload || self.count(Step::Reload) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_stable_numbers() {
        for (number, step) in Step::ALL.iter().enumerate() {
            assert_eq!(usize::from(step.number()), number);
            assert_eq!(Step::from_number(number as u16), Some(*step));
        }
        assert_eq!(Step::from_number(7), None);
    }

    #[test]
    fn the_restart_delay_grows_to_its_maximum() {
        let again = Again {
            delay: 1_000_000,
            max: 16_000_000,
            steps: 4,
            ..Again::default()
        };
        let delays: Vec<Micros> = (0..6).map(|count| again.delay(count)).collect();
        assert_eq!(
            delays,
            [
                1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000, 16_000_000
            ]
        );
        let plain = Again {
            delay: 5,
            ..Again::default()
        };
        assert_eq!(plain.delay(100), 5);
    }
}
