//! The way up, and reload.

use super::{Effect, Machine};
use crate::policy::{Access, Kind, NEVER, Step};
use crate::run::{At, Awaited, Order, Role, Said, State, Why};
use units::state::{Invocation, Outcome, ProcId};

impl Machine<'_> {
    pub(super) fn start(&mut self, seq: u64, invocation: Invocation) {
        let state = self.run.state;
        if state.is_down() {
            self.begin(seq, invocation);
            return;
        }
        match state {
            State::Running
            | State::Exited
            | State::Reload
            | State::ReloadSignal
            | State::ReloadNotify => {
                self.accept(seq, Order::Start);
                self.conclude(Order::Start, Outcome::Done);
            }
            State::Prepare
            | State::Condition
            | State::StartPre
            | State::Start
            | State::StartPost => self.accept(seq, Order::Start),
            _ => {
                self.run.next = Some((seq, invocation));
                self.changed();
            }
        }
    }

    /// A new invocation.
    pub(super) fn begin(&mut self, seq: u64, invocation: Invocation) {
        let run = &mut *self.run;
        run.restarts = if run.wish.take().is_some() {
            run.restarts.saturating_add(1)
        } else {
            0
        };
        run.invocation = invocation;
        run.why = Why::Success;
        run.reload_why = Why::Success;
        run.main = None;
        run.main_known = false;
        run.main_foreign = false;
        run.main_exit = None;
        run.control = None;
        run.said = Said::Nothing;
        run.status.clear();
        run.detail.clear();
        run.errno = 0;
        run.watchdog = None;
        run.forbid_restart = false;
        run.next = None;
        run.sessions.clear();
        run.dirty = true;
        self.accept(seq, Order::Start);
        if self.policy.access == Access::None {
            self.enter_condition();
        } else {
            self.enter(State::Prepare, self.policy.times.start);
            self.run.awaited = Awaited::Socket;
            self.act(Effect::Prepare);
        }
    }

    pub(super) fn prepared(&mut self) {
        if self.run.state == State::Prepare {
            self.enter_condition();
        }
    }

    fn enter_condition(&mut self) {
        if self.policy.count(Step::Condition) == 0 {
            self.enter_start_pre();
            return;
        }
        self.enter(State::Condition, NEVER);
        self.fork_control(Step::Condition, 0, self.policy.times.start);
    }

    pub(super) fn enter_start_pre(&mut self) {
        if self.policy.count(Step::StartPre) == 0 {
            self.enter_start();
            return;
        }
        self.enter(State::StartPre, NEVER);
        self.fork_control(Step::StartPre, 0, self.policy.times.start);
    }

    pub(super) fn enter_start(&mut self) {
        let timeout = match self.policy.kind {
            Kind::Simple => NEVER,
            _ => self.policy.times.start,
        };
        self.enter(State::Start, timeout);
        if self.policy.count(Step::Start) == 0 {
            // Only a oneshot may have none.
            self.run.main_known = true;
            self.enter_start_post();
        } else if self.policy.kind == Kind::Forking {
            self.fork_control(Step::Start, 0, timeout);
        } else {
            self.fork_main(0);
        }
    }

    pub(super) fn forked(&mut self, proc: ProcId) {
        let Awaited::Fork(role, _) = self.run.awaited else {
            return;
        };
        self.run.awaited = Awaited::Nothing;
        self.changed();
        match role {
            Role::Control => self.run.control = Some(proc),
            Role::Main => {
                self.run.main = Some(proc);
                if self.run.state == State::Start && self.policy.kind == Kind::Simple {
                    self.enter_start_post();
                }
            }
        }
    }

    pub(super) fn not_forked(&mut self, why: &str) {
        let Awaited::Fork(role, at) = self.run.awaited else {
            return;
        };
        self.run.awaited = Awaited::Nothing;
        self.run.detail = format!("{} could not be run: {why}", at.step.directive());
        self.changed();
        let text = self.run.detail.clone();
        self.log(3, text);
        match role {
            Role::Control => self.control_failed(at, Why::Resources),
            Role::Main => self.enter_signal(State::StopSigterm, Why::Resources),
        }
    }

    pub(super) fn executed(&mut self) {
        if self.run.state == State::Start
            && self.policy.kind == Kind::Exec
            && self.run.main.is_some()
        {
            self.enter_start_post();
        }
    }

    /// The forking service's control process has ended well: who is its main process?
    pub(super) fn look_for_main(&mut self) {
        if self.run.main.is_some() || (self.policy.no_guess && !self.policy.pid_file) {
            self.main_settled();
            return;
        }
        self.run.awaited = Awaited::MainPid;
        self.changed();
        self.act(Effect::FindMain);
    }

    pub(super) fn found(&mut self, found: Result<ProcId, &str>) {
        if self.run.awaited != Awaited::MainPid {
            return;
        }
        match found {
            Ok(proc) => {
                self.take_main(proc);
                self.run.detail.clear();
                self.main_settled();
            }
            // Without a PID file nobody will ever say more.
            Err(_) if !self.policy.pid_file => self.main_settled(),
            // After ExecStartPost= it is looked for again; until then it may still be written.
            Err(_) if self.run.state == State::Start && self.policy.count(Step::StartPost) > 0 => {
                self.run.awaited = Awaited::Nothing;
                self.enter_start_post();
            }
            Err(why) => {
                if self.run.detail != why {
                    self.run.detail = why.into();
                    self.changed();
                }
            }
        }
    }

    /// The main process, or that there is none to be known, is settled: on.
    fn main_settled(&mut self) {
        self.run.awaited = Awaited::Nothing;
        match self.run.state {
            State::Start => self.enter_start_post(),
            _ => self.enter_running(Why::Success),
        }
    }

    /// This process is the main process from now on.
    pub(super) fn take_main(&mut self, proc: ProcId) {
        if self.run.main == Some(proc) {
            return;
        }
        self.run.main = Some(proc);
        self.run.main_known = true;
        self.run.main_foreign = true;
        self.run.main_exit = None;
        self.changed();
        self.out.push(Effect::Record);
        self.out.push(Effect::Watch(proc));
    }

    pub(super) fn enter_start_post(&mut self) {
        if self.policy.count(Step::StartPost) == 0 {
            self.enter_running(Why::Success);
            return;
        }
        self.enter(State::StartPost, NEVER);
        self.fork_control(Step::StartPost, 0, self.policy.times.start);
    }

    /// Up, if there is anything that is.
    pub(super) fn enter_running(&mut self, why: Why) {
        self.mind(why);
        let good = self.main_runs() || !self.run.main_known;
        if self.run.why != Why::Success {
            // There is nobody left whom ExecStop= could ask to end.
            self.enter_signal(State::StopSigterm, Why::Success);
        } else if good {
            match self.run.said {
                Said::Stopping => {
                    self.up();
                    self.enter(State::StopSigterm, self.policy.times.stop);
                    return;
                }
                Said::Reloading => {
                    self.up();
                    self.enter(State::ReloadNotify, self.policy.times.start);
                    return;
                }
                _ => {}
            }
            let timeout = self.policy.times.runtime;
            let left = if timeout == NEVER || !self.run.state.active().is_up() {
                timeout
            } else {
                self.run
                    .since
                    .saturating_add(timeout)
                    .saturating_sub(self.now)
            };
            self.enter(State::Running, left);
            self.up();
        } else if self.policy.remain {
            self.enter(State::Exited, NEVER);
            self.up();
        } else {
            self.enter_stop(Why::Success);
        }
    }

    fn up(&mut self) {
        self.conclude(Order::Start, Outcome::Done);
    }

    pub(super) fn reload(&mut self, seq: u64) {
        match self.run.state {
            State::Running | State::Exited if self.policy.can_reload() => {}
            State::Reload | State::ReloadSignal | State::ReloadNotify => {
                self.accept(seq, Order::Reload);
                return;
            }
            _ => {
                self.accept(seq, Order::Reload);
                self.run.detail = if self.policy.can_reload() {
                    format!("cannot reload in state {}", self.run.state.as_str())
                } else {
                    "has no ExecReload= and is not of Type=notify-reload".into()
                };
                self.conclude(Order::Reload, Outcome::Failed);
                return;
            }
        }
        self.accept(seq, Order::Reload);
        self.run.reload_why = Why::Success;
        if self.policy.count(Step::Reload) > 0 {
            self.enter(State::Reload, NEVER);
            self.fork_control(Step::Reload, 0, self.policy.times.start);
        } else {
            self.reload_by_signal();
        }
    }

    /// Type=notify-reload: the signal, then RELOADING=1, then READY=1.
    pub(super) fn reload_by_signal(&mut self) {
        const SIGHUP: u8 = 1;
        let signal = match self.policy.reload_signal {
            0 => SIGHUP,
            other => other,
        };
        self.run.said = Said::Ready;
        self.enter(State::ReloadSignal, self.policy.times.start);
        self.act(Effect::SignalMain(signal));
    }

    /// The reload is over, well or not; the service goes on.
    pub(super) fn reloaded(&mut self, why: Why) {
        self.run.reload_why = why;
        let outcome = match why {
            Why::Success => Outcome::Done,
            Why::Interrupted => Outcome::Interrupted,
            _ => Outcome::Failed,
        };
        self.conclude(Order::Reload, outcome);
        self.enter_running(Why::Success);
    }

    /// The next command of the list that the control process is at, if there is one.
    pub(super) fn next_control(&mut self) -> bool {
        let At { step, index } = self.run.control_at;
        let next = index.saturating_add(1);
        if usize::from(next) >= self.policy.count(step) {
            return false;
        }
        let timeout = match self.run.state {
            State::Stop | State::StopPost => self.policy.times.stop,
            _ => self.policy.times.start,
        };
        self.fork_control(step, next, timeout);
        true
    }
}
