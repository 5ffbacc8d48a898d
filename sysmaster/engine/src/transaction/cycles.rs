//! Ordering cycles, broken as systemd does and reported link by link.
//!
//! The search goes depth first over "this job runs before that one", which is the order of the
//! units turned by what the jobs do, through the transaction's jobs and the queued ones. A job
//! from which everything was seen without meeting the path again is done for good: dropping jobs
//! adds no order. So after a cycle was broken only the path is forgotten, and the whole search
//! looks at each edge about once however many cycles there are.
//!
//! On its way it counts for each job the jobs that go first. If there was no cycle, and nothing else is queued, the jobs
//! are queued with these counts.

use super::{Dropped, Transaction};
use crate::Engine;
use crate::api::Rejection;
use crate::graph::NONE;
use crate::job::{self, First};
use crate::node::Visit;
use crate::rel::Rel;
use alloc::vec::Vec;
use units::state::JobVerb;

/// A unit on the path of the search.
pub(super) struct Step {
    pub unit: u32,
    /// What its job does, and whether it ignores order.
    doing: (JobVerb, bool),
    /// Next edge to follow. `Before` and `After` are the last two kinds: they stand together.
    edge: usize,
    /// Behind the last edge to follow.
    end: usize,
}

impl Step {
    /// Whether its job goes before the job, which does this, at the other end of an edge.
    #[inline(always)]
    fn goes_first(&self, rel: Rel, theirs: (JobVerb, bool)) -> bool {
        match rel {
            Rel::Before => job::order(self.doing, theirs) == First::Former,
            _ => job::order(theirs, self.doing) == First::Latter,
        }
    }
}

/// Where the search goes from a unit.
enum Next {
    /// To this one, whose job does this.
    Deeper(u32, (JobVerb, bool)),
    /// This one is on the path.
    Cycle(u32),
    /// Everything behind it was seen.
    Back,
}

impl Engine {
    /// Drops units off cycles until there is none, or says which cannot be broken.
    pub(super) fn break_cycles(&mut self, tx: &mut Transaction) -> Result<(), Rejection> {
        self.search += 1;
        tx.counted = self.arena.jobs.is_empty();
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
            tx.counted = false;
            self.drop_unit(tx, victim);
            if tx.anchor_is_gone() {
                return Err(Rejection::Cycle(words));
            }
            for step in path.drain(..) {
                self.arena.at(step.unit).visit = Visit::default();
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
            match self.follow_order(tx, step) {
                Next::Deeper(unit, doing) => self.enter(unit, doing, path),
                Next::Cycle(unit) => return path.iter().position(|step| step.unit == unit),
                Next::Back => {
                    self.arena.at(step.unit).visit.leave();
                    path.pop();
                }
            }
        }
        None
    }

    /// Counts the unit's job with those that wait for it, up to one that leads on.
    fn follow_order(&mut self, tx: &Transaction, step: &mut Step) -> Next {
        // Nothing below looks at the unit's own edges.
        let edges = core::mem::take(&mut self.arena.at(step.unit).edges);
        let mut next = Next::Back;
        let ahead = edges.get(step.edge..step.end).unwrap_or_default();
        for (at, edge) in ahead.iter().enumerate() {
            let visit = self.arena.get(edge.to).visit;
            let known = visit.is_of(self.search);
            let theirs = match known {
                true => visit.doing(),
                false => self.look(tx, edge.to),
            };
            let Some(theirs) = theirs.filter(|theirs| step.goes_first(edge.rel, *theirs)) else {
                continue;
            };
            if known && !visit.is_on_path() {
                self.arena.at(edge.to).visit.wait();
                continue;
            }
            next = match known {
                true => Next::Cycle(edge.to),
                false => Next::Deeper(edge.to, theirs),
            };
            step.edge += at + 1;
            break;
        }
        self.arena.at(step.unit).edges = edges;
        next
    }

    /// What the job of a unit not seen so far does; that there is none is seen once.
    fn look(&mut self, tx: &Transaction, unit: u32) -> Option<(JobVerb, bool)> {
        let doing = self.doing(tx, unit);
        if doing.is_none() {
            self.arena.at(unit).visit = Visit::idle(self.search);
        }
        doing
    }

    #[inline(always)]
    fn seen(&self, unit: u32) -> bool {
        self.arena.get(unit).visit.is_of(self.search)
    }

    #[inline(always)]
    fn enter(&mut self, unit: u32, doing: (JobVerb, bool), path: &mut Vec<Step>) {
        let mut visit = Visit::new(self.search, doing);
        if !path.is_empty() {
            visit.wait();
        }
        self.arena.at(unit).visit = visit;
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
