//! The worker: a second executable that does for PID 1 whatever may sleep in the kernel and is not
//! needed to reap, to watch the manager, to keep descriptors or to talk.
//!
//! PID 1 keeps it open as a sealed copy in memory and starts it in a forked child with a deadline, so
//! neither a full, dead or unmounted file system nor an upgrade takes it away. It is told one thing
//! to do, says by its status how that went, and ends. It may sleep, fail and be killed; without it
//! init does what its own documentation says.
//!
//! | words | does | status |
//! |---|---|---|
//! | `early` | mounts the API file systems, reads the command line, prepares the kernel; writes [`crate::state::Settings`] to descriptor 3 | 0 |
//! | `unmount` | swap off, unmount, detach, read-only, sync; makes the initramfs of `/run/initramfs` the root if there is one | 0, or [`INITRAMFS`] |
//! | `root-check ROOT INIT` | looks whether there is an init in a new root | 0 or an error number |
//! | `root-move ROOT` | moves the API file systems to the new root and that to `/` | the same |
//! | `shell PATH` | becomes a shell on the console | the shell's, 127 if there is none |

use crate::say::{
    self,
    Arg::{B, E},
};
use crate::sys::{self, Start, Words};
use core::ffi::CStr;

mod early;
pub mod options;
mod roots;
mod unmount;

/// Status of `unmount`: the initramfs is the root again, its `/shutdown` is to be executed.
pub const INITRAMFS: i32 = 100;

/// Does what the words say.
///
/// # Safety
/// `list` must be what `main` was given, with `count` strings.
#[allow(unsafe_code)]
pub unsafe fn start(count: usize, list: *const *const core::ffi::c_char) -> i32 {
    // SAFETY: by our own contract.
    let start = unsafe { Start::new(count, list) };
    say::open(!early::is_container());
    let word = |index| start.argument(index).unwrap_or_default();
    match word(1).to_bytes() {
        b"early" => early::early(),
        b"unmount" => unmount::everything(),
        b"root-check" => roots::check(word(2), word(3)),
        b"root-move" => status_of(roots::move_root(word(2))),
        b"shell" => shell(&start, word(2)),
        _ => {
            let _ = sys::write(2, b"init-worker: started by init only\n");
            2
        }
    }
}

/// Becomes the rescue shell, on the console.
fn shell(start: &Start, path: &CStr) -> i32 {
    sys::default_signals();
    sys::new_session();
    if let Ok(console) = sys::open(c"/dev/console", libc::O_RDWR) {
        sys::controlling_terminal(console);
        for fd in 0..3 {
            let _ = sys::inherit_as(console, fd);
        }
    }
    let mut environment = sys::Environment::new();
    start.environment(b"SYSMASTER_", &mut environment);
    let error = sys::exec(path, &Words::of(&[c"-sh"]), &environment);
    say::error("rescue shell %: %", &[B(path.to_bytes()), E(error)]);
    127
}

/// Does `work` in a child, for at most so long; `true` if it ended with status 0.
fn within(limit_ms: u64, work: impl FnOnce() -> i32) -> bool {
    match sys::fork() {
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
fn status_of(result: Result<(), sys::Errno>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => error.clamp(1, 99),
    }
}
