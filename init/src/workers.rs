//! Children of init's own: whatever may sleep in the kernel.
//!
//! A worker is a fork that does one job, ends with a status, and is killed at its deadline. One
//! that sleeps so deep in the kernel that it cannot be killed keeps its place in the table until it
//! ends; when the table is full of those, what needs a worker waits or is given up by its own rule.
//! Workers keep init's signal mask (they wait for SIGCHLD); those that execute something reset it.

use crate::sys;

/// Workers at a time.
const MAX: usize = 8;
/// Of these, at most so many close descriptors.
const CLOSERS: usize = 4;

/// What a worker is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// Closes one descriptor.
    Close,
    /// The rescue shell.
    Shell,
    /// Tries whether a new binary of init understands our state.
    Trial,
    /// Looks whether a new root is there.
    RootCheck,
    /// Moves mounts to the new root.
    RootMove,
    /// Swap off, unmount, detach, read-only, sync.
    Unmount,
    /// Sync alone, when the former hung.
    Sync,
    /// Goes back to the initramfs.
    Pivot,
    /// Calls reboot(2).
    Reboot,
}

#[derive(Clone, Copy)]
struct Worker {
    pid: i32,
    job: Job,
    until: u64,
    killed: bool,
}

/// The table.
pub struct Workers {
    list: [Option<Worker>; MAX],
}

impl Workers {
    pub const fn new() -> Workers {
        Workers { list: [None; MAX] }
    }

    fn running(&self) -> impl Iterator<Item = &Worker> {
        self.list.iter().flatten()
    }

    /// Whether a closer may be started.
    pub fn may_close(&self) -> bool {
        let closers = self
            .running()
            .filter(|worker| worker.job == Job::Close)
            .count();
        closers < CLOSERS && self.list.iter().any(Option::is_none)
    }

    /// Starts `work` in a child; it ends with the status `work` returns. `shared`: with PID 1's own
    /// table of descriptors.
    pub fn start(
        &mut self,
        job: Job,
        limit_ms: Option<u64>,
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
    fn begin(&mut self, job: Job, limit_ms: Option<u64>, shared: bool) -> Result<bool, sys::Errno> {
        let Some(place) = self.list.iter_mut().find(|place| place.is_none()) else {
            return Err(libc::EAGAIN);
        };
        let pid = if shared {
            sys::fork_sharing_files()?
        } else {
            sys::fork()?
        };
        if pid == 0 {
            return Ok(true);
        }
        let until = limit_ms.map_or(u64::MAX, |limit| sys::now() + limit);
        *place = Some(Worker {
            pid,
            job,
            until,
            killed: false,
        });
        Ok(false)
    }

    /// Whether this process is one of ours; takes it off the table.
    pub fn ended(&mut self, pid: i32) -> Option<Job> {
        for place in &mut self.list {
            if let Some(worker) = place
                && worker.pid == pid
            {
                let job = worker.job;
                *place = None;
                return Some(job);
            }
        }
        None
    }

    /// The process id of the worker at this place, if there is one.
    pub fn pid_at(&self, index: usize) -> Option<i32> {
        self.list
            .get(index)
            .copied()
            .flatten()
            .map(|worker| worker.pid)
    }

    /// Places in the table.
    pub const fn places() -> usize {
        MAX
    }

    /// Kills those whose time is over. Returns the job of one that was killed just now: its owner
    /// goes on without it.
    pub fn expire(&mut self, now: u64) -> Option<Job> {
        for worker in self.list.iter_mut().flatten() {
            if !worker.killed && worker.until <= now {
                worker.killed = true;
                sys::kill(worker.pid, libc::SIGKILL);
                return Some(worker.job);
            }
        }
        None
    }

    /// When the next one's time is over.
    pub fn deadline(&self) -> Option<u64> {
        let open = self.running().filter(|worker| !worker.killed);
        open.map(|worker| worker.until)
            .filter(|until| *until != u64::MAX)
            .min()
    }
}

/// Does `work` in a child of a worker, for at most so long; `true` if it ended with status 0.
pub fn within(limit_ms: u64, shared: bool, work: impl FnOnce() -> i32) -> bool {
    match if shared {
        sys::fork_sharing_files()
    } else {
        sys::fork()
    } {
        Ok(0) => sys::exit(work()),
        Ok(pid) => ended_well(pid, limit_ms),
        Err(_) => false,
    }
}

#[inline(never)]
fn ended_well(pid: i32, limit_ms: u64) -> bool {
    match sys::wait_for(pid, limit_ms) {
        Some(status) => status == 0,
        None => {
            sys::kill(pid, libc::SIGKILL);
            // Give the kill a moment; one in an uninterruptible sleep is left behind.
            sys::wait_for(pid, 100);
            false
        }
    }
}

/// The exit status of a job that gives back an error number.
pub fn status_of(result: Result<(), sys::Errno>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => error.clamp(1, 255),
    }
}
