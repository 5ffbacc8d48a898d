//! What matters, what is redundant, what contradicts: from the jobs that were pulled in to at most
//! one job a unit.

use super::{Dropped, Transaction, TxJob};
use crate::Engine;
use crate::api::Rejection;
use crate::graph::NONE;
use crate::job;
use units::state::{JobMode, JobVerb};

impl Engine {
    /// Steps 2 to 7 of the model.
    pub(super) fn resolve(&mut self, tx: &mut Transaction, mode: JobMode) -> Result<(), Rejection> {
        find_what_matters(tx);
        if mode == JobMode::Fail {
            self.minimize_impact(tx);
        }
        self.drop_redundant(tx);
        tx.sweep();
        self.break_cycles(tx)?;
        let several = core::mem::take(&mut tx.several);
        tx.counted &= several.is_empty();
        let result = self.merge_all(tx, &several);
        tx.several = several;
        result
    }

    /// Steps 6 and 7, for the units that have more than one job: nothing changes for the others.
    fn merge_all(&self, tx: &mut Transaction, several: &[u32]) -> Result<(), Rejection> {
        for &unit in several {
            self.reconcile_unit(tx, unit)?;
        }
        tx.sweep();
        for &unit in several {
            self.fuse(tx, unit);
        }
        for &unit in several {
            self.drop_unit_if_redundant(tx, unit);
        }
        Ok(())
    }

    /// The first job of a unit that is not dropped.
    #[inline(always)]
    pub(super) fn first_job(&self, tx: &Transaction, unit: u32) -> u32 {
        match self.arena.get(unit).scratch {
            (generation, first) if generation == tx.generation => living(tx, first),
            _ => NONE,
        }
    }

    /// Mode fail: rather leave out than stop what runs or undo what is queued.
    fn minimize_impact(&mut self, tx: &mut Transaction) {
        for at in 0..tx.jobs.len() as u32 {
            let Some(job) = tx.job(at) else { break };
            if job.gone || job.matters {
                continue;
            }
            let stops = job.verb == JobVerb::Stop && !self.arena.get(job.unit).active.is_down();
            if stops || self.contradicts_queue(job) {
                tx.drop_job(at, true, Dropped::Impact);
            }
        }
    }

    fn contradicts_queue(&self, tx_job: &TxJob) -> bool {
        self.queued(tx_job.unit)
            .is_some_and(|job| job::merge(job.verb, tx_job.verb).is_none())
    }

    /// Drops units all of whose jobs would change nothing.
    fn drop_redundant(&self, tx: &mut Transaction) {
        for at in 0..tx.units.len() {
            let Some(&unit) = tx.units.get(at) else { break };
            self.drop_unit_if_redundant(tx, unit);
        }
    }

    fn drop_unit_if_redundant(&self, tx: &mut Transaction, unit: u32) {
        let first = self.first_job(tx, unit);
        let mut next = first;
        while let Some(job) = tx.job(next) {
            if tx.is_anchor(next) || !self.is_redundant(job) || self.contradicts_queue(job) {
                return;
            }
            next = living(tx, job.next);
        }
        next = first;
        while let Some(job) = tx.job(next) {
            let following = living(tx, job.next);
            tx.drop_job(next, false, Dropped::Redundant);
            next = following;
        }
    }

    /// Drops jobs of a unit that contradict its others, until one job could do all the rest.
    fn reconcile_unit(&self, tx: &mut Transaction, unit: u32) -> Result<(), Rejection> {
        while let Some(dropped) = self.drop_contradiction(tx, self.first_job(tx, unit))? {
            let words = tx
                .job(dropped)
                .map(|job| self.words(job))
                .unwrap_or_default();
            tx.drop_job(dropped, true, Dropped::Contradiction);
            tx.sweep();
            if tx.anchor_is_gone() {
                let text = ["the ", &words, " is both needed and contradicted"].concat();
                return Err(Rejection::Contradiction(text));
            }
        }
        Ok(())
    }

    /// Leaves one of a unit's jobs (the anchor, if it is among them) and lets it do everything.
    /// The causes and effects of the others are its own now, so nothing is orphaned.
    fn fuse(&self, tx: &mut Transaction, unit: u32) {
        let active = self.arena.get(unit).active;
        let first = self.first_job(tx, unit);
        let Some(job) = tx.job(first) else { return };
        let (mut verb, mut ignore_order, mut keep) = (job.verb, job.ignore_order, first);
        let mut next = living(tx, job.next);
        while let Some(job) = tx.job(next) {
            verb = job::merge_for(verb, job.verb, active).unwrap_or(verb);
            ignore_order |= job.ignore_order;
            if tx.is_anchor(next) {
                keep = next;
            }
            next = living(tx, job.next);
        }
        next = first;
        while let Some(job) = tx.job_mut(next) {
            if next == keep {
                (job.verb, job.ignore_order) = (verb, ignore_order);
            } else {
                job.dropped = if job.gone {
                    job.dropped
                } else {
                    Dropped::Fused
                };
                job.gone = true;
            }
            next = job.next;
        }
    }

    /// Of two jobs of a unit that contradict each other, the one to drop.
    fn drop_contradiction(&self, tx: &Transaction, first: u32) -> Result<Option<u32>, Rejection> {
        let mut left = first;
        while let Some(a) = tx.job(left) {
            let mut right = living(tx, a.next);
            while let Some(b) = tx.job(right) {
                if job::merge(a.verb, b.verb).is_some() {
                    right = living(tx, b.next);
                    continue;
                }
                return match (a.matters, b.matters) {
                    (true, true) => Err(self.contradiction(tx, a, b)),
                    (true, false) => Ok(Some(right)),
                    (false, true) => Ok(Some(left)),
                    (false, false) => {
                        // Rather start than stop, unless the stop is for a conflict.
                        let stop = if a.verb == JobVerb::Stop { left } else { right };
                        let other = if stop == left { right } else { left };
                        let conflict = a.conflicted || b.conflicted;
                        Ok(Some(if conflict { other } else { stop }))
                    }
                };
            }
            left = living(tx, a.next);
        }
        Ok(None)
    }

    /// Step 7: whether this may be put into the queue as it is.
    pub(super) fn admit_to_queue(&self, tx: &Transaction, mode: JobMode) -> Result<(), Rejection> {
        let mut new = 0;
        for tx_job in tx.jobs.iter().filter(|job| !job.gone) {
            let Some(queued) = self.queued(tx_job.unit) else {
                new += 1;
                continue;
            };
            let guarded = queued.irreversible && mode != JobMode::ReplaceIrreversibly;
            if (mode == JobMode::Fail || guarded) && self.contradicts_queue(tx_job) {
                let words = self.words(tx_job);
                let parts = [
                    words.as_str(),
                    " would undo the queued ",
                    queued.verb.as_str(),
                    " of the same unit",
                    if guarded {
                        ", which may not be undone"
                    } else {
                        ""
                    },
                ];
                return Err(Rejection::Destructive(parts.concat()));
            }
        }
        if self.arena.jobs.len() + new > self.config.max_jobs as usize {
            return Err(Rejection::Full);
        }
        Ok(())
    }
}

/// The next job of the chain that is not dropped, from this one on.
#[inline(always)]
pub(super) fn living(tx: &Transaction, mut at: u32) -> u32 {
    while let Some(job) = tx.job(at) {
        if !job.gone {
            return at;
        }
        at = job.next;
    }
    NONE
}

/// Marks what the anchor cannot do without, link by link.
fn find_what_matters(tx: &mut Transaction) {
    tx.stack.clear();
    tx.stack.extend(0..tx.anchors);
    while let Some(at) = tx.stack.pop() {
        let Some(job) = tx.job_mut(at) else { continue };
        if core::mem::replace(&mut job.matters, true) {
            continue;
        }
        let mut next = job.effects;
        while let Some(link) = tx.links.get(next as usize) {
            next = link.next_of_cause;
            if link.matters && !link.gone {
                tx.stack.push(link.effect);
            }
        }
    }
}
