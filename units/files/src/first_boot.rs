//! The first boot of an installation: units are enabled as the presets say, and the machine gets
//! its id.
//!
//! A boot is the first one if `/etc/machine-id` is missing or says `uninitialized`, as in systemd
//! (machine-id(5)); an empty file is not. `systemd.condition_first_boot=` on the kernel's command
//! line overrides that. While it lasts, until the boot's target is reached, there is a file
//! [`FLAG`]: `ConditionFirstBoot=` asks for it, and a manager that takes over need not guess.
//!
//! Two things differ from systemd. Nothing is enabled where no preset file exists: whoever builds
//! an image without presets has made the links he wants. And the id is written when the presets
//! are done, not at the end of the boot: a first boot that is interrupted before begins anew. On a
//! read-only `/etc` nothing is done, and said.

use crate::install::{Installer, PresetMode};
use crate::loader::condition::flag_of;
use crate::loader::index::below;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that is there during a first boot, below the root.
pub const FLAG: &str = "run/sysmaster/first-boot";

const MACHINE_ID: &str = "/etc/machine-id";

/// What is known of the machine's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    Missing,
    Uninitialized,
    /// There is one, or an empty file: somebody takes care of it.
    Settled,
}

impl Id {
    fn read(root: &Path) -> Self {
        match platform::files::read_file(&below(root, MACHINE_ID), 4096) {
            Ok(bytes) if bytes.trim_ascii() == b"uninitialized" => Self::Uninitialized,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Settled,
        }
    }
}

/// Whether this is the first boot.
pub fn is_first(root: &Path, command_line: &str) -> bool {
    flag_of(command_line, "systemd.condition_first_boot")
        .unwrap_or_else(|| Id::read(root) != Id::Settled)
}

/// Whether there is anything to do at a first boot: presets, or an id somebody asked for.
pub fn has_work(root: &Path, unit_path: &[PathBuf]) -> bool {
    Id::read(root) == Id::Uninitialized || Installer::new(root, unit_path).has_presets()
}

/// The boot is done: from now on nothing is a first time.
pub fn over(root: &Path) {
    let _ = fs::remove_file(root.join(FLAG));
}

/// Does what a first boot is for. Returns what was done and what could not be, as sentences.
pub fn complete(root: &Path, unit_path: &[PathBuf]) -> Vec<String> {
    if crate::loader::is_read_only(&below(root, "/etc")) {
        return vec![
            "first boot: /etc is read-only, so that no unit is enabled by preset and no machine \
             id is written; ship the links and the id with the image"
                .into(),
        ];
    }
    let mut said = Vec::new();
    let installer = Installer::new(root, unit_path);
    if installer.has_presets() {
        match installer.preset_all(PresetMode::EnableOnly) {
            Ok(outcome) => {
                said.extend(outcome.changes.iter().map(ToString::to_string));
                said.extend(outcome.notes);
            }
            Err(error) => said.push(format!("first boot: presets: {error}")),
        }
    }
    if Id::read(root) != Id::Settled {
        said.push(match write_id(root) {
            Ok(id) => format!("first boot: this machine is {id} now ({MACHINE_ID})"),
            Err(error) => format!("first boot: cannot write {MACHINE_ID}: {error}"),
        });
    }
    said
}

/// A random id (UUID version 4 without dashes), written beside the file and renamed over it.
fn write_id(root: &Path) -> std::io::Result<String> {
    let random = platform::random::bits128();
    let version = (random & !(0xf << 76)) | (4 << 76);
    let id = format!("{:032x}", (version & !(0b11 << 62)) | (0b10 << 62));
    let path = below(root, MACHINE_ID);
    let beside = path.with_extension("new");
    fs::write(&beside, [&id, "\n"].concat())?;
    fs::rename(&beside, &path)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tests::Tree;

    #[test]
    fn first_boot_by_machine_id_and_kernel_option() {
        let tree = Tree::new();
        let first = |line: &str| is_first(tree.path(), line);
        assert!(first("") && !first("systemd.condition_first_boot=no"));
        for (text, want) in [
            ("", false),
            ("uninitialized\n", true),
            ("0123456789abcdef0123456789abcdef\n", false),
        ] {
            tree.write("etc/machine-id", text);
            assert_eq!(first(""), want, "{text}");
        }
        assert!(first("quiet systemd.condition_first_boot"));
        assert!(!first("systemd.condition_first_boot_of=1"));
    }

    #[test]
    fn first_boot_enables_by_preset_and_writes_the_id() {
        let tree = Tree::new();
        let path = Tree::unit_path();
        tree.write(
            "usr/lib/u/a.service",
            "[Service]\nExecStart=/x\n[Install]\nWantedBy=m.target\n",
        );
        assert!(!has_work(tree.path(), &path), "no presets, no wish");
        tree.write("etc/machine-id", "uninitialized\n");
        assert!(has_work(tree.path(), &path));
        tree.write("usr/lib/systemd/system-preset/9.preset", "enable a.*\n");
        let said = complete(tree.path(), &path).join("\n");
        assert!(said.contains("m.target.wants/a.service"), "{said}");
        let id = fs::read_to_string(tree.path().join("etc/machine-id")).unwrap();
        assert_eq!(id.len(), 33);
        assert_eq!(id.as_bytes()[12], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[16]), "{id}");
        assert!(!is_first(tree.path(), ""));
    }
}
