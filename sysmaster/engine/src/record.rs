//! The effects of a step, in the order that makes every prefix of them safe.
//!
//! A new manager knows what was recorded before the old one died, and must come to the same end as
//! the old one would have. A step's effects come in portions: what its input changed, then what
//! each job that ran changed; nothing is told to anybody outside that rests on an earlier portion
//! not yet out. Within a portion:
//!
//! 1. what recovery dropped or took back, so that no later commit revives it; and what a unit's end
//!    means for the machine, which whoever carries it out records by himself: found again, it is
//!    the same;
//! 2. the job records of new transactions;
//!    and the records of atomic starts;
//! 3. the engine's record, whose `committed` makes these jobs count; then the records of atomic
//!    starts that roll back, whose stops count now;
//! 4. other jobs that were given a command: a job names its sequence, so a job that is ahead of its
//!    unit is seen to be;
//! 5. units, each with its pending command; then jobs without one: a restart whose unit is down is
//!    seen to have come that far, and a start whose unit still is up would be done;
//! 6. commands, checks, answers, changes, lines;
//! 7. the removal of jobs that have ended: first those a later job replaced, so that they are not
//!    found alone when that one has ended too; then the others, the last that ended first: a job
//!    that ended because another one failed must not be found waiting when the other one is gone.

use crate::Engine;
use crate::api::{Effect, JobId, PastRecord, Record, UnitRecord};
use crate::mutants::mutant;
use crate::node::Unit;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use units::name::UnitName;
use units::state::{ActiveState, Micros};

/// What a step has brought about so far.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Step 1 above.
    pub first: Vec<Effect>,
    /// Step 6 above.
    rest: Vec<Effect>,
    units: Vec<u32>,
    jobs: Vec<u32>,
    /// Recorded jobs that ended.
    ended: Vec<JobId>,
    /// Jobs that others replaced.
    replaced: Vec<JobId>,
}

impl Outbox {
    pub fn push(&mut self, effect: Effect) {
        self.rest.push(effect);
    }

    /// Gives back what it does not use.
    pub fn rest(&mut self) {
        self.rest.shrink_to_fit();
        self.first.shrink_to_fit();
    }

    /// Where the next effect comes.
    pub fn mark(&self) -> usize {
        self.rest.len()
    }

    /// Takes the lines written since then back.
    pub fn take_lines(&mut self, mark: usize) -> Vec<String> {
        let lines = self.rest.drain(mark..).map(|effect| match effect {
            Effect::Log { text, .. } => text,
            _ => String::new(),
        });
        lines.collect()
    }

    /// The record of the unit's job is to be written.
    pub fn job_is_dirty(&mut self, unit: u32) {
        self.jobs.push(unit);
    }

    /// A recorded job has ended, or (`replaced`) made room for another one.
    pub fn ended(&mut self, job: JobId, replaced: bool) {
        if replaced {
            self.replaced.push(job);
        } else {
            self.ended.push(job);
        }
    }
}

impl Engine {
    /// The unit's record is to be written.
    pub(crate) fn touch_unit(&mut self, unit: u32) {
        if !core::mem::replace(&mut self.arena.at(unit).dirty, true) {
            self.outbox.units.push(unit);
        }
    }

    /// The record of the unit's job is to be written.
    pub(crate) fn touch_job(&mut self, unit: u32) {
        if let Some(job) = self.arena.job_mut(unit)
            && !core::mem::replace(&mut job.dirty, true)
        {
            self.outbox.job_is_dirty(unit);
        }
    }

    /// Hands out what was decided since the last time.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        effects.append(&mut self.outbox.first);
        let mut jobs = core::mem::take(&mut self.outbox.jobs);
        self.write_atomics(false, effects);
        effects.reserve(jobs.len() + self.outbox.units.len() + self.outbox.rest.len());
        if self.record != self.stored {
            jobs.retain(|&unit| mutant!(12) || !self.write_job(unit, true, effects));
            effects.push(Effect::Record(Record::Engine(self.record)));
            self.stored = self.record;
        }
        self.write_atomics(true, effects);
        jobs.retain(|&unit| {
            let given = self.arena.job(unit).is_some_and(|job| job.seq != 0);
            !given || !self.write_job(unit, false, effects)
        });
        if mutant!(13) {
            effects.append(&mut self.outbox.rest);
        }
        let mut units = core::mem::take(&mut self.outbox.units);
        for unit in units.drain(..) {
            self.write_unit(unit, effects);
        }
        self.outbox.units = units;
        for unit in jobs.drain(..) {
            self.write_job(unit, false, effects);
        }
        self.outbox.jobs = jobs;
        effects.append(&mut self.outbox.rest);
        if mutant!(14) {
            self.outbox.replaced.clear();
        }
        effects.extend(
            self.outbox
                .replaced
                .drain(..)
                .map(|job| Effect::ForgetJob { job }),
        );
        effects.extend(
            self.outbox
                .ended
                .drain(..)
                .rev()
                .map(|job| Effect::ForgetJob { job }),
        );
    }

    /// Writes the unit's job, or only if it came with a transaction that is not committed yet.
    fn write_job(&mut self, unit: u32, new_only: bool, effects: &mut Vec<Effect>) -> bool {
        let committed = self.stored.committed;
        let Some((job, name)) = self.arena.job(unit).zip(self.arena.title(unit)) else {
            return true;
        };
        if new_only && job.transaction <= committed {
            return false;
        }
        if job.dirty {
            let record = job.record(name.clone(), self.cause_record(job.cause));
            effects.push(Effect::Record(Record::Job(record)));
            if let Some(job) = self.arena.job_mut(unit) {
                (job.dirty, job.recorded) = (false, true);
            }
        }
        true
    }

    fn write_unit(&mut self, id: u32, effects: &mut Vec<Effect>) {
        let unit = self.arena.get(id);
        let blank = is_blank(unit, self.now);
        let (was, dirty) = (unit.recorded, unit.dirty);
        if !dirty {
            return;
        }
        if !blank {
            let name = self.arena.title(id).cloned();
            let past = unit.past().map(|past| self.past_record(past));
            let record = name.map(|name| unit_record(name, unit, past));
            effects.extend(record.map(|record| Effect::Record(Record::Unit(record))));
        } else if was {
            let name = self.arena.title(id).cloned();
            effects.extend(name.map(|unit| Effect::ForgetUnit { unit }));
        }
        let unit = self.arena.at(id);
        (unit.recorded, unit.dirty) = (!blank, false);
    }
}

/// Whether nothing of the unit need be remembered: as after loading, and that for a while.
pub(crate) fn is_blank(unit: &Unit, now: Micros) -> bool {
    unit.active == ActiveState::Inactive
        && unit.pending.is_none()
        && unit.restart_at.is_none()
        && unit.restarts == 0
        && !unit.limit_hit
        && !unit.has_a_past()
        && now >= unit.remembered_until()
}

fn unit_record(name: UnitName, unit: &Unit, past: Option<PastRecord>) -> Box<UnitRecord> {
    Box::new(UnitRecord {
        name,
        active: unit.active,
        since: unit.since,
        invocation: unit.invocation,
        seq: unit.seq,
        pending: unit.pending,
        restart_at: unit.restart_at,
        restarts: unit.restarts,
        limit: unit.limit,
        limit_hit: unit.limit_hit,
        outcome: unit.outcome,
        times: unit.times(),
        past,
        can_reload: unit.can_reload == Some(true),
    })
}
