//! A world for the engine: a store that keeps its records, a helper that carries its commands out
//! as told, a clock that moves when asked, and a manager that can be killed between two effects.
//!
//! Tests read as scripts: declare units, start something, look at the trace and at the states. A
//! line of the trace is a command (`start a`), a change (`a active`) or a job's end
//! (`start of a: done`); names are written without `.service`.
#![allow(dead_code)]

use engine::api::{Backing, Effect, Input, Observed, Record, Ticket, UnitId, Verdict};
use engine::{Config, Engine};
use std::collections::{BTreeMap, VecDeque};
use units::name::UnitName;
use units::spec::{Condition, ConditionKind, DepKind, LoadState, UnitSpec};
use units::state::{ActiveState, Invocation, JobMode, JobVerb, Micros, Outcome, RestartWish};
use units::wire::helper::Verb;

pub fn name(short: &str) -> UnitName {
    if short.contains('.') {
        return UnitName::new(short).unwrap();
    }
    UnitName::new(&format!("{short}.service")).unwrap()
}

fn short(name: &str) -> String {
    name.strip_suffix(".service").unwrap_or(name).to_string()
}

/// What a unit does when it is told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Works,
    Fails,
    /// A oneshot: done and inactive.
    Finishes,
    /// Nothing, until `World::finish`.
    Hangs,
    Skips,
}

#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    pub start: Does,
    pub stop: Does,
    pub reload: Does,
    /// `Restart=` with this delay, for any end that no command asked for.
    pub restart: Option<Micros>,
    pub verdict: Verdict,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            start: Does::Works,
            stop: Does::Works,
            reload: Does::Works,
            restart: None,
            verdict: Verdict::Go,
        }
    }
}

/// What the helper knows of a unit: its journal.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub active: ActiveState,
    pub invocation: Invocation,
    pub seq: u64,
    pub outcome: Outcome,
    pub restart: Option<RestartWish>,
    pub verb: Option<Verb>,
    pub starts: u32,
}

pub struct World {
    pub engine: Engine,
    pub now: Micros,
    pub epoch: u32,
    pub specs: BTreeMap<UnitName, UnitSpec>,
    pub behaviour: BTreeMap<UnitName, Behaviour>,
    pub slots: BTreeMap<UnitName, Slot>,
    pub store: BTreeMap<(u8, String), Record>,
    pub trace: Vec<String>,
    pub logs: Vec<String>,
    /// Units that were forgotten, in order.
    pub collected: Vec<String>,
    /// Units with a command to be carried out, in order.
    todo: VecDeque<UnitName>,
    inbox: VecDeque<Input>,
    ids: u128,
    /// Highest sequence ever given.
    last_seq: u64,
    ticket: u64,
    answered: Option<bool>,
    /// Atomic starts that were opened, and how those that have ended did.
    pub opened: Vec<u32>,
    pub closed: BTreeMap<u32, bool>,
    /// Effects carried out so far, and at which one the manager dies.
    pub effects: usize,
    pub cut: Option<usize>,
    pub crashes: usize,
    /// Broken promises found on the way.
    pub broken: Vec<String>,
    /// Chooses the order in which the helper works, if set.
    pub rng: Option<Rng>,
}

impl World {
    pub fn new() -> Self {
        Self {
            engine: Engine::new(Config {
                epoch: 1,
                max_jobs: 100_000,
            }),
            now: 1_000_000,
            epoch: 1,
            specs: BTreeMap::new(),
            behaviour: BTreeMap::new(),
            slots: BTreeMap::new(),
            store: BTreeMap::new(),
            trace: Vec::new(),
            logs: Vec::new(),
            collected: Vec::new(),
            todo: VecDeque::new(),
            inbox: VecDeque::new(),
            ids: 0,
            last_seq: 0,
            ticket: Ticket::CLIENT.0,
            answered: None,
            opened: Vec::new(),
            closed: BTreeMap::new(),
            effects: 0,
            cut: None,
            crashes: 0,
            broken: Vec::new(),
            rng: None,
        }
    }

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

    pub fn does(&mut self, unit: &str) -> &mut Behaviour {
        self.behaviour.entry(name(unit)).or_default()
    }

    /// Gives a unit a condition, answered as told.
    pub fn condition(&mut self, unit: &str, verdict: Verdict) {
        let condition = Condition {
            kind: ConditionKind::PathExists,
            trigger: false,
            negate: false,
            param: "/x".into(),
        };
        self.specs
            .get_mut(&name(unit))
            .unwrap()
            .conditions
            .push(condition);
        self.does(unit).verdict = verdict;
    }

    fn backing(unit: &UnitName) -> Backing {
        match unit.unit_type() {
            "target" | "slice" => Backing::Engine,
            _ => Backing::Helper,
        }
    }

    /// Loads one unit (again).
    pub fn load(&mut self, unit: &str) {
        let spec = match self.specs.get(&name(unit)) {
            Some(spec) => spec.clone(),
            None => UnitSpec::new(name(unit)),
        };
        let backing = Self::backing(&spec.id);
        self.feed(Input::Loaded {
            spec: Box::new(spec),
            backing,
        });
    }

    fn load_for(&mut self, unit: &UnitName) {
        loop {
            let missing = self.engine.missing(unit);
            if missing.is_empty() {
                break;
            }
            for unit in missing {
                self.load(unit.as_str());
            }
        }
    }

    pub fn ask(&mut self, verb: JobVerb, unit: &str, mode: JobMode) -> bool {
        self.load_for(&name(unit));
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.answered = None;
        self.feed(Input::Enqueue {
            ticket,
            unit: name(unit),
            verb,
            mode,
        });
        while self.answered.is_none() {
            // The manager died before it answered: the client connects again and repeats.
            self.feed(Input::Enqueue {
                ticket,
                unit: name(unit),
                verb,
                mode,
            });
        }
        self.answered.take().unwrap()
    }

    /// An atomic start by a client that asks again if the manager dies. False if refused.
    pub fn atomic(&mut self, units: &[&str]) -> bool {
        for unit in units {
            self.load_for(&name(unit));
        }
        self.ticket += 1;
        loop {
            let before = self.crashes;
            self.answered = None;
            self.feed(Input::Atomic {
                ticket: Ticket(self.ticket),
                units: units.iter().map(|unit| name(unit)).collect(),
                mode: JobMode::Replace,
            });
            self.settle();
            let done = self.answered == Some(false)
                || self.opened.last().is_none_or(|last| {
                    *last == 0 || self.closed.contains_key(last) || self.crashes == before
                });
            if self.answered.is_some() && done {
                return self.answered == Some(true);
            }
        }
    }

    /// A client's request in mode replace, until nothing moves. False if refused.
    pub fn run(&mut self, verb: JobVerb, unit: &str) -> bool {
        let accepted = self.ask(verb, unit, JobMode::Replace);
        self.settle();
        accepted
    }

    pub fn start(&mut self, unit: &str) -> bool {
        self.run(JobVerb::Start, unit)
    }

    pub fn stop(&mut self, unit: &str) -> bool {
        self.run(JobVerb::Stop, unit)
    }

    pub fn id(&mut self, unit: &str) -> UnitId {
        self.engine.intern(&name(unit))
    }

    pub fn active(&self, unit: &str) -> ActiveState {
        self.engine
            .find(&name(unit))
            .map(|unit| unit.active)
            .unwrap_or_default()
    }

    pub fn is_up(&self, unit: &str) -> bool {
        self.active(unit) == ActiveState::Active
    }

    /// What happened since the last look.
    pub fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.trace)
    }

    pub fn position(&self, line: &str) -> usize {
        let found = self.trace.iter().position(|l| l == line);
        found.unwrap_or_else(|| panic!("no “{line}” in {:#?}", self.trace))
    }

    /// The unit's process ends by itself.
    pub fn dies(&mut self, unit: &str, active: ActiveState) {
        let restart = self.does(unit).restart;
        let Some(slot) = self.slots.get_mut(&name(unit)) else {
            return;
        };
        if slot.active.is_down() {
            return;
        }
        if slot.outcome == Outcome::Pending {
            slot.outcome = Outcome::Failed;
            slot.verb = None;
        }
        slot.active = active;
        slot.restart = restart.map(|delay| RestartWish { delay });
        self.report(&name(unit));
    }

    /// The unit comes up though nobody told it to.
    pub fn comes(&mut self, unit: &str) {
        let slot = self.slots.entry(name(unit)).or_default();
        slot.active = ActiveState::Active;
        self.report(&name(unit));
    }

    /// A hanging command comes to this end.
    pub fn finish(&mut self, unit: &str, how: Does) {
        self.complete(&name(unit), how);
        self.settle();
    }

    pub fn report(&mut self, unit: &UnitName) {
        let Some(slot) = self.slots.get(unit).cloned() else {
            return;
        };
        let observed = Observed {
            invocation: slot.invocation,
            seq: slot.seq,
            outcome: slot.outcome,
            active: slot.active,
            restart: slot.restart,
            can_reload: true,
        };
        let unit = self.engine.intern(unit);
        self.feed(Input::Report { unit, observed });
    }

    /// One input, and what follows from it without the helper.
    pub fn feed(&mut self, input: Input) {
        self.inbox.push_back(input);
        while let Some(input) = self.inbox.pop_front() {
            self.step(input);
        }
    }

    fn step(&mut self, input: Input) {
        let before: BTreeMap<UnitId, _> = self.engine.jobs().map(|job| (job.unit, job)).collect();
        let mut effects = Vec::new();
        let ids = &mut self.ids;
        let mut entropy = || {
            *ids += 1;
            *ids
        };
        self.engine
            .step(self.now, input, &mut entropy, &mut effects);
        for effect in &effects {
            if let Effect::Command {
                unit, seq, verb, ..
            } = effect
            {
                // One given before is only sent again.
                if *verb == Verb::Start && *seq > self.last_seq {
                    self.check_order(&before, *unit);
                }
                self.last_seq = self.last_seq.max(*seq);
            }
        }
        for effect in effects {
            self.effects += 1;
            if self.cut == Some(self.effects) {
                return self.crash();
            }
            self.carry_out(effect);
        }
    }

    /// A start was given: no job that goes first, and was queued before this step, may be left.
    fn check_order(&mut self, before: &BTreeMap<UnitId, engine::JobView>, unit: UnitId) {
        let Some(started) = before.get(&unit) else {
            return;
        };
        if started.verb != JobVerb::Start {
            return;
        }
        for other in self.engine.waiting_for(unit) {
            let now = self.engine.unit(other).and_then(|unit| unit.job);
            let Some(was) = before.get(&other) else {
                continue;
            };
            let same = now.is_some_and(|now| now.id == was.id && now.verb == was.verb);
            if same
                && self
                    .engine
                    .unit(unit)
                    .unwrap()
                    .job
                    .is_some_and(|j| j.id == started.id)
            {
                let name = |id| self.engine.unit(id).unwrap().name.to_string();
                let text = format!("{} was started before {} was done", name(unit), name(other));
                self.broken.push(text);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Record(record) => {
                let key = key_of(&record);
                // What cannot be written and read again is not stored.
                let bytes = postcard::to_allocvec(&record).unwrap();
                self.store
                    .insert(key, postcard::from_bytes(&bytes).unwrap());
            }
            Effect::ForgetUnit { unit } => {
                self.store.remove(&(0, unit.to_string()));
            }
            Effect::ForgetJob { job } => {
                self.store.remove(&(1, job.0.to_string()));
            }
            Effect::Command {
                unit,
                invocation,
                seq,
                verb,
            } => {
                let unit = self.engine.unit(unit).unwrap().name.clone();
                self.command(&unit, invocation, seq, verb);
            }
            Effect::Check { unit, seq } => {
                let view = self.engine.unit(unit).unwrap().name.clone();
                let verdict = self
                    .behaviour
                    .get(&view)
                    .copied()
                    .unwrap_or_default()
                    .verdict;
                self.inbox.push_back(Input::Checked { unit, seq, verdict });
            }
            Effect::ForgetAtomic { transaction } => {
                self.store.remove(&(3, transaction.to_string()));
            }
            Effect::Opened { transaction, .. } => {
                self.answered = Some(true);
                self.opened.push(transaction);
            }
            Effect::Closed {
                transaction,
                failed,
                stopped,
            } => {
                let title = |unit| short(self.engine.unit(unit).unwrap().name.as_str());
                let mut text = String::from("all are up");
                if let Some((unit, result, _)) = &failed {
                    let stopped: Vec<_> = stopped.iter().map(|unit| title(*unit)).collect();
                    let (unit, result) = (title(*unit), result.as_str());
                    text = format!("{unit}: {result}, stopped {}", stopped.join(" "));
                }
                self.trace.push(text.trim_end().into());
                self.closed.insert(transaction, failed.is_none());
            }
            Effect::Queued { .. } => self.answered = Some(true),
            Effect::Rejected { reason, .. } => {
                self.trace
                    .push(format!("refused: {}", engine::words(&reason)));
                self.answered = Some(false);
            }
            Effect::JobEnded {
                unit, verb, result, ..
            } => {
                let unit = short(self.engine.unit(unit).unwrap().name.as_str());
                self.trace
                    .push(format!("{} of {unit}: {}", verb.as_str(), result.as_str()));
            }
            Effect::Changed { unit, to, .. } => {
                let unit = short(self.engine.unit(unit).unwrap().name.as_str());
                self.trace.push(format!("{unit} {}", to.as_str()));
            }
            Effect::Act {
                unit,
                action,
                cause,
            } => {
                let unit = short(self.engine.unit(unit).unwrap().name.as_str());
                self.trace
                    .push(format!("{} by {unit}: {cause:?}", action.as_str()));
            }
            Effect::Collected { unit } => {
                let unit = short(self.engine.unit(unit).unwrap().name.as_str());
                self.collected.push(unit);
            }
            Effect::Log { text, unit, .. } => {
                let unit = unit.and_then(|unit| self.engine.unit(unit));
                let unit = unit.map(|unit| unit.name.to_string()).unwrap_or_default();
                self.logs.push(format!("{unit}: {text}"));
            }
        }
    }

    /// The helper gets a command.
    fn command(&mut self, unit: &UnitName, invocation: Invocation, seq: u64, verb: Verb) {
        let slot = self.slots.entry(unit.clone()).or_default();
        if seq <= slot.seq {
            // Known: its state is reported again, nothing is done again.
            return self.todo.push_back(unit.clone());
        }
        let word = match verb {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Reload => "reload",
            _ => "reset",
        };
        self.trace.push(format!("{word} {}", short(unit.as_str())));
        slot.seq = seq;
        slot.outcome = Outcome::Pending;
        slot.verb = Some(verb);
        match verb {
            Verb::Start => {
                if !slot.active.is_down() {
                    self.broken
                        .push(format!("{unit} was started while {:?}", slot.active));
                }
                slot.starts += 1;
                slot.invocation = invocation;
                slot.active = ActiveState::Activating;
                slot.restart = None;
            }
            Verb::Stop if !slot.active.is_down() => slot.active = ActiveState::Deactivating,
            Verb::Reload if slot.active == ActiveState::Active => {
                slot.active = ActiveState::Reloading;
            }
            Verb::Reload => slot.outcome = Outcome::Failed,
            _ => {}
        }
        if slot.outcome != Outcome::Pending {
            slot.verb = None;
        }
        self.todo.push_back(unit.clone());
    }

    /// The helper carries one command out. False if there is none.
    pub fn work(&mut self) -> bool {
        let at = match &mut self.rng {
            Some(rng) if !self.todo.is_empty() => rng.below(self.todo.len()),
            _ => 0,
        };
        let Some(unit) = self.todo.remove(at) else {
            return false;
        };
        let behaviour = self.behaviour.get(&unit).copied().unwrap_or_default();
        let how = match self.slots.get(&unit).and_then(|slot| slot.verb) {
            Some(Verb::Start) => behaviour.start,
            Some(Verb::Stop) => behaviour.stop,
            Some(Verb::Reload) => behaviour.reload,
            _ => Does::Works,
        };
        if how == Does::Hangs {
            self.report(&unit);
        } else {
            self.complete(&unit, how);
        }
        true
    }

    fn complete(&mut self, unit: &UnitName, how: Does) {
        let restart = self
            .behaviour
            .get(unit)
            .copied()
            .unwrap_or_default()
            .restart;
        let slot = self.slots.entry(unit.clone()).or_default();
        let Some(verb) = slot.verb.take() else {
            return self.report(unit);
        };
        slot.outcome = match how {
            Does::Fails => Outcome::Failed,
            Does::Skips => Outcome::Skipped,
            _ => Outcome::Done,
        };
        slot.active = match (verb, how) {
            (Verb::Start, Does::Fails) => ActiveState::Failed,
            (Verb::Start, Does::Works) => ActiveState::Active,
            (Verb::Start, _) => ActiveState::Inactive,
            (Verb::Stop, Does::Fails) => ActiveState::Active,
            (Verb::Reload, _) => ActiveState::Active,
            _ => ActiveState::Inactive,
        };
        let wishes = verb == Verb::Start && how == Does::Fails;
        slot.restart = restart
            .filter(|_| wishes)
            .map(|delay| RestartWish { delay });
        self.report(unit);
    }

    /// Until the helper has nothing to do any more.
    pub fn settle(&mut self) {
        for _ in 0..20_000 {
            if !self.work() {
                return;
            }
        }
        panic!(
            "it never comes to rest: {:#?}",
            self.trace.iter().rev().take(40).collect::<Vec<_>>()
        );
    }

    /// Time passes until then, deadline by deadline.
    pub fn wait(&mut self, micros: Micros) {
        let until = self.now + micros;
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.feed(Input::Tick);
            self.settle();
        }
        self.now = until;
    }

    /// The manager is killed here and now; another one takes over.
    pub fn crash(&mut self) {
        self.crash_alone();
        self.sync();
    }

    /// The same, and the helper is not in contact yet.
    pub fn crash_alone(&mut self) {
        self.cut = None;
        self.crashes += 1;
        self.inbox.clear();
        self.epoch += 1;
        self.trace.push("crash".into());
        self.engine = Engine::new(Config {
            epoch: self.epoch,
            max_jobs: 100_000,
        });
        self.engine.restore(self.store.values().cloned().collect());
        for unit in self.engine.restored() {
            self.load(unit.as_str());
            self.load_for(&unit);
        }
        // Inverse dependencies of whatever was loaded before count as well.
        let rest: Vec<_> = self.specs.keys().cloned().collect();
        for unit in rest {
            if self
                .engine
                .find(&unit)
                .is_none_or(|unit| unit.load.is_none())
            {
                self.load(unit.as_str());
            }
        }
    }

    /// The helper comes into contact: reports what it knows, and says so.
    pub fn sync(&mut self) {
        let known: Vec<UnitName> = self.slots.keys().cloned().collect();
        let before = self.crashes;
        for unit in &known {
            self.report(unit);
        }
        if self.crashes != before {
            // The manager died on the way; the next one has been synchronised with already.
            return;
        }
        let reported = known.iter().map(|unit| self.engine.intern(unit)).collect();
        self.feed(Input::HelperSynced {
            unit_type: "service".into(),
            reported,
        });
    }

    /// All units that are not inactive, and all jobs.
    pub fn state(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .engine
            .units()
            .filter(|unit| unit.active != ActiveState::Inactive || unit.job.is_some())
            .map(|unit| {
                let job = unit
                    .job
                    .map(|job| format!(" ({} {:?})", job.verb.as_str(), job.phase));
                format!(
                    "{} {}{}",
                    short(unit.name.as_str()),
                    unit.active.as_str(),
                    job.unwrap_or_default()
                )
            })
            .collect();
        lines.sort();
        lines
    }

    /// What must hold when nothing moves.
    pub fn check_rest(&mut self) {
        for job in self.engine.jobs() {
            let unit = self.engine.unit(job.unit).unwrap();
            let waits = unit.pending.is_some() || job.deadline.is_some();
            if !waits {
                let text = format!(
                    "a job without an end: {} of {}",
                    job.verb.as_str(),
                    unit.name
                );
                self.broken.push(text);
            }
        }
        for unit in self
            .engine
            .units()
            .filter(|unit| unit.active == ActiveState::Active)
        {
            for (rel, other) in self.engine.edges(unit.id) {
                let other = self.engine.unit(other).unwrap();
                let idle = other.job.is_none() && unit.job.is_none();
                let refused = format!("cannot stop {}", unit.name);
                let told = self.logs.iter().any(|line| line.contains(&refused));
                if rel == engine::Rel::BindsTo && !told && other.active.is_down() && idle {
                    let text =
                        format!("{} is up, {} it is bound to is down", unit.name, other.name);
                    self.broken.push(text);
                }
            }
        }
        for (_, id) in self.store.keys().filter(|(kind, _)| *kind == 3) {
            let jobs = self.engine.atomic_jobs(id.parse().unwrap());
            if jobs.is_none_or(|mut jobs| jobs.next().is_none()) {
                self.broken.push(format!("atomic start {id} has no end"));
            }
        }
        let queued = self.engine.jobs().count();
        let stored = self.store.keys().filter(|(kind, _)| *kind == 1).count();
        if stored != queued {
            self.broken
                .push(format!("{queued} jobs queued, {stored} stored"));
        }
        for unit in self.engine.units() {
            let slot = self
                .slots
                .get(unit.name)
                .map(|slot| slot.active)
                .unwrap_or_default();
            let differs = slot.is_down() != unit.active.is_down();
            if differs && unit.backing == Backing::Helper {
                let text = format!("{} is {:?}, and thought {:?}", unit.name, slot, unit.active);
                self.broken.push(text);
            }
        }
    }
}

fn key_of(record: &Record) -> (u8, String) {
    match record {
        Record::Unit(unit) => (0, unit.name.to_string()),
        Record::Job(job) => (1, job.id.0.to_string()),
        Record::Engine(_) => (2, String::new()),
        Record::Atomic(atomic) => (3, atomic.transaction.to_string()),
    }
}

/// splitmix64: enough for choosing, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}
