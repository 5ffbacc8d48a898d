//! The world: a manager with its store, helpers that carry out commands, what is on its way between
//! them, and a clock that moves when it is asked to.
//!
//! The manager's part is what the real shell does: it feeds inputs, carries out effects in their order,
//! loads units when they are first needed, drops commands for a helper that is not synchronised, and
//! after a crash restores the engine from the store and synchronises again. It may die before any
//! effect ([`World::cut`]); a client whose request was not answered then asks again.

mod client;
mod deaths;
mod traffic;

use crate::helper::Helper;
use crate::promises::{Sight, Watch};
use engine::api::{Backing, Effect, Input, Observed, Record, Ticket, UnitId};
use engine::{Config, Engine};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use units::name::UnitName;
use units::spec::UnitSpec;
use units::state::{Invocation, JobResult, Micros};
use units::wire::helper::Verb;

/// Jobs that may be queued.
const MAX_JOBS: u32 = 100_000;

/// A command on its way to a helper.
#[derive(Clone, Debug)]
pub struct Command {
    /// To which unit.
    pub unit: UnitName,
    /// Which invocation.
    pub invocation: Invocation,
    /// Sequence.
    pub seq: u64,
    /// What.
    pub verb: Verb,
}

/// What a helper says to the manager.
#[derive(Clone, Debug)]
enum Said {
    Report(UnitName, Observed),
    Synced(String, Vec<UnitName>),
}

/// What a record is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A unit.
    Unit(UnitName),
    /// A job.
    Job(u32),
    /// The engine itself.
    Engine,
    /// An atomic start.
    Atomic(u32),
}

/// What is stored.
pub type Store = BTreeMap<Key, Record>;

/// All there is.
#[derive(Debug)]
pub struct World {
    /// The manager's engine.
    pub engine: Engine,
    /// The time.
    pub now: Micros,
    /// Number of the manager.
    pub epoch: u32,
    /// The unit files.
    pub specs: BTreeMap<UnitName, UnitSpec>,
    /// As this manager has loaded them.
    pub loaded: BTreeMap<UnitName, UnitSpec>,
    /// The helpers.
    pub helper: Helper,
    /// What outlives the manager.
    pub store: Store,
    /// What has happened: commands (`start a`), changes (`a active`), ends of jobs
    /// (`start of a: done`); `.service` is not written.
    pub trace: Vec<String>,
    /// Lines for people.
    pub logs: Vec<String>,
    /// Units that were forgotten, in order.
    pub collected: Vec<String>,
    /// Atomic starts that were opened (0: there was nothing to do), in order,
    pub opened: Vec<u32>,
    /// and of those that have ended, whether all is up.
    pub closed: BTreeMap<u32, bool>,
    /// Effects carried out so far.
    pub effects: usize,
    /// The manager dies before this effect,
    pub cut: Option<usize>,
    /// and so many pieces of work are done before there is another one.
    pub away: usize,
    /// Managers that died.
    pub crashes: usize,
    /// Promises seen broken.
    pub broken: Vec<String>,
    pub(crate) watch: Watch,
    to_helper: VecDeque<Command>,
    to_manager: VecDeque<Said>,
    /// Types whose helper is not in contact.
    lost: BTreeSet<String>,
    /// Types without a helper.
    pub(crate) missing: BTreeSet<String>,
    inbox: VecDeque<Input>,
    ids: u128,
    ticket: u64,
    answered: Option<bool>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A unit's name; `.service` where there is no type.
pub fn name(short: &str) -> UnitName {
    if short.contains('.') {
        return UnitName::new(short).unwrap();
    }
    UnitName::new(&format!("{short}.service")).unwrap()
}

/// The name without `.service`.
pub fn short(name: &str) -> &str {
    name.strip_suffix(".service").unwrap_or(name)
}

/// Who carries out units of this type.
pub fn backing(unit: &UnitName) -> Backing {
    match unit.unit_type() {
        "target" | "slice" => Backing::Engine,
        _ => Backing::Helper,
    }
}

impl World {
    /// Without units, at one second after boot.
    pub fn new() -> Self {
        Self {
            engine: new_engine(1),
            now: 1_000_000,
            epoch: 1,
            specs: BTreeMap::new(),
            loaded: BTreeMap::new(),
            helper: Helper::default(),
            store: Store::new(),
            trace: Vec::new(),
            logs: Vec::new(),
            collected: Vec::new(),
            opened: Vec::new(),
            closed: BTreeMap::new(),
            effects: 0,
            cut: None,
            away: 0,
            crashes: 0,
            broken: Vec::new(),
            watch: Watch::default(),
            to_helper: VecDeque::new(),
            to_manager: VecDeque::new(),
            lost: BTreeSet::new(),
            missing: BTreeSet::new(),
            inbox: VecDeque::new(),
            ids: 0,
            ticket: Ticket::CLIENT.0,
            answered: None,
        }
    }

    /// The file of a unit, by whichever of its names, or what stands for one that is not there.
    fn file(&self, unit: &UnitName) -> UnitSpec {
        let alias = || self.specs.values().find(|spec| spec.names.contains(unit));
        let found = self.specs.get(unit).or_else(alias).cloned();
        found.unwrap_or_else(|| UnitSpec::new(unit.clone()))
    }

    /// Loads one unit (again).
    pub fn load(&mut self, unit: &str) {
        let spec = self.file(&name(unit));
        for alias in &spec.names {
            self.loaded.remove(alias);
        }
        self.loaded.insert(spec.id.clone(), spec.clone());
        self.watch.loaded(&spec);
        let backing = backing(&spec.id);
        self.feed(Input::Loaded {
            spec: Box::new(spec),
            backing,
        });
    }

    /// Loads what starting the unit needs and is not loaded yet.
    pub fn load_for(&mut self, unit: &UnitName) {
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

    /// `daemon-reload`: what was loaded and has changed is loaded again.
    pub fn reload(&mut self) {
        let known: Vec<UnitName> = self.loaded.keys().cloned().collect();
        for unit in known {
            if self.loaded.get(&unit) != Some(&self.file(&unit)) {
                self.load(unit.as_str());
            }
        }
        let known: Vec<UnitName> = self.loaded.keys().cloned().collect();
        for unit in known {
            self.load_for(&unit);
        }
        self.feed(Input::Tick);
    }

    /// One input, and what follows from it without a helper.
    pub fn feed(&mut self, input: Input) {
        self.inbox.push_back(input);
        while let Some(input) = self.inbox.pop_front() {
            self.step(input);
        }
    }

    fn step(&mut self, input: Input) {
        let loads = matches!(input, Input::Loaded { .. });
        let mut effects = Vec::new();
        let mut watch = std::mem::take(&mut self.watch);
        watch.before(&self.sight(), &input);
        let ids = &mut self.ids;
        let mut entropy = || {
            *ids += 1;
            *ids
        };
        self.engine
            .step(self.now, input, &mut entropy, &mut effects);
        for effect in effects {
            self.effects += 1;
            if self.cut == Some(self.effects) {
                self.watch = watch;
                return self.crash_now();
            }
            watch.effect(&self.sight(), &effect);
            self.carry_out(effect);
        }
        if !loads {
            watch.after(&self.sight());
        }
        self.broken.append(&mut watch.broken);
        self.broken.append(&mut self.helper.broken);
        self.watch = watch;
    }

    /// What there is to be seen.
    pub fn sight(&self) -> Sight<'_> {
        Sight {
            engine: &self.engine,
            epoch: self.epoch,
            store: &self.store,
            loaded: &self.loaded,
            now: self.now,
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Record(record) => {
                // What cannot be written and read again is not stored.
                let bytes = postcard::to_allocvec(&record).unwrap();
                let record = postcard::from_bytes(&bytes).unwrap();
                self.store.insert(key_of(&record), record);
            }
            Effect::ForgetUnit { unit } => {
                self.store.remove(&Key::Unit(unit));
            }
            Effect::ForgetJob { job } => {
                self.store.remove(&Key::Job(job.0));
            }
            Effect::ForgetAtomic { transaction } => {
                self.store.remove(&Key::Atomic(transaction));
            }
            Effect::Command {
                unit,
                invocation,
                seq,
                verb,
            } => {
                let unit = self.name_of(unit);
                self.send(Command {
                    unit,
                    invocation,
                    seq,
                    verb,
                });
            }
            Effect::Check { unit, seq } => {
                let verdict = self.helper.does(&self.name_of(unit)).verdict;
                self.inbox.push_back(Input::Checked { unit, seq, verdict });
            }
            Effect::Queued { .. } => self.answered = Some(true),
            Effect::Opened { transaction, .. } => {
                self.answered = Some(true);
                self.opened.push(transaction);
            }
            Effect::Closed {
                transaction,
                failed,
                stopped,
            } => self.closed(transaction, failed, &stopped),
            Effect::Act {
                unit,
                action,
                cause,
            } => {
                let unit = self.name_of(unit);
                let unit = short(unit.as_str());
                self.trace
                    .push(format!("{} by {unit}: {cause:?}", action.as_str()));
            }
            Effect::Collected { unit } => {
                let unit = self.name_of(unit);
                self.loaded.remove(&unit);
                self.collected.push(short(unit.as_str()).into());
            }
            Effect::Rejected { reason, .. } => {
                self.trace
                    .push(format!("refused: {}", engine::words(&reason)));
                self.answered = Some(false);
            }
            Effect::JobEnded {
                unit, verb, result, ..
            } => {
                let unit = self.name_of(unit);
                let unit = short(unit.as_str());
                self.trace
                    .push(format!("{} of {unit}: {}", verb.as_str(), result.as_str()));
            }
            Effect::Changed { unit, to, .. } => {
                let unit = self.name_of(unit);
                self.trace
                    .push(format!("{} {}", short(unit.as_str()), to.as_str()));
            }
            Effect::Log { text, unit, .. } => {
                let unit = unit.map(|unit| self.name_of(unit).to_string());
                self.logs
                    .push(format!("{}: {text}", unit.unwrap_or_default()));
            }
        }
    }

    fn closed(
        &mut self,
        transaction: u32,
        failed: Option<(UnitId, JobResult, String)>,
        stopped: &[UnitId],
    ) {
        let title = |unit| String::from(short(self.name_of(unit).as_str()));
        let text = match &failed {
            None => String::from("all are up"),
            Some((unit, result, _)) => {
                let stopped: Vec<_> = stopped.iter().map(|unit| title(*unit)).collect();
                let (unit, result) = (title(*unit), result.as_str());
                format!("{unit}: {result}, stopped {}", stopped.join(" "))
            }
        };
        self.trace.push(text.trim_end().into());
        self.closed.insert(transaction, failed.is_none());
    }

    fn name_of(&self, unit: UnitId) -> UnitName {
        self.engine.unit(unit).unwrap().name.clone()
    }
}

pub(crate) fn new_engine(epoch: u32) -> Engine {
    Engine::new(Config {
        epoch,
        max_jobs: MAX_JOBS,
    })
}

fn key_of(record: &Record) -> Key {
    match record {
        Record::Unit(unit) => Key::Unit(unit.name.clone()),
        Record::Job(job) => Key::Job(job.id.0),
        Record::Engine(_) => Key::Engine,
        Record::Atomic(atomic) => Key::Atomic(atomic.transaction),
    }
}
