//! Becoming another init: re-exec (the same place, perhaps a newer binary) and switch-root.
//!
//! ```text
//!   re-exec:      Wanted ─▶ Trial (a child runs `init --check-state` on our state) ─▶ execve
//!   switch-root:  Wanted ─▶ RootCheck (child) ─▶ manager killed and reaped ─▶ RootMove (child) ─▶ execve
//! ```
//!
//! The state travels in a memfd ([`crate::state`]) whose number is in the environment; kept
//! descriptors, the manager's socket and the watchdog travel by staying open. Zombies, pending
//! signals and children are the kernel's and stay. With re-exec the manager does not notice. Whatever
//! fails before `execve` leaves everything as it was and is told to the manager.

use crate::deaths::Hand;
use crate::manager::{Manager, Running};
use crate::say::{
    self,
    Arg::{B, E},
};
use crate::state::{self, Read, Record};
use crate::supervise::Init;
use crate::sys::{self, List, STATE_VARIABLE};
use crate::text::{Text, join, parse, shift_down};
use crate::workers::{Job, status_of};
use core::ffi::CStr;
use init_wire::{Request, Shutdown};

const TRIAL_MS: u64 = 5000;
const ROOT_MS: u64 = 10_000;
/// The argument that makes init check a state and do nothing else.
pub const CHECK: &CStr = c"--check-state";
/// What is moved along to a new root.
const MOVED: [&CStr; 4] = [c"/dev", c"/proc", c"/sys", c"/run"];

/// Where in becoming another we are. (One of the variants is large; there is one value of this type.)
#[allow(clippy::large_enum_variant)]
pub enum Switch {
    No,
    ReexecWanted,
    Trial,
    /// The trial was passed; as soon as no answer is on its way.
    ReexecReady,
    Root(Stage, Root),
}

/// Where we are going.
pub struct Root {
    root: Text,
    init: Text,
    fd: i32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Wanted,
    Check,
    Kill,
    Move,
}

impl Switch {
    pub fn begin_reexec(&mut self) {
        if let Switch::No = self {
            *self = Switch::ReexecWanted;
        }
    }

    /// `false`: that is no place to go to.
    pub fn begin_root(&mut self, root: &[u8], init: &[u8]) -> bool {
        let (root, init) = (join(&[root]), join(&[init]));
        let absolute =
            |path: &Text| path.whole().is_some() && path.as_bytes().first() == Some(&b'/');
        if !absolute(&root) || !absolute(&init) || root.as_bytes() == b"/" {
            return false;
        }
        if !matches!(self, Switch::No) {
            return false;
        }
        *self = Switch::Root(Stage::Wanted, Root { root, init, fd: -1 });
        true
    }

    /// Whether [`Init::tick_switch`] has something to do now.
    pub fn wants_turn(&self) -> bool {
        matches!(
            self,
            Switch::ReexecWanted | Switch::ReexecReady | Switch::Root(Stage::Wanted, _)
        )
    }
}

impl Init {
    /// Goes on with what was begun.
    pub fn tick_switch(&mut self, now: u64) {
        if self.talk.answering() || self.doomed.len() > 0 {
            return;
        }
        match &mut self.switch {
            Switch::ReexecWanted => self.start_trial(now),
            Switch::ReexecReady => {
                let path = self.own_path();
                let error = self.become_another(path.as_c(), now);
                self.switch_failed(Request::Reexec, error);
            }
            Switch::Root(stage @ Stage::Wanted, target) => {
                *stage = Stage::Check;
                let path = join(&[target.root.as_bytes(), target.init.as_bytes()]);
                let check = || i32::from(!path.whole().is_some_and(sys::exists));
                if let Err(error) = self
                    .workers
                    .start(Job::RootCheck, Some(ROOT_MS), false, check)
                {
                    self.switch_failed(Request::SwitchRoot, error);
                }
            }
            Switch::Root(stage @ Stage::Kill, target) => {
                if matches!(self.manager, Manager::Running(_)) {
                    return;
                }
                *stage = Stage::Move;
                // No manager before the new root is there.
                self.manager = Manager::Waiting { at: u64::MAX };
                let root = &target.root;
                let job = || status_of(move_root(root.as_c()));
                if let Err(error) = self.workers.start(Job::RootMove, Some(ROOT_MS), false, job) {
                    self.switch_failed(Request::SwitchRoot, error);
                }
            }
            _ => {}
        }
    }

    /// The path of init's own binary, as it is found now.
    fn own_path(&self) -> Text {
        match self.arguments.get(0) {
            Some(path) if path.to_bytes().first() == Some(&b'/') => join(&[path.to_bytes()]),
            _ => sys::own(b"exe"),
        }
    }

    fn start_trial(&mut self, now: u64) {
        let state = match self.write_state(now) {
            Ok(state) => state,
            Err(error) => return self.switch_failed(Request::Reexec, error),
        };
        let path = self.own_path();
        let started = self.workers.start(Job::Trial, Some(TRIAL_MS), false, || {
            sys::default_signals();
            let variable = state_variable(state);
            sys::set_cloexec(state, false);
            let environment = List::environment(Some(variable.as_c()));
            sys::exec(path.as_c(), &List::new(&[path.as_c(), CHECK]), &environment);
            127
        });
        sys::close(state);
        match started {
            Ok(()) => self.switch = Switch::Trial,
            Err(error) => self.switch_failed(Request::Reexec, error),
        }
    }

    /// One of the workers ended.
    pub fn switch_worker_ended(&mut self, job: Job, status: Option<i32>) {
        let now = sys::now();
        let good = status == Some(0);
        let errno = match status {
            Some(status) => (status >> 8) & 0xff,
            None => libc::ETIMEDOUT,
        };
        match (&mut self.switch, job) {
            (Switch::Trial, Job::Trial) if good => self.switch = Switch::ReexecReady,
            (Switch::Trial, Job::Trial) => self.switch_failed(Request::Reexec, libc::ENOEXEC),
            (Switch::Root(stage, target), Job::RootCheck) if good => {
                match sys::open(target.root.as_c(), libc::O_PATH | libc::O_DIRECTORY) {
                    Ok(fd) => {
                        target.fd = fd;
                        *stage = Stage::Kill;
                        self.kill_manager(Hand::Stopped, now);
                    }
                    Err(error) => self.switch_failed(Request::SwitchRoot, error),
                }
            }
            (Switch::Root(..), Job::RootCheck) => {
                self.switch_failed(
                    Request::SwitchRoot,
                    if errno == 1 { libc::ENOENT } else { errno },
                );
            }
            (Switch::Root(_, target), Job::RootMove) if good => {
                let (fd, init) = (target.fd, join(&[target.init.as_bytes()]));
                let moved = sys::fchdir(fd)
                    .and_then(|()| sys::chroot(c"."))
                    .and(sys::chdir(c"/"));
                let error = match moved {
                    Ok(()) => self.become_another(init.as_c(), now),
                    Err(error) => error,
                };
                self.switch_failed(Request::SwitchRoot, error);
            }
            (Switch::Root(..), Job::RootMove) => self.switch_failed(Request::SwitchRoot, errno),
            _ => {}
        }
    }

    fn switch_failed(&mut self, request: Request, error: sys::Errno) {
        let what: &[u8] = if request == Request::Reexec {
            b"re-exec"
        } else {
            b"switch-root"
        };
        say::error("%: %; going on as before", &[B(what), E(error)]);
        if let Switch::Root(_, target) = &self.switch
            && target.fd >= 0
        {
            sys::close(target.fd);
        }
        self.switch = Switch::No;
        if let Manager::Waiting { at: u64::MAX } = self.manager {
            self.manager = Manager::Waiting { at: sys::now() };
        }
        self.failed(request, error);
    }

    /// Executes `path` with our state; comes back only if that fails.
    fn become_another(&mut self, path: &CStr, now: u64) -> sys::Errno {
        let state = match self.write_state(now) {
            Ok(state) => state,
            Err(error) => return error,
        };
        self.inherit(true);
        sys::set_cloexec(state, false);
        let variable = state_variable(state);
        let arguments = List::arguments(self.arguments);
        let error = sys::exec(path, &arguments, &List::environment(Some(variable.as_c())));
        self.inherit(false);
        sys::close(state);
        error
    }

    /// Sets whether what we hold survives an `execve`.
    fn inherit(&mut self, survives: bool) {
        let mut index = 0;
        while let Some((_, fd)) = self.memories.store.at(index) {
            sys::set_cloexec(fd, !survives);
            index += 1;
        }
        if let Some(fd) = self.channel() {
            sys::set_cloexec(fd, !survives);
        }
        if let Some(watchdog) = self.watchdog {
            sys::set_cloexec(watchdog.fd, !survives);
        }
    }

    /// Writes everything down; the descriptor of the memfd.
    fn write_state(&self, now: u64) -> Result<i32, sys::Errno> {
        let mut file = Writer {
            fd: sys::memory_file()?,
            buf: [0; 1024],
            used: 0,
            error: 0,
        };
        file.put(&Record::Begin {
            magic: state::MAGIC,
        });
        let ring = &self.memories.ring;
        let oldest = ring.get(0).map_or(ring.next_seq(), |exit| exit.seq);
        file.put(&Record::Counters {
            epoch: self.epoch,
            next_seq: oldest,
            discarded: self.discarded,
            signals: self.signals,
        });
        file.put(&Record::Limits {
            soft: self.limits.0,
            hard: self.limits.1,
        });
        let mut index = 0;
        while let Some(exit) = ring.get(index) {
            file.put(&Record::Exit(exit));
            index += 1;
        }
        index = 0;
        while let Some((label, fd)) = self.memories.store.at(index) {
            file.put(&Record::Kept { label, fd });
            index += 1;
        }
        if let Manager::Running(running) = &self.manager {
            file.put(&Record::Manager {
                pid: running.pid as u32,
                start: running.start,
                fd: running.fd,
                up: running.up,
                sent: ring.sent() as u32,
                before: self.before,
                since: running.since,
            });
        }
        if let Some((ending, at)) = self.shutdown {
            let left = at.saturating_sub(now).min(u64::from(u32::MAX));
            file.put(&Record::Shutdown {
                shutdown: Shutdown {
                    ending,
                    left_ms: left as u32,
                },
            });
        }
        if let Some(watchdog) = self.watchdog {
            file.put(&Record::Watchdog {
                fd: watchdog.fd,
                timeout_ms: watchdog.timeout_ms,
            });
        }
        file.put(&Record::End);
        file.finish()
    }

    /// Takes over what a former self wrote down.
    pub fn restore(&mut self, state: i32, now: u64) {
        let mut next_seq = 1;
        let complete = each_record(state, &mut |record| {
            self.restore_one(record, &mut next_seq, now)
        });
        if !complete {
            say::error(
                "the state of the former init is incomplete; going on with what there is",
                &[],
            );
        }
        sys::close(state);
    }

    fn restore_one(&mut self, record: Record, next_seq: &mut u64, now: u64) {
        match record {
            Record::Begin { .. } | Record::End => {}
            Record::Counters {
                epoch,
                next_seq: first,
                discarded,
                signals,
            } => {
                self.epoch = epoch;
                self.discarded = discarded;
                self.signals = signals;
                *next_seq = first;
                self.memories.ring.restart_at(first);
            }
            Record::Limits { soft, hard } => self.limits = (soft, hard),
            Record::Exit(exit) => {
                self.memories.ring.push(exit.pid, exit.start, exit.status);
            }
            Record::Kept { label, fd } => {
                if fd > 2 && sys::is_open(fd) {
                    sys::set_cloexec(fd, true);
                    self.memories.store.put(label, fd);
                }
            }
            Record::Manager {
                pid,
                start,
                fd,
                up,
                sent,
                before,
                since,
            } => {
                self.before = before;
                let pid = pid as i32;
                let there = sys::stat(pid).is_none_or(|stat| start == 0 || stat.start == start);
                if fd > 2 && sys::is_open(fd) && there {
                    sys::set_cloexec(fd, true);
                    for _ in 0..sent {
                        self.memories.ring.mark_sent();
                    }
                    self.manager = Manager::Running(Running::restored(pid, start, fd, up, since));
                    if !up {
                        self.liveness.spawned(now);
                    } else if self.debt() {
                        self.liveness.owe(now);
                    }
                }
            }
            Record::Shutdown { shutdown } => {
                self.shutdown = Some((shutdown.ending, now + u64::from(shutdown.left_ms)));
            }
            Record::Watchdog { fd, timeout_ms } => {
                if fd > 2 && sys::is_open(fd) {
                    sys::set_cloexec(fd, true);
                    self.watchdog_fd(fd, timeout_ms, now);
                }
            }
        }
    }
}

impl Running {
    fn restored(pid: i32, start: u64, fd: i32, up: bool, since: u64) -> Running {
        let (hand, fence) = (Hand::None, None);
        Running {
            pid,
            start,
            fd,
            up,
            since,
            hand,
            fence,
            cpu: 0,
            asked: 0,
            oom_kills: u64::MAX,
        }
    }
}

struct Writer {
    fd: i32,
    buf: [u8; 1024],
    used: usize,
    error: sys::Errno,
}

impl Writer {
    fn put(&mut self, record: &Record) {
        if self.used + state::ROOM > self.buf.len() {
            self.flush();
        }
        let room = self.buf.get_mut(self.used..).unwrap_or_default();
        match state::write(record, room) {
            Some(used) => self.used += used,
            None => self.error = libc::EMSGSIZE,
        }
    }

    fn flush(&mut self) {
        let bytes = self.buf.get(..self.used).unwrap_or_default();
        match sys::write(self.fd, bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(_) => self.error = libc::ENOSPC,
            Err(error) => self.error = error,
        }
        self.used = 0;
    }

    fn finish(mut self) -> Result<i32, sys::Errno> {
        self.flush();
        if self.error != 0 {
            sys::close(self.fd);
            return Err(self.error);
        }
        sys::rewind(self.fd);
        Ok(self.fd)
    }
}

fn state_variable(fd: i32) -> Text {
    let mut text = join(&[STATE_VARIABLE]);
    text.num(fd as u64);
    text
}

/// The descriptor of a former self's state.
pub fn state_fd() -> Option<i32> {
    for index in 0..72 {
        if let Some(value) = sys::environment(index)?
            .to_bytes()
            .strip_prefix(STATE_VARIABLE)
        {
            let fd = i32::try_from(parse(value)?).ok()?;
            return (fd > 2 && sys::is_open(fd)).then_some(fd);
        }
    }
    None
}

/// Calls `each` with every record; whether the state was ours and whole.
fn each_record(fd: i32, each: &mut dyn FnMut(Record)) -> bool {
    let mut buf = [0u8; 1024];
    let mut used = 0;
    let mut begun = false;
    // More than 8,192 descriptors and 1,024 exits take.
    for _ in 0..4096 {
        let Some(room) = buf.get_mut(used..) else {
            return false;
        };
        match sys::read(fd, room) {
            Ok(got @ 1..) => used += got,
            _ => return false,
        }
        let mut done = 0;
        loop {
            let (read, took) = state::read(buf.get(done..used).unwrap_or_default());
            done += took;
            match read {
                Read::More => break,
                Read::Unknown => {}
                Read::Record(Record::Begin {
                    magic: state::MAGIC,
                }) => begun = true,
                Read::Record(Record::End) => return begun,
                Read::Record(record) if begun => each(record),
                Read::Record(_) => return false,
            }
        }
        used = shift_down(&mut buf, done, used);
    }
    false
}

/// `init --check-state`: whether this binary understands the state it was given.
pub fn check_state() -> i32 {
    match state_fd() {
        Some(fd) if each_record(fd, &mut |_| {}) => 0,
        _ => 1,
    }
}

/// In a worker: takes the API file systems along and makes `root` the root.
fn move_root(root: &CStr) -> Result<(), sys::Errno> {
    let moving = libc::MS_MOVE as u32;
    for from in MOVED {
        let to = join(&[root.to_bytes(), from.to_bytes()]);
        sys::mkdir(to.as_c(), 0o755);
        if sys::mount(from, to.as_c(), c"", moving, c"").is_err() {
            // Not mounted, or no place there: nothing may hold the old root.
            let _ = sys::unmount(from, libc::MNT_DETACH);
        }
    }
    sys::chdir(root)?;
    sys::mount(c".", c"/", c"", moving, c"")
}
