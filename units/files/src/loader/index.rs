//! What lies in the directories of the unit path: read once, asked often.
//!
//! A scan lists every directory of the path and reads its links; directories in them (`.d`,
//! `.wants` …) are listed when a unit needs them, and kept. After that, finding a unit's file, its
//! aliases and its drop-ins is looking things up in sorted lists: loading fifty units reads each
//! directory once. A new scan is made by `daemon-reload` only.
//!
//! Where two directories have the same name in them, the earlier one of the path counts. A link is
//! * a mask if it leads to `/dev/null`,
//! * an alias if it leads to another name in a directory of the path,
//! * otherwise a unit file that lies elsewhere (a linked unit).
//!
//! Paths are those seen below the root; only opening a file puts the root in front.

use platform::files::{Identity, read_identified};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use units::collections::{Map, Set};
use units::file::MAX_FILE;
use units::name::UnitName;

/// Most hops from an alias to a unit.
const MAX_HOPS: usize = 16;
/// Most entries listed of one directory.
const MAX_LISTED: usize = 65_536;

/// What an entry of a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A link, and what it says.
    Link(String),
}

/// The directories a unit may have beside its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sub {
    /// `.d`: drop-ins.
    DropIns,
    Wants,
    Requires,
    Upholds,
}

impl Sub {
    const ALL: [Self; 4] = [Self::DropIns, Self::Wants, Self::Requires, Self::Upholds];

    fn suffix(self) -> &'static str {
        match self {
            Self::DropIns => ".d",
            Self::Wants => ".wants",
            Self::Requires => ".requires",
            Self::Upholds => ".upholds",
        }
    }
}

/// A directory beside the units of the path.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SubDir {
    /// Its name without suffix: a unit, a template, a prefix with its dash, or a type.
    base: Box<str>,
    /// Index of its parent in the path.
    dir: u16,
}

#[derive(Debug)]
struct Item {
    name: Box<str>,
    /// Index of its directory in the path.
    dir: u16,
    kind: Kind,
}

/// A file of a drop-in directory, or a link of a `.wants` one.
#[derive(Debug)]
pub(crate) struct SubItem {
    /// Name in its directory.
    pub name: Box<str>,
    /// Path below the root.
    pub path: String,
    /// It leads to `/dev/null`: it hides those of the same name that come after it.
    pub masked: bool,
}

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

/// When something was last changed: seconds and nanoseconds.
type Time = (i64, i64);

/// The contents of the unit path.
#[derive(Debug)]
pub(crate) struct Index {
    root: PathBuf,
    /// Directories as seen below the root, in the order of the path; those that do not exist too,
    /// so that their coming into being is noticed.
    dirs: Vec<PathBuf>,
    /// Identity of each directory that exists.
    ids: Vec<Option<(u64, u64)>>,
    /// Modification times at the scan.
    times: Vec<Option<Time>>,
    /// Sorted by name, then by directory.
    items: Vec<Item>,
    /// Aliases: name the link leads to, name of the link; sorted.
    aliases: Vec<(Box<str>, Box<str>)>,
    /// By kind, each sorted by base and directory.
    subs: [Vec<SubDir>; 4],
    /// What was listed of these, and when the directory had last been changed then.
    subdirs: Map<String, (Option<Time>, Rc<[SubItem]>)>,
}

/// A path below a root. An absolute path is taken from the root on.
pub(crate) fn below(root: &Path, path: &str) -> PathBuf {
    let (root, path) = (root.as_os_str(), path.trim_start_matches('/'));
    let mut real = OsString::with_capacity(root.len() + 1 + path.len());
    real.push(root);
    if !matches!(root.as_encoded_bytes().last(), None | Some(b'/')) {
        real.push("/");
    }
    real.push(path);
    real.into()
}

/// Whether a link with this text leads to `/dev/null`. Most are told apart by their end.
fn is_null(text: PathBuf) -> bool {
    text.as_os_str().as_encoded_bytes().ends_with(b"null") && text == Path::new("/dev/null")
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

fn modified(meta: &fs::Metadata) -> Time {
    (meta.mtime(), meta.mtime_nsec())
}

impl Index {
    /// Reads the directories of a path.
    pub fn scan(root: &Path, dirs: &[PathBuf]) -> Self {
        let mut index = Self {
            root: root.into(),
            dirs: Vec::new(),
            ids: Vec::new(),
            times: Vec::new(),
            items: Vec::new(),
            aliases: Vec::new(),
            subs: [const { Vec::new() }; 4],
            subdirs: Map::new(),
        };
        for dir in dirs.iter().take(usize::from(u16::MAX)) {
            index.scan_dir(dir);
        }
        index
            .items
            .sort_by(|a, b| a.name.cmp(&b.name).then(a.dir.cmp(&b.dir)));
        index.subs.iter_mut().for_each(|subs| subs.sort());
        index.find_aliases();
        index
    }

    fn scan_dir(&mut self, dir: &Path) {
        let real = below(&self.root, &dir.to_string_lossy());
        let meta = fs::metadata(&real).ok();
        let id = meta.as_ref().map(|m| (m.dev(), m.ino()));
        // `/lib` and `/usr/lib` are often the same.
        if id.is_some() && self.ids.contains(&id) {
            return;
        }
        let number = self.dirs.len() as u16;
        self.dirs.push(dir.into());
        self.ids.push(id);
        self.times.push(meta.as_ref().map(modified));
        let listing = id.map(|_| fs::read_dir(&real));
        let Some(Ok(listing)) = listing else {
            return;
        };
        for entry in listing.take(MAX_LISTED).flatten() {
            let name = entry.file_name();
            let Some(name) = name
                .to_str()
                .filter(|n| n.contains('.') && !n.starts_with('.'))
            else {
                continue;
            };
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            // A link that is named like one of these directories is one, wherever it leads.
            let sub = Sub::ALL
                .iter()
                .zip(&mut self.subs)
                .find_map(|(sub, list)| Some((name.strip_suffix(sub.suffix())?, list)));
            if let Some((base, list)) = sub.filter(|_| !kind.is_file()) {
                list.push(SubDir {
                    base: base.into(),
                    dir: number,
                });
                continue;
            }
            let kind = if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap_or_default();
                Kind::Link(target.to_string_lossy().into_owned())
            } else if kind.is_dir() {
                Kind::Directory
            } else {
                Kind::File
            };
            self.items.push(Item {
                name: name.into(),
                dir: number,
                kind,
            });
        }
    }

    /// Notes which names lead to which, so that a unit knows its aliases.
    fn find_aliases(&mut self) {
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

    fn dir(&self, number: u16) -> &Path {
        self.dirs
            .get(usize::from(number))
            .map_or(Path::new("/"), PathBuf::as_path)
    }

    /// The strongest entry of this name.
    fn item(&self, name: &str) -> Option<&Item> {
        let at = self.items.partition_point(|i| *i.name < *name);
        self.items.get(at).filter(|i| *i.name == *name)
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

    /// The contents of every directory of a kind that belongs to these names, merged: of entries
    /// with the same name the strongest, sorted by name, masked ones left out. Drop-ins are also
    /// taken from `service.d` and its like.
    pub fn collect(&mut self, names: &[&UnitName], sub: Sub) -> Vec<(Box<str>, String)> {
        let dirs = self.sub_dirs(names, sub);
        if dirs.is_empty() {
            return Vec::new();
        }
        let lists: Vec<Rc<[SubItem]>> = dirs.iter().map(|dir| self.listing(dir)).collect();
        let mut items: Vec<&SubItem> = lists.iter().flat_map(|list| list.iter()).collect();
        // The sort is stable: of equal names the strongest stays first.
        items.sort_by(|a, b| a.name.cmp(&b.name));
        items.dedup_by(|later, first| later.name == first.name);
        let seen = items.into_iter().filter(|item| !item.masked);
        seen.map(|item| (item.name.clone(), item.path.clone()))
            .collect()
    }

    /// The directories of a kind that belong to these names, the strongest first: name by name,
    /// within a name by directory of the path, within that from special to general.
    fn sub_dirs(&self, names: &[&UnitName], sub: Sub) -> Vec<String> {
        let Some(list) = self.subs.get(sub as usize).filter(|list| !list.is_empty()) else {
            return Vec::new();
        };
        let mut found: Vec<(usize, u16, usize, &str)> = Vec::new();
        let mut look_up = |at: usize, rank: usize, base: &str| {
            let begin = list.partition_point(|s| *s.base < *base);
            let hits = list.iter().skip(begin).take_while(|s| *s.base == *base);
            found.extend(hits.map(|s| (at, s.dir, rank, &*s.base)));
        };
        for (at, name) in names.iter().enumerate() {
            // Mostly there is none for a unit of this type at all.
            let unit_type = name.unit_type();
            if !list.iter().any(|s| s.base.ends_with(unit_type)) {
                continue;
            }
            each_base(name, &mut |rank, base| look_up(at, rank, base));
        }
        if let Some(first) = names.first().filter(|_| sub == Sub::DropIns) {
            look_up(usize::MAX, 0, first.unit_type());
        }
        found.sort_unstable();
        let path = |dir: u16, base: &str| {
            self.dir(dir)
                .join([base, sub.suffix()].concat())
                .to_string_lossy()
                .into_owned()
        };
        found
            .into_iter()
            .map(|(_, dir, _, base)| path(dir, base))
            .collect()
    }

    fn listing(&mut self, dir: &str) -> Rc<[SubItem]> {
        if let Some((_, known)) = self.subdirs.get(dir) {
            return Rc::clone(known);
        }
        let time = self.time_of(Path::new(dir));
        let mut items = Vec::new();
        let listing = fs::read_dir(below(&self.root, dir)).into_iter().flatten();
        for entry in listing.take(MAX_LISTED).flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|n| !n.starts_with('.')) else {
                continue;
            };
            let path = [dir, "/", name].concat();
            let link = entry.file_type().is_ok_and(|t| t.is_symlink());
            let masked = link && fs::read_link(below(&self.root, &path)).is_ok_and(is_null);
            let name = name.into();
            items.push(SubItem { name, path, masked });
        }
        let items: Rc<[SubItem]> = items.into();
        self.subdirs.insert(dir.into(), (time, Rc::clone(&items)));
        items
    }

    /// Whether a directory of the path, or one that was listed in it, has changed since the scan.
    pub fn is_outdated(&self) -> bool {
        let dirs = self.dirs.iter().zip(&self.times);
        let mut subdirs = self.subdirs.iter();
        dirs.into_iter()
            .any(|(dir, time)| self.time_of(dir) != *time)
            || subdirs.any(|(dir, (time, _))| self.time_of(Path::new(dir)) != *time)
    }

    /// When a directory was last changed; `None` if it is not there.
    fn time_of(&self, dir: &Path) -> Option<Time> {
        let meta = fs::metadata(below(&self.root, &dir.to_string_lossy()));
        meta.ok().as_ref().map(modified)
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

    /// Every name in the unit path that is a unit's.
    pub fn unit_names(&self) -> Set<UnitName> {
        self.items
            .iter()
            .filter_map(|item| UnitName::new(&item.name).ok())
            .collect()
    }

    /// The contents of a file, which must be a regular one, and what it is.
    pub fn read(&self, path: &str) -> Result<(Vec<u8>, Identity), String> {
        let real = below(&self.root, path);
        read_identified(&real, MAX_FILE).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => format!("{path} is no regular file"),
            ErrorKind::FileTooLarge => {
                let size = fs::metadata(&real).map_or(0, |meta| meta.len() >> 20);
                let limit = MAX_FILE >> 20;
                format!("{path} has {size} MiB, more than the {limit} MiB a unit may have")
            }
            _ => format!("cannot read {path}: {error}"),
        })
    }
}

enum Step {
    Alias(UnitName),
    End(Found),
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

/// Calls back for what the directories of a unit are named after, from special to general: its
/// name, its dash-separated prefixes, and the same of its template.
fn each_base(name: &UnitName, f: &mut dyn FnMut(usize, &str)) {
    let template = name.template();
    let mut rank = 0;
    for name in [Some(name), template.as_ref()].into_iter().flatten() {
        f(rank, name.as_str());
        rank += 1;
        let prefix = name.prefix();
        let tail = name.as_str().get(prefix.len()..).unwrap_or("");
        for (at, _) in prefix.rmatch_indices('-') {
            if at == 0 || at + 1 == prefix.len() {
                continue;
            }
            f(rank, &[prefix.get(..=at).unwrap_or(""), tail].concat());
            rank += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_in_directories_from_special_to_general() {
        let bases = |name: &str| {
            let mut list = Vec::new();
            each_base(&UnitName::new(name).unwrap(), &mut |_, base| {
                list.push(base.to_owned())
            });
            list
        };
        assert_eq!(bases("a.service"), ["a.service"]);
        assert_eq!(
            bases("a-b-c.service"),
            ["a-b-c.service", "a-b-.service", "a-.service"]
        );
        assert_eq!(
            bases("a-b@i-j.service"),
            [
                "a-b@i-j.service",
                "a-@i-j.service",
                "a-b@.service",
                "a-@.service"
            ]
        );
        assert_eq!(bases("-.slice"), ["-.slice"]);
    }

    #[test]
    fn links_are_taken_apart_without_the_disk() {
        let t = |dir: &str, text: &str| target_of(Path::new(dir), text).display().to_string();
        assert_eq!(t("/etc/u", "/usr/lib/u/a.service"), "/usr/lib/u/a.service");
        assert_eq!(t("/etc/u", "../../usr/./a.service"), "/usr/a.service");
        assert_eq!(t("/etc/u", "a.service"), "/etc/u/a.service");
        assert_eq!(t("/etc/u", "../../../../a.service"), "/a.service");
    }
}
