//! Messages for people: one line each, to the kernel's log, or in a container to standard error.
//!
//! Writing never waits: the kernel's log does not, and standard error is opened once more without
//! waiting. What cannot be written is lost; init has nothing better to do than to go on.

use crate::sys;
use crate::text::Text;
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

/// A line that is being written; [`Line::end`] sends it.
pub struct Line(Text);

impl Line {
    #[inline(never)]
    fn start(priority: &str) -> Line {
        let mut text = Text::new();
        text.text(priority).text("init: ");
        Line(text)
    }

    /// Text.
    #[inline(never)]
    pub fn s(&mut self, text: &str) -> &mut Line {
        self.0.text(text);
        self
    }

    /// Bytes from somewhere else; control characters are replaced.
    #[inline(never)]
    pub fn b(&mut self, bytes: &[u8]) -> &mut Line {
        for byte in bytes {
            let shown = if byte.is_ascii_control() { b'?' } else { *byte };
            self.0.bytes(&[shown]);
        }
        self
    }

    /// A number.
    #[inline(never)]
    pub fn n(&mut self, number: u64) -> &mut Line {
        self.0.num(number);
        self
    }

    /// An error number, in words where it is one of those that happen.
    #[inline(never)]
    pub fn e(&mut self, error: sys::Errno) -> &mut Line {
        let words = match error {
            libc::ENOENT => "no such file or directory",
            libc::EACCES => "permission denied",
            libc::EPERM => "operation not permitted",
            libc::ENOEXEC => "not an executable for this machine",
            libc::ENOSYS => "not in this kernel",
            libc::ENOMEM => "out of memory",
            libc::EAGAIN => "no more processes allowed",
            libc::EBUSY => "busy",
            libc::ENODEV => "no such device or file system",
            libc::EROFS => "read-only file system",
            libc::EINVAL => "invalid argument",
            _ => {
                self.0.text("error ").signed(error);
                return self;
            }
        };
        self.0.text(words);
        self
    }

    /// Sends the line.
    #[inline(never)]
    pub fn end(&mut self) {
        self.0.text("\n");
        let sink = SINK.load(Ordering::Relaxed);
        let bytes = self.0.as_bytes();
        if sink >= PLAIN {
            // Without the priority "<n>", which only the kernel understands.
            let _ = sys::write(sink - PLAIN, bytes.get(3..).unwrap_or_default());
        } else if sink >= 0 {
            let _ = sys::write(sink, bytes);
        }
    }
}

/// Something is broken.
pub fn error() -> Line {
    Line::start("<3>")
}

/// Something is missing or odd.
pub fn warning() -> Line {
    Line::start("<4>")
}

/// Worth knowing.
pub fn notice() -> Line {
    Line::start("<5>")
}
