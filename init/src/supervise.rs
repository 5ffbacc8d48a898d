//! The loop: wait, look, act; sleep as long as nothing is owed to anybody.
//!
//! Every turn does a bounded amount of each kind of work and then looks at everything once more,
//! so nothing starves: signals are read, at most [`REAP_TURN`] processes reaped, frames read and sent,
//! and what is due by time is done. The time-out of the one `poll` is the earliest of the deadlines
//! that are open; with none open it is infinite.
//!
//! Reaping: look at the zombie, read its start time, record it, only then reap. With no room to
//! record, the zombie stays where it is and the kernel keeps the record; init's own children are
//! still looked at, one by one.

use crate::conversation::{Blocked, Talk};
use crate::deaths::Ladder;
use crate::last::{self, Stage};
use crate::liveness::Liveness;
use crate::manager::Manager;
use crate::options::Options;
use crate::say::{self, Arg::E};
use crate::switch::Switch;
use crate::sys::{self, Arguments, Memories, Peek};
use crate::workers::{Job, Workers};
use init_wire::{Before, Ending, Request};

/// Processes reaped in one turn.
const REAP_TURN: usize = 256;
/// Two turns of reaping within [`STORM_MS`] are a storm: then zombies are left to gather for
/// [`GATHER_MS`], so that a turn reaps many and the way there and back is paid once.
const STORM_MS: u64 = 30;
const GATHER_MS: u64 = 20;
/// Descriptors waiting for somebody to close them.
pub const DOOMED_MAX: usize = 512;
/// So long without any manager, and with the ring full, exits are discarded: long enough for any
/// recovery, short enough that zombies do not use up the process ids of a small machine.
const ALONE_MS: u64 = 120_000;
/// `SIGRTMIN` as glibc shows it, and so everybody's documentation.
const RTMIN: u32 = 34;
/// The time in which [`Init::interrupts`] ctrl-alt-dels mean it.
const INTERRUPTS_MS: u64 = 2000;

/// Descriptors that may not be closed here, because that may sleep.
pub struct Doomed {
    fds: [i32; DOOMED_MAX],
    len: usize,
    retry: u64,
}

impl Doomed {
    pub const fn new() -> Doomed {
        Doomed {
            fds: [-1; DOOMED_MAX],
            len: 0,
            retry: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, fd: i32) -> bool {
        let Some(place) = self.fds.get_mut(self.len) else {
            return false;
        };
        *place = fd;
        self.len += 1;
        true
    }

    fn pop(&mut self) -> Option<i32> {
        let last = self.len.checked_sub(1)?;
        let fd = *self.fds.get(last)?;
        self.len = last;
        Some(fd)
    }
}

/// The hardware watchdog.
#[derive(Clone, Copy)]
pub struct Watchdog {
    pub fd: i32,
    pub timeout_ms: u32,
    next: u64,
}

/// Everything init knows. In this order, what is used most first: the nearer a field is to the
/// beginning, the shorter are the instructions that reach it.
#[repr(C)]
pub struct Init {
    pub memories: &'static mut Memories,
    /// There may be something to reap.
    pub reap_again: bool,
    /// There is something to reap, and no room to record it.
    pub reap_stalled: bool,
    /// Not in the first pid namespace.
    pub container: bool,
    pub signal_fd: i32,
    pub last: Stage,
    /// What the manager left for the very end.
    pub parting: last::Parting,
    pub manager: Manager,
    /// A shutdown, and when init does it by itself.
    pub shutdown: Option<(Ending, u64)>,
    pub epoch: u64,
    /// Signals (bit n: signal n) that no manager has taken.
    pub signals: u64,
    pub talk: Talk,
    pub liveness: Liveness,
    /// [`init_wire::flags`], without safe mode.
    pub flags: u32,
    pub before: Before,
    pub discarded: u64,
    /// Since when there is no manager.
    pub alone_since: u64,
    pub watchdog: Option<Watchdog>,
    /// When somebody else's process was last reaped.
    reaped: u64,
    /// Until when zombies are left to gather.
    gather: u64,
    interrupts: [u64; 7],
    pub arguments: Arguments,
    /// The limit of open files init was born with.
    pub limits: (u64, u64),
    pub workers: Workers,
    pub ladder: Ladder,
    pub switch: Switch,
    pub options: Options,
    pub doomed: Doomed,
}

impl Init {
    pub fn new(memories: &'static mut Memories, arguments: Arguments) -> Init {
        Init {
            memories,
            options: Options::new(),
            arguments,
            container: false,
            flags: 0,
            limits: (1024, 4096),
            signal_fd: -1,
            manager: Manager::Waiting { at: 0 },
            ladder: Ladder::new(),
            liveness: Liveness::new(),
            talk: Talk::new(),
            epoch: 0,
            before: Before::Nobody,
            signals: 0,
            discarded: 0,
            alone_since: 0,
            shutdown: None,
            last: Stage::No,
            parting: last::Parting::new(),
            switch: Switch::No,
            workers: Workers::new(),
            doomed: Doomed::new(),
            watchdog: None,
            reap_again: true,
            reap_stalled: false,
            interrupts: [0; 7],
            reaped: 0,
            gather: 0,
        }
    }

    /// The loop. Never returns.
    pub fn run(&mut self) -> ! {
        loop {
            let now = sys::now();
            if self.reap_again {
                self.reap(now);
            }
            self.tick(now);
            self.send_frames(now);
            let mut timeout = if self.reap_again {
                Some(0)
            } else {
                self.timeout()
            };
            let mut signal_fd = self.signal_fd;
            let gather = self.gather.saturating_sub(now);
            if gather > 0 {
                signal_fd = -1;
                timeout = Some(timeout.map_or(gather, |timeout| timeout.min(gather)));
            }
            let (signals, manager) = sys::poll(signal_fd, self.interest(), timeout);
            if signals {
                self.read_signals(sys::now());
            }
            self.heard_from_manager(manager);
        }
    }

    /// What to wait for on the manager's socket.
    fn interest(&self) -> (i32, i16) {
        let mut events = 0;
        if self.may_read() {
            events |= libc::POLLIN;
        }
        if self.talk.blocked == Blocked::Socket {
            events |= libc::POLLOUT;
        }
        match self.channel() {
            // One that has hung up would be reported again and again.
            Some(fd) if !self.talk.hung_up => (fd, events),
            _ => (-1, 0),
        }
    }

    fn heard_from_manager(&mut self, events: i16) {
        if events & libc::POLLOUT != 0 {
            self.talk.blocked = Blocked::No;
        }
        if events & libc::POLLIN != 0 {
            self.read_frames(sys::now(), false);
        } else if events & (libc::POLLHUP | libc::POLLERR) != 0 {
            // Death is "this pid is gone", never an end of file: it gets the usual time to go.
            self.talk.hung_up = true;
            self.liveness.owe(sys::now());
        }
    }

    /// How long nothing is to be done.
    fn timeout(&self) -> Option<u64> {
        let blocked = match self.talk.blocked {
            Blocked::Until(at) => Some(at),
            Blocked::No if self.has_to_say() => Some(0),
            _ => None,
        };
        let shutdown = match self.last {
            Stage::No => self.shutdown.map(|(_, at)| at),
            _ => last::deadline(self),
        };
        let alone = self.reap_stalled && !self.managed() && self.last == Stage::No;
        let deadlines = [
            self.manager_deadline(),
            self.workers.deadline(),
            blocked,
            shutdown,
            alone.then_some(self.alone_since + ALONE_MS),
            self.watchdog.map(|watchdog| watchdog.next),
            (self.doomed.len > 0 && self.workers.may_close()).then_some(self.doomed.retry),
            (self.switch.wants_turn() && !self.talk.answering()).then_some(0),
        ];
        let earliest = deadlines.into_iter().flatten().min()?;
        Some(earliest.saturating_sub(sys::now()))
    }

    /// Does what is due by time.
    fn tick(&mut self, now: u64) {
        while let Some(job) = self.workers.expire(now) {
            self.worker_ended(job, None, now);
        }
        self.close_doomed(now);
        self.pat_watchdog(now);
        if self.last != Stage::No {
            return last::tick(self, now, false);
        }
        if let Some((ending, at)) = self.shutdown
            && at <= now
        {
            say::warning(
                "the shutdown's deadline has come, going on without the manager",
                &[],
            );
            return last::begin(self, ending, now);
        }
        self.tick_manager(now);
        self.tick_switch(now);
        if self.reap_stalled && !self.managed() && self.alone_since + ALONE_MS <= now {
            self.reap_again = true;
        }
    }

    // --- children --------------------------------------------------------------------------------

    fn reap(&mut self, now: u64) {
        self.look_for_stop(now);
        self.reap_again = false;
        self.reap_stalled = false;
        for _ in 0..REAP_TURN {
            let zombie = match sys::peek(None) {
                Peek::Zombie(zombie) => zombie,
                Peek::Running => return self.look_for_stopped_children(now),
                Peek::Childless => return last::tick(self, now, self.last != Stage::No),
            };
            if self.reap_own(zombie.pid, now) {
                continue;
            }
            if self.last == Stage::No && !self.record(zombie.pid, zombie.status, now) {
                self.reap_stalled = true;
                return self.reap_own_children(now);
            }
            if self.reaped != now && now.saturating_sub(self.reaped) <= STORM_MS {
                self.gather = now + GATHER_MS;
            }
            self.reaped = now;
            sys::reap(zombie.pid);
        }
        self.reap_again = true;
    }

    /// Records an exit before it is reaped; `false`: there is no room, leave it to the kernel.
    fn record(&mut self, pid: i32, status: i32, now: u64) -> bool {
        if !self.memories.ring.is_full() {
            let start = sys::stat(pid).map_or(0, |stat| stat.start);
            return self.memories.ring.push(pid as u32, start, status);
        }
        if self.managed() || self.alone_since + ALONE_MS > now {
            return false;
        }
        if self.discarded == 0 {
            say::error("no manager for two minutes: exits are discarded", &[]);
        }
        self.discarded = self.discarded.saturating_add(1);
        self.talk.discarded();
        true
    }

    /// Reaps a child of init's own; `false` if it is none.
    fn reap_own(&mut self, pid: i32, now: u64) -> bool {
        if let Manager::Running(running) = &self.manager
            && running.pid == pid
        {
            // What it said before it died still counts; and descriptors in there would otherwise
            // be closed with the socket.
            self.drain(now);
            if let Some(status) = sys::reap(pid) {
                self.manager_died(status, now);
            }
            return true;
        }
        let Some(job) = self.workers.ended(pid) else {
            return false;
        };
        let status = sys::reap(pid).unwrap_or_default();
        self.worker_ended(job, Some(status), now);
        true
    }

    /// With everybody else's zombies left to the kernel: init's own children.
    fn reap_own_children(&mut self, now: u64) {
        for index in 0..Workers::places() {
            if let Some(pid) = self.workers.pid_at(index)
                && let Peek::Zombie(_) = sys::peek(Some(pid))
            {
                self.reap_own(pid, now);
            }
        }
        if let Manager::Running(running) = &self.manager
            && let pid = running.pid
            && let Peek::Zombie(_) = sys::peek(Some(pid))
        {
            self.reap_own(pid, now);
        }
    }

    /// A worker ended, with this status or (`None`) by its deadline.
    fn worker_ended(&mut self, job: Job, status: Option<i32>, now: u64) {
        match job {
            Job::Close => {
                if status.is_none() {
                    say::warning("closing a descriptor hangs; left to a child", &[]);
                }
            }
            Job::Shell => self.shell_ended(status.unwrap_or_default(), now),
            Job::Trial | Job::RootCheck | Job::RootMove => self.switch_worker_ended(job, status),
            Job::Unmount | Job::Sync | Job::Pivot | Job::Reboot => {
                last::worker_ended(self, job, status);
            }
        }
    }

    // --- signals ---------------------------------------------------------------------------------

    fn read_signals(&mut self, now: u64) {
        for _ in 0..64 {
            match sys::next_signal(self.signal_fd) {
                Some(signo) => self.caught(signo, now),
                None => return,
            }
        }
    }

    fn caught(&mut self, signo: u32, now: u64) {
        const INT: u32 = libc::SIGINT as u32;
        let ending = |number: u32| match number {
            0 => Some(Ending::Halt),
            1 => Some(Ending::Poweroff),
            2 => Some(Ending::Reboot),
            3 => Some(Ending::Kexec),
            _ => None,
        };
        if signo == libc::SIGCHLD as u32 {
            self.reap_again = true;
            return;
        }
        let rescue = matches!(self.manager, Manager::Rescue { .. });
        let at_once = match signo {
            INT if rescue || self.is_seventh_interrupt(now) => Some(Ending::Reboot),
            _ if signo >= RTMIN + 13 => ending(signo - RTMIN - 13),
            _ if rescue && signo >= RTMIN + 3 => ending(signo - RTMIN - 3),
            _ => None,
        };
        if let Some(ending) = at_once {
            return last::begin(self, ending, now);
        }
        let forwarded = match signo as i32 {
            libc::SIGINT
            | libc::SIGTERM
            | libc::SIGHUP
            | libc::SIGPWR
            | libc::SIGUSR1
            | libc::SIGUSR2
            | libc::SIGWINCH => true,
            _ => (RTMIN..=RTMIN + 12).contains(&signo),
        };
        if forwarded {
            self.signals |= 1_u64.checked_shl(signo).unwrap_or(0);
            // The same signal again is news again.
            self.talk.forget_signal(signo);
        }
    }

    fn is_seventh_interrupt(&mut self, now: u64) -> bool {
        self.interrupts.rotate_left(1);
        if let Some(last) = self.interrupts.last_mut() {
            *last = now;
        }
        self.interrupts
            .first()
            .is_some_and(|first| *first != 0 && now - *first <= INTERRUPTS_MS)
    }

    // --- descriptors -----------------------------------------------------------------------------

    /// Closes a descriptor, or has it closed.
    pub fn dispose(&mut self, fd: i32) {
        if sys::closes_at_once(fd) || !self.doomed.push(fd) {
            sys::close(fd);
        }
    }

    /// Has children close what may sleep.
    pub fn close_doomed(&mut self, now: u64) {
        while self.doomed.len > 0 && self.doomed.retry <= now && self.workers.may_close() {
            let Some(fd) = self.doomed.pop() else { return };
            let close = || {
                sys::close(fd);
                0
            };
            if self
                .workers
                .start(Job::Close, Some(5000), true, close)
                .is_err()
            {
                self.doomed.push(fd);
                self.doomed.retry = now + 1000;
            }
        }
    }

    // --- the hardware watchdog -------------------------------------------------------------------

    /// Arms, changes or disarms it, and answers.
    pub fn arm_watchdog(&mut self, timeout_ms: u32, now: u64) {
        if timeout_ms == 0 {
            if let Some(watchdog) = self.watchdog.take() {
                // The letter that tells the driver that the end is intended.
                let _ = sys::write(watchdog.fd, b"V");
                sys::close(watchdog.fd);
            }
            return self.watchdog_is(0);
        }
        let opened = match self.watchdog {
            Some(watchdog) => Ok(watchdog.fd),
            None => sys::open(c"/dev/watchdog", libc::O_WRONLY),
        };
        let result = opened.and_then(|fd| {
            self.watchdog_fd(fd, timeout_ms, now);
            sys::arm_watchdog(fd, timeout_ms.div_ceil(1000))
        });
        match result {
            Ok(seconds) => {
                let timeout_ms = seconds.saturating_mul(1000);
                if let Some(watchdog) = &mut self.watchdog {
                    watchdog.timeout_ms = timeout_ms;
                }
                self.watchdog_is(timeout_ms);
            }
            Err(error) => {
                say::warning("hardware watchdog: %", &[E(error)]);
                self.failed(Request::Watchdog, error);
            }
        }
    }

    /// This descriptor is the armed watchdog.
    pub fn watchdog_fd(&mut self, fd: i32, timeout_ms: u32, now: u64) {
        self.watchdog = Some(Watchdog {
            fd,
            timeout_ms,
            next: now,
        });
    }

    /// Pats it, and makes the manager prove that it lives: an armed watchdog is a debt. Where
    /// nobody can be kept running it is not patted any more, unless a person is at the rescue shell.
    fn pat_watchdog(&mut self, now: u64) {
        let given_up = matches!(self.manager, Manager::Rescue { at: Some(_) });
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if watchdog.next > now {
            return;
        }
        watchdog.next = now + u64::from(watchdog.timeout_ms / 2).max(500);
        if !given_up {
            let _ = sys::write(watchdog.fd, b"\0");
        }
        if self.managed() {
            self.talk.ask(now);
        }
    }
}
