//! What this machine cannot do, said once per boot.
//!
//! A feature that is missing is noted where its lack is found. The first note of a boot writes a
//! line to the kernel's log and leaves a mark in a directory, so that a process started later does
//! not say it again, and everybody can list what is missing. Where no mark can be left, each
//! process says it once.

use super::console::KernelLog;
use super::files;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the marks are. The manager makes the directory.
pub const DIRECTORY: &str = "/run/sysmaster/missing";

/// Something that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Control groups, version 2.
    ControlGroups,
    /// Memory files.
    MemoryFile,
    /// Process descriptors.
    ProcessDescriptors,
    /// Birth in a control group.
    BirthInGroup,
    /// The right to raise resource limits.
    RaiseLimits,
    /// The right to be spared when memory is short.
    OomProtection,
    /// The console.
    Console,
    /// Change notification for files.
    FileNotification,
    /// A writable run-time directory.
    RuntimeDirectory,
    /// A writable root file system.
    WritableRoot,
    /// A hardware watchdog.
    HardwareWatchdog,
}

impl Feature {
    const ALL: [Self; 11] = [
        Self::ControlGroups,
        Self::MemoryFile,
        Self::ProcessDescriptors,
        Self::BirthInGroup,
        Self::RaiseLimits,
        Self::OomProtection,
        Self::Console,
        Self::FileNotification,
        Self::RuntimeDirectory,
        Self::WritableRoot,
        Self::HardwareWatchdog,
    ];

    /// A short name, and what follows from the lack.
    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::ControlGroups => (
                "cgroup2",
                "no cgroup v2 hierarchy is mounted: services are kept together by session only, \
                 and a daemon that leaves its session escapes",
            ),
            Self::MemoryFile => (
                "memfd",
                "the kernel has no memory files: files in /run take their place",
            ),
            Self::ProcessDescriptors => (
                "pidfd",
                "the kernel has no process descriptors: processes are checked by start time only",
            ),
            Self::BirthInGroup => (
                "clone-into-cgroup",
                "children cannot be born in a cgroup: they move there, which takes longer",
            ),
            Self::RaiseLimits => (
                "raise-limits",
                "no right to raise hard limits: such limits are set as far as allowed",
            ),
            Self::OomProtection => (
                "oom-score",
                "no right to lower oom_score_adj: our own processes are not spared when memory is short",
            ),
            Self::Console => (
                "console",
                "there is no console: messages go to the kernel's log only",
            ),
            Self::FileNotification => (
                "inotify",
                "no file notification: changes are seen at the next reload",
            ),
            Self::RuntimeDirectory => (
                "run",
                "/run cannot be written to: nothing that needs a file there works",
            ),
            Self::WritableRoot => ("root", "the root file system is read-only"),
            Self::HardwareWatchdog => ("watchdog", "there is no /dev/watchdog"),
        }
    }
}

static NOTED: AtomicU32 = AtomicU32::new(0);

/// Notes that a feature is missing. Returns whether this was the first time in this boot (or, if
/// no mark can be left, in this process).
pub fn note(feature: Feature) -> bool {
    let bit = 1 << (feature as u32);
    if NOTED.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return false;
    }
    let (name, text) = feature.describe();
    if !mark(Path::new(DIRECTORY), name) {
        return false;
    }
    KernelLog::open().write(5, "sysmaster", text);
    true
}

/// Leaves the mark; false only if it was there.
fn mark(directory: &Path, name: &str) -> bool {
    match files::create_new(&directory.join(name), 0o644) {
        Err(error) => error.kind() != std::io::ErrorKind::AlreadyExists,
        Ok(_) => true,
    }
}

/// What is missing on this machine, as far as anybody has noted it: short name and consequence.
pub fn list() -> Vec<(&'static str, &'static str)> {
    list_in(Path::new(DIRECTORY), NOTED.load(Ordering::Relaxed))
}

fn list_in(directory: &Path, noted: u32) -> Vec<(&'static str, &'static str)> {
    let found = Feature::ALL.iter().filter(|feature| {
        noted & (1 << (**feature as u32)) != 0
            || files::exists(&directory.join(feature.describe().0))
    });
    found.map(|feature| feature.describe()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_left_once_and_listed() {
        let base = std::env::temp_dir().join(format!(
            "platform-degrade-{}-{}",
            std::process::id(),
            super::super::clock::now()
        ));
        std::fs::create_dir(&base).unwrap();
        assert!(mark(&base, "memfd"));
        assert!(!mark(&base, "memfd"));
        assert!(
            mark(&base.join("nowhere"), "memfd"),
            "without a place for marks it is said"
        );
        let bit = 1 << (Feature::Console as u32);
        let names: Vec<&str> = list_in(&base, bit)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["memfd", "console"]);
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Feature::ALL.iter().map(|f| f.describe().0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Feature::ALL.len());
    }
}
