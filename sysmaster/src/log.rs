//! The manager's own messages: to the kernel's log, where they survive us and reach the console of
//! a machine without anything else, with a limit on how many in what time.
//!
//! The limit is a bucket: 200 lines at once, refilled with 20 a second. What does not fit is
//! counted and told with the next line that does. Errors (level 3 and worse) always fit.

use platform::clock;
use platform::console::KernelLog;
use units::state::Micros;

/// Lines that may come at once.
const BURST: u64 = 200;
/// Microseconds for which one more line may be written.
const EACH: Micros = 50_000;

/// The log.
#[derive(Debug)]
pub struct Log {
    kernel: Option<KernelLog>,
    level: u8,
    bucket: Bucket,
}

/// Counts lines against the clock.
#[derive(Debug)]
struct Bucket {
    left: u64,
    filled: Micros,
    dropped: u64,
}

impl Bucket {
    /// Whether a line may be written now; if so, how many were dropped before it.
    fn take(&mut self, now: Micros, always: bool) -> Option<u64> {
        let gained = now.saturating_sub(self.filled) / EACH;
        if gained > 0 {
            self.left = (self.left + gained).min(BURST);
            self.filled = now;
        }
        if self.left == 0 && !always {
            self.dropped += 1;
            return None;
        }
        self.left = self.left.saturating_sub(1);
        Some(std::mem::take(&mut self.dropped))
    }
}

impl Log {
    /// Opens the log. Messages less urgent than `level` (0 to 7) are dropped; all are if `speak` is
    /// false.
    pub fn open(level: u8, speak: bool) -> Self {
        let bucket = Bucket {
            left: BURST,
            filled: clock::now(),
            dropped: 0,
        };
        Self {
            kernel: speak.then(KernelLog::open),
            level,
            bucket,
        }
    }

    /// Changes the level.
    pub fn set_level(&mut self, level: u8) {
        self.level = level;
    }

    /// Writes a line, with the unit it concerns if it is not empty.
    pub fn write(&mut self, level: u8, unit: &str, text: &str) {
        let Some(kernel) = &self.kernel else { return };
        if level > self.level {
            return;
        }
        let Some(dropped) = self.bucket.take(clock::now(), level <= 3) else {
            return;
        };
        if dropped > 0 {
            let line = format!("{dropped} messages were dropped: more than 20 a second");
            kernel.write(4, "sysmaster", &line);
        }
        if unit.is_empty() {
            kernel.write(level, "sysmaster", text);
        } else {
            kernel.write(level, "sysmaster", &format!("{unit}: {text}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut bucket = Bucket {
            left: BURST,
            filled: 0,
            dropped: 0,
        };
        let written = (0..1000)
            .filter(|_| bucket.take(0, false).is_some())
            .count() as u64;
        assert_eq!(written, BURST);
        assert_eq!(bucket.take(0, true), Some(800), "errors are always written");
        assert_eq!(bucket.take(EACH, false), Some(0));
        assert_eq!(bucket.take(EACH, false), None);
        for _ in 0..BURST {
            assert!(bucket.take(EACH + 1_000 * EACH, false).is_some());
        }
    }
}
