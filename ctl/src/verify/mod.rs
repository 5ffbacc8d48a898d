//! `sctl verify`: everything that is wrong in a tree of unit files, at once.
//!
//! Units are loaded as the manager and their type would load them; nothing is started, no manager
//! is asked. Looked for are, each a [`Kind`]:
//!
//! * values that mean nothing, names nobody knows, and directives that are not carried out;
//! * units that are needed and are not there, or cannot be loaded, and links that lead nowhere;
//! * commands whose program is not there or is not executable;
//! * types no helper is installed for;
//! * ordering cycles among units that are started together ([`cycles`]).
//!
//! An **error** keeps a unit from doing what its file says; a **warning** is most likely a mistake;
//! a **note** is something the unit asks for and does not get. The exit status is 1 if there is an
//! error, else 0: a build system can rely on it.
//!
//! Named are units or files; without a name everything in the unit path is looked at. Findings are
//! shown of the units that were asked for, and of others only what keeps these from starting. A
//! template is read as its instance [`INSTANCE`].

mod cycles;
mod program;
mod show;

pub use show::directive;

use crate::files::Place;
use crate::{Fault, Run, exit, json};
use std::path::{Path, PathBuf};
use unit_files::loader::{Loaded, Loader};
use units::collections::{Map, Set};
use units::directives::{Standing, standing};
use units::name::UnitName;
use units::spec::{DepKind, LoadState};
use units::wire::helper::{Finding, HelperConfig, Severity, UnitSource};

/// The instance a template is read as.
const INSTANCE: &str = "i";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The unit does not do what its file says.
    Error,
    /// Most likely a mistake.
    Warning,
    /// Asked for and not carried out.
    Note,
}

impl Level {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The unit cannot be loaded.
    Load,
    /// Something in the text of its files.
    Text,
    /// A directive that is not carried out.
    Unsupported,
    /// A unit it needs.
    Dependency,
    /// A program it runs.
    Executable,
    /// No helper for its type.
    Type,
    /// Order.
    Cycle,
}

impl Kind {
    /// Its word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Text => "text",
            Self::Unsupported => "unsupported",
            Self::Dependency => "dependency",
            Self::Executable => "executable",
            Self::Type => "type",
            Self::Cycle => "cycle",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// File it stands in; empty if in none.
    pub file: String,
    /// Line in it, from 1; 0: the whole file.
    pub line: u32,
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub kind: Kind,
    /// Unit it is about.
    pub unit: String,
    /// What was found, what was expected.
    pub text: String,
}

/// The units that were looked at and what they need.
struct Tree<'a> {
    place: &'a Place,
    loader: Loader,
    /// Every unit that was loaded, once.
    units: Vec<Loaded>,
    /// Which one a name leads to.
    known: Map<UnitName, usize>,
    problems: Set<Problem>,
}

/// The command.
pub fn command(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let place = Place::of(run.options);
    let (names, path) = asked_for(&place, words)?;
    let mut tree = Tree {
        loader: place.loader(path),
        place: &place,
        units: Vec::new(),
        known: Map::new(),
        problems: Set::new(),
    };
    let everything = names.is_empty();
    let names = if everything {
        tree.loader.unit_names().into_iter().collect()
    } else {
        names
    };
    let asked: Vec<usize> = names.iter().filter_map(|name| tree.ask(name)).collect();
    tree.load_what_they_need();
    for at in asked.iter().copied().collect::<Set<_>>() {
        tree.check(at, everything);
    }
    tree.check_order(&asked);
    let problems: Vec<Problem> = tree.problems.into_iter().collect();
    let count = |level| problems.iter().filter(|p| p.level == level).count();
    let errors = count(Level::Error);
    if run.options.json {
        run.print(&json::verified(asked.len(), &problems));
    } else {
        let text = show::text(&run.screen.style, &problems);
        run.print(&text);
        if everything || errors > 0 {
            run.say(&format!(
                "{} units: {errors} errors, {} warnings",
                asked.len(),
                count(Level::Warning)
            ));
        }
    }
    Ok(if errors == 0 { exit::OK } else { exit::FAILURE })
}

/// The units of the command line, and the unit path with the directories of its files in front.
fn asked_for(place: &Place, words: &[String]) -> Result<(Vec<UnitName>, Vec<PathBuf>), Fault> {
    let mut path = place.path.clone();
    let mut names = Vec::new();
    for word in words {
        let name = if word.contains('/') {
            let (name, directory) = by_file(place, word)?;
            if !path.contains(&directory) {
                path.insert(0, directory);
            }
            name
        } else {
            word.clone()
        };
        names.push(UnitName::mangle(&name)?);
    }
    Ok((names, path))
}

/// Name and directory for a file given by its path.
fn by_file(place: &Place, word: &str) -> Result<(String, PathBuf), Fault> {
    let full =
        std::path::absolute(word).map_err(|error| Fault::failed(format!("{word}: {error}")))?;
    if !full.exists() {
        let text = format!("{word}: there is no such file");
        return Err(Fault::new(exit::NOT_INSTALLED, text));
    }
    let name = full.file_name().and_then(|name| name.to_str());
    // Paths of the unit path begin at the root that is worked on.
    let directory = full.parent().unwrap_or(Path::new("/"));
    let root = std::path::absolute(&place.root).unwrap_or_else(|_| place.root.clone());
    match directory.strip_prefix(&root) {
        Ok(below) => Ok((name.unwrap_or("").to_owned(), Path::new("/").join(below))),
        Err(_) => Err(Fault::usage(format!(
            "{word} is not below {}",
            place.root.display()
        ))),
    }
}

/// A unit as its helper gets it.
/// A unit as its helper is told of it.
pub fn source(unit: &Loaded) -> UnitSource {
    UnitSource {
        unit: unit.spec.id.as_str().to_owned(),
        files: unit.files(),
        entries: unit.entries.clone(),
        description: unit.spec.description.clone(),
        cgroup: String::new(),
    }
}

/// `[Socket]`, as its helper reads it.
fn read_socket(unit: &Loaded) -> Vec<Finding> {
    let reading = unit_socket::config::read(&source(unit), false);
    reading.map_or_else(Vec::new, |reading| reading.findings)
}

fn read_mount(unit: &Loaded) -> Vec<Finding> {
    let reading = unit_mount::config::read(&source(unit), false);
    reading.map_or_else(Vec::new, |reading| reading.findings)
}

impl Tree<'_> {
    /// Loads a unit somebody asked for.
    fn ask(&mut self, name: &UnitName) -> Option<usize> {
        let name = if name.is_template() {
            name.instantiate(INSTANCE).ok()?
        } else {
            name.clone()
        };
        Some(self.load(&name))
    }

    fn load(&mut self, name: &UnitName) -> usize {
        if let Some(at) = self.known.get(name) {
            return *at;
        }
        let loaded = self.loader.load(name);
        let id = loaded.spec.id.clone();
        let at = *self.known.entry(id).or_insert(self.units.len());
        if at == self.units.len() {
            self.units.push(loaded);
        }
        self.known.insert(name.clone(), at);
        at
    }

    /// Loads what starting the units would pull in.
    fn load_what_they_need(&mut self) {
        let mut at = 0;
        while let Some(unit) = self.units.get(at) {
            at += 1;
            let pulled =
                |(kind, _): &&(DepKind, UnitName)| kind.pulls_in() || *kind == DepKind::Requisite;
            let names: Vec<UnitName> = unit
                .spec
                .deps
                .iter()
                .filter(pulled)
                .map(|(_, name)| name.clone())
                .collect();
            for name in names {
                self.load(&name);
            }
        }
    }

    /// Everything that can be said of one unit without the others' order.
    fn check(&mut self, at: usize, everything: bool) {
        let Some(unit) = self.units.get(at).cloned() else {
            return;
        };
        match &unit.spec.load {
            LoadState::Loaded => {}
            // Nobody asked for a unit that is masked to be started.
            LoadState::Masked => return,
            LoadState::NotFound if everything => {
                self.about(
                    &unit,
                    Level::Warning,
                    Kind::Load,
                    "a link leads here, and there is no such unit file",
                );
                return;
            }
            _ => {
                let texts = unit.findings.iter().any(|f| f.severity == Severity::Error);
                if !texts {
                    self.about(&unit, Level::Error, Kind::Load, unit.spec.load.reason());
                }
            }
        }
        let mut findings = unit.findings.clone();
        match unit.spec.id.unit_type() {
            // Of a file that cannot be read the rest says nothing.
            "service" | "socket" | "mount" if matches!(unit.spec.load, LoadState::Error { .. }) => {
            }
            "service" => findings.extend(self.read_service(&unit)),
            "socket" => findings.extend(read_socket(&unit)),
            "mount" => findings.extend(read_mount(&unit)),
            "target" | "slice" => {}
            _ => self.check_type(&unit, &mut findings),
        }
        for finding in &findings {
            self.found(&unit, finding);
        }
        self.check_needs(&unit);
    }

    /// `[Service]`, as its helper reads it, and the programs it would run.
    fn read_service(&mut self, unit: &Loaded) -> Vec<Finding> {
        let reading = unit_service::config::read(&source(unit), &HelperConfig::default());
        for text in program::missing(&self.place.root, unit, &reading.config) {
            self.about(unit, Level::Error, Kind::Executable, &text);
        }
        reading.findings
    }

    /// A type that is not built in: whether somebody carries it out, and what systemd knows of its
    /// directives.
    fn check_type(&mut self, unit: &Loaded, findings: &mut Vec<Finding>) {
        let unit_type = unit.spec.id.unit_type();
        if unit_type != "device" && !self.place.has_helper(unit_type) {
            let text =
                format!("there is no helper for units of type {unit_type}: it cannot be started");
            self.about(unit, Level::Note, Kind::Type, &text);
        }
        if units::directives::own_section(unit_type).is_none() {
            return;
        }
        for entry in &unit.entries {
            if standing(&entry.section, &entry.key) == Standing::UnknownKey {
                findings.push(Finding {
                    severity: Severity::Warning,
                    file: entry.file,
                    line: entry.line,
                    text: format!(
                        "unknown name “{}” in [{}], ignored",
                        entry.key, entry.section
                    ),
                });
            }
        }
    }

    /// Units it cannot do without must be there; those it merely wants should.
    fn check_needs(&mut self, unit: &Loaded) {
        for (kind, name) in &unit.spec.deps {
            let must = matches!(
                kind,
                DepKind::Requires | DepKind::BindsTo | DepKind::Requisite
            );
            if !must && !kind.pulls_in() {
                continue;
            }
            let Some(other) = self.known.get(name).and_then(|at| self.units.get(*at)) else {
                continue;
            };
            let word = kind.as_str();
            let text = match &other.spec.load {
                LoadState::Loaded => continue,
                LoadState::NotFound => format!("{word}={name}: there is no such unit"),
                LoadState::Masked if !must => continue,
                other => format!("{word}={name}: {}", other.reason()),
            };
            if name.as_str() == "sysinit.target" && unit.spec.default_dependencies {
                self.no_sysinit();
                continue;
            }
            let level = if must { Level::Error } else { Level::Warning };
            self.about(unit, level, Kind::Dependency, &text);
        }
    }

    /// What every unit with default dependencies needs is missing: said once.
    fn no_sysinit(&mut self) {
        self.problems.insert(Problem {
            file: String::new(),
            line: 0,
            level: Level::Error,
            kind: Kind::Dependency,
            unit: "sysinit.target".into(),
            text: "there is no such unit, and everything without DefaultDependencies=no needs it"
                .into(),
        });
    }

    fn check_order(&mut self, asked: &[usize]) {
        let graph = cycles::Graph::of(&self.units, &self.known);
        for (first, text) in graph.cycles(asked) {
            if let Some(unit) = self.units.get(first).cloned() {
                self.about(&unit, Level::Error, Kind::Cycle, &text);
            }
        }
    }

    /// Something about a unit as a whole.
    fn about(&mut self, unit: &Loaded, level: Level, kind: Kind, text: &str) {
        self.problems.insert(Problem {
            file: unit.spec.fragment.clone(),
            line: 0,
            level,
            kind,
            unit: unit.spec.id.as_str().to_owned(),
            text: printable(text),
        });
    }

    /// Something in a unit's files.
    fn found(&mut self, unit: &Loaded, finding: &Finding) {
        let (level, kind) = match finding.severity {
            Severity::Error => (Level::Error, Kind::Text),
            Severity::Warning => (Level::Warning, Kind::Text),
            Severity::Unsupported => (Level::Note, Kind::Unsupported),
        };
        let files = unit.files();
        let file = files.get(usize::from(finding.file));
        self.problems.insert(Problem {
            file: file.cloned().unwrap_or_default(),
            line: finding.line,
            level,
            kind,
            unit: unit.spec.id.as_str().to_owned(),
            text: printable(&finding.text),
        });
    }
}

/// What is said goes to terminals, whatever a file has in its values.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
