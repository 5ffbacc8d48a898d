//! What the kernel says of itself and of the machine.

use super::files;
use std::path::Path;

/// Names of the running system, as `uname` prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Name of the machine in its network.
    pub host: String,
    /// Kernel release: `6.12.48+deb13-amd64`.
    pub release: String,
    /// Kernel version, with its build date.
    pub version: String,
    /// Instruction set: `x86_64`, `aarch64`, `armv7l`, `riscv64`.
    pub machine: String,
}

/// The names of the running system.
pub fn names() -> Names {
    // SAFETY: all-zero is a valid value to be written over.
    let mut raw: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: writes the structure it is given.
    if unsafe { libc::uname(&mut raw) } != 0 {
        return Names::default();
    }
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field
            .iter()
            .map(|c| *c as u8)
            .take_while(|c| *c != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Names {
        host: text(&raw.nodename),
        release: text(&raw.release),
        version: text(&raw.version),
        machine: text(&raw.machine),
    }
}

/// The kernel's command line; empty if it cannot be read.
pub fn command_line() -> String {
    small("/proc/cmdline")
}

/// This boot's random id in hex, without dashes; empty if it cannot be read.
pub fn boot_id() -> String {
    small("/proc/sys/kernel/random/boot_id").replace('-', "")
}

/// Clock ticks in a second: the unit of start and processor times.
pub fn ticks_per_second() -> u64 {
    // SAFETY: a plain query.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks)
        .ok()
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}

fn small(path: &str) -> String {
    let bytes = files::read_file(Path::new(path), 64 << 10).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_kernel() {
        let names = super::names();
        assert!(!names.release.is_empty() && !names.machine.is_empty());
        assert_eq!(super::boot_id().len(), 32);
        assert!(super::ticks_per_second() >= 1);
    }
}
