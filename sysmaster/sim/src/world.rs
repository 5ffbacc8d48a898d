//! The world: a manager with its store, helpers that carry out commands, what is on its way between
//! them, and a clock that moves when it is asked to.
//!
//! The manager's part is what the real shell does: it feeds inputs, carries out effects in their order,
//! loads units when they are first needed, drops commands for a helper that is not synchronised, and
//! after a crash restores the engine from the store and synchronises again. It may die before any
//! effect ([`World::cut`]); a client whose request was not answered then asks again.

use crate::helper::{Does, Helper};
use crate::promises::{Sight, Watch};
use crate::rng::Rng;
use engine::api::{Backing, Effect, Input, Observed, Record, Ticket, UnitId};
use engine::{Config, Engine};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use units::name::UnitName;
use units::spec::UnitSpec;
use units::state::{ActiveState, Invocation, JobMode, JobResult, JobVerb, Micros};
use units::wire::helper::Verb;

/// Jobs that may be queued.
const MAX_JOBS: u32 = 100_000;
/// Pieces of work after which a world that does not come to rest is given up.
const RESTLESS: usize = 20_000;

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

/// What is stored: kind and key of each record, and the record.
pub type Store = BTreeMap<(u8, String), Record>;

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

    /// The file of a unit, or what stands for one that is not there.
    fn file(&self, unit: &UnitName) -> UnitSpec {
        let found = self.specs.get(unit).cloned();
        found.unwrap_or_else(|| UnitSpec::new(unit.clone()))
    }

    /// Loads one unit (again).
    pub fn load(&mut self, unit: &str) {
        let spec = self.file(&name(unit));
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

    /// A client's request. False if it was refused. If the manager dies before it has answered, the
    /// client connects again and repeats.
    pub fn ask(&mut self, verb: JobVerb, unit: &str, mode: JobMode) -> bool {
        let unit = name(unit);
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.answered = None;
        for _ in 0..3 {
            let crashes = self.crashes;
            self.load_for(&unit);
            self.feed(Input::Tick);
            if self.crashes == crashes {
                self.watch.asked(verb, &unit, mode);
                self.feed(Input::Enqueue {
                    ticket,
                    unit: unit.clone(),
                    verb,
                    mode,
                });
            }
            if let Some(answer) = self.answered.take() {
                return answer;
            }
        }
        self.broken.push(format!("answer: none for {unit}"));
        false
    }

    /// A client's request for an atomic start. False if it was refused. As [`World::ask`].
    pub fn ask_atomically(&mut self, units: &[&str]) -> bool {
        let units: Vec<UnitName> = units.iter().map(|unit| name(unit)).collect();
        self.ticket += 1;
        self.answered = None;
        for _ in 0..3 {
            let crashes = self.crashes;
            units.iter().for_each(|unit| self.load_for(unit));
            self.feed(Input::Tick);
            if self.crashes == crashes {
                self.feed(Input::Atomic {
                    ticket: Ticket(self.ticket),
                    units: units.clone(),
                    mode: JobMode::Replace,
                });
            }
            if let Some(answer) = self.answered.take() {
                return answer;
            }
        }
        self.broken.push("answer: none for an atomic start".into());
        false
    }

    /// An atomic start, until it has ended, by a client that asks again if the manager dies. False if refused.
    pub fn atomic(&mut self, units: &[&str]) -> bool {
        let units: Vec<UnitName> = units.iter().map(|unit| name(unit)).collect();
        self.ticket += 1;
        loop {
            let before = self.crashes;
            self.answered = None;
            for unit in &units {
                self.load_for(unit);
                self.watch.asked(JobVerb::Start, unit, JobMode::Replace);
            }
            self.feed(Input::Atomic {
                ticket: Ticket(self.ticket),
                units: units.clone(),
                mode: JobMode::Replace,
            });
            self.settle();
            let ended = |last: &u32| *last == 0 || self.closed.contains_key(last);
            let done = self.crashes == before || self.opened.last().is_none_or(ended);
            match self.answered {
                Some(false) => return false,
                Some(true) if done => return true,
                _ => {}
            }
        }
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
                self.store.remove(&(0, unit.to_string()));
            }
            Effect::ForgetJob { job } => {
                self.store.remove(&(1, job.0.to_string()));
            }
            Effect::ForgetAtomic { transaction } => {
                self.store.remove(&(3, transaction.to_string()));
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

    /// A command for a helper out of contact is dropped: it will be sent again.
    fn send(&mut self, command: Command) {
        if self.lost.contains(command.unit.unit_type()) {
            return;
        }
        let slot = self.helper.slots.get(&command.unit);
        if slot.is_none_or(|slot| slot.seq < command.seq) {
            let word = match command.verb {
                Verb::Start => "start",
                Verb::Stop => "stop",
                Verb::Reload => "reload",
                _ => "reset",
            };
            let unit = short(command.unit.as_str());
            self.trace.push(format!("{word} {unit}"));
        }
        self.to_helper.push_back(command);
    }

    /// The helper says what it knows of a unit.
    pub fn report(&mut self, unit: &UnitName) {
        if let Some(said) = self.helper.said(unit) {
            self.to_manager.push_back(Said::Report(unit.clone(), said));
        }
    }

    /// The manager reads the next message. False if there is none.
    pub fn hear(&mut self) -> bool {
        match self.to_manager.pop_front() {
            None => return false,
            Some(Said::Report(unit, observed)) => {
                if self.engine.find(&unit).is_none_or(|it| it.load.is_none()) {
                    self.load_for(&unit);
                }
                let unit = self.engine.intern(&unit);
                self.feed(Input::Report { unit, observed });
            }
            Some(Said::Synced(unit_type, names)) => {
                self.lost.remove(&unit_type);
                let reported = names.iter().map(|unit| self.engine.intern(unit)).collect();
                self.feed(Input::HelperSynced {
                    unit_type,
                    reported,
                });
            }
        }
        true
    }

    /// The helper reads the next command. False if there is none.
    fn obey(&mut self) -> bool {
        let Some(command) = self.to_helper.pop_front() else {
            return false;
        };
        let known = !self.helper.accept(&command, self.now);
        let slot = self.helper.slots.get(&command.unit);
        // What is done at once is said once.
        if known || slot.is_none_or(|slot| slot.due != Some(self.now)) {
            self.report(&command.unit);
        }
        true
    }

    /// All messages arrive; nothing is carried out.
    pub fn deliver(&mut self) {
        while self.hear() || self.obey() {}
    }

    /// What is due of a unit happens, and is said.
    fn happen(&mut self, unit: &UnitName) {
        self.helper.happen(unit);
        self.report(unit);
    }

    /// A report is read, something due happens, or a command is read, the first of these there is.
    /// False if there is none.
    pub fn work(&mut self) -> bool {
        if self.hear() {
            return true;
        }
        let due = self.helper.due(self.now).next().cloned();
        match due {
            Some(unit) => self.happen(&unit),
            None => return self.obey(),
        }
        true
    }

    /// One of them, by chance.
    pub fn work_by_chance(&mut self, rng: &mut Rng) {
        let due: Vec<UnitName> = self.helper.due(self.now).cloned().collect();
        match rng.below(3) {
            0 if self.hear() => {}
            1 if !due.is_empty() => self.happen(&due[rng.below(due.len())]),
            _ if self.obey() => {}
            _ if !due.is_empty() => self.happen(&due[rng.below(due.len())]),
            _ => {
                self.hear();
            }
        }
    }

    /// Until nothing is on its way and nothing due.
    pub fn settle(&mut self) {
        for _ in 0..RESTLESS {
            if !self.work() {
                return;
            }
        }
        let tail = self.trace.iter().rev().take(10).collect::<Vec<_>>();
        self.broken
            .push(format!("rest: it never comes to rest: {tail:?}"));
        self.to_helper.clear();
        self.to_manager.clear();
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        let due = self.helper.due(self.now).next().is_some();
        self.to_helper.is_empty() && self.to_manager.is_empty() && !due
    }

    /// Whether every helper that there is has been synchronised with.
    pub fn is_in_contact(&self) -> bool {
        self.lost.is_subset(&self.missing)
    }

    /// Time passes until then, deadline by deadline.
    pub fn wait(&mut self, micros: Micros) {
        let until = self.now.saturating_add(micros);
        self.settle();
        for turn in 0.. {
            let next = [self.engine.next_deadline(), self.helper.next_due()];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.feed(Input::Tick);
            self.settle();
            if turn == RESTLESS || self.broken.len() > 20 {
                self.broken.push("rest: a deadline that never goes".into());
                break;
            }
        }
        self.now = until;
    }

    /// It is later at once; what was due in between is due now.
    pub fn jump(&mut self, micros: Micros) {
        self.now = self.now.saturating_add(micros);
        self.feed(Input::Tick);
    }

    /// The wall clock is set back. The engine never hears of it; should its shell ever mistake it
    /// for the time, nothing follows from that either.
    pub fn wall(&mut self, micros: Micros) {
        self.feed(Input::Tick);
        let now = self.now;
        let before = self.effects;
        self.now = now.saturating_sub(micros);
        self.feed(Input::Tick);
        self.now = now;
        if self.effects != before && self.cut.is_none() {
            self.broken.push("clock: a step back had effects".into());
        }
    }

    /// The manager is killed here and now; after a while another one takes over.
    pub fn crash_now(&mut self) {
        self.cut = None;
        self.crashes += 1;
        self.inbox.clear();
        self.to_helper.clear();
        self.to_manager.clear();
        self.trace.push("crash".into());
        for _ in 0..std::mem::take(&mut self.away) {
            let due = self.helper.due(self.now).next().cloned();
            due.inspect(|unit| self.helper.happen(unit));
        }
        self.epoch += 1;
        self.engine = new_engine(self.epoch);
        self.engine.restore(self.store.values().cloned().collect());
        self.loaded.clear();
        self.watch.crashed(&self.engine, &self.store);
        for unit in self.engine.restored() {
            self.load(unit.as_str());
            self.load_for(&unit);
        }
        self.feed(Input::Tick);
        self.sync_all();
    }

    /// Every helper comes into contact: says what it knows, and that this is all.
    pub fn sync_all(&mut self) {
        let types = self.helper.slots.keys().map(|unit| unit.unit_type());
        let mut types: BTreeSet<String> = types.map(String::from).collect();
        types.insert("service".into());
        types.extend(self.lost.iter().cloned());
        for unit in self.loaded.keys() {
            if backing(unit) == Backing::Helper {
                types.insert(unit.unit_type().into());
            }
        }
        for unit_type in types {
            self.greet(&unit_type);
        }
    }

    /// The helper of a type says what it knows, and that this is all.
    fn greet(&mut self, unit_type: &str) {
        if self.missing.contains(unit_type) {
            let unit_type = unit_type.into();
            return self.feed(Input::HelperMissing { unit_type });
        }
        self.lost.insert(unit_type.into());
        let of_type = |unit: &&UnitName| unit.unit_type() == unit_type;
        let known: Vec<UnitName> = self.helper.slots.keys().filter(of_type).cloned().collect();
        for unit in &known {
            self.report(unit);
        }
        self.to_manager
            .push_back(Said::Synced(unit_type.into(), known));
    }

    /// The helper of a type dies, and its successor comes into contact. Of what it had sent, so many
    /// messages are still read.
    pub fn helper_dies(&mut self, unit_type: &str, keep: usize) {
        if self.missing.contains(unit_type) {
            return;
        }
        self.to_helper
            .retain(|command| command.unit.unit_type() != unit_type);
        let mut kept = 0;
        self.to_manager.retain(|said| {
            let of = match said {
                Said::Report(unit, _) => unit.unit_type(),
                Said::Synced(unit_type, _) => unit_type,
            };
            kept += usize::from(of == unit_type);
            // A helper that died before it was synchronised never was.
            let whole = matches!(said, Said::Report(..));
            of != unit_type || kept <= keep && whole
        });
        self.helper.dies(unit_type);
        self.greet(unit_type);
    }

    /// There is no helper for a type any more.
    pub fn helper_missing(&mut self, unit_type: &str) {
        let other = |unit: &UnitName| unit.unit_type() != unit_type;
        self.to_helper.retain(|command| other(&command.unit));
        self.to_manager.retain(|said| match said {
            Said::Report(unit, _) => other(unit),
            Said::Synced(of, _) => of != unit_type,
        });
        self.helper.slots.retain(|unit, _| other(unit));
        self.lost.insert(unit_type.into());
        self.missing.insert(unit_type.into());
        self.greet(unit_type);
    }

    /// What hangs comes to this end.
    pub fn complete(&mut self, unit: &UnitName, how: Does) {
        self.helper.complete(unit, how, self.now);
        self.report(unit);
    }

    /// A unit ends by itself.
    pub fn ends(&mut self, unit: &UnitName, end: ActiveState) {
        self.helper.ends(unit, end);
        self.report(unit);
    }
}

pub(crate) fn new_engine(epoch: u32) -> Engine {
    Engine::new(Config {
        epoch,
        max_jobs: MAX_JOBS,
    })
}

fn key_of(record: &Record) -> (u8, String) {
    match record {
        Record::Unit(unit) => (0, unit.name.to_string()),
        Record::Job(job) => (1, job.id.0.to_string()),
        Record::Engine(_) => (2, String::new()),
        Record::Atomic(atomic) => (3, atomic.transaction.to_string()),
    }
}
