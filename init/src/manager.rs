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
//! epoch, and helpers do not listen to it any more. Which process it is, and how to talk to it, is in
//! the [`crate::state::Facts`], because it outlives a re-exec.

use crate::deaths::{Hand, Next, classify};
use crate::last;
use crate::liveness::{self, Verdict};
use crate::say::{
    self,
    Arg::{B, E, N},
};
use crate::supervise::Init;
use crate::switch::Switch;
use crate::sys::{self, Words, until_nul};
use crate::text::join;
use crate::workers::Job;
use core::ffi::CStr;
use init_wire::{Before, Ending, Kind, MANAGER_FD};

/// How long a killed manager may take to be reaped before the next is spawned regardless.
const FENCE_MS: u64 = 5000;
/// How long after the end of its time a trial that nobody ended is given up, in seconds.
const TRIAL_GRACE_S: u32 = 30;
/// Between two attempts when even the rescue shell cannot be started.
const RETRY_MS: u64 = 30_000;
/// The cgroup of init and of the manager.
pub const GROUP: &CStr = c"/sys/fs/cgroup/init.scope";
const NEVER: u64 = u64::MAX;

/// Whether there is a manager.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The next is spawned at this time (`u64::MAX`: not by itself).
    Waiting { at: u64 },
    /// [`Watched`] and the facts say which.
    Running,
    /// None can be started. At this time something is tried (`u64::MAX`: the shell is running).
    Rescue { at: u64 },
}

/// What is known of the manager that runs, besides the facts.
pub struct Watched {
    /// What we did to it.
    pub hand: Hand,
    /// When to give up waiting for its death, after we killed it; 0: we did not.
    pub fence: u64,
    /// Its CPU time when it was asked, and when that was.
    cpu: u64,
    asked: u64,
    /// It was starved, and gets the processor sooner than others until it answers.
    favoured: bool,
    /// The kernel's count of out-of-memory kills when it was spawned.
    oom_kills: u64,
}

impl Watched {
    /// There was no manager yet.
    pub const NOBODY: Watched = Watched {
        hand: Hand::None,
        fence: 0,
        cpu: 0,
        asked: 0,
        favoured: false,
        oom_kills: 0,
    };

    /// Just spawned, or just taken over from a former self.
    pub const fn new(oom_kills: u64) -> Watched {
        Watched {
            oom_kills,
            ..Watched::NOBODY
        }
    }
}

impl Init {
    /// Our end of the manager's socket.
    pub fn channel(&self) -> Option<i32> {
        (self.manager == Manager::Running).then_some(self.facts.manager_fd)
    }

    /// Whether a manager that said `Hello` is there.
    pub fn managed(&self) -> bool {
        self.manager == Manager::Running && self.facts.manager_up != 0
    }

    /// Whether this is the manager that runs.
    pub fn is_manager(&self, pid: i32) -> bool {
        self.manager == Manager::Running && self.facts.manager_pid == pid
    }

    /// The manager's executable that came to be kept is on trial for so many seconds.
    pub fn begin_trial(&mut self, seconds: u16) {
        self.facts.trial = (sys::now() / 1000) as u32 + u32::from(seconds) + TRIAL_GRACE_S;
    }

    /// The trial is over when nothing is kept for it any more.
    pub fn look_at_trial(&mut self) {
        if self.kept(Kind::TRIAL).is_none() {
            self.facts.trial = 0;
        }
    }

    fn kept(&self, kind: Kind) -> Option<i32> {
        self.store.find(|label| label.kind == kind)
    }

    /// Goes back to the executable from before the trial; whether there was one.
    fn end_trial(&mut self) -> bool {
        while let Some(fd) = self.store.take(&|label| label.kind == Kind::TRIAL) {
            say::error("what was on trial is given up: going back", &[]);
            self.dispose(fd);
        }
        core::mem::take(&mut self.facts.trial) != 0
    }

    /// When the trial is given up; `u64::MAX`: there is none.
    fn trial_deadline(&self) -> u64 {
        match self.facts.trial {
            0 => NEVER,
            seconds => u64::from(seconds) * 1000,
        }
    }

    /// Spawns the next manager.
    fn spawn_manager(&mut self, now: u64) {
        if self.trial_deadline() <= now {
            self.end_trial();
        }
        let spawned = sys::socketpair().and_then(|(ours, theirs)| {
            let forked = if self.container {
                sys::fork()
            } else {
                sys::fork_into(GROUP)
            };
            if forked == Ok(0) {
                self.become_manager(theirs);
            }
            sys::close(theirs);
            if forked.is_err() {
                sys::close(ours);
            }
            forked.map(|pid| (pid, ours))
        });
        let (pid, fd) = match spawned {
            Ok(spawned) => spawned,
            Err(error) => {
                say::error(
                    "cannot spawn the manager: %; trying again in a second",
                    &[E(error)],
                );
                self.manager = Manager::Waiting { at: now + 1000 };
                return;
            }
        };
        let facts = &mut self.facts;
        facts.epoch += 1;
        facts.manager_pid = pid;
        facts.manager_fd = fd;
        facts.manager_start = sys::start_of(pid);
        facts.manager_up = 0;
        facts.manager_since = now;
        self.manager = Manager::Running;
        self.watched = Watched::new(oom_kills());
        self.liveness.spawned(now);
        self.ring.resend();
        self.talk.restart();
    }

    /// In the child: executes the manager.
    fn become_manager(&self, theirs: i32) -> ! {
        sys::default_signals();
        sys::new_session();
        sys::set_file_limit(self.facts.limits);
        // The system needs it more than any service; where that is not allowed it does without.
        let _ = sys::write_file(c"/proc/self/oom_score_adj", b"-900");
        let path = until_nul(&self.facts.settings.manager);
        let kept = self.kept(Kind::TRIAL).or(self.kept(Kind::PREVIOUS));
        let _ = sys::inherit_as(theirs, MANAGER_FD);
        let words = Words::of(&[c"sysmaster", c"--init-fd", c"3"]);
        let error = match kept {
            Some(fd) => sys::exec_open(fd, &words, &self.environment),
            None => {
                if self.ladder.previous() {
                    let previous = join(&[path.to_bytes(), b".previous"]);
                    sys::exec(previous.as_c(), &words, &self.environment);
                }
                sys::exec(path, &words, &self.environment)
            }
        };
        say::error(
            "cannot execute the manager %: %",
            &[B(path.to_bytes()), E(error)],
        );
        sys::exit(127);
    }

    /// Kills the manager for a reason.
    pub fn kill_manager(&mut self, hand: Hand, now: u64) {
        if self.manager == Manager::Running && self.watched.fence == 0 {
            self.watched.hand = hand;
            self.watched.fence = now + FENCE_MS;
            sys::kill(self.facts.manager_pid, libc::SIGKILL);
            self.liveness.gone();
        }
    }

    /// The last step begins: no manager any more.
    pub fn dismiss_manager(&mut self) {
        if self.manager == Manager::Running {
            sys::kill(self.facts.manager_pid, libc::SIGKILL);
        }
        self.forget_manager(0, Manager::Waiting { at: NEVER });
    }

    /// It is gone, or will not be listened to any more.
    fn forget_manager(&mut self, now: u64, then: Manager) {
        if self.manager == Manager::Running {
            self.dispose(self.facts.manager_fd);
        }
        self.liveness.gone();
        // One of those that come and go is none.
        if now.saturating_sub(self.facts.manager_since) >= self.discard_after() / 2 {
            self.alone_since = now;
        }
        self.manager = then;
        self.talk.reset();
        self.ring.resend();
    }

    /// The manager has ended, was drained and reaped.
    pub fn manager_died(&mut self, status: i32, now: u64) {
        let out_of_memory = status == libc::SIGKILL && oom_kills() > self.watched.oom_kills;
        let cause = classify(status, self.watched.hand, self.managed(), out_of_memory);
        self.facts.before = cause.parts().into();
        announce(cause, self.facts.manager_pid);
        let own_fault = !matches!(cause, Before::Asked | Before::Outsider { .. });
        let lived = now.saturating_sub(self.facts.manager_since);
        let next = if own_fault && self.end_trial() {
            // The ladder is climbed by what is started again, and this is not.
            Next::Spawn(0)
        } else {
            self.ladder.died(cause, now, lived)
        };
        let then = match next {
            // The next one starts in the new root.
            _ if self.switch == Switch::RootKill => Manager::Waiting { at: NEVER },
            Next::Spawn(pause) => Manager::Waiting { at: now + pause },
            Next::Rescue => Manager::Rescue { at: now },
        };
        self.forget_manager(now, then);
        if self.in_rescue() {
            self.enter_rescue(now);
        }
    }

    fn enter_rescue(&mut self, now: u64) {
        let settings = &self.facts.settings;
        let manager = until_nul(&settings.manager).to_bytes();
        say::error("the manager % cannot be kept running", &[B(manager)]);
        if let Some(ending) = self.ending() {
            return last::begin(self, ending, now);
        }
        let at = if settings.reboot != 0 {
            let delay = u64::from(settings.reboot_delay_ms);
            say::error("rebooting in % seconds", &[N(delay / 1000)]);
            now + delay
        } else {
            say::error(
                "starting a rescue shell; leave it to try the manager again",
                &[],
            );
            let settings = *settings;
            let shell = until_nul(&settings.shell);
            let started = self
                .work(Job::Shell, 0, &[c"init-worker", c"shell", shell])
                .or_else(|_| self.workers.start(Job::Shell, 0, false, last::shell));
            if started.is_ok() {
                NEVER
            } else {
                now + RETRY_MS
            }
        };
        self.manager = Manager::Rescue { at };
    }

    /// The rescue shell was left.
    pub fn shell_ended(&mut self, status: i32, now: u64) {
        if !self.in_rescue() {
            return;
        }
        if status == 127 << 8 {
            say::error(
                "no rescue shell; trying the manager again in 30 seconds",
                &[],
            );
            self.manager = Manager::Rescue { at: now + RETRY_MS };
        } else {
            self.ladder.reset();
            self.manager = Manager::Waiting { at: now };
        }
    }

    /// Whether there is no manager to be had.
    pub fn in_rescue(&self) -> bool {
        matches!(self.manager, Manager::Rescue { .. })
    }

    /// Does what is due about the manager.
    pub fn tick_manager(&mut self, now: u64) {
        if self.manager_deadline() > now {
            return;
        }
        match self.manager {
            Manager::Waiting { .. } => self.spawn_manager(now),
            Manager::Rescue { .. } if self.facts.settings.reboot != 0 => {
                last::begin(self, Ending::Reboot, now);
            }
            Manager::Rescue { .. } => {
                self.ladder.reset();
                self.manager = Manager::Waiting { at: now };
            }
            Manager::Running if self.watched.fence != 0 => {
                let pid = self.facts.manager_pid as u64;
                say::error(
                    "the manager, process %, cannot be killed: fenced out",
                    &[N(pid)],
                );
                self.drain(now);
                self.facts.before = Before::Hung.parts().into();
                self.forget_manager(now, Manager::Waiting { at: now });
            }
            Manager::Running if self.trial_deadline() <= now => {
                self.kill_manager(Hand::Hung, now);
            }
            Manager::Running => self.tick_liveness(now),
        }
    }

    fn tick_liveness(&mut self, now: u64) {
        // Drained: what it has said so far counts before any verdict.
        self.read_frames(now, false);
        let debt = self.debt();
        let verdict = self.liveness.expire(now, debt);
        let pid = self.facts.manager_pid;
        let hung = match verdict {
            Verdict::Fine => false,
            Verdict::Kill => true,
            Verdict::Ask => {
                self.watched.cpu = sys::stat(pid).map_or(0, |stat| stat.cpu);
                self.watched.asked = now;
                self.talk.ask(now);
                false
            }
            Verdict::Look => {
                let asked = self.watched.asked.max(self.facts.manager_since);
                let elapsed = now.saturating_sub(asked);
                let starved = sys::stat(pid).is_some_and(|stat| {
                    let used = stat.cpu.saturating_sub(self.watched.cpu);
                    liveness::starved(stat.state, used, elapsed)
                });
                if starved {
                    self.watched.favoured = true;
                    sys::set_priority(pid, -10);
                }
                self.liveness.looked(now, starved)
            }
        };
        if hung {
            say::error(
                "the manager owes an answer and does not move: replaced",
                &[],
            );
            self.kill_manager(Hand::Hung, now);
        }
    }

    /// The manager has answered what it was asked.
    pub fn manager_answered(&mut self, now: u64) {
        self.liveness.answered(now);
        if core::mem::take(&mut self.watched.favoured) {
            sys::set_priority(self.facts.manager_pid, 0);
        }
    }

    /// Looks whether somebody stopped the manager.
    pub fn look_for_stop(&mut self, now: u64) {
        let pid = self.facts.manager_pid;
        if self.manager == Manager::Running && self.watched.fence == 0 && sys::stopped(pid) == pid {
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
            let pid = sys::stopped(0);
            if pid <= 0 {
                return;
            }
            if !self.is_manager(pid) {
                self.note_signal(libc::SIGCHLD as u32);
            } else if self.watched.fence == 0 {
                self.manager_stopped(now);
            }
        }
    }

    /// When [`Init::tick_manager`] wants to be called; `u64::MAX`: not by itself.
    pub fn manager_deadline(&self) -> u64 {
        match self.manager {
            Manager::Waiting { at } | Manager::Rescue { at } => at,
            Manager::Running if self.watched.fence != 0 => self.watched.fence,
            Manager::Running => {
                let owed = self.liveness.deadline().unwrap_or(NEVER);
                owed.min(self.trial_deadline())
            }
        }
    }
}

fn announce(cause: Before, pid: i32) {
    let (number, status) = cause.parts();
    let signal = status & 0x7f;
    let (text, number) = match (number, signal) {
        (1, _) => ("the manager, process %, asked to be replaced", 0),
        (4, _) => ("the manager, process %, hung", 0),
        (_, 0) => (
            "the manager, process %, exited with status %",
            (status >> 8) & 0xff,
        ),
        _ => ("the manager, process %, was ended by signal %", signal),
    };
    say::warning(text, &[N(pid as u64), N(number as u64)]);
}

/// How often the kernel has killed for want of memory: the number behind `oom_kill ` at the
/// beginning of a line of `/proc/vmstat`, 0 where there is none.
fn oom_kills() -> u64 {
    const NAME: &[u8] = b"\noom_kill ";
    let Ok(fd) = sys::open(c"/proc/vmstat", libc::O_RDONLY) else {
        return 0;
    };
    // In pieces, so that PID 1 needs no large buffer; a match may begin in one and end in the next.
    let mut buf = [0u8; 512];
    let mut matched = 0;
    let mut count = 0;
    'file: while let Ok(got @ 1..) = sys::read(fd, &mut buf) {
        for byte in buf.iter().take(got) {
            if let Some(expected) = NAME.get(matched) {
                // No proper beginning of the name is an end of another: a mismatch starts over.
                matched = if byte == expected {
                    matched + 1
                } else {
                    usize::from(*byte == b'\n')
                };
            } else if byte.is_ascii_digit() {
                count = count * 10 + u64::from(byte - b'0');
            } else {
                break 'file;
            }
        }
    }
    sys::close(fd);
    count
}
