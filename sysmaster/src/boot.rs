//! From the first unit to the default target, and from a shutdown request to init's last step.
//!
//! Both are ordinary transactions; what is decided about them stands in the state store
//! ([`BootRecord`]), so that a later manager neither starts the machine twice nor forgets that it is
//! going down. Init knows about the shutdown too, and carries it out itself at its deadline if no
//! manager gets that far.

use crate::manager::Manager;
use engine::Phase;
use engine::api::{Input, JobId, Rejection, Ticket, UnitId};
use init_wire::{Ending, FromManager, flags};
use platform::clock;
use serde::{Deserialize, Serialize};
use units::name::UnitName;
use units::state::{ActiveState, JobMode, JobResult, JobVerb, Micros};
use units::wire::control::ShutdownKind;

/// The ticket of the boot's and the shutdown's transaction. Clients' tickets are higher.
pub(crate) const BOOT_TICKET: Ticket = Ticket::BOOT;
pub(crate) const SHUTDOWN_TICKET: Ticket = Ticket::SHUTDOWN;
/// Transactions that follow from signals; nobody waits for them.
pub(crate) const SIGNAL_TICKET: Ticket = Ticket::SIGNAL;
/// How long a manager in safe mode has to live until it counts as healthy, in milliseconds; init's
/// ladder is at its foot again after as long.
const HEALTHY_MS: u64 = 60_000;
/// The first ticket of a client.
pub(crate) const FIRST_TICKET: u64 = Ticket::CLIENT.0;

/// What outlives a manager about the boot as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// The unit booted to.
    pub target: String,
    /// When the first manager ran.
    pub started: Micros,
    /// When the target was reached or given up; 0: not yet.
    pub finished: Micros,
    /// The machine is going down.
    pub shutdown: Option<ShutdownKind>,
}

/// What the manager knows about the boot.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// As stored.
    pub record: BootRecord,
    /// An earlier manager of this boot left its state.
    pub recovery: bool,
    /// The target, once it has an id.
    pub target: Option<UnitId>,
    /// The target of the shutdown.
    pub last: Option<UnitId>,
    /// The units are to be stopped, all jobs at once if it is forced; decided amid something else.
    pub stopping: Option<(ShutdownKind, bool)>,
    /// Init was told that everything is managed.
    pub told_ready: bool,
    /// Init was told to do the last step.
    pub finishing: bool,
    /// In safe mode until then.
    pub safe_until: Option<Micros>,
}

/// Why a boot goes where it goes, from the strongest.
fn target_of(flags_set: u32, command_line: Option<&str>) -> String {
    if let Some(unit) = command_line {
        return unit.into();
    }
    if flags_set & flags::EMERGENCY != 0 {
        "emergency.target".into()
    } else if flags_set & flags::RESCUE != 0 {
        "rescue.target".into()
    } else {
        "default.target".into()
    }
}

fn shutdown_target(kind: ShutdownKind) -> &'static str {
    match kind {
        ShutdownKind::PowerOff => "poweroff.target",
        ShutdownKind::Reboot => "reboot.target",
        ShutdownKind::Halt => "halt.target",
        ShutdownKind::Kexec => "kexec.target",
    }
}

fn ending(kind: ShutdownKind) -> Ending {
    match kind {
        ShutdownKind::PowerOff => Ending::Poweroff,
        ShutdownKind::Reboot => Ending::Reboot,
        ShutdownKind::Halt => Ending::Halt,
        ShutdownKind::Kexec => Ending::Kexec,
    }
}

fn kind_of(ending: Ending) -> ShutdownKind {
    match ending {
        Ending::Poweroff => ShutdownKind::PowerOff,
        Ending::Reboot => ShutdownKind::Reboot,
        Ending::Halt => ShutdownKind::Halt,
        Ending::Kexec => ShutdownKind::Kexec,
    }
}

impl Manager {
    /// Starts the boot, or goes on with it.
    pub(crate) fn go_on_booting(&mut self) {
        let (flags_set, shutdown) = match &self.init {
            Some(init) => (init.hello().flags, init.hello().shutdown),
            None => (0, None),
        };
        if self.boot.recovery {
            self.boot.target = self.id_of(&self.boot.record.target.clone());
            if let Some(shutdown) = shutdown {
                self.shut_down(kind_of(shutdown.ending), false);
            } else if let Some(kind) = self.boot.record.shutdown {
                self.shut_down(kind, false);
            } else if flags_set & flags::SAFE_MODE != 0 {
                self.enter_safe_mode();
            } else {
                self.resume_boot();
            }
            return;
        }
        self.boot.record.started = self.started;
        self.boot.record.target = target_of(flags_set, self.command_line.unit.as_deref());
        self.store_boot();
        if let Some(shutdown) = shutdown {
            self.shut_down(kind_of(shutdown.ending), false);
            return;
        }
        if flags_set & flags::SAFE_MODE != 0 {
            return self.enter_safe_mode();
        }
        let target = self.boot.record.target.clone();
        self.boot_to(&target);
    }

    /// The managers before this one failed again and again: what runs stays managed, clients are
    /// served, and nothing is started by itself: no rest of a boot, no unit that something triggers.
    fn enter_safe_mode(&mut self) {
        let healthy = units::fault::number("SYSMASTER_HEALTHY_MS").unwrap_or(HEALTHY_MS);
        self.boot.safe_until = Some(clock::now() + healthy * 1000);
        let text = "safe mode: the managers before this one failed, nothing is started by itself";
        self.log(2, "", text);
        let line = self.console.note(text);
        self.show(&line);
    }

    /// Safe mode ends when this manager has proved healthy.
    pub(crate) fn safe_mode_due(&mut self, now: Micros) {
        if self.boot.safe_until.is_none_or(|until| now < until) {
            return;
        }
        self.boot.safe_until = None;
        self.log(5, "", "safe mode is left: this manager is healthy");
        if self.boot.record.shutdown.is_some() {
            return;
        }
        self.resume_boot();
        // Whoever waits to be triggered says so again.
        for index in 0..self.helpers.len() {
            let unit_type = self
                .helpers
                .get(index)
                .map(|helper| helper.unit_type.clone());
            self.tell_all_triggered(&unit_type.unwrap_or_default());
        }
    }

    /// What a manager left that ended between deciding to boot and the transaction, or between the
    /// target's arrival and the record of it.
    fn resume_boot(&mut self) {
        if self.boot.record.finished != 0 {
            return;
        }
        let target = self.boot.target.and_then(|id| self.engine.unit(id));
        match target.map(|unit| (unit.active.is_up(), unit.job.is_some())) {
            Some((true, _)) => self.boot_finished(true),
            Some((false, true)) => {}
            Some((false, false)) | None => {
                let target = self.boot.record.target.clone();
                self.boot_to(&target);
            }
        }
    }

    fn boot_to(&mut self, target: &str) {
        let Ok(name) = UnitName::new(target) else {
            self.boot_failed(&format!("{target} is no unit name"));
            return;
        };
        self.load_for(&name);
        self.boot.target = Some(self.engine.intern(&name));
        self.inputs.push_back(Input::Enqueue {
            ticket: BOOT_TICKET,
            unit: name,
            verb: JobVerb::Start,
            mode: JobMode::Replace,
        });
        self.pump();
    }

    /// The boot's or the shutdown's transaction was refused.
    pub(crate) fn own_ticket_rejected(&mut self, ticket: Ticket, reason: Rejection) {
        let (_, text) = crate::effects::rejection(reason);
        if ticket == BOOT_TICKET {
            self.boot_failed(&text);
        } else if ticket == SHUTDOWN_TICKET {
            self.log(3, "", &format!("units cannot be stopped in order: {text}"));
            self.finish_shutdown();
        } else {
            self.log(4, "", &text);
        }
    }

    /// The shutdown's transaction had nothing left to do.
    pub(crate) fn own_ticket_queued(&mut self, ticket: Ticket, job: Option<JobId>) {
        if ticket == SHUTDOWN_TICKET && job.is_none() {
            self.finish_shutdown();
        }
    }

    /// The unit to boot to cannot be started: rescue, then emergency, then whoever comes to the
    /// control socket.
    fn boot_failed(&mut self, why: &str) {
        let failed = self.boot.record.target.clone();
        self.log(2, "", &format!("cannot boot to {failed}: {why}"));
        let line = self
            .console
            .note(&format!("cannot boot to {failed}: {why}"));
        self.show(&line);
        let next = match failed.as_str() {
            "emergency.target" => return,
            "rescue.target" => "emergency.target",
            _ => "rescue.target",
        };
        self.boot.record.target = next.into();
        self.store_boot();
        self.boot_to(next);
    }

    fn store_boot(&mut self) {
        if let Err(error) = self.persist.boot(&self.boot.record) {
            self.log(
                2,
                "",
                &format!("the state store takes no more records: {error}"),
            );
        }
    }

    /// A unit has changed: was it the one we boot to?
    pub(crate) fn boot_changed(&mut self, unit: UnitId, to: ActiveState) {
        if Some(unit) == self.boot.target && to.is_up() {
            self.boot_finished(true);
        }
    }

    /// A job has ended: was it the one everybody waits for?
    pub(crate) fn boot_job_ended(&mut self, unit: UnitId, verb: JobVerb, result: JobResult) {
        if verb != JobVerb::Start {
            return;
        }
        if Some(unit) == self.boot.last && result != JobResult::Canceled {
            self.finish_shutdown();
        } else if Some(unit) == self.boot.target && !result.is_success() {
            self.boot_finished(false);
        }
    }

    fn boot_finished(&mut self, reached: bool) {
        if self.boot.record.finished != 0 || self.boot.record.shutdown.is_some() {
            return;
        }
        let now = clock::now();
        self.boot.record.finished = now;
        self.store_boot();
        self.set_missing_watchdog();
        unit_files::first_boot::over(&self.root);
        let (up, failed) = self
            .engine
            .units()
            .fold((0u32, 0u32), |(up, failed), unit| match unit.active {
                ActiveState::Failed => (up, failed + 1),
                state if state.is_up() => (up + 1, failed),
                _ => (up, failed),
            });
        let mut took = String::new();
        crate::console::push_seconds(&mut took, now.saturating_sub(self.boot.record.started));
        let how = if reached { "reached" } else { "not reached" };
        let target = &self.boot.record.target;
        let text = format!("{target} {how} in {took}: {up} units up, {failed} failed");
        let line = self.console.note(&text);
        self.show(&line);
        self.log(5, "", &text);
    }

    /// Init is told that everything is managed, and may settle: that keeps every process from being made or given a
    /// control group for two of the kernel's grace periods, so not before a boot is over.
    pub(crate) fn tell_if_ready(&mut self) {
        if self.boot.told_ready || self.recovered == 0 {
            return;
        }
        let booted = self.boot.recovery || self.boot.record.finished != 0;
        if booted || self.engine.jobs().next().is_none() {
            self.boot.told_ready = true;
            self.tell_init(&FromManager::Ready);
        }
    }

    /// Brings the machine down. Irreversible.
    pub(crate) fn shut_down(&mut self, kind: ShutdownKind, force: bool) {
        self.decide_shutdown(kind, force);
        self.stop_units();
    }

    /// Records that the machine goes down, and tells init. What follows is for [`Self::stop_units`].
    pub(crate) fn decide_shutdown(&mut self, kind: ShutdownKind, force: bool) {
        self.boot.stopping = Some((kind, force));
        let deadline = u32::try_from(self.config.shutdown_timeout / 1000).unwrap_or(u32::MAX);
        self.boot.record.shutdown = Some(kind);
        self.store_boot();
        self.tell_init(&FromManager::Shutdown {
            ending: ending(kind),
            deadline_ms: deadline,
        });
        self.set_missing_watchdog();
    }

    /// Stops the units of a machine that goes down.
    pub(crate) fn stop_units(&mut self) {
        let Some((kind, force)) = self.boot.stopping.take() else {
            return;
        };
        let target = shutdown_target(kind);
        self.log(5, "", &format!("the machine goes down: {target}"));
        let line = self.console.note(&format!("{target}: stopping everything"));
        self.show(&line);
        if force {
            self.finish_shutdown();
            return;
        }
        let Ok(name) = UnitName::new(target) else {
            return;
        };
        self.load_for(&name);
        self.boot.last = Some(self.engine.intern(&name));
        self.inputs.push_back(Input::Enqueue {
            ticket: SHUTDOWN_TICKET,
            unit: name,
            verb: JobVerb::Start,
            mode: JobMode::ReplaceIrreversibly,
        });
        self.pump();
        self.inputs.push_back(Input::ShuttingDown);
    }

    /// Everything is stopped, or nothing more can be: the rest is init's.
    fn finish_shutdown(&mut self) {
        if std::mem::replace(&mut self.boot.finishing, true) {
            return;
        }
        let mut took = String::new();
        crate::console::push_seconds(&mut took, clock::now());
        let line = self
            .console
            .note(&format!("all units are stopped after {took} of uptime"));
        self.show(&line);
        self.tell_init(&FromManager::Finish);
    }

    /// A signal sent to PID 1, as systemd(1) defines them, and busybox's for `halt` and `poweroff`.
    pub(crate) fn on_signal(&mut self, signal: u8) {
        /// Real-time signals as init counts them.
        const RTMIN: u8 = 34;
        match i32::from(signal) {
            libc::SIGCHLD => self.look_after_helpers(),
            libc::SIGINT => self.shut_down(ShutdownKind::Reboot, false),
            libc::SIGTERM => self.leaving = true,
            libc::SIGPWR => self.start_by_signal("sigpwr.target", JobMode::Replace),
            libc::SIGWINCH => self.start_by_signal("kbrequest.target", JobMode::Replace),
            libc::SIGHUP => self.regenerate_and_reload(),
            libc::SIGUSR1 => self.shut_down(ShutdownKind::Halt, false),
            libc::SIGUSR2 => self.shut_down(ShutdownKind::PowerOff, false),
            _ => match signal.wrapping_sub(RTMIN) {
                0 => self.start_by_signal("default.target", JobMode::Isolate),
                1 => self.start_by_signal("rescue.target", JobMode::Isolate),
                2 => self.start_by_signal("emergency.target", JobMode::Isolate),
                3 => self.shut_down(ShutdownKind::Halt, false),
                4 => self.shut_down(ShutdownKind::PowerOff, false),
                5 => self.shut_down(ShutdownKind::Reboot, false),
                6 => self.shut_down(ShutdownKind::Kexec, false),
                13 => self.shut_down(ShutdownKind::Halt, true),
                14 => self.shut_down(ShutdownKind::PowerOff, true),
                15 => self.shut_down(ShutdownKind::Reboot, true),
                16 => self.shut_down(ShutdownKind::Kexec, true),
                20 => self.console.set_quiet(false),
                21 => self.console.set_quiet(true),
                22 => self.log.set_level(7),
                23 => self.log.set_level(6),
                _ => self.log(5, "", &format!("signal {signal} means nothing here")),
            },
        }
    }

    /// A signal sent to the manager itself.
    pub(crate) fn on_own_signal(&mut self, signal: i32) {
        match signal {
            libc::SIGTERM => self.leaving = true,
            libc::SIGHUP => self.regenerate_and_reload(),
            _ => {}
        }
    }

    fn start_by_signal(&mut self, target: &str, mode: JobMode) {
        let Ok(name) = UnitName::new(target) else {
            return;
        };
        self.load_for(&name);
        let (ticket, verb) = (SIGNAL_TICKET, JobVerb::Start);
        self.inputs.push_back(Input::Enqueue {
            ticket,
            unit: name,
            verb,
            mode,
        });
    }

    /// Lines about what is waited for.
    pub(crate) fn progress(&mut self, now: Micros) {
        let some = self.engine.jobs().next().is_some();
        self.console.set_waiting(now, some);
        if self.console.deadline().is_none_or(|due| due > now) {
            return;
        }
        let (running, queued): (Vec<_>, Vec<_>) = self
            .engine
            .jobs()
            .partition(|job| job.phase != Phase::Waiting);
        let others = (running.len().saturating_sub(1), queued.len());
        let Some(job) = running.into_iter().min_by_key(|job| job.since) else {
            return;
        };
        let name = self.name_of(job.unit).unwrap_or_default();
        let deadline = self.job_deadline(&job);
        if let Some(line) = self
            .console
            .waiting(now, &name, job.verb, job.since, deadline, others)
        {
            self.show(&line);
        }
    }

    fn id_of(&self, name: &str) -> Option<UnitId> {
        UnitName::new(name)
            .ok()
            .and_then(|name| self.engine.find(&name))
            .map(|view| view.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_boot() {
        assert_eq!(target_of(0, None), "default.target");
        assert_eq!(target_of(flags::RESCUE, None), "rescue.target");
        assert_eq!(
            target_of(flags::EMERGENCY | flags::RESCUE, None),
            "emergency.target"
        );
        assert_eq!(target_of(flags::RESCUE, Some("a.target")), "a.target");
    }

    #[test]
    fn endings_are_told_apart() {
        for kind in [
            ShutdownKind::PowerOff,
            ShutdownKind::Reboot,
            ShutdownKind::Halt,
            ShutdownKind::Kexec,
        ] {
            assert_eq!(kind_of(ending(kind)), kind);
        }
    }
}
