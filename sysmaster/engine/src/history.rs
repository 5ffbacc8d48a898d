//! What is remembered of a unit for people alone: when it changed, and what its last job was.
//!
//! No decision rests on it. It answers *why*: who wanted the job a unit has or had last, how that
//! ended, which other unit was to blame; and *when*: the four changes of state whose times systemd
//! keeps as well. It goes into the unit's record, so that a later manager can still tell. A cause is
//! recorded as a number and a unit; the words are made when somebody asks.

use crate::Engine;
use crate::api::{CauseRecord, JobCause, PastRecord, UnitId};
use crate::graph::NONE;
use crate::node::Unit;
use crate::rel::Rel;
use alloc::string::String;
use units::state::{ActiveState, JobPast, JobResult, JobVerb, Micros, Times};

/// Causes without a relation, by their numbers, and their words. Append only.
const CAUSES: [(JobCause, &str); 12] = [
    (JobCause::Unknown, ""),
    (JobCause::Boot, "boot"),
    (JobCause::Shutdown, "shutdown"),
    (JobCause::Signal, "signal"),
    (JobCause::Command, "command"),
    (JobCause::Restart, "restart"),
    (JobCause::RollBack, "rollback"),
    (JobCause::Unneeded, "unneeded"),
    (JobCause::Cycle, "cycle"),
    (JobCause::Unusable, "unusable"),
    (JobCause::Contradiction, "contradiction"),
    (JobCause::Isolate(UnitId(NONE)), "isolate"),
];

/// In what time whoever asked for a job has heard of its end: a manager that hangs is replaced after three
/// seconds. Microseconds.
const HEARD: Micros = 10_000_000;

/// The number of the first relation.
const RELATIONS: u8 = 64;

/// What is remembered of a unit.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub times: Times,
    pub past: Option<Past>,
}

/// A job that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub verb: JobVerb,
    pub result: JobResult,
    pub cause: JobCause,
    /// The unit that was to blame; [`NONE`] if none was.
    pub culprit: u32,
    pub asked: Micros,
    pub ended: Micros,
}

impl Past {
    /// Whether a unit that is down need not remember it for long: it was asked for, and done.
    fn is_plain(&self) -> bool {
        self.result == JobResult::Done && self.cause == JobCause::Command
    }
}

impl Unit {
    /// What is remembered of it, to be changed.
    pub fn history(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    pub fn past(&self) -> Option<&Past> {
        self.history.as_ref()?.past.as_ref()
    }

    pub fn times(&self) -> Times {
        self.history
            .as_ref()
            .map(|history| history.times)
            .unwrap_or_default()
    }

    pub fn restore_history(&mut self, times: Times, past: Option<Past>) {
        if past.is_some() || times != Times::default() {
            *self.history() = History { times, past };
        }
    }

    /// Until when a unit that is down is remembered. While its start limit runs, or that would begin anew. And for
    /// a while after it was told to come up, and ran to its end: whoever asked for that may not have heard it from
    /// a manager that died, and would ask again.
    pub fn remembered_until(&self) -> Micros {
        let asked = |past: &&Past| past.cause == JobCause::Command && past.verb != JobVerb::Stop;
        let heard = self
            .past()
            .filter(asked)
            .map_or(0, |past| past.ended.saturating_add(HEARD));
        self.limit_until().max(heard)
    }

    /// Whether its last job is worth a record of its own.
    pub fn has_a_past(&self) -> bool {
        self.past().is_some_and(|past| !past.is_plain())
    }

    /// Notes the time of a change of state.
    pub fn note_change(&mut self, from: ActiveState, to: ActiveState, now: Micros) {
        let times = &mut self.history().times;
        if from.is_down() && !to.is_down() {
            times.inactive_exit = now;
        }
        if !from.is_up() && to.is_up() {
            times.active_enter = now;
        }
        if from.is_up() && !to.is_up() {
            times.active_exit = now;
        }
        if !from.is_down() && to.is_down() {
            times.inactive_enter = now;
        }
    }
}

impl Engine {
    /// The unit's job failed because of another unit.
    pub(crate) fn blame(&mut self, unit: u32, culprit: u32) {
        if let Some(past) = self.arena.at(unit).history().past.as_mut() {
            past.culprit = culprit;
            self.touch_unit(unit);
        }
    }

    /// When a unit changed.
    pub fn times(&self, unit: UnitId) -> Times {
        self.arena.get(self.arena.resolve(unit.0)).times()
    }

    /// The job a unit has or, if it has none, had last. (`ended` is 0 while it has it.)
    pub fn past(&self, unit: UnitId) -> Option<JobPast> {
        let unit = self.arena.resolve(unit.0);
        if let Some(job) = self.arena.job(unit) {
            return Some(self.tell(&Past {
                verb: job.verb,
                result: JobResult::Done,
                cause: job.cause,
                culprit: NONE,
                asked: job.since,
                ended: 0,
            }));
        }
        self.arena.get(unit).past().map(|past| self.tell(past))
    }

    fn tell(&self, past: &Past) -> JobPast {
        let (cause, cause_unit) = self.cause_words(past.cause);
        JobPast {
            verb: past.verb,
            result: past.result,
            cause,
            cause_unit,
            culprit: String::from(self.arena.name(past.culprit)),
            asked: past.asked,
            ended: past.ended,
        }
    }

    /// The word of a cause, and the unit it speaks of: see [`JobPast`].
    pub fn cause_words(&self, cause: JobCause) -> (String, String) {
        let (number, unit) = number_of(cause);
        let word = match (CAUSES.get(usize::from(number)), cause) {
            (_, JobCause::Unit(_, rel)) => rel.as_str(),
            (found, _) => found.map_or("", |(_, word)| word),
        };
        (String::from(word), String::from(self.arena.name(unit)))
    }

    pub(crate) fn cause_record(&self, cause: JobCause) -> CauseRecord {
        let (number, unit) = number_of(cause);
        (number, self.arena.title(unit).cloned())
    }

    /// The cause that was recorded so.
    pub(crate) fn cause_of(&mut self, (number, unit): &CauseRecord) -> JobCause {
        let unit = unit.as_ref().map(|name| UnitId(self.arena.intern(name)));
        let known = CAUSES.get(usize::from(*number)).map(|(cause, _)| *cause);
        let rel = number
            .checked_sub(RELATIONS)
            .and_then(|at| Rel::ALL.get(usize::from(at)));
        match (known, rel, unit) {
            (Some(JobCause::Isolate(_)), _, unit) => {
                unit.map_or(JobCause::Unknown, JobCause::Isolate)
            }
            (_, Some(rel), Some(unit)) => JobCause::Unit(unit, *rel),
            (known, _, _) => known.unwrap_or_default(),
        }
    }

    pub(crate) fn past_record(&self, past: &Past) -> PastRecord {
        PastRecord {
            verb: past.verb,
            result: past.result,
            cause: self.cause_record(past.cause),
            culprit: self.arena.title(past.culprit).cloned(),
            asked: past.asked,
            ended: past.ended,
        }
    }

    /// What was recorded so.
    pub(crate) fn past_of(&mut self, past: PastRecord) -> Past {
        let culprit = past.culprit.map(|name| self.arena.intern(&name));
        Past {
            verb: past.verb,
            result: past.result,
            cause: self.cause_of(&past.cause),
            culprit: culprit.unwrap_or(NONE),
            asked: past.asked,
            ended: past.ended,
        }
    }
}

/// The number of a cause, and the unit it speaks of.
fn number_of(cause: JobCause) -> (u8, u32) {
    let plain = match cause {
        JobCause::Unit(unit, rel) => return (RELATIONS + rel as u8, unit.0),
        JobCause::Isolate(_) => JobCause::Isolate(UnitId(NONE)),
        other => other,
    };
    let unit = match cause {
        JobCause::Isolate(unit) => unit.0,
        _ => NONE,
    };
    let at = CAUSES.iter().position(|(known, _)| *known == plain);
    (at.unwrap_or_default() as u8, unit)
}
