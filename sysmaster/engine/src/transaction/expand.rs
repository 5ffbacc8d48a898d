//! What a job pulls in: from the anchor's job to all jobs of the transaction.
//!
//! The array of jobs is its own work list: each is looked at once, in the order in which they were
//! added. A start pulls in what its unit needs and stops what conflicts with it; a stop goes on to
//! those that cannot be up without the unit; a restart restarts those of them that are up; a reload
//! goes where `PropagatesReloadTo=` says. What a mode adds to that comes when the rest is known:
//! isolate and triggering leave alone what is in the transaction already, and a restart stops what
//! `PropagatesStopTo=` says only if nothing else wants it up.

use super::{Dropped, Pull, Transaction, TxJob};
use crate::Engine;
use crate::graph::NONE;
use crate::job;
use crate::mutants::mutant;
use crate::rel::Rel;
use units::spec::LoadState;
use units::state::{JobMode, JobVerb};

/// Who goes down or is restarted with a unit.
const STOP_SPREADS: [Rel; 4] = [
    Rel::RequiredBy,
    Rel::RequisiteOf,
    Rel::BoundBy,
    Rel::ConsistsOf,
];

/// How the mode pulls in what no relation does.
const BY_MODE: Pull = Pull {
    rel: None,
    matters: true,
    ignore_order: false,
};

fn by(rel: Rel, matters: bool) -> Pull {
    Pull {
        rel: Some(rel),
        matters,
        ignore_order: false,
    }
}

impl Engine {
    /// Adds everything the anchor's job needs or causes.
    pub(super) fn expand_all(&mut self, tx: &mut Transaction, mode: JobMode) {
        if mode == JobMode::RestartDependencies && !mutant!(35) {
            for at in 0..tx.anchors {
                let unit = tx.job(at).map_or(NONE, |job| job.unit);
                self.spread_restart(tx, at, unit);
            }
        }
        // A target knows how much it will be.
        let anchor = tx.job(0).map_or(NONE, |job| job.unit);
        let edges = &self.arena.get(anchor).edges;
        let pulled = edges.partition_point(|edge| edge.rel <= Rel::Conflicts);
        tx.jobs.reserve(pulled);
        tx.links.reserve(4 * pulled);
        let mut done = self.expand_from(tx, 0);
        match mode {
            JobMode::Isolate => self.isolate(tx),
            JobMode::Triggering if !mutant!(34) => self.stop_triggers(tx),
            _ => {}
        }
        done = self.expand_from(tx, done);
        let mut at = 0;
        while let Some(job) = tx.job(at) {
            if job.verb == JobVerb::Restart {
                self.stop_gracefully(tx, at, job.unit);
                done = self.expand_from(tx, done);
            }
            at += 1;
        }
    }

    /// Expands the jobs from this one on, until there is none that was not. Answers how many there are.
    fn expand_from(&mut self, tx: &mut Transaction, mut at: usize) -> usize {
        while at < tx.jobs.len() {
            self.expand(tx, at as u32);
            at += 1;
        }
        at
    }

    /// Adds the jobs a job needs or causes.
    fn expand(&mut self, tx: &mut Transaction, at: u32) {
        let Some(&TxJob { unit, verb, .. }) = tx.job(at) else {
            return;
        };
        match verb {
            JobVerb::Start => self.expand_start(tx, at, unit),
            JobVerb::Restart => {
                self.expand_start(tx, at, unit);
                self.spread_restart(tx, at, unit);
            }
            JobVerb::Stop => {
                for rel in STOP_SPREADS {
                    self.spread(tx, at, unit, JobVerb::Stop, by(rel, true));
                }
                let rel = Rel::PropagatesStopTo;
                self.spread(tx, at, unit, JobVerb::Stop, by(rel, true));
            }
            JobVerb::Reload => {
                let rel = Rel::PropagatesReloadTo;
                self.spread(tx, at, unit, JobVerb::TryReload, by(rel, false));
            }
            _ => {}
        }
    }

    fn spread_restart(&mut self, tx: &mut Transaction, at: u32, unit: u32) {
        for rel in STOP_SPREADS {
            self.spread(tx, at, unit, JobVerb::TryRestart, by(rel, true));
        }
    }

    /// What a start pulls in. The relations in question are the first of the unit's edges, so one
    /// look at each is enough.
    fn expand_start(&mut self, tx: &mut Transaction, at: u32, unit: u32) {
        // Nothing below looks at the unit's own edges.
        let edges = core::mem::take(&mut self.arena.at(unit).edges);
        for edge in edges.iter().take_while(|edge| edge.rel <= Rel::Conflicts) {
            let (verb, matters) = match edge.rel {
                Rel::BindsTo if mutant!(1) => continue,
                Rel::Conflicts if mutant!(2) => continue,
                Rel::Requires | Rel::BindsTo => (JobVerb::Start, true),
                Rel::Wants | Rel::Upholds => (JobVerb::Start, false),
                Rel::Requisite => (JobVerb::VerifyActive, true),
                Rel::Conflicts => (JobVerb::Stop, true),
                _ => continue,
            };
            self.pull(tx, at, edge.to, verb, by(edge.rel, matters));
        }
        self.arena.at(unit).edges = edges;
        self.spread(tx, at, unit, JobVerb::Stop, by(Rel::ConflictedBy, false));
    }

    /// Adds a job for each unit in this relation to `unit`.
    fn spread(&mut self, tx: &mut Transaction, cause: u32, unit: u32, verb: JobVerb, pull: Pull) {
        let Some(rel) = pull.rel else { return };
        if rel == Rel::ConsistsOf && mutant!(19) || rel == Rel::PropagatesReloadTo && mutant!(26) {
            return;
        }
        for at in self.arena.range(unit, rel) {
            let to = self.arena.end(unit, at);
            let Some(verb) = job::collapse(verb, self.arena.get(to).active) else {
                continue;
            };
            if self.inapplicable(to, verb).is_none() {
                self.pull(tx, cause, to, verb, pull);
            }
        }
    }

    /// `PropagatesStopTo=` of a unit that is restarted: what nothing else wants up is stopped, what
    /// is started is restarted.
    fn stop_gracefully(&mut self, tx: &mut Transaction, cause: u32, unit: u32) {
        let rel = Rel::PropagatesStopTo;
        for at in self.arena.range(unit, rel) {
            let to = self.arena.end(unit, at);
            let has = |verb| self.find_job(tx, to, verb) != NONE;
            if has(JobVerb::Stop) || has(JobVerb::Restart) {
                continue;
            }
            let verb = if has(JobVerb::Start) {
                JobVerb::Restart
            } else {
                JobVerb::Stop
            };
            self.pull(tx, cause, to, verb, by(rel, true));
        }
    }

    /// Whether a unit is there after isolating.
    fn survives_isolation(&self, tx: &Transaction, unit: u32) -> bool {
        let wanted =
            self.first_of(tx, unit) != NONE && self.find_job(tx, unit, JobVerb::Stop) == NONE;
        wanted || self.arena.get(unit).ignore_on_isolate
    }

    /// Adds a stop for every unit that is up and not in the transaction, nor triggered by one that
    /// stays.
    fn isolate(&mut self, tx: &mut Transaction) {
        for id in 0..self.arena.len() {
            let unit = self.arena.get(id);
            let idle = unit.at_rest() && !unit.has_job();
            let listed = unit.ignore_on_isolate || self.first_of(tx, id) != NONE;
            if idle || listed || unit.is_alias() {
                continue;
            }
            let triggered = (self.arena.ends(id, Rel::TriggeredBy))
                .any(|other| self.survives_isolation(tx, other));
            if !triggered {
                self.pull(tx, 0, id, JobVerb::Stop, BY_MODE);
            }
        }
    }

    /// Adds a stop for whatever could start the anchors' units again.
    fn stop_triggers(&mut self, tx: &mut Transaction) {
        for anchor in 0..tx.anchors {
            let unit = tx.job(anchor).map_or(NONE, |job| job.unit);
            for at in self.arena.range(unit, Rel::TriggeredBy) {
                let to = self.arena.end(unit, at);
                let other = self.arena.get(to);
                let idle = other.at_rest() && !other.has_job();
                // A stop that is there for another's sake goes with that one, if it turns out to be needless.
                let listed =
                    self.first_of(tx, to) != NONE && self.find_job(tx, to, JobVerb::Stop) == NONE;
                if !idle && !listed {
                    self.pull(tx, anchor, to, JobVerb::Stop, BY_MODE);
                }
            }
        }
    }

    /// The first job of a unit in the transaction being built, dropped or not.
    #[inline(always)]
    fn first_of(&self, tx: &Transaction, unit: u32) -> u32 {
        match self.arena.get(unit).scratch {
            (generation, first) if generation == tx.generation => first,
            _ => NONE,
        }
    }

    /// The job of a unit with this verb.
    #[inline(always)]
    fn find_job(&self, tx: &Transaction, unit: u32, verb: JobVerb) -> u32 {
        let mut at = self.first_of(tx, unit);
        while let Some(job) = tx.job(at) {
            if job.verb == verb {
                return at;
            }
            at = job.next;
        }
        NONE
    }

    /// Adds a job, or links to the one that is there.
    pub(super) fn pull(
        &mut self,
        tx: &mut Transaction,
        cause: u32,
        unit: u32,
        verb: JobVerb,
        pull: Pull,
    ) {
        let mut at = self.find_job(tx, unit, verb);
        if at == NONE {
            at = self.add_job(tx, unit, verb, pull.ignore_order);
        }
        if cause != NONE {
            tx.connect(cause, at, pull);
        }
    }

    fn add_job(
        &mut self,
        tx: &mut Transaction,
        unit: u32,
        verb: JobVerb,
        ignore_order: bool,
    ) -> u32 {
        let first = self.first_of(tx, unit);
        let at = tx.jobs.len() as u32;
        tx.jobs.push(TxJob {
            unit,
            verb,
            next: first,
            first_cause: NONE,
            causes: NONE,
            cause_count: 0,
            effects: NONE,
            ignore_order,
            matters: false,
            conflicted: false,
            gone: false,
            dropped: Dropped::No,
        });
        let list = if first == NONE {
            &mut tx.units
        } else {
            &mut tx.several
        };
        list.push(unit);
        let unit = self.arena.at(unit);
        unit.scratch = (tx.generation, at);
        if verb != JobVerb::Stop && unit.load != Some(LoadState::Loaded) {
            tx.unusable.push(at);
        }
        at
    }
}
