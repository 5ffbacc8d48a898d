//! Places where a test can have this process die or stop.
//!
//! Only in builds with the feature `fault-points`: the environment variable `SYSMASTER_FAULT` names
//! a point and what happens there (`after-record:kill`, `before-turn:stop`), and the file named by
//! `SYSMASTER_FAULT_ONCE`, which must exist, is removed first: so it happens once, not in the next
//! manager too. Without that variable it happens each time. In all other builds a point is nothing.
//!
//! | Point | Where |
//! |---|---|
//! | `after-record` | a record is stored, what it makes safe is not done |
//! | `helper-forked` | a helper stands in its gate and is not recorded |
//! | `Load=a.service` … | a step of [`crate::crashes`] is in flight |
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
    let once = std::env::var_os("SYSMASTER_FAULT_ONCE");
    if once.is_some_and(|once| std::fs::remove_file(once).is_err()) {
        return;
    }
    let signal = match what {
        "kill" => platform::signal::SIGKILL,
        "stop" => platform::signal::SIGSTOP,
        "segv" => platform::signal::SIGSEGV,
        _ => return,
    };
    // The library's handler for stack overflows takes the first SIGSEGV for a mistake.
    for _ in 0..2 {
        let _ = platform::process::kill_child(platform::process::own_pid(), signal);
    }
}

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
