//! Directories beside a unit's file (`.d`, `.wants` …): which belong to a unit, and what is in them.

use super::{Index, MAX_LISTED, below};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use units::name::UnitName;

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
    pub(super) const ALL: [Self; 4] = [Self::DropIns, Self::Wants, Self::Requires, Self::Upholds];

    pub(super) fn suffix(self) -> &'static str {
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
pub(super) struct SubDir {
    /// Its name without suffix: a unit, a template, a prefix with its dash, or a type.
    pub(super) base: Box<str>,
    /// Index of its parent in the path.
    pub(super) dir: u16,
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

/// Whether a link with this text leads to `/dev/null`. Most are told apart by their end.
fn is_null(text: PathBuf) -> bool {
    text.as_os_str().as_encoded_bytes().ends_with(b"null") && text == Path::new("/dev/null")
}

impl Index {
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
}
