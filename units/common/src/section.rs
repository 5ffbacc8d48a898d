//! Reading a unit type's own section: one entry after the other, each finding with its place.
//!
//! A type has a table of the directives it carries out. A bad value is an error, and the unit does
//! not load; a name that systemd knows and the type does not carry out is `Unsupported`, any other a
//! warning; names beginning with `X-` are anybody's own.

use crate::directives;
use crate::value::ValueError;
use crate::wire::helper::{Finding, RawEntry, Severity, UnitSource};
#[cfg(feature = "std")]
use crate::{
    facts::{Machine, UnitFacts},
    name::UnitName,
    value::specifier::expand,
};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
#[cfg(feature = "std")]
use std::path::Path;

/// Why a value was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It means nothing.
    Bad(String),
    /// It means something, and the type does not carry it out.
    Unsupported(&'static str),
}

impl From<ValueError> for Refusal {
    fn from(error: ValueError) -> Self {
        Self::Bad(error.to_string())
    }
}

/// Whether a value was taken.
pub type Taken = Result<(), Refusal>;

/// What is done with name and value of an entry; `None` for a name the type has no use for.
pub type Take<'a> = dyn FnMut(&str, &str) -> Option<Taken> + 'a;

/// Puts a value that could be read in its place.
pub fn put<T>(value: Result<T, ValueError>, to: impl FnOnce(T)) -> Taken {
    value.map(to).map_err(Refusal::from)
}

/// Reads the entries of `section` in their order. What is to be said of them is added to `findings`;
/// with `strict`, a directive that is not carried out is an error.
pub fn read(
    source: &UnitSource,
    section: &str,
    strict: bool,
    findings: &mut Vec<Finding>,
    take: &mut Take<'_>,
) {
    for entry in &source.entries {
        let Some((severity, text)) = one(entry, section, take) else {
            continue;
        };
        let severity = match severity {
            Severity::Unsupported if strict => Severity::Error,
            severity => severity,
        };
        findings.push(Finding {
            severity,
            file: entry.file,
            line: entry.line,
            text,
        });
    }
}

/// The same, with the specifiers in every value resolved for this unit on the running machine.
#[cfg(feature = "std")]
pub fn read_resolved(
    source: &UnitSource,
    unit: &UnitName,
    section: &str,
    strict: bool,
    findings: &mut Vec<Finding>,
    take: &mut Take<'_>,
) {
    let machine = Machine::new(Path::new("/"));
    let facts = UnitFacts {
        machine: &machine,
        fragment: source.files.first().map_or("", String::as_str),
    };
    let mut resolve = |key: &str, text: &str| match expand(text, unit, &facts) {
        Ok(text) => take(key, &text),
        Err(error) => Some(Err(error.into())),
    };
    read(source, section, strict, findings, &mut resolve);
}

fn one(entry: &RawEntry, section: &str, take: &mut Take<'_>) -> Option<(Severity, String)> {
    let key = entry.key.as_str();
    // What comes along of `[Unit]` is the loader's to judge.
    if entry.section.starts_with("X-") || key.starts_with("X-") || entry.section == "Unit" {
        return None;
    }
    let taken = if entry.section == section {
        take(key, entry.value.trim())
    } else {
        None
    };
    match taken {
        Some(Ok(())) => None,
        Some(Err(Refusal::Bad(text))) => Some((Severity::Error, format!("{key}=: {text}"))),
        Some(Err(Refusal::Unsupported(text))) => {
            Some((Severity::Unsupported, format!("{key}=: {text}")))
        }
        None if directives::is_known(&entry.section, key) => Some((
            Severity::Unsupported,
            format!("{key}= is not carried out yet; the unit runs without it"),
        )),
        None => Some((
            Severity::Warning,
            format!("unknown name “{key}” in [{}], ignored", entry.section),
        )),
    }
}
