//! File systems, devices, the end of the machine.

use super::*;

pub fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: u32,
    data: &CStr,
) -> Result<(), Errno> {
    let (source, target) = (source.as_ptr(), target.as_ptr());
    // SAFETY: all strings end in NUL.
    check(unsafe {
        call!(
            libc::SYS_mount,
            source,
            target,
            kind.as_ptr(),
            flags,
            data.as_ptr()
        )
    })
    .map(drop)
}

pub fn unmount(target: &CStr, flags: c_int) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { call!(libc::SYS_umount2, target.as_ptr(), flags) }).map(drop)
}

pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { call!(libc::SYS_chdir, path.as_ptr()) }).map(drop)
}

pub fn fchdir(fd: i32) -> Result<(), Errno> {
    // SAFETY: plain number.
    check(unsafe { call!(libc::SYS_fchdir, fd) }).map(drop)
}

pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { call!(libc::SYS_chroot, path.as_ptr()) }).map(drop)
}

pub fn pivot_root(new: &CStr, old: &CStr) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL.
    check(unsafe { call!(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) }).map(drop)
}

pub fn swap_off(path: &CStr) {
    // SAFETY: the string ends in NUL.
    unsafe { call!(libc::SYS_swapoff, path.as_ptr()) };
}

pub fn sync() {
    // SAFETY: no arguments.
    unsafe { call!(libc::SYS_sync) };
}

/// Detaches the loop device behind `fd`.
pub fn detach_loop(fd: i32) {
    const LOOP_CLR_FD: u32 = 0x4c01;
    // SAFETY: takes no argument.
    unsafe { call!(libc::SYS_ioctl, fd, LOOP_CLR_FD, 0) };
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
    unsafe {
        call!(
            libc::SYS_ioctl,
            control,
            DM_REMOVE_ALL,
            request.as_mut_ptr()
        )
    };
}

/// What [`reboot`] can do.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Reboot {
    Poweroff = libc::RB_POWER_OFF,
    Restart = libc::RB_AUTOBOOT,
    Halt = libc::RB_HALT_SYSTEM,
    Kexec = libc::RB_KEXEC,
    /// Not a reboot: from now on ctrl-alt-del is a SIGINT to PID 1.
    TellMe = libc::RB_DISABLE_CAD,
}

/// Comes back only if the kernel refuses (or, with [`Reboot::TellMe`], has done it).
pub fn reboot(how: Reboot) {
    const MAGIC: (u32, u32) = (0xfee1_dead, 672_274_793);
    // SAFETY: plain numbers.
    unsafe { call!(libc::SYS_reboot, MAGIC.0, MAGIC.1, how as i32 as u32, 0) };
}

/// Restarts with an argument for the firmware. Comes back if the kernel or the firmware refuses it.
pub fn reboot_with(argument: &CStr) {
    let magic = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
    let command = libc::LINUX_REBOOT_CMD_RESTART2;
    // SAFETY: the string ends in NUL; the others are the numbers that reboot(2) asks for.
    unsafe {
        call!(
            libc::SYS_reboot,
            magic.0,
            magic.1,
            command,
            argument.as_ptr()
        )
    };
}
