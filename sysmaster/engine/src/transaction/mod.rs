//! Transactions: from one job that somebody wants to a set of jobs that can stand together.
//!
//! A transaction is built beside the queued jobs and does not touch them until it is committed.
//! The steps are systemd's, in its order:
//!
//! 1. **Build** (`expand`): the anchor's job, then for each new job the jobs it needs or causes,
//!    breadth first. Each is linked to the job that caused it; a link *matters* if the causing job
//!    cannot do without (`Requires` does, `Wants` does not). Isolate adds a stop for everything
//!    else. A unit that cannot be loaded takes with it the jobs that cannot do without it; if the
//!    anchor is among them, the transaction is refused.
//! 2. **What matters** to the anchor, over the links that matter (`resolve`).
//! 3. Mode *fail*: drop what would stop something running or contradict a queued job and does not
//!    matter.
//! 4. Drop units whose jobs are all redundant.
//! 5. Drop jobs whose causes are gone; break **ordering cycles** by dropping a unit on the cycle
//!    that does not matter (`cycles`); until there is none. If one has only jobs that matter, refuse.
//! 6. **Merge** the jobs of each unit into one (`resolve`). Where two contradict each other, drop
//!    one that does not matter, with all that cannot do without it. If both matter, refuse.
//! 7. Drop redundant ones again; refuse if what is left would undo a queued job that may not be.
//! 8. **Commit** (`commit`): replace, merge into or join the queued jobs, all or none.
//!
//! Nothing recurses: the array of jobs is its own work list, and the steps keep stacks. Each step
//! is linear in the units and edges touched. The arrays are kept between transactions.

mod commit;
mod cycles;
mod expand;
mod plan;
mod resolve;
mod words;

pub use plan::{Fate, Plan, PlanJob};

use crate::Engine;
use crate::api::{Backing, JobCause, Rejection, Ticket};
use crate::graph::NONE;
use crate::job::{self, Job};
use crate::mutants::mutant;
use crate::rel::Rel;
use alloc::vec::Vec;
use units::spec::LoadState;
use units::state::{JobMode, JobVerb};

/// What the engine itself or a client wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub unit: u32,
    pub verb: JobVerb,
    pub mode: JobMode,
    /// By a client: the unit's `RefuseManual…=` apply.
    pub manual: bool,
    /// Why it is wanted.
    pub cause: JobCause,
}

/// A job of the transaction being built.
#[derive(Debug)]
struct TxJob {
    unit: u32,
    verb: JobVerb,
    /// Next job of the same unit.
    next: u32,
    /// The link from the job that caused this one first, and the latest such link; how many there are.
    first_cause: u32,
    causes: u32,
    cause_count: u32,
    /// First link to a job this one caused.
    effects: u32,
    ignore_order: bool,
    /// The anchor cannot do without it.
    matters: bool,
    /// Somebody conflicts with the unit: that is why it is stopped.
    conflicted: bool,
    /// Dropped.
    gone: bool,
    /// Why.
    dropped: Dropped,
}

/// Why a job was dropped from a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dropped {
    /// It was not.
    #[default]
    No,
    /// Its unit is there already.
    Redundant,
    /// Its unit, or one it cannot do without, cannot be loaded.
    Unusable,
    /// It, or one it cannot do without, was on an ordering cycle.
    Cycle,
    /// It, or one it cannot do without, contradicts another job of the unit.
    Contradiction,
    /// Mode fail: it would stop what runs, or undo what is queued.
    Impact,
    /// What caused it is gone.
    Orphan,
    /// Another job of the unit does it.
    Fused,
}

/// One job caused another.
#[derive(Debug)]
struct Link {
    cause: u32,
    effect: u32,
    /// By which relation of the cause's unit to the effect's; `None`: by the mode.
    rel: Option<Rel>,
    /// The cause cannot do without the effect.
    matters: bool,
    next_of_cause: u32,
    next_of_effect: u32,
    gone: bool,
}

/// How a job is pulled in.
#[derive(Clone, Copy, Debug, Default)]
struct Pull {
    rel: Option<Rel>,
    matters: bool,
    ignore_order: bool,
}

/// The transaction being built; empty between steps.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    jobs: Vec<TxJob>,
    links: Vec<Link>,
    /// Units that have a job here.
    units: Vec<u32>,
    /// Of these, units that have had more than one; some may be here twice.
    several: Vec<u32>,
    /// Jobs of units that cannot be loaded.
    unusable: Vec<u32>,
    /// Jobs without a cause, to be dropped.
    orphans: Vec<u32>,
    /// Work list of the steps.
    stack: Vec<u32>,
    /// So many of the first jobs are what was asked for.
    anchors: u32,
    /// The search for cycles has counted what goes first, and nothing has changed since.
    counted: bool,
    generation: u32,
    /// Why the anchor went, if it did.
    reason: Option<Rejection>,
}

impl Transaction {
    fn clear(&mut self, generation: u32) {
        self.jobs.clear();
        self.links.clear();
        self.units.clear();
        self.several.clear();
        self.unusable.clear();
        self.orphans.clear();
        self.stack.clear();
        self.anchors = 0;
        self.counted = false;
        self.generation = generation;
        self.reason = None;
    }

    #[inline(always)]
    fn job(&self, at: u32) -> Option<&TxJob> {
        self.jobs.get(at as usize)
    }

    #[inline(always)]
    fn job_mut(&mut self, at: u32) -> Option<&mut TxJob> {
        self.jobs.get_mut(at as usize)
    }

    #[inline(always)]
    fn link(&self, at: u32) -> Option<&Link> {
        self.links.get(at as usize)
    }

    /// Notes that `cause` pulled `effect` in.
    fn connect(&mut self, cause: u32, effect: u32, pull: Pull) {
        let at = self.links.len() as u32;
        let mut link = Link {
            cause,
            effect,
            rel: pull.rel,
            matters: pull.matters,
            next_of_cause: NONE,
            next_of_effect: NONE,
            gone: false,
        };
        if let Some(job) = self.job_mut(cause) {
            link.next_of_cause = core::mem::replace(&mut job.effects, at);
        }
        if let Some(job) = self.job_mut(effect) {
            link.next_of_effect = core::mem::replace(&mut job.causes, at);
            if link.next_of_effect == NONE {
                job.first_cause = at;
            }
            job.cause_count += 1;
            job.conflicted |= pull.rel == Some(Rel::Conflicts);
        }
        self.links.push(link);
    }

    /// Drops a job; with `dependents`, also every job that cannot do without it, and so on. Jobs
    /// that lose their last cause become orphans.
    fn drop_job(&mut self, at: u32, dependents: bool, why: Dropped) {
        self.stack.clear();
        self.stack.push(at);
        while let Some(at) = self.stack.pop() {
            let Some(job) = self.job_mut(at) else {
                continue;
            };
            if core::mem::replace(&mut job.gone, true) {
                continue;
            }
            job.dropped = why;
            let (mut effect, mut cause) = (job.effects, job.causes);
            while let Some(link) = self.links.get_mut(effect as usize) {
                let (next, to) = (link.next_of_cause, link.effect);
                if !core::mem::replace(&mut link.gone, true)
                    && let Some(job) = self.job_mut(to)
                {
                    job.cause_count -= 1;
                    if job.cause_count == 0 && !job.gone {
                        self.orphans.push(to);
                    }
                }
                effect = next;
            }
            while let Some(link) = self.links.get_mut(cause as usize) {
                let next = link.next_of_effect;
                if !core::mem::replace(&mut link.gone, true) && link.matters && dependents {
                    let from = link.cause;
                    self.stack.push(from);
                }
                cause = next;
            }
        }
    }

    /// Drops what has no cause any more.
    fn sweep(&mut self) {
        while let Some(at) = self.orphans.pop() {
            if !self.is_anchor(at) && self.job(at).is_some_and(|job| !job.gone) {
                self.drop_job(at, false, Dropped::Orphan);
            }
        }
    }

    fn is_anchor(&self, at: u32) -> bool {
        at < self.anchors
    }

    /// The units it starts, or finds up already.
    pub fn brought_up(&self) -> impl Iterator<Item = u32> + '_ {
        let up = |job: &&TxJob| !matches!(job.verb, JobVerb::Stop | JobVerb::Reload);
        self.jobs.iter().filter(up).map(|job| job.unit)
    }

    /// Whether something of what was asked for is dropped.
    fn anchor_is_gone(&self) -> bool {
        (0..self.anchors).any(|at| self.job(at).is_none_or(|job| job.gone))
    }
}

impl Engine {
    /// Carries a request out, or refuses it and changes nothing. Answers with the anchor's job, if
    /// there was anything to do.
    pub(crate) fn enqueue(&mut self, request: Request) -> Result<Option<u32>, Rejection> {
        self.arena.settle();
        let unit = self.arena.resolve(request.unit);
        let Some(verb) = self.admit(unit, &request)? else {
            return Ok(None);
        };
        let mut tx = self.take_transaction();
        let result = self.transact(&mut tx, &[(unit, verb)], &request);
        if request.manual && result.is_ok() {
            self.disown(&tx);
        }
        self.tx = tx;
        result?;
        Ok(self.arena.job(unit).map(|job| job.id.0))
    }

    /// Starts these units in one transaction that stops nothing. Answers with the units that come up
    /// by it alone.
    pub(crate) fn start_together(
        &mut self,
        ticket: Ticket,
        anchors: &[(u32, JobVerb)],
        mode: JobMode,
    ) -> Result<Vec<u32>, Rejection> {
        self.arena.settle();
        let request = Request {
            unit: NONE,
            verb: JobVerb::Start,
            mode,
            manual: true,
            cause: JobCause::from(ticket),
        };
        for (unit, _) in anchors {
            self.admit(*unit, &request)?;
        }
        let mut tx = self.take_transaction();
        let mut started = Vec::new();
        let result = self.build(&mut tx, anchors, &request);
        let result = result.and_then(|()| self.resolve(&mut tx, mode));
        let result = result.and_then(|()| self.admit_no_stop(&tx));
        let result = result.and_then(|()| self.admit_to_queue(&tx, mode));
        if result.is_ok() {
            let fresh = |unit: &u32| self.is_fresh_start(*unit);
            let jobs = tx
                .jobs
                .iter()
                .filter(|job| !job.gone && job.verb == JobVerb::Start);
            started.extend(jobs.map(|job| job.unit).filter(fresh));
            let shared = self.shared(&tx).into_iter();
            started.extend(shared.filter(|unit| !fresh(unit)));
            if !self.nothing_to_do(&tx) {
                self.commit(&mut tx, &request);
            }
        }
        self.tx = tx;
        result.map(|()| started)
    }

    /// The arrays for a new transaction.
    fn take_transaction(&mut self) -> Transaction {
        self.generation = self.generation.wrapping_add(1);
        let mut tx = core::mem::take(&mut self.tx);
        tx.clear(self.generation);
        tx
    }

    fn transact(
        &mut self,
        tx: &mut Transaction,
        anchors: &[(u32, JobVerb)],
        request: &Request,
    ) -> Result<(), Rejection> {
        self.build(tx, anchors, request)?;
        self.resolve(tx, request.mode)?;
        if self.nothing_to_do(tx) {
            return Ok(());
        }
        self.admit_to_queue(tx, request.mode)?;
        self.commit(tx, request);
        Ok(())
    }

    /// Whether this may be asked of this unit at all, and what it comes down to.
    fn admit(&self, id: u32, request: &Request) -> Result<Option<JobVerb>, Rejection> {
        let unit = self.arena.get(id);
        let name = self.arena.name(id);
        let refuse = |parts: &[&str]| Err(Rejection::Forbidden(parts.concat()));
        let mut verb = request.verb;
        let cannot = match unit.can_reload {
            Some(can) => !can,
            // Not known yet, and of no matter where there is nothing to reload.
            None => unit.active.is_up(),
        };
        if matches!(verb, JobVerb::ReloadOrStart | JobVerb::TryReload) && cannot {
            let try_only = verb == JobVerb::TryReload;
            verb = if try_only {
                JobVerb::TryRestart
            } else {
                JobVerb::Restart
            };
        }
        if self.record.shutting_down
            && !mutant!(20)
            && verb != JobVerb::Stop
            && request.mode != JobMode::ReplaceIrreversibly
        {
            return Err(Rejection::ShuttingDown);
        }
        let fits = match request.mode {
            JobMode::Isolate | JobMode::RestartDependencies => verb == JobVerb::Start,
            JobMode::Triggering => verb == JobVerb::Stop,
            _ => true,
        };
        if !fits {
            let text = [
                "the ",
                verb.as_str(),
                " of ",
                name,
                " cannot have this job mode: isolate and restart-dependencies are for starts, \
                 triggering is for stops",
            ];
            return Err(Rejection::Misfit(text.concat()));
        }
        if request.mode == JobMode::Isolate && !unit.settings().allow_isolate {
            return refuse(&[
                name,
                " may not be isolated: it does not say AllowIsolate=yes",
            ]);
        }
        let stops = job::goes_down(verb) || verb == JobVerb::TryRestart;
        let starts = !matches!(verb, JobVerb::Stop | JobVerb::Reload | JobVerb::TryReload);
        if request.manual && starts && unit.settings().refuse_manual_start {
            return refuse(&[
                name,
                " may be started by other units only: it says RefuseManualStart=yes",
            ]);
        }
        if request.manual && stops && unit.settings().refuse_manual_stop {
            return refuse(&[
                name,
                " may be stopped by other units only: it says RefuseManualStop=yes",
            ]);
        }
        Ok(job::collapse(verb, unit.active))
    }

    fn build(
        &mut self,
        tx: &mut Transaction,
        anchors: &[(u32, JobVerb)],
        request: &Request,
    ) -> Result<(), Rejection> {
        let ignore_order = request.mode == JobMode::IgnoreDependencies;
        let pull = Pull {
            ignore_order,
            ..Pull::default()
        };
        for &(unit, verb) in anchors {
            self.pull(tx, NONE, unit, verb, pull);
            if let Some(reason) = self.inapplicable(unit, verb) {
                return Err(reason);
            }
        }
        tx.anchors = tx.jobs.len() as u32;
        let alone = matches!(
            request.mode,
            JobMode::IgnoreDependencies | JobMode::IgnoreRequirements
        );
        if !alone {
            self.expand_all(tx, request.mode);
        }
        self.drop_unusable(tx)
    }

    /// Why a unit cannot have this job, if it cannot.
    fn inapplicable(&self, id: u32, verb: JobVerb) -> Option<Rejection> {
        let unit = self.arena.get(id);
        let cannot = verb == JobVerb::Reload
            && !unit
                .can_reload
                .unwrap_or(unit.backing == Backing::Helper && !unit.active.is_up());
        cannot.then(|| {
            Rejection::Refused(
                [
                    self.arena.name(id),
                    " cannot be reloaded: it has no way to do it (ExecReload=)",
                ]
                .concat(),
            )
        })
    }

    /// Drops the jobs of units that cannot be loaded, with those that cannot do without them.
    fn drop_unusable(&mut self, tx: &mut Transaction) -> Result<(), Rejection> {
        while let Some(at) = tx.unusable.pop() {
            let Some(id) = tx.job(at).map(|job| job.unit) else {
                continue;
            };
            let unit = self.arena.get(id);
            let why = match &unit.load {
                Some(load) => load.reason(),
                None => "it was referred to, and never loaded",
            };
            let name = self.arena.name(id);
            let reason = Rejection::NotLoaded(name.into(), why.into());
            let loud = matches!(
                unit.load,
                Some(LoadState::BadSetting { .. } | LoadState::Error { .. })
            );
            let text = loud.then(|| [name, " is left out: ", why].concat());
            tx.drop_job(at, true, Dropped::Unusable);
            if tx.anchor_is_gone() {
                return Err(reason);
            }
            if let Some(text) = text {
                self.log(4, None, text);
            }
        }
        tx.sweep();
        Ok(())
    }

    /// Whether only anchors are left, and their units are already there.
    fn nothing_to_do(&self, tx: &Transaction) -> bool {
        let idle = |job: &TxJob| self.queued(job.unit).is_none() && self.is_redundant(job);
        tx.jobs.iter().filter(|job| !job.gone).all(idle)
    }

    fn is_redundant(&self, tx_job: &TxJob) -> bool {
        let unit = self.arena.get(tx_job.unit);
        job::is_redundant(tx_job.verb, unit.active)
            && (tx_job.verb != JobVerb::Stop || unit.at_rest() || unit.backing == Backing::Engine)
    }

    /// The queued job of a unit.
    #[inline(always)]
    fn queued(&self, unit: u32) -> Option<&Job> {
        self.arena.job(unit)
    }
}
