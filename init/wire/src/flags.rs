//! Bits of [`crate::Hello::flags`]: what the kernel's command line asked for and what init found.

/// `rescue`, `single`, `s`, `1` or `systemd.unit=rescue.target` on the command line.
pub const RESCUE: u32 = 1;
/// `emergency`, `-b` or `systemd.unit=emergency.target` on the command line.
pub const EMERGENCY: u32 = 1 << 1;
/// Several managers in a row died by their own fault: activate nothing new.
pub const SAFE_MODE: u32 = 1 << 2;
/// init is not in the first pid namespace: a container, or a test.
pub const CONTAINER: u32 = 1 << 3;
/// This manager was started from what is kept under [`crate::Kind::TRIAL`].
pub const TRIAL: u32 = 1 << 4;
/// There is no `/proc`: no start times, no mount table.
pub const NO_PROC: u32 = 1 << 8;
/// There is no cgroup2 hierarchy at `/sys/fs/cgroup`.
pub const NO_CGROUP2: u32 = 1 << 9;
/// There is no `/dev/console` to write to.
pub const NO_CONSOLE: u32 = 1 << 10;
/// `/run` is neither mounted nor could be.
pub const NO_RUN: u32 = 1 << 11;
/// `/sys` is neither mounted nor could be.
pub const NO_SYS: u32 = 1 << 12;
/// `/dev` is neither mounted nor could be.
pub const NO_DEV: u32 = 1 << 13;
/// init could not raise its limit of open files: [`crate::Hello::capacity`] is small.
pub const FEW_FILES: u32 = 1 << 14;
