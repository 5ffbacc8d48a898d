//! Enabling, masking and linking units: links in the configuration directory, nothing else.
//!
//! * `enable` makes the links `[Install]` asks for: `<target>.wants/<unit>` and its like for
//!   `WantedBy=`, `RequiredBy=`, `UpheldBy=`, and `<alias>` for `Alias=`, each leading to the unit
//!   file. Then the same for the units in `Also=`.
//! * `disable` removes every link in the configuration directories that leads to the unit, made by
//!   whomever, with those of `Also=`; directories that become empty go too.
//! * `mask` links the name to `/dev/null`, `unmask` removes that link.
//! * `link` makes a unit file outside of the unit path known.
//! * `preset` enables or disables as the preset files say, `preset-all` everything there is.
//!
//! The first directory of the unit path below `/etc` is written to, with `--runtime` the first
//! below `/run`; links are removed from all below `/etc` (or `/run`), so that what a package's
//! scripts enabled for systemd can be disabled here. Everything works on a root that is not
//! running. Before the first link is made everything is read and checked: a bad unit changes
//! nothing. The manager notices on its next `daemon-reload`.

mod preset;
mod query;
mod state;

pub use preset::PresetMode;
pub use state::{Change, Outcome, State};

use crate::loader::index::{Found, Index, Sub, below};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use units::facts::{Machine, UnitFacts};
use units::file::{UnitFile, describe, first_error};
use units::name::UnitName;
use units::spec::Install;

/// Most units one call may reach through `Also=`.
const MAX_UNITS: usize = 1024;

/// Why nothing was done (or, after an I/O error, not all): a sentence.
pub type Error = String;

/// Works on the unit files below a root.
pub struct Installer {
    root: PathBuf,
    path: Vec<PathBuf>,
    machine: Machine,
    runtime: bool,
    force: bool,
}

/// A unit that is to be enabled.
struct Plan {
    name: UnitName,
    file: String,
    install: Install,
}

impl Installer {
    /// For the units found by this path below this root.
    pub fn new(root: &Path, unit_path: &[PathBuf]) -> Self {
        Self {
            root: root.into(),
            path: unit_path.to_vec(),
            machine: Machine::new(root),
            runtime: false,
            force: false,
        }
    }

    /// Until the next boot only: in `/run` instead of `/etc`.
    pub fn runtime(mut self, on: bool) -> Self {
        self.runtime = on;
        self
    }

    /// Replace links that lead elsewhere.
    pub fn force(mut self, on: bool) -> Self {
        self.force = on;
        self
    }

    fn index(&self) -> Index {
        Index::scan(&self.root, &self.path)
    }

    fn area(&self) -> &'static str {
        if self.runtime { "/run" } else { "/etc" }
    }

    /// The directories links are removed from; the first is the one they are made in.
    fn config_dirs(&self) -> impl Iterator<Item = &PathBuf> {
        let area = self.area();
        self.path.iter().filter(move |dir| dir.starts_with(area))
    }

    fn config_dir(&self) -> Result<&Path, Error> {
        let area = self.area();
        let none = || format!("the unit path has no directory below {area} to put links into");
        self.config_dirs()
            .next()
            .map(PathBuf::as_path)
            .ok_or_else(none)
    }

    /// Enables units.
    pub fn enable(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let mut index = self.index();
        let mut outcome = Outcome::default();
        let plans = self.plan(&mut index, names, &mut outcome.notes)?;
        let mut links = Vec::new();
        for (at, plan) in plans.iter().enumerate() {
            let before = links.len();
            self.links_of(plan, &mut links)?;
            if links.len() == before && at < names.len() {
                let text = if plan.install.also.is_empty() {
                    "has no [Install] section that says where to link it: it is started by others"
                } else {
                    "only enables the units in its Also="
                };
                outcome.notes.push(format!("{} {text}.", plan.name));
            }
        }
        for (link, target) in &links {
            self.check_free(link, target)?;
        }
        for (link, target) in links {
            if self.make_link(&link, &target)? {
                outcome.changes.push(Change::Created { link, target });
            }
        }
        Ok(outcome)
    }

    /// Disables units.
    pub fn disable(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let mut index = self.index();
        let mut outcome = Outcome::default();
        let mut gone: Vec<UnitName> = Vec::new();
        for name in names {
            let resolved = index.resolve(name);
            gone.push(name.clone());
            gone.push(resolved.id.clone());
            gone.extend(index.names_of(&resolved.id));
            // A unit whose file is gone can still be disabled.
            if let Ok(plans) = self.plan(&mut index, std::slice::from_ref(name), &mut outcome.notes)
            {
                gone.extend(plans.into_iter().map(|plan| plan.name));
            }
        }
        for dir in self.config_dirs() {
            self.remove_links(dir, &gone, &mut outcome.changes)?;
        }
        Ok(outcome)
    }

    /// Disables, then enables anew: after `[Install]` was changed.
    pub fn reenable(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let mut outcome = self.disable(names)?;
        outcome.add(self.enable(names)?);
        Ok(outcome)
    }

    /// Masks units.
    pub fn mask(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let dir = self.config_dir()?;
        let target = "/dev/null".to_owned();
        let link_of = |name: &UnitName| join(dir, name.as_str());
        for name in names {
            self.check_free(&link_of(name), &target)?;
        }
        let mut outcome = Outcome::default();
        for link in names.iter().map(link_of) {
            if self.make_link(&link, &target)? {
                outcome.changes.push(Change::Created {
                    link,
                    target: target.clone(),
                });
            }
        }
        Ok(outcome)
    }

    /// Unmasks units.
    pub fn unmask(&self, names: &[UnitName]) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        for dir in self.config_dirs() {
            for name in names {
                let link = join(dir, name.as_str());
                let real = below(&self.root, &link);
                if fs::read_link(&real).is_ok_and(|to| to == Path::new("/dev/null")) {
                    fs::remove_file(&real).map_err(|e| format!("cannot remove {link}: {e}"))?;
                    outcome.changes.push(Change::Removed { link });
                }
            }
        }
        Ok(outcome)
    }

    /// Makes unit files outside of the unit path known.
    pub fn link(&self, files: &[&str]) -> Result<Outcome, Error> {
        let dir = self.config_dir()?;
        let mut links = Vec::new();
        for file in files {
            let path = units::value::absolute_path(file).map_err(|e| e.to_string())?;
            let name = path.rsplit('/').next().unwrap_or("");
            let name = UnitName::new(name).map_err(|e| e.to_string())?;
            if !below(&self.root, &path).is_file() {
                return Err(format!("{path} is no regular file"));
            }
            let link = join(dir, name.as_str());
            if link != path {
                self.check_free(&link, &path)?;
                links.push((link, path));
            }
        }
        let mut outcome = Outcome::default();
        for (link, target) in links {
            if self.make_link(&link, &target)? {
                outcome.changes.push(Change::Created { link, target });
            }
        }
        Ok(outcome)
    }

    /// Calls back for every link in a directory and in its `.wants`, `.requires`, `.upholds`: path
    /// below the root, name, what it says, whether it is in one of those.
    fn each_link(&self, dir: &Path, f: &mut dyn FnMut(String, &str, &Path, bool)) {
        let top = sorted(&below(&self.root, &dir.to_string_lossy()));
        for (name, path) in top {
            if let Ok(target) = fs::read_link(&path) {
                f(join(dir, &name), &name, &target, false);
            } else if [".wants", ".requires", ".upholds"]
                .iter()
                .any(|s| name.ends_with(s))
            {
                for (link, path) in sorted(&path) {
                    if let Ok(target) = fs::read_link(&path) {
                        f(join(&dir.join(&name), &link), &link, &target, true);
                    }
                }
            }
        }
    }

    /// The units to be enabled: those named, then those they name in `Also=`.
    fn plan(
        &self,
        index: &mut Index,
        names: &[UnitName],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Plan>, Error> {
        let mut plans: Vec<Plan> = Vec::new();
        let mut queue: std::collections::VecDeque<UnitName> = names.iter().cloned().collect();
        while let Some(name) = queue.pop_front() {
            if plans.iter().any(|plan| plan.name == name) {
                continue;
            }
            if plans.len() >= MAX_UNITS {
                return Err(format!("more than {MAX_UNITS} units are named by Also="));
            }
            let resolved = index.resolve(&name);
            let file = match resolved.found {
                Found::File(path) => path,
                Found::Nothing => return Err(format!("unit file {name} does not exist")),
                Found::Masked(path) => return Err(format!("unit {name} is masked by {path}")),
                Found::Wrong(text) => return Err(format!("{name}: {text}")),
            };
            // A package's alias stands for its unit; one that was made by enabling does not.
            if resolved.id != name {
                let made_here = self
                    .config_dirs()
                    .any(|d| below(&self.root, &join(d, name.as_str())).is_symlink());
                let id = resolved.id;
                if made_here {
                    return Err(format!("{name} is an alias: name the unit itself, {id}"));
                }
                queue.push_front(id);
                continue;
            }
            let (install, said) = self.read_install(index, &name, &file)?;
            notes.extend(said);
            for also in &install.also {
                queue.push_back(UnitName::new(also).map_err(|e| format!("{file}: Also=: {e}"))?);
            }
            plans.push(Plan {
                name,
                file,
                install,
            });
        }
        Ok(plans)
    }

    /// `[Install]` of a unit, drop-ins included, and remarks on it.
    fn read_install(
        &self,
        index: &mut Index,
        name: &UnitName,
        path: &str,
    ) -> Result<(Install, Vec<String>), Error> {
        let mut files = vec![path.to_owned()];
        let found = index.collect(&[name], Sub::DropIns);
        files.extend(
            found
                .into_iter()
                .filter(|(n, _)| n.ends_with(".conf"))
                .map(|(_, p)| p),
        );
        let (mut unit, mut findings) = (UnitFile::new(), Vec::new());
        for (number, path) in files.iter().enumerate() {
            let (bytes, _) = index.read(path)?;
            unit.add(number as u16, &bytes, &mut findings);
        }
        let facts = UnitFacts {
            machine: &self.machine,
            fragment: path,
        };
        findings.clear();
        let install = Install::read(name, &unit, &facts, &mut findings);
        if let Some(error) = first_error(&findings, &files) {
            return Err(error);
        }
        let notes = findings
            .iter()
            .map(|found| describe(found, &files))
            .collect();
        Ok((install, notes))
    }

    /// The links a unit asks for: path and target.
    fn links_of(&self, plan: &Plan, links: &mut Vec<(String, String)>) -> Result<(), Error> {
        let dir = self.config_dir()?;
        let Plan {
            name,
            file,
            install,
        } = plan;
        let mut name = name.clone();
        if let (true, Some(instance)) = (name.is_template(), &install.default_instance) {
            name = name
                .instantiate(instance)
                .map_err(|e| format!("{file}: {e}"))?;
        }
        let lists = [
            (&install.wanted_by, "wants"),
            (&install.required_by, "requires"),
            (&install.upheld_by, "upholds"),
        ];
        for alias in &install.alias {
            let alias = alias_of(&name, alias).map_err(|e| format!("{file}: Alias=: {e}"))?;
            if alias != name {
                links.push((join(dir, alias.as_str()), file.clone()));
            }
        }
        for (list, suffix) in lists {
            for other in list {
                let other = UnitName::new(other).map_err(|e| format!("{file}: [Install]: {e}"))?;
                // Only the instances of a template can be pulled in, except by the same instance.
                if name.is_template() && !other.is_template() {
                    let text = "is a template without DefaultInstance=: name an instance";
                    return Err(format!("{name} {text}, as in {}", example(&name)));
                }
                let wants = dir.join(format!("{other}.{suffix}"));
                links.push((join(&wants, name.as_str()), file.clone()));
            }
        }
        Ok(())
    }

    /// A link can be made here: nothing is there, or it leads where it should, or it may be
    /// replaced.
    fn check_free(&self, link: &str, target: &str) -> Result<(), Error> {
        let real = below(&self.root, link);
        let Ok(meta) = fs::symlink_metadata(&real) else {
            return Ok(());
        };
        if !meta.is_symlink() {
            return Err(format!("{link} exists and is no link; remove it first"));
        }
        match fs::read_link(&real) {
            Ok(to) if to == Path::new(target) || self.force => Ok(()),
            // The same unit by another spelling of the path is replaced silently.
            Ok(to)
                if fs::canonicalize(self.leads_to(&real, &to)).ok()
                    == fs::canonicalize(below(&self.root, target)).ok()
                    && target != "/dev/null" =>
            {
                Ok(())
            }
            Ok(to) => Err(format!(
                "{link} leads to {} already; use --force",
                to.display()
            )),
            Err(error) => Err(format!("cannot read {link}: {error}")),
        }
    }

    /// Where a link with this text leads, in our own view: an absolute text begins at the root
    /// that is worked on, any other beside the link.
    fn leads_to(&self, link: &Path, text: &Path) -> PathBuf {
        if text.is_absolute() {
            below(&self.root, &text.to_string_lossy())
        } else {
            link.parent().unwrap_or(Path::new("/")).join(text)
        }
    }

    /// Makes a link, atomically where one is there; whether there was anything to do.
    fn make_link(&self, link: &str, target: &str) -> Result<bool, Error> {
        let real = below(&self.root, link);
        if fs::read_link(&real).is_ok_and(|to| to == Path::new(target)) {
            return Ok(false);
        }
        let make = || -> io::Result<()> {
            let dir = real.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(dir)?;
            let id = std::process::id();
            let name = real.file_name().unwrap_or_default().to_string_lossy();
            let temporary = dir.join(format!(".#{name}.{id}"));
            let _ = fs::remove_file(&temporary);
            symlink(target, &temporary)?;
            fs::rename(&temporary, &real).inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            })
        };
        make().map_err(|e| format!("cannot make the link {link}: {e}"))?;
        Ok(true)
    }

    /// Removes the links of units from a directory and what is below it.
    fn remove_links(
        &self,
        dir: &Path,
        gone: &[UnitName],
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        let is_gone = |text: &str| {
            let template = UnitName::new(text).ok().and_then(|n| n.template());
            gone.iter()
                .any(|name| name.as_str() == text || Some(name) == template.as_ref())
        };
        let mut links = Vec::new();
        self.each_link(dir, &mut |path, name, target, _| {
            let leads = target.file_name().is_some_and(|t| {
                let t = t.to_string_lossy();
                // An instance's links lead to the template, which other instances share.
                gone.iter().any(|n| n.as_str() == t)
            });
            if target != Path::new("/dev/null") && (is_gone(name) || leads) {
                links.push(path);
            }
        });
        for link in links {
            let real = below(&self.root, &link);
            fs::remove_file(&real).map_err(|e| format!("cannot remove {link}: {e}"))?;
            changes.push(Change::Removed { link });
            if let Some(parent) = real.parent().filter(|p| {
                [".wants", ".requires", ".upholds"]
                    .iter()
                    .any(|s| p.to_string_lossy().ends_with(s))
            }) {
                // Fails if it is not empty, which is right.
                let _ = fs::remove_dir(parent);
            }
        }
        Ok(())
    }
}

fn join(dir: &Path, name: &str) -> String {
    dir.join(name).to_string_lossy().into_owned()
}

fn example(template: &UnitName) -> String {
    template
        .instantiate("name")
        .map_or_else(|_| String::new(), String::from)
}

/// The entries of a directory by name, so that what is printed does not depend on the disk.
fn sorted(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut list: Vec<(String, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .collect();
    list.sort();
    list
}

/// The name `Alias=` gives a unit, checked.
fn alias_of(name: &UnitName, alias: &str) -> Result<UnitName, String> {
    let alias = UnitName::new(alias).map_err(|e| e.to_string())?;
    if alias.unit_type() != name.unit_type() {
        return Err(format!("{alias} is of another type than {name}"));
    }
    match (alias.is_template(), name.instance()) {
        (true, Some(instance)) => alias.instantiate(instance).map_err(|e| e.to_string()),
        (true, None) if !name.is_template() => {
            Err(format!("{alias} is a template and {name} is not"))
        }
        _ => Ok(alias),
    }
}

#[cfg(test)]
mod tests;
