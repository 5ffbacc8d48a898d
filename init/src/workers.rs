//! Children of init's own: whatever may sleep in the kernel.
//!
//! A child does one job, ends with a status, and is killed at its deadline. One that sleeps so deep in
//! the kernel that it cannot be killed keeps its place in the table until it ends; when the table is
//! full of those, what needs a child waits or is given up by its own rule. What takes more than a
//! system call or two is in the worker's executable ([`crate::work`]).

use crate::supervise::Init;
use crate::sys::{self, Words};
use core::ffi::CStr;

/// Children at a time.
const MAX: usize = 8;
/// Of these, at most so many close descriptors.
const CLOSERS: usize = 4;

/// What a child is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// Closes one descriptor.
    Close,
    /// Moves PID 1 to its own cgroup.
    Settle,
    /// The rescue shell.
    Shell,
    /// Tries whether a new binary of init understands our state.
    Trial,
    /// Looks whether a new root is there.
    RootCheck,
    /// Moves mounts to the new root.
    RootMove,
    /// Closes every kept descriptor.
    Release,
    /// Swap off, unmount, detach, read-only, sync.
    Unmount,
    /// Sync alone, when the former hung or is not to be had.
    Sync,
    /// Calls reboot(2).
    Reboot,
}

#[derive(Clone, Copy)]
struct Worker {
    /// 0: this place is free.
    pid: i32,
    job: Job,
    /// 0: no deadline, or it was killed.
    until: u64,
}

/// The table.
pub struct Workers {
    list: [Worker; MAX],
}

impl Workers {
    pub const fn new() -> Workers {
        let none = Worker {
            pid: 0,
            job: Job::Close,
            until: 0,
        };
        Workers { list: [none; MAX] }
    }

    /// Whether a closer may be started.
    pub fn may_close(&self) -> bool {
        let (mut closers, mut free) = (0, false);
        for worker in &self.list {
            if worker.pid == 0 {
                free = true;
            } else if worker.job == Job::Close {
                closers += 1;
            }
        }
        free && closers < CLOSERS
    }

    /// Starts `work` in a child; it ends with the status `work` returns. `shared`: with PID 1's own
    /// table of descriptors. No limit: 0.
    pub fn start(
        &mut self,
        job: Job,
        limit_ms: u64,
        shared: bool,
        work: impl FnOnce() -> i32,
    ) -> Result<(), sys::Errno> {
        if self.begin(job, limit_ms, shared)? {
            sys::exit(work());
        }
        Ok(())
    }

    /// Forks and notes down; `true` in the child.
    #[inline(never)]
    fn begin(&mut self, job: Job, limit_ms: u64, shared: bool) -> Result<bool, sys::Errno> {
        let Some(place) = self.list.iter_mut().find(|worker| worker.pid == 0) else {
            return Err(libc::EAGAIN);
        };
        let pid = if shared {
            sys::fork_sharing_files()
        } else {
            sys::fork()
        }?;
        if pid == 0 {
            return Ok(true);
        }
        let until = if limit_ms == 0 {
            0
        } else {
            sys::now() + limit_ms
        };
        *place = Worker { pid, job, until };
        Ok(false)
    }

    /// Whether this process is one of ours; takes it off the table.
    pub fn ended(&mut self, pid: i32) -> Option<Job> {
        let worker = self.list.iter_mut().find(|worker| worker.pid == pid)?;
        worker.pid = 0;
        worker.until = 0;
        Some(worker.job)
    }

    /// The process id of the child at this place, 0 if there is none; `None` at the end.
    pub fn pid_at(&self, index: usize) -> Option<i32> {
        self.list.get(index).map(|worker| worker.pid)
    }

    /// Kills those whose time is over. Returns the job of one that was killed just now: its owner
    /// goes on without it.
    pub fn expire(&mut self, now: u64) -> Option<Job> {
        let worker = self
            .list
            .iter_mut()
            .find(|worker| worker.until != 0 && worker.until <= now)?;
        worker.until = 0;
        sys::kill(worker.pid, libc::SIGKILL);
        Some(worker.job)
    }

    /// When the next one's time is over; `u64::MAX`: never.
    pub fn deadline(&self) -> u64 {
        // One less while they are compared: then none, 0, is the latest.
        let earlier = |least: u64, worker: &Worker| least.min(worker.until.wrapping_sub(1));
        self.list.iter().fold(u64::MAX, earlier).saturating_add(1)
    }
}

impl Init {
    /// Has the worker do what the words say.
    #[inline(never)]
    pub fn work(&mut self, job: Job, limit_ms: u64, words: &[&CStr]) -> Result<(), sys::Errno> {
        if self.worker_fd < 0 {
            return Err(libc::ENOENT);
        }
        if self.workers.begin(job, limit_ms, false)? {
            self.become_worker(words);
        }
        Ok(())
    }

    /// In a child: executes the worker.
    pub fn become_worker(&self, words: &[&CStr]) -> ! {
        sys::exec_open(self.worker_fd, &Words::of(words), &self.environment);
        sys::exit(127);
    }
}
