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

use crate::conversation::{Blocked, Talk, bit};
use crate::deaths::Ladder;
use crate::last::{self, Stage};
use crate::liveness::Liveness;
use crate::manager::{Manager, Watched};
use crate::ring::Ring;
use crate::say::{self, Arg::E};
use crate::state::{DISCARD_AFTER_MS, Facts};
use crate::store::Store;
use crate::switch::{self, Root, Switch};
use crate::sys::{self, Environment, Once, Peek, Start};
use crate::workers::{Job, Workers};
use init_wire::{Ending, Kind, number};

/// Processes reaped in one turn.
const REAP_TURN: usize = 256;
/// Two turns of reaping within [`STORM_MS`] are a storm: then zombies are left to gather for
/// [`GATHER_MS`], so that a turn reaps many and the way there and back is paid once.
const STORM_MS: u64 = 30;
const GATHER_MS: u64 = 20;
/// Descriptors waiting for somebody to close them.
pub const DOOMED_MAX: usize = 512;
/// `SIGRTMIN` as glibc shows it, and so everybody's documentation.
const RTMIN: u32 = 34;
/// So long without a word from any manager, and the hardware watchdog is not fed any more: longer than
/// the ladder of restarts takes to its end, shorter than anybody would wait.
const UNHEARD_MS: u64 = 60_000;
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
            fds: [0; DOOMED_MAX],
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

/// Everything init knows. In this order, what is used most first: the nearer a field is to the
/// beginning, the shorter are the instructions that reach it.
///
/// It begins as zeroes, all of it: so it takes no room in the file, no code makes it, and no memory is there
/// for what is not used yet.
#[repr(C)]
pub struct Init {
    /// There may be something to reap.
    pub reap_again: bool,
    /// There is something to reap, and no room to record it.
    pub reap_stalled: bool,
    /// Not in the first pid namespace.
    pub container: bool,
    /// PID 1 is in the cgroup it is to be in, or was sent there.
    settled: bool,
    pub signal_fd: i32,
    pub worker_fd: i32,
    pub last: Stage,
    pub manager: Manager,
    pub liveness: Liveness,
    /// Since when no manager has taken an exit, or stayed.
    pub alone_since: u64,
    /// When a manager last said something.
    pub heard_at: u64,
    /// When the hardware watchdog is fed next, and from when on never again.
    watchdog_next: u64,
    pub switch: Switch,
    pub watched: Watched,
    pub talk: Talk,
    watchdog_until: u64,
    /// When somebody else's process was last reaped.
    reaped: u64,
    /// Until when zombies are left to gather.
    gather: u64,
    pub facts: Facts,
    interrupts: [u64; 7],
    pub start: Start,
    pub workers: Workers,
    pub ladder: Ladder,
    pub root: Root,
    pub environment: Environment,
    pub doomed: Doomed,
    /// What the manager left for the very end.
    pub parting: last::Parting,
    pub ring: Ring,
    pub store: Store,
}

/// The only one there is.
pub static INIT: Once<Init> = Once::new(Init::ZERO);

impl Init {
    /// Before [`Init::begin`].
    const ZERO: Init = Init {
        reap_again: false,
        reap_stalled: false,
        container: false,
        settled: false,
        signal_fd: 0,
        worker_fd: 0,
        last: Stage::No,
        parting: last::Parting::new(),
        manager: Manager::Waiting { at: 0 },
        watched: Watched::NOBODY,
        talk: Talk::new(),
        liveness: Liveness::new(),
        alone_since: 0,
        heard_at: 0,
        watchdog_next: 0,
        watchdog_until: 0,
        reaped: 0,
        gather: 0,
        switch: Switch::No,
        facts: Facts::new(),
        interrupts: [0; 7],
        start: Start::NONE,
        workers: Workers::new(),
        ladder: Ladder::new(),
        root: Root::new(),
        environment: Environment::new(),
        doomed: Doomed::new(),
        ring: Ring::new(),
        store: Store::new(),
    };

    /// What is not zero at the beginning.
    pub fn begin(&mut self, start: Start) {
        self.reap_again = true;
        self.watchdog_until = u64::MAX;
        self.start = start;
        start.environment(switch::STATE_VARIABLE, &mut self.environment);
    }

    /// How the machine is to end, if somebody said so.
    pub fn ending(&self) -> Option<Ending> {
        Ending::from_number(self.facts.ending.wrapping_sub(1))
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
    #[inline(never)]
    fn timeout(&self) -> Option<u64> {
        let mut earliest = self.manager_deadline().min(self.workers.deadline());
        let mut due = |when: bool, at: u64| {
            if when {
                earliest = earliest.min(at);
            }
        };
        match self.talk.blocked {
            Blocked::Until(at) => due(true, at),
            Blocked::No => due(self.has_to_say(), 0),
            Blocked::Socket => {}
        }
        let living = self.last == Stage::No;
        due(living && self.facts.ending != 0, self.facts.shutdown_at);
        due(!living, last::deadline(self));
        due(
            living && self.reap_stalled && !self.managed(),
            self.discards_at(),
        );
        due(self.facts.watchdog_ms != 0, self.watchdog_next);
        due(
            self.doomed.len > 0 && self.workers.may_close(),
            self.doomed.retry,
        );
        due(self.switch_is_due(), 0);
        (earliest != u64::MAX).then(|| earliest.saturating_sub(sys::now()))
    }

    /// Does what is due by time.
    #[inline(never)]
    fn tick(&mut self, now: u64) {
        while let Some(job) = self.workers.expire(now) {
            self.child_ended(job, None, now);
        }
        self.close_doomed(now);
        self.tick_watchdog(now);
        if self.last != Stage::No {
            return last::tick(self, now, false);
        }
        if let Some(ending) = self.ending()
            && self.facts.shutdown_at <= now
        {
            say::warning(
                "the shutdown's deadline has come, going on without the manager",
                &[],
            );
            return last::begin(self, ending, now);
        }
        self.tick_manager(now);
        self.tick_switch();
        if self.reap_stalled && !self.managed() && self.discards_at() <= now {
            self.reap_again = true;
        }
    }

    // --- children --------------------------------------------------------------------------------

    #[inline(never)]
    fn reap(&mut self, now: u64) {
        self.look_for_stop(now);
        self.reap_again = false;
        self.reap_stalled = false;
        for _ in 0..REAP_TURN {
            let zombie = match sys::peek(0) {
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
        if !self.ring.is_full() {
            let start = sys::start_of(pid);
            return self.ring.push(pid as u32, start, status);
        }
        if self.managed() || self.discards_at() > now {
            return false;
        }
        if self.facts.discarded == 0 {
            say::error("no manager takes them: exits are discarded", &[]);
        }
        self.facts.discarded += 1;
        self.talk.discarded();
        true
    }

    /// When exits that do not fit into the ring are discarded, if there is no manager then.
    fn discards_at(&self) -> u64 {
        self.alone_since + self.discard_after()
    }

    pub fn discard_after(&self) -> u64 {
        match self.facts.settings.discard_after_ms {
            0 => DISCARD_AFTER_MS,
            after => u64::from(after),
        }
    }

    /// Reaps a child of init's own; `false` if it is none.
    fn reap_own(&mut self, pid: i32, now: u64) -> bool {
        if self.is_manager(pid) {
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
        self.child_ended(job, Some(status), now);
        true
    }

    /// With everybody else's zombies left to the kernel: init's own children.
    fn reap_own_children(&mut self, now: u64) {
        let mut index = 0;
        let mut next = Some(self.facts.manager_pid);
        while let Some(pid) = next {
            if pid > 0
                && let Peek::Zombie(_) = sys::peek(pid)
            {
                self.reap_own(pid, now);
            }
            next = self.workers.pid_at(index);
            index += 1;
        }
    }

    /// A child for a job ended, with this status or (`None`) by its deadline.
    fn child_ended(&mut self, job: Job, status: Option<i32>, now: u64) {
        match job {
            Job::Close => {
                if status.is_none() {
                    say::warning("closing a descriptor hangs; left to a child", &[]);
                }
            }
            Job::Settle => {}
            Job::Shell => self.shell_ended(status.unwrap_or_default(), now),
            Job::Trial | Job::RootCheck | Job::RootMove => self.switch_job_ended(job, status),
            Job::Release | Job::Unmount | Job::Sync | Job::Reboot => last::ended(self, job, status),
        }
    }

    /// The boot is over: PID 1 moves to its own cgroup. Only now, and in a child, because the kernel
    /// waits for all its processors before it moves a process, and before the manager there is no
    /// reason to. (Children are born in there, not moved.)
    pub fn settle(&mut self) {
        if self.settled || self.container {
            return;
        }
        self.settled = true;
        let path = c"/sys/fs/cgroup/init.scope/cgroup.procs";
        let _ = self.workers.start(Job::Settle, 5000, false, || {
            match sys::write_file(path, b"1") {
                Ok(()) => 0,
                Err(error) => {
                    say::warning("cannot move to init.scope: %", &[E(error)]);
                    1
                }
            }
        });
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

    #[inline(never)]
    fn caught(&mut self, signo: u32, now: u64) {
        const INT: u32 = libc::SIGINT as u32;
        // The first of these is bit 0: SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH, SIGPWR.
        const FORWARDED: u64 = 1 << libc::SIGHUP
            | 1 << libc::SIGINT
            | 1 << libc::SIGUSR1
            | 1 << libc::SIGUSR2
            | 1 << libc::SIGTERM
            | 1 << libc::SIGWINCH
            | 1 << libc::SIGPWR
            | 0x1fff << RTMIN;
        if signo == libc::SIGCHLD as u32 {
            self.reap_again = true;
            return;
        }
        let rescue = self.in_rescue();
        // Halt, power off, reboot, kexec.
        let real_time = |first: u32| match signo.wrapping_sub(RTMIN + first) {
            0 => Some(Ending::Halt),
            1 => Some(Ending::Poweroff),
            2 => Some(Ending::Reboot),
            3 => Some(Ending::Kexec),
            _ => None,
        };
        let at_once = if signo == INT && (rescue || self.is_seventh_interrupt(now)) {
            Some(Ending::Reboot)
        } else {
            real_time(13).or(if rescue { real_time(3) } else { None })
        };
        if let Some(ending) = at_once {
            return last::begin(self, ending, now);
        }
        if FORWARDED & bit(signo) != 0 {
            self.note_signal(signo);
        }
    }

    /// The manager is to be told of this signal; the same one again is news again.
    pub fn note_signal(&mut self, signo: u32) {
        self.facts.signals |= bit(signo);
        self.talk.forget_signal(signo);
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
            if self.workers.start(Job::Close, 5000, true, close).is_err() {
                self.doomed.push(fd);
                self.doomed.retry = now + 1000;
            }
        }
    }

    // --- the hardware watchdog -------------------------------------------------------------------

    /// The manager has armed a watchdog with this timeout and left its descriptor here (0: it is to be
    /// disarmed): feeds it from now on.
    pub fn feed_watchdog(&mut self, timeout_ms: u32, now: u64) {
        let there = self.watchdog_fd().is_some();
        self.facts.watchdog_ms = if there { timeout_ms } else { 0 };
        if timeout_ms == 0 {
            self.disarm_watchdog();
        }
        self.watchdog_next = now;
        self.answer_number(number::WATCHDOG_ARMED, self.facts.watchdog_ms);
    }

    fn watchdog_fd(&self) -> Option<i32> {
        let is = |label: &init_wire::Label| label.kind == Kind::WATCHDOG;
        self.store.find(is)
    }

    fn disarm_watchdog(&mut self) {
        self.facts.watchdog_ms = 0;
        if let Some(fd) = self.store.take(&|label| label.kind == Kind::WATCHDOG) {
            // The letter that tells the driver that the end is intended.
            let _ = sys::write(fd, b"V");
            sys::close(fd);
        }
    }

    /// The last step begins: a reboot gets a time of its own, any other end is not the watchdog's.
    pub fn watchdog_at_the_end(&mut self, ending: Ending, now: u64) {
        if ending != Ending::Reboot {
            self.disarm_watchdog();
        } else if self.facts.watchdog_reboot_ms != 0 {
            // Fed once more, so that the time counts from here.
            self.watchdog_next = now;
            self.watchdog_until = now + u64::from(self.facts.watchdog_reboot_ms);
        }
    }

    /// Feeds it if the chain below is healthy, and makes the manager prove that it is: an armed
    /// watchdog is a debt. Not fed any more: without a word from any manager for [`UNHEARD_MS`], unless
    /// a person is at the rescue shell; and when the last step takes too long.
    fn tick_watchdog(&mut self, now: u64) {
        if self.facts.watchdog_ms == 0 || self.watchdog_next > now {
            return;
        }
        self.watchdog_next = now + u64::from(self.facts.watchdog_ms / 2).max(500);
        let heard = now.saturating_sub(self.heard_at) < UNHEARD_MS;
        let person = self.manager == (Manager::Rescue { at: u64::MAX });
        let healthy = if self.last == Stage::No {
            heard || person
        } else {
            now < self.watchdog_until
        };
        if healthy && let Some(fd) = self.watchdog_fd() {
            let _ = sys::write(fd, b"\0");
        }
        if self.managed() {
            self.talk.ask(now);
        }
    }
}
