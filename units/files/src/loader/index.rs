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

mod aliases;
mod beside;

pub(crate) use aliases::Found;
pub(crate) use beside::Sub;

use beside::{SubDir, SubItem};
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

#[derive(Debug)]
struct Item {
    name: Box<str>,
    /// Index of its directory in the path.
    dir: u16,
    kind: Kind,
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
