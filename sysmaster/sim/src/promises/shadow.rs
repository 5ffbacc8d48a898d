//! The recovered engine is the engine.
//!
//! Between two steps everything an engine must not lose is in the store. So an engine restored from it
//! that is given the same files must be the same in everything people can see, and must have nothing
//! to do: no command to give, no job to end, no state to change.

use super::{Sight, Watch};
use crate::world::{backing, new_engine};
use engine::Engine;
use engine::api::{Effect, Input};
use std::collections::{BTreeMap, BTreeSet};
use units::name::UnitName;
use units::spec::{DepKind, UnitSpec};

impl Watch {
    /// Restores an engine beside the real one and compares.
    pub fn shadow(&mut self, sight: &Sight<'_>, missing: &BTreeSet<String>) {
        // A stop that was refused would be tried again, and what stood against it may be gone; so would
        // the start of what is upheld, or left alone for a while; and a type without a helper would have
        // to be told of again.
        let left_alone = self
            .units
            .keys()
            .any(|unit| self.is_left_alone(sight, unit));
        let upheld = |unit: &UnitName| self.graph.to(unit, DepKind::Upholds).next().is_some();
        let refused = self
            .units
            .iter()
            .any(|(unit, seen)| seen.stop_refused || seen.start_refused && upheld(unit));
        if !missing.is_empty() || refused || left_alone {
            return;
        }
        let mut shadow = new_engine(u32::MAX);
        shadow.restore(sight.store.values().cloned().collect());
        let mut effects = Vec::new();
        for unit in shadow.restored() {
            load(&mut shadow, sight, &unit);
            loop {
                let missing = shadow.missing(&unit);
                if missing.is_empty() {
                    break;
                }
                missing
                    .iter()
                    .for_each(|unit| load(&mut shadow, sight, unit));
            }
        }
        shadow.step(sight.now, Input::Tick, &mut || 0, &mut effects);
        for effect in effects {
            if matches!(
                effect,
                Effect::Command { .. }
                    | Effect::Changed { .. }
                    | Effect::JobEnded { .. }
                    | Effect::ForgetJob { .. }
            ) {
                let unit = match &effect {
                    Effect::Command { unit, .. }
                    | Effect::Changed { unit, .. }
                    | Effect::JobEnded { unit, .. } => shadow.unit(*unit).map(|it| it.name),
                    _ => None,
                };
                let name = unit.map_or("", |name| name.as_str());
                self.fail(format!("shadow: recovery would go on: {name} {effect:?}"));
            }
        }
        let (ours, theirs) = (state(sight.engine), state(&shadow));
        for key in ours.keys().chain(theirs.keys()) {
            let (a, b) = (ours.get(key), theirs.get(key));
            if a != b {
                let text = format!("shadow: {key} is {a:?}, recovered as {b:?}");
                self.fail(text);
                break;
            }
        }
    }
}

fn load(engine: &mut Engine, sight: &Sight<'_>, unit: &UnitName) {
    let spec = sight.spec(unit).cloned();
    let spec = spec.unwrap_or_else(|| UnitSpec::new(unit.clone()));
    let backing = backing(&spec.id);
    let input = Input::Loaded {
        spec: Box::new(spec),
        backing,
    };
    engine.step(sight.now, input, &mut || 0, &mut Vec::new());
}

/// Everything that is not as in the beginning.
fn state(engine: &Engine) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for unit in engine.units() {
        let text = format!(
            "{:?} {:?} {:?} {} {}",
            unit.active, unit.pending, unit.restart_at, unit.restarts, unit.limit_hit
        );
        let blank = "Inactive None None 0 false";
        if text != blank {
            let more = format!("{text} {:x} {}", unit.seq, unit.since);
            lines.insert(unit.name.to_string(), more);
        }
    }
    for job in engine.jobs() {
        let unit = engine.unit(job.unit).unwrap();
        let names = engine.waiting_for(job.unit);
        let mut waits: Vec<&str> = names
            .filter_map(|unit| engine.unit(unit))
            .map(|unit| unit.name.as_str())
            .collect();
        waits.sort_unstable();
        let text = format!(
            "{} {} {:?} since {} until {:?} irreversible {} after {waits:?}",
            job.verb.as_str(),
            unit.name,
            job.phase,
            job.since,
            job.deadline,
            job.irreversible
        );
        lines.insert(format!("job {}", job.id.0), text);
    }
    lines
}
