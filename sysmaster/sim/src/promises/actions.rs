//! What a unit's end means for the machine (`FailureAction=` and the like).
//!
//! It is told in the step in which the end is seen, once, as the file says, and before the record of the end: a
//! manager that dies in between tells it again, and none can die having recorded the one without the other.

use super::{Sight, Watch};
use engine::api::{Cause, UnitId, UnitRecord};
use units::name::UnitName;
use units::spec::{Action, UnitSpec};
use units::state::ActiveState;

fn says(spec: &UnitSpec, cause: Cause) -> Action {
    match cause {
        Cause::Failed => spec.failure_action,
        Cause::Succeeded => spec.success_action,
        Cause::StartLimit => spec.start_limit.action,
        Cause::JobTimeout => spec.job_timeout_action,
    }
}

impl Watch {
    /// The machine is to do something for a unit's sake.
    pub(super) fn acts(&mut self, sight: &Sight<'_>, unit: UnitId, action: Action, cause: Cause) {
        let Some(unit) = sight.engine.unit(unit).map(|unit| unit.name.clone()) else {
            return;
        };
        let said = sight.loaded.get(&unit).map(|spec| says(spec, cause));
        if said != Some(action) {
            let action = action.as_str();
            self.fail(format!(
                "action: {action} by {unit}, {cause:?} says {said:?}"
            ));
        }
        self.step.acts.push((unit, cause));
    }

    /// The record of a unit is written: what its end means must have been told.
    pub(super) fn end_recorded(&mut self, sight: &Sight<'_>, record: &UnitRecord) {
        let was = self.active(&record.name);
        if let Some(cause) = cause(was, record.active)
            && self.is_missing(sight, &record.name, cause)
        {
            let text = format!(
                "action: {cause:?} of {} is recorded, and not told",
                record.name
            );
            self.fail(text);
        }
    }

    fn is_missing(&self, sight: &Sight<'_>, unit: &UnitName, cause: Cause) -> bool {
        let told = |(of, why): &(UnitName, Cause)| of == unit && *why == cause;
        let spec = sight.loaded.get(unit);
        let means = spec.is_some_and(|spec| says(spec, cause) != Action::None);
        means && !self.shutting_down && !self.step.acts.iter().any(told)
    }

    /// Something a unit may have an action for is seen.
    pub(super) fn ends(&mut self, unit: &UnitName, cause: Cause) {
        self.step.ends.push((unit.clone(), cause));
    }

    /// A unit has changed.
    pub(super) fn ends_by(&mut self, unit: &UnitName, from: ActiveState, to: ActiveState) {
        if let Some(cause) = cause(from, to) {
            self.ends(unit, cause);
        }
    }

    /// The step is over: was all told, and nothing twice or for no reason?
    pub(super) fn check_actions(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        for (unit, cause) in &self.step.ends {
            if self.is_missing(sight, unit, *cause) {
                found.push(format!("action: {cause:?} of {unit} is not told"));
            }
        }
        for act in &self.step.acts {
            let times = |list: &[(UnitName, Cause)]| list.iter().filter(|it| *it == act).count();
            if times(&self.step.acts) > times(&self.step.ends) {
                let (unit, cause) = act;
                found.push(format!(
                    "action: {cause:?} of {unit} is told, and is not so"
                ));
            }
        }
    }
}

fn cause(from: ActiveState, to: ActiveState) -> Option<Cause> {
    match (from, to) {
        (from, to) if from == to => None,
        (_, ActiveState::Failed) => Some(Cause::Failed),
        (ActiveState::Failed, _) => None,
        (_, ActiveState::Inactive) => Some(Cause::Succeeded),
        _ => None,
    }
}
