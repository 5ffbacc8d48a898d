//! Ordering cycles, broken as systemd does and reported link by link.
//!
//! The search goes depth first over "this job runs before that one", which is the order of the
//! units turned by what the jobs do, through the transaction's jobs and the queued ones. A job
//! from which everything was seen without meeting the path again is done for good: dropping jobs
//! adds no order. So after a cycle was broken only the path is forgotten, and the whole search
//! looks at each edge about once however many cycles there are.

use super::{Dropped, Transaction};
use crate::Engine;
use crate::api::Rejection;
use crate::graph::NONE;
use crate::job::{self, First};
use alloc::vec::Vec;
use units::state::JobVerb;

/// A unit on the path of the search.
pub(super) struct Step {
    pub unit: u32,
    /// What its job does, and whether it ignores order.
    doing: (JobVerb, bool),
    /// Next edge to follow. `Before` and `After` are the last two kinds: they stand together.
    edge: usize,
    /// First of the `After` edges.
    after: usize,
    /// Behind the last edge to follow.
    end: usize,
}

impl Engine {
    /// Drops units off cycles until there is none, or says which cannot be broken.
    pub(super) fn break_cycles(&mut self, tx: &mut Transaction) -> Result<(), Rejection> {
        self.search += 1;
        let mut path: Vec<Step> = Vec::new();
        let mut at = 0;
        while let Some(&root) = tx.units.get(at) {
            let Some(start) = self.find_cycle(tx, root, &mut path) else {
                at += 1;
                continue;
            };
            let cycle = path.get(start..).unwrap_or_default();
            let victim = cycle
                .iter()
                .rev()
                .map(|step| step.unit)
                .find(|&unit| self.first_job(tx, unit) != NONE && !self.matters(tx, unit));
            let words = self.cycle_words(tx, cycle);
            let Some(victim) = victim else {
                return Err(Rejection::Cycle(words));
            };
            let verb = self.doing(tx, victim).map_or("", |(verb, _)| verb.as_str());
            let name = self.arena.name(victim);
            let text = [
                "ordering cycle: ",
                &words,
                ". The ",
                verb,
                " of ",
                name,
                " is deleted to break it",
            ];
            let text = text.concat();
            self.log(3, Some(victim), text);
            self.drop_unit(tx, victim);
            if tx.anchor_is_gone() {
                return Err(Rejection::Cycle(words));
            }
            for step in path.drain(..) {
                self.arena.at(step.unit).visit = (0, false);
            }
        }
        Ok(())
    }

    /// Follows the order from a unit; where on the path a cycle begins, if there is one.
    fn find_cycle(&mut self, tx: &Transaction, root: u32, path: &mut Vec<Step>) -> Option<usize> {
        path.clear();
        if self.seen(root) || self.first_job(tx, root) == NONE {
            return None;
        }
        let doing = self.doing(tx, root)?;
        self.enter(root, doing, path);
        while let Some(step) = path.last_mut() {
            let Step {
                unit,
                doing,
                edge,
                after,
                end,
            } = *step;
            if edge >= end {
                self.arena.at(unit).visit = (self.search, false);
                path.pop();
                continue;
            }
            step.edge += 1;
            let other = self.arena.end(unit, edge);
            if self.arena.get(other).visit == (self.search, false) {
                continue;
            }
            let Some(theirs) = self.doing(tx, other) else {
                continue;
            };
            let goes_first = if edge < after {
                job::order(doing, theirs) == First::Former
            } else {
                job::order(theirs, doing) == First::Latter
            };
            if !goes_first {
                continue;
            }
            if self.arena.get(other).visit == (self.search, true) {
                return path.iter().position(|step| step.unit == other);
            }
            self.enter(other, theirs, path);
        }
        None
    }

    #[inline(always)]
    fn seen(&self, unit: u32) -> bool {
        self.arena.get(unit).visit.0 == self.search
    }

    #[inline(always)]
    fn enter(&mut self, unit: u32, doing: (JobVerb, bool), path: &mut Vec<Step>) {
        self.arena.at(unit).visit = (self.search, true);
        let (edge, after) = self.arena.order_at(unit);
        // What starts goes before nothing it is ordered after: those edges need no look.
        let all = job::goes_down(doing.0);
        let end = if all {
            self.arena.get(unit).edges.len()
        } else {
            after
        };
        path.push(Step {
            unit,
            doing,
            edge,
            after,
            end,
        });
    }

    /// Verb of the unit's job in the transaction, else of its queued one, and whether that job
    /// ignores order.
    pub(super) fn doing(&self, tx: &Transaction, unit: u32) -> Option<(JobVerb, bool)> {
        if let Some(job) = tx.job(self.first_job(tx, unit)) {
            return Some((job.verb, job.ignore_order));
        }
        self.queued(unit).map(|job| (job.verb, job.ignore_order))
    }

    /// Whether the anchor cannot do without one of the unit's jobs.
    fn matters(&self, tx: &Transaction, unit: u32) -> bool {
        let mut at = self.first_job(tx, unit);
        while let Some(job) = tx.job(at) {
            if job.matters {
                return true;
            }
            at = super::resolve::living(tx, job.next);
        }
        false
    }

    fn drop_unit(&mut self, tx: &mut Transaction, unit: u32) {
        loop {
            let at = self.first_job(tx, unit);
            if at == NONE {
                break;
            }
            tx.drop_job(at, true, Dropped::Cycle);
        }
        tx.sweep();
    }
}
