//! Small helpers around raw system calls: results, retries, and paths without the heap.

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The result of a call that says -1 for failure.
pub fn check<T: Copy + PartialEq + From<i8>>(result: T) -> io::Result<T> {
    if result == T::from(-1) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The descriptor a call made, or its error.
pub fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let raw = check(result)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// As [`owned`], for calls made by number.
pub fn owned_long(result: libc::c_long) -> io::Result<OwnedFd> {
    owned(libc::c_int::try_from(result).unwrap_or(-1))
}

/// Whether the kernel does not have the call (or a filter hides it).
pub fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}

/// Whether a non-blocking call would have had to wait.
pub fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Repeats a call as long as signals interrupt it.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// `/proc/<pid>/<file>` on the stack.
pub struct ProcPath {
    bytes: [u8; 48],
}

impl ProcPath {
    /// Builds the path; `file` longer than 24 bytes is cut off.
    pub fn new(pid: u32, file: &str) -> Self {
        let mut path = Self { bytes: [0; 48] };
        let mut digits = [0u8; 10];
        let text = decimal(pid, &mut digits);
        let parts = b"/proc/"
            .iter()
            .chain(text)
            .chain(b"/")
            .chain(file.as_bytes().iter().take(24));
        for (to, from) in path.bytes.iter_mut().zip(parts) {
            *to = *from;
        }
        path
    }

    /// As a C string.
    pub fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// The decimal digits of a number, without `core::fmt`.
pub fn decimal(number: u32, buffer: &mut [u8; 10]) -> &[u8] {
    let mut rest = number;
    let mut used = 0;
    for slot in buffer.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    buffer.get(10 - used..).unwrap_or(&[])
}

/// Opens a path; close-on-exec is added. (By `openat`: musl's `open` asks for close-on-exec a second time, for kernels
/// from before 2.6.23.)
pub fn open(path: &CStr, flags: libc::c_int, mode: libc::mode_t) -> io::Result<OwnedFd> {
    retry(|| {
        // SAFETY: `path` is a C string; the call makes a descriptor and touches nothing of ours.
        owned(unsafe {
            libc::openat(
                libc::AT_FDCWD,
                path.as_ptr(),
                flags | libc::O_CLOEXEC,
                libc::c_uint::from(mode),
            )
        })
    })
}

/// Reads the beginning of a file into a buffer of the caller; returns what was read.
pub fn read_start<'a>(path: &CStr, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let file = open(path, libc::O_RDONLY | libc::O_NOCTTY, 0)?;
    let got = super::fd::read(&file, buffer)?;
    Ok(buffer.get(..got).unwrap_or(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_paths() {
        let mut buffer = [0; 10];
        assert_eq!(decimal(0, &mut buffer), b"0");
        assert_eq!(decimal(u32::MAX, &mut buffer), b"4294967295");
        assert_eq!(
            ProcPath::new(4_294_967_295, "oom_score_adj").as_c(),
            c"/proc/4294967295/oom_score_adj"
        );
    }
}
