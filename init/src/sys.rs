//! The system calls, as safe functions: the only place besides `main.rs` that says `unsafe`.
//!
//! Errors are plain error numbers. Nothing in here decides anything.

#![allow(unsafe_code)]

use crate::text::{Text, join};
use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::mem::{MaybeUninit, size_of};
use core::ptr;

/// An error number.
pub type Errno = i32;

/// The error number of the last failed call.
pub fn errno() -> Errno {
    // SAFETY: returns a pointer to this thread's errno, always valid.
    unsafe { *libc::__errno_location() }
}

fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// Milliseconds since boot, sleep included. Never 0. Always by the call with 64-bit times: the C
/// library's own may have 32-bit ones on a 32-bit machine.
pub fn now() -> u64 {
    #[cfg(target_pointer_width = "64")]
    const CLOCK_GETTIME: c_long = libc::SYS_clock_gettime;
    #[cfg(target_pointer_width = "32")]
    const CLOCK_GETTIME: c_long = 403;
    let mut time = [0i64; 2];
    // SAFETY: `time` is a 64-bit timespec.
    let _failed =
        unsafe { libc::syscall(CLOCK_GETTIME, libc::CLOCK_BOOTTIME, time.as_mut_ptr()) } != 0;
    #[cfg(target_pointer_width = "32")]
    if _failed {
        // A kernel before 5.1. The clock starts at boot, so 32 bits hold for 68 years of uptime.
        let mut short = [0i32; 2];
        // SAFETY: `short` is a 32-bit timespec.
        unsafe {
            libc::syscall(
                libc::SYS_clock_gettime,
                libc::CLOCK_BOOTTIME,
                short.as_mut_ptr(),
            );
        }
        time = short.map(i64::from);
    }
    let [seconds, nanoseconds] = time;
    (seconds as u64) * 1000 + u64::from(nanoseconds as u32 / 1_000_000) + 1
}

pub fn pid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpid() }
}

pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

// --- descriptors -------------------------------------------------------------------------------

pub fn open(path: &CStr, flags: c_int) -> Result<i32, Errno> {
    // SAFETY: `path` ends in NUL; with O_CREAT a mode follows.
    check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) })
}

pub fn close(fd: i32) {
    // SAFETY: closing a number that is not open is an error, nothing worse.
    unsafe { libc::close(fd) };
}

pub fn dup2(from: i32, to: i32) -> Result<i32, Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::dup2(from, to) })
}

pub fn is_open(fd: i32) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

pub fn set_cloexec(fd: i32, on: bool) {
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd, libc::F_SETFD, if on { libc::FD_CLOEXEC } else { 0 }) };
}

/// Makes reads and writes wait again.
pub fn set_blocking(fd: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd, libc::F_SETFL, 0) };
}

/// Whether closing `fd` cannot sleep, found out without touching what is behind it: Unix sockets,
/// pipes, memfds and files of tmpfs have no flush. (Files of NFS or FUSE do, and a TCP socket may linger.)
pub fn closes_at_once(fd: i32) -> bool {
    let mut domain: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `domain` and `length` are valid for writing; the rest are plain numbers.
    unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut domain).cast(),
            &raw mut length,
        ) == 0
            && domain == libc::AF_UNIX
            || libc::fcntl(fd, libc::F_GET_SEALS) >= 0
            || libc::fcntl(fd, libc::F_GETPIPE_SZ) >= 0
    }
}

pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of one slice.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| errno())
}

pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of one slice.
    let got = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
    usize::try_from(got).map_err(|_| errno())
}

pub fn rewind(fd: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
}

/// Reads a file from its beginning until `buf` is full.
pub fn read_file<'b>(path: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let fd = open(path, libc::O_RDONLY)?;
    let mut used = 0;
    // A file of /proc comes in pieces of a page; no file needs more pieces than this.
    for _ in 0..1024 {
        let Some(rest) = buf.get_mut(used..) else {
            break;
        };
        if rest.is_empty() {
            break;
        }
        match read(fd, rest) {
            Ok(0) => break,
            Ok(more) => used += more,
            Err(libc::EINTR) => {}
            Err(error) => {
                close(fd);
                return Err(error);
            }
        }
    }
    close(fd);
    Ok(buf.get(..used).unwrap_or_default())
}

pub fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let fd = open(path, libc::O_WRONLY)?;
    let result = write(fd, bytes);
    close(fd);
    result.map(drop)
}

pub fn exists(path: &CStr) -> bool {
    // SAFETY: `path` ends in NUL.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

pub fn mkdir(path: &CStr, mode: libc::mode_t) {
    // SAFETY: `path` ends in NUL.
    unsafe { libc::mkdir(path.as_ptr(), mode) };
}

pub fn read_link<'b>(path: &CStr, buf: &'b mut [u8]) -> Option<&'b [u8]> {
    // SAFETY: `path` ends in NUL; pointer and length are of one slice.
    let got = unsafe { libc::readlink(path.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    buf.get(..usize::try_from(got).ok()?)
}

/// A file in memory; where the kernel has no memfd, an unlinked one in `/run`.
pub fn memory_file() -> Result<i32, Errno> {
    // SAFETY: the name ends in NUL.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_memfd_create,
            c"init-state".as_ptr(),
            libc::MFD_CLOEXEC,
        )
    };
    if fd >= 0 {
        return Ok(fd as i32);
    }
    let path = c"/run/.init-state";
    let fd = open(
        path,
        libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW,
    )?;
    // SAFETY: `path` ends in NUL.
    unsafe { libc::unlink(path.as_ptr()) };
    Ok(fd)
}

/// Calls `each` with the names in a directory, at most `limit` of them.
pub fn each_name(path: &CStr, limit: usize, mut each: impl FnMut(&CStr)) {
    let Ok(dir) = open(path, libc::O_RDONLY | libc::O_DIRECTORY) else {
        return;
    };
    let mut buf = [0u8; 2048];
    let mut seen = 0;
    loop {
        // SAFETY: pointer and length are of one array.
        let got = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                c_long::from(dir),
                buf.as_mut_ptr(),
                buf.len(),
            )
        };
        let mut rest = usize::try_from(got)
            .ok()
            .and_then(|n| buf.get(..n))
            .unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        // linux_dirent64: inode 8, offset 8, length 2, type 1, name.
        while let Some(&[low, high]) = rest.get(16..18).and_then(|b| b.first_chunk::<2>()) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(19..length).unwrap_or_default();
            if let Ok(name) = CStr::from_bytes_until_nul(name) {
                seen += 1;
                if seen <= limit && name != c"." && name != c".." {
                    each(name);
                }
            }
            rest = rest.get(length.max(20)..).unwrap_or_default();
        }
        if seen > limit {
            break;
        }
    }
    close(dir);
}

// --- sockets -----------------------------------------------------------------------------------

pub fn socketpair() -> Result<(i32, i32), Errno> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [ours, theirs] = ends;
    Ok((ours, theirs))
}

/// Most descriptors the kernel lets through with one packet.
pub const FDS_MAX: usize = 253;

/// What came with a packet.
pub struct Packet {
    pub len: usize,
    pub fds: usize,
    /// The packet was longer than the buffer.
    pub cut: bool,
}

// Room for one control message with FDS_MAX descriptors; u64 for its alignment.
const CONTROL: usize = (FDS_MAX * 4 + 64) / 8;

/// Receives one packet without waiting. `Ok` with length 0: the other end is closed.
pub fn receive(fd: i32, buf: &mut [u8], fds: &mut [i32; FDS_MAX]) -> Result<Packet, Errno> {
    let mut control = [0u64; CONTROL];
    let mut part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    let mut count = 0;
    // SAFETY: all-zero is a valid msghdr; its pointers are to live locals with their lengths; the
    // control messages are walked with the system's macros within what the kernel wrote.
    let (got, flags) = unsafe {
        let message = message.assume_init_mut();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[u64; CONTROL]>() as _;
        let got = libc::recvmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(errno());
        }
        let mut header = libc::CMSG_FIRSTHDR(message);
        for _ in 0..4 {
            if header.is_null() {
                break;
            }
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes =
                    ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                for index in 0..bytes / size_of::<c_int>() {
                    let one = ptr::read_unaligned(data.add(index));
                    match fds.get_mut(count) {
                        Some(place) => {
                            *place = one;
                            count += 1;
                        }
                        None => close(one),
                    }
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
        (got as usize, message.msg_flags)
    };
    Ok(Packet {
        len: got,
        fds: count,
        cut: flags & libc::MSG_TRUNC != 0,
    })
}

/// Sends one packet without waiting, with at most one descriptor.
pub fn send(fd: i32, bytes: &[u8], with: Option<i32>) -> Result<(), Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let Some(with) = with else {
        // SAFETY: pointer and length are of one slice.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        return if sent < 0 { Err(errno()) } else { Ok(()) };
    };
    let mut control = [0u64; 4];
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all-zero is a valid msghdr; its pointers are to live locals with their lengths;
    // `control` has room for the one header and the one descriptor written into it.
    let sent = unsafe {
        let message = message.assume_init_mut();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as _) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        if header.is_null() {
            return Err(libc::EINVAL);
        }
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as _) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<c_int>(), with);
        libc::sendmsg(fd, message, flags)
    };
    if sent < 0 { Err(errno()) } else { Ok(()) }
}

/// Whether everything sent on a Unix socket was read.
pub fn all_read(fd: i32) -> bool {
    let mut unread: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ as _, &raw mut unread) };
    result != 0 || unread == 0
}

/// Waits for one of two descriptors (−1: none); the events that came. `None`: for ever.
pub fn poll(first: i32, second: (i32, i16), timeout_ms: Option<u64>) -> (bool, i16) {
    let mut both = [
        libc::pollfd {
            fd: first,
            events: libc::POLLIN,
            revents: 0,
        },
        libc::pollfd {
            fd: second.0,
            events: second.1,
            revents: 0,
        },
    ];
    let timeout = timeout_ms.map_or(-1, |ms| ms.min(0x7fff_ffff) as c_int);
    // SAFETY: `both` holds the two entries announced.
    unsafe { libc::poll(both.as_mut_ptr(), 2, timeout) };
    let [first, second] = both;
    (first.revents != 0, second.revents)
}

// --- signals -----------------------------------------------------------------------------------

/// Signals whose default action would be a fault of our own; they are not blocked.
const FAULTS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

/// Blocks every signal and returns a descriptor to read them from; `on_fault` handles those that
/// tell of a defect in here.
pub fn catch_signals(on_fault: extern "C" fn(c_int)) -> Result<i32, Errno> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: set and action are initialised before use, the handler has the right signature.
    check(unsafe {
        let set = set.assume_init_mut();
        libc::sigfillset(set);
        let action = action.assume_init_mut();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_NODEFER;
        for signal in FAULTS {
            libc::sigdelset(set, signal);
            libc::sigaction(signal, action, ptr::null_mut());
        }
        libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut());
        libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    })
}

/// The next caught signal.
pub fn next_signal(fd: i32) -> Option<u32> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` has `size` bytes and any bytes are a valid signalfd_siginfo.
    unsafe {
        if libc::read(fd, info.as_mut_ptr().cast(), size) != size as isize {
            return None;
        }
        Some(info.assume_init().ssi_signo)
    }
}

/// Unblocks every signal, for what is about to be executed. (Handlers end with `execve`.)
pub fn default_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is initialised before use.
    unsafe {
        let set = set.assume_init_mut();
        libc::sigemptyset(set);
        libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut());
    }
}

pub fn kill(pid: i32, signal: c_int) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::kill(pid, signal) == 0 }
}

// --- processes ---------------------------------------------------------------------------------

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

// --- execution ---------------------------------------------------------------------------------

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

// --- file systems, the end -----------------------------------------------------------------------

pub fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: u32,
    data: &CStr,
) -> Result<(), Errno> {
    // SAFETY: all strings end in NUL.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags as _,
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

pub fn unmount(target: &CStr, flags: c_int) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { libc::umount2(target.as_ptr(), flags) }).map(drop)
}

pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

pub fn fchdir(fd: i32) -> Result<(), Errno> {
    // SAFETY: plain number.
    check(unsafe { libc::fchdir(fd) }).map(drop)
}

pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { libc::chroot(path.as_ptr()) }).map(drop)
}

pub fn pivot_root(new: &CStr, old: &CStr) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL.
    let result = unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) };
    check(result as c_int).map(drop)
}

pub fn swap_off(path: &CStr) {
    // SAFETY: the string ends in NUL.
    unsafe { libc::swapoff(path.as_ptr()) };
}

pub fn sync() {
    // SAFETY: no arguments.
    unsafe { libc::sync() };
}

/// Detaches the loop device behind `fd`.
pub fn detach_loop(fd: i32) {
    const LOOP_CLR_FD: u32 = 0x4c01;
    // SAFETY: takes no argument.
    unsafe { libc::ioctl(fd, LOOP_CLR_FD as _, 0) };
}

/// Removes every device-mapper device that is not in use.
pub fn remove_mapped_devices(control: i32) {
    /// `struct dm_ioctl` is 312 bytes: version, size, start of data, …
    const SIZE: usize = 312;
    /// `_IOWR(0xfd, 1, struct dm_ioctl)`
    const DM_REMOVE_ALL: u32 = 0xc138_fd01;
    let mut request = [0u32; SIZE / 4];
    if let Some(head) = request.first_chunk_mut::<5>() {
        *head = [4, 0, 0, SIZE as u32, SIZE as u32];
    }
    // SAFETY: the kernel reads and writes `data_size` bytes, which are there.
    unsafe { libc::ioctl(control, DM_REMOVE_ALL as _, request.as_mut_ptr()) };
}

/// What [`reboot`] can do.
pub enum Reboot {
    Poweroff,
    Restart,
    Halt,
    Kexec,
    /// Not a reboot: from now on ctrl-alt-del is a SIGINT to PID 1.
    TellMe,
}

pub fn reboot(how: &Reboot) -> Errno {
    let command = match how {
        Reboot::Poweroff => libc::RB_POWER_OFF,
        Reboot::Restart => libc::RB_AUTOBOOT,
        Reboot::Halt => libc::RB_HALT_SYSTEM,
        Reboot::Kexec => libc::RB_KEXEC,
        Reboot::TellMe => libc::RB_DISABLE_CAD,
    };
    // SAFETY: a plain number.
    if unsafe { libc::reboot(command) } == 0 {
        0
    } else {
        errno()
    }
}

/// Whether a cgroup2 hierarchy is mounted here.
pub fn is_cgroup2(path: &CStr) -> bool {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the string ends in NUL; `stat` is valid for writing and all-zero is valid.
    unsafe {
        libc::statfs(path.as_ptr(), stat.as_mut_ptr()) == 0
            && stat.assume_init().f_type as u32 == 0x6367_7270
    }
}

/// `/proc/<pid>/<name>` of this process as a path.
pub fn own(name: &[u8]) -> Text {
    join(&[b"/proc/self/", name])
}

// --- memory --------------------------------------------------------------------------------------

/// What is too large for the stack and all zero at the start: it takes no room in the file and no
/// memory until it is touched.
pub struct Memories {
    pub ring: crate::ring::Ring,
    pub store: crate::store::Store,
}

struct Once<T>(core::cell::UnsafeCell<T>, core::sync::atomic::AtomicBool);

// SAFETY: `take` hands the value out once.
unsafe impl<T> Sync for Once<T> {}

impl<T> Once<T> {
    const fn new(value: T) -> Once<T> {
        Once(
            core::cell::UnsafeCell::new(value),
            core::sync::atomic::AtomicBool::new(false),
        )
    }

    #[allow(clippy::mut_from_ref)] // handed out once
    fn take(&'static self) -> Option<&'static mut T> {
        if self.1.swap(true, core::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        // SAFETY: the flag was false, so this is the only reference there will ever be.
        Some(unsafe { &mut *self.0.get() })
    }
}

static MEMORIES: Once<Memories> = Once::new(Memories {
    ring: crate::ring::Ring::new(),
    store: crate::store::Store::new(),
});

/// Bytes of [`scratch`].
pub const SCRATCH: usize = 65_536;
static SCRATCH_MEMORY: Once<[u8; SCRATCH]> = Once::new([0; SCRATCH]);

/// The memories of PID 1; `None` the second time.
pub fn memories() -> Option<&'static mut Memories> {
    MEMORIES.take()
}

/// A large buffer for a forked child (PID 1 itself must not touch it, it would stay resident);
/// `None` the second time in one process.
pub fn scratch() -> Option<&'static mut [u8; SCRATCH]> {
    SCRATCH_MEMORY.take()
}
