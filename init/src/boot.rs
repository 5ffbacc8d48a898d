//! From the first instruction to the loop.
//!
//! Order: descriptors 0 to 2, so that nothing else ever gets these numbers; the state of a former
//! self, if there is one; early mounts, in a child with a deadline, leaving what is mounted alone;
//! the log; the command line; limits; signals. In a container (not the first pid namespace) mounts,
//! the kernel's log, its parameters and cgroups are somebody else's and are left alone. What is
//! missing is said once and told to the manager; nothing in here can end the boot.

use crate::procfs;
use crate::say::{
    self,
    Arg::{B, E, N},
};
use crate::store;
use crate::supervise::Init;
use crate::switch;
use crate::sys::{self, Arguments};
use crate::text::join;
use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicBool, Ordering};
use init_wire::flags;

/// Descriptors that init needs for itself, besides those it keeps.
const OWN_FILES: u64 = 64;
/// Descriptors below this that were inherited are kept from children. A boot loader's kernel hands
/// over none; an initramfs's script or a test may.
const INHERITED: i32 = 256;
/// For all early mounts together: none of them touches a device.
const MOUNTS_MS: u64 = 10_000;
/// Datagrams that fit into a notification socket while nobody reads it (the kernel's default is 10).
const DGRAM_QLEN: &[u8] = b"512";

const NO_SUID: u32 = (libc::MS_NOSUID | libc::MS_NODEV) as u32;
const NO_EXEC: u32 = NO_SUID | libc::MS_NOEXEC as u32;

struct Early {
    target: &'static CStr,
    kind: &'static CStr,
    flags: u32,
    data: &'static CStr,
}

const fn early(
    target: &'static CStr,
    kind: &'static CStr,
    flags: u32,
    data: &'static CStr,
) -> Early {
    Early {
        target,
        kind,
        flags,
        data,
    }
}

/// In this order; `/proc` first, it tells what is mounted.
const EARLY: [Early; 7] = [
    early(c"/proc", c"proc", NO_EXEC, c""),
    early(c"/sys", c"sysfs", NO_EXEC, c""),
    early(c"/dev", c"devtmpfs", libc::MS_NOSUID as u32, c"mode=755"),
    early(
        c"/dev/pts",
        c"devpts",
        (libc::MS_NOSUID | libc::MS_NOEXEC) as u32,
        c"mode=620,gid=5",
    ),
    early(c"/dev/shm", c"tmpfs", NO_SUID, c"mode=1777"),
    early(c"/run", c"tmpfs", NO_SUID, c"mode=755"),
    early(c"/sys/fs/cgroup", c"cgroup2", NO_EXEC, c"nsdelegate"),
];

/// Whether a defect is to end in a reboot, for [`crate::defect`].
static REBOOT_ON_DEFECT: AtomicBool = AtomicBool::new(false);

/// Runs init. Comes back only where it is not process 1, with an exit status.
///
/// # Safety
/// `list` must be what `main` was given, with `count` strings.
#[allow(unsafe_code)]
pub unsafe fn start(count: usize, list: *const *const core::ffi::c_char) -> i32 {
    // SAFETY: by our own contract.
    let arguments = unsafe { Arguments::new(count, list) };
    if arguments.get(1) == Some(switch::CHECK) {
        return switch::check_state();
    }
    let Some(memories) = sys::memories() else {
        return 1;
    };
    if sys::pid() != 1 {
        let _ = sys::write(
            2,
            b"init: runs as process 1 only; sctl talks to the running system\n",
        );
        return 1;
    }
    let mut init = Init::new(memories, arguments);
    prepare(&mut init);
    init.run()
}

/// How [`crate::defect`] is to act.
pub fn rescue() -> crate::options::Rescue {
    if REBOOT_ON_DEFECT.load(Ordering::Relaxed) {
        crate::options::Rescue::Reboot
    } else {
        crate::options::Rescue::Shell
    }
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
    let state = switch::state_fd();
    sys::set_umask(0o022);
    sys::new_session();
    let _ = sys::chdir(c"/");
    match sys::catch_signals(on_fault) {
        Ok(fd) => init.signal_fd = fd,
        // Cannot happen on a kernel that runs anything; without it nothing is ever heard.
        Err(_) => crate::defect(),
    }
    init.container = is_container();
    if state.is_none() && !init.container {
        mount_early();
    }
    if placeholders > 0 {
        replace_placeholders(placeholders);
    }
    say::open(!init.container);
    init.flags |= what_is_missing() | if init.container { flags::CONTAINER } else { 0 };
    read_options(init);
    raise_limits(init);
    let now = sys::now();
    match state {
        Some(state) => init.restore(state, now),
        None => {
            complain_about(init.flags);
            if !init.container {
                prepare_kernel();
            }
        }
    }
    init.alone_since = now;
}

/// Makes sure that 0 to 2 are open; how many were not and hold something of no use.
fn occupy_standard() -> u32 {
    let mut placeholders = 0;
    for fd in 0..3 {
        if sys::is_open(fd) {
            continue;
        }
        // The lowest free number is this one.
        match sys::open(c"/dev/null", libc::O_RDWR) {
            Ok(got) => sys::set_cloexec(got, false),
            Err(_) => {
                if let Ok(got) = sys::memory_file() {
                    sys::set_cloexec(got, false);
                }
                placeholders |= 1 << fd;
            }
        }
    }
    placeholders
}

/// Now that there is a `/dev`: the console, or at least nothing.
fn replace_placeholders(placeholders: u32) {
    // Without waiting for a carrier; the flag is for this opening only.
    let console = sys::open(
        c"/dev/console",
        libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY,
    );
    let Ok(fd) = console.or_else(|_| sys::open(c"/dev/null", libc::O_RDWR)) else {
        return;
    };
    sys::set_blocking(fd);
    for standard in 0..3 {
        if placeholders & (1 << standard) != 0 {
            let _ = sys::dup2(fd, standard);
        }
    }
    sys::close(fd);
}

/// Whether this is not the machine's first pid namespace.
fn is_container() -> bool {
    let mut buf = [0; 64];
    match sys::read_link(c"/proc/self/ns/pid", &mut buf) {
        // The number of the first pid namespace is part of the kernel's interface (PROC_PID_INIT_INO).
        Some(name) => name != b"pid:[4026531836]",
        // A /proc that does not know us is that of another namespace.
        None => sys::exists(c"/proc/1") && !sys::exists(c"/proc/self/stat"),
    }
}

/// Mounts in a child.
fn mount_early() {
    let pid = match sys::fork() {
        Ok(0) => sys::exit(mount_all()),
        Ok(pid) => pid,
        Err(_) => {
            // No child to be had, so early: then here, it is that or nothing.
            mount_all();
            return;
        }
    };
    if sys::wait_for(pid, MOUNTS_MS).is_none() {
        sys::kill(pid, libc::SIGKILL);
    }
}

fn mount_all() -> i32 {
    let Some(table) = sys::scratch() else {
        return 1;
    };
    for entry in &EARLY {
        if sys::exists(c"/proc/self/mountinfo") && is_mounted(table, entry.target) {
            continue;
        }
        sys::mkdir(entry.target, 0o755);
        let name = entry.kind;
        if sys::mount(name, entry.target, entry.kind, entry.flags, entry.data).is_err() {
            // An older kernel may not know the options.
            let _ = sys::mount(name, entry.target, entry.kind, entry.flags, c"");
        }
    }
    0
}

fn is_mounted(table: &mut [u8], target: &CStr) -> bool {
    let Ok(mounts) = sys::read_file(c"/proc/self/mountinfo", table) else {
        return false;
    };
    let mut points = mounts
        .split(|byte| *byte == b'\n')
        .filter_map(procfs::mount);
    points.any(|(point, _)| point == target.to_bytes())
}

/// Looks for what the manager and the services will miss.
fn what_is_missing() -> u32 {
    let there = [
        (c"/proc/self/stat", flags::NO_PROC),
        (c"/sys/kernel", flags::NO_SYS),
        (c"/dev/null", flags::NO_DEV),
        (c"/dev/console", flags::NO_CONSOLE),
        (c"/run", flags::NO_RUN),
    ];
    let mut missing = 0;
    for (path, flag) in there {
        if !sys::exists(path) {
            missing |= flag;
        }
    }
    if !sys::is_cgroup2(c"/sys/fs/cgroup") {
        missing |= flags::NO_CGROUP2;
    }
    missing
}

fn read_options(init: &mut Init) {
    let mut wrong = 0;
    let options = &mut init.options;
    if !init.container {
        // The kernel's own limit is 2,048 bytes on most machines, 4,096 on some.
        let mut line = [0; 4096];
        if let Ok(line) = sys::read_file(c"/proc/cmdline", &mut line) {
            wrong += options.line(line);
        }
    }
    for index in 1..64 {
        let Some(word) = init.arguments.get(index) else {
            break;
        };
        wrong += u32::from(!options.word(word.to_bytes()));
    }
    if wrong > 0 {
        say::warning(
            "% sysmaster.* words on the kernel's command line are not understood and ignored",
            &[N(u64::from(wrong))],
        );
    }
    REBOOT_ON_DEFECT.store(
        options.rescue == crate::options::Rescue::Reboot,
        Ordering::Relaxed,
    );
    init.flags |= options.flags;
}

/// As many descriptors as the store can hold, or as many as we may have.
fn raise_limits(init: &mut Init) {
    let born = sys::file_limit();
    init.limits = born;
    let wanted = store::MAX as u64 + OWN_FILES;
    if born.0 < wanted && !sys::set_file_limit(wanted, born.1.max(wanted)) {
        sys::set_file_limit(born.1.min(wanted), born.1);
    }
    let (now, _) = sys::file_limit();
    let capacity = now.min(wanted).saturating_sub(OWN_FILES);
    if capacity < store::MAX as u64 {
        init.flags |= flags::FEW_FILES;
        say::warning("may keep % descriptors only", &[N(capacity)]);
    }
    init.memories.store.set_capacity(capacity as usize);
}

fn complain_about(missing: u32) {
    let names = [
        (flags::NO_PROC, "/proc"),
        (flags::NO_SYS, "/sys"),
        (flags::NO_DEV, "/dev"),
        (flags::NO_CONSOLE, "/dev/console"),
        (flags::NO_RUN, "/run"),
        (flags::NO_CGROUP2, "cgroup2 on /sys/fs/cgroup"),
    ];
    for (flag, name) in names {
        if missing & flag != 0 {
            say::warning("there is no %; going on without", &[B(name.as_bytes())]);
        }
    }
}

/// What the kernel is to do for us; not in a container, where it is somebody else's.
fn prepare_kernel() {
    sys::reboot(&sys::Reboot::TellMe);
    let _ = sys::write_file(c"/proc/sys/net/unix/max_dgram_qlen", DGRAM_QLEN);
    let root = c"/sys/fs/cgroup";
    if sys::is_cgroup2(root) {
        let leaf = join(&[root.to_bytes(), b"/init.scope"]);
        sys::mkdir(leaf.as_c(), 0o755);
        let procs = join(&[leaf.as_bytes(), b"/cgroup.procs"]);
        if let Err(error) = sys::write_file(procs.as_c(), b"1") {
            say::warning("cannot move to %: %", &[B(leaf.as_bytes()), E(error)]);
        }
    }
}
