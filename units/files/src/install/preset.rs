//! Presets: what a distribution or a machine's builder wants enabled.
//!
//! `*.preset` files in `system-preset` directories hold lines `enable PATTERN` and
//! `disable PATTERN`; the first that matches counts. Of files with the same name the one in the
//! strongest directory is read, all in the order of their names.

use super::{Error, Installer, Outcome};
use std::fs;
use std::path::PathBuf;
use units::glob;
use units::name::UnitName;

impl Installer {
    /// Enables or disables units as the preset files say; without a rule for it a unit is enabled.
    pub fn preset(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let rules = self.preset_rules();
        let (on, off): (Vec<UnitName>, Vec<UnitName>) =
            names.iter().cloned().partition(|name| wanted(&rules, name));
        let mut outcome = self.disable(&off)?;
        let enabled = self.enable(&on)?;
        outcome.changes.extend(enabled.changes);
        outcome.notes.extend(enabled.notes);
        Ok(outcome)
    }

    /// The rules of all preset files in their order: enable or not, and a pattern.
    fn preset_rules(&self) -> Vec<(bool, String)> {
        let mut files: Vec<(std::ffi::OsString, PathBuf)> = Vec::new();
        for base in ["etc", "run", "usr/local/lib", "usr/lib"] {
            for who in ["sysmaster", "systemd"] {
                let dir = self.root.join(base).join(who).join("system-preset");
                for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                    let name = entry.file_name();
                    let is_preset = name.to_string_lossy().ends_with(".preset");
                    if is_preset && !files.iter().any(|(known, _)| *known == name) {
                        files.push((name, entry.path()));
                    }
                }
            }
        }
        files.sort();
        let mut rules = Vec::new();
        for (_, path) in files {
            let bytes = platform::files::read_file(&path, 1 << 20).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            for line in text.lines().map(str::trim) {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("enable"), Some(pattern)) => rules.push((true, pattern.to_owned())),
                    (Some("disable"), Some(pattern)) => rules.push((false, pattern.to_owned())),
                    _ => {}
                }
            }
        }
        rules
    }
}

/// The first rule that matches decides.
fn wanted(rules: &[(bool, String)], name: &UnitName) -> bool {
    rules
        .iter()
        .find(|(_, pattern)| glob::matches(pattern, name.as_str()))
        .is_none_or(|r| r.0)
}
