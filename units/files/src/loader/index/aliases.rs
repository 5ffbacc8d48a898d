//! Following names: which file a unit's name leads to, by which aliases, and which other names lead there.

use super::{Index, Item, Kind, below};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use units::name::UnitName;

/// Most hops from an alias to a unit.
const MAX_HOPS: usize = 16;

/// Where the search for a name ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nowhere.
    Nothing,
    /// At a mask, which is this file.
    Masked(String),
    /// At this file.
    File(String),
    /// It cannot be followed.
    Wrong(String),
}

/// A name followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The name at the end of the aliases.
    pub id: UnitName,
    /// What is there.
    pub found: Found,
}

enum Step {
    Alias(UnitName),
    End(Found),
}

/// Joins a link's text to its directory and removes `.` and `..`, without looking at the disk.
fn target_of(dir: &Path, text: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in dir.join(text).components() {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            std::path::Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

impl Index {
    /// Notes which names lead to which, so that a unit knows its aliases.
    pub(super) fn find_aliases(&mut self) {
        let mut aliases = Vec::new();
        let mut last: &str = "";
        for item in &self.items {
            // Only the first of a name counts.
            let hidden = last == &*item.name;
            last = &item.name;
            let Kind::Link(text) = &item.kind else {
                continue;
            };
            if hidden || text == "/dev/null" {
                continue;
            }
            if let Some(target) = self.alias_target(item, text)
                && *target != *item.name
            {
                aliases.push((target.into_boxed_str(), item.name.clone()));
            }
        }
        aliases.sort();
        self.aliases = aliases;
    }

    /// Whether a directory is one of the path, whatever its spelling.
    fn is_unit_dir(&self, dir: &Path) -> bool {
        if self.dirs.iter().any(|d| d == dir) {
            return true;
        }
        let meta = fs::metadata(below(&self.root, &dir.to_string_lossy())).ok();
        let id = meta.map(|m| (m.dev(), m.ino()));
        id.is_some() && self.ids.contains(&id)
    }

    /// The name in the unit path a link leads to, if it leads to one.
    fn alias_target(&self, item: &Item, text: &str) -> Option<String> {
        let path = target_of(self.dir(item.dir), text);
        let name = path.file_name()?.to_str()?;
        let inside = name.contains('.') && self.is_unit_dir(path.parent()?);
        inside.then(|| name.to_owned())
    }

    /// Follows a name to its unit file.
    pub fn resolve(&self, name: &UnitName) -> Resolved {
        let mut current = name.clone();
        let mut way: Vec<UnitName> = Vec::new();
        loop {
            if way.contains(&current) || way.len() >= MAX_HOPS {
                let names: Vec<&str> = way.iter().map(UnitName::as_str).collect();
                let text = format!(
                    "its aliases lead in a circle or too far: {} → {current}",
                    names.join(" → ")
                );
                return Resolved {
                    id: name.clone(),
                    found: Found::Wrong(text),
                };
            }
            match self.step(&current) {
                Step::End(found) => return Resolved { id: current, found },
                Step::Alias(next) => way.push(std::mem::replace(&mut current, next)),
            }
        }
    }

    fn step(&self, name: &UnitName) -> Step {
        let own = self.item(name.as_str());
        let item = own.or_else(|| self.item(name.template()?.as_str()));
        let Some(item) = item else {
            return Step::End(Found::Nothing);
        };
        let path = [&*self.dir(item.dir).to_string_lossy(), "/", &item.name].concat();
        let text = match &item.kind {
            Kind::File => return Step::End(Found::File(path)),
            Kind::Directory => {
                let text = format!("{path} is a directory, expected a unit file");
                return Step::End(Found::Wrong(text));
            }
            Kind::Link(text) if text == "/dev/null" => return Step::End(Found::Masked(path)),
            Kind::Link(text) => text,
        };
        let target = target_of(self.dir(item.dir), text)
            .to_string_lossy()
            .into_owned();
        let Some(base) = self.alias_target(item, text) else {
            return Step::End(if target == "/dev/null" {
                Found::Masked(path)
            } else {
                Found::File(target)
            });
        };
        match alias(name, &base) {
            // A link to the same name further down, or of an instance to its template.
            Ok(next) if next == *name => Step::End(Found::File(target)),
            Ok(next) => Step::Alias(next),
            Err(why) => Step::End(Found::Wrong(format!("{path} is a link to {target}: {why}"))),
        }
    }

    /// Whether there is a unit file of this name (not whether it is any good).
    pub fn has(&self, name: &UnitName) -> bool {
        matches!(self.resolve(name).found, Found::File(_))
    }

    /// Where a unit's file is.
    pub fn path_of(&self, name: &str) -> Option<String> {
        match self.resolve(&UnitName::new(name).ok()?).found {
            Found::File(path) => Some(path),
            _ => None,
        }
    }

    /// Every other name of a unit, sorted.
    pub fn names_of(&self, id: &UnitName) -> Vec<UnitName> {
        if self.aliases.is_empty() {
            return Vec::new();
        }
        let mut names = vec![id.clone()];
        let mut at = 0;
        while let Some(name) = names.get(at).cloned() {
            at += 1;
            let mut found: Vec<UnitName> = self
                .links_to(name.as_str())
                .filter_map(|n| UnitName::new(n).ok())
                .collect();
            if let Some(instance) = name.instance()
                && let Some(template) = name.template()
            {
                for link in self.links_to(template.as_str()) {
                    let link = UnitName::new(link).ok().filter(UnitName::is_template);
                    found.extend(link.and_then(|l| l.instantiate(instance).ok()));
                }
            }
            for name in found {
                // An alias of the template may be hidden by a file of the instance's own.
                if !names.contains(&name) && names.len() < 256 && self.resolve(&name).id == *id {
                    names.push(name);
                }
            }
        }
        names.remove(0);
        names.sort();
        names
    }

    fn links_to<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let begin = self.aliases.partition_point(|(target, _)| **target < *name);
        self.aliases
            .iter()
            .skip(begin)
            .take_while(move |(target, _)| **target == *name)
            .map(|(_, link)| &**link)
    }
}

/// The unit that `name`, a link to `base`, stands for.
fn alias(name: &UnitName, base: &str) -> Result<UnitName, String> {
    let base = UnitName::new(base).map_err(|e| e.to_string())?;
    if base.unit_type() != name.unit_type() {
        return Err("a unit cannot be an alias of one of another type".into());
    }
    match (name.instance(), base.is_template()) {
        (Some(instance), true) => base.instantiate(instance).map_err(|e| e.to_string()),
        (None, true) if !name.is_template() => {
            Err("a name without instance cannot be an alias of a template".into())
        }
        (None, false) if name.is_template() => {
            Err("a template can only be an alias of a template".into())
        }
        _ => Ok(base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_taken_apart_without_the_disk() {
        let t = |dir: &str, text: &str| target_of(Path::new(dir), text).display().to_string();
        assert_eq!(t("/etc/u", "/usr/lib/u/a.service"), "/usr/lib/u/a.service");
        assert_eq!(t("/etc/u", "../../usr/./a.service"), "/usr/a.service");
        assert_eq!(t("/etc/u", "a.service"), "/etc/u/a.service");
        assert_eq!(t("/etc/u", "../../../../a.service"), "/a.service");
    }
}
