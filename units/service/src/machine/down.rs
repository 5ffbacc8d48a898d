//! The way down, whoever starts it.

use super::{Effect, Machine, Signal, watchdog_deadline};
use crate::policy::{KillMode, NEVER, Restart, Step, TimeoutMode};
use crate::run::{Awaited, Order, Said, State, Why};
use units::state::{ActiveState, Micros, Outcome, RestartWish};

impl Machine<'_> {
    pub(super) fn stop(&mut self, seq: u64) {
        self.accept(seq, Order::Stop);
        self.run.forbid_restart = true;
        self.run.next = None;
        if self.run.wish.take().is_some() {
            self.run.restarts = 0;
        }
        match self.run.state {
            State::Dead | State::Failed => self.conclude(Order::Stop, Outcome::Done),
            State::Prepare => self.enter_dead(),
            State::Condition | State::StartPre | State::Start | State::StartPost => {
                self.enter_signal(State::StopSigterm, Why::Success);
            }
            State::Reload | State::ReloadSignal | State::ReloadNotify => {
                self.drop_control();
                self.enter_stop(Why::Success);
            }
            State::Running | State::Exited => self.enter_stop(Why::Success),
            // On its way already.
            _ => {}
        }
    }

    pub(super) fn reset_failed(&mut self, seq: u64) {
        if self.run.state == State::Failed {
            self.run.wish = None;
            self.run.restarts = 0;
            self.run.why = Why::Success;
            self.run.detail.clear();
            self.enter(State::Dead, NEVER);
        }
        if self.run.order == Order::None && seq > self.run.seq {
            self.run.seq = seq;
            self.run.outcome = Outcome::Done;
        }
        self.changed();
    }

    /// Kills a control process whose end is of no interest any more.
    pub(super) fn drop_control(&mut self) {
        if self.run.control.is_some() {
            self.act(Effect::KillControl);
            self.run.control = None;
            self.changed();
        }
    }

    pub(super) fn enter_stop(&mut self, why: Why) {
        self.mind(why);
        if self.policy.count(Step::Stop) == 0 {
            self.enter_signal(State::StopSigterm, Why::Success);
            return;
        }
        self.enter(State::Stop, NEVER);
        self.fork_control(Step::Stop, 0, self.policy.times.stop);
    }

    /// Sends the signal of one of the killing states and enters it.
    pub(super) fn enter_signal(&mut self, state: State, why: Why) {
        self.mind(why);
        let timeout = match state {
            State::StopWatchdog => self.policy.times.abort,
            _ => self.policy.times.stop,
        };
        self.enter(state, timeout);
        if self.policy.kill.mode == KillMode::None {
            self.signalled(false);
        } else {
            self.run.awaited = Awaited::Signal;
            self.send_signal();
        }
    }

    pub(super) fn send_signal(&mut self) {
        let kill = &self.policy.kill;
        let last = matches!(self.run.state, State::StopSigkill | State::FinalSigkill);
        let abort = self.run.state == State::StopWatchdog;
        let number = match () {
            () if last => kill.last,
            () if abort => kill.watchdog,
            () => kill
                .restart
                .filter(|_| self.restarting)
                .unwrap_or(kill.signal),
        };
        let rest = match kill.mode {
            KillMode::ControlGroup => true,
            KillMode::Mixed => last,
            KillMode::Process | KillMode::None => false,
        };
        let hup = kill.hup && !last && !abort;
        let signal = Signal {
            number,
            main: true,
            control: true,
            rest,
            hup,
        };
        self.act(Effect::Signal(signal));
    }

    pub(super) fn signalled(&mut self, left: bool) {
        if !self.run.state.is_killing() {
            return;
        }
        self.run.awaited = Awaited::Nothing;
        self.changed();
        if left {
            return;
        }
        // Nothing was there to take the signal. Only in mode mixed the last signal goes to more
        // processes than the first.
        let harder = self.policy.kill.mode == KillMode::Mixed && self.policy.kill.kill;
        match self.run.state {
            State::StopWatchdog | State::StopSigterm if harder => {
                self.enter_signal(State::StopSigkill, Why::Success);
            }
            State::FinalSigterm if harder => {
                self.enter_signal(State::FinalSigkill, Why::Success);
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                self.enter_stop_post(Why::Success, true);
            }
            _ => self.enter_dead(),
        }
    }

    /// `empty`: it is known that nothing of the unit runs, or nothing that may be killed.
    pub(super) fn enter_stop_post(&mut self, why: Why, empty: bool) {
        self.mind(why);
        if self.policy.count(Step::StopPost) > 0 {
            self.enter(State::StopPost, NEVER);
            self.fork_control(Step::StopPost, 0, self.policy.times.stop);
        } else if empty {
            self.enter_dead();
        } else {
            self.enter_signal(State::FinalSigterm, Why::Success);
        }
    }

    pub(super) fn enter_dead(&mut self) {
        let wish = self.wish();
        if self.run.dirty {
            self.act(Effect::Clean {
                restarting: wish.is_some(),
            });
        }
        let well = matches!(self.run.why, Why::Success | Why::Condition);
        self.enter(if well { State::Dead } else { State::Failed }, NEVER);
        self.run.main = None;
        self.run.control = None;
        self.run.said = Said::Nothing;
        self.run.wish = wish;
        let started = match self.run.why {
            Why::Success => Outcome::Done,
            Why::Condition => Outcome::Skipped,
            Why::Interrupted => Outcome::Interrupted,
            _ => Outcome::Failed,
        };
        self.conclude(Order::Start, started);
        self.conclude(Order::Reload, Outcome::Failed);
        self.conclude(Order::Stop, Outcome::Done);
        if let Some((seq, invocation)) = self.run.next.take() {
            self.begin(seq, invocation);
        }
    }

    /// Whether `Restart=` asks for a new invocation, and after which delay.
    fn wish(&self) -> Option<RestartWish> {
        let again = &self.policy.again;
        if self.run.forbid_restart {
            return None;
        }
        if let Some(exit) = self.run.main_exit {
            if again.prevent.contains(exit) {
                return None;
            }
            if again.force.contains(exit) {
                return Some(RestartWish {
                    delay: again.delay(self.run.restarts),
                });
            }
        }
        let why = self.run.why;
        let wished = match again.restart {
            Restart::No => false,
            Restart::Always => why != Why::Condition,
            Restart::OnSuccess => why == Why::Success,
            Restart::OnFailure => !matches!(why, Why::Success | Why::Condition),
            Restart::OnAbnormal => !matches!(why, Why::Success | Why::ExitCode | Why::Condition),
            Restart::OnWatchdog => why == Why::Watchdog,
            Restart::OnAbort => matches!(why, Why::Signal | Why::CoreDump),
        };
        wished.then(|| RestartWish {
            delay: again.delay(self.run.restarts),
        })
    }

    pub(super) fn deadline(&mut self) {
        if self.run.deadline != NEVER && self.now >= self.run.deadline {
            self.timeout();
        }
    }

    /// The service has not patted its watchdog in time.
    pub fn starved(mut self, pat: Micros) {
        if self.now >= watchdog_deadline(self.run, self.policy, pat) {
            self.log(
                3,
                "watchdog: the service has not reported in time, stopping it".into(),
            );
            self.run.detail = "it did not report to its watchdog in time".into();
            self.drop_control();
            self.enter_signal(State::StopWatchdog, Why::Watchdog);
        }
        self.finish();
    }

    fn timeout(&mut self) {
        let state = self.run.state;
        self.run.deadline = NEVER;
        self.changed();
        let text = match state {
            State::Running => "has run for RuntimeMaxSec=, stopping it".into(),
            _ => format!("time-out in state {}", state.as_str()),
        };
        if self.run.why == Why::Success && self.run.detail.is_empty() {
            self.run.detail = text.clone();
        }
        self.log(4, text);
        match state {
            State::Prepare => {
                self.mind(Why::Timeout);
                self.enter_dead();
            }
            State::Condition | State::StartPre | State::Start | State::StartPost => {
                self.give_up(self.policy.times.start_mode);
            }
            State::Running => self.enter_stop(Why::Timeout),
            State::Reload | State::ReloadSignal | State::ReloadNotify => {
                self.drop_control();
                self.run.said = Said::Ready;
                self.reloaded(Why::Timeout);
            }
            State::Stop => self.give_up(self.policy.times.stop_mode),
            State::StopSigterm if self.policy.times.stop_mode == TimeoutMode::Abort => {
                self.enter_signal(State::StopWatchdog, Why::Timeout);
            }
            State::StopWatchdog | State::StopSigterm if self.policy.kill.kill => {
                self.enter_signal(State::StopSigkill, Why::Timeout);
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                self.abandon();
                self.enter_stop_post(Why::Timeout, false);
            }
            State::StopPost => self.enter_signal(State::FinalSigterm, Why::Timeout),
            State::FinalSigterm if self.policy.kill.kill => {
                self.enter_signal(State::FinalSigkill, Why::Timeout);
            }
            State::FinalSigterm | State::FinalSigkill => {
                self.mind(Why::Timeout);
                self.log(3, "processes are left that could not be killed".into());
                self.enter_dead();
            }
            State::Dead | State::Exited | State::Failed => {}
        }
    }

    /// What did not end by its last signal is not waited for any longer.
    fn abandon(&mut self) {
        if self.run.main.take().is_some() || self.run.control.take().is_some() {
            self.log(
                3,
                "a process did not end by the last signal, going on without it".into(),
            );
        }
        self.run.control = None;
        self.changed();
    }

    fn give_up(&mut self, mode: TimeoutMode) {
        let state = match mode {
            TimeoutMode::Terminate => State::StopSigterm,
            TimeoutMode::Abort => State::StopWatchdog,
            TimeoutMode::Kill => State::StopSigkill,
        };
        self.enter_signal(state, Why::Timeout);
    }

    /// Nothing of the unit is left.
    pub(super) fn empty(&mut self) {
        if !Self::wants_empty(self.run, self.policy) {
            return;
        }
        match self.run.state {
            State::Start | State::StartPost => {
                self.run.awaited = Awaited::Nothing;
                self.run.detail =
                    "all its processes are gone and there is no main process by PIDFile=".into();
                self.run.main_known = true;
                self.enter_signal(State::StopSigterm, Why::Protocol);
            }
            State::Running => {
                self.run.main_known = true;
                self.enter_running(Why::Success);
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                self.enter_stop_post(Why::Success, true);
            }
            State::FinalSigterm | State::FinalSigkill
                if self.run.main.is_none() && self.run.control.is_none() =>
            {
                self.enter_dead();
            }
            _ => {}
        }
    }

    /// Whether the service counts as up for its own notifications.
    pub(super) fn is_up(&self) -> bool {
        matches!(
            self.run.state.active(),
            ActiveState::Active | ActiveState::Reloading
        )
    }
}
