//! What a transaction refuses or leaves out, explained link by link.
//!
//! Each link names the directive that makes it and the unit whose file has the directive, as
//! somebody would look for it: `b.service has After=a.service`, whichever of the two is spoken of.

use super::cycles::Step;
use super::{Link, Transaction, TxJob};
use crate::Engine;
use crate::api::{JobCause, Rejection, UnitId};
use crate::job;
use crate::job::First;
use crate::rel::{OURS, Rel};
use alloc::string::String;
use units::state::JobVerb;

impl Engine {
    /// Name and verb of a job of the transaction.
    pub(super) fn words(&self, tx_job: &TxJob) -> String {
        [tx_job.verb.as_str(), " of ", self.arena.name(tx_job.unit)].concat()
    }

    /// Which directive of which of the two makes this relation.
    fn declared(&self, unit: u32, rel: Rel, to: u32) -> String {
        let edges = &self.arena.get(unit).edges;
        let edge = edges.iter().find(|edge| (edge.rel, edge.to) == (rel, to));
        let ours = edge.is_some_and(|edge| edge.by & OURS != 0);
        let (unit, rel, to) = if ours {
            (unit, rel, to)
        } else {
            (to, rel.inverse(), unit)
        };
        let (unit, to) = (self.arena.name(unit), self.arena.name(to));
        [" (", unit, " has ", rel.as_str(), "=", to, ")"].concat()
    }

    /// Two jobs of a unit contradict each other, and the anchor can do without neither.
    pub(super) fn contradiction(&self, tx: &Transaction, a: &TxJob, b: &TxJob) -> Rejection {
        let mut text = self.chain(tx, a);
        text.push_str("; but also ");
        text.push_str(&self.chain(tx, b));
        text.push_str(". A unit cannot be both up and down: remove one of the dependencies");
        Rejection::Contradiction(text)
    }

    /// A job and what caused it, link by link up to the anchor. A job was made by the first of its
    /// causes, which is older than itself: the chain ends.
    fn chain(&self, tx: &Transaction, job: &TxJob) -> String {
        let mut text = self.words(job);
        let (mut at, mut newer) = (job, u32::MAX);
        while let Some(link) = oldest_cause(tx, at, false).filter(|link| link.cause < newer) {
            let Some(cause) = tx.job(link.cause) else {
                break;
            };
            let why = match link.rel {
                Some(Rel::Conflicts | Rel::ConflictedBy) => ", which conflicts with the ",
                Some(rel) if rel <= Rel::Upholds => ", needed by the ",
                _ => ", which follows from the ",
            };
            text.push_str(why);
            text.push_str(&self.words(cause));
            if let Some(rel) = link.rel {
                text.push_str(&self.declared(cause.unit, rel, at.unit));
            }
            (at, newer) = (cause, link.cause);
        }
        text
    }

    /// The job that pulled this one in, and over which relation; `None` for what was asked for.
    pub(super) fn cause_in(&self, tx: &Transaction, job: &TxJob) -> Option<JobCause> {
        // The links of a job that was dropped are gone as well, and tell all the same.
        let link = oldest_cause(tx, job, job.gone)?;
        let cause = tx.job(link.cause)?;
        let unit = UnitId(cause.unit);
        Some(match link.rel {
            Some(rel) => JobCause::Unit(unit, rel),
            None if cause.verb == JobVerb::Stop => JobCause::Unit(unit, Rel::TriggeredBy),
            None => JobCause::Isolate(unit),
        })
    }

    /// An atomic start stops nothing: a stop could not be taken back.
    pub(super) fn admit_no_stop(&self, tx: &Transaction) -> Result<(), Rejection> {
        let stops = |job: &&TxJob| {
            let stopping = self.queued(job.unit).map(|queued| queued.verb) == Some(JobVerb::Stop);
            !job.gone && job.verb == JobVerb::Stop && !stopping
        };
        match tx.jobs.iter().find(stops) {
            None => Ok(()),
            Some(job) => {
                let mut text =
                    String::from("what is started atomically stops nothing, and this needs the ");
                text.push_str(&self.chain(tx, job));
                text.push_str(". Stop it first");
                Err(Rejection::Destructive(text))
            }
        }
    }

    /// A cycle, from job to job.
    pub(super) fn cycle_words(&self, tx: &Transaction, cycle: &[Step]) -> String {
        let mut text = String::new();
        let mut before: Option<u32> = None;
        for unit in cycle.iter().chain(cycle.first()).map(|step| step.unit) {
            let doing = self.doing(tx, unit);
            if before.is_some() {
                text.push_str(" goes before the ");
            }
            text.push_str(doing.map_or("job", |(verb, _)| verb.as_str()));
            text.push_str(" of ");
            text.push_str(self.arena.name(unit));
            if let Some(before) = before {
                text.push_str(&self.order_words(tx, before, unit));
                text.push_str(", which");
            }
            before = Some(unit);
        }
        text.truncate(text.len().saturating_sub(", which".len()));
        text
    }

    /// Which directive puts the job of the one unit before that of the other.
    fn order_words(&self, tx: &Transaction, first: u32, then: u32) -> String {
        let (ours, theirs) = (self.doing(tx, first), self.doing(tx, then));
        let forward = self.arena.has(first, Rel::Before, then)
            && matches!((ours, theirs), (Some(a), Some(b)) if job::order(a, b) == First::Former);
        let rel = if forward { Rel::Before } else { Rel::After };
        self.declared(first, rel, then)
    }
}

/// Of a job's causes the one that was there first; with `gone` also of those gone.
fn oldest_cause<'a>(tx: &'a Transaction, job: &TxJob, gone: bool) -> Option<&'a Link> {
    let first = tx.link(job.first_cause)?;
    if gone || !first.gone {
        return Some(first);
    }
    let (mut at, mut oldest) = (job.causes, None::<&Link>);
    while let Some(link) = tx.link(at) {
        if (gone || !link.gone) && oldest.is_none_or(|found| link.cause < found.cause) {
            oldest = Some(link);
        }
        at = link.next_of_effect;
    }
    oldest
}
