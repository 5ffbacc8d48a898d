//! Places where a test can have the helper die or stop.
//!
//! Only in debug builds and with the feature `fault-points`, by the manager's convention: the
//! variable `SYSMASTER_FAULT` names a point and what happens there (`slot-claimed:kill`,
//! `exit-peeked:stop`), and the file named by `SYSMASTER_FAULT_ONCE`, which must exist, is removed
//! first: so it happens once, not in the next helper too. In all other builds a point is nothing.
//!
//! | Point | Who comes by, and where |
//! |---|---|
//! | `slot-claimed` | the helper: the slot announces a fork that has not been made |
//! | `forked` | the helper: the child exists, nothing of it is on record |
//! | `child-born` | the child: it has not taken its slot |
//! | `slot-filled` | the child: it has taken its slot, nothing is set up |
//! | `before-exec` | the child: everything is set up |
//! | `exit-peeked` | the helper: it has seen an exit that is on no record |
//! | `notified` | the helper: what a notification says is on record, it is still in its socket |
//! | `exit-recorded` | the helper: the exit is in the slot, not in the unit's record |
//!
//! It is always the helper that is hit; a child goes on 50 ms later.

/// Bytes that a test's next version has behind each record.
#[cfg(any(debug_assertions, feature = "fault-points"))]
pub fn appended() -> usize {
    let number = std::env::var("SYSMASTER_APPENDED").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// None.
#[cfg(not(any(debug_assertions, feature = "fault-points")))]
pub fn appended() -> usize {
    0
}

/// The helper itself comes by.
#[cfg(any(debug_assertions, feature = "fault-points"))]
pub fn point(name: &str) {
    if let Some(signal) = chosen(name) {
        let _ = platform::process::kill_child(platform::process::own_pid(), signal);
    }
}

/// A child of the helper comes by: the helper is hit, the child goes on a little later.
#[cfg(any(debug_assertions, feature = "fault-points"))]
pub fn point_in_child(name: &str) {
    if let Some(signal) = chosen(name) {
        let _ = platform::process::kill_child(platform::process::parent_pid(), signal);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
fn chosen(name: &str) -> Option<i32> {
    let wanted = std::env::var("SYSMASTER_FAULT").ok()?;
    let (point, what) = wanted.split_once(':')?;
    let once = std::env::var_os("SYSMASTER_FAULT_ONCE")?;
    if point != name || std::fs::remove_file(once).is_err() {
        return None;
    }
    match what {
        "kill" => Some(platform::signal::SIGKILL),
        "stop" => Some(platform::signal::SIGSTOP),
        "segv" => Some(platform::signal::SIGSEGV),
        _ => None,
    }
}

/// Nothing happens here.
#[cfg(not(any(debug_assertions, feature = "fault-points")))]
#[inline(always)]
pub fn point(_: &str) {}

/// Nothing happens here.
#[cfg(not(any(debug_assertions, feature = "fault-points")))]
#[inline(always)]
pub fn point_in_child(_: &str) {}
