//! Reading again only what changed (`daemon-reload`).
//!
//! A unit is read again if its file or a drop-in is another one or was changed (by device, inode,
//! time and size), or if the directories give it other files, names or links than before. A target
//! that comes after what it pulls in is read again, too, when something read again has other
//! default dependencies or other targets before it. Everything else stays as it was read: what
//! specifiers said of the machine as well, as with systemd.

use super::index::{Found, Index, Sub, below};
use super::{Loader, drop_ins};
use platform::files::Identity;
use std::path::PathBuf;
use units::collections::Set;
use units::name::UnitName;

/// What the files of a unit were when it was first loaded.
pub(super) type Stamp = Vec<(String, Option<Identity>)>;

/// Where the directories lead a unit.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    id: UnitName,
    found: Found,
    names: Vec<UnitName>,
    dropins: Vec<String>,
    links: Vec<String>,
}

fn places(index: &mut Index, name: &UnitName) -> Places {
    let resolved = index.resolve(name);
    let names = index.names_of(&resolved.id);
    let all: Vec<&UnitName> = [&resolved.id].into_iter().chain(&names).collect();
    let mut links = Vec::new();
    for sub in [Sub::Wants, Sub::Requires, Sub::Upholds] {
        let found = index.collect(&all, sub);
        links.extend(found.into_iter().map(|(_, path)| path));
    }
    Places {
        dropins: drop_ins(index, &resolved.id, &names),
        id: resolved.id,
        found: resolved.found,
        names,
        links,
    }
}

impl Loader {
    /// Looks at the directories and files again. Answers which of these units are to be loaded
    /// again; all of them that were never loaded by this loader.
    pub fn reload(&mut self, unit_path: &[PathBuf], units: &[UnitName]) -> Vec<UnitName> {
        self.rest();
        let mut changed = self.find_changed(unit_path, units);
        let mut order = false;
        for name in &changed {
            let id = self.index.resolve(name).id;
            let before = self.known.remove(&id).and_then(|known| known.peek);
            let now = self.peek(name);
            order |= before.is_none_or(|before| before != now);
        }
        if order {
            let known: Set<UnitName> = changed.iter().cloned().collect();
            let targets = units.iter().filter(|name| name.unit_type() == "target");
            changed.extend(targets.filter(|name| !known.contains(*name)).cloned());
        }
        changed
    }

    /// A unit is not loaded any more: what it is at its next load is what it is compared with.
    pub fn forget(&mut self, name: &UnitName) {
        let id = self.index.resolve(name).id;
        self.known.remove(&id);
    }

    fn find_changed(&mut self, unit_path: &[PathBuf], units: &[UnitName]) -> Vec<UnitName> {
        let mut before = self.before.take();
        let moved = unit_path != self.settings.unit_path;
        if moved || before.is_some() || self.index.is_outdated() {
            self.settings.unit_path = unit_path.to_vec();
            let fresh = Index::scan(&self.settings.root, &self.settings.unit_path);
            let index = std::mem::replace(&mut self.index, fresh);
            before.get_or_insert(index);
        }
        let mut changed = Vec::new();
        for name in units {
            let moved = match &mut before {
                Some(before) => places(before, name) != places(&mut self.index, name),
                None => false,
            };
            if moved || self.was_edited(name) || self.is_of_the_kernel(name) {
                changed.push(name.clone());
            }
        }
        changed
    }

    /// Whether it is the kernel's table of mounts that says if there is such a unit.
    fn is_of_the_kernel(&self, name: &UnitName) -> bool {
        let no_file = self.stamp_of(name).is_some_and(Vec::is_empty);
        no_file && name.unit_type() == "mount"
    }

    /// Whether the files a unit was read from are not what they were; also if it never was read.
    fn was_edited(&self, name: &UnitName) -> bool {
        let id = self.index.resolve(name).id;
        let Some(known) = self.stamp_of(&id) else {
            return true;
        };
        known.iter().any(|(path, was)| self.identity(path) != *was)
    }

    /// Whether a unit would be another one if it were read now. False for one that was not loaded.
    pub fn changed(&mut self, name: &UnitName) -> bool {
        let id = self.index.resolve(name).id;
        if self.stamp_of(&id).is_none() {
            return false;
        }
        if self.was_edited(name) {
            return true;
        }
        if self.before.is_none() && !self.index.is_outdated() {
            return false;
        }
        let mut fresh = Index::scan(&self.settings.root, &self.settings.unit_path);
        let before = self.before.as_mut().unwrap_or(&mut self.index);
        places(&mut fresh, name) != places(before, name)
    }

    /// Whether a unit that had no file has one now, which its next load reads. No other unit is another
    /// one by that: what else is new in the directories waits for [`Loader::reload`].
    pub fn appeared(&mut self, name: &UnitName) -> bool {
        if self.index.has(name) || !self.index.is_outdated() {
            return false;
        }
        let fresh = Index::scan(&self.settings.root, &self.settings.unit_path);
        if !fresh.has(name) {
            return false;
        }
        let before = std::mem::replace(&mut self.index, fresh);
        self.before.get_or_insert(before);
        self.known.remove(name);
        true
    }

    pub(super) fn stamp_of(&self, id: &UnitName) -> Option<&Stamp> {
        self.known.get(id)?.stamp.as_ref()
    }

    fn identity(&self, path: &str) -> Option<Identity> {
        Identity::of(&below(&self.settings.root, path))
    }

    /// What these files are. `read` is what the first of them were when they were read.
    pub(super) fn stamp(&self, files: Vec<String>, read: &[Option<Identity>]) -> Stamp {
        let mut read = read.iter();
        let of = |path: String| {
            let known = read.next().copied().flatten();
            let identity = known.or_else(|| self.identity(&path));
            (path, identity)
        };
        files.into_iter().map(of).collect()
    }
}
