//! `[Mount]`: from the entries of the unit's files to what is mounted.
//!
//! What is said of bad values and unknown names is [`units::section`]'s.

use units::name::{UnitName, path_unescape};
use units::section::{self, Refusal, Taken, put};
use units::state::Micros;
use units::value::{self, ValueError, time};
use units::wire::helper::{Finding, UnitSource};

/// A mount unit as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `What=`; empty for a mount without a unit file, which can be unmounted only.
    pub what: String,
    /// Where: what the unit's name says.
    pub point: String,
    /// `Type=`; empty: `mount` finds out.
    pub kind: String,
    /// `Options=`; may be empty.
    pub options: String,
    /// `SloppyOptions=`.
    pub sloppy: bool,
    /// `LazyUnmount=`.
    pub lazy: bool,
    /// `ForceUnmount=`.
    pub force: bool,
    /// `ReadWriteOnly=`.
    pub read_write_only: bool,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `TimeoutSec=`; `None`: the manager's default.
    pub timeout: Option<Micros>,
    /// Below the root of ours.
    pub cgroup: String,
}

/// What reading a unit gave.
pub struct Reading {
    /// The mount; with errors among the findings it must not be started.
    pub config: Config,
    /// What is to be said about the files.
    pub findings: Vec<Finding>,
}

/// Reads a unit; `None` if its name is none. What is wrong is among the findings.
pub fn read(source: &UnitSource, strict: bool) -> Option<Reading> {
    let unit = UnitName::new(&source.unit).ok()?;
    let mut config = Config {
        point: path_unescape(unit.stem()).unwrap_or_default(),
        directory_mode: 0o755,
        cgroup: source.cgroup.clone(),
        ..Config::default()
    };
    let mut findings = Vec::new();
    let mut take = |key: &str, text: &str| take(&mut config, &unit, key, text);
    section::read_resolved(source, &unit, "Mount", strict, &mut findings, &mut take);
    if config.point.is_empty() {
        let text = "its name is that of no path: a unit for /a/b is called a-b.mount";
        findings.push(Finding::of_unit(text));
    }
    if config.what.is_empty() && !source.files.is_empty() {
        let text = "it does not say what to mount: add What=";
        findings.push(Finding::of_unit(text));
    }
    Some(Reading { config, findings })
}

/// What a directive does with its value; `None` if it is not carried out.
fn take(config: &mut Config, unit: &UnitName, key: &str, text: &str) -> Option<Taken> {
    Some(match key {
        "What" => put(word(text), |what| config.what = what),
        "Where" => place(config, unit, text),
        "Type" => put(word(text), |kind| config.kind = kind),
        "Options" => put(word(text), |options| config.options = options),
        "SloppyOptions" => put(value::boolean(text), |on| config.sloppy = on),
        "LazyUnmount" => put(value::boolean(text), |on| config.lazy = on),
        "ForceUnmount" => put(value::boolean(text), |on| config.force = on),
        "ReadWriteOnly" => put(value::boolean(text), |on| config.read_write_only = on),
        "DirectoryMode" => put(value::mode(text), |mode| config.directory_mode = mode),
        "TimeoutSec" => put(time::span(text), |span| {
            config.timeout = Some(if span == 0 { time::INFINITY } else { span });
        }),
        _ => return None,
    })
}

/// One argument of a program, and no option of it.
fn word(text: &str) -> Result<String, ValueError> {
    if text.starts_with('-') {
        return Err(ValueError::new(
            text,
            "something that does not begin with -",
        ));
    }
    Ok(text.into())
}

/// `Where=` says again what the name says.
fn place(config: &mut Config, unit: &UnitName, text: &str) -> Taken {
    let path = value::absolute_path(text)?;
    match UnitName::from_path(&path, "mount") {
        Ok(name) if name == *unit => {
            config.point = path;
            Ok(())
        }
        Ok(name) => Err(Refusal::Bad(
            [
                "found ",
                &path,
                " in ",
                unit.as_str(),
                ", whose unit is called ",
                name.as_str(),
            ]
            .concat(),
        )),
        Err(error) => Err(Refusal::Bad(error.to_string())),
    }
}
