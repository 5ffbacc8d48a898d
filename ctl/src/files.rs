//! Commands that work on the files of an installation: links, and the text of units.
//!
//! They need no manager, and with `--root` not even a running machine: the unit path is the one
//! the settings of that root name. After a change of links on the running machine the manager is
//! asked to read its files again, so that what was enabled is known at once; if there is none,
//! that is no error.

use crate::args::Options;
use crate::commands::Verb;
use crate::style::{Cell, Paint, table};
use crate::{Fault, Run, exit, is_pattern, jobs, json, unit_name};
use std::path::{Path, PathBuf};
use unit_files::config::Config;
use unit_files::install::{Change, Error, Installer, Outcome, State};
use unit_files::loader::{self, Loader, Settings};
use units::glob;
use units::name::UnitName;
use units::spec::StartLimit;
use units::state::JobVerb;
use units::wire::control::Request;

/// The link that names the target to boot.
const DEFAULT: &str = "default.target";

/// Carries out one of the commands of this module.
pub fn command(run: &mut Run<'_, '_>, verb: Verb, words: &[String]) -> Result<i32, Fault> {
    match verb {
        Verb::Cat => cat(run, words),
        Verb::ListUnitFiles => list(run, words),
        Verb::IsEnabled => is_enabled(run, words),
        Verb::GetDefault => get_default(run),
        Verb::SetDefault => set_default(run, words),
        Verb::Verify => crate::verify::command(run, words),
        _ => change(run, verb, words),
    }
}

/// Whether the unit is enabled, for a screen that can do without; empty if it cannot be told.
pub fn state_for_status(options: &Options, unit: &str) -> String {
    let place = Place::of(options);
    match UnitName::new(unit).map(|name| place.installer(options).state(&name)) {
        Ok(State::NotFound) | Err(_) => String::new(),
        Ok(state) => state.as_str().to_owned(),
    }
}

/// A root and its unit path.
pub struct Place {
    /// `/`, or what `--root` says.
    pub root: PathBuf,
    /// Directories as seen below the root, the strongest first.
    pub path: Vec<PathBuf>,
}

impl Place {
    /// That of the command line.
    pub fn of(options: &Options) -> Self {
        let root = PathBuf::from(options.root.as_deref().unwrap_or("/"));
        let path = Config::read(&root).search_path();
        Self { root, path }
    }

    fn installer(&self, options: &Options) -> Installer {
        Installer::new(&self.root, &self.path)
            .runtime(options.runtime)
            .force(options.force)
    }

    /// Whether there is a helper for units of this type; of a root without helpers (a build that is
    /// not finished, an installation of somebody else's) those that come with this program count.
    pub fn has_helper(&self, unit_type: &str) -> bool {
        let helpers = self.root.join("usr/lib/sysmaster/helpers");
        if helpers.is_dir() {
            helpers.join(unit_type).exists() || helpers.join(unit_type).is_symlink()
        } else {
            matches!(unit_type, "service" | "socket" | "mount")
        }
    }

    /// Reads units by this path.
    pub fn loader(&self, path: Vec<PathBuf>) -> Loader {
        Loader::new(Settings {
            root: self.root.clone(),
            unit_path: path,
            strict: false,
            start_limit: StartLimit::default(),
            has_type: |kind| matches!(kind, "service" | "mount"),
        })
    }
}

fn names(words: &[String]) -> Result<Vec<UnitName>, Fault> {
    words
        .iter()
        .map(|word| Ok(UnitName::mangle(word)?))
        .collect()
}

/// `enable`, `disable`, `reenable`, `preset`, `preset-all`, `mask`, `unmask`.
fn change(run: &mut Run<'_, '_>, verb: Verb, words: &[String]) -> Result<i32, Fault> {
    let options = run.options;
    let (paths, words): (Vec<_>, Vec<_>) = words
        .iter()
        .cloned()
        .partition(|word| verb == Verb::Enable && word.contains('/'));
    let mut units = names(&words)?;
    let installer = Place::of(options).installer(options);
    let mut outcome = Outcome::default();
    if !paths.is_empty() {
        let files: Vec<&str> = paths.iter().map(String::as_str).collect();
        outcome = failed(installer.link(&files))?;
        for path in &files {
            let name = Path::new(path)
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or("");
            units.push(UnitName::new(name)?);
        }
    }
    let done = failed(match verb {
        Verb::Enable => installer.enable(&units),
        Verb::Disable => installer.disable(&units),
        Verb::Reenable => installer.reenable(&units),
        Verb::Preset => installer.preset(&units),
        Verb::PresetAll => installer.preset_all(options.preset_mode),
        Verb::Mask => installer.mask(&units),
        _ => installer.unmask(&units),
    })?;
    outcome.add(done);
    report(run, &outcome);
    tell_manager(run);
    let job = match verb {
        Verb::Enable | Verb::Reenable if options.now => JobVerb::Start,
        Verb::Disable | Verb::Mask if options.now => JobVerb::Stop,
        _ => return Ok(exit::OK),
    };
    if options.root.is_some() {
        return Err(Fault::usage(
            "--now is for the running machine, --root for another one",
        ));
    }
    let units: Vec<String> = units.iter().map(|unit| unit.as_str().to_owned()).collect();
    jobs::queue(run, job, &units)
}

fn failed(result: Result<Outcome, Error>) -> Result<Outcome, Fault> {
    result.map_err(Fault::failed)
}

fn report(run: &mut Run<'_, '_>, outcome: &Outcome) {
    if run.options.json {
        let changes: Vec<(&str, Option<&str>)> = outcome
            .changes
            .iter()
            .map(|change| match change {
                Change::Created { link, target } => (link.as_str(), Some(target.as_str())),
                Change::Removed { link } => (link.as_str(), None),
            })
            .collect();
        run.print(&json::changes(&changes, &outcome.notes));
        return;
    }
    for change in &outcome.changes {
        run.say(&match change {
            Change::Created { link, target } => format!("made {link} -> {target}"),
            Change::Removed { link } => format!("removed {link}"),
        });
    }
    for note in &outcome.notes {
        run.say(note);
    }
}

/// Has the manager of this machine read its files, if there is one that would listen.
fn tell_manager(run: &mut Run<'_, '_>) {
    let options = run.options;
    if options.root.is_none() && !options.no_reload {
        let _ = run.client.ask(&Request::Reload);
    }
}

/// `is-enabled`: the best of them counts.
fn is_enabled(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let options = run.options;
    let installer = Place::of(options).installer(options);
    let mut code = exit::UNKNOWN;
    let mut states = Vec::new();
    for unit in names(words)? {
        let state = installer.state(&unit);
        code = code.min(state.exit_code());
        states.push((unit.as_str().to_owned(), state.as_str()));
    }
    if options.json {
        run.print(&json::file_states(&states));
    } else if !options.quiet {
        for (_, state) in &states {
            run.print(&format!("{state}\n"));
        }
    }
    Ok(code)
}

/// `list-unit-files`.
fn list(run: &mut Run<'_, '_>, patterns: &[String]) -> Result<i32, Fault> {
    let options = run.options;
    let place = Place::of(options);
    let installer = place.installer(options);
    let chosen = |name: &UnitName| {
        let typed = options.types.is_empty() || options.types.iter().any(|t| t == name.unit_type());
        let named = patterns.is_empty()
            || patterns.iter().any(|pattern| {
                glob::matches(pattern, name.as_str())
                    || !is_pattern(pattern) && unit_name(pattern).is_ok_and(|p| p == name.as_str())
            });
        typed && named
    };
    let states: Vec<(String, &str)> = place
        .loader(place.path.clone())
        .unit_names()
        .iter()
        .filter(|name| chosen(name))
        .map(|name| (name.as_str().to_owned(), installer.state(name).as_str()))
        .filter(|(_, state)| options.states.is_empty() || options.states.iter().any(|s| s == state))
        .collect();
    if options.json {
        run.print(&json::file_states(&states));
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<Cell>> = states
        .iter()
        .map(|(name, state)| {
            let paint = match *state {
                "enabled" | "enabled-runtime" => Paint::Good,
                "masked" | "masked-runtime" => Paint::Busy,
                "bad" => Paint::Bad,
                _ => Paint::Plain,
            };
            vec![Cell::plain(&**name), Cell::painted(paint, *state)]
        })
        .collect();
    let heading: &[&str] = &["UNIT FILE", "STATE"];
    let legend = !options.no_legend && !options.plain;
    let text = table(&run.screen.style, legend.then_some(heading), &rows);
    run.print(&text);
    Ok(exit::OK)
}

/// `cat`.
fn cat(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let place = Place::of(run.options);
    let mut loader = place.loader(place.path.clone());
    let mut code = exit::OK;
    for name in names(words)? {
        let loaded = loader.load(&name);
        let text = loader::cat(&place.root, &loaded.spec);
        if text.is_empty() {
            run.say(&["sctl: ", name.as_str(), " has no files"].concat());
            code = exit::FAILURE;
        }
        run.print(&text);
    }
    Ok(code)
}

/// `get-default`.
fn get_default(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let place = Place::of(run.options);
    let name = UnitName::new(DEFAULT)?;
    let loaded = place.loader(place.path.clone()).load(&name);
    if !loaded.spec.load.is_loaded() {
        return Err(Fault::failed(format!(
            "there is no {DEFAULT}; `sctl set-default` makes one"
        )));
    }
    let name = loaded.spec.id.as_str().to_owned();
    let text = if run.options.json {
        json::word("default", &name)
    } else {
        format!("{name}\n")
    };
    run.print(&text);
    Ok(exit::OK)
}

/// `set-default`: a link in the first directory of the path below `/etc`.
fn set_default(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let place = Place::of(run.options);
    let word = words.first().map_or("", String::as_str);
    let word = if word.contains('.') {
        word.to_owned()
    } else {
        format!("{word}.target")
    };
    let name = UnitName::new(&word)?;
    let loaded = place.loader(place.path.clone()).load(&name);
    if name.unit_type() != "target" || !loaded.spec.load.is_loaded() {
        let why = loaded.spec.load.reason();
        return Err(Fault::failed(format!(
            "{name} is no target that could be booted: {why}"
        )));
    }
    let directory = place
        .path
        .iter()
        .find(|dir| dir.starts_with("/etc"))
        .ok_or_else(|| Fault::failed("the unit path has no directory below /etc"))?;
    let link = directory.join(DEFAULT);
    let at = place.root.join(link.strip_prefix("/").unwrap_or(&link));
    let made = at
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| {
            // A new link beside the old one, then renamed over it: there is always one.
            let beside = at.with_extension("target.new");
            let _ = std::fs::remove_file(&beside);
            std::os::unix::fs::symlink(&loaded.spec.fragment, &beside)?;
            std::fs::rename(&beside, &at)
        });
    made.map_err(|error| Fault::failed(format!("{}: {error}", at.display())))?;
    let outcome = Outcome {
        changes: vec![Change::Created {
            link: link.display().to_string(),
            target: loaded.spec.fragment.clone(),
        }],
        notes: Vec::new(),
    };
    report(run, &outcome);
    tell_manager(run);
    Ok(exit::OK)
}
