//! The state machine of one service: `(record, rules, event, now) → effects`.
//!
//! It does no I/O. What it remembers is a [`Run`], what it obeys a [`Policy`]; what it wants done
//! it appends to a list of [`Effect`]s, and the shell carries them out in order and comes back
//! with what happened as an [`Event`].
//!
//! # The way up
//!
//! * `dead`, `failed`: nothing runs. `Start` leaves them.
//! * `start-prepare`: only for services that notify. Their socket must be in init's keeping
//!   before the first process can use it; waits for that.
//! * `condition`: the commands of `ExecCondition=`, one by one. An exit code of 1 to 254 means "not
//!   now": the service goes down by way of `stop-sigterm`, and that is no failure.
//! * `start-pre`: the commands of `ExecStartPre=`, one by one.
//! * `start`: the service is being made. What ends the state depends on `Type=`: nothing
//!   (simple), that the program was executed (exec), that the control process has ended well and
//!   the main process is known (forking), that the last command has ended well (oneshot), READY=1
//!   (notify).
//! * `start-post`: the commands of `ExecStartPost=`, while the main process runs. If one fails,
//!   so does the start.
//! * `running`: up. `exited`: up by `RemainAfterExit=`, with or without processes.
//!
//! The command `Start` is done when `running` or `exited` is reached, or, for a oneshot without
//! `RemainAfterExit=`, when the service is down again and all went well.
//!
//! # Reload
//!
//! * `reload`: the commands of `ExecReload=`. `reload-signal`: the reload signal was sent, RELOADING=1
//!   is awaited. `reload-notify`: RELOADING=1 came, READY=1 is awaited. A reload that fails or takes too long
//!   leaves the service running and only the command fails.
//!
//! # The way down
//!
//! Whatever the reason, the service goes through these states from left to right, entering where
//! the reason says and leaving out what has nothing to do:
//!
//! `stop` (the commands of `ExecStop=`; only if the start was complete and the main process did not fail) → `stop-watchdog` (only
//! after the watchdog or for a time-out in mode abort) → `stop-sigterm` → `stop-sigkill` →
//! `stop-post` (the commands of `ExecStopPost=`, always) → `final-sigterm` → `final-sigkill` →
//! `dead` or `failed`.
//!
//! The signal states wait for the main and the control process, the `final-` ones for everything in the
//! unit; a time-out goes one state further. Who gets the signals is `KillMode=`'s decision. The
//! first thing that went wrong is the result of the invocation; later ones do not change it.
//!
//! # Nothing is done twice
//!
//! Before each effect the record is stored (`Effect::Record`) with what is awaited from the effect
//! ([`Awaited`]). A helper that finds such a record asks the world what became of it: the slots in
//! the journal know of every fork, a signal or a look for a PID file is repeated. A process that
//! was lost with its exit status unknown arrives as [`Event::Lost`], and the invocation's result
//! is `interrupted`; the step is not repeated.
//!
//! # Restart
//!
//! The machine only wishes ([`units::state::RestartWish`]); whether and when a new invocation
//! comes is the engine's decision.

mod down;
mod exits;
mod said;
mod up;

#[cfg(test)]
mod tests;

use crate::policy::{Kind, NEVER, Policy, Step};
use crate::run::{At, Awaited, Order, Role, Run, State, Why};
use units::state::{Exit, Invocation, Micros, Outcome, ProcId};

pub use said::Notification;

/// What happened to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Command.
    Start {
        /// Its sequence.
        seq: u64,
        /// The new invocation.
        invocation: Invocation,
    },
    /// Command.
    Stop {
        /// Its sequence.
        seq: u64,
    },
    /// Command.
    Reload {
        /// Its sequence.
        seq: u64,
    },
    /// Command.
    ResetFailed {
        /// Its sequence.
        seq: u64,
    },
    /// Answer to [`Effect::Prepare`].
    Prepared,
    /// Answer to [`Effect::Fork`]: it runs.
    Forked(ProcId),
    /// Answer to [`Effect::Fork`]: it could not be made, for this reason.
    NotForked(String),
    /// The forked child has executed its program (asked for by `Type=exec` only).
    Executed,
    /// A process has ended.
    Ended {
        /// Which.
        role: Role,
        /// How.
        exit: Exit,
        /// What failed in its set-up before it executed its program, if that was it.
        setup: Option<&'a str>,
    },
    /// A process is gone, and how it ended will never be known.
    Lost(Role),
    /// Answer to [`Effect::Signal`]: whether there is anything left that should end by it.
    Signalled {
        /// There is.
        left: bool,
    },
    /// No process is left in the unit. Told whenever that becomes, or is, true while
    /// [`Machine::wants_empty`].
    Empty,
    /// Answer to [`Effect::FindMain`]: the main process; if not, why not.
    Found(Result<ProcId, &'a str>),
    /// The service says something.
    Notify(&'a Notification),
    /// [`Machine::next_deadline`] may have passed.
    Deadline,
    /// A new helper has taken this record over, and has told all it knows of the processes.
    Adopted,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Store the record before the next effect.
    Record,
    /// See to it that the notify socket is safe, then [`Event::Prepared`].
    Prepare,
    /// Fork this command. Answer: [`Event::Forked`] or [`Event::NotForked`].
    Fork {
        /// What the process will be.
        role: Role,
        /// Command.
        at: At,
        /// Whether [`Event::Executed`] is wanted.
        watch: bool,
    },
    /// Send a signal. Answer: [`Event::Signalled`].
    Signal(Signal),
    /// Kill the control process; its end is of no interest any more.
    KillControl,
    /// Send the main process its reload signal.
    SignalMain(u8),
    /// Find the main process of a forking service. Answer: [`Event::Found`].
    FindMain,
    /// A main process that was not forked as such: have its end reported.
    Watch(ProcId),
    /// The invocation is over: remove what belongs to it.
    Clean {
        /// Keep the runtime directories that are to survive a restart.
        restarting: bool,
    },
    /// Tell the manager.
    Report,
    /// A line for the log.
    Log(u8, String),
}

/// Who gets which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Number.
    pub number: u8,
    /// To the main process.
    pub main: bool,
    /// To the control process.
    pub control: bool,
    /// To every other process of the unit.
    pub rest: bool,
    /// SIGHUP and SIGCONT along with it.
    pub hup: bool,
}

/// The machine, for the handling of one event.
pub struct Machine<'a> {
    /// Record.
    pub run: &'a mut Run,
    /// Rules.
    pub policy: &'a Policy,
    /// Time of the event.
    pub now: Micros,
    /// Effects, appended to.
    pub out: &'a mut Vec<Effect>,
    /// The stop is the first half of a restart.
    restarting: bool,
    dirty: bool,
    report: bool,
}

impl<'a> Machine<'a> {
    /// Whether a stop is the first half of a restart.
    pub fn restarting(mut self, restarting: bool) -> Self {
        self.restarting = restarting;
        self
    }

    /// Of this service.
    pub fn new(
        run: &'a mut Run,
        policy: &'a Policy,
        now: Micros,
        out: &'a mut Vec<Effect>,
    ) -> Self {
        Self {
            run,
            policy,
            now,
            out,
            restarting: false,
            dirty: false,
            report: false,
        }
    }

    /// Takes one event.
    pub fn handle(mut self, event: Event<'_>) {
        match event {
            Event::Start { seq, invocation } => self.start(seq, invocation),
            Event::Stop { seq } => self.stop(seq),
            Event::Reload { seq } => self.reload(seq),
            Event::ResetFailed { seq } => self.reset_failed(seq),
            Event::Prepared => self.prepared(),
            Event::Forked(proc) => self.forked(proc),
            Event::NotForked(why) => self.not_forked(&why),
            Event::Executed => self.executed(),
            Event::Ended {
                role: Role::Main,
                exit,
                setup,
            } => self.main_ended(exit, setup),
            Event::Ended {
                role: Role::Control,
                exit,
                setup,
            } => self.control_ended(exit, setup),
            Event::Lost(role) => self.lost(role),
            Event::Signalled { left } => self.signalled(left),
            Event::Empty => self.empty(),
            Event::Found(found) => self.found(found),
            Event::Notify(said) => self.notified(said),
            Event::Deadline => self.deadline(),
            Event::Adopted => self.adopted(),
        }
        self.finish();
    }

    /// The record goes first, and no report while an answer is due in the same turn.
    fn finish(&mut self) {
        if self.dirty {
            self.out.push(Effect::Record);
        }
        let soon = matches!(self.run.awaited, Awaited::Fork(..) | Awaited::Signal);
        if self.report && !soon {
            self.out.push(Effect::Report);
        }
    }

    /// Whether the service waits for its last process to go.
    pub fn wants_empty(run: &Run, policy: &Policy) -> bool {
        match run.state {
            State::Start | State::StartPost => run.awaited == Awaited::MainPid,
            State::Running => !run.main_known && run.control.is_none(),
            State::Reload | State::ReloadSignal | State::ReloadNotify => false,
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                run.main.is_none() && run.control.is_none()
                    || policy.kill.mode == crate::policy::KillMode::None
            }
            State::FinalSigterm | State::FinalSigkill => true,
            _ => false,
        }
    }

    /// When the machine wants [`Event::Deadline`], if nothing else happens. `pat` is when the
    /// service last patted its watchdog (or became watched).
    pub fn next_deadline(run: &Run, policy: &Policy, pat: Micros) -> Micros {
        run.deadline.min(watchdog_deadline(run, policy, pat))
    }

    /// When the service's watchdog wants it, if it is not patted again; [`NEVER`] if it is not watched.
    pub fn watchdog_deadline(run: &Run, policy: &Policy, pat: Micros) -> Micros {
        watchdog_deadline(run, policy, pat)
    }

    fn changed(&mut self) {
        self.dirty = true;
        self.report = true;
    }

    /// An effect that must not leave before the record of it.
    fn act(&mut self, effect: Effect) {
        self.out.push(Effect::Record);
        self.dirty = false;
        self.out.push(effect);
    }

    fn log(&mut self, level: u8, text: String) {
        self.out.push(Effect::Log(level, text));
    }

    /// Enters a state; what is under way in it is given up after `timeout`.
    fn enter(&mut self, state: State, timeout: Micros) {
        let (was, is) = (self.run.state.active(), state.active());
        if was != is && !(was.is_up() && is.is_up()) {
            self.run.since = self.now;
        }
        self.run.state = state;
        self.run.deadline = if timeout == NEVER {
            NEVER
        } else {
            self.now.saturating_add(timeout)
        };
        self.run.awaited = Awaited::Nothing;
        self.changed();
    }

    /// Records what the result of the invocation is, if nothing went wrong before.
    fn mind(&mut self, why: Why) {
        if why != Why::Success && self.run.why == Why::Success {
            self.run.why = why;
            self.changed();
        }
    }

    /// The open command is finished, if it is this one.
    fn conclude(&mut self, order: Order, outcome: Outcome) {
        if self.run.order == order && order != Order::None {
            self.run.order = Order::None;
            self.run.outcome = outcome;
            self.changed();
        }
    }

    fn accept(&mut self, seq: u64, order: Order) {
        self.run.seq = seq;
        self.run.order = order;
        self.run.outcome = Outcome::Pending;
        self.changed();
    }

    /// Forks a command as the control process.
    fn fork_control(&mut self, step: Step, index: u16, timeout: Micros) {
        let at = At { step, index };
        self.run.deadline = if timeout == NEVER {
            NEVER
        } else {
            self.now.saturating_add(timeout)
        };
        self.run.control_at = at;
        self.run.awaited = Awaited::Fork(Role::Control, at);
        self.changed();
        self.act(Effect::Fork {
            role: Role::Control,
            at,
            watch: false,
        });
    }

    /// Forks a command as the main process.
    fn fork_main(&mut self, index: u16) {
        let at = At {
            step: Step::Start,
            index,
        };
        self.run.main_at = index;
        self.run.main_known = true;
        self.run.main_foreign = false;
        self.run.awaited = Awaited::Fork(Role::Main, at);
        self.changed();
        let watch = self.policy.kind == Kind::Exec;
        self.act(Effect::Fork {
            role: Role::Main,
            at,
            watch,
        });
    }

    /// Whether the main process runs, as far as can be known without asking.
    fn main_runs(&self) -> bool {
        self.run.main.is_some()
    }

    fn adopted(&mut self) {
        self.changed();
        match self.run.awaited {
            Awaited::Nothing => {}
            Awaited::Socket => self.act(Effect::Prepare),
            // The shell knew: the slot is proven empty.
            Awaited::Fork(role, at) => {
                let watch = role == Role::Main && self.policy.kind == Kind::Exec;
                self.act(Effect::Fork { role, at, watch });
            }
            Awaited::Signal => self.send_signal(),
            Awaited::MainPid => self.act(Effect::FindMain),
        }
        if self.run.state.is_down() && self.run.dirty {
            let restarting = self.run.wish.is_some();
            self.act(Effect::Clean { restarting });
        }
    }
}

/// When the service is taken for hung; [`NEVER`] if it is not watched.
fn watchdog_deadline(run: &Run, policy: &Policy, pat: Micros) -> Micros {
    let span = run.watchdog.unwrap_or(policy.times.watchdog);
    let watched = matches!(
        run.state,
        State::StartPost
            | State::Running
            | State::Reload
            | State::ReloadSignal
            | State::ReloadNotify
    ) || (run.state == State::Start && run.said == crate::run::Said::Ready);
    if span == 0 || span == NEVER || !watched {
        NEVER
    } else {
        pat.saturating_add(span)
    }
}

/// The result word of an end that is not a success.
fn verdict(exit: Exit) -> Why {
    match exit {
        Exit::Code(_) => Why::ExitCode,
        Exit::Signal(_) => Why::Signal,
        Exit::Core(_) => Why::CoreDump,
    }
}
