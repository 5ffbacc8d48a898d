//! `Condition…=` and `Assert…=` as written: kind, `|`, `!` and parameter.
//!
//! Holding or not is for the manager to find out when the unit is about to start: see the loader's
//! `condition` module. All plain conditions must hold, and of those with `|` at least one.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What a condition looks at: the directive's name without `Condition` or `Assert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the directive of the same name; see systemd.unit(5).
pub enum ConditionKind {
    ACPower,
    Architecture,
    CPUFeature,
    CPUPressure,
    CPUs,
    Capability,
    ControlGroupController,
    Credential,
    DirectoryNotEmpty,
    Environment,
    FileIsExecutable,
    FileNotEmpty,
    Firmware,
    FirstBoot,
    Group,
    Host,
    IOPressure,
    KernelCommandLine,
    KernelModuleLoaded,
    KernelVersion,
    Memory,
    MemoryPressure,
    NeedsUpdate,
    OSRelease,
    PathExists,
    PathExistsGlob,
    PathIsDirectory,
    PathIsEncrypted,
    PathIsMountPoint,
    PathIsReadWrite,
    PathIsSocket,
    PathIsSymbolicLink,
    Security,
    User,
    Version,
    Virtualization,
}

use ConditionKind as K;

/// Sorted by name.
const KINDS: [(&str, K); 36] = [
    ("ACPower", K::ACPower),
    ("Architecture", K::Architecture),
    ("CPUFeature", K::CPUFeature),
    ("CPUPressure", K::CPUPressure),
    ("CPUs", K::CPUs),
    ("Capability", K::Capability),
    ("ControlGroupController", K::ControlGroupController),
    ("Credential", K::Credential),
    ("DirectoryNotEmpty", K::DirectoryNotEmpty),
    ("Environment", K::Environment),
    ("FileIsExecutable", K::FileIsExecutable),
    ("FileNotEmpty", K::FileNotEmpty),
    ("Firmware", K::Firmware),
    ("FirstBoot", K::FirstBoot),
    ("Group", K::Group),
    ("Host", K::Host),
    ("IOPressure", K::IOPressure),
    ("KernelCommandLine", K::KernelCommandLine),
    ("KernelModuleLoaded", K::KernelModuleLoaded),
    ("KernelVersion", K::KernelVersion),
    ("Memory", K::Memory),
    ("MemoryPressure", K::MemoryPressure),
    ("NeedsUpdate", K::NeedsUpdate),
    ("OSRelease", K::OSRelease),
    ("PathExists", K::PathExists),
    ("PathExistsGlob", K::PathExistsGlob),
    ("PathIsDirectory", K::PathIsDirectory),
    ("PathIsEncrypted", K::PathIsEncrypted),
    ("PathIsMountPoint", K::PathIsMountPoint),
    ("PathIsReadWrite", K::PathIsReadWrite),
    ("PathIsSocket", K::PathIsSocket),
    ("PathIsSymbolicLink", K::PathIsSymbolicLink),
    ("Security", K::Security),
    ("User", K::User),
    ("Version", K::Version),
    ("Virtualization", K::Virtualization),
];

impl ConditionKind {
    /// The kind of this name, given without `Condition` or `Assert`.
    pub fn from_name(name: &str) -> Option<Self> {
        let at = KINDS.binary_search_by(|(n, _)| (*n).cmp(name)).ok()?;
        KINDS.get(at).map(|(_, kind)| *kind)
    }

    /// The names of all kinds, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|(name, _)| *name)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        KINDS.get(self as usize).map_or("", |(name, _)| name)
    }

    /// Whether its parameter is an absolute path.
    pub fn takes_path(self) -> bool {
        matches!(
            self,
            K::PathExists
                | K::PathExistsGlob
                | K::PathIsDirectory
                | K::PathIsEncrypted
                | K::PathIsMountPoint
                | K::PathIsReadWrite
                | K::PathIsSocket
                | K::PathIsSymbolicLink
                | K::DirectoryNotEmpty
                | K::FileIsExecutable
                | K::FileNotEmpty
                | K::NeedsUpdate
        )
    }
}

/// One condition or assertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it looks at.
    pub kind: ConditionKind,
    /// Written with `|`: one of those is enough.
    pub trigger: bool,
    /// Written with `!`: it must not hold.
    pub negate: bool,
    /// What it is compared with, specifiers resolved.
    pub param: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_in_the_order_of_the_numbers() {
        assert!(KINDS.windows(2).all(|w| w[0].0 < w[1].0));
        for (i, (name, kind)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, i);
            assert_eq!(
                (ConditionKind::from_name(name), kind.as_str()),
                (Some(*kind), *name)
            );
        }
        assert_eq!(ConditionKind::from_name("Moon"), None);
    }
}
