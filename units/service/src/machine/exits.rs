//! What the end of a process means, state by state.

use super::{Machine, verdict};
use crate::policy::{Kind, Step};
use crate::run::{At, Awaited, Order, Role, State, Why};
use units::state::{Exit, Outcome};

/// SIGHUP, SIGINT, SIGPIPE and SIGTERM: how a daemon may end well.
const CLEAN_SIGNALS: [u8; 4] = [1, 2, 13, 15];

impl Machine<'_> {
    fn main_went(&self, exit: Exit) -> Why {
        let daemon = self.policy.kind != Kind::Oneshot;
        let clean = match exit {
            Exit::Code(0) => true,
            Exit::Signal(signal) => daemon && CLEAN_SIGNALS.contains(&signal),
            _ => false,
        };
        let ignored = !self.run.main_foreign && self.policy.ignores(Step::Start, self.run.main_at);
        if clean || ignored || self.policy.success.contains(exit) {
            Why::Success
        } else {
            verdict(exit)
        }
    }

    fn control_went(&self, exit: Exit) -> Why {
        let At { step, index } = self.run.control_at;
        if exit.is_clean_code() || self.policy.ignores(step, index) {
            return Why::Success;
        }
        match (step, exit) {
            (Step::Condition, Exit::Code(1..=254)) => Why::Condition,
            // The daemon's own start command.
            (Step::Start, exit) if self.policy.success.contains(exit) => Why::Success,
            (_, exit) => verdict(exit),
        }
    }

    /// The words for `Report::detail`.
    fn explain(&mut self, at: At, exit: Exit, setup: Option<&str>) {
        let count = self.policy.count(at.step);
        let which = if count > 1 {
            format!(
                "{} (command {} of {count})",
                at.step.directive(),
                at.index + 1
            )
        } else {
            at.step.directive().into()
        };
        let text = match (setup, exit) {
            (Some(setup), _) => format!("{which} was not executed: {setup}"),
            (None, Exit::Code(code)) => format!("{which} exited with code {code}"),
            (None, Exit::Signal(signal)) => format!("{which} was killed by signal {signal}"),
            (None, Exit::Core(signal)) => {
                format!("{which} was killed by signal {signal} and left a core")
            }
        };
        self.log(4, text.clone());
        if self.run.why == Why::Success || self.run.detail.is_empty() {
            self.run.detail = text;
        }
    }

    pub(super) fn main_ended(&mut self, exit: Exit, setup: Option<&str>) {
        if self.run.main.is_none() {
            return;
        }
        let why = self.main_went(exit);
        self.run.main = None;
        self.run.main_exit = Some(exit);
        self.changed();
        if why != Why::Success || setup.is_some() {
            let at = At {
                step: Step::Start,
                index: self.run.main_at,
            };
            self.explain(at, exit, setup);
        }
        self.main_gone(why);
    }

    fn main_gone(&mut self, why: Why) {
        if self.run.state == State::Start && self.policy.kind == Kind::Oneshot {
            let next = self.run.main_at.saturating_add(1);
            if why == Why::Success && usize::from(next) < self.policy.count(Step::Start) {
                self.enter(State::Start, self.policy.times.start);
                self.fork_main(next);
                return;
            }
        }
        match self.run.state {
            State::StartPost | State::Reload | State::ReloadSignal | State::ReloadNotify => {
                self.mind(why);
                if self.run.control.is_none() {
                    self.conclude(Order::Reload, Outcome::Failed);
                    self.enter_stop(why);
                }
            }
            State::Start => self.main_gone_early(why),
            State::Running => self.enter_running(why),
            State::Stop => self.mind(why),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                self.mind(why);
                if self.run.control.is_none() {
                    self.enter_stop_post(why, false);
                }
            }
            _ => self.mind(why),
        }
    }

    /// The main process has ended before it counted as started.
    fn main_gone_early(&mut self, why: Why) {
        match self.policy.kind {
            Kind::Oneshot if why == Why::Success => self.enter_start_post(),
            Kind::Notify | Kind::NotifyReload if why == Why::Success => {
                self.run.detail = "its main process exited without having said READY=1".into();
                self.enter_signal(State::StopSigterm, Why::Protocol);
            }
            Kind::Oneshot | Kind::Notify | Kind::NotifyReload | Kind::Exec
                if why != Why::Success =>
            {
                self.enter_signal(State::StopSigterm, why);
            }
            _ => self.enter_running(why),
        }
    }

    pub(super) fn control_ended(&mut self, exit: Exit, setup: Option<&str>) {
        if self.run.control.is_none() {
            return;
        }
        let at = self.run.control_at;
        let why = self.control_went(exit);
        self.run.control = None;
        self.changed();
        if !matches!(why, Why::Success | Why::Condition) || setup.is_some() {
            self.explain(at, exit, setup);
        }
        if why == Why::Success && self.wants_next() && self.next_control() {
            return;
        }
        self.control_failed(at, why);
    }

    /// Whether the list the control process comes from is what the state is about.
    fn wants_next(&self) -> bool {
        matches!(
            (self.run.state, self.run.control_at.step),
            (State::Condition, Step::Condition)
                | (State::StartPre, Step::StartPre)
                | (State::StartPost, Step::StartPost)
                | (State::Reload, Step::Reload)
                | (State::Stop, Step::Stop)
                | (State::StopPost, Step::StopPost)
        )
    }

    /// The control process is gone and no other follows.
    pub(super) fn control_failed(&mut self, at: At, why: Why) {
        // A failed reload is not the service's failure.
        if self.run.state != State::Reload {
            self.mind(why);
        }
        match self.run.state {
            State::Condition if why == Why::Success => self.enter_start_pre(),
            State::StartPre if why == Why::Success => self.enter_start(),
            State::Condition | State::StartPre => self.enter_signal(State::StopSigterm, why),
            State::Start if at.step == Step::Start => {
                if why == Why::Success {
                    self.look_for_main();
                } else {
                    self.enter_signal(State::StopSigterm, why);
                }
            }
            State::StartPost => self.start_post_done(why),
            State::Reload => {
                if why == Why::Success && self.policy.kind == Kind::NotifyReload {
                    self.reload_by_signal();
                } else {
                    self.reloaded(why);
                }
            }
            State::Stop => self.enter_signal(State::StopSigterm, why),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill
                if self.run.main.is_none() =>
            {
                self.enter_stop_post(why, false);
            }
            State::StopPost => self.enter_signal(State::FinalSigterm, why),
            _ => {}
        }
    }

    fn start_post_done(&mut self, why: Why) {
        if why != Why::Success {
            self.enter_signal(State::StopSigterm, why);
        } else if self.policy.kind == Kind::Forking && self.run.main.is_none() {
            if self.run.main_known {
                self.enter_running(Why::Success);
            } else {
                self.run.deadline = self.now.saturating_add(self.policy.times.start);
                self.look_for_main();
            }
        } else {
            self.enter_running(Why::Success);
        }
    }

    /// Gone, with its exit unknown: nothing may be concluded from it but that.
    pub(super) fn lost(&mut self, role: Role) {
        let (gone, at) = match role {
            Role::Main => {
                let at = At {
                    step: Step::Start,
                    index: self.run.main_at,
                };
                (self.run.main.take(), at)
            }
            Role::Control => (self.run.control.take(), self.run.control_at),
        };
        let Some(proc) = gone else { return };
        if self.run.awaited == Awaited::Fork(role, at) {
            self.run.awaited = Awaited::Nothing;
        }
        let text = format!(
            "the end of process {} ({}) went unseen: how it ended is not known",
            proc.pid,
            at.step.directive()
        );
        self.log(4, text.clone());
        if self.run.why == Why::Success {
            self.run.detail = text;
        }
        self.changed();
        match role {
            Role::Main => self.main_gone(Why::Interrupted),
            Role::Control => self.control_failed(at, Why::Interrupted),
        }
    }
}
