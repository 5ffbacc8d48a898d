//! What a helper is at, so that one message cannot kill it for ever.

use crate::state::{ActiveState, Outcome, Report};
use crate::store::Store;
use crate::wire::helper::{Command, Finding, FromHelper, ToHelper};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Kind of the record of what was in flight at deaths; a type's own kinds are below.
const RECORD: u16 = 0xff00;
const VERSION: u16 = 1;
/// Deaths with the same in flight until it is in quarantine.
const TWICE: u32 = 2;

/// A message in the type's hands: what it is, and of which unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flight {
    /// 1 for `Load`; for commands 2 and the verb's number.
    pub step: u32,
    /// The unit, as far as it fits a note.
    pub with: String,
}

impl Flight {
    /// What a message is; `None` if a crash is not to be put down to it.
    pub fn of(message: &ToHelper) -> Option<Self> {
        use crate::wire::helper::Verb;
        let (step, unit) = match message {
            ToHelper::Load(source) => (1, &source.unit),
            ToHelper::Command(command) => {
                let step = match command.verb {
                    Verb::Start => 2,
                    Verb::Stop => 3,
                    Verb::Reload => 4,
                    Verb::Kill { .. } => 5,
                    Verb::ResetFailed => 6,
                };
                (step, &command.unit)
            }
            _ => return None,
        };
        let mut with = unit.clone();
        while with.len() > 48 {
            with.pop();
        }
        Some(Self { step, with })
    }

    /// Whether this in quarantine forbids another: itself, and the start of a unit that cannot be
    /// loaded.
    pub fn forbids(&self, other: &Self) -> bool {
        const LOAD: u32 = 1;
        const START: u32 = 2;
        self.with == other.with
            && (self.step == other.step || (self.step, other.step) == (LOAD, START))
    }

    /// For people.
    fn describe(&self) -> String {
        let what = match self.step {
            1 => "loading ",
            2 => "starting ",
            3 => "stopping ",
            4 => "reloading ",
            5 => "signalling ",
            _ => "resetting ",
        };
        [what, &self.with].concat()
    }

    fn reason(&self, tail: &str) -> String {
        [
            &self.describe(),
            " killed its helper twice and is in quarantine",
            tail,
        ]
        .concat()
    }

    /// The answer to a `Load` that is not done.
    pub fn refuse_load(&self, unit: String) -> FromHelper {
        FromHelper::Loaded {
            unit,
            findings: Vec::from([Finding::of_unit(self.reason(" (sctl crashes)"))]),
            implied: Vec::new(),
            can_reload: false,
        }
    }

    /// The answer to a command that is not carried out. What the unit really is nobody can ask any
    /// more: it counts as failed.
    pub fn refuse_command(&self, command: &Command) -> FromHelper {
        FromHelper::Report(Report {
            unit: command.unit.clone(),
            invocation: command.invocation,
            seq: command.seq,
            outcome: Outcome::Failed,
            active: ActiveState::Failed,
            sub: "failed".to_string(),
            result: "resources".to_string(),
            detail: self.reason(" (sctl crashes)"),
            since: platform::clock::now(),
            ..Report::default()
        })
    }
}

/// What is in quarantine, after a look at what was in flight when the process before this one died; and
/// what the manager is to be told of that. `fault`: it died by its own fault.
pub(super) fn judge(records: &mut Store, fault: bool) -> (Vec<Flight>, Vec<FromHelper>) {
    let stored = records
        .get(RECORD, 0)
        .filter(|record| record.version == VERSION);
    let stored = stored.and_then(|record| postcard::from_bytes(&record.payload).ok());
    let mut deaths: Vec<(Flight, u32)> = stored.unwrap_or_default();
    let mut said = Vec::new();
    let found = records.in_flight();
    records.end();
    if let Some((step, with)) = found.filter(|_| fault) {
        let flight = Flight { step, with };
        let count = match deaths.iter_mut().find(|(other, _)| *other == flight) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                deaths.push((flight.clone(), 1));
                1
            }
        };
        said.push(FromHelper::Crashed {
            what: flight.describe(),
            quarantined: count >= TWICE,
        });
        keep(records, &deaths);
    }
    (quarantined(deaths), said)
}

/// Counts from zero what concerns this unit, or everything if it is empty; what is left in quarantine.
pub(super) fn pardon(records: &mut Store, unit: &str) -> Vec<Flight> {
    let mut deaths = deaths_in(records);
    deaths.retain(|(flight, _)| !unit.is_empty() && !unit.starts_with(&flight.with));
    keep(records, &deaths);
    quarantined(deaths)
}

fn deaths_in(records: &Store) -> Vec<(Flight, u32)> {
    let stored = records
        .get(RECORD, 0)
        .filter(|record| record.version == VERSION);
    let read = stored.and_then(|record| postcard::from_bytes(&record.payload).ok());
    read.unwrap_or_default()
}

/// With a full journal the next death counts as the first: then there are other worries.
fn keep(records: &mut Store, deaths: &Vec<(Flight, u32)>) {
    let bytes = crate::wire::to_bytes(deaths).unwrap_or_default();
    let _ = records.put(RECORD, VERSION, 0, &bytes);
}

fn quarantined(deaths: Vec<(Flight, u32)>) -> Vec<Flight> {
    let often = deaths.into_iter().filter(|(_, count)| *count >= TWICE);
    often.map(|(flight, _)| flight).collect()
}
