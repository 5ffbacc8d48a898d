//! Crash reports, and quarantine: why a crash cannot repeat for ever.
//!
//! Before the manager does something with a unit, a request or its own records, it notes in its state
//! store what is in flight: a step and with what. The note outlives it. A manager that follows one
//! that died *by its own fault* (a fatal signal, an abort, an exit nobody asked for, a hang; never
//! one that somebody killed) finds the note and makes a crash report of it. When the same step with
//! the same thing was in flight at two such deaths, it is *quarantined*: not done any more, with an
//! answer that says so, until `sctl reset-failed` lifts it. Deaths of a version on trial are reported and do not count.
//!
//! | In flight | In quarantine |
//! |---|---|
//! | the records of an earlier manager being restored | they are passed over; the helpers report what runs, and that is adopted |
//! | a unit's files being loaded | the unit cannot be used, with this reason |
//! | a unit's conditions being evaluated | they count as not met |
//! | a helper's report on a unit | passed over: the unit stays as it was last known |
//! | a client's request | refused, in these words and no others |
//!
//! Helpers do the same for themselves ([`units::runtime`]) and say what they found; their crashes are
//! among the reports here. Reports and quarantine are in the state store: they outlive any of us but
//! PID 1. The last [`MOST`] reports are kept.

use crate::manager::Manager;
use init_wire::Before;
use platform::clock;
use serde::{Deserialize, Serialize};
use units::name::UnitName;
use units::state::{Exit, Micros};
use units::wire::control::CrashLine;
use units::wire::helper::ToHelper;

/// Reports kept.
pub const MOST: usize = 16;
/// So many deaths with the same in flight are enough.
const TWICE: usize = 2;

/// What may be in flight. The numbers are in stores: they are never used for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub enum Step {
    /// The records of an earlier manager.
    Restore = 1,
    /// A unit's files.
    Load = 2,
    /// A unit's conditions.
    Check = 3,
    /// A helper's report on a unit.
    Report = 4,
    /// A client's request.
    Request = 5,
}

impl Step {
    fn of(number: u32) -> Option<Self> {
        const ALL: [Step; 5] = [
            Step::Restore,
            Step::Load,
            Step::Check,
            Step::Report,
            Step::Request,
        ];
        ALL.into_iter().find(|step| *step as u32 == number)
    }

    /// For people, with what it was done.
    fn describe(self, with: &str) -> String {
        let what = match self {
            Self::Restore => return "restoring its records".into(),
            Self::Load => "loading ",
            Self::Check => "evaluating the conditions of ",
            Self::Report => "taking a report on ",
            Self::Request => "answering the request ",
        };
        [what, with].concat()
    }
}

/// One death by own fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashRecord {
    /// Rises.
    pub number: u64,
    /// When it was found out.
    pub at: Micros,
    /// Who died: `manager 3`, `service helper`.
    pub who: String,
    /// How.
    pub how: String,
    /// What was in flight, for people; empty if nothing was.
    pub what: String,
    /// The same for comparing: step 0 for those of helpers.
    pub step: u32,
    /// With what.
    pub with: String,
}

/// Reports and quarantine, as stored.
#[derive(Debug, Default)]
pub struct Crashes {
    /// The oldest first.
    pub list: Vec<CrashRecord>,
    /// Step and with what.
    pub quarantine: Vec<(u32, String)>,
    /// What helpers said they do not do any more.
    pub of_helpers: Vec<String>,
}

impl Crashes {
    /// Whether this is not to be done.
    pub fn forbids(&self, step: Step, with: &str) -> bool {
        let cut = cut(with);
        let same = |(number, other): &(u32, String)| *number == step as u32 && other == cut;
        self.quarantine.iter().any(same)
    }

    /// In quarantine, for people.
    pub fn quarantined(&self) -> Vec<String> {
        let own = self.quarantine.iter().filter_map(|(step, with)| {
            let what = Step::of(*step)?.describe(with);
            Some(
                [
                    &what,
                    " killed the manager twice; `sctl reset-failed` tries again",
                ]
                .concat(),
            )
        });
        own.chain(self.of_helpers.iter().cloned()).collect()
    }
}

/// What of a text stays in a note of what is in flight.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(48);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// How a process ended, in words.
pub(crate) fn how_it_ended(status: i32) -> String {
    match Exit::from_wait(status) {
        Some(Exit::Code(code)) => ["exited with ", &code.to_string()].concat(),
        Some(Exit::Signal(signal) | Exit::Core(signal)) => {
            ["was killed by ", &units::value::signal::name(signal)].concat()
        }
        None => "ended".into(),
    }
}

impl Manager {
    /// The manager before this one died like that. To be called once, before anything is done.
    pub(crate) fn note_death(&mut self, before: Before) {
        let in_flight = self.persist.in_flight();
        self.persist.end();
        let how = match before {
            Before::Nobody | Before::Asked | Before::Outsider { .. } => return,
            Before::Fault { status } | Before::NotStarted { status } => how_it_ended(status),
            Before::Hung => "hung, and was killed".into(),
        };
        let who = ["manager ", &self.epoch.saturating_sub(1).to_string()].concat();
        let (step, with) = in_flight.unwrap_or_default();
        let what = Step::of(step).map_or(String::new(), |step| step.describe(&with));
        self.log(3, "", &[&who, " ", &how, while_(&what), &what].concat());
        // Nobody is forbidden what another version could not do.
        let counts = if self.came_back { 0 } else { step };
        self.report_crash(who, how, what, (counts, with));
    }

    /// A helper died by its own fault.
    pub(crate) fn note_helper_crash(&mut self, unit_type: &str, how: &str) {
        let who = [unit_type, " helper"].concat();
        self.report_crash(who, how.into(), String::new(), (0, String::new()));
    }

    /// The next process of that type has found out what the one before it was at.
    pub(crate) fn helper_crashed(&mut self, index: usize, what: String, quarantined: bool) {
        let Some(helper) = self.helpers.get(index) else {
            return;
        };
        let who = [helper.unit_type.as_str(), " helper"].concat();
        let last = self
            .crashes
            .list
            .iter_mut()
            .rev()
            .find(|one| one.who == who);
        if let Some(crash) = last.filter(|crash| crash.what.is_empty()) {
            crash.what.clone_from(&what);
            let crash = crash.clone();
            let stored = self.persist.crash(&crash, crash.number % MOST as u64);
            self.stored(stored);
        }
        self.log(
            3,
            "",
            &["the ", &who, " died", while_(&what), &what].concat(),
        );
        if quarantined {
            let text = [
                &what,
                " killed the ",
                &who,
                " twice; `sctl reset-failed` tries again",
            ];
            let text = text.concat();
            self.log(2, "", &text);
            if !self.crashes.of_helpers.contains(&text) {
                self.crashes.of_helpers.push(text);
            }
        }
    }

    pub(crate) fn report_crash(
        &mut self,
        who: String,
        how: String,
        what: String,
        key: (u32, String),
    ) {
        let number = self.crashes.list.last().map_or(1, |last| last.number + 1);
        let record = CrashRecord {
            number,
            at: clock::now(),
            who,
            how,
            what,
            step: key.0,
            with: key.1,
        };
        let stored = self.persist.crash(&record, number % MOST as u64);
        self.stored(stored);
        self.crashes.list.push(record);
        let excess = self.crashes.list.len().saturating_sub(MOST);
        self.crashes.list.drain(..excess);
        self.judge_crash();
    }

    /// The last report may be the second of its kind.
    fn judge_crash(&mut self) {
        let Some(last) = self.crashes.list.last().filter(|last| last.step != 0) else {
            return;
        };
        let key = (last.step, last.with.clone());
        let same = |one: &&CrashRecord| (one.step, &one.with) == (key.0, &key.1);
        if self.crashes.list.iter().filter(same).count() < TWICE
            || self.crashes.quarantine.contains(&key)
        {
            return;
        }
        let text = ["quarantined: ", &last.what, ", which killed two managers"].concat();
        self.crashes.quarantine.push(key);
        let stored = self.persist.quarantine(&self.crashes.quarantine);
        self.stored(stored);
        self.log(2, "", &text);
    }

    /// Something begins that a crash is to be put down to; `false`: it is in quarantine and must not
    /// be done.
    pub(crate) fn takes_off(&mut self, step: Step, with: &str) -> bool {
        if self.crashes.forbids(step, with) {
            return false;
        }
        self.persist.begin(step as u32, with);
        units::fault::point_at(|| format!("{step:?}={}", with.replace(' ', "_")));
        true
    }

    /// It is done.
    pub(crate) fn lands(&mut self) {
        self.persist.end();
    }

    /// Quarantine is lifted: of everything, or of what concerns this unit. Its helper is told too.
    pub(crate) fn lift_quarantine(&mut self, unit: Option<&str>) {
        let concerns = |text: &str| unit.is_none_or(|unit| text.contains(cut(unit)));
        self.crashes.quarantine.retain(|(_, with)| !concerns(with));
        self.crashes.of_helpers.retain(|text| !concerns(text));
        // Counted from zero.
        for crash in self.crashes.list.iter_mut() {
            if crash.step != 0 && concerns(&crash.with) {
                crash.step = 0;
                let _ = self.persist.crash(crash, crash.number % MOST as u64);
            }
        }
        let _ = self.persist.quarantine(&self.crashes.quarantine);
        let unit = unit.unwrap_or_default();
        for index in 0..self.helpers.len() {
            self.tell_helper(index, &ToHelper::Pardon { unit: unit.into() });
        }
        if let Ok(name) = UnitName::new(unit) {
            let load = self.engine.find(&name).and_then(|view| view.load);
            if load.is_some_and(|load| !load.is_loaded()) {
                self.pardoned.push(name);
            }
        }
    }

    /// The reports, for a client.
    pub(crate) fn crash_lines(&self) -> Vec<CrashLine> {
        let line = |crash: &CrashRecord| CrashLine {
            at: crash.at,
            who: crash.who.clone(),
            how: crash.how.clone(),
            what: crash.what.clone(),
        };
        self.crashes.list.iter().map(line).collect()
    }
}

fn while_(what: &str) -> &'static str {
    if what.is_empty() { "" } else { " while " }
}
