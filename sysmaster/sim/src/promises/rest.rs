//! What is looked at when nothing moves: nothing is on its way, and nothing due.

use super::{Sight, Watch};
use crate::helper::Slot;
use crate::world::Key;
use engine::Phase;
use engine::api::Backing;
use std::collections::BTreeMap;
use units::name::UnitName;
use units::spec::DepKind;
use units::state::{ActiveState, Outcome};

impl Watch {
    /// Nothing moves.
    pub fn rest(&mut self, sight: &Sight<'_>, slots: &BTreeMap<UnitName, Slot>) {
        let mut found = Vec::new();
        self.check_agreement(sight, slots, &mut found);
        self.check_relations(sight, &mut found);
        self.check_ends(sight, slots, &mut found);
        check_atomic(sight, &mut found);
        self.broken.append(&mut found);
    }

    fn check_agreement(
        &self,
        sight: &Sight<'_>,
        slots: &BTreeMap<UnitName, Slot>,
        found: &mut Vec<String>,
    ) {
        let none = Slot::default();
        for unit in sight.engine.units() {
            if unit.backing == Backing::Engine {
                continue;
            }
            let slot = slots.get(unit.name).unwrap_or(&none);
            let (is, thought) = (slot.active, unit.active);
            let same = is == thought || is.is_down() && thought.is_down();
            if !same {
                let text = format!("agree: {} is {is:?}, thought {thought:?}", unit.name);
                found.push(text);
            }
            let busy = slot.outcome == Outcome::Pending;
            if unit.pending.is_some() != busy {
                let text = format!(
                    "agree: {} {:?}, {:?}",
                    unit.name, unit.pending, slot.outcome
                );
                found.push(text);
            }
        }
    }

    fn check_relations(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let idle = |unit: &UnitName| sight.unit(unit).is_none_or(|it| it.job.is_none());
        for (unit, seen) in &self.units {
            if seen.active != ActiveState::Active || !idle(unit) || seen.stop_refused {
                continue;
            }
            for other in self.graph.of(unit, DepKind::Conflicts) {
                let both = self.active(other) == ActiveState::Active && idle(other);
                let excused = seen.excused || self.excused(other);
                if both && !excused && !self.is_tolerated(unit, other) {
                    found.push(format!("conflict: {unit} and {other} are both up"));
                }
            }
            for other in self.graph.of(unit, DepKind::BindsTo) {
                if self.active(other).is_down() && idle(other) && !self.is_left_alone(sight, unit) {
                    found.push(format!("bound: {unit} is up, {other} is down"));
                }
            }
            let unneeded = sight
                .loaded
                .get(unit)
                .is_some_and(|spec| spec.stop_when_unneeded);
            if unneeded && !self.is_needed(sight, unit) && !self.is_left_alone(sight, unit) {
                found.push(format!("needed: {unit} is up, and nothing needs it"));
            }
        }
    }

    fn is_needed(&self, sight: &Sight<'_>, unit: &UnitName) -> bool {
        [
            DepKind::Requires,
            DepKind::Requisite,
            DepKind::Wants,
            DepKind::BindsTo,
            DepKind::Upholds,
        ]
        .into_iter()
        .flat_map(|kind| self.graph.to(unit, kind))
        .filter_map(|other| sight.unit(other))
        .any(|it| !it.active.is_down() || it.restart_at.is_some() || it.job.is_some())
    }

    /// Every job that is under way has something that can end it.
    fn check_ends(
        &self,
        sight: &Sight<'_>,
        slots: &BTreeMap<UnitName, Slot>,
        found: &mut Vec<String>,
    ) {
        for job in sight.engine.jobs() {
            let Some(unit) = sight.engine.unit(job.unit) else {
                continue;
            };
            let busy = slots
                .get(unit.name)
                .is_some_and(|slot| slot.verb.is_some() || slot.due.is_some());
            let ends = job.phase == Phase::Waiting || job.deadline.is_some() || busy;
            if !ends {
                let what = format!("{} of {}", job.verb.as_str(), unit.name);
                found.push(format!("end: {what} {:?} has none", job.phase));
            }
        }
        for unit in sight.engine.units() {
            if unit.restart_at.is_some_and(|at| at < sight.now) {
                found.push(format!("wish: {} should have been restarted", unit.name));
            }
        }
    }
}

/// An atomic start that is on record has jobs that will end it.
fn check_atomic(sight: &Sight<'_>, found: &mut Vec<String>) {
    for key in sight.store.keys() {
        let Key::Atomic(id) = key else { continue };
        let jobs = sight.engine.atomic_jobs(*id);
        if jobs.is_none_or(|mut jobs| jobs.next().is_none()) {
            found.push(format!("atomic: start {id} has no end"));
        }
    }
}
