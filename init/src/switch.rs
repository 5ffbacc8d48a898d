//! Becoming another init: re-exec (the same place, perhaps a newer binary) and switch-root.
//!
//! ```text
//!   re-exec:      Wanted ─▶ Trial (a child runs `init --check-state` on our state) ─▶ Ready ─▶ execve
//!   switch-root:  RootWanted ─▶ RootCheck (worker) ─▶ RootKill ─▶ RootMove (worker) ─▶ execve
//!                                                    manager killed and reaped
//! ```
//!
//! The state travels in a memfd ([`crate::state`]) whose number is in the environment; kept
//! descriptors, the manager's socket and the watchdog travel by staying open. Zombies, pending
//! signals and children are the kernel's and stay. With re-exec the manager does not notice. Whatever
//! fails before `execve` leaves everything as it was and is told to the manager.

use crate::deaths::Hand;
use crate::manager::{Manager, Watched};
use crate::say::{
    self,
    Arg::{B, E},
};
use crate::state;
use crate::supervise::Init;
use crate::sys::{self, Start, Words, until_nul};
use crate::text::{Text, join, parse};
use crate::workers::Job;
use core::ffi::CStr;
use init_wire::{PATH_LEN_MAX, Request};

const TRIAL_MS: u64 = 5000;
const ROOT_MS: u64 = 10_000;
/// The argument that makes init check a state and do nothing else.
pub const CHECK: &CStr = c"--check-state";
/// Name of the variable that tells a re-executed init where its state is.
pub const STATE_VARIABLE: &[u8] = b"SYSMASTER_INIT_STATE=";

/// A path that came in a frame, and a NUL.
pub type Path = [u8; PATH_LEN_MAX + 1];

/// Where in becoming another we are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    No,
    Wanted,
    Trial,
    /// The trial was passed; as soon as no answer is on its way.
    Ready,
    RootWanted,
    RootCheck,
    RootKill,
    RootMove,
}

/// Where we are going.
pub struct Root {
    root: Path,
    init: Path,
    fd: i32,
}

impl Root {
    pub const fn new() -> Root {
        let path = [0; PATH_LEN_MAX + 1];
        Root {
            root: path,
            init: path,
            fd: 0,
        }
    }

    /// `false`: that is no place to go to.
    pub fn set(&mut self, root: &[u8], init: &[u8]) -> bool {
        root != b"/" && put(&mut self.root, root) && put(&mut self.init, init)
    }
}

/// An absolute path without NUL.
fn put(path: &mut Path, from: &[u8]) -> bool {
    if from.first() != Some(&b'/') || from.len() > PATH_LEN_MAX {
        return false;
    }
    path.fill(0);
    for (place, byte) in path.iter_mut().zip(from) {
        *place = *byte;
    }
    until_nul(path).to_bytes().len() == from.len()
}

impl Init {
    /// The manager wants a re-exec.
    pub fn want_reexec(&mut self) {
        if self.switch == Switch::No {
            self.switch = Switch::Wanted;
        }
    }

    /// The manager wants to go to another root.
    pub fn want_root(&mut self, root: &[u8], init: &[u8]) {
        if self.switch == Switch::No && self.root.set(root, init) {
            self.switch = Switch::RootWanted;
        } else {
            self.failed(Request::SwitchRoot, libc::EINVAL);
        }
    }

    /// Whether [`Init::tick_switch`] has something to do now.
    pub fn switch_is_due(&self) -> bool {
        matches!(
            self.switch,
            Switch::Wanted | Switch::Ready | Switch::RootWanted
        ) && !self.talk.answering()
    }

    /// Goes on with what was begun.
    pub fn tick_switch(&mut self) {
        if self.talk.answering() || self.doomed.len() > 0 {
            return;
        }
        let result = match self.switch {
            Switch::Wanted => self.start_trial(),
            Switch::Ready => Err(self.become_another(self.own_path().as_c())),
            Switch::RootWanted => {
                self.switch = Switch::RootCheck;
                let (root, init) = (self.root.root, self.root.init);
                let words = [
                    c"init-worker",
                    c"root-check",
                    until_nul(&root),
                    until_nul(&init),
                ];
                self.work(Job::RootCheck, ROOT_MS, &words)
            }
            Switch::RootKill if self.manager != Manager::Running => {
                self.switch = Switch::RootMove;
                // No manager before the new root is there.
                self.manager = Manager::Waiting { at: u64::MAX };
                let root = self.root.root;
                self.work(
                    Job::RootMove,
                    ROOT_MS,
                    &[c"init-worker", c"root-move", until_nul(&root)],
                )
            }
            _ => return,
        };
        if let Err(error) = result {
            self.switch_failed(error);
        }
    }

    /// The path of init's own binary, as it is found now.
    fn own_path(&self) -> Text {
        match self.start.argument(0) {
            Some(path) if path.to_bytes().first() == Some(&b'/') => join(&[path.to_bytes()]),
            _ => join(&[b"/proc/self/exe"]),
        }
    }

    fn start_trial(&mut self) -> Result<(), sys::Errno> {
        self.switch = Switch::Trial;
        let state = self.write_state()?;
        let path = self.own_path();
        let environment = &mut self.environment;
        let started = self.workers.start(Job::Trial, TRIAL_MS, false, || {
            sys::default_signals();
            sys::set_cloexec(state, false);
            environment.with(state_variable(state).as_c(), |environment| {
                sys::exec(path.as_c(), &Words::of(&[path.as_c(), CHECK]), environment)
            });
            127
        });
        sys::close(state);
        started
    }

    /// One of the children ended, or was killed at its deadline.
    pub fn switch_job_ended(&mut self, job: Job, status: Option<i32>) {
        let error = match (self.switch, job, status) {
            (Switch::Trial, Job::Trial, Some(0)) => {
                self.switch = Switch::Ready;
                return;
            }
            (Switch::RootCheck, Job::RootCheck, Some(0)) => {
                match sys::open(until_nul(&self.root.root), libc::O_PATH | libc::O_DIRECTORY) {
                    Ok(fd) => {
                        self.root.fd = fd;
                        self.switch = Switch::RootKill;
                        return self.kill_manager(Hand::Stopped, sys::now());
                    }
                    Err(error) => error,
                }
            }
            (Switch::RootMove, Job::RootMove, Some(0)) => {
                let moved = sys::fchdir(self.root.fd).and_then(|()| sys::chroot(c"."));
                match moved.and_then(|()| sys::chdir(c"/")) {
                    Ok(()) => {
                        let init = self.root.init;
                        self.become_another(until_nul(&init))
                    }
                    Err(error) => error,
                }
            }
            (_, Job::Trial, Some(_)) => libc::ENOEXEC,
            (_, _, Some(status)) => (status >> 8) & 0xff,
            (_, _, None) => libc::ETIMEDOUT,
        };
        self.switch_failed(error);
    }

    fn switch_failed(&mut self, error: sys::Errno) {
        let root = !matches!(self.switch, Switch::Wanted | Switch::Trial | Switch::Ready);
        let (request, what): (_, &[u8]) = if root {
            (Request::SwitchRoot, b"switch-root")
        } else {
            (Request::Reexec, b"re-exec")
        };
        say::error("%: %; going on as before", &[B(what), E(error)]);
        if self.root.fd > 0 {
            sys::close(self.root.fd);
            self.root.fd = 0;
        }
        self.switch = Switch::No;
        if let Manager::Waiting { at: u64::MAX } = self.manager {
            self.manager = Manager::Waiting { at: 0 };
        }
        self.failed(request, error);
    }

    /// Executes `path` with our state; comes back only if that fails.
    fn become_another(&mut self, path: &CStr) -> sys::Errno {
        let state = match self.write_state() {
            Ok(state) => state,
            Err(error) => return error,
        };
        self.inherit(true);
        sys::set_cloexec(state, false);
        let start = self.start;
        let error = self
            .environment
            .with(state_variable(state).as_c(), |environment| {
                start.again(path, environment)
            });
        self.inherit(false);
        sys::close(state);
        error
    }

    /// Sets whether what we hold survives an `execve`.
    fn inherit(&mut self, survives: bool) {
        let mut index = 0;
        while let Some((_, fd)) = self.store.at(index) {
            sys::set_cloexec(fd, !survives);
            index += 1;
        }
        if let Some(fd) = self.channel() {
            sys::set_cloexec(fd, !survives);
        }
    }

    /// Writes everything down; the descriptor of the image.
    fn write_state(&mut self) -> Result<i32, sys::Errno> {
        if self.manager != Manager::Running {
            self.facts.manager_pid = 0;
        }
        state::write(&mut self.facts, &self.ring, &self.store)
    }

    /// Takes over what a former self wrote down, if there is one.
    pub fn restore(&mut self, now: u64) -> bool {
        let Some(image) = state_fd(&self.start) else {
            return false;
        };
        if !state::read(image, &mut self.facts, &mut self.ring, &mut self.store) {
            say::error(
                "the state of the former init is incomplete; going on with what there is",
                &[],
            );
        }
        sys::close(image);
        self.store.retain(|fd| fd > 2 && sys::is_open(fd));
        self.inherit(false);
        // Whoever was heard before is not unheard of because of us.
        self.heard_at = now;
        let facts = &self.facts;
        let (pid, fd, start) = (facts.manager_pid, facts.manager_fd, facts.manager_start);
        if pid > 0 && fd > 2 && sys::is_open(fd) && [0, start].contains(&sys::start_of(pid)) {
            self.manager = Manager::Running;
            self.watched = Watched::new(u64::MAX);
            sys::set_cloexec(fd, true);
            if facts.manager_up == 0 {
                self.liveness.spawned(now);
            } else if self.debt() {
                self.liveness.owe(now);
            }
        }
        true
    }
}

fn state_variable(fd: i32) -> Text {
    let mut text = join(&[STATE_VARIABLE]);
    text.num(fd as u64);
    text
}

/// The descriptor of a former self's state.
fn state_fd(start: &Start) -> Option<i32> {
    let fd = parse(start.variable(STATE_VARIABLE)?.to_bytes())? as i32;
    (fd > 2 && sys::is_open(fd)).then_some(fd)
}

/// `init --check-state`: whether this binary understands the state it was given.
pub fn check_state(start: &Start, init: &mut Init) -> i32 {
    let read = |fd| state::read(fd, &mut init.facts, &mut init.ring, &mut init.store);
    i32::from(!state_fd(start).is_some_and(read))
}
