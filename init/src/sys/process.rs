//! Processes: forking, waiting, identity, limits, execution.

use super::*;

/// Forks.
pub fn fork() -> Result<i32, Errno> {
    clone(0)
}

/// Forks a child that shares the table of descriptors: what it closes is closed here, but it is
/// the child that sleeps meanwhile.
pub fn fork_sharing_files() -> Result<i32, Errno> {
    clone(libc::CLONE_FILES)
}

/// The bare call: one thread, no locks, no `atfork`, so nothing is to be added.
#[inline(never)]
fn clone(flags: c_int) -> Result<i32, Errno> {
    // SAFETY: without CLONE_VM this is a fork; the stack stays where it is.
    check(unsafe { call!(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) })
}

/// Forks into the cgroup at `path`; where the kernel cannot do that (before 5.7), or there is no such
/// cgroup, just forks.
pub fn fork_into(path: &CStr) -> Result<i32, Errno> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    if let Ok(group) = open(path, libc::O_PATH | libc::O_DIRECTORY) {
        // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
        // set_tid, set_tid_size, cgroup.
        let mut arguments = [0u64; 11];
        arguments[0] = CLONE_INTO_CGROUP;
        arguments[4] = libc::SIGCHLD as u64;
        arguments[10] = group as u64;
        let size = size_of::<[u64; 11]>();
        // SAFETY: without CLONE_VM this is a fork; the arguments are as long as said.
        let forked = check(unsafe { call!(libc::SYS_clone3, arguments.as_ptr(), size) });
        close(group);
        if forked.is_ok() {
            return forked;
        }
    }
    fork()
}

/// A child that has ended and is not reaped.
pub struct Zombie {
    pub pid: i32,
    /// The raw wait status it will be reaped with.
    pub status: i32,
}

/// Whether there are children that have ended.
pub enum Peek {
    Zombie(Zombie),
    /// Children, none of them ended.
    Running,
    /// No child at all.
    Childless,
}

/// What `waitid` tells, in the kernel's layout: for a child `pid` and `status` are there.
#[repr(C)]
struct Info {
    signal: c_int,
    errno: c_int,
    code: c_int,
    #[cfg(target_pointer_width = "64")]
    padding: c_int,
    pid: i32,
    user: u32,
    status: c_int,
}

/// Asks about one child (0: any); `None`: there is none.
#[inline(never)]
fn wait_id(pid: i32, flags: c_int) -> Option<Info> {
    let kind = if pid == 0 { libc::P_ALL } else { libc::P_PID };
    let mut info = Info {
        signal: 0,
        errno: 0,
        code: 0,
        #[cfg(target_pointer_width = "64")]
        padding: 0,
        pid: 0,
        user: 0,
        status: 0,
    };
    // SAFETY: the kernel writes just these fields of its (longer) siginfo.
    let failed = unsafe {
        call!(
            libc::SYS_waitid,
            kind,
            pid,
            &raw mut info,
            flags | libc::WNOHANG,
            0
        )
    } != 0;
    if failed { None } else { Some(info) }
}

/// Looks at an ended child (0: any) and leaves it as it is.
pub fn peek(pid: i32) -> Peek {
    let Some(info) = wait_id(pid, libc::WEXITED | libc::WNOWAIT | libc::__WALL) else {
        return Peek::Childless;
    };
    if info.pid == 0 {
        return Peek::Running;
    }
    let status = match info.code {
        libc::CLD_EXITED => (info.status & 0xff) << 8,
        libc::CLD_DUMPED => info.status | 0x80,
        _ => info.status,
    };
    Peek::Zombie(Zombie {
        pid: info.pid,
        status,
    })
}

/// Reaps a child that [`peek`] showed; its raw wait status, `None` if it is not to be reaped (yet).
#[inline(never)]
pub fn reap(pid: i32) -> Option<i32> {
    let mut status = 0i32;
    let flags = libc::WNOHANG | libc::__WALL;
    // SAFETY: `status` is valid for writing.
    let got = unsafe { call!(libc::SYS_wait4, pid, &raw mut status, flags, 0) };
    (got == pid as isize).then_some(status)
}

/// A child that somebody stopped (0: any); each stop is told once. 0: none.
pub fn stopped(pid: i32) -> i32 {
    wait_id(pid, libc::WSTOPPED).map_or(0, |info| info.pid)
}

/// Waits for a child for at most so long; only with SIGCHLD blocked, and only where nobody else is
/// waiting for that signal: in early boot, and in workers. `None`: it still runs.
pub fn wait_for(pid: i32, timeout_ms: u64) -> Option<i32> {
    let until = now() + timeout_ms;
    let set = 1u64 << (libc::SIGCHLD - 1);
    loop {
        if let Some(status) = reap(pid) {
            return Some(status);
        }
        let left = until.saturating_sub(now());
        if left == 0 {
            return None;
        }
        let left = left.min(0x7fff_ffff) as usize;
        let time = [left / 1000, left % 1000 * 1_000_000];
        // SAFETY: a set of signals of 64 bits and a timespec of two words, as this call has it on
        // every machine.
        unsafe {
            call!(
                libc::SYS_rt_sigtimedwait,
                &raw const set,
                0,
                time.as_ptr(),
                size_of::<u64>()
            )
        };
    }
}

/// Sleeps. Only in children, and in PID 1 when nothing else is left to do.
pub fn sleep(ms: u64) {
    poll(-1, (-1, 0), Some(ms));
}

/// `/proc/<pid>/stat`.
#[inline(never)]
pub fn stat(pid: i32) -> Option<crate::procfs::Stat> {
    let mut path = join(&[b"/proc/"]);
    path.num(pid as u64).bytes(b"/stat");
    crate::procfs::stat(read_once(path.as_c(), &mut [0; 512])?)
}

/// The start time of a process, 0 if unknown.
pub fn start_of(pid: i32) -> u64 {
    stat(pid).map_or(0, |stat| stat.start)
}

/// What it starts meanwhile is as if it had not been favoured.
pub fn set_priority(pid: i32, nice: c_int) {
    let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    let none: c_int = 0;
    // SAFETY: plain numbers, and a parameter of one that is read.
    unsafe {
        call!(libc::SYS_sched_setscheduler, pid, policy, &raw const none);
        call!(libc::SYS_setpriority, libc::PRIO_PROCESS, pid, nice);
    }
}

pub fn new_session() {
    // SAFETY: no arguments.
    unsafe { call!(libc::SYS_setsid) };
}

pub fn set_umask(mask: c_int) {
    // SAFETY: plain number.
    unsafe { call!(libc::SYS_umask, mask) };
}

pub fn controlling_terminal(fd: i32) {
    // SAFETY: TIOCSCTTY takes an int.
    unsafe { call!(libc::SYS_ioctl, fd, libc::TIOCSCTTY, 0) };
}

/// The limit of open files: soft and hard.
pub fn file_limit() -> [u64; 2] {
    let mut limit = [0u64; 2];
    // SAFETY: `limit` is an rlimit64.
    unsafe {
        call!(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            0,
            limit.as_mut_ptr()
        )
    };
    limit
}

pub fn set_file_limit(limit: [u64; 2]) -> bool {
    // SAFETY: `limit` is an rlimit64.
    unsafe {
        call!(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            limit.as_ptr(),
            0
        ) == 0
    }
}

// --- execution -------------------------------------------------------------------------------

/// The kernel passes 32 variables and 32 arguments at most.
const LIST: usize = 72;

/// A NULL-terminated list of strings for `execve`.
pub struct List<const N: usize> {
    items: [*const c_char; N],
    len: usize,
}

/// Arguments of a program.
pub type Words = List<8>;
/// An environment.
pub type Environment = List<LIST>;

impl<const N: usize> List<N> {
    pub const fn new() -> Self {
        List {
            items: [ptr::null(); N],
            len: 0,
        }
    }

    /// Appends a string that lives as long as the list; what does not fit is dropped. There is
    /// always room for one of [`List::with`], and for the NULL.
    #[inline(never)]
    pub fn push(&mut self, item: *const c_char) {
        if self.len + 2 < N
            && let Some(place) = self.items.get_mut(self.len)
        {
            *place = item;
            self.len += 1;
        }
    }

    /// The same with one more string at the end, for as long as `run` takes.
    pub fn with<R>(&mut self, more: &CStr, run: impl FnOnce(&Self) -> R) -> R {
        let len = self.len;
        self.put(len, more.as_ptr());
        let result = run(self);
        self.put(len, ptr::null());
        result
    }

    fn put(&mut self, index: usize, item: *const c_char) {
        if let Some(place) = self.items.get_mut(index) {
            *place = item;
        }
    }
}

impl Words {
    pub fn of(items: &[&CStr]) -> Words {
        let mut list = List::new();
        for item in items {
            list.push(item.as_ptr());
        }
        list
    }
}

/// What a program finds on its stack: arguments, a NULL, its environment, a NULL.
#[derive(Clone, Copy)]
pub struct Start {
    count: usize,
    list: *const *const c_char,
}

impl Start {
    /// Nobody's.
    pub const NONE: Start = Start {
        count: 0,
        list: ptr::null(),
    };

    /// # Safety
    /// `list` must be what `main` was given, with `count` strings.
    pub const unsafe fn new(count: usize, list: *const *const c_char) -> Start {
        Start { count, list }
    }

    /// One string after another, the arguments first; `None` at the end of both.
    #[inline(never)]
    fn at(&self, index: usize) -> Option<&'static CStr> {
        // SAFETY: by the contract of `new`, and because the kernel puts the environment right behind the
        // arguments; callers count up and stop at NULL.
        unsafe {
            let item = *self.list.add(index);
            if item.is_null() {
                None
            } else {
                Some(string(item))
            }
        }
    }

    /// One argument.
    pub fn argument(&self, index: usize) -> Option<&'static CStr> {
        if index < self.count {
            self.at(index)
        } else {
            None
        }
    }

    /// The value of an environment variable whose name ends in `=`; the first such.
    pub fn variable(&self, name: &[u8]) -> Option<&'static CStr> {
        let mut index = self.count + 1;
        while let Some(variable) = self.at(index) {
            if variable.to_bytes().starts_with(name) {
                // The rest of it, which ends in the same NUL.
                return variable
                    .to_bytes_with_nul()
                    .get(name.len()..)
                    .map(until_nul);
            }
            index += 1;
        }
        None
    }

    /// Fills the environment of children: what is there without the variable `without`, and a `PATH`.
    pub fn environment(&self, without: &[u8], list: &mut Environment) {
        if self.variable(b"PATH=").is_none() {
            list.push(
                c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(),
            );
        }
        let mut index = self.count + 1;
        while let Some(variable) = self.at(index) {
            if !variable.to_bytes().starts_with(without) {
                list.push(variable.as_ptr());
            }
            index += 1;
        }
    }

    /// Executes `path` with these same arguments; returns only on failure.
    pub fn again(&self, path: &CStr, environment: &Environment) -> Errno {
        execute(-1, path, self.list, environment)
    }
}

/// Executes `path`; returns only on failure.
pub fn exec(path: &CStr, words: &Words, environment: &Environment) -> Errno {
    execute(-1, path, words.items.as_ptr(), environment)
}

/// Executes what is open as `fd`; returns only on failure.
pub fn exec_open(fd: i32, words: &Words, environment: &Environment) -> Errno {
    execute(fd, c"", words.items.as_ptr(), environment)
}

#[inline(never)]
fn execute(fd: i32, path: &CStr, words: *const *const c_char, environment: &Environment) -> Errno {
    let (path, environment) = (path.as_ptr(), environment.items.as_ptr());
    // SAFETY: both lists end in NULL (their last place is never filled) and hold live strings.
    let error = unsafe {
        if fd < 0 {
            call!(libc::SYS_execve, path, words, environment)
        } else {
            call!(
                libc::SYS_execveat,
                fd,
                path,
                words,
                environment,
                libc::AT_EMPTY_PATH
            )
        }
    };
    -(error as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_has_room_for_one_more() {
        let mut list = Environment::new();
        for _ in 0..2 * LIST {
            list.push(c"A=1".as_ptr());
        }
        let more = c"STATE=1";
        list.with(more, |list| {
            let at = |index: usize| list.items.get(index).copied();
            assert_eq!(at(LIST - 2), Some(more.as_ptr()));
            assert_eq!(at(LIST - 1), Some(ptr::null()));
        });
        assert_eq!(list.items.get(LIST - 2).copied(), Some(ptr::null()));
    }
}
