//! From the assignments of `[Unit]` to a [`UnitSpec`].
//!
//! Each assignment is taken in order. A bad value is an error (systemd ignores most of them with a
//! warning; here a unit that does not say what it seems to say does not start); a name systemd
//! does not know is a warning; one that it knows and we do not carry out is a finding of its own
//! and a line in `unsupported`. Two exceptions, as harmless as frequent: a description whose
//! specifiers cannot be resolved is taken as it is, and what is no address in `Documentation=` is
//! left out with a warning.

use super::table::{Field, field};
use super::{Action, CollectMode, Condition, ConditionKind, DepKind, LoadState, UnitSpec};
use crate::directives::{Standing, standing};
use crate::file::{Entry, UnitFile, describe, quote};
use crate::name::UnitName;
use crate::state::{JobMode, Micros};
use crate::value::specifier::{Facts, expand};
use crate::value::words::Words;
use crate::value::{self, ValueError, time};
use crate::wire::helper::{Finding, Severity};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Most dependencies a unit may write down.
const MAX_DEPS: usize = 16_384;

/// Reads `[Unit]` of merged files into a spec that has its names and paths already. Sets its load
/// state to [`LoadState::Loaded`], or to [`LoadState::BadSetting`] with the first error.
pub fn read(spec: &mut UnitSpec, file: &UnitFile, facts: &dyn Facts, findings: &mut Vec<Finding>) {
    let mut reading = Reading {
        spec,
        facts,
        findings,
        running_timeout_said: false,
        first_error: None,
    };
    for entry in file.entries() {
        if entry.section == "Unit" || field(entry.section, entry.key).is_some() {
            reading.entry(&entry);
        }
    }
    reading.finish();
}

/// A unit being read.
struct Reading<'a> {
    spec: &'a mut UnitSpec,
    facts: &'a dyn Facts,
    findings: &'a mut Vec<Finding>,
    /// `JobRunningTimeoutSec=` was written down: `JobTimeoutSec=` says nothing about it any more.
    running_timeout_said: bool,
    first_error: Option<String>,
}

impl Reading<'_> {
    fn finish(self) {
        self.spec.load = match self.first_error {
            None => LoadState::Loaded,
            Some(reason) => LoadState::BadSetting { reason },
        };
        self.spec.tidy();
    }

    fn place(&self, finding: &Finding) -> String {
        let file = match finding.file.checked_sub(1).map(usize::from) {
            // Without a unit file the first drop-in is number 0.
            None if self.spec.fragment.is_empty() => self.spec.dropins.first(),
            None => Some(&self.spec.fragment),
            Some(at) => self
                .spec
                .dropins
                .get(at + usize::from(self.spec.fragment.is_empty())),
        };
        describe(
            &Finding {
                file: 0,
                ..finding.clone()
            },
            file.map_or(&[], core::slice::from_ref),
        )
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        let result = match field(entry.section, entry.key) {
            Some(Field::Unsupported) => {
                self.unsupported(entry);
                Ok(())
            }
            Some(field) => {
                let result = self.assign(field, entry);
                // An action of “none”, or nothing, asks for nothing.
                let asks = !matches!(entry.value, "" | "none" | "inactive");
                if result.is_ok() && asks && !field.is_carried_out() {
                    self.unsupported(entry);
                }
                result
            }
            None => match condition_key(entry.key) {
                Some((kind, assert)) => self.condition(kind, assert, entry.value),
                None => {
                    self.unknown(entry);
                    Ok(())
                }
            },
        };
        if let Err(error) = result {
            let finding = entry.finding(Severity::Error, format!("{}=: {error}", entry.key));
            if self.first_error.is_none() {
                self.first_error = Some(self.place(&finding));
            }
            self.findings.push(finding);
        }
    }

    fn unknown(&mut self, entry: &Entry<'_>) {
        match standing(entry.section, entry.key) {
            Standing::Private => {}
            Standing::Known => self.unsupported(entry),
            Standing::UnknownKey | Standing::UnknownSection => {
                let text = format!(
                    "unknown directive {} in [{}]; ignored",
                    quote(entry.key),
                    entry.section
                );
                self.findings.push(entry.finding(Severity::Warning, text));
            }
        }
    }

    fn unsupported(&mut self, entry: &Entry<'_>) {
        let name = format!("{}=", entry.key);
        let line = entry.finding(Severity::Unsupported, name.clone());
        self.spec.unsupported.push(self.place(&line));
        let text = format!("“{name}” is not supported and has no effect");
        self.findings
            .push(entry.finding(Severity::Unsupported, text));
    }

    fn text(&self, entry: &Entry<'_>) -> Result<String, ValueError> {
        expand(entry.value, &self.spec.id, self.facts).map(|text| text.into_owned())
    }

    fn assign(&mut self, field: Field, entry: &Entry<'_>) -> Result<(), ValueError> {
        let value = entry.value;
        match field {
            Field::Description => self.description(entry),
            Field::Documentation => self.documentation(entry)?,
            Field::SourcePath => self.spec.source_path = self.path_or_nothing(entry)?,
            Field::Dep(kind) => self.dependencies(kind, entry)?,
            Field::MountsFor(required) => self.mounts_for(required, value)?,
            Field::LimitInterval => self.spec.start_limit.interval = time::span(value)?,
            Field::LimitBurst => self.spec.start_limit.burst = value::unsigned32(value)?,
            Field::LimitAction => self.spec.start_limit.action = self.action(entry)?,
            Field::JobTimeout => {
                self.spec.job_timeout = timeout(value)?;
                if !self.running_timeout_said {
                    self.spec.job_running_timeout = self.spec.job_timeout;
                }
            }
            Field::JobRunningTimeout => {
                self.spec.job_running_timeout = timeout(value)?;
                self.running_timeout_said = true;
            }
            Field::JobTimeoutAction => self.spec.job_timeout_action = self.action(entry)?,
            Field::FailureAction => self.spec.failure_action = self.action(entry)?,
            Field::SuccessAction => self.spec.success_action = self.action(entry)?,
            Field::FailureExitStatus => self.spec.failure_exit_status = exit_status(value)?,
            Field::SuccessExitStatus => self.spec.success_exit_status = exit_status(value)?,
            Field::RebootArgument => self.spec.reboot_argument = self.text(entry)?,
            Field::JobTimeoutArgument => self.spec.job_timeout_argument = self.text(entry)?,
            Field::OnFailureMode => self.spec.on_failure_mode = job_mode(value)?,
            Field::OnSuccessMode => self.spec.on_success_mode = job_mode(value)?,
            Field::OnFailureIsolate => {
                let isolate = value::boolean(value)?;
                let mode = if isolate {
                    JobMode::Isolate
                } else {
                    JobMode::Replace
                };
                self.spec.on_failure_mode = mode;
            }
            Field::Collect => self.spec.collect = collect(value)?,
            Field::Unsupported => {}
            flag => return self.flag(flag, value),
        }
        Ok(())
    }

    fn flag(&mut self, field: Field, value: &str) -> Result<(), ValueError> {
        let on = value::boolean(value)?;
        let place = match field {
            Field::DefaultDependencies => &mut self.spec.default_dependencies,
            Field::RefuseManualStart => &mut self.spec.refuse_manual_start,
            Field::RefuseManualStop => &mut self.spec.refuse_manual_stop,
            Field::AllowIsolate => &mut self.spec.allow_isolate,
            Field::IgnoreOnIsolate => &mut self.spec.ignore_on_isolate,
            Field::StopWhenUnneeded => &mut self.spec.stop_when_unneeded,
            Field::SurviveFinalKill => &mut self.spec.survive_final_kill,
            // Every other field is assigned by its own arm in `assign`.
            _ => return Ok(()),
        };
        *place = on;
        Ok(())
    }

    fn description(&mut self, entry: &Entry<'_>) {
        self.spec.description = match self.text(entry) {
            Ok(text) if text.is_empty() => self.spec.id.as_str().into(),
            Ok(text) => text,
            Err(error) => {
                let text = format!("Description=: {error}; taken as it is");
                self.findings.push(entry.finding(Severity::Warning, text));
                entry.value.into()
            }
        };
    }

    fn documentation(&mut self, entry: &Entry<'_>) -> Result<(), ValueError> {
        if entry.value.is_empty() {
            self.spec.documentation.clear();
        }
        const SCHEMES: [&str; 5] = ["http://", "https://", "file:/", "info:", "man:"];
        for word in Words::plain(entry.value) {
            let word = word?;
            let word = expand(&word, &self.spec.id, self.facts)?;
            if SCHEMES.iter().any(|scheme| word.starts_with(scheme)) {
                self.spec.documentation.push(word.into_owned());
            } else {
                let text = format!(
                    "Documentation=: found {}, expected an address (http: https: file: info: man:); ignored",
                    quote(&word)
                );
                self.findings.push(entry.finding(Severity::Warning, text));
            }
        }
        Ok(())
    }

    fn action(&mut self, entry: &Entry<'_>) -> Result<Action, ValueError> {
        let expected = "none, reboot, poweroff, halt, kexec, exit or soft-reboot, some with -force or -immediate";
        if entry.value.is_empty() {
            return Ok(Action::None);
        }
        let action =
            Action::from_name(entry.value).ok_or_else(|| ValueError::new(entry.value, expected))?;
        if matches!(action, Action::SoftReboot | Action::SoftRebootForce) {
            let text = format!(
                "{}=: there is no soft reboot here: the machine is rebooted",
                entry.key
            );
            self.findings
                .push(entry.finding(Severity::Unsupported, text));
        }
        Ok(action)
    }

    fn path_or_nothing(&self, entry: &Entry<'_>) -> Result<String, ValueError> {
        let path = self.text(entry)?;
        if path.is_empty() {
            Ok(path)
        } else {
            value::absolute_path(&path)
        }
    }

    /// An empty value of a dependency changes nothing, as in systemd: what a unit file requires
    /// cannot be taken back by a drop-in. What is no name of a unit is an error where the unit
    /// cannot do without the other, else left out with a warning: real packages order themselves
    /// after `udev` and before templates.
    fn dependencies(&mut self, kind: DepKind, entry: &Entry<'_>) -> Result<(), ValueError> {
        let must = matches!(
            kind,
            DepKind::Requires | DepKind::Requisite | DepKind::BindsTo
        );
        for word in Words::plain(entry.value) {
            let word = word?;
            let name = expand(&word, &self.spec.id, self.facts)?;
            let name = match dependency(&name, &self.spec.id) {
                Ok(name) => name,
                Err(error) if must => return Err(error),
                Err(error) => {
                    let text = format!("{}=: {error}; ignored", entry.key);
                    self.findings.push(entry.finding(Severity::Warning, text));
                    continue;
                }
            };
            if self.spec.deps.len() >= MAX_DEPS {
                return Err(ValueError::new(
                    &word,
                    "at most 16384 dependencies in one unit",
                ));
            }
            self.spec.add_dep(kind, name);
        }
        Ok(())
    }

    fn mounts_for(&mut self, required: bool, value: &str) -> Result<(), ValueError> {
        for word in Words::plain(value) {
            let word = word?;
            let path = expand(&word, &self.spec.id, self.facts)?;
            self.spec
                .mounts_for
                .push((required, value::absolute_path(&path)?));
        }
        Ok(())
    }

    /// A condition, or an assertion. `|` and `!` stand before the parameter, in this order. An
    /// empty value forgets all conditions (or assertions) of every kind, as in systemd.
    fn condition(
        &mut self,
        kind: ConditionKind,
        assert: bool,
        value: &str,
    ) -> Result<(), ValueError> {
        let list = if assert {
            &mut self.spec.asserts
        } else {
            &mut self.spec.conditions
        };
        if value.is_empty() {
            list.clear();
            return Ok(());
        }
        let (trigger, rest) = prefixed(value, '|');
        let (negate, rest) = prefixed(rest, '!');
        let param = expand(rest, &self.spec.id, self.facts)?.into_owned();
        if kind.takes_path() && !param.starts_with('/') {
            return Err(ValueError::new(&param, "an absolute path"));
        }
        list.push(Condition {
            kind,
            trigger,
            negate,
            param,
        });
        Ok(())
    }
}

fn prefixed(text: &str, prefix: char) -> (bool, &str) {
    match text.strip_prefix(prefix) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    }
}

/// The kind of a condition by its directive, and whether it is an assertion.
fn condition_key(key: &str) -> Option<(ConditionKind, bool)> {
    let (name, assert) = match key.strip_prefix("Condition") {
        Some(name) => (name, false),
        None => (key.strip_prefix("Assert")?, true),
    };
    Some((ConditionKind::from_name(name)?, assert))
}

/// The name of another unit. A template stands for the instance of this unit.
fn dependency(name: &str, of: &UnitName) -> Result<UnitName, ValueError> {
    let wrong = || ValueError::new(name, "the name of a unit, as nginx.service");
    let name = UnitName::new(name).map_err(|_| wrong())?;
    match (name.is_template(), of.instance()) {
        (false, _) => Ok(name),
        (true, Some(instance)) => name.instantiate(instance).map_err(|_| wrong()),
        (true, None) => Err(ValueError::new(
            name.as_str(),
            "an instance, not a template",
        )),
    }
}

/// Nothing is the exit status of the unit's main process.
fn exit_status(value: &str) -> Result<Option<u8>, ValueError> {
    if value.is_empty() {
        return Ok(None);
    }
    let status = value.parse::<u8>();
    status
        .map(Some)
        .map_err(|_| ValueError::new(value, "an exit status from 0 to 255, or nothing"))
}

/// 0 and infinity are both “never”.
fn timeout(value: &str) -> Result<Option<Micros>, ValueError> {
    Ok(Some(time::span(value)?).filter(|span| *span != 0 && *span != time::INFINITY))
}

fn job_mode(value: &str) -> Result<JobMode, ValueError> {
    JobMode::from_name(value)
        .ok_or_else(|| ValueError::new(value, "a job mode, as replace or isolate"))
}

fn collect(value: &str) -> Result<CollectMode, ValueError> {
    match value {
        "inactive" => Ok(CollectMode::Inactive),
        "inactive-or-failed" => Ok(CollectMode::InactiveOrFailed),
        _ => Err(ValueError::new(value, "inactive or inactive-or-failed")),
    }
}

#[cfg(test)]
mod tests;
