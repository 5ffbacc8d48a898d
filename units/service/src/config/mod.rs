//! `[Service]`: from the entries of the unit's files to the rules of the machine and the set-up of
//! the processes.
//!
//! Entries are taken one by one, in their order, by the table in [`table`]: each directive has a
//! function that checks its value and puts it in the draft. An empty value sets a list or a value
//! back to nothing, as in systemd. What follows from several directives together (defaults by
//! `Type=`, contradictions) is settled at the end by [`settle`].
//!
//! What is said of bad values and unknown names is [`units::section`]'s.

mod settle;
mod streams;
mod table;

#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::policy::{Policy, Step};
use std::borrow::Cow;
use std::path::Path;
use units::facts::{Machine, UnitFacts};
use units::name::UnitName;
use units::section::{self, Refusal};
use units::state::Micros;
use units::value::exec::Command;
use units::value::specifier::Facts;
use units::wire::helper::{Finding, HelperConfig, Implied, UnitSource};

/// A directive of `[Unit]` that comes with a service's own: without any command it is what the
/// service is for.
const SUCCESS_ACTION: &str = "SuccessAction";

/// A service as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Rules of the machine.
    pub policy: Policy,
    /// Set-up of the processes.
    pub context: Context,
    /// The command lists, by the steps' numbers.
    pub commands: [Box<[Command]>; 7],
    /// Where its control group is, below the root.
    pub cgroup: Box<str>,
}

impl Config {
    /// A command.
    pub fn command(&self, step: Step, index: u16) -> Option<&Command> {
        self.commands
            .get(usize::from(step.number()))?
            .get(usize::from(index))
    }
}

/// What reading a unit gave.
pub struct Reading {
    /// The service; with errors among the findings it must not be started.
    pub config: Config,
    /// What is to be said about the files.
    pub findings: Vec<Finding>,
    /// Dependencies that follow.
    pub implied: Vec<Implied>,
}

/// A service in the making.
struct Draft<'a> {
    unit: &'a UnitName,
    facts: &'a dyn Facts,
    policy: Policy,
    context: Context,
    commands: [Vec<Command>; 7],
    /// What was said explicitly, where the default depends on other directives.
    set: Explicit,
}

/// Values whose default depends on other directives.
#[derive(Default)]
struct Explicit {
    timeout_start: Option<Micros>,
    timeout_abort: Option<Micros>,
    access: Option<crate::policy::Access>,
    output: bool,
    error: bool,
    modes: [Option<u32>; 5],
}

impl Draft<'_> {
    /// A text with its specifiers resolved.
    fn expand<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, Refusal> {
        Ok(units::value::specifier::expand(
            text, self.unit, self.facts,
        )?)
    }
}

/// Reads a unit. Never fails as a whole: what is wrong is among the findings.
pub fn read(source: &UnitSource, defaults: &HelperConfig) -> Reading {
    let unit = match UnitName::new(&source.unit) {
        Ok(unit) => unit,
        Err(error) => {
            return Reading {
                config: Config::default(),
                findings: Vec::from([Finding::of_unit(error.to_string())]),
                implied: Vec::new(),
            };
        }
    };
    let machine = Machine::new(Path::new("/"));
    let fragment = source.files.first().map_or("", String::as_str);
    let facts = UnitFacts {
        machine: &machine,
        fragment,
    };
    let mut draft = Draft {
        unit: &unit,
        facts: &facts,
        policy: Policy::default(),
        context: Context::default(),
        commands: Default::default(),
        set: Explicit::default(),
    };
    draft.policy.again.delay = defaults.restart_delay;
    draft.policy.times.stop = defaults.timeout_stop;
    let mut findings = Vec::new();
    section::read(
        source,
        "Service",
        defaults.strict,
        &mut findings,
        &mut |key, value| table::find(key).map(|handler| handler(&mut draft, key, value)),
    );
    let implied = settle::implied(&draft);
    let config = settle::settle(draft, source, defaults, &mut findings);
    Reading {
        config,
        findings,
        implied,
    }
}
