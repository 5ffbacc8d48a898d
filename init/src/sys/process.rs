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

/// The bare call: one thread, no locks, no `atfork`, so the C library has nothing to add.
fn clone(flags: c_int) -> Result<i32, Errno> {
    let none = ptr::null_mut::<c_void>();
    let flags = c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is a fork; the stack stays where it is.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) } as c_int)
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

/// Looks at an ended child (`None`: any) and leaves it as it is.
pub fn peek(pid: Option<i32>) -> Peek {
    let (kind, id) = match pid {
        Some(pid) => (libc::P_PID, pid as libc::id_t),
        None => (libc::P_ALL, 0),
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: all-zero is a valid siginfo_t; after a success with a pid it is that of a SIGCHLD.
    unsafe {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        if libc::waitid(kind, id, info.as_mut_ptr(), flags) != 0 {
            return if errno() == libc::ECHILD {
                Peek::Childless
            } else {
                Peek::Running
            };
        }
        let info = info.assume_init();
        let pid = info.si_pid();
        if pid == 0 {
            return Peek::Running;
        }
        let status = match info.si_code {
            libc::CLD_EXITED => (info.si_status() & 0xff) << 8,
            libc::CLD_DUMPED => info.si_status() | 0x80,
            _ => info.si_status(),
        };
        Peek::Zombie(Zombie { pid, status })
    }
}

/// Reaps a child that [`peek`] showed; its raw wait status, `None` if it is not to be reaped (yet).
pub fn reap(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let got = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (got == pid).then_some(status)
}

/// Whether this child is stopped; the report is consumed.
pub fn is_stopped(pid: i32) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: all-zero is a valid siginfo_t; after a success with a pid it is that of a SIGCHLD.
    unsafe {
        let flags = libc::WSTOPPED | libc::WNOHANG;
        libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), flags) == 0
            && info.assume_init().si_pid() == pid
    }
}

/// A child that somebody stopped; each stop is told once.
pub fn stopped_child() -> Option<i32> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: all-zero is a valid siginfo_t; after a success with a pid it is that of a SIGCHLD.
    unsafe {
        let flags = libc::WSTOPPED | libc::WNOHANG;
        let found = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) == 0;
        let pid = info.assume_init().si_pid();
        (found && pid > 0).then_some(pid)
    }
}

/// Waits for a child for at most so long; only with SIGCHLD blocked, and only where nobody else is
/// waiting for that signal: in early boot, and in children. `None`: it still runs.
pub fn wait_for(pid: i32, timeout_ms: u64) -> Option<i32> {
    let until = now() + timeout_ms;
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    loop {
        if let Some(status) = reap(pid) {
            return Some(status);
        }
        let left = until.saturating_sub(now());
        if left == 0 {
            return None;
        }
        // SAFETY: the set is initialised before use, the time is a valid one.
        unsafe {
            let set = set.assume_init_mut();
            libc::sigemptyset(set);
            libc::sigaddset(set, libc::SIGCHLD);
            let mut time = MaybeUninit::<libc::timespec>::zeroed().assume_init();
            time.tv_sec = (left / 1000) as _;
            time.tv_nsec = ((left % 1000) as u32 * 1_000_000) as _;
            libc::sigtimedwait(set, ptr::null_mut(), &raw const time);
        }
    }
}

/// Sleeps. Only in children, and in PID 1 when nothing else is left to do.
pub fn sleep(ms: u64) {
    poll(-1, (-1, 0), Some(ms));
}

/// `/proc/<pid>/stat`.
pub fn stat(pid: i32) -> Option<crate::procfs::Stat> {
    let mut path = Text::new();
    path.text("/proc/").num(pid as u64).text("/stat");
    let fd = open(path.as_c(), libc::O_RDONLY).ok()?;
    let mut buf = [0u8; 512];
    let got = read(fd, &mut buf);
    close(fd);
    crate::procfs::stat(buf.get(..got.ok()?)?)
}

pub fn set_priority(pid: i32, nice: c_int) {
    // SAFETY: plain numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS as _, pid as _, nice) };
}

pub fn new_session() {
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
}

pub fn set_umask(mask: libc::mode_t) {
    // SAFETY: plain number.
    unsafe { libc::umask(mask) };
}

pub fn controlling_terminal(fd: i32) {
    // SAFETY: TIOCSCTTY takes an int.
    unsafe { libc::ioctl(fd, libc::TIOCSCTTY as _, 0) };
}

pub fn arm_watchdog(fd: i32, seconds: u32) -> Result<u32, Errno> {
    // WDIOC_SETTIMEOUT and WDIOC_KEEPALIVE: _IOWR('W', 6, int), _IOR('W', 5, int).
    let mut timeout = seconds as c_int;
    // SAFETY: both take a pointer to an int.
    check(unsafe { libc::ioctl(fd, 0xc004_5706_u32 as _, &raw mut timeout) })?;
    Ok(timeout.max(1) as u32)
}

/// The limit of open files: soft and hard.
pub fn file_limit() -> (u64, u64) {
    let mut limit = [0u64; 2];
    // SAFETY: `limit` is an rlimit64.
    unsafe { prlimit(ptr::null(), limit.as_mut_ptr()) };
    let [soft, hard] = limit;
    (soft, hard)
}

pub fn set_file_limit(soft: u64, hard: u64) -> bool {
    let limit = [soft, hard];
    // SAFETY: `limit` is an rlimit64.
    unsafe { prlimit(limit.as_ptr(), ptr::null_mut()) == 0 }
}

/// # Safety
/// Each is NULL or an rlimit64.
unsafe fn prlimit(new: *const u64, old: *mut u64) -> c_long {
    // SAFETY: by our own contract.
    unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE as c_int,
            new,
            old,
        )
    }
}

/// Name of the variable that tells a re-executed init where its state is.
pub const STATE_VARIABLE: &[u8] = b"SYSMASTER_INIT_STATE=";
const PATH_DEFAULT: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The kernel passes 32 variables at most (and 32 arguments).
const LIST: usize = 72;

/// A NULL-terminated list of strings for `execve`.
pub struct List {
    items: [*const c_char; LIST],
    len: usize,
}

impl List {
    pub fn new(items: &[&CStr]) -> List {
        let mut list = List {
            items: [ptr::null(); LIST],
            len: 0,
        };
        for item in items {
            list.push(item.as_ptr());
        }
        list
    }

    fn push(&mut self, item: *const c_char) {
        if self.len < LIST - 1
            && let Some(place) = self.items.get_mut(self.len)
        {
            *place = item;
            self.len += 1;
        }
    }

    /// init's own arguments.
    pub fn arguments(args: Arguments) -> List {
        let mut list = List::new(&[]);
        for index in 0..LIST {
            match args.get(index) {
                Some(arg) => list.push(arg.as_ptr()),
                None => break,
            }
        }
        list
    }

    /// The environment of a child: init's own without the variable of its state, with a `PATH`, and
    /// `more`.
    pub fn environment(more: Option<&CStr>) -> List {
        let mut list = List::new(&[]);
        let mut path = false;
        for index in 0..LIST {
            let Some(variable) = environment(index) else {
                break;
            };
            let bytes = variable.to_bytes();
            if bytes.starts_with(STATE_VARIABLE) {
                continue;
            }
            path |= bytes.starts_with(b"PATH=");
            list.push(variable.as_ptr());
        }
        if !path {
            list.push(PATH_DEFAULT.as_ptr());
        }
        if let Some(more) = more {
            list.push(more.as_ptr());
        }
        list
    }
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// One variable of init's environment.
pub fn environment(index: usize) -> Option<&'static CStr> {
    // SAFETY: environ is a NULL-terminated list of strings that nobody here changes; the caller
    // counts up from 0 and stops at `None`.
    unsafe {
        let list = environ;
        if list.is_null() || (*list.add(index)).is_null() {
            return None;
        }
        Some(CStr::from_ptr(*list.add(index)))
    }
}

/// init's arguments.
#[derive(Clone, Copy)]
pub struct Arguments {
    count: usize,
    list: *const *const c_char,
}

impl Arguments {
    /// # Safety
    /// `list` must be what `main` was given, with `count` strings.
    pub const unsafe fn new(count: usize, list: *const *const c_char) -> Arguments {
        Arguments { count, list }
    }

    /// One argument.
    pub fn get(&self, index: usize) -> Option<&'static CStr> {
        if index >= self.count || self.list.is_null() {
            return None;
        }
        // SAFETY: by the contract of `new`.
        unsafe { Some(CStr::from_ptr(*self.list.add(index))) }
    }
}

/// Executes; returns only on failure.
pub fn exec(path: &CStr, arguments: &List, environment: &List) -> Errno {
    // SAFETY: both lists end in NULL (their last place is never filled) and hold live strings.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.items.as_ptr(),
            environment.items.as_ptr(),
        );
    }
    errno()
}
