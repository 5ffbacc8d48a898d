//! Places where a test can have one of our processes die or stop, or do without a safeguard.
//!
//! Only in debug builds and with the feature `fault-points`; in all others every function here is nothing.
//! What is wanted is said in the environment:
//!
//! | Variable | Means |
//! |---|---|
//! | `SYSMASTER_FAULT=slot-claimed:kill` | at this point: `kill`, `stop` or `segv` |
//! | `SYSMASTER_FAULT_ONCE=/file` | only if this file exists, which is removed: once, not in each successor too |
//! | `SYSMASTER_BOUNDARIES=/directory` | die at the n-th effect: see [`boundary`] |
//! | `SYSMASTER_WITHOUT=records` | see [`without`] |
//!
//! | Point | Who comes by, and where |
//! |---|---|
//! | `after-record` | the manager: a record is stored, what it makes safe is not done |
//! | `helper-forked` | the manager: a helper stands in its gate and is not recorded |
//! | `before-ack` | the manager: exits are taken by everybody and not acknowledged |
//! | `Load=a.service` … | the manager: a step of it is in flight; spaces are `_` |
//! | `slot-claimed` | the service helper: the slot announces a fork that has not been made |
//! | `forked` | the service helper: the child exists, nothing of it is on record |
//! | `child-born` | its child: it has not taken its slot |
//! | `slot-filled` | its child: it has taken its slot, nothing is set up |
//! | `before-exec` | its child: everything is set up |
//! | `exit-peeked` | the service helper: it has seen an exit that is on no record |
//! | `exit-recorded` | the service helper: the exit is in the slot, not in the unit's record |
//! | `notified` | the service helper: what a notification says is on record, it is still in its socket |

#[cfg(any(debug_assertions, feature = "fault-points"))]
pub use real::*;

#[cfg(any(debug_assertions, feature = "fault-points"))]
mod real {
    use platform::process::{kill_child, own_pid, parent_pid};
    use platform::signal::{SIGKILL, SIGSEGV, SIGSTOP};
    use std::ffi::OsStr;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    /// The process itself comes by.
    pub fn point(name: &str) {
        if let Some(signal) = chosen(name) {
            // The library's handler for stack overflows takes the first SIGSEGV for a mistake.
            for _ in 0..2 {
                let _ = kill_child(own_pid(), signal);
            }
        }
    }

    /// As [`point`], with a name that is made for the purpose.
    pub fn point_at(name: impl FnOnce() -> String) {
        point(&name());
    }

    /// A child comes by: its parent is hit, the child goes on 50 ms later.
    pub fn point_in_child(name: &str) {
        if let Some(signal) = chosen(name) {
            let _ = kill_child(parent_pid(), signal);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn chosen(name: &str) -> Option<i32> {
        let wanted = std::env::var("SYSMASTER_FAULT").ok()?;
        let (point, what) = wanted.split_once(':')?;
        if point != name {
            return None;
        }
        let signal = match what {
            "kill" => SIGKILL,
            "stop" => SIGSTOP,
            "segv" => SIGSEGV,
            _ => return None,
        };
        let once = std::env::var_os("SYSMASTER_FAULT_ONCE");
        let gone = once.is_some_and(|once| std::fs::remove_file(once).is_err());
        (!gone).then_some(signal)
    }

    /// A number that a test wants in place of a constant.
    pub fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    /// Whether a test wants this safeguard left out, to see what it is good for.
    pub fn without(safeguard: &str) -> bool {
        static LEFT_OUT: OnceLock<String> = OnceLock::new();
        LEFT_OUT.get_or_init(|| std::env::var("SYSMASTER_WITHOUT").unwrap_or_default()) == safeguard
    }

    /// Something has been recorded, or is about to leave the process: another process's view of the
    /// world changes here. A file named as this program (`sysmaster`, `service`, `socket`) in the
    /// directory of `SYSMASTER_BOUNDARIES` says how many of these it may still pass; at the last it dies.
    /// The count goes on in its successor; 0 counts nothing.
    pub fn boundary() {
        static COUNTER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(path) = COUNTER.get_or_init(counter) else {
            return;
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let left: u64 = text.trim().parse().unwrap_or(0);
        if left > 0 {
            let _ = std::fs::write(path, (left - 1).to_string());
        }
        if left == 1 {
            let _ = kill_child(own_pid(), SIGKILL);
        }
    }

    fn counter() -> Option<PathBuf> {
        let directory = std::env::var_os("SYSMASTER_BOUNDARIES")?;
        let program = std::env::args_os().next()?;
        let name: &OsStr = Path::new(&program).file_name()?;
        Some(Path::new(&directory).join(name))
    }
}

#[cfg(not(any(debug_assertions, feature = "fault-points")))]
pub use nothing::*;

#[cfg(not(any(debug_assertions, feature = "fault-points")))]
mod nothing {
    #![allow(missing_docs)]

    #[inline(always)]
    pub fn point(_: &str) {}

    #[inline(always)]
    pub fn point_at(_: impl FnOnce() -> String) {}

    #[inline(always)]
    pub fn point_in_child(_: &str) {}

    #[inline(always)]
    pub fn number(_: &str) -> Option<u64> {
        None
    }

    #[inline(always)]
    pub fn without(_: &str) -> bool {
        false
    }

    #[inline(always)]
    pub fn boundary() {}
}
