//! Places where a test can have this process die or stop.
//!
//! Only in builds with the feature `fault-points`: the environment variable `SYSMASTER_FAULT` names
//! a point and what happens there (`after-record:kill`, `before-turn:stop`), and the file named by
//! `SYSMASTER_FAULT_ONCE`, which must exist, is removed first: so it happens once, not in the next
//! manager too. Without that variable it happens each time; behind an `@` stands how often one has to
//! come by first (`turn:segv@40`). In all other builds a point is nothing.
//!
//! A *doctored* executable ([`doctored`]) has its variables with it, behind its end: so one file is a
//! bad version of another, or the next.
//!
//! | Point | Where |
//! |---|---|
//! | `after-record` | a record is stored, what it makes safe is not done |
//! | `helper-forked` | a helper stands in its gate and is not recorded |
//! | `Load=a.service` … | a step of [`crate::crashes`] is in flight |
//! | `start-NAME` | the program of this name begins |
//! | `turn` | the manager has done all there is to do for now |
//! | `before-ack` | exits are taken by everybody and not acknowledged |

/// Something may happen here.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    let Ok(wanted) = std::env::var("SYSMASTER_FAULT") else {
        return;
    };
    let Some((point, what)) = wanted.split_once(':') else {
        return;
    };
    if point != name {
        return;
    }
    let (what, often) = what.split_once('@').unwrap_or((what, ""));
    static PASSED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let passed = PASSED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if often.parse().is_ok_and(|often: u32| passed < often) {
        return;
    }
    let once = std::env::var_os("SYSMASTER_FAULT_ONCE");
    if once.is_some_and(|once| std::fs::remove_file(once).is_err()) {
        return;
    }
    let signal = match what {
        "kill" => platform::signal::SIGKILL,
        "stop" => platform::signal::SIGSTOP,
        "segv" => platform::signal::SIGSEGV,
        "exit0" => std::process::exit(0),
        "exit1" => std::process::exit(1),
        "hang" => loop {
            std::thread::park();
        },
        "eat" => return eat(),
        _ => return,
    };
    // The library's handler for stack overflows takes the first SIGSEGV for a mistake.
    for _ in 0..2 {
        let _ = platform::process::kill_child(platform::process::own_pid(), signal);
    }
}

/// Takes more and more memory, of the little this process is then allowed.
#[cfg(feature = "fault-points")]
fn eat() {
    let (_, most) =
        platform::child::limit(platform::child::Resource::AddressSpace).unwrap_or_default();
    let _ = platform::child::set_limit(platform::child::Resource::AddressSpace, 64 << 20, most);
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
    }
}

/// If lines `NAME VARIABLE=VALUE` stand behind the end of this executable, executes it again with the
/// variables of the name it is called by; each once.
#[cfg(feature = "fault-points")]
pub fn doctored(name: &str) {
    use std::os::unix::process::CommandExt;
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
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .collect();
    if !missing.is_empty() {
        let mut words = std::env::args_os();
        let mut again = std::process::Command::new("/proc/self/exe");
        again.arg0(words.next().unwrap_or_default()).args(words);
        let _ = again.envs(missing).exec();
    }
}

/// There is nothing behind it.
#[cfg(not(feature = "fault-points"))]
pub fn doctored(_name: &str) {}

/// Nothing happens here.
#[cfg(not(feature = "fault-points"))]
pub fn point(_name: &str) {}

/// A step is in flight with something: the point `Load=a.service`, say; spaces are `_`.
#[cfg(feature = "fault-points")]
pub fn point_at(step: crate::crashes::Step, with: &str) {
    point(&format!("{step:?}={}", with.replace(' ', "_")));
}

/// A number that a test wants in place of a constant.
#[cfg(feature = "fault-points")]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// There is none.
#[cfg(not(feature = "fault-points"))]
pub fn number(_name: &str) -> Option<u64> {
    None
}

/// Nothing happens here.
#[cfg(not(feature = "fault-points"))]
pub fn point_at(_step: crate::crashes::Step, _with: &str) {}
