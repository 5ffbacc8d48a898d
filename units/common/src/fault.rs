//! Places where a test can have one of our processes die or stop, or do without a safeguard.
//!
//! Only in debug builds and with the feature `fault-points`; in all others every function here is nothing.
//! What is wanted is said in the environment:
//!
//! | Variable | Means |
//! |---|---|
//! | `SYSMASTER_FAULT=slot-claimed:kill` | at this point: `kill`, `stop`, `segv`, `exit0`, `exit1`, `hang` or `eat` (memory) |
//! | `SYSMASTER_FAULT=turn:segv@40` | the same, when one has come by so often |
//! | `SYSMASTER_FAULT_ONCE=/file` | only if this file exists, which is removed: once, not in each successor too |
//! | `SYSMASTER_BOUNDARIES=/directory` | die at the n-th effect: see [`boundary`] |
//! | `SYSMASTER_WITHOUT=records` | see [`without`] |
//! | `SYSMASTER_APPENDED=8` | so many bytes stand behind each record, as a later version might have them |
//!
//! A *doctored* executable ([`doctored`]) has its variables with it, behind its end: so one file is a bad
//! version of another, or the next.
//!
//! | Point | Who comes by, and where |
//! |---|---|
//! | `start-NAME` | the program of this name begins |
//! | `turn` | the manager has done all there is to do for now |
//! | `after-record` | the manager: a record is stored, what it makes safe is not done |
//! | `helper-forked` | the manager: a helper stands in its gate and is not recorded |
//! | `before-ack` | the manager: exits are taken by everybody and not acknowledged |
//! | `Load=a.service` … | the manager: a step of it is in flight; spaces are `_` |
//! | `2=a.service` … | a helper: a message of this step ([`crate::runtime`]) is in flight with it |
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
    use platform::child::{Resource, limit, set_limit};
    use platform::process::{kill_child, own_pid, parent_pid};
    use platform::signal::{SIGKILL, SIGSEGV, SIGSTOP};
    use std::ffi::OsStr;
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The process itself comes by.
    pub fn point(name: &str) {
        match chosen(name).as_deref() {
            Some("exit0") => std::process::exit(0),
            Some("exit1") => std::process::exit(1),
            Some("hang") => loop {
                std::thread::park();
            },
            Some("eat") => eat(),
            Some(what) => {
                // The library's handler for stack overflows takes the first SIGSEGV for a mistake.
                for _ in 0..2 {
                    let _ = kill_child(own_pid(), signal(what));
                }
            }
            None => {}
        }
    }

    fn signal(what: &str) -> i32 {
        match what {
            "stop" => SIGSTOP,
            "segv" => SIGSEGV,
            _ => SIGKILL,
        }
    }

    /// Takes more and more memory, of the little this process is then allowed.
    fn eat() {
        let (_, most) = limit(Resource::AddressSpace).unwrap_or_default();
        let _ = set_limit(Resource::AddressSpace, 64 << 20, most);
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        loop {
            eaten.push(vec![1; 1 << 20]);
        }
    }

    /// If lines `NAME VARIABLE=VALUE` stand behind the end of this executable, executes it again with the
    /// variables of the name it is called by, in place of what they were.
    pub fn doctored(name: &str) {
        const BEHIND: &[u8] = b"\ndoctored:\n";
        let bytes = std::fs::read("/proc/self/exe").unwrap_or_default();
        let from = bytes.len().saturating_sub(4096);
        let tail = bytes.get(from..).unwrap_or_default();
        let Some(at) = tail.windows(BEHIND.len()).position(|at| at == BEHIND) else {
            return;
        };
        let text = String::from_utf8_lossy(tail.get(at + BEHIND.len()..).unwrap_or_default());
        let own = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.split_once('='));
        let missing: Vec<_> = own
            .filter(|(name, value)| std::env::var_os(name).is_none_or(|had| had != *value))
            .collect();
        if !missing.is_empty() {
            let mut words = std::env::args_os();
            let mut again = std::process::Command::new("/proc/self/exe");
            again.arg0(words.next().unwrap_or_default()).args(words);
            let _ = again.envs(missing).exec();
        }
    }

    /// As [`point`], with a name that is made for the purpose.
    pub fn point_at(name: impl FnOnce() -> String) {
        point(&name());
    }

    /// A child comes by: its parent is hit, the child goes on 50 ms later.
    pub fn point_in_child(name: &str) {
        if let Some(what) = chosen(name) {
            let _ = kill_child(parent_pid(), signal(&what));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// What is to happen at this point, if it is the one, and now.
    fn chosen(name: &str) -> Option<String> {
        let wanted = std::env::var("SYSMASTER_FAULT").ok()?;
        let (point, what) = wanted.split_once(':')?;
        if point != name {
            return None;
        }
        let (what, often) = what.split_once('@').unwrap_or((what, ""));
        static PASSED: AtomicU32 = AtomicU32::new(0);
        let passed = PASSED.fetch_add(1, Ordering::Relaxed);
        if often.parse().is_ok_and(|often: u32| passed < often) {
            return None;
        }
        let once = std::env::var_os("SYSMASTER_FAULT_ONCE").filter(|once| !once.is_empty());
        let gone = once.is_some_and(|once| std::fs::remove_file(once).is_err());
        (!gone).then(|| what.to_owned())
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
    pub fn doctored(_: &str) {}

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
