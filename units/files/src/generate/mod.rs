//! Generators: programs that make units of other configuration, before units are loaded
//! (systemd.generator(7)).
//!
//! The manager does not run them itself. It starts one short-lived process ([`main`]), which empties
//! the three directories of [`GENERATED`], runs the built-in generators and, all at the same time, every
//! program in the generator directories, waits for their ends, and ends. After [`TIME_LIMIT`] those
//! still running are killed; what they wrote is used. What goes wrong is written to the kernel's log
//! and changes nothing else. Where nothing would be generated ([`has_work`]), and on a board that is
//! the rule, no process is started at all.
//!
//! A generator is called with the directories for normal, early and late units, of which the units in
//! `early` go before everything, those in the first after the administrator's and before the
//! vendor's, those in `late` after all. In its environment are `SYSTEMD_SCOPE`, `SYSTEMD_IN_INITRD`,
//! `SYSTEMD_FIRST_BOOT`, `SYSTEMD_ARCHITECTURE` and, on a virtual machine or in a container,
//! `SYSTEMD_VIRTUALIZATION`. Unlike systemd's it is not kept in a sandbox.
//!
//! Built in are [`fstab`], [`getty`] and [`sysv`]; `BuiltinGenerators=` switches them off. At the first boot presets are applied here as well.

mod external;
pub mod fstab;
pub mod getty;
pub mod sysv;

use crate::config::{Config, GENERATED};
use crate::first_boot;
use crate::loader::index::{Index, below};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest that generators may take, in microseconds.
pub const TIME_LIMIT: u64 = 30_000_000;

/// The name this program is called by.
pub const PROGRAM: &str = "sysmaster-generate";

/// Which of the output directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before everything.
    Early,
    /// Between administrator and vendor.
    Normal,
    /// After everything.
    Late,
}

/// What a built-in generator makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A file: its name and its text.
    Unit(Place, String, String),
    /// A link: its path in the directory and what it says.
    Link(Place, String, String),
}

/// What the manager knows already when it asks.
pub struct Circumstances<'a> {
    /// `/` on a running machine.
    pub root: &'a Path,
    /// The manager's settings.
    pub config: &'a Config,
    /// The kernel's command line.
    pub command_line: &'a str,
}

/// Whether there is anything to generate, or was before. Costs a few lookups of names.
pub fn has_work(about: &Circumstances<'_>, index: &dyn Fn(&str) -> bool) -> bool {
    let (root, config) = (about.root, about.config);
    let on = |name: &str| config.builtin_generators.iter().any(|on| on == name);
    on("fstab") && fstab::has_work(root)
        || on("getty") && getty::has_work(about.command_line, index)
        || on("sysv") && sysv::has_work(root)
        || !external::find(root, &config.generator_path).is_empty()
        || GENERATED.iter().any(|dir| below(root, dir).exists())
}

/// The program: `sysmaster-generate --root DIR [--first-boot]`. Returns the exit status.
pub fn main(arguments: Vec<OsString>) -> i32 {
    let mut root = PathBuf::from("/");
    let mut first = false;
    let mut words = arguments.into_iter().skip(1);
    while let Some(word) = words.next() {
        match (word.to_str(), words.size_hint().0) {
            (Some("--first-boot"), _) => first = true,
            (Some("--root"), 1..) => root = words.next().map_or(root, PathBuf::from),
            _ => {
                eprintln!("{PROGRAM}: found {word:?}, expected --root DIR or --first-boot");
                return 2;
            }
        }
    }
    // Somebody's build is nothing for this machine's log.
    let log = (root == Path::new("/")).then(platform::console::KernelLog::open);
    for text in run(&root, &platform::kernel::command_line(), first) {
        match &log {
            Some(log) => log.write(4, PROGRAM, &text),
            None => eprintln!("{PROGRAM}: {text}"),
        }
    }
    0
}

/// Generates. Returns what is to be said, as sentences.
pub fn run(root: &Path, command_line: &str, first: bool) -> Vec<String> {
    let config = Config::read(root);
    let mut said = Vec::new();
    if first {
        said.extend(first_boot::complete(root, &config.search_path()));
    }
    if let Err(error) = make_directories(root) {
        said.push(format!("nothing is generated: {error}"));
        return said;
    }
    // What exists without generators: they neither see nor hide what they made themselves.
    let index = Index::scan(root, &config.unit_path);
    let has = |name: &str| units::name::UnitName::new(name).is_ok_and(|name| index.has(&name));
    let mut items = Vec::new();
    for name in &config.builtin_generators {
        items.extend(match name.as_str() {
            "fstab" => fstab::items(root, command_line, &mut said),
            "getty" => getty::items(command_line, &has, &|name| index.path_of(name)),
            _ => sysv::items(root, &has),
        });
    }
    for item in items {
        if let Err(error) = item.write(root) {
            said.push(error.to_string());
        }
    }
    let programs = external::find(root, &config.generator_path);
    said.extend(external::run(root, &programs, first));
    for dir in GENERATED {
        // One without anything in it only costs whoever loads units.
        let _ = fs::remove_dir(below(root, dir));
    }
    said
}

/// The output directories, new and empty.
fn make_directories(root: &Path) -> io::Result<()> {
    for dir in GENERATED {
        let real = below(root, dir);
        match fs::remove_dir_all(&real) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&real)?,
        }
    }
    Ok(())
}

impl Place {
    fn directory(self) -> &'static str {
        let [early, normal, late] = GENERATED;
        match self {
            Self::Early => early,
            Self::Normal => normal,
            Self::Late => late,
        }
    }
}

impl Item {
    fn write(&self, root: &Path) -> io::Result<()> {
        let (place, name) = match self {
            Self::Unit(place, name, _) | Self::Link(place, name, _) => (place, name),
        };
        let path = below(root, place.directory()).join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        match self {
            Self::Unit(_, _, text) => fs::write(path, text),
            Self::Link(_, _, target) => std::os::unix::fs::symlink(target, path),
        }
    }
}
