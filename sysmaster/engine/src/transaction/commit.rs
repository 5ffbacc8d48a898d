//! From a transaction that can stand to queued jobs.
//!
//! Where a unit has a job already, the new one replaces it if they contradict each other (the old
//! one ends as canceled) and is merged into it if not: the old job keeps its number, so that
//! whoever waits for it goes on waiting. A merged job that was under way runs again, except where
//! what runs is what is wanted anyway; a second reload is never folded into one under way, which
//! may have read the configuration already.

use super::{Dropped, Request, Transaction, TxJob};
use crate::Engine;
use crate::api::{JobCause, JobId};
use crate::graph::NONE;
use crate::history::Past;
use crate::job::{self, Job, Phase};
use crate::mutants::mutant;
use alloc::string::String;
use units::spec::LoadState;
use units::state::{JobMode, JobResult, JobVerb};

impl Engine {
    /// Puts every job that is left into the queue.
    pub(super) fn commit(&mut self, tx: &mut Transaction, request: &Request) {
        self.record.committed = self.last_transaction + 1;
        self.last_transaction = self.record.committed;
        if matches!(request.mode, JobMode::Flush | JobMode::Isolate) {
            self.cancel_others(tx);
            self.record.flushed = self.record.committed;
        }
        let jobs = || tx.jobs.iter().filter(|job| !job.gone);
        if !self.arena.jobs.is_empty() {
            for tx_job in jobs() {
                self.make_room(tx_job, request.mode);
            }
        }
        let old = self.arena.jobs.len();
        self.arena.jobs.reserve(tx.units.len());
        for tx_job in jobs() {
            if self.queued(tx_job.unit).is_none() {
                let cause = self.cause_in(tx, tx_job).unwrap_or(request.cause);
                self.install(tx_job, request.mode, cause, tx.counted);
            }
        }
        if !tx.counted {
            self.count_fresh(old);
        }
        self.record.last_job = self.last_job;
        self.remember_left_out(tx);
        for tx_job in jobs() {
            self.push_run(tx_job.unit);
        }
    }

    /// A unit that was left out, and is down with no job, remembers why: nothing else tells.
    fn remember_left_out(&mut self, tx: &Transaction) {
        for tx_job in tx.jobs.iter().filter(|job| job.gone) {
            let cause = match tx_job.dropped {
                Dropped::Cycle => JobCause::Cycle,
                Dropped::Unusable => JobCause::Unusable,
                Dropped::Contradiction => JobCause::Contradiction,
                _ => continue,
            };
            let unit = self.arena.at(tx_job.unit);
            let known = unit.load == Some(LoadState::Loaded);
            if tx_job.verb == JobVerb::Start && !unit.has_job() && unit.at_rest() && known {
                unit.history().past = Some(Past {
                    verb: tx_job.verb,
                    result: JobResult::Canceled,
                    cause,
                    culprit: NONE,
                    asked: self.now,
                    ended: self.now,
                });
                self.touch_unit(tx_job.unit);
            }
        }
    }

    /// Cancels every queued job whose unit is neither in the transaction nor left alone by it. What
    /// stays belongs to this transaction now, whatever it came with.
    fn cancel_others(&mut self, tx: &Transaction) {
        let mut at = 0;
        while at < self.arena.jobs.len() {
            let unit = self.unit_of_job(at);
            let stays = self.arena.get(unit).ignore_on_isolate;
            if !stays && self.first_job(tx, unit) == crate::graph::NONE {
                self.end_job(unit, JobResult::Canceled, String::new(), false);
            } else {
                self.claim(unit);
                at += 1;
            }
        }
    }

    /// Makes a unit's queued job one of this transaction.
    fn claim(&mut self, unit: u32) {
        let committed = self.record.committed;
        if let Some(job) = self.arena.job_mut(unit)
            && job.transaction != committed
        {
            job.was = Some((job.verb, job.transaction));
            job.transaction = committed;
        }
        self.touch_job(unit);
    }

    /// Lets the queued job of the unit do this one's work as well, or cancels it.
    fn make_room(&mut self, tx_job: &TxJob, mode: JobMode) {
        let unit = tx_job.unit;
        let Some(queued) = self.queued(unit) else {
            return;
        };
        let active = self.arena.get(unit).active;
        match job::merge_for(queued.verb, tx_job.verb, active) {
            Some(verb) => {
                let irreversible = mode == JobMode::ReplaceIrreversibly;
                self.merge_into(tx_job, verb, irreversible);
            }
            None if job::merge(queued.verb, tx_job.verb).is_some() => {}
            None => self.end_job(unit, JobResult::Canceled, String::new(), false),
        }
    }

    /// Queues a job for a unit that has none. Its order is counted already by the search for cycles, or not yet.
    fn install(&mut self, tx_job: &TxJob, mode: JobMode, cause: JobCause, counted: bool) {
        let unit = tx_job.unit;
        let irreversible = mode == JobMode::ReplaceIrreversibly;
        self.last_job += 1;
        let it = self.arena.get(unit);
        let blockers = if counted { it.visit.blockers() } else { 0 };
        let timeout = it.settings().job_timeout.filter(|_| !mutant!(4));
        let deadline = timeout.map_or(0, |t| self.now.saturating_add(t));
        let job = Job {
            unit,
            id: JobId(self.last_job),
            verb: tx_job.verb,
            phase: Phase::Waiting,
            blockers: blockers * (1 + u32::from(mutant!(9))),
            irreversible,
            ignore_order: tx_job.ignore_order,
            checked: false,
            since: self.now,
            transaction: self.record.committed,
            seq: 0,
            was: None,
            cause,
            deadline,
            queued: false,
            fresh: !counted,
            recorded: false,
            dirty: true,
        };
        self.attach(job);
        self.outbox.job_is_dirty(unit);
    }

    fn merge_into(&mut self, tx_job: &TxJob, verb: JobVerb, irreversible: bool) {
        let unit = tx_job.unit;
        self.count_order(unit, false);
        self.claim(unit);
        if let Some(job) = self.arena.job_mut(unit) {
            let goes_on = verb == job.verb && tx_job.verb != JobVerb::Reload;
            job.verb = verb;
            job.irreversible |= irreversible;
            job.ignore_order |= tx_job.ignore_order;
            if !goes_on {
                job.seq = 0;
                job.checked = false;
            }
            let phase = if goes_on { job.phase } else { Phase::Waiting };
            self.set_phase(unit, phase);
        }
        self.count_order(unit, true);
    }
}
