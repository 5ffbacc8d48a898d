//! From names to units: finding, merging and reading unit files.
//!
//! A unit is made of, in this order: its file, found by its name or by its template's in the first
//! directory of the unit path that has it, aliases followed; the drop-ins of all its names; the
//! links in its `.wants/`, `.requires/` and `.upholds/` directories; and what its type implies
//! ([`defaults`]). `[Unit]` is interpreted here, `[Install]` only by [`crate::install`], everything
//! else is handed over as it is, for the unit's type to interpret.
//!
//! Nothing in a file can make loading fail for another unit or for the manager: the answer is
//! always a unit, whose load state says what is wrong with it and where.
//!
//! Loading is pure looking up after the first scan ([`index`]). It is not lazy about aliases: all
//! names a unit has are in its spec, whichever it was asked for by.

mod again;
pub mod condition;
mod defaults;
mod host;
pub(crate) mod index;
mod mounts;

use again::Stamp;
use defaults::{Defaults, Peek};
use index::{Found, Index, Sub, below};
use platform::files::Identity;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use units::collections::Set;
use units::directives::{Standing, own_section, standing};
use units::facts::{Machine, UnitFacts};
use units::file::{Entry, UnitFile, describe, first_error};
use units::name::UnitName;
use units::spec::{self, Condition, DepKind, LoadState, StartLimit, UnitSpec};
use units::value::specifier::expand;
use units::wire::helper::{Finding, RawEntry, Severity};

/// How units are loaded.
pub struct Settings {
    /// The root of the file system: `/` on the running machine.
    pub root: PathBuf,
    /// Directories of the unit path, as seen below the root, the strongest first.
    pub unit_path: Vec<PathBuf>,
    /// A directive known to systemd and not carried out is an error.
    pub strict: bool,
    /// Start limit of units that say nothing.
    pub start_limit: StartLimit,
    /// Whether there is somebody to carry out units of this type. Asked for mounts only: a path
    /// whose mount unit nobody can carry out is not waited for.
    pub has_type: fn(&str) -> bool,
}

/// A unit as loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the manager knows of it.
    pub spec: UnitSpec,
    /// Assignments of its own sections, in merge order. Files are counted as `spec.fragment` (if
    /// there is one), then `spec.dropins`.
    pub entries: Vec<RawEntry>,
    /// What was found in its files, in the order of files and lines.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// The unit's files in the order in which findings and entries count them.
    pub fn files(&self) -> Vec<String> {
        files(&self.spec)
    }
}

fn files(spec: &UnitSpec) -> Vec<String> {
    let fragment = Some(&spec.fragment).filter(|path| !path.is_empty());
    fragment.into_iter().chain(&spec.dropins).cloned().collect()
}

/// FNV-1a: names are short. It has no secret, since whoever writes unit files is root.
#[derive(Default)]
struct NameHash(u64);

impl Hasher for NameHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is kept of a unit between its loads.
#[derive(Default)]
struct Known {
    peek: Option<Rc<Peek>>,
    /// It was loaded because a target had to know it, and was not asked for yet.
    ready: Option<Box<Loaded>>,
    stamp: Option<Stamp>,
}

/// Finds and reads units.
pub struct Loader {
    settings: Settings,
    machine: Machine,
    index: Index,
    /// What the directories were at the last reload, if they were read anew since for one unit's sake.
    before: Option<Index>,
    known: HashMap<UnitName, Known, BuildHasherDefault<NameHash>>,
    defaults: Defaults,
}

impl Loader {
    /// Scans the unit path.
    pub fn new(settings: Settings) -> Self {
        Self {
            machine: Machine::new(&settings.root),
            index: Index::scan(&settings.root, &settings.unit_path),
            before: None,
            known: HashMap::default(),
            defaults: Defaults::default(),
            settings,
        }
    }

    /// The settings; changes count from the next load on, those of the path from the next reload on.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Loads a unit by any of its names. There is always an answer: see its load state.
    pub fn load(&mut self, name: &UnitName) -> Loaded {
        let mut loaded = self.load_unordered(name);
        self.order(&mut loaded.spec);
        loaded
    }

    /// The same, but a target does not come after what it pulls in yet. That is for [`Loader::order`],
    /// best once those are loaded: otherwise it reads them all, and keeps them until they are asked for.
    pub fn load_unordered(&mut self, name: &UnitName) -> Loaded {
        let ready = self
            .known
            .get_mut(name)
            .and_then(|known| known.ready.take());
        ready.map_or_else(|| self.load_alone(name), |ready| *ready)
    }

    /// Puts a target after what it pulls in.
    pub fn order(&mut self, spec: &mut UnitSpec) {
        if spec.id.unit_type() == "target" && spec.load.is_loaded() {
            defaults::target_order(spec, |other| self.peek(other));
            spec.tidy();
        }
    }

    /// Nothing is about to be loaded: what was read and not asked for is forgotten.
    pub fn rest(&mut self) {
        self.known.values_mut().for_each(|known| known.ready = None);
    }

    /// What a unit is that is not even looked at, because that killed its manager.
    pub fn quarantined(&mut self, name: &UnitName) -> Loaded {
        let mut spec = UnitSpec::new(name.clone());
        let reason = "it is in quarantine: loading it killed the manager twice (sctl crashes); \
            sctl reset-failed tries again";
        spec.load = LoadState::Error {
            reason: reason.into(),
        };
        self.known.entry(name.clone()).or_default().peek = Some(Rc::new(Peek::of(&spec)));
        Loaded {
            spec,
            entries: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The first of these conditions that does not hold, as it is written; `None` if they all do.
    /// See [`condition`].
    pub fn failed_condition(&self, conditions: &[Condition]) -> Option<String> {
        condition::World {
            root: &self.settings.root,
            machine: &self.machine,
        }
        .failed(conditions)
    }

    /// Whether there is a unit file of this name, as far as the last scan saw.
    pub fn has(&self, name: &str) -> bool {
        UnitName::new(name).is_ok_and(|name| self.index.has(&name))
    }

    /// Every name in the unit path that is a unit's, sorted.
    pub fn unit_names(&self) -> Set<UnitName> {
        self.index.unit_names()
    }

    /// What is known of the machine the units are for.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn peek(&mut self, name: &UnitName) -> Rc<Peek> {
        if let Some(peek) = self.known.get(name).and_then(|known| known.peek.as_ref()) {
            return Rc::clone(peek);
        }
        let loaded = self.load_alone(name);
        let known = self.known.entry(name.clone()).or_default();
        let new = || Rc::new(Peek::of(&loaded.spec));
        let peek = Rc::clone(known.peek.get_or_insert_with(new));
        known.ready = Some(Box::new(loaded));
        peek
    }

    /// Whether the kernel has this mount, which therefore needs no file to be a unit.
    fn is_mounted(&self, id: &UnitName) -> bool {
        id.unit_type() == "mount"
            && self.settings.root == Path::new("/")
            && (self.settings.has_type)("mount")
            && mounts::point_of(id).is_some_and(|point| host::has_mount(&point))
    }

    /// Requires the mounts of a unit's paths, where somebody adds such after it was loaded.
    pub fn need_mounts(&self, spec: &mut UnitSpec) {
        let (index, has_type) = (&self.index, self.settings.has_type);
        defaults::need_mounts(spec, |mount| has_type("mount") && index.has(mount));
    }

    /// A unit without what only its relation to others implies.
    fn load_alone(&mut self, name: &UnitName) -> Loaded {
        let resolved = self.index.resolve(name);
        let mut spec = UnitSpec::new(resolved.id);
        spec.start_limit = self.settings.start_limit;
        let mut contents = None;
        let mut read = Vec::new();
        match resolved.found {
            Found::Nothing if defaults::needs_no_file(&spec.id) || self.is_mounted(&spec.id) => {
                spec.load = LoadState::Loaded;
            }
            Found::Nothing => spec.load = LoadState::NotFound,
            Found::Wrong(reason) => spec.load = LoadState::Error { reason },
            Found::Masked(path) => {
                spec.fragment = path;
                spec.load = LoadState::Masked;
            }
            Found::File(path) => {
                contents = self.fragment(&mut spec, &path, &mut read);
                spec.fragment = path;
            }
        }
        if spec.id.is_template() && spec.load.is_loaded() {
            let reason = "it is a template: name an instance, as in getty@tty1.service".into();
            spec.load = LoadState::Error { reason };
        }
        let mut loaded = Loaded {
            spec,
            entries: Vec::new(),
            findings: Vec::new(),
        };
        if loaded.spec.load.is_loaded() {
            loaded.spec.names = self.index.names_of(&loaded.spec.id);
            self.interpret(&mut loaded, contents, &mut read);
        }
        self.keep(&loaded, &read);
        loaded
    }

    /// Notes what a later load of it is compared with.
    fn keep(&mut self, loaded: &Loaded, read: &[Option<Identity>]) {
        let spec = &loaded.spec;
        let fresh = self.stamp_of(&spec.id).is_none();
        let stamp = fresh.then(|| self.stamp(files(spec), read));
        let known = self.known.entry(spec.id.clone()).or_default();
        known.stamp = stamp.or(known.stamp.take());
        if spec.load.is_loaded() {
            known.peek = Some(Rc::new(Peek::of(spec)));
        }
    }

    /// The contents of the unit file; sets the load state.
    fn fragment(
        &self,
        spec: &mut UnitSpec,
        path: &str,
        read: &mut Vec<Option<Identity>>,
    ) -> Option<Vec<u8>> {
        let result = self.index.read(path);
        read.push(result.as_ref().ok().map(|(_, identity)| *identity));
        match result {
            // As in systemd: an empty file is a mask.
            Ok((bytes, _)) if bytes.is_empty() => spec.load = LoadState::Masked,
            Ok((bytes, _)) => {
                spec.load = LoadState::Loaded;
                return Some(bytes);
            }
            Err(reason) => spec.load = LoadState::Error { reason },
        }
        None
    }

    fn interpret(
        &mut self,
        loaded: &mut Loaded,
        contents: Option<Vec<u8>>,
        read: &mut Vec<Option<Identity>>,
    ) {
        let mut file = UnitFile::new();
        let findings = &mut loaded.findings;
        let mut sound = true;
        let mut number = 0;
        if let Some(bytes) = contents {
            sound = file.add(0, &bytes, findings);
            number = 1;
        }
        let spec = &mut loaded.spec;
        for path in drop_ins(&mut self.index, &spec.id, &spec.names) {
            let result = self.index.read(&path);
            read.push(result.as_ref().ok().map(|(_, identity)| *identity));
            match result {
                Ok((bytes, _)) => sound &= file.add(number, &bytes, findings),
                Err(text) => {
                    let severity = Severity::Error;
                    findings.push(Finding {
                        severity,
                        file: number,
                        line: 0,
                        text,
                    });
                    sound = false;
                }
            }
            spec.dropins.push(path);
            number = number.saturating_add(1);
        }
        let fragment = spec.fragment.clone();
        let facts = UnitFacts {
            machine: &self.machine,
            fragment: &fragment,
        };
        spec::read(spec, &file, &facts, findings);
        let files = files(spec);
        if !sound {
            let reason = first_error(findings, &files).unwrap_or_default();
            spec.load = LoadState::Error { reason };
        }
        loaded.entries = own_entries(spec, &file, findings);
        let related = place(spec, &file, &files, &facts)
            .and_then(|()| triggers(spec, &file, &files, &facts))
            .and_then(|()| sockets_of(spec, &file, &files, &facts));
        if let Err(reason) = related {
            spec.load = LoadState::BadSetting { reason };
        }
        if self.settings.strict
            && spec.load.is_loaded()
            && let Some(first) = spec.unsupported.first()
        {
            let reason = format!("{first} is not supported, and the manager is set to Strict=yes");
            spec.load = LoadState::BadSetting { reason };
        }
        linked(&mut self.index, spec, findings);
        if spec.id.unit_type() == "mount" {
            mounts::depend(spec, &file, &facts);
        }
        self.need_mounts(&mut loaded.spec);
        let spec = &mut loaded.spec;
        self.defaults.add(spec);
        spec.tidy();
    }
}

/// The drop-ins of a unit in merge order.
fn drop_ins(index: &mut Index, id: &UnitName, names: &[UnitName]) -> Vec<String> {
    let names: Vec<&UnitName> = [id].into_iter().chain(names).collect();
    let found = index.collect(&names, Sub::DropIns);
    found
        .into_iter()
        .filter(|(name, _)| name.ends_with(".conf"))
        .map(|(_, path)| path)
        .collect()
}

/// Dependencies by links: `multi-user.target.wants/nginx.service`.
fn linked(index: &mut Index, spec: &mut UnitSpec, findings: &mut Vec<Finding>) {
    const KINDS: [(Sub, DepKind); 3] = [
        (Sub::Wants, DepKind::Wants),
        (Sub::Requires, DepKind::Requires),
        (Sub::Upholds, DepKind::Upholds),
    ];
    for (sub, kind) in KINDS {
        let names: Vec<&UnitName> = [&spec.id].into_iter().chain(&spec.names).collect();
        let links = index.collect(&names, sub);
        for (name, path) in links {
            let other = UnitName::new(&name).and_then(|other| match spec.id.instance() {
                Some(instance) if other.is_template() => other.instantiate(instance),
                _ => Ok(other),
            });
            match other {
                Ok(other) if !other.is_template() => spec.add_dep(kind, other),
                _ => {
                    let text =
                        format!("{path}: found {name}, expected the name of a unit; ignored");
                    findings.push(Finding {
                        severity: Severity::Warning,
                        file: 0,
                        line: 0,
                        text,
                    });
                }
            }
        }
    }
}

/// The entries for the unit's type. Sections that cannot be meant for it are reported and dropped;
/// of a type systemd does not have, every section may be its own.
fn own_entries(spec: &UnitSpec, file: &UnitFile, findings: &mut Vec<Finding>) -> Vec<RawEntry> {
    let unit_type = spec.id.unit_type();
    let own = own_section(unit_type);
    let closed = own.is_some() || matches!(unit_type, "target" | "device");
    let mut entries = Vec::with_capacity(file.len());
    let mut strange: Vec<&str> = Vec::new();
    for entry in file.entries() {
        if spec::reads(entry.section, entry.key) {
            // What a service without commands is for: its type has to know.
            if unit_type == "service" && entry.key == "SuccessAction" {
                entries.push(entry.to_raw());
            }
            continue;
        }
        if !closed || own == Some(entry.section) {
            if entry.key.starts_with("X-") || (closed && entry.key == "Slice") {
                continue;
            }
            entries.push(entry.to_raw());
        } else if !strange.contains(&entry.section) {
            strange.push(entry.section);
            let section = entry.section;
            let text = match standing(section, "") {
                Standing::UnknownSection => format!("unknown section [{section}]; ignored"),
                _ => format!("section [{section}] has no meaning in a .{unit_type} unit; ignored"),
            };
            findings.push(entry.finding(Severity::Warning, text));
        }
    }
    entries
}

/// Reads `Slice=` and puts the unit there.
fn place(
    spec: &mut UnitSpec,
    file: &UnitFile,
    files: &[String],
    facts: &UnitFacts<'_>,
) -> Result<(), String> {
    let entry = own_section(spec.id.unit_type()).and_then(|section| file.last(section, "Slice"));
    let asked = entry
        .map(|entry| unit_in(spec, &entry, entry.value, "slice", files, facts))
        .transpose()?;
    defaults::place_in_slice(spec, asked.flatten());
    Ok(())
}

/// Reads what a socket, timer or path is there to start.
fn triggers(
    spec: &mut UnitSpec,
    file: &UnitFile,
    files: &[String],
    facts: &UnitFacts<'_>,
) -> Result<(), String> {
    let Some((section, key)) = defaults::trigger_directive(spec.id.unit_type()) else {
        return Ok(());
    };
    let wanted = if key == "Service" { "service" } else { "" };
    let asked = file
        .last(section, key)
        .map(|entry| unit_in(spec, &entry, entry.value, wanted, files, facts))
        .transpose()?;
    defaults::trigger(spec, asked.flatten());
    Ok(())
}

/// Reads a service's `Sockets=`: it wants them, and comes after them.
fn sockets_of(
    spec: &mut UnitSpec,
    file: &UnitFile,
    files: &[String],
    facts: &UnitFacts<'_>,
) -> Result<(), String> {
    for entry in file.list("Service", "Sockets") {
        for word in entry.value.split_whitespace() {
            if let Some(socket) = unit_in(spec, &entry, word, "socket", files, facts)? {
                spec.add_dep(DepKind::Wants, socket.clone());
                spec.add_dep(DepKind::After, socket);
            }
        }
    }
    Ok(())
}

/// The unit of type `wanted` (any, if that is empty) that a value names; `None` if it is empty.
fn unit_in(
    spec: &UnitSpec,
    entry: &Entry<'_>,
    value: &str,
    wanted: &str,
    files: &[String],
    facts: &UnitFacts<'_>,
) -> Result<Option<UnitName>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = |text: String| {
        let text = format!("{}=: {text}", entry.key);
        describe(&entry.finding(Severity::Error, text), files)
    };
    let text = expand(value, &spec.id, facts).map_err(|e| wrong(e.to_string()))?;
    let unit = UnitName::new(&text).map_err(|e| wrong(e.to_string()))?;
    if !wanted.is_empty() && unit.unit_type() != wanted {
        return Err(wrong(format!(
            "found {unit}, expected a unit of type {wanted}"
        )));
    }
    Ok(Some(unit))
}

/// What this machine is if it is not a real one: `vm:` or `container:`, and systemd's name for it.
pub(crate) fn virtualization() -> Option<String> {
    let (kind, name) = host::virtualization()?;
    let kind = match kind {
        host::VirtKind::Machine => "vm:",
        host::VirtKind::Container => "container:",
    };
    Some([kind, name].concat())
}

/// Whether the file system a path lies on is read-only.
pub(crate) fn is_read_only(path: &Path) -> bool {
    host::is_read_only(path).unwrap_or(false)
}

/// The text of a unit's files, one after another, each under a line `# path`: what `cat` shows.
pub fn cat(root: &Path, spec: &UnitSpec) -> String {
    let mut text = String::new();
    for path in files(spec) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("# {path}\n"));
        match platform::files::read_file(&below(root, &path), units::file::MAX_FILE) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => text.push_str(&format!("# cannot be read: {error}\n")),
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
