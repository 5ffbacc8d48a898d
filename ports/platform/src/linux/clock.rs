//! The two clocks: time since boot for all logic, wall time for people.
//!
//! Both are 64 bits of microseconds on every machine. On 32-bit machines the C library's
//! `timespec` may end in 2038, so there the 64-bit system call is made directly, and the old one
//! only on kernels before 5.1, which do not have it.

/// Boot time includes the time a machine was suspended, unlike the monotonic clock.
const BOOTTIME: libc::c_int = 7;
const REALTIME: libc::c_int = 0;
const MONOTONIC: libc::c_int = 1;

/// Microseconds since boot, suspension included. Never goes back, never jumps. 0 is only returned
/// where the kernel has no such clock.
pub fn now() -> u64 {
    micros(read(BOOTTIME))
}

fn micros((seconds, nanos): (i64, i64)) -> u64 {
    (seconds.max(0) as u64)
        .saturating_mul(1_000_000)
        .saturating_add(nanos as u64 / 1_000)
}

/// How long of [`now`] this machine was suspended, in microseconds. Never more than it was: who is interrupted between
/// the two clocks finds less.
pub fn suspended() -> u64 {
    let boot = now();
    boot.saturating_sub(micros(read(MONOTONIC)))
}

/// From how long on it counts that the machine was suspended: less than this, nobody's time was short for it.
const NAP: u64 = 100_000;

/// How long it was suspended since `known` of it was [`suspended`]; then the rest is known, too.
pub fn slept(known: &mut u64) -> Option<u64> {
    let span = suspended().saturating_sub(*known);
    (span >= NAP).then(|| {
        *known += span;
        span
    })
}

/// Microseconds since 1970, as the machine believes. For people and calendars, not for logic.
pub fn wall() -> i64 {
    let (seconds, nanos) = read(REALTIME);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1_000)
}

#[cfg(target_pointer_width = "64")]
fn read(clock: libc::c_int) -> (i64, i64) {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the timespec it is given. Goes through the vDSO: no system call.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec, time.tv_nsec)
}

#[cfg(target_pointer_width = "32")]
fn read(clock: libc::c_int) -> (i64, i64) {
    /// `clock_gettime64`, the same number on every 32-bit architecture.
    const CLOCK_GETTIME64: libc::c_long = 403;
    let mut time = [0i64; 2];
    // SAFETY: the kernel writes two 64-bit numbers, which is what it is given room for.
    if unsafe { libc::syscall(CLOCK_GETTIME64, clock, time.as_mut_ptr()) } == 0 {
        let [seconds, nanos] = time;
        return (seconds, nanos);
    }
    let mut old = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the timespec it is given.
    unsafe { libc::clock_gettime(clock, &mut old) };
    (i64::from(old.tv_sec), i64::from(old.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_advances_and_agrees_with_the_kernel() {
        let before = now();
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        let after = now();
        assert!(before <= after);
        // Namespaces may offset the boot clock; /proc/uptime is offset with it. Its unit is 10 ms.
        assert!(
            uptime * 1e6 + 20_000.0 >= before as f64,
            "{uptime} {before}"
        );
        assert!(uptime * 1e6 <= after as f64 + 20_000.0, "{uptime} {after}");
    }

    #[test]
    fn wall_time_is_this_century() {
        let std = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert!((wall() - std.as_micros() as i64).abs() < 5_000_000);
    }
}
