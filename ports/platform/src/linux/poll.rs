//! The one place where a process of ours sleeps.
//!
//! [`Poller::wait`] returns when a descriptor is ready, a signal has come, a child has ended or
//! stopped, or the deadline has passed. Deadlines are points in boot time and kept by a timer of
//! that clock, so they also hold across a suspended machine. There is no periodic wake-up: without
//! deadline and events it sleeps for ever.
//!
//! The signals given to [`Poller::new`] are blocked and arrive as [`Event::Signal`]; the end of
//! children is always among them, as [`Event::Children`], which says that at least one may be
//! waiting: ask [`super::process::peek_exit`] until it has none. An implementation without such
//! notification may say so after every wait.

use super::sys::{self, check, owned};
use super::{clock, signal};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What to be told about a descriptor. Its hang-up is told always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Something can be read, or accepted.
    pub const READ: Self = Self(libc::EPOLLIN as u32);
    /// Something can be written.
    pub const WRITE: Self = Self(libc::EPOLLOUT as u32);
    /// Both.
    pub const READ_WRITE: Self = Self((libc::EPOLLIN | libc::EPOLLOUT) as u32);
    /// A state file of the kernel has changed (a control group's `cgroup.events`, mounts).
    pub const CHANGE: Self = Self(libc::EPOLLPRI as u32);
    /// Only the hang-up.
    pub const HANGUP: Self = Self(0);
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A descriptor is ready.
    Ready(Ready),
    /// A signal came, other than that of a child.
    Signal(i32),
    /// Children may have ended, or stopped.
    Children,
}

/// A ready descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As given to [`Poller::add`].
    pub token: u64,
    /// Reading will not wait (it may say "end").
    pub readable: bool,
    /// Writing will not wait.
    pub writable: bool,
    /// The other side is gone, or the descriptor is in error, or a state file has changed.
    pub hangup: bool,
}

/// Tokens from here on are the poller's own.
pub const MAX_TOKEN: u64 = u64::MAX - 16;
const TOKEN_SIGNAL: u64 = u64::MAX;
const TOKEN_TIMER: u64 = u64::MAX - 1;

/// How many events one wait returns at most; the others come with the next.
const BATCH: usize = 32;

/// A set of descriptors to wait for. One for each process; see the module.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    signals: OwnedFd,
    /// `None` where the kernel has no timers as descriptors: then the wait's timeout serves, which
    /// does not count the time the machine is suspended.
    timer: Option<OwnedFd>,
    /// What the timer is set to; 0 if it is not.
    armed: u64,
}

impl Poller {
    /// Makes an empty set and blocks `signals` and the child signal for this process.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let mut set = signal::set_of(signals);
        // SAFETY: writes the set.
        unsafe { libc::sigaddset(&mut set, libc::SIGCHLD) };
        signal::block(&set)?;
        // SAFETY: makes a descriptor.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: reads the set, makes a descriptor.
        let signals =
            owned(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: makes a descriptor.
        let timer = owned(unsafe {
            libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
        })
        .ok();
        let poller = Self {
            epoll,
            signals,
            timer,
            armed: 0,
        };
        poller.control(
            libc::EPOLL_CTL_ADD,
            &poller.signals,
            TOKEN_SIGNAL,
            Interest::READ,
        )?;
        if let Some(timer) = &poller.timer {
            poller.control(libc::EPOLL_CTL_ADD, timer, TOKEN_TIMER, Interest::READ)?;
        }
        Ok(poller)
    }

    /// Watches a descriptor. It must be removed before it is closed if it has been duplicated or
    /// handed to somebody else; otherwise closing it removes it.
    ///
    /// `token` must be below [`MAX_TOKEN`]. Regular files cannot be watched (`EPERM`).
    pub fn add(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        if token >= MAX_TOKEN {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what to be told about a watched descriptor.
    pub fn modify(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Watches a descriptor no longer.
    pub fn remove(&self, fd: &impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::HANGUP)
    }

    fn control(&self, op: i32, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.0,
            u64: token,
        };
        let raw = fd.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open; the event is read.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), op, raw, &mut event) }).map(|_| ())
    }

    /// Sleeps until something happens or boot time `deadline` (microseconds, see
    /// [`clock::now`]) is reached, and appends what happened to `events`. Appends nothing when it
    /// was the deadline; may return early with nothing.
    pub fn wait(&mut self, deadline: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.arm(deadline);
        let mut raw = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // SAFETY: the kernel writes at most BATCH events into the array.
        let got = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                raw.as_mut_ptr(),
                BATCH as i32,
                timeout,
            )
        };
        let got = match check(got) {
            Ok(got) => got as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        for event in raw.iter().take(got) {
            let (bits, token) = (event.events, event.u64);
            match token {
                TOKEN_SIGNAL => self.take_signals(events),
                // The timer stays readable until it is set again, which the next wait does.
                TOKEN_TIMER => self.armed = u64::MAX,
                token => events.push(Event::Ready(Ready {
                    token,
                    readable: bits & libc::EPOLLIN as u32 != 0,
                    writable: bits & libc::EPOLLOUT as u32 != 0,
                    hangup: bits & (libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI) as u32 != 0,
                })),
            }
        }
        Ok(())
    }

    /// Sets the timer if it is not set to this already; returns the timeout for the wait.
    fn arm(&mut self, deadline: Option<u64>) -> i32 {
        const FOREVER: i32 = -1;
        let wanted = match deadline {
            // The largest number means "has fired", see below.
            Some(at) => at.clamp(1, u64::MAX - 1),
            None if self.armed == 0 => return FOREVER,
            None => 0,
        };
        if wanted != 0 && wanted == self.armed {
            return FOREVER;
        }
        // What is due is due now: where timers have the grain of the kernel's tick, arming one would
        // cost up to a whole tick (4 ms).
        if wanted != 0 && wanted <= clock::now() {
            return 0;
        }
        if let Some(timer) = &self.timer {
            if set_timer(timer, wanted).is_ok() {
                self.armed = wanted;
                return FOREVER;
            }
            self.timer = None;
        }
        if wanted == 0 {
            return FOREVER;
        }
        let left = wanted.saturating_sub(clock::now()).div_ceil(1_000);
        i32::try_from(left).unwrap_or(i32::MAX)
    }

    fn take_signals(&self, events: &mut Vec<Event>) {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut buffer = [0u8; SIZE * 8];
        while let Ok(got) = super::fd::read(&self.signals, &mut buffer) {
            for info in buffer.chunks_exact(SIZE).take(got / SIZE) {
                // The signal's number is the first field, 32 bits.
                let number = match info {
                    [a, b, c, d, ..] => u32::from_ne_bytes([*a, *b, *c, *d]) as i32,
                    _ => continue,
                };
                let event = if number == libc::SIGCHLD {
                    Event::Children
                } else {
                    Event::Signal(number)
                };
                if !events.contains(&event) {
                    events.push(event);
                }
            }
            if got < buffer.len() {
                break;
            }
        }
    }
}

/// Sets a boot-time timer to an absolute time in microseconds; 0 stops it.
fn set_timer(timer: &OwnedFd, at: u64) -> io::Result<()> {
    // Interval and value, each of seconds and nanoseconds, 64 bits each in this call.
    let value = [
        0i64,
        0,
        (at / 1_000_000).min(i64::MAX as u64) as i64,
        ((at % 1_000_000) * 1_000) as i64,
    ];
    #[cfg(target_pointer_width = "64")]
    let number = libc::SYS_timerfd_settime;
    // `timerfd_settime64`, the same number on every 32-bit architecture.
    #[cfg(target_pointer_width = "32")]
    let number: libc::c_long = 411;
    let nothing: *mut i64 = std::ptr::null_mut();
    // SAFETY: the kernel reads four 64-bit numbers, which is what it is given.
    let done = unsafe {
        libc::syscall(
            number,
            timer.as_raw_fd(),
            libc::TFD_TIMER_ABSTIME,
            value.as_ptr(),
            nothing,
        )
    };
    sys::check(done).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd;

    #[test]
    fn deadline_is_kept_and_not_early() {
        let mut poller = Poller::new(&[]).unwrap();
        let mut events = Vec::new();
        for use_timer in [true, false] {
            if !use_timer {
                poller.timer = None;
            }
            let at = clock::now() + 30_000;
            while clock::now() < at {
                poller.wait(Some(at), &mut events).unwrap();
            }
            assert!(clock::now() >= at);
            // A deadline in the past returns at once, again and again.
            for _ in 0..3 {
                poller.wait(Some(1), &mut events).unwrap();
            }
            assert!(events.is_empty());
        }
    }

    #[test]
    fn a_far_deadline_does_not_overflow() {
        let mut poller = Poller::new(&[]).unwrap();
        let (_reader, writer) = fd::pipe().unwrap();
        poller.add(&writer, 7, Interest::WRITE).unwrap();
        for use_timer in [true, false] {
            if !use_timer {
                poller.timer = None;
            }
            let mut events = Vec::new();
            poller.wait(Some(u64::MAX), &mut events).unwrap();
            assert!(matches!(
                events[..],
                [Event::Ready(Ready {
                    token: 7,
                    writable: true,
                    ..
                })]
            ));
        }
    }

    #[test]
    fn hangup_is_told_without_interest() {
        let mut poller = Poller::new(&[]).unwrap();
        let (reader, writer) = fd::pipe().unwrap();
        poller.add(&reader, 1, Interest::HANGUP).unwrap();
        drop(writer);
        let mut events = Vec::new();
        poller.wait(None, &mut events).unwrap();
        assert!(matches!(
            events[..],
            [Event::Ready(Ready {
                token: 1,
                hangup: true,
                ..
            })]
        ));
        assert!(poller.add(&reader, MAX_TOKEN, Interest::READ).is_err());
    }
}
