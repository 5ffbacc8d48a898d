//! The engine: all decisions about units and jobs, as one pure state machine.
//!
//! `(state, input, now) → effects`: the shell feeds an [`Input`] with the time it happened to
//! [`Engine::step`] and carries out the [`Effect`]s in their order. Nothing else passes: no I/O, no
//! clock, no thread, no randomness; the same inputs give the same effects. `no_std + alloc`.
//!
//! # Units
//!
//! A unit is a number in the arena ([`graph`]), with dependencies at both ends and a state:
//!
//! ```text
//!            Start            report              report
//! Inactive ────────► Activating ─────► Active ◄────────────► Reloading
//!    ▲  ▲                │               │      Reload
//!    │  │ report         │ Stop          │ Stop, or it ends
//!    │  └────────────────┴──► Deactivating ◄┘
//!    │                             │
//!    └──────── report ─────────────┴──► Failed
//! ```
//!
//! The engine moves a unit when it gives a command; everything else is what the unit's helper
//! reports. Targets and slices have no helper and are there at once. A command has a sequence
//! number (the manager's epoch above, a counter below) and stays *pending* until a report tells
//! its outcome; a unit has at most one, a Stop takes the place of a Start. Reports older than the
//! pending command are not believed: a newer one will come, or the command is sent again when the
//! helper has synchronised.
//!
//! # Jobs and transactions
//!
//! What somebody wants becomes a transaction ([`transaction`]): the jobs that belong to it are
//! collected over the dependencies, made consistent, and put into the queue whole or not at all. A
//! unit has at most one job ([`job`]). A job runs when no job that goes first is left ([`run`]),
//! and ends when its unit is where it should be, cannot get there, or something it requires
//! cannot. When a unit changes without a job, what depends on it follows ([`unit`]). Of a start that
//! is *atomic* the engine remembers more than its jobs ([`atomic`]). A transaction can be looked at
//! without being carried out ([`Engine::plan`]); what a unit's last job was and why is remembered for
//! people alone ([`history`]).
//!
//! # Two phases
//!
//! A step first *decides*: it changes states and notes what follows in four queues. Then it
//! *executes* until they are empty, in this order: units whose failure takes others' jobs with it
//! (before any of those could run), atomic starts to be rolled back, transactions the engine itself
//! wants, units to be looked at
//! again, jobs that may run. No rule calls another one, so nothing recurses however long a chain.
//!
//! # Records
//!
//! Effects come out in portions ([`record`]): what the input changed, then what each job that ran
//! changed. Within a portion they are in such an order that after each prefix of them a new
//! manager can go on from what is stored: first the jobs of new transactions, then the one record
//! that commits them, then the other jobs, the units, then what others see, and last the removal
//! of jobs that ended, what followed before what it followed from. See [`restore`].
//!
//! # Memory
//!
//! Bytes for each, with everything that belongs to it, on a 64-bit machine (`tests/memory.rs` prints
//! and bounds them). Arrays grow by doubling: just after that, a unit or job takes up to twice as
//! much.
//!
//! | what | bytes |
//! |---|---|
//! | unit without dependencies, name included | 285 |
//! | service with default dependencies | 401 |
//! | the same, after and requiring another one | 429 |
//! | queued job, with what its transaction keeps | 293 |
//!
//! A job of one unit allocates less than 4 KiB, however many units there are, and gives most of it
//! back.
//!
//! # What it may never do
//!
//! Run a job before one that goes first; let a job stand for ever that nothing can end; change
//! anything for a transaction it refuses; give a command that it has not recorded; allocate in
//! proportion to all units for one unit's change; recurse; panic.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod api;
mod atomic;
mod graph;
mod history;
mod job;
mod look;
#[cfg(feature = "mutants")]
pub mod mutants;
#[cfg(not(feature = "mutants"))]
mod mutants;
mod names;
mod node;
mod record;
mod rel;
mod restore;
mod run;
mod transaction;
mod unit;
mod view;

pub use job::Phase;
pub use rel::Rel;
pub use transaction::{Dropped, Fate, Plan, PlanJob};
pub use view::{JobView, UnitView};

use crate::mutants::mutant;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use api::{Backing, Effect, EngineRecord, Input, JobCause, JobId, Rejection, Ticket, UnitId};
use graph::Arena;
use transaction::{Request, Transaction};
use units::name::UnitName;
use units::state::{ActiveState, JobMode, JobResult, JobVerb, Micros};

/// What is fixed for the life of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The manager's epoch, from 1: the upper half of command sequences.
    pub epoch: u32,
    /// The most jobs that may be queued; a transaction that needs more is refused.
    pub max_jobs: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epoch: 1,
            max_jobs: 1 << 20,
        }
    }
}

/// Where invocation ids come from: 128 random bits a call.
pub type Entropy<'a> = &'a mut dyn FnMut() -> u128;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Restart,
    Job,
    /// The unit is to be looked at again.
    Look,
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    now: Micros,
    arena: Arena,
    /// Jobs past [`Phase::Waiting`].
    busy: usize,
    deadlines: BTreeSet<(Micros, u32, Timer)>,

    /// Units that are not where their job should have brought them: jobs that need it end.
    doomed: VecDeque<(u32, unit::Doom)>,
    /// Transactions the engine wants.
    wanted: VecDeque<Request>,
    /// Units to be looked at: bound to something that is down? unneeded?
    look: VecDeque<u32>,
    /// Units whose job may run.
    runnable: VecDeque<u32>,

    /// Lower half of the last sequence.
    counter: u32,
    last_job: u32,
    last_transaction: u32,
    record: EngineRecord,
    /// As it is stored.
    stored: EngineRecord,
    /// Restored, and what was in flight not taken up yet.
    recovering: bool,

    /// Atomic starts that have not ended, and those of them to be rolled back.
    atomics: Vec<atomic::Atomic>,
    undo: VecDeque<u32>,

    tx: Transaction,
    generation: u32,
    search: u32,

    outbox: record::Outbox,
}

impl Engine {
    /// There is nothing to do: what the largest transaction took is given back.
    pub fn rest(&mut self) {
        self.tx = Transaction::default();
        self.outbox.rest();
    }

    /// An engine without units.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: 0,
            arena: Arena::new(),
            busy: 0,
            deadlines: BTreeSet::new(),
            doomed: VecDeque::new(),
            wanted: VecDeque::new(),
            look: VecDeque::new(),
            runnable: VecDeque::new(),
            counter: 0,
            last_job: 0,
            last_transaction: 0,
            record: EngineRecord::default(),
            stored: EngineRecord::default(),
            recovering: false,
            atomics: Vec::new(),
            undo: VecDeque::new(),
            tx: Transaction::default(),
            generation: 0,
            search: 0,
            outbox: record::Outbox::default(),
        }
    }

    /// One input at its time. What is to be done is appended to `effects`.
    pub fn step(
        &mut self,
        now: Micros,
        input: Input,
        entropy: Entropy<'_>,
        effects: &mut Vec<Effect>,
    ) {
        self.now = now.max(self.now);
        if let Input::Loaded { spec, backing } = input {
            // Nothing is decided by a graph half known: what follows comes with the next input
            // that is no `Loaded`. A `Tick` will do.
            return self.loaded(&spec, backing);
        }
        self.ready();
        self.decide(input, entropy);
        self.execute(entropy, effects);
    }

    /// The graph in order, and restored jobs taken up, before anything is decided.
    fn ready(&mut self) {
        self.arena.settle();
        if core::mem::take(&mut self.recovering) {
            self.take_up();
        } else if core::mem::take(&mut self.arena.recount) && !mutant!(27) {
            self.recount();
        }
    }

    fn decide(&mut self, input: Input, entropy: Entropy<'_>) {
        match input {
            Input::Loaded { .. } => {}
            Input::CanReload { unit, can } => {
                self.arena.at(self.arena.resolve(unit.0)).can_reload = Some(can);
            }
            Input::Enqueue {
                ticket,
                unit,
                verb,
                mode,
            } => self.asked(ticket, &unit, verb, mode),
            Input::Atomic {
                ticket,
                units,
                mode,
            } => self.asked_atomically(ticket, &units, mode),
            Input::Cancel { job } => self.cancel(job),
            Input::Checked { unit, seq, verdict } => {
                self.checked(self.arena.resolve(unit.0), seq, verdict, entropy);
            }
            Input::Report { unit, observed } => {
                self.report(self.arena.resolve(unit.0), &observed);
            }
            Input::HelperSynced {
                unit_type,
                reported,
            } => self.synced(&unit_type, &reported),
            Input::HelperMissing { unit_type } => self.helper_missing(&unit_type),
            Input::ResetFailed { unit } => self.reset_failed(self.arena.resolve(unit.0)),
            Input::ShuttingDown => self.shutting_down(),
            Input::Slept { span } => self.slept(span),
            Input::Tick => self.tick(),
        }
    }

    /// Until nothing follows any more. What was decided so far is recorded before a job runs: a
    /// command that is given never depends on something that could still be lost.
    fn execute(&mut self, entropy: Entropy<'_>, effects: &mut Vec<Effect>) {
        loop {
            if let Some((unit, doom)) = self.doomed.pop_front() {
                self.doom(unit, doom);
            } else if let Some(transaction) = self.undo.pop_front() {
                self.roll_back(transaction);
            } else if let Some(request) = self.wanted.pop_front() {
                self.want(request);
            } else if let Some(unit) = self.look.pop_front() {
                self.look_at(unit);
            } else if !self.close_atomics() {
                self.flush(effects);
                match self.runnable.pop_front() {
                    Some(unit) => self.run(unit, entropy),
                    None if self.break_standstill() => {}
                    None => break,
                }
            }
        }
    }

    fn asked(&mut self, ticket: Ticket, name: &UnitName, verb: JobVerb, mode: JobMode) {
        let unit = self.arena.intern(name);
        let manual = ticket != Ticket::default();
        let request = Request {
            unit,
            verb,
            mode,
            manual,
            cause: JobCause::from(ticket),
        };
        let answer = match self.enqueue(request) {
            Ok(job) => {
                let manual = manual && !mutant!(7);
                if manual && verb != JobVerb::Stop && self.arena.get(unit).restarts != 0 {
                    self.arena.at(unit).restarts = 0;
                    self.touch_unit(unit);
                }
                Effect::Queued {
                    ticket,
                    job: job.map(JobId),
                }
            }
            Err(reason) => Effect::Rejected { ticket, reason },
        };
        self.outbox.push(answer);
    }

    /// A transaction of the engine's own. That it is refused is worth a line, no more.
    fn want(&mut self, request: Request) {
        if self.record.shutting_down && request.verb != JobVerb::Stop {
            return;
        }
        let mut result = self.enqueue(request);
        if let (Err(Rejection::Cycle(_)), JobCause::RollBack) = (&result, request.cause) {
            // Rather out of order than left up.
            let mode = JobMode::IgnoreDependencies;
            result = self.enqueue(Request { mode, ..request });
        }
        if let Err(reason) = result {
            let name = self.arena.name(request.unit);
            let parts = [
                "cannot ",
                request.verb.as_str(),
                " ",
                name,
                " as it should be now: ",
                &words(&reason),
            ];
            let text = parts.concat();
            self.log(4, Some(request.unit), text);
        }
    }

    fn cancel(&mut self, job: JobId) {
        let found = self.arena.jobs.iter().find(|queued| queued.id == job);
        if let Some(unit) = found.map(|job| job.unit) {
            self.end_job(unit, JobResult::Canceled, String::new(), true);
        }
    }

    fn tick(&mut self) {
        while let Some(&(at, unit, timer)) = self.deadlines.first() {
            if at > self.now {
                break;
            }
            self.deadlines.pop_first();
            match timer {
                Timer::Restart => self.restart_due(unit),
                Timer::Job => self.job_timed_out(unit),
                Timer::Look => self.look.push_back(unit),
            }
        }
    }

    /// What waits has so much longer, and what is counted within a time is counted within so much more. (When something
    /// happened, which is for people, stays as it is.)
    fn slept(&mut self, span: Micros) {
        let later = |at: Micros| at.saturating_add(if mutant!(39) { 0 } else { span });
        let deadlines = core::mem::take(&mut self.deadlines).into_iter();
        self.deadlines = deadlines
            .map(|(at, unit, timer)| (later(at), unit, timer))
            .collect();
        let before = self.now.saturating_sub(span);
        for unit in 0..self.arena.len() {
            let it = self.arena.at(unit);
            it.own_jobs.0 = later(it.own_jobs.0);
            let limited = it.limit_until() > before;
            if limited {
                it.limit.0 = later(it.limit.0);
            }
            it.restart_at = it.restart_at.map(later);
            if limited || it.restart_at.is_some() {
                self.touch_unit(unit);
            }
            if let Some(job) = self.arena.job_mut(unit).filter(|job| job.deadline != 0) {
                job.deadline = later(job.deadline);
                self.touch_job(unit);
            }
        }
    }

    fn shutting_down(&mut self) {
        self.record.shutting_down = true;
        let restarts: Vec<u32> = self
            .deadlines
            .iter()
            .filter(|(_, _, timer)| *timer == Timer::Restart)
            .map(|(_, unit, _)| *unit)
            .collect();
        for unit in restarts {
            self.forget_restart(unit);
        }
    }

    /// A line for people.
    fn log(&mut self, level: u8, unit: Option<u32>, text: String) {
        self.outbox.push(Effect::Log {
            level,
            unit: unit.map(UnitId),
            text,
        });
    }

    /// State of a unit.
    fn active(&self, unit: u32) -> ActiveState {
        self.arena.get(unit).active
    }
}

/// Why a transaction was refused, in words.
pub fn words(reason: &Rejection) -> String {
    match reason {
        Rejection::NotLoaded(name, why) => [name.as_str(), " cannot be used: ", why].concat(),
        Rejection::Refused(text)
        | Rejection::Forbidden(text)
        | Rejection::Misfit(text)
        | Rejection::Contradiction(text)
        | Rejection::Destructive(text) => text.clone(),
        Rejection::Cycle(text) => ["ordering cycle: ", text].concat(),
        Rejection::ShuttingDown => String::from("the machine is going down"),
        Rejection::Full => String::from("there are too many jobs already"),
    }
}
