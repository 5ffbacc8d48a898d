//! The recovered engine is the engine.
//!
//! Between two steps everything an engine must not lose is in the store. So an engine restored from it
//! that is given the same files must be the same in everything people can see, and must have nothing
//! to do: no command to give, no job to end, no state to change.
//!
//! To restore one is most of what a run costs. So it is kept, and the next comparison is with the same one
//! as long as nothing was stored or loaded and no time has passed.

use super::{Sight, Watch};
use crate::world::{backing, new_engine};
use engine::api::{Effect, Input, UnitId};
use engine::{Engine, JobView, UnitView};
use std::collections::BTreeSet;
use units::name::UnitName;
use units::spec::{DepKind, UnitSpec};
use units::state::{ActiveState, Micros};
use units::wire::helper::Verb;

/// The engine restored last.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    engine: Option<Engine>,
    /// When, and after how many changes.
    of: (Micros, u64),
    /// It was compared after so many inputs.
    inputs: u64,
}

impl Watch {
    /// Restores an engine beside the real one and compares.
    pub fn shadow(&mut self, sight: &Sight<'_>, missing: &BTreeSet<String>) {
        let of = (sight.now, self.changes);
        let known = self.recovered.engine.is_some() && self.recovered.of == of;
        if known && self.recovered.inputs == self.inputs || self.would_go_on(sight, missing) {
            return;
        }
        let shadow = self.recovered.engine.take().filter(|_| known);
        let shadow = shadow.unwrap_or_else(|| self.recover(sight));
        if let Some(text) = difference(sight.engine, &shadow) {
            self.fail(text);
        }
        self.recovered = Recovered {
            engine: Some(shadow),
            of,
            inputs: self.inputs,
        };
    }

    /// Whether a new manager may have something to do: a stop that was refused would be tried again, and what stood
    /// against it may be gone; so would the start of what is upheld, or left alone for a while; and a type without a
    /// helper would have to be told of again.
    fn would_go_on(&self, sight: &Sight<'_>, missing: &BTreeSet<String>) -> bool {
        let upheld = |unit: &UnitName| self.graph.to(unit, DepKind::Upholds).next().is_some();
        !missing.is_empty()
            || self.units.iter().any(|(unit, seen)| {
                let refused = seen.stop_refused || seen.start_refused && upheld(unit);
                refused || seen.is_left_alone(sight.now)
            })
    }

    /// An engine from what is stored and loaded.
    fn recover(&mut self, sight: &Sight<'_>) -> Engine {
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
            let unit = match &effect {
                Effect::Command { unit, .. }
                | Effect::Changed { unit, .. }
                | Effect::JobEnded { unit, .. } => shadow.unit(*unit).map(|it| it.name),
                Effect::ForgetJob { .. } => None,
                _ => continue,
            };
            let name = unit.map_or("", |name| name.as_str());
            self.fail(format!("shadow: recovery would go on: {name} {effect:?}"));
        }
        shadow
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

/// What people can see of a unit that is not as in the beginning.
#[derive(Debug, PartialEq)]
struct Seen<'a> {
    name: &'a UnitName,
    active: ActiveState,
    pending: Option<Verb>,
    restart_at: Option<Micros>,
    restarts: u32,
    limit_hit: bool,
    seq: u64,
    since: Micros,
}

impl<'a> Seen<'a> {
    fn of(unit: UnitView<'a>) -> Option<Self> {
        let blank = unit.active == ActiveState::Inactive
            && (unit.pending, unit.restart_at) == (None, None)
            && (unit.restarts, unit.limit_hit) == (0, false);
        (!blank).then_some(Self {
            name: unit.name,
            active: unit.active,
            pending: unit.pending,
            restart_at: unit.restart_at,
            restarts: unit.restarts,
            limit_hit: unit.limit_hit,
            seq: unit.seq,
            since: unit.since,
        })
    }
}

/// The first thing in which two engines differ.
fn difference(ours: &Engine, theirs: &Engine) -> Option<String> {
    let text = not_in(ours, theirs, "recovered as").or_else(|| not_in(theirs, ours, "before"))?;
    Some(format!("shadow: {text}"))
}

/// The first thing in one engine that is otherwise in the other one.
fn not_in(one: &Engine, other: &Engine, word: &str) -> Option<String> {
    let unit = |it: UnitView<'_>| {
        let a = Seen::of(it)?;
        let b = other.find(it.name).and_then(Seen::of);
        (b.as_ref() != Some(&a)).then(|| format!("{} is {a:?}, {word} {b:?}", it.name))
    };
    let job = |it: JobView| {
        let (a, b) = (job(one, &it), job(other, &it));
        (a != b).then(|| format!("job {} is {a:?}, {word} {b:?}", it.id.0))
    };
    let units = one.units().find_map(unit);
    units.or_else(|| one.jobs().find_map(job))
}

/// What people can see of a job: itself, of which unit it is, and for whose jobs it waits. (Numbers of units are an
/// engine's own.)
fn job<'a>(
    engine: &'a Engine,
    job: &JobView,
) -> Option<(JobView, &'a UnitName, Vec<&'a UnitName>)> {
    let job = engine.job(job.id)?;
    let unit = engine.unit(job.unit)?;
    let mut waits: Vec<&UnitName> = engine
        .waiting_for(job.unit)
        .filter_map(|unit| engine.unit(unit))
        .map(|unit| unit.name)
        .collect();
    waits.sort_unstable();
    let anyone = UnitId(0);
    Some((
        JobView {
            unit: anyone,
            ..job
        },
        unit.name,
        waits,
    ))
}
