//! The world as a script: declare units, start something, look at the trace and at the states.
//!
//! What the engine's own tests are written in. Names may be short: `a` is `a.service`.

use crate::helper::{Behaviour, Does};
use crate::world::{World, name, short};
use engine::Engine;
use engine::api::{UnitId, Verdict};
use units::spec::{Condition, ConditionKind, DepKind, LoadState, UnitSpec};
use units::state::{ActiveState, JobMode, JobVerb};

impl World {
    /// Declares a unit: `"requires b; after b c"`, keys in lower case.
    pub fn unit(&mut self, unit: &str, text: &str) -> &mut UnitSpec {
        let mut spec = UnitSpec::new(name(unit));
        spec.load = LoadState::Loaded;
        for line in text
            .split(';')
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let mut words = line.split_whitespace();
            let key = words.next().unwrap();
            let kind = DepKind::ALL
                .into_iter()
                .find(|k| k.as_str().eq_ignore_ascii_case(key));
            let kind = kind.unwrap_or_else(|| panic!("no dependency kind {key}"));
            words.for_each(|word| spec.add_dep(kind, name(word)));
        }
        spec.tidy();
        let id = spec.id.clone();
        self.specs.insert(id.clone(), spec);
        self.specs.get_mut(&id).unwrap()
    }

    /// How a unit behaves, to be changed.
    pub fn does(&mut self, unit: &str) -> &mut Behaviour {
        self.helper.behaviour.entry(name(unit)).or_default()
    }

    /// Gives a unit a condition, answered as told.
    pub fn condition(&mut self, unit: &str, verdict: Verdict) {
        let condition = Condition {
            kind: ConditionKind::PathExists,
            trigger: false,
            negate: false,
            param: "/x".into(),
        };
        let spec = self.specs.get_mut(&name(unit)).unwrap();
        spec.conditions.push(condition);
        self.does(unit).verdict = verdict;
    }

    /// A client's request in mode replace, until nothing moves. False if refused.
    pub fn run(&mut self, verb: JobVerb, unit: &str) -> bool {
        let accepted = self.ask(verb, unit, JobMode::Replace);
        self.settle();
        accepted
    }

    /// [`World::run`], to start.
    pub fn start(&mut self, unit: &str) -> bool {
        self.run(JobVerb::Start, unit)
    }

    /// [`World::run`], to stop.
    pub fn stop(&mut self, unit: &str) -> bool {
        self.run(JobVerb::Stop, unit)
    }

    /// A unit's number.
    pub fn id(&mut self, unit: &str) -> UnitId {
        self.engine.intern(&name(unit))
    }

    /// What the engine thinks it is.
    pub fn active(&self, unit: &str) -> ActiveState {
        let unit = self.engine.find(&name(unit));
        unit.map(|unit| unit.active).unwrap_or_default()
    }

    /// Whether it is active.
    pub fn is_up(&self, unit: &str) -> bool {
        self.active(unit) == ActiveState::Active
    }

    /// What happened since the last look.
    pub fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.trace)
    }

    /// Where in the trace a line stands.
    pub fn position(&self, line: &str) -> usize {
        let found = self.trace.iter().position(|l| l == line);
        found.unwrap_or_else(|| panic!("no “{line}” in {:#?}", self.trace))
    }

    /// The unit's process ends by itself, and the manager hears of it.
    pub fn dies(&mut self, unit: &str, active: ActiveState) {
        self.ends(&name(unit), active);
        self.deliver();
    }

    /// The unit comes up though nobody told it to, and the manager hears of it.
    pub fn comes(&mut self, unit: &str) {
        self.helper.appears(&name(unit));
        self.report(&name(unit));
        self.deliver();
    }

    /// A hanging command comes to this end.
    pub fn finish(&mut self, unit: &str, how: Does) {
        self.complete(&name(unit), how);
        self.settle();
    }

    /// The manager is killed here and now; another one takes over and hears what the helpers say.
    pub fn crash(&mut self) {
        self.crash_now();
        self.deliver();
    }

    /// The helpers come into contact anew.
    pub fn sync(&mut self) {
        self.sync_all();
        self.deliver();
    }

    /// All units that are not inactive, and all jobs.
    pub fn state(&self) -> Vec<String> {
        state(&self.engine)
    }

    /// What must hold when nothing moves; what does not is added to [`World::broken`].
    pub fn check_rest(&mut self) {
        self.settle();
        self.look();
    }
}

/// All units that are not inactive, and all jobs.
pub fn state(engine: &Engine) -> Vec<String> {
    let mut lines: Vec<String> = engine
        .units()
        .filter(|unit| unit.active != ActiveState::Inactive || unit.job.is_some())
        .map(|unit| {
            let job = unit
                .job
                .map(|job| format!(" ({} {:?})", job.verb.as_str(), job.phase));
            let (name, state) = (short(unit.name.as_str()), unit.active.as_str());
            format!("{name} {state}{}", job.unwrap_or_default())
        })
        .collect();
    lines.sort();
    lines
}
