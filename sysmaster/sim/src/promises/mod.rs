//! What must hold, and the one that watches.
//!
//! [`Watch`] sees every effect before it is carried out and keeps its own account of jobs and states
//! from them; of the engine it asks only what people can ask ([`engine::UnitView`]). What it checks,
//! and where:
//!
//! * at each effect ([`effects`]): commands against the declared order, conflicts, `BindsTo=`,
//!   `Requisite=`, `Requires=`, the start limit; a record before each effect; no command twice;
//! * after each step ([`steps`]): what must have been pulled in was, what failed was followed, restarts
//!   and deadlines stand as they should and as much later as the machine was suspended, every job waits for something, nothing was changed by a
//!   transaction that was refused, the store holds the jobs and no others;
//! * of atomic starts ([`atomic`]): they stop nothing, and one that fails stops again what it started, and that alone;
//! * of what a unit's end means for the machine ([`actions`]): told when it is so, as its file says, and before it is
//!   recorded;
//! * when nothing moves ([`rest`]): helpers and engine agree, no conflict is satisfied by both, nothing
//!   is up whose `BindsTo=` is not, every job has an end to come;
//! * there, too ([`shadow`]): an engine restored from the store is this engine.
//!
//! A promise that is broken is a line that begins with the promise's name (`order: …`), by which a
//! failing case is known to be still the same one while it is made smaller. Where people or unit files
//! asked for an exception (`ignore-dependencies`, a job canceled by hand, a dependency added while its
//! unit was up), the units concerned are *excused* until they are down again.
//!

mod actions;
mod atomic;
mod effects;

mod graph;
mod rest;
mod shadow;
mod steps;

use engine::api::{Cause, CauseRecord, EngineRecord, Input, JobRecord, Record, UnitRecord};
use engine::{Engine, UnitView};
use graph::Graph;
use std::collections::{BTreeMap, BTreeSet};
use units::name::UnitName;
use units::spec::{DepKind, UnitSpec};
use units::state::{ActiveState, JobMode, JobResult, JobVerb, Micros};

use crate::world::{Key, Store};

/// What a promise is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The manager's engine.
    pub engine: &'a Engine,
    /// Number of the manager.
    pub epoch: u32,
    /// What is stored.
    pub store: &'a Store,
    /// The units it has loaded.
    pub loaded: &'a BTreeMap<UnitName, UnitSpec>,
    /// The time.
    pub now: Micros,
}

impl<'a> Sight<'a> {
    /// The file of the unit that is known by this name.
    fn spec(&self, name: &UnitName) -> Option<&'a UnitSpec> {
        let alias = || self.loaded.values().find(|spec| spec.names.contains(name));
        self.loaded.get(name).or_else(alias)
    }

    fn unit(&self, unit: &UnitName) -> Option<UnitView<'a>> {
        self.engine.find(unit)
    }

    fn unit_record(&self, unit: &UnitName) -> Option<&'a UnitRecord> {
        match self.store.get(&Key::Unit(unit.clone())) {
            Some(Record::Unit(record)) => Some(record),
            _ => None,
        }
    }

    fn job_record(&self, job: u32) -> Option<&'a JobRecord> {
        match self.store.get(&Key::Job(job)) {
            Some(Record::Job(record)) => Some(record),
            _ => None,
        }
    }

    fn engine_record(&self) -> EngineRecord {
        match self.store.get(&Key::Engine) {
            Some(Record::Engine(record)) => *record,
            _ => EngineRecord::default(),
        }
    }
}

/// Whether a job in this mode comes without what its unit needs.
fn is_alone(mode: JobMode) -> bool {
    matches!(
        mode,
        JobMode::IgnoreDependencies | JobMode::IgnoreRequirements
    )
}

/// More jobs than one cause gives a unit in one step, even if others take it along.
const OFTEN: u32 = 100;

/// The number of [`engine::api::JobCause::RollBack`] in records.
const ROLL_BACK: u8 = 6;

/// A unit, as its effects tell.
#[derive(Clone, Debug, Default)]
struct Seen {
    active: ActiveState,
    /// When it was last up, by the count of effects; 0 if never.
    was_up: u64,
    /// In which portion of effects its last job ended, whether that was a start, and how.
    ended: Option<(u64, JobVerb, JobResult)>,
    /// Nothing is expected of its relations to others until it is down again.
    excused: bool,
    /// A stop that should have followed was refused, and that was said.
    stop_refused: bool,
    /// So was a start.
    start_refused: bool,
    /// Since when it is left alone because others' ends started or stopped it too often; that is said once.
    left_alone: Option<Micros>,
    /// Starts in the interval of its limit.
    limit: (Micros, u32),
}

impl Seen {
    /// Whether it was started or stopped too often by others' ends within the last ten seconds.
    fn is_left_alone(&self, now: Micros) -> bool {
        self.left_alone
            .is_some_and(|since| now.saturating_sub(since) < 10_000_000)
    }
}

/// A job, as its records tell.
#[derive(Clone, Debug)]
struct SeenJob {
    unit: UnitName,
    verb: JobVerb,
    ignore_order: bool,
    /// The one it came with, or that changed it last.
    transaction: u32,
    /// When it was queued, by the count of effects.
    queued: u64,
    /// The portion of effects in which it was queued: what ended in the same one ended before.
    born: u64,
    /// The portion of effects in which it was queued or changed.
    portion: u64,
    /// It was a restart before it was a start.
    restarted: bool,
    /// The time it has, and the time it has once it runs, when it was queued.
    timeout: Option<Micros>,
    running_timeout: Option<Micros>,
    /// Since when its command is given.
    running: Option<Micros>,
    /// It stops a unit because an atomic start is rolled back: nothing is taken along.
    rolls_back: bool,
    /// Units whose being up was to be verified, when a flush that left this job alone took that away.
    unverified: BTreeSet<UnitName>,
}

/// Restarts and the ends of jobs' time, by what they are of.
type Appointments = BTreeMap<String, Micros>;

/// Those there are.
fn appointments(sight: &Sight<'_>) -> Appointments {
    let restarts = sight.engine.units().filter_map(|unit| {
        let at = unit.restart_at?;
        Some((unit.name.to_string(), at))
    });
    let ends = sight.engine.jobs().filter_map(|job| {
        let at = job.deadline?;
        Some((format!("job {}", job.id.0), at))
    });
    restarts.chain(ends).collect()
}

/// What one step brought about.
#[derive(Debug, Default)]
struct Step {
    /// Jobs that are new.
    queued: Vec<u32>,
    /// How many of them each unit has by each cause.
    caused: BTreeMap<(UnitName, CauseRecord), u32>,
    ended: BTreeSet<UnitName>,
    failed: Vec<UnitName>,
    /// Units of which something was said to people.
    told: BTreeSet<UnitName>,
    /// Units whose jobs were left out to break an ordering cycle.
    off_cycles: BTreeSet<UnitName>,
    rejected: bool,
    accepted: bool,
    /// Records, commands, changes, ends of jobs.
    changes: usize,
    /// For how long the machine was suspended, and what was to come then.
    slept: Option<(Micros, Appointments)>,
    /// The input cancels a job.
    cancels: bool,
    /// The request came in mode fail, which rather leaves a conflict than stop what runs.
    asked_gently: bool,
    /// So did something of what the engine itself wanted.
    gentle: bool,
    /// The transaction of the request; later ones are the engine's own.
    transaction: Option<u32>,
    /// Units that were to come up, and by which transaction.
    started: BTreeMap<UnitName, u32>,
    /// The request, if that was the input.
    asked: Option<(JobVerb, UnitName, JobMode)>,
    /// What was told of units' ends, and what should have been.
    acts: Vec<(UnitName, Cause)>,
    ends: Vec<(UnitName, Cause)>,
    /// An atomic start is asked for; what it may stop if it fails.
    limits: Option<atomic::Limits>,
    /// Its transaction.
    opened: Option<u32>,
    /// Units whose queued jobs became another transaction's.
    joined: BTreeSet<UnitName>,
    /// A unit that was up or on its way and wished to be restarted, and the delay.
    wish: Option<(UnitName, Micros)>,
}

/// Keeps the account.
#[derive(Debug, Default)]
pub struct Watch {
    /// What was found.
    pub broken: Vec<String>,
    graph: Graph,
    stale: bool,
    /// What each file said when this manager last loaded it.
    declared: BTreeMap<UnitName, Vec<(DepKind, UnitName)>>,
    recovered: shadow::Recovered,
    /// Inputs given.
    inputs: u64,
    /// Effects seen, files loaded and managers begun: only then stored state or graph change.
    changes: u64,
    units: BTreeMap<UnitName, Seen>,
    jobs: BTreeMap<u32, SeenJob>,
    /// Of two units, the first says that it conflicts with the second, and both may be up: see [`effects`].
    tolerated: BTreeSet<(UnitName, UnitName)>,
    /// Atomic starts that have not ended.
    atomics: BTreeMap<u32, atomic::Start>,
    /// Effects seen.
    count: u64,
    portion: u64,
    /// The portion's records are through.
    past_records: bool,
    last_seq: u64,
    /// The latest time seen.
    latest: Micros,
    /// When the machine was suspended until, and for how long.
    sleeps: Vec<(Micros, Micros)>,
    /// The sequence each invocation was started under.
    starts: BTreeMap<u128, u64>,
    shutting_down: bool,
    step: Step,
    asked: Option<(JobVerb, UnitName, JobMode)>,
}

impl Watch {
    fn fail(&mut self, text: String) {
        self.broken.push(text);
    }

    fn seen(&mut self, unit: &UnitName) -> &mut Seen {
        if !self.units.contains_key(unit) {
            self.units.insert(unit.clone(), Seen::default());
        }
        self.units.get_mut(unit).unwrap()
    }

    fn active(&self, unit: &UnitName) -> ActiveState {
        self.units
            .get(unit)
            .map(|seen| seen.active)
            .unwrap_or_default()
    }

    fn excused(&self, unit: &UnitName) -> bool {
        self.units.get(unit).is_some_and(|seen| seen.excused)
    }

    fn job_of(&self, unit: &UnitName) -> Option<&SeenJob> {
        self.jobs.values().rev().find(|job| job.unit == *unit)
    }

    /// The unit's job that does this: it may already have another one, queued with the same effects.
    fn job_that(&self, unit: &UnitName, verb: JobVerb) -> Option<&SeenJob> {
        let does = |job: &&SeenJob| {
            job.verb == verb || verb == JobVerb::Stop && job.verb == JobVerb::Restart
        };
        self.jobs
            .values()
            .filter(|job| job.unit == *unit)
            .find(does)
    }

    /// A file is loaded (again). Dependencies that come and go under units excuse these.
    pub fn loaded(&mut self, spec: &UnitSpec) {
        self.stale = true;
        self.changes += 1;
        if self.declared.get(&spec.id) == Some(&spec.deps) {
            return;
        }
        let had = self.declared.insert(spec.id.clone(), spec.deps.clone());
        let had = BTreeSet::from_iter(had.iter().flatten());
        let has = BTreeSet::from_iter(&spec.deps);
        for (_, unit) in had.symmetric_difference(&has) {
            self.excuse(unit);
            self.excuse(&spec.id);
        }
    }

    fn excuse(&mut self, unit: &UnitName) {
        let has_job = self.job_of(unit).is_some();
        let seen = self.seen(unit);
        if has_job || !seen.active.is_down() {
            seen.excused = true;
        }
    }

    /// A client will ask for this.
    pub fn asked(&mut self, verb: JobVerb, unit: &UnitName, mode: JobMode) {
        self.asked = Some((verb, unit.clone(), mode));
    }

    /// An input is about to be given.
    pub fn before(&mut self, sight: &Sight<'_>, input: &Input) {
        self.step = Step::default();
        self.inputs += 1;
        if matches!(input, Input::Loaded { .. }) {
            return;
        }
        if std::mem::take(&mut self.stale) {
            self.graph = Graph::new(sight.loaded.values());
            self.declared
                .retain(|unit, _| sight.loaded.contains_key(unit));
        }
        self.portion += 1;
        self.past_records = false;
        self.latest = self.latest.max(sight.now);
        match input {
            Input::Enqueue { unit, mode, .. } => {
                let unit = sight.spec(unit).map_or(unit, |spec| &spec.id);
                let asked = self.asked.take();
                self.step.asked = asked.map(|(verb, _, mode)| (verb, unit.clone(), mode));
                self.step.asked_gently = *mode == JobMode::Fail;
                if is_alone(*mode) {
                    self.seen(unit).excused = true;
                }
            }
            Input::Atomic { .. } => self.asked_atomically(sight),
            Input::ShuttingDown => self.shutting_down = true,
            Input::Cancel { .. } => self.step.cancels = true,
            Input::ResetFailed { unit } => {
                if let Some(unit) = sight.engine.unit(*unit) {
                    self.seen(unit.name).limit = (0, 0);
                }
            }
            Input::Report { unit, observed } => self.note_wish(sight, *unit, observed),
            Input::HelperMissing { unit_type } => self.note_missing(unit_type),
            Input::Slept { span } => self.sleeps(sight, *span),
            _ => {}
        }
    }

    /// The machine was suspended: whatever counts time stands still.
    fn sleeps(&mut self, sight: &Sight<'_>, span: Micros) {
        self.sleeps.push((sight.now, span));
        self.step.slept = Some((span, appointments(sight)));
        for seen in self.units.values_mut() {
            seen.limit.0 += span;
            seen.left_alone = seen.left_alone.map(|since| since + span);
        }
        for job in self.jobs.values_mut() {
            job.running = job.running.map(|since| since + span);
        }
    }

    /// How long of the time since then the machine was suspended.
    fn slept_since(&self, since: Micros) -> Micros {
        let later = self.sleeps.iter().filter(|(woken, _)| *woken > since);
        later.map(|(_, span)| span).sum()
    }

    fn note_missing(&mut self, unit_type: &str) {
        for (_, seen) in self
            .units
            .iter_mut()
            .filter(|(unit, _)| unit.unit_type() == unit_type)
        {
            seen.excused = true;
        }
    }

    /// A new manager was restored, and has done nothing yet: the account goes on from there.
    pub fn crashed(&mut self, engine: &Engine, store: &Store) {
        // The step was cut off: what it has queued may be what goes on.
        self.note_tolerated();
        self.asked = None;
        // That the machine goes down is a promise from when it is recorded.
        self.shutting_down = engine.is_shutting_down();
        let slept = std::mem::take(&mut self.step).slept.is_some();
        self.graph = Graph::default();
        self.stale = true;
        // What is up is excused as its file is loaded: wider than it need be, see docs/testing.md.
        self.declared.clear();
        self.changes += 1;
        let was: BTreeMap<UnitName, ActiveState> = self
            .units
            .iter_mut()
            .map(|(unit, seen)| (unit.clone(), std::mem::take(&mut seen.active)))
            .collect();
        for unit in engine.units() {
            let (active, by_itself) = (unit.active, unit.job.is_none());
            let rose = was.get(unit.name).is_none_or(|was| was.is_down()) && !active.is_down();
            let seen = self.seen(unit.name);
            seen.active = active;
            // It came up by itself: that was recorded, and not told any more.
            seen.excused |= rose && by_itself;
        }
        for record in store.values() {
            if let Record::Unit(record) = record {
                self.counted_and_not_sent(record);
                let limit = &mut self.seen(&record.name).limit;
                if slept && record.limit.1 == limit.1 {
                    // Not moved any more.
                    *limit = record.limit;
                }
            }
        }
        let old = std::mem::take(&mut self.jobs);
        for job in engine.jobs() {
            let Some(Record::Job(record)) = store.get(&Key::Job(job.id.0)) else {
                self.fail(format!("store: a job without a record: {job:?}"));
                continue;
            };
            let mut record = record.clone();
            record.verb = job.verb;
            let mut seen = self.new_job(&record);
            if let Some(old) = old.get(&job.id.0) {
                (seen.queued, seen.born) = (old.queued, old.born);
                (seen.timeout, seen.running_timeout) = (old.timeout, old.running_timeout);
                seen.running = old.running.filter(|_| record.running);
                seen.unverified = old.unverified.clone();
                seen.restarted = true;
            }
            self.jobs.insert(job.id.0, seen);
        }
    }

    /// A start is counted before its command leaves: one that the death of its manager came between counts, and an
    /// interval it began has begun. No more than one.
    fn counted_and_not_sent(&mut self, record: &UnitRecord) {
        let (begun, count) = record.limit;
        let seen = &mut self.seen(&record.name).limit;
        if (begun, count) == (seen.0, seen.1 + 1) || begun > seen.0 && count == 1 {
            *seen = record.limit;
        }
    }

    fn new_job(&self, record: &JobRecord) -> SeenJob {
        SeenJob {
            unit: record.unit.clone(),
            verb: record.verb,
            ignore_order: record.ignore_order,
            transaction: record.transaction,
            queued: self.count,
            born: self.portion,
            portion: self.portion,
            restarted: record.verb == JobVerb::Restart,
            timeout: None,
            running_timeout: None,
            running: None,
            rolls_back: record.cause.0 == ROLL_BACK,
            unverified: BTreeSet::new(),
        }
    }
}
