//! Messages for people: one line each, to the kernel's log, or in a container to standard error.
//!
//! Writing never waits: the kernel's log does not, and standard error is opened once more without
//! waiting. What cannot be written is lost; init has nothing better to do than to go on.

use crate::sys;
use crate::text::{Text, join};
use core::sync::atomic::{AtomicI32, Ordering};

/// Where lines go; −1 for nowhere. Positive: the kernel's log; from 1,000,000 on: a plain descriptor.
static SINK: AtomicI32 = AtomicI32::new(-1);
const PLAIN: i32 = 1_000_000;

/// Opens the way out. `kernel`: the kernel's log is ours.
pub fn open(kernel: bool) {
    let wanted = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    if kernel && let Ok(fd) = sys::open(c"/dev/kmsg", wanted) {
        SINK.store(fd, Ordering::Relaxed);
    } else if let Ok(fd) = sys::open(c"/proc/self/fd/2", wanted) {
        SINK.store(PLAIN + fd, Ordering::Relaxed);
    }
}

/// What stands in the place of a `%`.
pub enum Arg<'a> {
    /// A number.
    N(u64),
    /// Bytes from somewhere else; control characters are replaced.
    B(&'a [u8]),
    /// An error number, in words where it is one of those that happen.
    E(sys::Errno),
}

/// Something is broken.
pub fn error(text: &str, args: &[Arg<'_>]) {
    line(b"<3>", text, args);
}

/// Something is missing or odd.
pub fn warning(text: &str, args: &[Arg<'_>]) {
    line(b"<4>", text, args);
}

/// Worth knowing.
pub fn notice(text: &str, args: &[Arg<'_>]) {
    line(b"<5>", text, args);
}

#[inline(never)]
fn line(priority: &[u8; 3], text: &str, args: &[Arg<'_>]) {
    let mut line = join(&[priority, b"init: "]);
    let mut args = args.iter();
    for byte in text.as_bytes() {
        if *byte != b'%' {
            line.bytes(&[*byte]);
            continue;
        }
        match args.next() {
            Some(Arg::N(number)) => line.num(*number),
            Some(Arg::B(bytes)) => shown(&mut line, bytes),
            Some(Arg::E(error)) => words(&mut line, *error),
            None => line.bytes(b"?"),
        };
    }
    line.bytes(b"\n");
    // A plain descriptor gets no priority "<n>", which only the kernel understands; −1 gets nothing.
    let sink = SINK.load(Ordering::Relaxed);
    let (fd, skipped) = if sink >= PLAIN {
        (sink - PLAIN, priority.len())
    } else {
        (sink, 0)
    };
    let _ = sys::write(fd, line.as_bytes().get(skipped..).unwrap_or_default());
}

fn shown<'l>(line: &'l mut Text, bytes: &[u8]) -> &'l mut Text {
    for byte in bytes {
        line.bytes(&[if byte.is_ascii_control() { b'?' } else { *byte }]);
    }
    line
}

fn words(line: &mut Text, error: sys::Errno) -> &mut Text {
    let (mut said, mut known) = (false, false);
    for byte in WORDS {
        if *byte < b' ' {
            said = i32::from(*byte) == error;
            known |= said;
        } else if said {
            line.bytes(&[*byte]);
        }
    }
    if !known {
        line.bytes(b"error ").num(u64::from(error.unsigned_abs()));
    }
    line
}

/// What happens to people who build systems, each behind its number; everything else is looked up.
const WORDS: &[u8] = b"\x01operation not permitted\
\x02no such file or directory\
\x08not an executable for this machine\
\x0bno more processes allowed\
\x0dpermission denied\
\x10busy\
\x16invalid argument";
const _: () = assert!(
    libc::EPERM == 1
        && libc::ENOENT == 2
        && libc::ENOEXEC == 8
        && libc::EAGAIN == 11
        && libc::EACCES == 13
        && libc::EBUSY == 16
        && libc::EINVAL == 22
);
