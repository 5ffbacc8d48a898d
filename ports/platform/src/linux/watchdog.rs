//! Hardware watchdogs, by the kernel's interface of `/dev/watchdog` (its Documentation/watchdog/watchdog-api.rst).
//!
//! Opening the device arms it. Closing it disarms it only if the letter `V` was written last
//! ([`disarm`]), and not even then if the driver was told never to (`nowayout`). It can be open once.
//! Any of this may sleep, behind a slow bus for long, so it is meant for a child.

use super::sys::{self, check};
use super::{fd, files};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

// The numbers of the interface; the same on every architecture we are built for.
const GET_SUPPORT: u32 = 0x8028_5700;
const GET_BOOT_STATUS: u32 = 0x8004_5702;
const SET_OPTIONS: u32 = 0x8004_5704;
const SET_TIMEOUT: u32 = 0xc004_5706;
const GET_TIMEOUT: u32 = 0x8004_5707;
const SET_PRETIMEOUT: u32 = 0xc004_5708;
/// In [`SET_OPTIONS`]: switch it on.
const ENABLE: c_int = 2;
/// In the support and in the boot status: the machine was reset by it.
const CARD_RESET: u32 = 0x20;
/// In the support: warns before it resets.
const HAS_PRETIMEOUT: u32 = 0x200;

/// `struct watchdog_info`.
#[repr(C)]
struct Support {
    options: u32,
    firmware: u32,
    identity: [u8; 32],
}

/// What is wanted of a device. Seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// It resets after so long; 0: as it is.
    pub timeout: u32,
    /// It warns so long before that; 0: never.
    pub pretimeout: u32,
    /// What is done at the warning, by the name of the kernel's governor; empty: as it is.
    pub governor: Box<str>,
}

/// What came of it. Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Armed {
    /// It resets after so long.
    pub timeout: u32,
    /// It warns so long before that; 0: never.
    pub pretimeout: u32,
    /// It has reset the machine before this boot.
    pub has_reset: bool,
    /// The governor was taken, or none was wanted.
    pub governed: bool,
}

/// Opens the device, which arms it. Anything that is none is refused, and not waited for.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = files::c_path(path)?;
    let device = sys::open(&path, libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0)?;
    if support(&device).is_err() {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    Ok(device)
}

/// Sets an open device. What it cannot do is left out, and shows in the result. Fails only where it
/// does not even tell its timeout.
pub fn set(device: &OwnedFd, wanted: &Wanted) -> io::Result<Armed> {
    let support = support(device)?;
    let mut armed = Armed::default();
    if wanted.timeout != 0 {
        // What it was set to is read below: drivers round, and this number may be refused.
        let _ = number(device, SET_TIMEOUT, wanted.timeout);
    }
    let _ = number(device, SET_OPTIONS, ENABLE as u32);
    armed.timeout = number(device, GET_TIMEOUT, 0)?;
    if support.options & HAS_PRETIMEOUT != 0 && wanted.pretimeout < armed.timeout {
        // The governor first: from the next call on it may be needed.
        armed.governed = wanted.governor.is_empty() || govern(device, &wanted.governor).is_ok();
        armed.pretimeout = number(device, SET_PRETIMEOUT, wanted.pretimeout).unwrap_or(0);
    }
    armed.has_reset = number(device, GET_BOOT_STATUS, 0).unwrap_or(0) & CARD_RESET != 0;
    let _ = fd::write(device, b"\0");
    Ok(armed)
}

/// Tells the device that its end is intended. It is off when the last descriptor is closed.
pub fn disarm(device: &OwnedFd) {
    let _ = fd::write(device, b"V");
}

fn govern(device: &OwnedFd, governor: &str) -> io::Result<()> {
    let number = files::stat_fd(device.as_fd().as_raw_fd())?.st_rdev;
    let (major, minor) = (libc::major(number), libc::minor(number));
    let path = format!("/sys/dev/char/{major}:{minor}/pretimeout_governor");
    files::write_kernel_file(&files::c_path(Path::new(&path))?, governor.as_bytes())
}

fn support(device: &OwnedFd) -> io::Result<Support> {
    let mut support = Support {
        options: 0,
        firmware: 0,
        identity: [0; 32],
    };
    // SAFETY: the request writes one `watchdog_info`, or fails on what is no watchdog.
    check(unsafe { libc::ioctl(device.as_raw_fd(), GET_SUPPORT as _, &raw mut support) })?;
    Ok(support)
}

/// A request that reads, writes or exchanges one number.
fn number(device: &OwnedFd, request: u32, value: u32) -> io::Result<u32> {
    let mut value = c_int::try_from(value).unwrap_or(c_int::MAX);
    // SAFETY: each of these requests takes a pointer to one int.
    check(unsafe { libc::ioctl(device.as_raw_fd(), request as _, &raw mut value) })?;
    Ok(u32::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_watchdog_is_refused() {
        let error = open(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert!(open(Path::new("/dev/no-such-watchdog")).is_err());
        let fifo = std::env::temp_dir().join(format!("watchdog-{}", std::process::id()));
        let path = files::c_path(&fifo).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        assert!(open(&fifo).is_err(), "and does not wait for a reader");
        std::fs::remove_file(fifo).unwrap();
    }
}
