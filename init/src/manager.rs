//! The life of the manager: spawn, watch, kill, replace; and what there is without one.
//!
//! ```text
//!            at its time               dies, or is killed and reaped
//!   Waiting ─────────────▶ Running ──────────────────────────────────▶ Waiting
//!      ▲                      │ killed but not reaped in 5 s: fenced     │ ladder says so
//!      │                      └──────────────▶ Waiting                   ▼
//!      └───────────────── shell left, delay over ◀────────────────── Rescue
//! ```
//!
//! There is never a second manager while the first can still act: the next is spawned when the old
//! one is reaped. One that cannot be reaped (it sleeps in the kernel) has lost its socket and its
//! epoch, and helpers do not listen to it any more.

use crate::deaths::{Hand, Next, classify};
use crate::last;
use crate::liveness::{self, Verdict};
use crate::options::Rescue;
use crate::procfs;
use crate::say::{
    self,
    Arg::{B, E, N},
};
use crate::supervise::Init;
use crate::sys;
use crate::text::shift_down;
use crate::workers::Job;
use core::ffi::CStr;
use init_wire::{Before, Ending, MANAGER_FD};

/// How long a killed manager may take to be reaped before the next is spawned regardless.
const FENCE_MS: u64 = 5000;
/// Between two attempts when even the rescue shell cannot be started.
const RETRY_MS: u64 = 30_000;

/// A manager that was spawned.
#[derive(Clone, Copy)]
pub struct Running {
    pub pid: i32,
    /// Start time, 0 if unknown.
    pub start: u64,
    /// Our end of the socketpair.
    pub fd: i32,
    /// Whether it said `Hello`.
    pub up: bool,
    /// When it was spawned.
    pub since: u64,
    /// What we did to it.
    pub hand: Hand,
    /// When to give up waiting for its death, after we killed it.
    pub fence: Option<u64>,
    /// Its CPU time when it was asked, and when that was.
    pub cpu: u64,
    pub asked: u64,
    /// The kernel's count of out-of-memory kills when it was spawned.
    pub oom_kills: u64,
}

/// Whether there is a manager.
pub enum Manager {
    /// The next is spawned at this time (`u64::MAX`: never again).
    Waiting {
        at: u64,
    },
    Running(Running),
    /// None can be started. At this time something is tried (`None`: the shell is running).
    Rescue {
        at: Option<u64>,
    },
}

impl Init {
    /// Our end of the manager's socket.
    pub fn channel(&self) -> Option<i32> {
        match &self.manager {
            Manager::Running(running) => Some(running.fd),
            _ => None,
        }
    }

    /// Whether a manager that said `Hello` is there.
    pub fn managed(&self) -> bool {
        matches!(&self.manager, Manager::Running(running) if running.up)
    }

    /// Spawns the next manager.
    fn spawn_manager(&mut self, now: u64) {
        let (ours, theirs) = match sys::socketpair() {
            Ok(ends) => ends,
            Err(error) => return self.could_not_spawn(now, error),
        };
        let forked = sys::fork();
        if forked == Ok(0) {
            self.become_manager(theirs);
        }
        sys::close(theirs);
        let pid = match forked {
            Ok(pid) => pid,
            Err(error) => {
                sys::close(ours);
                return self.could_not_spawn(now, error);
            }
        };
        self.epoch += 1;
        self.manager = Manager::Running(Running {
            pid,
            start: sys::stat(pid).map_or(0, |stat| stat.start),
            fd: ours,
            up: false,
            since: now,
            hand: Hand::None,
            fence: None,
            cpu: 0,
            asked: 0,
            oom_kills: oom_kills(),
        });
        self.liveness.spawned(now);
        self.memories.ring.resend();
        self.talk.restart();
    }

    fn could_not_spawn(&mut self, now: u64, error: sys::Errno) {
        say::error(
            "cannot spawn the manager: %; trying again in a second",
            &[E(error)],
        );
        self.manager = Manager::Waiting { at: now + 1000 };
    }

    /// In the child: executes the manager.
    fn become_manager(&self, theirs: i32) -> ! {
        sys::default_signals();
        sys::new_session();
        sys::set_file_limit(self.limits.0, self.limits.1);
        // The system needs it more than any service; where that is not allowed it does without.
        let _ = sys::write_file(c"/proc/self/oom_score_adj", b"-900");
        if theirs == MANAGER_FD {
            sys::set_cloexec(theirs, false);
        } else if let Err(error) = sys::dup2(theirs, MANAGER_FD) {
            say::error("cannot hand over the manager's socket: %", &[E(error)]);
            sys::exit(127);
        }
        let path = self.options.manager.as_c();
        let arguments = sys::List::new(&[c"sysmaster", c"--init-fd", c"3"]);
        let error = sys::exec(path, &arguments, &sys::List::environment(None));
        say::error(
            "cannot execute the manager %: %",
            &[B(path.to_bytes()), E(error)],
        );
        sys::exit(127);
    }

    /// Kills the manager for a reason.
    pub fn kill_manager(&mut self, hand: Hand, now: u64) {
        if let Manager::Running(running) = &mut self.manager
            && running.fence.is_none()
        {
            running.hand = hand;
            running.fence = Some(now + FENCE_MS);
            sys::kill(running.pid, libc::SIGKILL);
            self.liveness.gone();
        }
    }

    /// The last step begins: no manager any more.
    pub fn dismiss_manager(&mut self) {
        if let Manager::Running(running) = self.manager {
            sys::kill(running.pid, libc::SIGKILL);
            self.dispose(running.fd);
        }
        self.liveness.gone();
        self.manager = Manager::Waiting { at: u64::MAX };
    }

    /// The manager has ended, was drained and reaped.
    pub fn manager_died(&mut self, status: i32, now: u64) {
        let Manager::Running(running) = self.manager else {
            return;
        };
        self.dispose(running.fd);
        self.liveness.gone();
        self.alone_since = now;
        let out_of_memory = status == libc::SIGKILL && oom_kills() > running.oom_kills;
        let cause = classify(status, running.hand, running.up, out_of_memory);
        self.before = cause;
        announce(cause, running.pid);
        self.manager = match self
            .ladder
            .died(cause, now, now.saturating_sub(running.since))
        {
            Next::Spawn(pause) => Manager::Waiting { at: now + pause },
            Next::Rescue => Manager::Rescue { at: Some(now) },
        };
        if let Manager::Rescue { .. } = self.manager {
            self.enter_rescue(now);
        }
        self.manager_gone(now);
    }

    fn enter_rescue(&mut self, now: u64) {
        say::error(
            "the manager % cannot be kept running",
            &[B(self.options.manager.as_bytes())],
        );
        if let Some((ending, _)) = self.shutdown {
            return last::begin(self, ending, now);
        }
        if self.options.rescue == Rescue::Reboot {
            let delay = self.options.rescue_delay_ms;
            say::error("rebooting in % seconds", &[N(delay / 1000)]);
            self.manager = Manager::Rescue {
                at: Some(now + delay),
            };
        } else {
            say::error(
                "starting a rescue shell; leave it to try the manager again",
                &[],
            );
            let path = self.options.shell.as_c();
            let started = self.workers.start(Job::Shell, None, false, || shell(path));
            self.manager = Manager::Rescue {
                at: started.is_err().then_some(now.saturating_add(RETRY_MS)),
            };
        }
    }

    /// The rescue shell was left.
    pub fn shell_ended(&mut self, status: i32, now: u64) {
        let Manager::Rescue { .. } = self.manager else {
            return;
        };
        if status == 127 << 8 {
            say::error(
                "no rescue shell at %; trying the manager again in 30 seconds",
                &[B(self.options.shell.as_bytes())],
            );
            self.manager = Manager::Rescue {
                at: Some(now + RETRY_MS),
            };
        } else {
            self.ladder.reset();
            self.manager = Manager::Waiting { at: now };
        }
    }

    /// Does what is due about the manager.
    pub fn tick_manager(&mut self, now: u64) {
        match &self.manager {
            Manager::Waiting { at } if *at <= now => self.spawn_manager(now),
            Manager::Rescue { at: Some(at) } if *at <= now => {
                if self.options.rescue == Rescue::Reboot {
                    last::begin(self, Ending::Reboot, now);
                } else {
                    self.ladder.reset();
                    self.manager = Manager::Waiting { at: now };
                }
            }
            Manager::Running(running) if running.fence.is_some_and(|fence| fence <= now) => {
                let (fd, pid) = (running.fd, running.pid);
                say::error(
                    "the manager, process %, cannot be killed: fenced out",
                    &[N(pid as u64)],
                );
                self.drain(now);
                self.dispose(fd);
                self.before = Before::Hung;
                self.alone_since = now;
                self.manager = Manager::Waiting { at: now };
                self.manager_gone(now);
            }
            Manager::Running(_) => self.tick_liveness(now),
            _ => {}
        }
    }

    fn tick_liveness(&mut self, now: u64) {
        if self.liveness.deadline().is_none_or(|until| now < until) {
            return;
        }
        // Drained: what it has said so far counts before any verdict.
        self.read_frames(now, false);
        let debt = self.debt();
        let verdict = self.liveness.expire(now, debt);
        let Manager::Running(running) = &mut self.manager else {
            return;
        };
        match verdict {
            Verdict::Fine => {}
            Verdict::Ask => {
                running.cpu = sys::stat(running.pid).map_or(0, |stat| stat.cpu);
                running.asked = now;
                self.talk.ask(now);
            }
            Verdict::Look => {
                let stat = sys::stat(running.pid);
                let elapsed = now.saturating_sub(running.asked.max(running.since));
                let starved = stat.is_some_and(|stat| {
                    liveness::starved(stat.state, stat.cpu.saturating_sub(running.cpu), elapsed)
                });
                if self.liveness.looked(now, starved) {
                    self.hung(now);
                } else {
                    sys::set_priority(running.pid, -10);
                }
            }
            Verdict::Kill => self.hung(now),
        }
    }

    fn hung(&mut self, now: u64) {
        say::error(
            "the manager owes an answer and does not move: replaced",
            &[],
        );
        self.kill_manager(Hand::Hung, now);
    }

    /// Looks whether somebody stopped the manager.
    pub fn look_for_stop(&mut self, now: u64) {
        if let Manager::Running(running) = &self.manager
            && running.fence.is_none()
            && sys::is_stopped(running.pid)
        {
            self.manager_stopped(now);
        }
    }

    fn manager_stopped(&mut self, now: u64) {
        say::warning("the manager was stopped: replaced", &[]);
        self.kill_manager(Hand::Stopped, now);
    }

    /// Looks whether somebody stopped another child, and tells the manager so: a helper that
    /// outlived the manager that started it is init's child, and the manager cannot see it stop.
    pub fn look_for_stopped_children(&mut self, now: u64) {
        for _ in 0..64 {
            let Some(pid) = sys::stopped_child() else {
                return;
            };
            if let Manager::Running(running) = &self.manager
                && running.pid == pid
            {
                if running.fence.is_none() {
                    self.manager_stopped(now);
                }
                continue;
            }
            self.signals |= 1_u64 << libc::SIGCHLD;
            self.talk.forget_signal(libc::SIGCHLD as u32);
        }
    }

    /// When [`Init::tick_manager`] wants to be called.
    pub fn manager_deadline(&self) -> Option<u64> {
        match &self.manager {
            Manager::Waiting { at } => (*at != u64::MAX).then_some(*at),
            Manager::Running(running) => running.fence.or(self.liveness.deadline()),
            Manager::Rescue { at } => *at,
        }
    }
}

fn announce(cause: Before, pid: i32) {
    let (text, number) = match cause {
        Before::Nobody => return,
        Before::Asked => ("the manager, process %, asked to be replaced", 0),
        Before::Hung => ("the manager, process %, hung", 0),
        Before::Outsider { status } | Before::Fault { status } | Before::NotStarted { status } => {
            match status & 0x7f {
                0 => (
                    "the manager, process %, exited with status %",
                    (status >> 8) & 0xff,
                ),
                signal => ("the manager, process %, was ended by signal %", signal),
            }
        }
    };
    say::warning(text, &[N(pid as u64), N(number as u64)]);
}

/// How often the kernel has killed for want of memory.
fn oom_kills() -> u64 {
    let Ok(fd) = sys::open(c"/proc/vmstat", libc::O_RDONLY) else {
        return 0;
    };
    // In pieces, so that PID 1 needs no large buffer; the end of a piece is carried over.
    let mut buf = [0u8; 512];
    let mut carried = 0;
    let mut found = 0;
    for _ in 0..256 {
        let Some(room) = buf.get_mut(carried..) else {
            break;
        };
        let Ok(got @ 1..) = sys::read(fd, room) else {
            break;
        };
        let used = carried + got;
        let piece = buf.get(..used).unwrap_or_default();
        let line = piece
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let whole = piece.get(..line).unwrap_or_default();
        if let Some(count) = procfs::counter(whole, b"oom_kill") {
            found = count;
            break;
        }
        carried = shift_down(&mut buf, line, used);
        if carried >= buf.len() {
            break;
        }
    }
    sys::close(fd);
    found
}

/// Becomes the rescue shell. Runs in a worker: opening a terminal may take for ever.
pub fn shell(path: &CStr) -> i32 {
    sys::default_signals();
    sys::new_session();
    if let Ok(console) = sys::open(c"/dev/console", libc::O_RDWR) {
        sys::controlling_terminal(console);
        for fd in 0..3 {
            let _ = sys::dup2(console, fd);
        }
    }
    let arguments = sys::List::new(&[c"-sh"]);
    let error = sys::exec(path, &arguments, &sys::List::environment(None));
    say::error("rescue shell %: %", &[B(path.to_bytes()), E(error)]);
    127
}
