//! Signals of this process: numbers, the mask, dispositions.

use super::sys::check;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

pub use libc::{
    SIGABRT, SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE,
    SIGPWR, SIGQUIT, SIGSEGV, SIGSTOP, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2, SIGWINCH,
};

/// The highest signal number.
pub const MAX: i32 = 64;

/// Signals that are ignored and would stay so across exec: bit n is signal n + 1. All ones until
/// it has been looked up.
static IGNORED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Which signals this process ignores. Looked up once: who changes dispositions does so first.
pub(super) fn ignored() -> u64 {
    let known = IGNORED.load(Ordering::Relaxed);
    if known != u64::MAX {
        return known;
    }
    let mut mask = 0;
    for signal in 1..=MAX {
        if matches!(action(signal, None), Ok(handler) if handler == libc::SIG_IGN) {
            mask |= 1 << (signal - 1);
        }
    }
    IGNORED.store(mask, Ordering::Relaxed);
    mask
}

/// Sets a signal to its default action, or to be ignored.
pub(super) fn set_default(signal: i32, ignore: bool) -> io::Result<()> {
    let handler = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    action(signal, Some(handler)).map(|_| ())
}

/// Asks for, and sets, the handler of a signal, past the C library: that one hides the signals it
/// uses itself, which a parent may have ignored all the same. Returns the handler before.
fn action(signal: i32, handler: Option<usize>) -> io::Result<usize> {
    /// More than the kernel's structure on any architecture; the handler is its first word.
    type Action = [usize; 8];
    const MASK_SIZE: usize = 8;
    let new: Action = [handler.unwrap_or(0), 0, 0, 0, 0, 0, 0, 0];
    let mut old: Action = [0; 8];
    let given = if handler.is_some() {
        new.as_ptr()
    } else {
        std::ptr::null()
    };
    // SAFETY: reads and writes the two arrays; neither "default" nor "ignore" is code of ours, and
    // no other handler is ever set.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            given,
            old.as_mut_ptr(),
            MASK_SIZE,
        )
    };
    check(done)?;
    let [before, ..] = old;
    Ok(before)
}

/// The set of these signals; numbers that are none are left out.
pub(super) fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: all-zero is a valid set to be written over.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes the set.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in signals {
        // SAFETY: writes the set; fails for numbers that are none.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}

/// Blocks these signals, beside those that are.
pub(super) fn block(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: reads the set.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, set, std::ptr::null_mut()) }).map(|_| ())
}

/// Blocks nothing.
pub(super) fn unblock_all() -> io::Result<()> {
    let set = set_of(&[]);
    // SAFETY: reads the set.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) }).map(|_| ())
}
