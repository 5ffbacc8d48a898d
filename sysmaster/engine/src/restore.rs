//! From records to an engine that goes on where the last one was cut off.
//!
//! [`Engine::restore`] puts back what the records say. A job whose transaction was not committed
//! is rolled back: to what it was before, or to nothing. Of two jobs of one unit the younger one
//! was to replace the older. Then the shell loads the units again (`Loaded`), and with the first
//! input that is no `Loaded` the jobs in flight are taken up ([`Engine::take_up`]), each by the
//! sequence of its command against its unit's:
//!
//! * the same, and the unit's is pending: under way;
//! * the same, and its outcome is known: the job ends by the unit's state;
//! * the job's is higher: the command was never given; the job waits again.
//!
//! What helpers then report corrects the units. Each difference is a line for people.

use crate::api::{Effect, EngineRecord, JobRecord, Record, UnitId, UnitRecord};
use crate::job::{self, Job, Phase};
use crate::mutants::mutant;
use crate::{Engine, Timer};
use alloc::string::String;
use alloc::vec::Vec;
use units::name::UnitName;
use units::state::{JobResult, JobVerb, Micros, Outcome};
use units::wire::helper::Verb;

/// In place of a job's deadline, until it is taken up: by a version that recorded none.
const NOT_RECORDED: Micros = Micros::MAX;

impl Engine {
    /// Puts a stored state into a new engine. Called before the first step; what it found out of
    /// order is told with that step's effects.
    pub fn restore(&mut self, records: Vec<Record>) {
        let mut jobs: Vec<JobRecord> = Vec::new();
        let mut atomics = Vec::new();
        for record in records {
            match record {
                Record::Engine(record) => self.restore_engine(record),
                Record::Unit(record) => self.restore_unit(*record),
                Record::Job(record) => jobs.push(record),
                Record::Atomic(record) => atomics.push(record),
            }
        }
        jobs.sort_unstable_by_key(|job| job.id);
        for record in jobs {
            self.last_job = self.last_job.max(record.id.0);
            self.last_transaction = self.last_transaction.max(record.transaction);
            self.restore_job(record);
        }
        for record in atomics {
            self.restore_atomic(record);
        }
        self.recovering = true;
    }

    fn restore_engine(&mut self, record: EngineRecord) {
        self.record = record;
        self.stored = record;
        self.last_job = self.last_job.max(record.last_job);
        self.last_transaction = self.last_transaction.max(record.committed);
    }

    fn restore_unit(&mut self, record: UnitRecord) {
        let id = self.arena.intern(&record.name);
        let unit = self.arena.at(id);
        unit.active = record.active;
        unit.since = record.since;
        unit.invocation = record.invocation;
        unit.seq = record.seq;
        unit.pending = record.pending;
        unit.restart_at = record.restart_at;
        unit.restarts = record.restarts;
        unit.limit = record.limit;
        unit.limit_hit = record.limit_hit;
        unit.outcome = record.outcome;
        unit.can_reload = record.can_reload.then_some(true);
        unit.recorded = true;
        if let Some(at) = record.restart_at.filter(|_| !mutant!(22)) {
            self.deadlines.insert((at, id, Timer::Restart));
        }
        let past = record.past.map(|past| self.past_of(past));
        self.arena.at(id).restore_history(record.times, past);
    }

    fn restore_job(&mut self, mut record: JobRecord) {
        let committed = self.record.committed;
        let unit = self.arena.intern(&record.unit);
        if record.transaction > committed && !mutant!(23) {
            match record
                .was
                .take()
                .filter(|(_, transaction)| *transaction <= committed)
            {
                Some((verb, transaction)) => {
                    if verb != record.verb {
                        (record.running, record.seq) = (false, 0);
                    }
                    (record.verb, record.transaction) = (verb, transaction);
                    let text = "its job is what it was before: a transaction was cut off";
                    self.log(5, Some(unit), String::from(text));
                    self.outbox
                        .first
                        .push(Effect::Record(Record::Job(record.clone())));
                }
                None => return self.drop_record(&record, unit, "its transaction was cut off"),
            }
        }
        if record.transaction < self.record.flushed {
            return self.drop_record(&record, unit, "a later transaction canceled it");
        }
        if !is_basic(record.verb) {
            return self.drop_record(&record, unit, "its record does not say what it does");
        }
        self.drop_older(unit);
        let cause = self.cause_of(&record.cause);
        // What is verified gets no command: its record alone says how far it was.
        let phase = if record.running && record.verb == JobVerb::VerifyActive {
            self.busy += 1;
            Phase::Running
        } else {
            Phase::Waiting
        };
        let job = Job {
            unit,
            id: record.id,
            verb: record.verb,
            phase,
            blockers: 0,
            irreversible: record.irreversible,
            ignore_order: record.ignore_order,
            checked: false,
            since: record.since,
            transaction: record.transaction,
            seq: record.seq,
            was: None,
            cause,
            deadline: record.deadline.unwrap_or(NOT_RECORDED),
            queued: false,
            fresh: false,
            recorded: true,
            dirty: false,
        };
        self.arena.put_job(job);
    }

    /// The job the unit was restored with so far was to be replaced.
    fn drop_older(&mut self, unit: u32) {
        let old = self.arena.take_job(unit);
        self.busy -= usize::from(old.as_ref().is_some_and(|old| old.phase != Phase::Waiting));
        if let Some((old, name)) = old.zip(self.arena.title(unit).cloned()) {
            let cause = self.cause_record(old.cause);
            self.drop_record(&old.record(name, cause), unit, "a later job replaces it");
        }
    }

    fn drop_record(&mut self, record: &JobRecord, unit: u32, why: &str) {
        let parts = [
            "the queued ",
            record.verb.as_str(),
            " of ",
            record.unit.as_str(),
            " is gone: ",
            why,
        ];
        self.log(5, Some(unit), parts.concat());
        self.outbox.first.push(Effect::ForgetJob { job: record.id });
        self.outbox.push(Effect::JobEnded {
            job: record.id,
            unit: UnitId(unit),
            verb: record.verb,
            result: JobResult::Canceled,
            detail: String::from(why),
        });
    }

    /// Everything is loaded: goes on with the jobs that were in flight.
    pub(crate) fn take_up(&mut self) {
        self.arena.recount = false;
        if self.record.shutting_down {
            self.shutting_down();
        }
        let units = self.by_age();
        for &unit in &units {
            let it = self.arena.get(unit);
            let Some(job) = self.arena.job(unit) else {
                continue;
            };
            let given = job.seq != 0 && job.seq == it.seq;
            let timeout = it.settings().job_timeout;
            let deadline = match job.deadline {
                NOT_RECORDED => timeout.map_or(0, |timeout| job.since.saturating_add(timeout)),
                known => known,
            };
            if deadline != 0 {
                self.deadlines.insert((deadline, unit, Timer::Job));
            }
            if let Some(job) = self.arena.job_mut(unit) {
                job.deadline = deadline;
                job.seq = if given { job.seq } else { 0 };
            }
            if given {
                self.set_phase(unit, Phase::Running);
            }
        }
        self.recount();
        self.take_up_atomics();
        for &unit in &units {
            let phase = self.arena.job(unit).map(|job| job.phase);
            if phase == Some(Phase::Running) {
                let hint = self.known_outcome(unit);
                self.settle_job(unit, hint);
            }
            self.look.push_back(unit);
        }
        for unit in 0..self.arena.len() {
            self.look_after_cut(unit);
        }
    }

    /// What became of the command the unit's job was given under, if that is recorded.
    fn known_outcome(&self, unit: u32) -> Option<(Verb, Outcome)> {
        let it = self.arena.get(unit);
        let verb = match self.arena.job(unit)?.verb {
            JobVerb::Start => Verb::Start,
            JobVerb::Stop | JobVerb::Restart => Verb::Stop,
            JobVerb::Reload => Verb::Reload,
            _ => return None,
        };
        (it.pending.is_none() && it.outcome != Outcome::None).then_some((verb, it.outcome))
    }

    /// What followed from a unit's change may have been cut off: it is looked at again.
    fn look_after_cut(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        if it.recorded && !it.is_alias() {
            self.look.push_back(unit);
        }
    }

    /// Units known from records that were not loaded since: the shell loads them, and what
    /// [`Engine::missing`] adds, before its first other input.
    pub fn restored(&self) -> Vec<UnitName> {
        let unloaded = |unit: &u32| {
            let it = self.arena.get(*unit);
            it.load.is_none() && (it.recorded || it.has_job())
        };
        (0..self.arena.len())
            .filter(unloaded)
            .filter_map(|unit| self.arena.title(unit).cloned())
            .collect()
    }

    /// Names a start of this unit may need that were never loaded. The shell loads them, feeds
    /// `Loaded`, and asks again until there is none. Linear in what the unit reaches.
    pub fn missing(&self, name: &UnitName) -> Vec<UnitName> {
        self.arena.missing(name)
    }
}

/// Whether a queued job can have this verb.
fn is_basic(verb: JobVerb) -> bool {
    job::collapse(verb, units::state::ActiveState::Active) == Some(verb)
}
