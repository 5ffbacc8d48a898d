//! Contact with the helpers: starting them, welcoming them, hearing and telling them things.
//!
//! The table and its states are [`crate::helpers`]; this is the part that does I/O.

use crate::backoff::Cause;
use crate::helpers::{ARRIVAL, DEBT, Debt, Helper, Phase, label_to_init, memory_labels};
use crate::init_link::Asker;
use crate::manager::{Manager, token};
use engine::api::Input;
use init_wire::FromManager;
use platform::poll::{Interest, Ready};
use platform::{child, clock, fd, process, signal, socket};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use units::state::{Exit, Micros, ProcId};
use units::wire::helper::{FromHelper, Label, ToHelper};
use units::wire::{self, MAX_FRAME, VERSION};

/// Frames taken from one helper in one turn.
const BATCH: usize = 256;

impl Manager {
    /// Makes sure that a helper of this type runs or is on its way. `false`: there is none.
    pub(crate) fn need_helper(&mut self, unit_type: &str) -> bool {
        let Some(index) = self.helpers.index(unit_type) else { return false };
        match self.helpers.get(index).map(|helper| helper.phase) {
            Some(Phase::Idle) => self.start_helper(index),
            Some(Phase::Missing) | None => return false,
            Some(_) => {}
        }
        self.helpers.get(index).is_some_and(|helper| helper.phase != Phase::Missing)
    }

    /// Starts the process of a helper that has none.
    fn start_helper(&mut self, index: usize) {
        let Some(helper) = self.helpers.get(index) else { return };
        let unit_type = helper.unit_type.clone();
        let path = self.helper_dir.join(&unit_type);
        if !path.is_file() {
            self.helper_missing(index, &format!("found no executable {}", path.display()));
            return;
        }
        match self.spawn_helper(&unit_type, &path) {
            Ok(proc) => {
                let now = clock::now();
                let Some(helper) = self.helpers.get_mut(index) else { return };
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
    fn spawn_helper(&mut self, unit_type: &str, path: &Path) -> io::Result<ProcId> {
        let program = platform::files::c_path(path)?;
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
            let error = child::execute(&program, &arguments, &environment);
            error.raw_os_error().unwrap_or(0).min(126) | 0x80
        })?;
        let start = process::start_time(spawned.pid).unwrap_or(0);
        let proc = ProcId { pid: spawned.pid, start };
        self.persist.helper(unit_type, proc)?;
        fd::write(&opener, &[1])?;
        Ok(proc)
    }

    /// There is no helper for this type: its units cannot be used.
    fn helper_missing(&mut self, index: usize, why: &str) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        helper.phase = Phase::Missing;
        helper.proc = None;
        helper.preload = None;
        let unit_type = helper.unit_type.clone();
        self.exits.gone(index);
        self.log(3, "", &format!("{why}: units of type .{unit_type} cannot be started"));
        self.inputs.push_back(Input::HelperMissing { unit_type });
    }

    /// Takes the connections that wait. Only a recorded helper gets in.
    pub(crate) fn accept_helpers(&mut self) {
        for _ in 0..16 {
            let accepted = match &self.listeners.helper {
                Some(listener) => socket::accept(listener),
                None => return,
            };
            let conn = match accepted {
                Ok(Some(conn)) => conn,
                Ok(None) => return,
                Err(error) => {
                    self.log(4, "", &format!("a helper's connection was lost: {error}"));
                    return;
                }
            };
            let Ok(peer) = socket::peer(&conn) else { continue };
            let start = process::start_time(peer.pid).unwrap_or(0);
            match self.helpers.by_pid(ProcId { pid: peer.pid, start }) {
                Some(index) => self.connected(index, conn),
                None => {
                    let text = format!(
                        "process {} of user {} connected as a helper and is none that was started \
                         as one: refused",
                        peer.pid, peer.uid
                    );
                    self.log(4, "", &text);
                }
            }
        }
    }

    fn connected(&mut self, index: usize, conn: OwnedFd) {
        self.drop_contact(index);
        let Some(helper) = self.helpers.get_mut(index) else { return };
        if helper.phase == Phase::Dying {
            return;
        }
        helper.phase = Phase::Awaited;
        if self.poller.add(&conn, token::helper(index, helper.generation), Interest::READ).is_ok() {
            helper.conn = Some(conn);
        }
    }

    /// Contact is lost, the process may live.
    fn drop_contact(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        if helper.conn.is_none() {
            return;
        }
        helper.disconnect();
        helper.since = clock::now();
        let due = helper.since + ARRIVAL;
        if helper.phase == Phase::Awaited {
            helper.debt = Some(Debt::new(0, due));
        }
        self.exits.lost(index);
    }

    /// A helper's socket is ready.
    pub(crate) fn helper_ready(&mut self, index: usize, generation: u16, ready: Ready) {
        if self.helpers.get(index).is_none_or(|helper| helper.generation != generation) {
            return;
        }
        if ready.readable || ready.hangup {
            self.read_helper(index);
        }
        if ready.writable {
            self.flush_helper(index);
        }
    }

    /// Reads what a helper has sent.
    pub(crate) fn read_helper(&mut self, index: usize) {
        for _ in 0..BATCH {
            let Some(conn) = self.helpers.get(index).and_then(|helper| helper.conn.as_ref()) else {
                return;
            };
            let got = match socket::receive(conn, &mut self.buffer) {
                Ok(None) => return,
                Ok(Some(got)) if got.length > 0 => got,
                Ok(Some(_)) | Err(_) => {
                    self.drop_contact(index);
                    return;
                }
            };
            let bytes = self.buffer.get(..got.length.min(MAX_FRAME)).unwrap_or_default();
            match wire::decode::<FromHelper>(bytes) {
                Ok(frame) if !got.truncated => {
                    let fd = got.fds.into_iter().next();
                    self.on_helper(index, frame, fd);
                }
                _ => {
                    self.fail_helper(index, "sent a frame that is none of this protocol");
                    return;
                }
            }
        }
    }

    /// A helper does not keep to its contract: it is replaced.
    fn fail_helper(&mut self, index: usize, what: &str) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        let text = format!("the helper for .{} units {what}: it is replaced", helper.unit_type);
        helper.hung = true;
        self.log(3, "", &text);
        self.kill_helper(index);
    }

    fn kill_helper(&mut self, index: usize) {
        self.drop_contact(index);
        let Some(helper) = self.helpers.get_mut(index) else { return };
        let Some(proc) = helper.proc else { return };
        helper.phase = Phase::Dying;
        helper.debt = None;
        let _ = process::kill(to_platform(proc), signal::SIGKILL);
    }

    fn on_helper(&mut self, index: usize, frame: FromHelper, fd: Option<OwnedFd>) {
        let Some(helper) = self.helpers.get(index) else { return };
        let (greeted, generation) = (helper.phase != Phase::Awaited, helper.generation);
        match frame {
            FromHelper::Hello { version, unit_type, epoch, adopted, .. } if !greeted => {
                self.welcome(index, version, &unit_type, epoch, adopted);
            }
            _ if !greeted => self.fail_helper(index, "did not say Hello first"),
            FromHelper::Hello { .. } => self.fail_helper(index, "said Hello twice"),
            FromHelper::Loaded { unit, findings, implied, can_reload } => {
                self.on_loaded(&unit, &findings, &implied, can_reload);
            }
            FromHelper::Report(report) => self.on_report(index, report),
            FromHelper::Synced => self.on_synced(index),
            FromHelper::ExitTaken { proc } => self.exits.exit_taken(index, proc),
            FromHelper::Watch { proc } => self.watch(index, proc),
            FromHelper::Unwatch { proc } => self.exits.unwatch(index, proc),
            FromHelper::Keep { label } => self.relay_keep(index, label, fd),
            FromHelper::Drop { label } => {
                self.tell_init(&FromManager::Drop { label: label_to_init(label) });
            }
            FromHelper::Fetch { label } => match &mut self.init {
                Some(init) => init.fetch(label_to_init(label), Asker::Helper(index, generation)),
                None => self.tell_helper(index, &ToHelper::NotFound { label }),
            },
            FromHelper::Log { level, unit, text } => self.log(level.min(7), &unit, &text),
            FromHelper::Pong { nonce } => {
                if let Some(helper) = self.helpers.get_mut(index) {
                    helper.pong(nonce);
                }
            }
        }
    }

    fn relay_keep(&mut self, index: usize, label: Label, fd: Option<OwnedFd>) {
        let generation = self.helpers.get(index).map_or(0, |helper| helper.generation);
        let reason = match (&mut self.init, fd) {
            (Some(init), Some(fd)) => {
                init.keep(label_to_init(label), fd, Asker::Helper(index, generation));
                return;
            }
            (None, _) => "there is no init that could keep it",
            (_, None) => "it came without a descriptor",
        };
        self.tell_helper(index, &ToHelper::NotKept { label, reason: reason.into() });
    }

    pub(crate) fn tell_helper(&mut self, index: usize, frame: &ToHelper) {
        if let Some(helper) = self.helpers.get_mut(index) {
            helper.queue(frame, None);
        }
    }

    fn welcome(&mut self, index: usize, version: u16, unit_type: &str, epoch: u64, adopted: bool) {
        let ours = self.epoch;
        let Some(helper) = self.helpers.get_mut(index) else { return };
        if helper.unit_type != unit_type || version == 0 {
            let what = format!("says that it is one for .{unit_type} units, version {version}");
            self.fail_helper(index, &what);
            return;
        }
        if epoch > ours {
            // A later manager has welcomed it: we are the one that should not be here.
            self.fenced = true;
            return;
        }
        let generation = helper.generation;
        let labels = memory_labels(unit_type);
        let memories = if adopted { 0 } else { labels.len() as u8 };
        helper.phase = Phase::Welcomed { memories };
        helper.debt = None;
        let config = self.config.for_helpers(&self.cgroup_root);
        let version = version.min(VERSION);
        let build = crate::BUILD.into();
        self.tell_helper(index, &ToHelper::Welcome { version, build, epoch: ours, config });
        if adopted {
            self.send_units(index);
            return;
        }
        for label in labels {
            match &mut self.init {
                Some(init) => init.fetch(label_to_init(label), Asker::Memory(index, generation)),
                None => {
                    self.tell_helper(index, &ToHelper::NotFound { label });
                    self.memory_sent(index);
                }
            }
        }
    }

    /// One of a helper's memories was handed over, or there is none.
    pub(crate) fn memory_sent(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        if let Phase::Welcomed { memories } = &mut helper.phase {
            *memories = memories.saturating_sub(1);
            if *memories == 0 {
                self.send_units(index);
            }
        }
    }

    /// Sends all units of the type and `Sync`.
    fn send_units(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        helper.phase = Phase::Syncing;
        match helper.preload.take() {
            Some(frames) => {
                for bytes in frames {
                    helper.queue_bytes(bytes, None);
                }
            }
            None => {
                let unit_type = helper.unit_type.clone();
                self.send_from_files(index, &unit_type);
            }
        }
        self.tell_helper(index, &ToHelper::Sync);
    }

    fn on_synced(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        if helper.phase != Phase::Syncing {
            return;
        }
        helper.phase = Phase::Synced;
        let unit_type = helper.unit_type.clone();
        let reported = std::mem::take(&mut helper.reported);
        self.inputs.push_back(Input::HelperSynced { unit_type, reported });
    }

    /// Looks after our own children: helpers that ended or were stopped.
    pub(crate) fn reap_children(&mut self) {
        while let Ok(Some(exit)) = process::peek_exit() {
            let proc = ProcId { pid: exit.proc.pid, start: exit.proc.start };
            let index = self.helpers.by_pid(proc);
            let _ = process::reap(proc.pid);
            if let Some(index) = index {
                self.helper_died(index, exit.status);
            }
        }
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get(index) else { continue };
            let Some(proc) = helper.proc.filter(|_| helper.child) else { continue };
            if helper.phase != Phase::Dying && process::is_stopped(proc.pid).unwrap_or(false) {
                self.helper_stopped(index);
            }
        }
    }

    /// A helper was stopped by somebody: it would see no exit and answer no command.
    pub(crate) fn helper_stopped(&mut self, index: usize) {
        let Some(helper) = self.helpers.get(index) else { return };
        let text = format!("the helper for .{} units was stopped: it is replaced", helper.unit_type);
        self.log(4, "", &text);
        self.kill_helper(index);
    }

    /// One of init's children was stopped: a helper of an earlier manager's?
    pub(crate) fn find_stopped_helpers(&mut self) {
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get(index) else { continue };
            let Some(proc) = helper.proc.filter(|_| helper.phase != Phase::Dying) else { continue };
            let stopped = process::status(proc.pid).is_some_and(|now| {
                now.state == b'T' && (proc.start == 0 || now.start == proc.start)
            });
            if stopped {
                self.helper_stopped(index);
            }
        }
    }

    /// The recorded process of a helper is gone, with this raw wait status.
    pub(crate) fn helper_died(&mut self, index: usize, status: i32) {
        // What it still said before its end counts.
        self.read_helper(index);
        self.drop_contact(index);
        let Some(helper) = self.helpers.get_mut(index) else { return };
        helper.proc = None;
        helper.debt = None;
        let hung = std::mem::take(&mut helper.hung);
        let exit = Exit::from_wait(status);
        let how = match exit {
            Some(Exit::Code(code)) => format!("exited with {code}"),
            Some(Exit::Signal(sig) | Exit::Core(sig)) => {
                format!("was killed by {}", units::value::signal::name(sig))
            }
            None => "ended".into(),
        };
        let unit_type = helper.unit_type.clone();
        let cause = Cause::of(exit, hung);
        let level = if cause == Cause::Outsider { 5 } else { 3 };
        self.log(level, "", &format!("the helper for .{unit_type} units {how}"));
        self.pause_helper(index, cause);
    }

    /// Starts a helper again, at once or after a pause.
    fn pause_helper(&mut self, index: usize, cause: Cause) {
        let now = clock::now();
        let Some(helper) = self.helpers.get_mut(index) else { return };
        let pause = helper.deaths.enter(now, cause);
        helper.phase = Phase::Paused { until: now + pause };
        if pause == 0 {
            self.start_helper(index);
        }
    }

    /// What is due of the helpers: starts after a pause, and debts.
    pub(crate) fn helpers_due(&mut self, now: Micros) {
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get(index) else { continue };
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

    /// A debt is overdue and what the helper sent is read: hung, or starved?
    fn judge(&mut self, index: usize, now: Micros) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        let (Some(debt), Some(proc)) = (&mut helper.debt, helper.proc) else { return };
        if debt.due > now {
            return;
        }
        let Some(status) = process::status(proc.pid).filter(|s| {
            !s.is_dead() && (proc.start == 0 || s.start == proc.start)
        }) else {
            // Dead: its end will be told by whoever reaps it.
            if helper.child || self.init.is_some() {
                debt.due = Micros::MAX;
            }
            return;
        };
        let Some(before) = debt.cpu else {
            debt.cpu = Some(status.cpu);
            debt.due = now + DEBT;
            return;
        };
        let used = status.cpu.saturating_sub(before);
        let starved = status.state == b'R' && used * 10 < platform::kernel::ticks_per_second();
        if starved && !debt.extended {
            debt.extended = true;
            debt.cpu = Some(status.cpu);
            debt.due = now + DEBT;
            return;
        }
        self.fail_helper(index, "does not answer");
    }

    /// Sends what is queued, and the pings.
    pub(crate) fn flush_helpers(&mut self) {
        for index in 0..self.helpers.len() {
            let Some(helper) = self.helpers.get_mut(index) else { continue };
            helper.close_batch(clock::now());
            if helper.front().is_some() {
                self.flush_helper(index);
            }
        }
    }

    fn flush_helper(&mut self, index: usize) {
        let Some(helper) = self.helpers.get_mut(index) else { return };
        let blocked = loop {
            let (Some(conn), Some(next)) = (&helper.conn, helper.front()) else { break false };
            let fds: Vec<BorrowedFd<'_>> = next.fd.iter().map(AsFd::as_fd).collect();
            match socket::send(conn, &next.bytes, &fds) {
                Ok(()) => helper.sent(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                // The end of the connection is read as such.
                Err(_) => {
                    helper.sent();
                }
            }
        };
        set_writable(&self.poller, index, helper, blocked);
    }
}

fn set_writable(poller: &platform::poll::Poller, index: usize, helper: &mut Helper, wanted: bool) {
    if helper.blocked == wanted {
        return;
    }
    helper.blocked = wanted;
    if let Some(conn) = &helper.conn {
        let interest = if wanted { Interest::READ_WRITE } else { Interest::READ };
        let _ = poller.modify(conn, token::helper(index, helper.generation), interest);
    }
}

/// A process in the platform's words.
pub(crate) fn to_platform(proc: ProcId) -> process::ProcId {
    process::ProcId { pid: proc.pid, start: proc.start }
}
