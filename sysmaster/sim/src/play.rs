//! Playing a case.

use crate::case::{Case, Event, Fact, Line};
use crate::helper::{Behaviour, Does};
use crate::rng::Rng;
use crate::settings;
use crate::world::{World, name};
use engine::api::Input;
use std::panic::{AssertUnwindSafe, catch_unwind};
use units::name::UnitName;
use units::spec::{DepKind, LoadState, UnitSpec};
use units::state::{JobMode, JobVerb, Micros};

/// Rounds in which everything that hangs comes to an end, until nothing moves any more.
const ROUNDS: usize = 20;
/// From this round on nothing fails: units that fail and start each other may go on for ever, in
/// their time.
const CALM: usize = 5;
/// Longer than every delay, limit and timeout of a case.
const LONG: Micros = 100_000_000;

/// What each event of a case with the same end is given, until all restarts and start limits that
/// come of it are over.
const OVER: Micros = 60_000_000;

/// What came of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Promises that were broken. The run ends with the first step that breaks one.
    pub broken: Vec<String>,
    /// Units that are not inactive in the end, before everything is stopped.
    pub end: Vec<String>,
    /// Starts of all units.
    pub starts: u32,
    /// Effects carried out.
    pub effects: usize,
    /// Managers that died.
    pub crashes: usize,
    /// What happened last.
    pub tail: Vec<String>,
}

impl Run {
    /// The name of the first promise broken.
    pub fn promise(&self) -> Option<&str> {
        let first = self.broken.first()?;
        first.split(':').next()
    }
}

/// Plays a case, with everything it promises. A panic is a broken promise, too.
pub fn play(case: &Case) -> Run {
    let run = play_once(case, true, None);
    if !run.broken.is_empty() || !case.same_end && !case.every_cut {
        return run;
    }
    let whole = play_once(case, false, None);
    if !case.every_cut {
        return compare(case, &whole, run, "");
    }
    for cut in 1..=whole.effects {
        let run = play_once(case, false, Some(cut));
        let run = compare(case, &whole, run, &format!("killed before effect {cut}: "));
        if !run.broken.is_empty() {
            return run;
        }
    }
    run
}

/// Whether a run with crashes came to the same end as the one without.
fn compare(case: &Case, whole: &Run, mut run: Run, what: &str) -> Run {
    // A client repeats what was not answered: a restart may come twice, a start of its own does not.
    let repeated = case.lines.iter().any(|line| match line {
        Line::Event(Event::Ask(verb, ..)) => *verb != JobVerb::Start,
        _ => false,
    });
    if run.broken.is_empty() && run.end != whole.end {
        let text = format!("same-end: {what}{:?}, and not {:?}", run.end, whole.end);
        run.broken.push(text);
    } else if run.broken.is_empty() && run.starts != whole.starts && !repeated {
        let text = format!(
            "same-end: {what}{} starts, not {}",
            run.starts, whole.starts
        );
        run.broken.push(text);
    }
    run
}

fn play_once(case: &Case, crashes: bool, cut: Option<usize>) -> Run {
    let mut world = World::new();
    world.cut = cut;
    let played = catch_unwind(AssertUnwindSafe(|| play_in(&mut world, case, crashes)));
    let end = played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        world
            .broken
            .push(format!("panic: {}", text.unwrap_or_default()));
        Vec::new()
    });
    let tail = world.trace.len().saturating_sub(60);
    Run {
        broken: world.broken,
        end,
        starts: world.helper.slots.values().map(|slot| slot.starts).sum(),
        effects: world.effects,
        crashes: world.crashes,
        tail: world.trace.split_off(tail),
    }
}

fn play_in(world: &mut World, case: &Case, crashes: bool) -> Vec<String> {
    let mut begun = false;
    for line in &case.lines {
        match line {
            Line::Fact(fact) => {
                state(world, fact);
                if let (Fact::Dep(unit, _, other, true), true) = (fact, case.same_end) {
                    let after = Fact::Dep(unit.clone(), DepKind::After, other.clone(), true);
                    state(world, &after);
                }
                continue;
            }
            Line::Event(Event::Crash(..)) if !crashes => continue,
            Line::Event(event) => happen(world, event),
        }
        if case.same_end && !matches!(line, Line::Event(Event::Crash(..))) {
            world.wait(OVER);
        } else if case.every_cut {
            world.settle();
        }
        begun = true;
        world.look();
        if !world.broken.is_empty() {
            return Vec::new();
        }
    }
    if !begun || !is_over(world) {
        return Vec::new();
    }
    let end = world.state();
    stop_everything(world);
    end
}

/// Everything that hangs comes to an end, and time passes. False if a promise was broken.
fn is_over(world: &mut World) -> bool {
    if world.cut.is_some() {
        world.crash_now();
    }
    calm_down(world);
    world.look();
    if world.engine.jobs().next().is_some() {
        let state = world.state();
        world.broken.push(format!("rest: jobs are left: {state:?}"));
    }
    world.broken.is_empty()
}

fn calm_down(world: &mut World) {
    for round in 0..ROUNDS {
        if round == CALM {
            for does in world.helper.behaviour.values_mut() {
                let calm = Behaviour::default();
                (does.start, does.stop, does.reload) = (calm.start, calm.stop, calm.reload);
                (does.restart, does.lasts) = (None, None);
            }
            // What is upheld, and cannot come up for others, would be tried for ever.
            for spec in world.specs.values_mut() {
                spec.deps.retain(|(kind, _)| *kind != DepKind::Upholds);
            }
            world.reload();
        }
        world.settle();
        let pending = world.engine.units().filter(|unit| unit.pending.is_some());
        let pending: Vec<UnitName> = pending.map(|unit| unit.name.clone()).collect();
        for unit in &pending {
            world.complete(unit, Does::Works);
            world.settle();
        }
        world.wait(LONG);
        if !world.broken.is_empty() || pending.is_empty() && world.engine.jobs().next().is_none() {
            break;
        }
    }
}

/// It can all be stopped, once nothing starts by itself any more.
fn stop_everything(world: &mut World) {
    world.feed(Input::ShuttingDown);
    let units: Vec<UnitName> = world.loaded.keys().cloned().collect();
    for unit in &units {
        // At once: its job, or one that waits for it, may have little time.
        let does = world.does(unit.as_str());
        (does.stop, does.stop_takes) = (Does::Works, 0);
    }
    for unit in &units {
        let up = !world.active(unit.as_str()).is_down();
        let mode = JobMode::ReplaceIrreversibly;
        if up && !world.ask(JobVerb::Stop, unit.as_str(), mode) {
            // Units in a cycle of order that all need each other cannot be stopped in order.
            world.ask(JobVerb::Stop, unit.as_str(), JobMode::IgnoreDependencies);
        }
    }
    calm_down(world);
    world.look();
    for unit in &units {
        let refuses = world
            .loaded
            .get(unit)
            .is_some_and(|it| it.refuse_manual_stop);
        if !refuses && world.active(unit.as_str()).is_up() {
            world.broken.push(format!("rest: {unit} cannot be stopped"));
        }
    }
}

/// A fact becomes true.
fn state(world: &mut World, fact: &Fact) {
    match fact {
        Fact::Unit(unit, true) => {
            let id = name(unit);
            let spec = world.specs.entry(id.clone());
            spec.or_insert_with(|| UnitSpec::new(id)).load = LoadState::Loaded;
        }
        Fact::Unit(unit, false) => {
            world.specs.remove(&name(unit));
        }
        Fact::Alias(unit, alias) => {
            if let Some(spec) = world.specs.get_mut(&name(unit)) {
                spec.names.push(name(alias));
                spec.names.sort();
                spec.names.dedup();
            }
        }
        Fact::Dep(unit, kind, other, there) => {
            let other = name(other);
            if let Some(spec) = world.specs.get_mut(&name(unit)) {
                spec.deps.retain(|dep| *dep != (*kind, other.clone()));
                if *there {
                    spec.add_dep(*kind, other);
                }
                spec.tidy();
            }
        }
        Fact::Set(unit, key, value) => {
            let id = name(unit);
            if let Some(spec) = world.specs.get_mut(&id) {
                let does = world.helper.behaviour.entry(id).or_default();
                let made = settings::set(spec, does, key, value);
                assert!(made.is_some(), "no setting {key} {value}");
            }
        }
    }
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Ask(verb, unit, mode) => {
            world.ask(*verb, unit, *mode);
        }
        Event::Atomic(units) => {
            let units: Vec<&str> = units.iter().map(String::as_str).collect();
            world.ask_atomically(&units);
        }
        Event::Cancel(n) => {
            let mut jobs: Vec<_> = world.engine.jobs().map(|job| job.id).collect();
            jobs.sort_unstable();
            if let Some(job) = jobs.get(n % jobs.len().max(1)) {
                world.feed(Input::Cancel { job: *job });
            }
        }
        Event::Reset(unit) => {
            // Not answered before it is done: a client whose manager died asks again.
            let before = world.crashes;
            for _ in 0..2 {
                let unit = world.id(unit);
                world.feed(Input::ResetFailed { unit });
                if world.crashes == before {
                    break;
                }
            }
        }
        Event::Reload => world.reload(),
        Event::Ends(unit, end) => world.ends(&name(unit), *end),
        Event::Appears(unit) => {
            let unit = name(unit);
            if !world.missing.contains(unit.unit_type()) {
                world.helper.appears(&unit);
                world.report(&unit);
            }
        }
        Event::Finish(unit) => {
            world.complete(&name(unit), Does::Works);
        }
        Event::Repeat(unit) => world.report(&name(unit)),
        Event::Work(n, salt) => {
            let mut rng = Rng(*salt);
            for _ in 0..*n {
                world.work_by_chance(&mut rng);
            }
        }
        Event::Settle => world.settle(),
        Event::Wait(micros) => world.wait(*micros),
        Event::Jump(micros) => world.jump(*micros),
        Event::Sleep(micros) => world.sleep(*micros),
        Event::Wall(micros) => world.wall(*micros),
        Event::HelperDies(unit_type, keep) => world.helper_dies(unit_type, *keep),
        Event::Missing(unit_type) => world.helper_missing(unit_type),
        Event::Crash(after, away) => {
            world.cut = Some(world.effects + after);
            world.away = *away;
        }
        Event::Shutdown(unit) => {
            let before = world.crashes;
            world.feed(Input::ShuttingDown);
            if world.crashes != before {
                world.feed(Input::ShuttingDown);
            }
            world.ask(JobVerb::Start, unit, JobMode::ReplaceIrreversibly);
        }
    }
}

impl World {
    /// Looks at what must hold between two steps and, if nothing moves, at what must hold then.
    pub fn look(&mut self) {
        let mut watch = std::mem::take(&mut self.watch);
        watch.shadow(&self.sight(), &self.missing);
        if self.is_quiet() && self.is_in_contact() {
            watch.rest(&self.sight(), &self.helper.slots);
        }
        self.broken.append(&mut watch.broken);
        self.watch = watch;
    }
}
