//! Everything that makes file systems clean, in the last step of a shutdown.
//!
//! Each single step that may sleep for ever (a dead server, a FUSE file system nobody serves) is
//! done in a child of its own with a deadline; what hangs is left behind and the rest is done all
//! the same. init has let go of the kept descriptors before: they hold file systems busy.
//!
//! Order: swap off, unmount from the last mounted to the first, in passes as long as a pass achieves
//! something (a loop device sits on a file system that can only go after it), detach loop devices,
//! remove mapped devices, make read-only what is left, sync; then back to the initramfs if it left
//! a `/run/initramfs/shutdown`.

use super::{INITRAMFS, roots, status_of, within};
use crate::procfs;
use crate::say::{
    self,
    Arg::{B, E},
};
use crate::sys;
use crate::text::join;
use core::ffi::CStr;

/// For one step. Long enough to write out what one file system has dirty on slow flash is what
/// `sync` before it is for; an unmount after it is short.
const STEP_MS: u64 = 4000;
/// `sync` itself.
const SYNC_MS: u64 = 20_000;
/// Passes over the mount table at most.
const PASSES: usize = 8;
/// Mount points that are not unmounted, with all below them: the API file systems (nothing of theirs
/// is on a disk). Of `/run` only itself, because the initramfs may be a directory in it.
const API: [&[u8]; 5] = [
    b"/proc",
    b"/sys",
    b"/dev",
    b"/run/initramfs",
    b"/sys/fs/cgroup",
];

/// Does it all.
pub fn everything() -> i32 {
    within(SYNC_MS, sync);
    let Some(table) = sys::scratch() else {
        return 1;
    };
    swap_off(table);
    for _ in 0..PASSES {
        let done = unmount_pass(table);
        detach_devices();
        if done == 0 {
            break;
        }
    }
    read_only_pass(table);
    within(SYNC_MS, sync);
    if !roots::has_initramfs() {
        return 0;
    }
    match roots::back_to_initramfs() {
        Ok(()) => INITRAMFS,
        Err(error) => {
            say::error("cannot go back to the initramfs: %", &[E(error)]);
            0
        }
    }
}

fn sync() -> i32 {
    sys::sync();
    0
}

fn swap_off(table: &mut [u8]) {
    let Ok(swaps) = sys::read_file(c"/proc/swaps", table) else {
        return;
    };
    for line in swaps.split(|byte| *byte == b'\n').skip(1) {
        let escaped = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let mut buf = [0u8; 512];
        if let Some(path) = procfs::unescape(escaped, &mut buf)
            && let Some(path) = join(&[path]).whole()
            && !path.is_empty()
        {
            within(STEP_MS, || {
                sys::swap_off(path);
                0
            });
        }
    }
}

fn is_api(path: &[u8]) -> bool {
    path == b"/"
        || path == b"/run"
        || API.iter().any(|api| {
            path.strip_prefix(*api)
                .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        })
}

/// Calls `each` with every mount point that is ours to care for, the last mounted first.
fn each_mount(table: &mut [u8], each: &mut dyn FnMut(&CStr)) {
    let Ok(mounts) = sys::read_file(c"/proc/self/mountinfo", table) else {
        return;
    };
    for line in mounts.rsplit(|byte| *byte == b'\n') {
        let Some((escaped, _kind)) = procfs::mount(line) else {
            continue;
        };
        // A path of the kernel's maximal length, and the NUL that the array begins with.
        let mut buf = [0u8; 4097];
        let room = buf.get_mut(..4096).unwrap_or_default();
        let Some(path) = procfs::unescape(escaped, room) else {
            continue;
        };
        if is_api(path) {
            continue;
        }
        each(sys::until_nul(&buf));
    }
}

fn unmount_pass(table: &mut [u8]) -> usize {
    let mut done = 0;
    each_mount(table, &mut |path| {
        let flags = libc::UMOUNT_NOFOLLOW;
        if within(STEP_MS, || status_of(sys::unmount(path, flags))) {
            done += 1;
        }
    });
    done
}

fn read_only_pass(table: &mut [u8]) {
    let flags = (libc::MS_REMOUNT | libc::MS_RDONLY) as u32;
    let again = |path: &CStr| status_of(sys::mount(c"none", path, c"", flags, c""));
    each_mount(table, &mut |path| {
        say::warning("could not unmount %", &[B(path.to_bytes())]);
        if !within(STEP_MS, || again(path)) {
            // A server that does not answer: cut it off, so that nothing else waits for it.
            let force = libc::MNT_FORCE | libc::MNT_DETACH;
            within(STEP_MS, || status_of(sys::unmount(path, force)));
        }
    });
    within(STEP_MS, || again(c"/"));
}

fn detach_devices() {
    within(STEP_MS, || {
        sys::each_name(c"/sys/block", 4096, |name| {
            let used = join(&[b"/sys/block/", name.to_bytes(), b"/loop/backing_file"]);
            if name.to_bytes().starts_with(b"loop")
                && sys::exists(used.as_c())
                && let Ok(fd) = sys::open(
                    join(&[b"/dev/", name.to_bytes()]).as_c(),
                    libc::O_RDONLY | libc::O_NONBLOCK,
                )
            {
                sys::detach_loop(fd);
                sys::close(fd);
            }
        });
        if let Ok(fd) = sys::open(c"/dev/mapper/control", libc::O_RDWR) {
            sys::remove_mapped_devices(fd);
            sys::close(fd);
        }
        0
    });
}

#[cfg(test)]
mod tests {
    use super::is_api;

    #[test]
    fn api_file_systems_stay() {
        for path in [
            "/",
            "/proc",
            "/sys",
            "/sys/fs/cgroup",
            "/dev/pts",
            "/run",
            "/run/initramfs",
        ] {
            assert!(is_api(path.as_bytes()), "{path}");
        }
        for path in [
            "/home",
            "/development",
            "/run/media",
            "/srv/proc",
            "/run/initramfsx",
        ] {
            assert!(!is_api(path.as_bytes()), "{path}");
        }
    }
}
