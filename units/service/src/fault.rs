//! Places where tests have the helper killed: see [`crate::spawn`]. Nothing in release builds
//! without the feature `fault-points`.

/// The helper itself comes by.
#[cfg(any(debug_assertions, feature = "fault-points"))]
pub fn point(name: &str) {
    if chosen(name) {
        let own = platform::process::own_pid();
        let _ = platform::process::kill_child(own, platform::signal::SIGKILL);
    }
}

/// A child of the helper comes by: the helper is killed, the child goes on a little later.
#[cfg(any(debug_assertions, feature = "fault-points"))]
pub fn point_in_child(name: &str) {
    if chosen(name) {
        let helper = platform::process::parent_pid();
        let _ = platform::process::kill_child(helper, platform::signal::SIGKILL);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
fn chosen(name: &str) -> bool {
    if std::env::var("SYSMASTER_FAULT").ok().as_deref() != Some(name) {
        return false;
    }
    match std::env::var("SYSMASTER_FAULT_MARK") {
        Ok(mark) => platform::files::create_new(std::path::Path::new(&mark), 0o600).is_ok(),
        Err(_) => true,
    }
}

/// The helper itself comes by.
#[cfg(not(any(debug_assertions, feature = "fault-points")))]
#[inline(always)]
pub fn point(_: &str) {}

/// A child of the helper comes by.
#[cfg(not(any(debug_assertions, feature = "fault-points")))]
#[inline(always)]
pub fn point_in_child(_: &str) {}
