//! The system calls, as safe functions: the only place besides `main.rs` that says `unsafe`. Here are time,
//! descriptors, files and signals; the rest is in the modules below.
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

mod machine;
mod process;
mod socket;

pub use machine::*;
pub use process::*;
pub use socket::*;

// --- descriptors -----------------------------------------------------------------------------

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

// --- signals ---------------------------------------------------------------------------------

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
