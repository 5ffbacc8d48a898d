//! Early boot: API file systems, what is missing, what the command line says, what the kernel is to
//! do for us. In a container (not the first pid namespace) mounts, the kernel's parameters and
//! cgroups are somebody else's and are left alone. What is missing is said once and told to the
//! manager; nothing in here can end the boot.

use super::options::{self, Options};
use crate::procfs;
use crate::say::{
    self,
    Arg::{B, N},
};
use crate::state::{PATH, Settings};
use crate::sys;
use crate::text::Text;
use core::ffi::CStr;
use init_wire::flags;

/// Where init expects the answer.
pub const ANSWER_FD: i32 = 3;
/// Datagrams that fit into a notification socket while nobody reads it (the kernel's default is 10).
const DGRAM_QLEN: &[u8] = b"512";

const NO_SUID: u32 = (libc::MS_NOSUID | libc::MS_NODEV) as u32;
const NO_EXEC: u32 = NO_SUID | libc::MS_NOEXEC as u32;
const NO_SUID_EXEC: u32 = (libc::MS_NOSUID | libc::MS_NOEXEC) as u32;

/// Target, type, flags, options. In this order; `/proc` first, it tells what is mounted.
const MOUNTS: [(&CStr, &CStr, u32, &CStr); 7] = [
    (c"/proc", c"proc", NO_EXEC, c""),
    (c"/sys", c"sysfs", NO_EXEC, c""),
    (c"/dev", c"devtmpfs", libc::MS_NOSUID as u32, c"mode=755"),
    (c"/dev/pts", c"devpts", NO_SUID_EXEC, c"mode=620,gid=5"),
    (c"/dev/shm", c"tmpfs", NO_SUID, c"mode=1777"),
    (c"/run", c"tmpfs", NO_SUID, c"mode=755"),
    (c"/sys/fs/cgroup", c"cgroup2", NO_EXEC, c"nsdelegate"),
];

/// What the manager and the services would miss, by a file that shows it.
const EXPECTED: [(&CStr, u32, &str); 6] = [
    (c"/proc/self/stat", flags::NO_PROC, "/proc"),
    (c"/sys/kernel", flags::NO_SYS, "/sys"),
    (c"/dev/null", flags::NO_DEV, "/dev"),
    (c"/dev/console", flags::NO_CONSOLE, "/dev/console"),
    (c"/run", flags::NO_RUN, "/run"),
    (
        c"/sys/fs/cgroup/cgroup.procs",
        flags::NO_CGROUP2,
        "cgroup2 on /sys/fs/cgroup",
    ),
];

/// Does it all, and writes the answer.
pub fn early() -> i32 {
    let container = is_container();
    if !container {
        mount_all();
        // Now there is a kernel's log to write to.
        say::open(true);
    }
    let mut options = Options::new();
    let wrong = read_options(&mut options, container);
    if wrong > 0 {
        say::warning(
            "% sysmaster.* words on the command line are not understood and ignored",
            &[N(u64::from(wrong))],
        );
    }
    let mut found = what_is_missing();
    if container {
        found |= flags::CONTAINER;
    } else {
        prepare_kernel(found);
    }
    let settings = Settings {
        flags: options.flags | found,
        reboot: u32::from(options.rescue == options::Rescue::Reboot),
        unmount: u32::from(options.unmount.unwrap_or(!container)),
        reboot_delay_ms: options.rescue_delay_ms as u32,
        manager: path(&options.manager),
        shell: path(&options.shell),
        discard_after_ms: options.discard_after_ms as u32,
        spare: 0,
    };
    let bytes = sys::bytes_of(core::slice::from_ref(&settings));
    i32::from(sys::write(ANSWER_FD, bytes) != Ok(bytes.len()))
}

/// A path (at most 511 bytes, the options see to it) and NULs.
fn path(text: &Text) -> [u8; PATH] {
    let mut path = [0; PATH];
    for (place, byte) in path.iter_mut().zip(text.as_bytes()) {
        *place = *byte;
    }
    path
}

/// Whether this is not the machine's first pid namespace.
pub fn is_container() -> bool {
    let mut buf = [0; 64];
    match sys::read_link(c"/proc/self/ns/pid", &mut buf) {
        // The number of the first pid namespace is part of the kernel's interface (PROC_PID_INIT_INO).
        Some(name) => name != b"pid:[4026531836]",
        // A /proc that does not know us is that of another namespace.
        None => sys::exists(c"/proc/1") && !sys::exists(c"/proc/self/stat"),
    }
}

fn mount_all() {
    let Some(table) = sys::scratch() else {
        return;
    };
    for (target, kind, flags, data) in MOUNTS {
        if sys::exists(c"/proc/self/mountinfo") && is_mounted(table, target) {
            continue;
        }
        sys::mkdir(target, 0o755);
        if sys::mount(kind, target, kind, flags, data).is_err() {
            // An older kernel may not know the options.
            let _ = sys::mount(kind, target, kind, flags, c"");
        }
    }
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

fn what_is_missing() -> u32 {
    let mut missing = 0;
    for (path, flag, name) in EXPECTED {
        if !sys::exists(path) {
            missing |= flag;
            say::warning("there is no %; going on without", &[B(name.as_bytes())]);
        }
    }
    missing
}

/// The kernel's command line, then init's own arguments; how many words of ours were wrong.
fn read_options(options: &mut Options, container: bool) -> u32 {
    let mut wrong = 0;
    // The kernel's own limit is 2,048 bytes on most machines, 4,096 on some.
    let mut line = [0; 4096];
    if !container && let Ok(line) = sys::read_file(c"/proc/cmdline", &mut line) {
        wrong += options.line(line);
    }
    if let Ok(words) = sys::read_file(c"/proc/1/cmdline", &mut line) {
        for word in words.split(|byte| *byte == 0).skip(1) {
            wrong += u32::from(!options.word(word));
        }
    }
    wrong
}

/// What the kernel is to do for us.
fn prepare_kernel(found: u32) {
    sys::reboot(sys::Reboot::TellMe);
    let _ = sys::write_file(c"/proc/sys/net/unix/max_dgram_qlen", DGRAM_QLEN);
    // Everybody's messages go to the kernel's log, and a boot has more of them than ten in five seconds. What the
    // command line says goes before this.
    let _ = sys::write_file(c"/proc/sys/kernel/printk_devkmsg", b"on\n");
    if found & flags::NO_CGROUP2 == 0 {
        // The manager is born in there; init moves in when the machine is idle.
        sys::mkdir(crate::manager::GROUP, 0o755);
    }
}
