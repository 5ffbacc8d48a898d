//! Other roots: a new one to go over to, the initramfs to go back to.

use crate::sys;
use crate::text::join;
use core::ffi::CStr;

/// What is moved along to a new root.
const MOVED: [&CStr; 4] = [c"/dev", c"/proc", c"/sys", c"/run"];
/// Where the initramfs left itself, with its `/shutdown`.
const INITRAMFS: &CStr = c"/run/initramfs";

/// Whether there is an init in this root.
pub fn check(root: &CStr, init: &CStr) -> i32 {
    let path = join(&[root.to_bytes(), init.to_bytes()]);
    match path.whole() {
        Some(path) if sys::exists(path) => 0,
        _ => libc::ENOENT,
    }
}

/// Takes the API file systems along and makes `root` the root.
pub fn move_root(root: &CStr) -> Result<(), sys::Errno> {
    let moving = libc::MS_MOVE as u32;
    for from in MOVED {
        let to = join(&[root.to_bytes(), from.to_bytes()]);
        sys::mkdir(to.as_c(), 0o755);
        if sys::mount(from, to.as_c(), c"", moving, c"").is_err() {
            // Not mounted, or no place there: nothing may hold the old root.
            let _ = sys::unmount(from, libc::MNT_DETACH);
        }
    }
    sys::chdir(root)?;
    sys::mount(c".", c"/", c"", moving, c"")
}

/// Whether an initramfs waits to be gone back to.
pub fn has_initramfs() -> bool {
    sys::exists(c"/run/initramfs/shutdown")
}

/// Makes the initramfs the root again, the old root at `/oldroot` inside. The kernel changes the root
/// of every process that has the old one, PID 1 too.
pub fn back_to_initramfs() -> Result<(), sys::Errno> {
    let bind = libc::MS_BIND as u32;
    let private = (libc::MS_REC | libc::MS_PRIVATE) as u32;
    sys::mount(c"none", c"/", c"", private, c"")?;
    sys::mount(INITRAMFS, INITRAMFS, c"", bind, c"")?;
    sys::chdir(INITRAMFS)?;
    for name in [c"dev", c"proc", c"sys", c"run"] {
        sys::mkdir(name, 0o755);
        let from = join(&[b"/", name.to_bytes()]);
        sys::mount(from.as_c(), name, c"", bind | libc::MS_REC as u32, c"")?;
    }
    sys::mkdir(c"oldroot", 0o755);
    sys::pivot_root(c".", c"oldroot")
}
