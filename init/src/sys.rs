//! The system calls, as safe functions: the only place besides the programs' entries that says
//! `unsafe`. Here are time, descriptors, files and signals; the rest is in the modules below.
//!
//! Errors are plain error numbers. Nothing in here decides anything.

#![allow(unsafe_code)]

use crate::text::join;
use core::ffi::{CStr, c_char, c_int, c_long};
use core::mem::size_of;
use core::ptr;

pub(crate) mod call;
use call::call;

mod machine;
mod memory;
mod process;
mod socket;

pub use machine::*;
pub use memory::*;
pub use process::*;
pub use socket::*;

/// An error number.
pub type Errno = i32;

/// No descriptor.
const NONE: c_int = -1;
const HERE: c_int = libc::AT_FDCWD;

/// What the kernel answered, as a result.
fn check(result: isize) -> Result<i32, Errno> {
    if result < 0 {
        Err(-(result as i32))
    } else {
        Ok(result as i32)
    }
}

/// Milliseconds since boot, sleep included. Never 0. Always by the call with 64-bit times.
pub fn now() -> u64 {
    #[cfg(target_pointer_width = "64")]
    const CLOCK_GETTIME: c_long = libc::SYS_clock_gettime;
    #[cfg(target_pointer_width = "32")]
    const CLOCK_GETTIME: c_long = 403;
    let mut time = [0i64; 2];
    // SAFETY: `time` is a 64-bit timespec.
    let _failed = unsafe { call!(CLOCK_GETTIME, libc::CLOCK_BOOTTIME, time.as_mut_ptr()) } != 0;
    #[cfg(target_pointer_width = "32")]
    if _failed {
        // A kernel before 5.1. The clock starts at boot, so 32 bits hold for 68 years of uptime.
        let mut short = [0i32; 2];
        let call = libc::SYS_clock_gettime;
        // SAFETY: `short` is a 32-bit timespec.
        unsafe { call!(call, libc::CLOCK_BOOTTIME, short.as_mut_ptr()) };
        time = short.map(i64::from);
    }
    let [seconds, nanoseconds] = time;
    (seconds as u64) * 1000 + u64::from(nanoseconds as u32 / 1_000_000) + 1
}

pub fn pid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { call!(libc::SYS_getpid) as i32 }
}

/// Ends this process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { call!(libc::SYS_exit_group, status) };
    }
}

// --- descriptors -----------------------------------------------------------------------------

#[inline(never)]
pub fn open(path: &CStr, flags: c_int) -> Result<i32, Errno> {
    let flags = flags | libc::O_CLOEXEC | libc::O_LARGEFILE;
    // SAFETY: `path` ends in NUL; with O_CREAT a mode follows.
    check(unsafe { call!(libc::SYS_openat, HERE, path.as_ptr(), flags, 0o600) })
}

#[inline(never)]
pub fn close(fd: i32) {
    // SAFETY: closing a number that is not open is an error, nothing worse.
    unsafe { call!(libc::SYS_close, fd) };
}

/// Makes `to` another name of `from`, that children inherit. The same number is only made so.
pub fn inherit_as(from: i32, to: i32) -> Result<(), Errno> {
    if from == to {
        set_cloexec(from, false);
        return Ok(());
    }
    // SAFETY: plain numbers.
    check(unsafe { call!(libc::SYS_dup3, from, to, 0) }).map(drop)
}

#[inline(never)]
fn fcntl(fd: i32, command: c_int, argument: c_int) -> isize {
    // SAFETY: plain numbers, for the commands used here.
    unsafe { call!(libc::SYS_fcntl, fd, command, argument) }
}

pub fn is_open(fd: i32) -> bool {
    fcntl(fd, libc::F_GETFD, 0) >= 0
}

pub fn set_cloexec(fd: i32, on: bool) {
    fcntl(fd, libc::F_SETFD, c_int::from(on));
}

/// Makes reads and writes wait again.
pub fn set_blocking(fd: i32) {
    fcntl(fd, libc::F_SETFL, 0);
}

/// Whether closing `fd` cannot sleep, found out without touching what is behind it: Unix sockets,
/// pipes, memfds and files of tmpfs have no flush. (Files of NFS or FUSE do, and a TCP socket may linger.)
pub fn closes_at_once(fd: i32) -> bool {
    let mut domain: c_int = 0;
    let mut length = size_of::<c_int>() as u32;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_DOMAIN);
    // SAFETY: `domain` and `length` are valid for writing; the rest are plain numbers.
    let asked = unsafe {
        call!(
            libc::SYS_getsockopt,
            fd,
            level,
            name,
            &raw mut domain,
            &raw mut length
        )
    };
    asked == 0 && domain == libc::AF_UNIX
        || fcntl(fd, libc::F_GET_SEALS, 0) >= 0
        || fcntl(fd, libc::F_GETPIPE_SZ, 0) >= 0
}

#[inline(never)]
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of one slice.
    check(unsafe { call!(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) }).map(|n| n as usize)
}

#[inline(never)]
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of one slice.
    check(unsafe { call!(libc::SYS_read, fd, buf.as_mut_ptr(), buf.len()) }).map(|n| n as usize)
}

/// Moves to a place in the file; how far from the beginning that is.
pub fn seek(fd: i32, offset: i32, whence: c_int) -> isize {
    // SAFETY: plain numbers.
    unsafe { call!(libc::SYS_lseek, fd, offset, whence) }
}

/// What one `read` gets of a file: all of a small one.
#[inline(never)]
pub fn read_once<'b>(path: &CStr, buf: &'b mut [u8]) -> Option<&'b [u8]> {
    let fd = open(path, libc::O_RDONLY).ok()?;
    let got = read(fd, buf);
    close(fd);
    buf.get(..got.ok()?)
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
    unsafe { call!(libc::SYS_faccessat, HERE, path.as_ptr(), libc::F_OK) == 0 }
}

pub fn mkdir(path: &CStr, mode: c_int) {
    // SAFETY: `path` ends in NUL.
    unsafe { call!(libc::SYS_mkdirat, HERE, path.as_ptr(), mode) };
}

pub fn read_link<'b>(path: &CStr, buf: &'b mut [u8]) -> Option<&'b [u8]> {
    // SAFETY: `path` ends in NUL; pointer and length are of one slice.
    let got = unsafe {
        call!(
            libc::SYS_readlinkat,
            HERE,
            path.as_ptr(),
            buf.as_mut_ptr(),
            buf.len()
        )
    };
    buf.get(..usize::try_from(got).ok()?)
}

/// A pipe: the end to read from, the end to write to.
pub fn pipe() -> Result<(i32, i32), Errno> {
    let mut ends = [-1i32; 2];
    // SAFETY: `ends` has room for two descriptors.
    check(unsafe { call!(libc::SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let [reading, writing] = ends;
    Ok((reading, writing))
}

/// A file in memory; where the kernel has no memfd, an unlinked one in `/run`.
pub fn memory_file() -> Result<i32, Errno> {
    if let Ok(fd) = memfd(c"init-state", libc::MFD_CLOEXEC) {
        return Ok(fd);
    }
    let path = c"/run/.init-state";
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let fd = open(path, flags)?;
    // SAFETY: `path` ends in NUL.
    unsafe { call!(libc::SYS_unlinkat, HERE, path.as_ptr(), 0) };
    Ok(fd)
}

fn memfd(name: &CStr, flags: u32) -> Result<i32, Errno> {
    // SAFETY: the name ends in NUL.
    check(unsafe { call!(libc::SYS_memfd_create, name.as_ptr(), flags) })
}

/// A sealed copy of an executable in memory, so that nothing holds its file system busy and no
/// upgrade takes it away; without memfd the file itself.
pub fn keep_executable(path: &CStr) -> Result<i32, Errno> {
    const MFD_EXEC: u32 = 0x10;
    const SIZE_MAX: usize = 1 << 20;
    let file = open(path, libc::O_RDONLY)?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let name = c"init-worker";
    // Kernels before 6.3 do not know the flag, later ones complain without it.
    let Ok(copy) = memfd(name, flags | MFD_EXEC).or_else(|_| memfd(name, flags)) else {
        return Ok(file);
    };
    // SAFETY: no offset; the rest are plain numbers.
    let copied = check(unsafe { call!(libc::SYS_sendfile, copy, file, 0, SIZE_MAX) });
    close(file);
    fcntl(
        copy,
        libc::F_ADD_SEALS,
        libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW,
    );
    copied.map(|_| copy)
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
        let got = unsafe { call!(libc::SYS_getdents64, dir, buf.as_mut_ptr(), buf.len()) };
        let filled = usize::try_from(got).ok().and_then(|n| buf.get(..n));
        let mut rest = filled.unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        // linux_dirent64: inode 8, offset 8, length 2, type 1, name.
        while let Some(&[low, high]) = rest.get(16..18).and_then(|b| b.first_chunk::<2>()) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(19..length).unwrap_or_default();
            let name = until_nul(name);
            seen += 1;
            if seen <= limit && name != c"." && name != c".." {
                each(name);
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

/// Signals (bit n: signal n) whose default action would be a fault of our own; they are not blocked.
const FAULTS: u64 = 1 << libc::SIGSEGV
    | 1 << libc::SIGBUS
    | 1 << libc::SIGILL
    | 1 << libc::SIGFPE
    | 1 << libc::SIGABRT;

/// The kernel's `struct sigaction`.
#[repr(C)]
struct Action {
    handler: usize,
    flags: usize,
    #[cfg(not(target_arch = "riscv64"))]
    restorer: usize,
    mask: u64,
}

fn signal_mask(set: u64) {
    // SAFETY: the kernel's set of signals is 64 bits.
    unsafe {
        call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            0,
            size_of::<u64>()
        )
    };
}

/// Blocks every signal and returns a descriptor to read them from; `on_fault` handles those that
/// tell of a defect in here, and does not return.
pub fn catch_signals(on_fault: extern "C" fn(c_int)) -> Result<i32, Errno> {
    let set = !(FAULTS >> 1);
    let handler = on_fault as *const () as usize;
    let action = Action {
        handler,
        // SA_RESTORER, without which x86_64 does not deliver. What it would be needed for never comes.
        flags: libc::SA_NODEFER as usize
            | if cfg!(target_arch = "riscv64") {
                0
            } else {
                0x0400_0000
            },
        #[cfg(not(target_arch = "riscv64"))]
        restorer: handler,
        mask: 0,
    };
    for signal in (1..32).filter(|signal| FAULTS & 1 << signal != 0) {
        // SAFETY: the action is the kernel's, the handler has the right signature.
        unsafe {
            call!(
                libc::SYS_rt_sigaction,
                signal,
                &raw const action,
                0,
                size_of::<u64>()
            )
        };
    }
    signal_mask(set);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel's set of signals is 64 bits.
    check(unsafe {
        call!(
            libc::SYS_signalfd4,
            NONE,
            &raw const set,
            size_of::<u64>(),
            flags
        )
    })
}

/// The next caught signal.
pub fn next_signal(fd: i32) -> Option<u32> {
    const SIZE: usize = size_of::<libc::signalfd_siginfo>();
    let mut info = [0u8; SIZE];
    if read(fd, &mut info) != Ok(SIZE) {
        return None;
    }
    // The number comes first.
    info.first_chunk().map(|number| u32::from_ne_bytes(*number))
}

/// Unblocks every signal, for what is about to be executed. (Handlers end with `execve`.)
pub fn default_signals() {
    signal_mask(0);
}

pub fn kill(pid: i32, signal: c_int) -> bool {
    // SAFETY: plain numbers.
    unsafe { call!(libc::SYS_kill, pid, signal) == 0 }
}
