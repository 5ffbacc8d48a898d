//! Atomic starts: several units come up together, or none of them.
//!
//! An atomic start is one transaction with several anchors, and a note of it that stays until it has
//! ended. It has three states:
//!
//! ```text
//!            every anchor's start is done, and none was lost since
//! Going on ──────────────────────────────────────────────────────► ended: all are up
//!     │
//!     │ an anchor's start ends otherwise, or an anchor fails while others are on their way
//!     ▼
//! Rolling back ──────────────────────────────────────────────────► ended: stopped again
//!            none of its stops is queued any more
//! ```
//!
//! *What it started* is noted when it is committed: units that were down, wait for no automatic
//! restart, and had no start queued by somebody else. Rolling back stops these and no other: each
//! stop is a transaction of its own that pulls nothing in, and the order between units, turned
//! round for stops, puts what needs others before what it needs. What a client asks for in the
//! meantime, or needs for what it asks for, belongs to that client and is left as it is; a second
//! atomic start shares it: it stays until neither goes on, and for good if one of them succeeds. A
//! start that would have to stop something is refused, because the stop could not be taken back.
//!
//! A unit whose start is skipped by a condition is not up, so its atomic start is rolled back; one
//! that did what it is for and is inactive again (a oneshot) counts as up.
//!
//! *Recovery.* The record is written before the engine's record that commits the transaction, so
//! that a transaction that stands is known to be atomic, and is dropped with a transaction that
//! does not. That it rolls back is recorded after the stops are committed, so that a later manager
//! has nothing to repeat. Killed in between, it leaves stops that are committed and a failed start
//! that has not ended yet, or an anchor whose stop took the place of its start: either of them rolls
//! back once more, which changes nothing where a stop is queued.

use crate::Engine;
use crate::api::{AtomicRecord, Effect, JobCause, JobId, Record, Rejection, Ticket, UnitId};
use crate::mutants::mutant;
use crate::transaction::{Request, Transaction};
use alloc::string::String;
use alloc::vec::Vec;
use units::name::UnitName;
use units::state::{ActiveState, JobMode, JobResult, JobVerb};

/// An atomic start that has not ended.
#[derive(Debug)]
pub(crate) struct Atomic {
    transaction: u32,
    /// Units asked for, and whether their start has ended well.
    anchors: Vec<(u32, bool)>,
    /// What a roll-back stops; once it rolls back, what it has found to be stopped.
    started: Vec<u32>,
    /// Why it rolls back.
    failed: Option<(u32, JobResult, String)>,
    /// The stored record is not up to date.
    dirty: bool,
}

impl Engine {
    pub(crate) fn asked_atomically(&mut self, ticket: Ticket, names: &[UnitName], mode: JobMode) {
        let answer = match self.open_atomic(ticket, names, mode) {
            Ok(transaction) => Effect::Opened {
                ticket,
                transaction,
            },
            Err(reason) => Effect::Rejected { ticket, reason },
        };
        self.outbox.push(answer);
    }

    /// Carries an atomic start out, or refuses it and changes nothing. Answers with its transaction,
    /// 0 if there was nothing to do. The same units again, while they are on their way, are the same
    /// start: a client whose manager died repeats what it asked for.
    fn open_atomic(
        &mut self,
        ticket: Ticket,
        names: &[UnitName],
        mode: JobMode,
    ) -> Result<u32, Rejection> {
        use JobMode::{Flush, Isolate, ReplaceIrreversibly};
        if matches!(mode, Isolate | Flush | ReplaceIrreversibly) {
            let text =
                "what is started atomically can be undone, and stops and cancels nothing else";
            return Err(Rejection::Misfit(String::from(text)));
        }
        let mut anchors: Vec<(u32, JobVerb)> = Vec::new();
        for name in names {
            let unit = self.arena.intern(name);
            if !anchors.iter().any(|(known, _)| *known == unit) {
                anchors.push((unit, JobVerb::Start));
            }
        }
        let same = |atomic: &&Atomic| {
            let here = |(unit, _): &(u32, bool)| anchors.iter().any(|(known, _)| known == unit);
            atomic.anchors.len() == anchors.len() && atomic.anchors.iter().all(here)
        };
        if let Some(known) = self.atomics.iter().find(same) {
            return Ok(known.transaction);
        }
        let before = self.record.committed;
        let started = self.start_together(ticket, &anchors, mode)?;
        if self.record.committed == before {
            return Ok(0);
        }
        self.atomics.push(Atomic {
            transaction: self.record.committed,
            anchors: anchors.into_iter().map(|(unit, _)| (unit, false)).collect(),
            started,
            failed: None,
            dirty: true,
        });
        Ok(self.record.committed)
    }

    /// What another transaction of a client includes is not an atomic start's to stop any more.
    pub(crate) fn disown(&mut self, tx: &Transaction) {
        for atomic in self.atomics.iter_mut().filter(|one| one.failed.is_none()) {
            let before = atomic.started.len();
            for unit in tx.brought_up() {
                atomic.started.retain(|known| *known != unit);
            }
            atomic.dirty |= atomic.started.len() != before;
        }
    }

    /// What another atomic start includes of these is its as well.
    pub(crate) fn shared(&self, tx: &Transaction) -> Vec<u32> {
        let up = tx.brought_up();
        up.filter(|unit| self.is_atomics(*unit)).collect()
    }

    /// Whether an atomic start that goes on brings this unit up.
    fn is_atomics(&self, unit: u32) -> bool {
        let mut going_on = self.atomics.iter().filter(|one| one.failed.is_none());
        going_on.any(|one| one.started.contains(&unit))
    }

    /// After a recovery: an anchor whose job was dropped with what was cut off, or canceled, will not
    /// come up by it.
    pub(crate) fn take_up_atomics(&mut self) {
        for at in 0..self.atomics.len() {
            let Some(atomic) = self
                .atomics
                .get(at)
                .filter(|one| one.failed.is_none() && !mutant!(38))
            else {
                continue;
            };
            let lost = |(unit, done): &&(u32, bool)| !*done && self.arena.job(*unit).is_none();
            let lost = atomic.anchors.iter().find(lost).map(|(unit, _)| *unit);
            if let Some(unit) = lost {
                self.fail_atomic(
                    at,
                    unit,
                    JobResult::Canceled,
                    "a later transaction canceled it",
                );
            }
        }
    }

    /// Whether bringing this unit up is new: it is down, and nobody is about to start it.
    pub(crate) fn is_fresh_start(&self, id: u32) -> bool {
        let unit = self.arena.get(id);
        let down = unit.active.is_down() || unit.active == ActiveState::Deactivating;
        let verb = self.arena.job(id).map(|job| job.verb);
        down && unit.restart_at.is_none() && matches!(verb, None | Some(JobVerb::Stop))
    }

    /// A unit's job has ended: was it one that an atomic start waits for? (A stop that ends means that
    /// its manager died while it replaced the start.)
    pub(crate) fn atomic_job_ended(
        &mut self,
        unit: u32,
        verb: JobVerb,
        result: JobResult,
        why: &str,
    ) {
        let result = match (verb, result) {
            (JobVerb::Stop, JobResult::Done) => JobResult::Canceled,
            (_, result) => result,
        };
        for atomic in self.atomics.iter_mut().filter(|one| one.failed.is_none()) {
            let open = |(anchor, done): &&mut (u32, bool)| *anchor == unit && !*done;
            let Some((_, done)) = atomic.anchors.iter_mut().find(open) else {
                continue;
            };
            atomic.dirty = true;
            if result == JobResult::Done {
                *done = true;
            } else {
                atomic.failed = Some((unit, result, String::from(why)));
                self.undo.push_back(atomic.transaction);
            }
        }
    }

    /// Wants stops for what an atomic start has started.
    pub(crate) fn roll_back(&mut self, transaction: u32) {
        let Some(at) = self
            .atomics
            .iter()
            .position(|one| one.transaction == transaction)
        else {
            return;
        };
        let started = self
            .atomics
            .get_mut(at)
            .map(|one| core::mem::take(&mut one.started));
        let mut stopped = Vec::new();
        // (`failed` is set: it is none of those that go on.)
        let own = |unit: &u32| !self.is_atomics(*unit);
        let started = started.unwrap_or_default().into_iter().filter(own);
        let started: Vec<u32> = started.collect();
        for unit in started {
            let unit = self.arena.resolve(unit);
            let it = self.arena.get(unit);
            if !it.at_rest() {
                stopped.push(unit);
            } else if !it.has_job() {
                continue;
            }
            self.wanted.push_back(Request {
                unit,
                verb: JobVerb::Stop,
                mode: JobMode::IgnoreRequirements,
                manual: false,
                cause: JobCause::RollBack,
            });
        }
        if let Some(atomic) = self.atomics.get_mut(at) {
            atomic.started = stopped;
            atomic.dirty = true;
        }
    }

    /// Looks for atomic starts that have come to their end, or have lost a unit. True if one has to
    /// be rolled back.
    pub(crate) fn close_atomics(&mut self) -> bool {
        let mut at = 0;
        while let Some(atomic) = self.atomics.get(at) {
            let stopping = |unit: &u32| {
                let job = self.arena.job(*unit);
                job.is_some_and(|job| job.verb == JobVerb::Stop)
            };
            let lost = |(unit, done): &&(u32, bool)| {
                let it = self.arena.get(*unit);
                *done && (it.active == ActiveState::Failed || it.restart_at.is_some())
            };
            let over = match atomic.failed {
                Some(_) => !atomic.started.iter().any(stopping),
                None => atomic.anchors.iter().all(|(_, done)| *done),
            };
            let lost = atomic.anchors.iter().find(lost).map(|(unit, _)| *unit);
            if let (Some(unit), None) = (lost, &atomic.failed) {
                let why = "it came up, and ended before the others were up";
                self.fail_atomic(at, unit, JobResult::Failed, why);
                return true;
            }
            if over {
                self.close_atomic(at);
            } else {
                at += 1;
            }
        }
        false
    }

    fn fail_atomic(&mut self, at: usize, unit: u32, result: JobResult, why: &str) {
        if let Some(atomic) = self.atomics.get_mut(at) {
            atomic.failed = Some((unit, result, String::from(why)));
            atomic.dirty = true;
            self.undo.push_back(atomic.transaction);
        }
    }

    fn close_atomic(&mut self, at: usize) {
        let atomic = self.atomics.remove(at);
        let transaction = atomic.transaction;
        let failed = atomic.failed;
        let rolled_back = failed.is_some();
        if !rolled_back && !mutant!(37) {
            for other in self.atomics.iter_mut().filter(|one| one.failed.is_none()) {
                let before = other.started.len();
                other.started.retain(|unit| !atomic.started.contains(unit));
                other.dirty |= other.started.len() != before;
            }
        }
        self.outbox.push(Effect::Closed {
            transaction,
            failed: failed.map(|(unit, result, why)| (UnitId(unit), result, why)),
            stopped: match rolled_back {
                true => atomic.started.into_iter().map(UnitId).collect(),
                false => Vec::new(),
            },
        });
        self.outbox.push(Effect::ForgetAtomic { transaction });
    }

    /// Writes the records that are not up to date: of those that go on, or of those that roll back.
    pub(crate) fn write_atomics(&mut self, rolling_back: bool, effects: &mut Vec<Effect>) {
        let arena = &self.arena;
        let name = |unit: &u32| arena.title(*unit).cloned();
        let ours = |one: &&mut Atomic| one.dirty && one.failed.is_some() == rolling_back;
        for atomic in self.atomics.iter_mut().filter(ours) {
            atomic.dirty = false;
            let anchors = atomic.anchors.iter();
            let failed = atomic.failed.as_ref();
            effects.push(Effect::Record(Record::Atomic(AtomicRecord {
                transaction: atomic.transaction,
                anchors: anchors
                    .filter_map(|(unit, done)| Some((name(unit)?, *done)))
                    .collect(),
                started: atomic.started.iter().filter_map(name).collect(),
                failed: failed
                    .and_then(|(unit, result, why)| Some((name(unit)?, *result, why.clone()))),
            })));
        }
    }

    pub(crate) fn restore_atomic(&mut self, record: AtomicRecord) {
        let transaction = record.transaction;
        self.last_transaction = self.last_transaction.max(transaction);
        if transaction > self.record.committed {
            return self.outbox.first.push(Effect::ForgetAtomic { transaction });
        }
        let mut unit = |name: &UnitName| self.arena.intern(name);
        let anchors = record.anchors.iter();
        let atomic = Atomic {
            transaction,
            anchors: anchors.map(|(name, done)| (unit(name), *done)).collect(),
            started: record.started.iter().map(&mut unit).collect(),
            failed: record
                .failed
                .map(|(name, result, why)| (unit(&name), result, why)),
            dirty: false,
        };
        self.atomics.push(atomic);
    }

    /// The queued jobs of an atomic start; `None` if it has ended.
    pub fn atomic_jobs(&self, transaction: u32) -> Option<impl Iterator<Item = JobId> + '_> {
        let atomic = self
            .atomics
            .iter()
            .find(|one| one.transaction == transaction)?;
        let units = atomic
            .anchors
            .iter()
            .map(|(unit, _)| unit)
            .chain(&atomic.started);
        Some(units.filter_map(|unit| self.arena.job(*unit).map(|job| job.id)))
    }
}
