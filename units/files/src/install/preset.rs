//! Presets: what a distribution or a machine's builder wants enabled (systemd.preset(5)).
//!
//! `*.preset` files in `system-preset` directories hold lines `enable PATTERN [INSTANCE…]`,
//! `disable PATTERN` and `ignore PATTERN`; the first that matches counts, and a unit without a rule
//! is enabled. Of files with the same name the one in the strongest directory is read, all in the
//! order of their names; a link to `/dev/null` switches the others of its name off.

use super::{Error, Installer, Outcome};
use std::fs;
use std::path::PathBuf;
use units::collections::Set;
use units::glob;
use units::name::UnitName;

/// What `preset-all` may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PresetMode {
    /// Enable and disable.
    #[default]
    Full,
    /// Enable only, as at the first boot.
    EnableOnly,
    /// Disable only.
    DisableOnly,
}

/// One line of a preset file.
struct Rule {
    wish: Wish,
    pattern: String,
    /// Instances of a template, for `enable`.
    instances: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Enable,
    Disable,
    Ignore,
}

/// What the rules say of some units.
#[derive(Default)]
struct Verdict {
    on: Vec<UnitName>,
    off: Vec<UnitName>,
}

impl Installer {
    /// Enables or disables units as the preset files say; without a rule for it a unit is enabled.
    pub fn preset(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let index = self.index();
        if let Some(alias) = names.iter().find(|name| index.resolve(name).id != **name) {
            return Err(format!(
                "{alias} is an alias, and presets are for units: name {}",
                index.resolve(alias).id
            ));
        }
        let verdict = judge(&self.preset_rules(), names);
        let mut outcome = self.disable(&verdict.off)?;
        outcome.add(self.enable(&verdict.on)?);
        Ok(outcome)
    }

    /// The same for every unit file there is. A unit that cannot be enabled does not keep the
    /// others from it: the reason is among the notes.
    pub fn preset_all(&self, mode: PresetMode) -> Result<Outcome, Error> {
        let names: Vec<UnitName> = self.installable().into_iter().collect();
        let mut verdict = judge(&self.preset_rules(), &names);
        let mut outcome = Outcome::default();
        if mode != PresetMode::EnableOnly {
            outcome.add(self.disable(&std::mem::take(&mut verdict.off))?);
        }
        if mode != PresetMode::DisableOnly {
            for name in &verdict.on {
                match self.enable(std::slice::from_ref(name)) {
                    Ok(done) => outcome.changes.extend(done.changes),
                    Err(error) => outcome.notes.push(error),
                }
            }
        }
        Ok(outcome)
    }

    /// Whether there is any preset file.
    pub fn has_presets(&self) -> bool {
        !self.preset_files().is_empty()
    }

    /// Units with an `[Install]` section, by their own names.
    fn installable(&self) -> Set<UnitName> {
        let mut index = self.index();
        let mut names = index.unit_names();
        names.retain(|name| {
            let resolved = index.resolve(name);
            let super::Found::File(path) = resolved.found else {
                return false;
            };
            resolved.id == *name
                && self
                    .read_install(&mut index, name, &path)
                    .map_or(true, |(install, _)| {
                        !install.is_empty() || !install.also.is_empty()
                    })
        });
        names
    }

    /// The files in their order.
    fn preset_files(&self) -> Vec<(std::ffi::OsString, PathBuf)> {
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
        files
    }

    /// The rules of all preset files in their order.
    fn preset_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (_, path) in self.preset_files() {
            let bytes = platform::files::read_file(&path, 1 << 20).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            rules.extend(text.lines().filter_map(Rule::read));
        }
        rules
    }
}

impl Rule {
    /// A comment, or anything else that is no rule, is none.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let wish = match words.next()? {
            "enable" => Wish::Enable,
            "disable" => Wish::Disable,
            "ignore" => Wish::Ignore,
            _ => return None,
        };
        Some(Self {
            wish,
            pattern: words.next()?.into(),
            instances: words.map(str::to_owned).collect(),
        })
    }

    /// The units that are meant when this one is asked about; `None` if the rule is not for it.
    fn meant(&self, name: &UnitName) -> Option<Vec<UnitName>> {
        if self.instances.is_empty() {
            return glob::matches(&self.pattern, name.as_str()).then(|| vec![name.clone()]);
        }
        let instances = self.instances.iter();
        if name.is_template() {
            let all = || instances.filter_map(|i| name.instantiate(i).ok()).collect();
            return (self.pattern == name.as_str()).then(all);
        }
        let template = name.template()?;
        let listed = instances
            .into_iter()
            .any(|i| Some(i.as_str()) == name.instance());
        (listed && self.pattern == template.as_str()).then(|| vec![name.clone()])
    }
}

/// The first rule that is meant for a unit decides.
fn judge(rules: &[Rule], names: &[UnitName]) -> Verdict {
    let mut verdict = Verdict::default();
    for name in names {
        let found = rules
            .iter()
            .find_map(|rule| Some((rule.wish, rule.meant(name)?)));
        match found {
            None => verdict.on.push(name.clone()),
            Some((Wish::Enable, meant)) => verdict.on.extend(meant),
            Some((Wish::Disable, _)) => verdict.off.push(name.clone()),
            Some((Wish::Ignore, _)) => {}
        }
    }
    verdict
}
