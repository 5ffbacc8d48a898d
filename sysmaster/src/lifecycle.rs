//! The helpers' processes: started, judged, killed, and seen to end.
//!
//! The table and its states are [`crate::helpers`], what is said over the connection is
//! [`crate::contact`].

use crate::answers::type_of;
use crate::backoff::Cause;
use crate::helpers::{ARRIVAL, DEBT, Debt, Phase, Reason, STILLBORN};
use crate::manager::Manager;
use engine::api::Input;
use platform::{child, clock, fd, process, signal};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use units::state::{Exit, Micros, ProcId};

/// In the exit status of a helper's process: it could not be executed; the rest is the error.
const NOT_EXECUTED: i32 = 0x80;

impl Manager {
    /// Makes sure that a helper of this type runs or is on its way. `false`: there is none.
    pub(crate) fn need_helper(&mut self, unit_type: &str) -> bool {
        let Some(index) = self.helpers.index(unit_type) else {
            return false;
        };
        match self.helpers.get(index).map(|helper| helper.phase) {
            Some(Phase::Idle) => self.start_helper(index),
            Some(Phase::Missing) | None => return false,
            Some(_) => {}
        }
        self.helpers
            .get(index)
            .is_some_and(|helper| helper.phase != Phase::Missing)
    }

    /// Starts the process of a helper that has none.
    fn start_helper(&mut self, index: usize) {
        let Some(helper) = self.helpers.get(index) else {
            return;
        };
        let unit_type = helper.unit_type.clone();
        if self.start_inside(index, &unit_type) {
            return;
        }
        let path = self.helper_dir.join(&unit_type);
        if !path.is_file() {
            self.helper_missing(index, &format!("found no executable {}", path.display()));
            return;
        }
        let program = self.helper_program(&unit_type, &path);
        match self.spawn_helper(&unit_type, &path, &program) {
            Ok(proc) => {
                let now = clock::now();
                let Some(helper) = self.helpers.get_mut(index) else {
                    return;
                };
                helper.proc = Some(proc);
                helper.child = true;
                helper.hung = false;
                helper.phase = Phase::Awaited;
                helper.since = now;
                helper.debt = Some(Debt::new(0, now + ARRIVAL));
            }
            Err(error) => {
                let text = format!("the helper for .{unit_type} units cannot be started: {error}");
                self.log(3, "", &text);
                self.pause_helper(index, Cause::OwnFault);
            }
        }
    }

    /// Forks and executes a helper. It stands in a gate until it is recorded: if we die before, it
    /// ends without having done anything.
    fn spawn_helper(&mut self, unit_type: &str, path: &Path, program: &Path) -> io::Result<ProcId> {
        let program = platform::files::c_path(program)?;
        let mut arguments = child::Strings::new();
        arguments.push(path.as_os_str().as_bytes())?;
        let mut environment = child::Strings::new();
        for (name, value) in std::env::vars_os() {
            environment.push(&[name.as_bytes(), b"=", value.as_bytes()].concat())?;
        }
        let (gate, opener) = fd::pipe()?;
        let gate_number = gate.as_raw_fd().unsigned_abs();
        let spawned = process::spawn(None, |_| {
            child::close_from(3, &[gate_number]);
            let open = fd::set_nonblocking(&gate, false)
                .and_then(|()| fd::read(&gate, &mut [0; 1]))
                .is_ok_and(|got| got == 1);
            if !open {
                return 0;
            }
            let _ = child::reset_signals(false);
            let _ = child::new_session();
            let error = child::execute(&program, &mut arguments, &mut environment);
            error.raw_os_error().unwrap_or(0).min(126) | NOT_EXECUTED
        })?;
        units::fault::point("helper-forked");
        units::fault::boundary();
        // Without it nobody could tell it from whatever has its number later.
        let start = process::start_time(spawned.pid).ok_or(io::ErrorKind::NotFound)?;
        let proc = ProcId {
            pid: spawned.pid,
            start,
        };
        self.persist.helper(unit_type, proc)?;
        fd::write(&opener, &[1])?;
        Ok(proc)
    }

    /// There is no helper for this type: its units cannot be used.
    fn helper_missing(&mut self, index: usize, why: &str) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        helper.phase = Phase::Missing;
        helper.proc = None;
        helper.preload = None;
        let unit_type = helper.unit_type.clone();
        self.exits.gone(index);
        self.log(
            3,
            "",
            &format!("{why}: units of type .{unit_type} cannot be started"),
        );
        self.inputs.push_back(Input::HelperMissing { unit_type });
    }

    /// A helper does not keep to its contract: it is replaced.
    pub(crate) fn fail_helper(&mut self, index: usize, what: &str) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        let text = format!(
            "the helper for .{} units {what}: it is replaced",
            helper.unit_type
        );
        helper.hung = true;
        self.log(3, "", &text);
        self.kill_helper(index);
    }

    pub(crate) fn kill_helper(&mut self, index: usize) {
        self.drop_contact(index);
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        let Some(proc) = helper.proc else { return };
        helper.phase = Phase::Dying;
        helper.debt = Some(Debt::new(0, clock::now() + DEBT));
        if let Err(error) = process::kill(proc.into(), signal::SIGKILL) {
            let text = format!(
                "process {} cannot be killed, tried again: {error}",
                proc.pid
            );
            self.log(3, "", &text);
        }
    }

    /// Looks after our own children: helpers that ended or were stopped.
    pub(crate) fn reap_children(&mut self) {
        while let Ok(Some(exit)) = process::peek_exit() {
            let proc = ProcId::from(exit.proc);
            let index = self.helpers.by_pid(proc);
            self.inside_exited(exit);
            let _ = process::reap(proc.pid);
            self.generator_exited(proc.pid, exit.status);
            if let Some(index) = index {
                self.helper_died(index, exit.status);
            }
        }
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get(index) else {
                continue;
            };
            let Some(proc) = helper.proc.filter(|_| helper.child) else {
                continue;
            };
            if helper.phase != Phase::Dying && process::is_stopped(proc.pid).unwrap_or(false) {
                self.helper_stopped(index);
            }
        }
    }

    /// A helper was stopped by somebody: it would see no exit and answer no command.
    pub(crate) fn helper_stopped(&mut self, index: usize) {
        let Some(helper) = self.helpers.get(index) else {
            return;
        };
        let text = format!(
            "the helper for .{} units was stopped: it is replaced",
            helper.unit_type
        );
        self.log(4, "", &text);
        self.kill_helper(index);
    }

    /// Looks at every recorded process, whoever's child it is: one that is stopped is replaced.
    /// Those in contact are asked for a sign of life too, since a stop may come right after the
    /// look, and its notice be lost with a manager.
    pub(crate) fn look_after_helpers(&mut self) {
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get_mut(index) else {
                continue;
            };
            helper.ask();
            let Some(proc) = helper.proc.filter(|_| helper.phase != Phase::Dying) else {
                continue;
            };
            if look_at(proc).is_some_and(|now| now.state == STOPPED) {
                self.helper_stopped(index);
            }
        }
    }

    /// The recorded process of a helper is gone, with this raw wait status.
    pub(crate) fn helper_died(&mut self, index: usize, status: i32) {
        // What it still said before its end counts.
        self.read_helper(index);
        self.drop_contact(index);
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        helper.proc = None;
        helper.debt = None;
        helper.missed = false;
        let hung = std::mem::take(&mut helper.hung);
        let exit = Exit::from_wait(status);
        let how = match exit {
            Some(Exit::Code(code)) if i32::from(code) & NOT_EXECUTED != 0 => {
                let error = io::Error::from_raw_os_error(i32::from(code) & !NOT_EXECUTED);
                format!("cannot be executed: {error}")
            }
            Some(Exit::Code(code)) => format!("exited with {code}"),
            Some(Exit::Signal(sig) | Exit::Core(sig)) => {
                format!("was killed by {}", units::value::signal::name(sig))
            }
            None => "ended".into(),
        };
        let unit_type = helper.unit_type.clone();
        let cause = Cause::of(exit, hung);
        let level = if cause == Cause::Outsider { 5 } else { 3 };
        self.log(
            level,
            "",
            &format!("the helper for .{unit_type} units {how}"),
        );
        if let Some(helper) = self.helpers.get_mut(index) {
            helper.fault = cause == Cause::OwnFault;
        }
        if cause == Cause::OwnFault {
            let how = if hung { "hung, and was killed" } else { &how };
            self.note_helper_crash(&unit_type, how);
            if self.upgrade_helper_failed(&unit_type, how) {
                // What is started next is another, which has done nothing.
                if let Some(helper) = self.helpers.get_mut(index) {
                    helper.fault = false;
                }
                return self.pause_helper(index, Cause::Outsider);
            }
            self.count_stillborn(index);
        }
        self.pause_helper(index, cause);
    }

    /// Counts a process that may never have said `Hello`. After some of them jobs fail instead of
    /// waiting for one that does; not if units of the type are up, which nothing but a helper can
    /// take care of.
    fn count_stillborn(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        helper.stillborn += 1;
        if helper.stillborn < STILLBORN || helper.hopeless {
            return;
        }
        let unit_type = helper.unit_type.clone();
        let has_work = self
            .engine
            .units()
            .any(|unit| unit.active.is_up() && type_of(unit.name.as_str()) == unit_type);
        if has_work {
            return;
        }
        helper.hopeless = true;
        self.exits.gone(index);
        let text = format!(
            "the helper for .{unit_type} units failed {STILLBORN} times before it did anything: \
             units of this type cannot be started; it is tried again now and then"
        );
        self.log(2, "", &text);
        self.inputs.push_back(Input::HelperMissing { unit_type });
    }

    /// Starts a helper again, at once or after a pause.
    fn pause_helper(&mut self, index: usize, cause: Cause) {
        let now = clock::now();
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        let pause = helper.deaths.enter(now, cause);
        helper.phase = Phase::Paused { until: now + pause };
        if pause == 0 {
            self.start_helper(index);
        }
    }

    /// What is due of the helpers: starts after a pause, and debts.
    pub(crate) fn helpers_due(&mut self, now: Micros) {
        self.inside_due();
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get(index) else {
                continue;
            };
            if matches!(helper.phase, Phase::Paused { until } if until <= now) {
                self.start_helper(index);
            }
            let Some(debt) = self.helpers.get(index).and_then(|helper| helper.debt) else {
                continue;
            };
            if debt.due <= now {
                self.read_helper(index);
                self.judge(index, now);
            }
        }
    }

    /// A debt is overdue and what the helper sent is read: hung, stopped, starved, or dead?
    fn judge(&mut self, index: usize, now: Micros) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        let Some(debt) = helper.debt.as_mut().filter(|debt| debt.due <= now) else {
            return;
        };
        let Some(proc) = helper.proc else {
            helper.debt = None;
            return;
        };
        let status = match look_at(proc) {
            Some(status) if !status.is_dead() => status,
            found => return self.await_end(index, found.is_some(), now),
        };
        if helper.phase == Phase::Dying {
            return self.kill_helper(index);
        }
        if status.state == STOPPED {
            return self.helper_stopped(index);
        }
        let units = self.engine.units();
        let of_type = units.filter(|unit| type_of(unit.name.as_str()) == helper.unit_type);
        let reason = debt.extend(status.cpu, status.state == b'R', of_type.count() as u64);
        match reason {
            Some(reason) => {
                debt.due = now + DEBT;
                if reason == Reason::Starved {
                    favour(proc, FAVOURED);
                }
            }
            None => self.fail_helper(index, "does not answer"),
        }
    }

    /// A process that owes something is dead. Its end is told by whoever reaps it; if it has been
    /// reaped for a while and nobody told, it is gone all the same.
    fn await_end(&mut self, index: usize, zombie: bool, now: Micros) {
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        if !zombie && helper.missed {
            self.log(4, "", "a helper's end was told by nobody");
            self.helper_died(index, signal::SIGKILL);
            return;
        }
        helper.missed = !zombie;
        helper.debt = Some(Debt::new(0, now + DEBT));
    }
}

/// The state of a stopped process.
pub(crate) const STOPPED: u8 = b'T';

/// How much sooner than others a starved helper gets the processor, until it answers.
const FAVOURED: i32 = -10;
/// As everybody.
pub(crate) const AS_USUAL: i32 = 0;

/// Sets it, where we may.
pub(crate) fn favour(proc: ProcId, nice: i32) {
    let _ = process::set_nice(proc.pid, nice);
}

/// What the kernel says of a recorded process; `None` if there is no such process any more.
pub(crate) fn look_at(proc: ProcId) -> Option<process::Status> {
    process::status(proc.pid).filter(|now| proc.start == 0 || now.start == proc.start)
}
