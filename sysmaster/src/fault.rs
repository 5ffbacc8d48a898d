//! Places where a test can have this process die or stop.
//!
//! Only in builds with the feature `fault-points`: the environment variable `SYSMASTER_FAULT` names
//! a point and what happens there (`after-record:kill`, `before-turn:stop`), and the file named by
//! `SYSMASTER_FAULT_ONCE`, which must exist, is removed first: so it happens once, not in the next
//! manager too. In all other builds a point is nothing.
//!
//! | Point | Where |
//! |---|---|
//! | `after-record` | a record is stored, what it makes safe is not done |
//! | `helper-forked` | a helper stands in its gate and is not recorded |
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
    let Some(once) = std::env::var_os("SYSMASTER_FAULT_ONCE") else {
        return;
    };
    if point != name || std::fs::remove_file(once).is_err() {
        return;
    }
    let signal = match what {
        "kill" => platform::signal::SIGKILL,
        "stop" => platform::signal::SIGSTOP,
        "segv" => platform::signal::SIGSEGV,
        _ => return,
    };
    let _ = platform::process::kill_child(platform::process::own_pid(), signal);
}

/// Nothing happens here.
#[cfg(not(feature = "fault-points"))]
pub fn point(_name: &str) {}
