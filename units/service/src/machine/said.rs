//! What a service says about itself (sd_notify).

use super::Machine;
use crate::policy::NEVER;
use crate::run::{Said, State, Why};
use units::state::{Micros, ProcId};

/// The part of a notification that concerns the state; its sender has been checked, and a main
/// process belongs to the unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// READY=1
    pub ready: bool,
    /// RELOADING=1
    pub reloading: bool,
    /// STOPPING=1
    pub stopping: bool,
    /// STATUS=
    pub status: Option<String>,
    /// ERRNO=
    pub errno: Option<i32>,
    /// MAINPID=
    pub main: Option<ProcId>,
    /// EXTEND_TIMEOUT_USEC=
    pub extend: Option<Micros>,
    /// WATCHDOG_USEC=
    pub watchdog: Option<Micros>,
    /// WATCHDOG=trigger
    pub trigger: bool,
}

impl Machine<'_> {
    pub(super) fn notified(&mut self, said: &Notification) {
        if self.run.state.is_down() {
            return;
        }
        if let Some(main) = said.main {
            self.take_main(main);
        }
        self.note(said);
        // The last word counts if several are said at once; stopping is the strongest.
        if said.stopping {
            self.says_stopping();
        } else if said.reloading && !said.ready {
            self.says_reloading();
        } else if said.ready {
            self.says_ready();
        }
        if let Some(extend) = said.extend {
            self.extend(extend);
        }
        if said.trigger && self.is_up() {
            self.run.detail = "the service has triggered its watchdog itself".into();
            self.drop_control();
            self.enter_signal(State::StopWatchdog, Why::Watchdog);
        }
    }

    fn note(&mut self, said: &Notification) {
        if let Some(status) = &said.status
            && *status != self.run.status
        {
            self.run.status.clone_from(status);
            self.changed();
        }
        if let Some(errno) = said.errno {
            self.run.errno = errno;
            self.changed();
        }
        if let Some(watchdog) = said.watchdog {
            self.run.watchdog = Some(watchdog);
            self.changed();
        }
    }

    fn says_ready(&mut self) {
        self.run.said = Said::Ready;
        self.changed();
        match self.run.state {
            State::Start if self.policy.kind.notifies() => self.enter_start_post(),
            State::ReloadNotify => self.reloaded(Why::Success),
            _ => {}
        }
    }

    fn says_reloading(&mut self) {
        self.run.said = Said::Reloading;
        self.changed();
        match self.run.state {
            State::Running | State::ReloadSignal => {
                self.enter(State::ReloadNotify, self.policy.times.start);
            }
            _ => {}
        }
    }

    fn says_stopping(&mut self) {
        self.run.said = Said::Stopping;
        self.changed();
        if matches!(
            self.run.state,
            State::Running | State::ReloadSignal | State::ReloadNotify
        ) {
            self.enter(State::StopSigterm, self.policy.times.stop);
        }
    }

    /// More time for what is under way: never less than was left.
    fn extend(&mut self, by: Micros) {
        let until = self.now.saturating_add(by);
        if self.run.deadline != NEVER && until > self.run.deadline {
            self.run.deadline = until;
            self.changed();
        }
    }
}
