//! File systems, devices, the end of the machine; large memories.

use super::*;

pub fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: u32,
    data: &CStr,
) -> Result<(), Errno> {
    // SAFETY: all strings end in NUL.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags as _,
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

pub fn unmount(target: &CStr, flags: c_int) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { libc::umount2(target.as_ptr(), flags) }).map(drop)
}

pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

pub fn fchdir(fd: i32) -> Result<(), Errno> {
    // SAFETY: plain number.
    check(unsafe { libc::fchdir(fd) }).map(drop)
}

pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    check(unsafe { libc::chroot(path.as_ptr()) }).map(drop)
}

pub fn pivot_root(new: &CStr, old: &CStr) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL.
    let result = unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) };
    check(result as c_int).map(drop)
}

pub fn swap_off(path: &CStr) {
    // SAFETY: the string ends in NUL.
    unsafe { libc::swapoff(path.as_ptr()) };
}

pub fn sync() {
    // SAFETY: no arguments.
    unsafe { libc::sync() };
}

/// Detaches the loop device behind `fd`.
pub fn detach_loop(fd: i32) {
    const LOOP_CLR_FD: u32 = 0x4c01;
    // SAFETY: takes no argument.
    unsafe { libc::ioctl(fd, LOOP_CLR_FD as _, 0) };
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
    unsafe { libc::ioctl(control, DM_REMOVE_ALL as _, request.as_mut_ptr()) };
}

/// What [`reboot`] can do.
pub enum Reboot {
    Poweroff,
    Restart,
    Halt,
    Kexec,
    /// Not a reboot: from now on ctrl-alt-del is a SIGINT to PID 1.
    TellMe,
}

pub fn reboot(how: &Reboot) -> Errno {
    let command = match how {
        Reboot::Poweroff => libc::RB_POWER_OFF,
        Reboot::Restart => libc::RB_AUTOBOOT,
        Reboot::Halt => libc::RB_HALT_SYSTEM,
        Reboot::Kexec => libc::RB_KEXEC,
        Reboot::TellMe => libc::RB_DISABLE_CAD,
    };
    // SAFETY: a plain number.
    if unsafe { libc::reboot(command) } == 0 {
        0
    } else {
        errno()
    }
}

/// Restarts with an argument for the firmware. Comes back if the kernel or the firmware refuses it.
pub fn reboot_with(argument: &CStr) {
    // SAFETY: the string ends in NUL; the others are the numbers that reboot(2) asks for.
    unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
}

/// Whether a cgroup2 hierarchy is mounted here.
pub fn is_cgroup2(path: &CStr) -> bool {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the string ends in NUL; `stat` is valid for writing and all-zero is valid.
    unsafe {
        libc::statfs(path.as_ptr(), stat.as_mut_ptr()) == 0
            && stat.assume_init().f_type as u32 == 0x6367_7270
    }
}

/// `/proc/<pid>/<name>` of this process as a path.
pub fn own(name: &[u8]) -> Text {
    join(&[b"/proc/self/", name])
}

/// What is too large for the stack and all zero at the start: it takes no room in the file and no
/// memory until it is touched.
pub struct Memories {
    pub ring: crate::ring::Ring,
    pub store: crate::store::Store,
}

struct Once<T>(core::cell::UnsafeCell<T>, core::sync::atomic::AtomicBool);

// SAFETY: `take` hands the value out once.
unsafe impl<T> Sync for Once<T> {}

impl<T> Once<T> {
    const fn new(value: T) -> Once<T> {
        Once(
            core::cell::UnsafeCell::new(value),
            core::sync::atomic::AtomicBool::new(false),
        )
    }

    #[allow(clippy::mut_from_ref)] // handed out once
    fn take(&'static self) -> Option<&'static mut T> {
        if self.1.swap(true, core::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        // SAFETY: the flag was false, so this is the only reference there will ever be.
        Some(unsafe { &mut *self.0.get() })
    }
}

static MEMORIES: Once<Memories> = Once::new(Memories {
    ring: crate::ring::Ring::new(),
    store: crate::store::Store::new(),
});

/// Bytes of [`scratch`].
pub const SCRATCH: usize = 65_536;
static SCRATCH_MEMORY: Once<[u8; SCRATCH]> = Once::new([0; SCRATCH]);

/// The memories of PID 1; `None` the second time.
pub fn memories() -> Option<&'static mut Memories> {
    MEMORIES.take()
}

/// A large buffer for a forked child (PID 1 itself must not touch it, it would stay resident);
/// `None` the second time in one process.
pub fn scratch() -> Option<&'static mut [u8; SCRATCH]> {
    SCRATCH_MEMORY.take()
}
