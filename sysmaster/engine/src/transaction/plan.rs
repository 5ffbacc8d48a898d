//! A transaction that is built, resolved and looked at instead of committed.
//!
//! Nothing changes: what would be in the queue afterwards is told job by job, with what pulled it in
//! and what goes before it, and so is what was left out and why.

use super::{Dropped, Request, Transaction, TxJob};
use crate::Engine;
use crate::api::{JobCause, JobId, Rejection, UnitId};
use crate::graph::NONE;
use crate::job::{self, First};
use alloc::string::String;
use alloc::vec::Vec;
use units::name::UnitName;
use units::state::{JobMode, JobVerb};

/// What would become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is queued.
    New,
    /// It joins the queued job of its unit, which does the same or does both.
    Joins(JobId, JobVerb),
    /// It takes the place of the queued job of its unit.
    Replaces(JobId, JobVerb),
    /// It is left out.
    Left(Dropped),
}

/// A job of a plan.
#[derive(Clone, Debug)]
pub struct PlanJob {
    /// Its unit.
    pub unit: UnitId,
    /// What it does.
    pub verb: JobVerb,
    /// What pulled it in.
    pub cause: JobCause,
    /// What was asked for cannot do without it.
    pub needed: bool,
    /// What would become of it.
    pub fate: Fate,
    /// Units whose jobs, planned or queued, go first.
    pub after: Vec<UnitId>,
}

/// What a request would come to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// First what was asked for, then what that pulled in, breadth first.
    pub jobs: Vec<PlanJob>,
    /// What people would read in the log: cycles that are broken, units that are left out.
    pub notes: Vec<String>,
}

impl Engine {
    /// What would be done. Everything the units' requirements reach has been `Loaded`.
    ///
    /// # Errors
    /// What the request would be refused with.
    pub fn plan(
        &mut self,
        names: &[UnitName],
        verb: JobVerb,
        mode: JobMode,
        atomic: bool,
    ) -> Result<Plan, Rejection> {
        self.arena.settle();
        let request = Request {
            unit: NONE,
            verb,
            mode,
            manual: true,
            cause: JobCause::Command,
        };
        let mut anchors = Vec::new();
        for name in names {
            let unit = self.arena.intern(name);
            let verb = self.admit(unit, &request)?;
            anchors.extend(verb.map(|verb| (unit, verb)));
        }
        let mut tx = self.take_transaction();
        let mark = self.outbox.mark();
        let result = self.rehearse(&mut tx, &anchors, &request, atomic);
        let notes = self.outbox.take_lines(mark);
        let jobs = tx.jobs.iter().filter(|job| job.dropped != Dropped::Fused);
        let jobs = jobs.map(|job| self.planned(&tx, job, &request)).collect();
        self.tx = tx;
        result.map(|()| Plan { jobs, notes })
    }

    fn rehearse(
        &mut self,
        tx: &mut Transaction,
        anchors: &[(u32, JobVerb)],
        request: &Request,
        atomic: bool,
    ) -> Result<(), Rejection> {
        self.build(tx, anchors, request)?;
        self.resolve(tx, request.mode)?;
        if atomic {
            self.admit_no_stop(tx)?;
        }
        self.admit_to_queue(tx, request.mode)?;
        if self.nothing_to_do(tx) {
            for job in tx.jobs.iter_mut().filter(|job| !job.gone) {
                (job.gone, job.dropped) = (true, Dropped::Redundant);
            }
        } else if matches!(request.mode, JobMode::Flush | JobMode::Isolate) {
            for unit in self.by_age() {
                let stays = self.arena.get(unit).ignore_on_isolate;
                if let (false, NONE, Some(job)) =
                    (stays, self.first_job(tx, unit), self.queued(unit))
                {
                    let name = self.arena.name(unit);
                    let text = [
                        "the queued ",
                        job.verb.as_str(),
                        " of ",
                        name,
                        " is canceled",
                    ];
                    self.outbox.push(crate::api::Effect::Log {
                        level: 6,
                        unit: None,
                        text: text.concat(),
                    });
                }
            }
        }
        Ok(())
    }

    fn planned(&self, tx: &Transaction, tx_job: &TxJob, request: &Request) -> PlanJob {
        let unit = self.arena.get(tx_job.unit);
        let fate = match self.queued(tx_job.unit) {
            _ if tx_job.gone => Fate::Left(tx_job.dropped),
            None => Fate::New,
            Some(job) => match job::merge_for(job.verb, tx_job.verb, unit.active) {
                Some(_) => Fate::Joins(job.id, job.verb),
                None => Fate::Replaces(job.id, job.verb),
            },
        };
        let after = match tx_job.gone {
            true => Vec::new(),
            false => self.goes_first(tx, tx_job),
        };
        PlanJob {
            unit: UnitId(tx_job.unit),
            verb: tx_job.verb,
            cause: self.cause_in(tx, tx_job).unwrap_or(request.cause),
            needed: tx_job.matters,
            fate,
            after,
        }
    }

    /// Units whose jobs, in the transaction or queued, go before this one.
    fn goes_first(&self, tx: &Transaction, tx_job: &TxJob) -> Vec<UnitId> {
        let ours = (tx_job.verb, tx_job.ignore_order);
        let (before, after) = self.arena.order_at(tx_job.unit);
        let first = |at: &usize| {
            let theirs = self.doing(tx, self.arena.end(tx_job.unit, *at));
            theirs.is_some_and(|theirs| match *at < after {
                true => job::order(ours, theirs) == First::Latter,
                false => job::order(theirs, ours) == First::Former,
            })
        };
        let edges = before..self.arena.get(tx_job.unit).edges.len();
        let units = edges.filter(first);
        units
            .map(|at| UnitId(self.arena.end(tx_job.unit, at)))
            .collect()
    }
}
