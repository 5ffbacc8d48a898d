//! From the first instruction to the loop.
//!
//! Order: descriptors 0 to 2, so that nothing else ever gets these numbers; signals; the worker's
//! executable; the state of a former self, or, on a fresh boot, what the worker finds out while it
//! mounts the API file systems; the log; limits. What is missing is said once and told to the
//! manager; nothing in here can end the boot.

use crate::say::{
    self,
    Arg::{B, E, N},
};
use crate::state::{Facts, Settings};
use crate::store;
use crate::supervise::{INIT, Init};
use crate::switch;
use crate::sys::{self, Start};
use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicBool, Ordering};
use init_wire::{Before, flags};

/// Descriptors that init needs for itself, besides those it keeps.
const OWN_FILES: u64 = 64;
/// Descriptors below this that were inherited are kept from children. A boot loader's kernel hands
/// over none; an initramfs's script or a test may.
const INHERITED: i32 = 256;
/// For all of the worker's early part: none of it touches a device.
const EARLY_MS: u64 = 10_000;
/// The worker, and the variable that names another one.
const WORKER: &CStr = c"/usr/lib/sysmaster/init-worker";
const WORKER_VARIABLE: &[u8] = b"SYSMASTER_INIT_WORKER=";
/// The manager, where nobody says anything else; the rescue shell likewise.
pub const MANAGER: &CStr = c"/usr/lib/sysmaster/sysmaster";
const SHELL: &CStr = c"/bin/sh";

/// Whether a defect is to end in a reboot, for [`crate::defect`].
static REBOOT_ON_DEFECT: AtomicBool = AtomicBool::new(false);

/// Runs init. Comes back only where it is not process 1, with an exit status.
///
/// # Safety
/// `list` must be what `main` was given, with `count` strings.
#[allow(unsafe_code)]
pub unsafe fn start(count: usize, list: *const *const core::ffi::c_char) -> i32 {
    // SAFETY: by our own contract.
    let start = unsafe { Start::new(count, list) };
    let Some(init) = INIT.take() else {
        return 1;
    };
    if start.argument(1) == Some(switch::CHECK) {
        return switch::check_state(&start, init);
    }
    if sys::pid() != 1 {
        let _ = sys::write(
            2,
            b"init: runs as process 1 only; sctl talks to the running system\n",
        );
        return 1;
    }
    init.begin(start);
    prepare(init);
    init.run()
}

/// Whether [`crate::defect`] is to reboot.
pub fn reboot_on_defect() -> bool {
    REBOOT_ON_DEFECT.load(Ordering::Relaxed)
}

extern "C" fn on_fault(_signal: c_int) {
    crate::defect();
}

fn prepare(init: &mut Init) {
    let placeholders = occupy_standard();
    // Whatever else somebody left open is no business of any child's.
    for fd in 3..INHERITED {
        sys::set_cloexec(fd, true);
    }
    sys::set_umask(0o022);
    sys::new_session();
    let _ = sys::chdir(c"/");
    match sys::catch_signals(on_fault) {
        Ok(fd) => init.signal_fd = fd,
        // Cannot happen on a kernel that runs anything; without it nothing is ever heard.
        Err(_) => crate::defect(),
    }
    let worker = init.start.variable(WORKER_VARIABLE).unwrap_or(WORKER);
    let kept = sys::keep_executable(worker);
    init.worker_fd = kept.unwrap_or(-1);
    init.store.set_capacity(store::MAX);
    let restored = init.restore(sys::now());
    if !restored {
        init.facts.limits = sys::file_limit();
        early(init);
    }
    init.container = init.facts.settings.flags & flags::CONTAINER != 0;
    if placeholders > 0 {
        replace_placeholders(placeholders);
    }
    say::open(!init.container);
    if let Err(error) = kept {
        say::error(
            "no worker %: %; nothing is mounted or unmounted",
            &[B(worker.to_bytes()), E(error)],
        );
    }
    REBOOT_ON_DEFECT.store(init.facts.settings.reboot != 0, Ordering::Relaxed);
    raise_limits(init);
    init.alone_since = sys::now();
}

/// Makes sure that 0 to 2 are open; how many were not and hold something of no use.
fn occupy_standard() -> u32 {
    let mut placeholders = 0;
    for fd in 0..3 {
        if sys::is_open(fd) {
            continue;
        }
        // The lowest free number is this one.
        let got = sys::open(c"/dev/null", libc::O_RDWR).or_else(|_| {
            placeholders |= 1 << fd;
            sys::memory_file()
        });
        if let Ok(got) = got {
            sys::set_cloexec(got, false);
        }
    }
    placeholders
}

/// Now that there is a `/dev`: the console, or at least nothing.
fn replace_placeholders(placeholders: u32) {
    // Without waiting for a carrier; the flag is for this opening only.
    let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY;
    let console = sys::open(c"/dev/console", flags);
    let Ok(fd) = console.or_else(|_| sys::open(c"/dev/null", libc::O_RDWR)) else {
        return;
    };
    sys::set_blocking(fd);
    for standard in 0..3 {
        if placeholders & (1 << standard) != 0 {
            let _ = sys::inherit_as(fd, standard);
        }
    }
    sys::close(fd);
}

/// Has the worker do its early part and tell what it found; without one, or if it fails, the defaults
/// stay.
fn early(init: &mut Init) {
    if !asked(init) {
        let settings = &mut init.facts.settings;
        *settings = Facts::new().settings;
        copy(&mut settings.manager, MANAGER);
        copy(&mut settings.shell, SHELL);
    }
}

/// Whether the worker has told.
fn asked(init: &mut Init) -> bool {
    if init.worker_fd < 0 {
        return false;
    }
    let Ok((answer, theirs)) = sys::pipe() else {
        return false;
    };
    let forked = sys::fork();
    if forked == Ok(0) {
        let _ = sys::inherit_as(theirs, 3);
        init.become_worker(&[c"init-worker", c"early"]);
    }
    sys::close(theirs);
    let mut told = false;
    if let Ok(pid) = forked {
        if sys::wait_for(pid, EARLY_MS).is_none() {
            sys::kill(pid, libc::SIGKILL);
        } else {
            // The answer fits into a pipe at once.
            let room = core::slice::from_mut(&mut init.facts.settings);
            told = sys::read(answer, sys::bytes_of_mut(room)) == Ok(size_of::<Settings>());
        }
    }
    sys::close(answer);
    told
}

fn copy(path: &mut [u8], from: &CStr) {
    for (place, byte) in path.iter_mut().zip(from.to_bytes()) {
        *place = *byte;
    }
}

/// As many descriptors as the store can hold, or as many as we may have.
fn raise_limits(init: &mut Init) {
    let [soft, hard] = init.facts.limits;
    let wanted = store::MAX as u64 + OWN_FILES;
    if soft < wanted && !sys::set_file_limit([wanted, hard.max(wanted)]) {
        sys::set_file_limit([hard.min(wanted), hard]);
    }
    let [now, _] = sys::file_limit();
    let capacity = now.min(wanted).saturating_sub(OWN_FILES);
    if capacity < store::MAX as u64 {
        init.facts.settings.flags |= flags::FEW_FILES;
        say::warning("may keep % descriptors only", &[N(capacity)]);
    }
    init.store.set_capacity(capacity as usize);
}

impl Init {
    /// How the manager before this one died.
    pub fn before(&self) -> Before {
        let [number, status] = self.facts.before;
        Before::from_parts(number, status)
    }
}
