//! The console and the kernel's log: where a manager without a journal speaks. Writing never
//! waits: a line that does not fit at once is lost, and nothing else is.

use super::{fd, sys};
use std::os::fd::OwnedFd;

/// The longest line; the rest is cut off.
const MAX_LINE: usize = 1000;

/// The kernel's log.
#[derive(Debug)]
pub struct KernelLog {
    fd: Option<OwnedFd>,
}

impl KernelLog {
    /// Opens it; where there is none, lines go nowhere.
    pub fn open() -> Self {
        let flags = libc::O_WRONLY | libc::O_NOCTTY | libc::O_NONBLOCK;
        Self {
            fd: sys::open(c"/dev/kmsg", flags, 0).ok(),
        }
    }

    /// Writes a line, as `name: text`, with a syslog level (0 to 7). Line ends inside become
    /// spaces.
    pub fn write(&self, level: u8, name: &str, text: &str) {
        let Some(log) = &self.fd else { return };
        // The daemon facility, so that it can be told from the kernel's own.
        const DAEMON: u32 = 3 << 3;
        let mut digits = [0; 10];
        let priority = sys::decimal(DAEMON | u32::from(level & 7), &mut digits);
        let mut line = Vec::with_capacity(name.len() + text.len().min(MAX_LINE) + 13);
        line.push(b'<');
        line.extend_from_slice(priority);
        line.push(b'>');
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(b": ");
        line.extend(
            text.bytes()
                .take(MAX_LINE)
                .map(|c| if c == b'\n' { b' ' } else { c }),
        );
        // Without it the kernel waits for the rest of the line, and shows it to nobody until another comes.
        line.push(b'\n');
        // Full, not allowed, rate-limited: the line is lost.
        let _ = fd::write(log, &line);
    }
}

/// The system console.
#[derive(Debug)]
pub struct Console {
    fd: Option<OwnedFd>,
}

impl Console {
    /// Opens it without waiting for a carrier and without making it our terminal; where there is
    /// none, which is noted once a boot, lines go nowhere.
    pub fn open() -> Self {
        let flags = libc::O_WRONLY | libc::O_NOCTTY | libc::O_NONBLOCK;
        let fd = sys::open(c"/dev/console", flags, 0).ok();
        if fd.is_none() {
            super::degrade::note(super::degrade::Feature::Console);
        }
        Self { fd }
    }

    /// Writes bytes as they are; returns whether they all went out.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let Some(console) = &self.fd else {
            return false;
        };
        matches!(fd::write(console, bytes), Ok(put) if put == bytes.len())
    }
}
