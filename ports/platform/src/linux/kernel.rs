//! What the kernel says of itself and of the machine.

use super::{files, process};
use std::ffi::CString;
use std::io;
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

/// How the kernel ends the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Switch it off.
    PowerOff,
    /// Start it again; firmware may take the argument, if it is not empty.
    Reboot(String),
    /// Stop it and leave it on.
    Halt,
}

/// Ends the machine now, without stopping anything: file systems are written out first, in a child,
/// because that may take for ever. Comes back at once; what the child cannot do, nobody hears of.
/// In a pid namespace it is the end of that namespace only.
pub fn end(how: &End) -> io::Result<()> {
    let argument = match how {
        End::Reboot(argument) => CString::new(argument.as_str()).unwrap_or_default(),
        _ => CString::default(),
    };
    let command = match how {
        End::PowerOff => libc::RB_POWER_OFF,
        End::Reboot(_) => libc::RB_AUTOBOOT,
        End::Halt => libc::RB_HALT_SYSTEM,
    };
    process::spawn(None, |_| {
        // SAFETY: no arguments.
        unsafe { libc::sync() };
        if !argument.is_empty() {
            // SAFETY: the string ends in NUL and outlives the call; the others are the numbers
            // reboot(2) asks for.
            unsafe {
                libc::syscall(
                    libc::SYS_reboot,
                    libc::LINUX_REBOOT_MAGIC1,
                    libc::LINUX_REBOOT_MAGIC2,
                    libc::LINUX_REBOOT_CMD_RESTART2,
                    argument.as_ptr(),
                )
            };
        }
        // SAFETY: a plain number.
        unsafe { libc::reboot(command) };
        1
    })?;
    Ok(())
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
