//! Atomic means atomic.
//!
//! An atomic start stops nothing. If it fails, what it started is stopped again, and nothing that was up, or on its
//! way up, before. (That this goes in reverse order is what every stop promises.) What others have started meanwhile,
//! or may need for what they asked for, is not its own any more.

use super::{Sight, Watch, is_alone};
use engine::api::{AtomicRecord, UnitId};
use std::collections::BTreeSet;
use units::name::UnitName;
use units::spec::DepKind;
use units::state::{ActiveState, JobMode, JobResult, JobVerb};

/// What an atomic start that fails may stop, by what is up, or on its way, when it is asked for.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Not these.
    untouchable: BTreeSet<UnitName>,
    /// It need not stop these: another one has started them, and others may need them.
    unsure: BTreeSet<UnitName>,
}

/// An atomic start.
#[derive(Debug, Default)]
pub(super) struct Start {
    limits: Limits,
    /// It must stop these if it fails.
    own: BTreeSet<UnitName>,
    /// It may stop these: others may need them, and may not.
    may_stop: BTreeSet<UnitName>,
    anchors: Vec<UnitName>,
    /// It is rolled back.
    failed: bool,
}

/// What a client that asks for a unit may need.
const MAY_NEED: [DepKind; 5] = [
    DepKind::Requires,
    DepKind::Requisite,
    DepKind::BindsTo,
    DepKind::Wants,
    DepKind::Upholds,
];

/// What it needs for certain.
const CANNOT_DO_WITHOUT: [DepKind; 2] = [DepKind::Requires, DepKind::BindsTo];

/// What a restart may restart as well.
const MAY_RESTART: [DepKind; 4] = [
    DepKind::Requires,
    DepKind::Requisite,
    DepKind::BindsTo,
    DepKind::PartOf,
];

impl Watch {
    /// An atomic start is asked for. What another one has started it shares.
    pub(super) fn asked_atomically(&mut self, sight: &Sight<'_>) {
        let busy = sight.engine.units().filter(|unit| {
            let down = unit.active.is_down() || unit.active == ActiveState::Deactivating;
            let comes = unit.job.is_some_and(|job| job.verb != JobVerb::Stop);
            !down || comes || unit.restart_at.is_some()
        });
        let busy: BTreeSet<UnitName> = busy.map(|unit| unit.name.clone()).collect();
        let (mut shared, mut untouchable) = (self.shared(), busy.clone());
        untouchable.retain(|unit| !self.atomics.values().any(|one| one.may_stop.contains(unit)));
        shared.retain(|unit| busy.contains(unit));
        let unsure = busy.difference(&shared).cloned().collect();
        self.step.limits = Some(Limits {
            untouchable,
            unsure,
        });
    }

    /// What atomic starts must stop if they fail.
    fn shared(&self) -> BTreeSet<UnitName> {
        self.atomics
            .values()
            .flat_map(|one| &one.own)
            .cloned()
            .collect()
    }

    /// The record of an atomic start, which comes before that of its commit.
    pub(super) fn atomic_recorded(&mut self, record: &AtomicRecord) {
        // Another one that loses a unit to it is written again.
        if let Some(start) = self.atomics.get_mut(&record.transaction) {
            start.failed |= record.failed.is_some();
            return;
        }
        let Some(limits) = self.step.limits.take() else {
            return;
        };
        let anchors: Vec<UnitName> = record
            .anchors
            .iter()
            .map(|(unit, _)| unit.clone())
            .collect();
        let start = Start {
            limits,
            own: BTreeSet::new(),
            may_stop: self.may_share(&anchors),
            failed: false,
            anchors,
        };
        self.atomics.insert(record.transaction, start);
        self.step.opened = Some(record.transaction);
        let of = |job: &&super::SeenJob| job.transaction == record.transaction;
        let jobs = self.jobs.values().filter(of);
        let jobs: Vec<_> = jobs.map(|job| (job.unit.clone(), job.verb)).collect();
        for (unit, verb) in jobs {
            self.atomic_job(&unit, verb, record.transaction);
        }
    }

    /// What others have started and these may need.
    fn may_share(&self, anchors: &[UnitName]) -> BTreeSet<UnitName> {
        let needed = self.closure(anchors.iter(), |graph, unit| {
            MAY_NEED
                .into_iter()
                .flat_map(|kind| graph.of(unit, kind))
                .collect()
        });
        let theirs = |unit: &&UnitName| {
            self.atomics
                .values()
                .any(|one| one.may_stop.contains(*unit))
        };
        needed.into_iter().filter(theirs).cloned().collect()
    }

    /// A job is recorded in the step in which an atomic start is asked for.
    pub(super) fn atomic_job(&mut self, unit: &UnitName, verb: JobVerb, transaction: u32) {
        if self.step.opened != Some(transaction) {
            return;
        }
        if verb != JobVerb::Start {
            // Some of these it only joins: they were queued before.
            let new = self
                .job_that(unit, JobVerb::Stop)
                .is_some_and(|job| job.portion == self.portion);
            if verb == JobVerb::Stop && new && !self.step.joined.contains(unit) {
                self.fail(format!("atomic: a start would stop {unit}"));
            }
            return;
        }
        if let Some(start) = self.atomics.get_mut(&transaction)
            && !start.limits.untouchable.contains(unit)
        {
            if !start.limits.unsure.contains(unit) {
                start.own.insert(unit.clone());
            }
            start.may_stop.insert(unit.clone());
        }
    }

    /// A client wants this, by another transaction.
    pub(super) fn others_may_need(
        &mut self,
        asked: &(JobVerb, UnitName, JobMode),
        transaction: u32,
    ) {
        if self.atomics.is_empty() {
            return;
        }
        let (verb, anchor, mode) = asked;
        let anchors = [anchor.clone()];
        let kinds: &[DepKind] = if is_alone(*mode) {
            &[]
        } else {
            &CANNOT_DO_WITHOUT
        };
        let wanted = self.closure(anchors.iter(), |graph, unit| {
            kinds
                .iter()
                .flat_map(|kind| graph.of(unit, *kind))
                .collect()
        });
        let starts = matches!(verb, JobVerb::Start | JobVerb::Restart);
        let wanted: BTreeSet<UnitName> = wanted.into_iter().filter(|_| starts).cloned().collect();
        let needed = self.closure(anchors.iter(), |graph, unit| {
            let needs = MAY_NEED.into_iter().flat_map(|kind| graph.of(unit, kind));
            let along = MAY_RESTART
                .into_iter()
                .flat_map(|kind| graph.to(unit, kind));
            needs.chain(along).collect()
        });
        let needed: BTreeSet<UnitName> = needed.into_iter().cloned().collect();
        for (_, start) in self
            .atomics
            .iter_mut()
            .filter(|(id, _)| **id != transaction)
        {
            start.own.retain(|unit| !needed.contains(unit));
            start.may_stop.retain(|unit| !wanted.contains(unit));
        }
    }

    /// A transaction that is no atomic start brings a unit up: that is not theirs any more.
    pub(super) fn started_by_others(&mut self, unit: &UnitName, transaction: u32) {
        if self.step.opened == Some(transaction) {
            return;
        }
        for (id, start) in &mut self.atomics {
            if *id != transaction {
                start.own.remove(unit);
            }
        }
    }

    /// An atomic start has ended.
    pub(super) fn closed(&mut self, sight: &Sight<'_>, id: u32, failed: bool, stopped: &[UnitId]) {
        let Some(start) = self.atomics.remove(&id) else {
            return;
        };
        if !failed {
            // What it shares with others is to stay.
            for other in self.atomics.values_mut() {
                other.own.retain(|unit| !start.may_stop.contains(unit));
                other.may_stop.retain(|unit| !start.own.contains(unit));
                if !other.failed {
                    other.limits.untouchable.extend(start.own.iter().cloned());
                }
            }
        }
        let mut found = Vec::new();
        if !failed {
            let lost = |unit: &&UnitName| self.active(unit) == ActiveState::Failed;
            let lost = start.anchors.iter().find(lost);
            found.extend(lost.map(|unit| format!("atomic: all are up, and {unit} failed")));
        }
        let stopped = stopped.iter().filter_map(|unit| sight.engine.unit(*unit));
        for unit in stopped.filter(|unit| start.limits.untouchable.contains(unit.name)) {
            found.push(format!(
                "atomic: {} was up before, and is stopped",
                unit.name
            ));
        }
        let shared = |unit: &UnitName| self.atomics.values().any(|it| it.may_stop.contains(unit));
        for unit in start.own.iter().filter(|it| failed && !shared(it)) {
            let refused = self.units.get(unit).is_some_and(|seen| {
                let stop = |(_, verb, result): (u64, JobVerb, JobResult)| {
                    verb == JobVerb::Stop && !result.is_success()
                };
                seen.stop_refused || seen.excused || seen.ended.is_some_and(stop)
            });
            if self.active(unit).is_up() && !refused {
                found.push(format!("atomic: {unit} is still up after the start failed"));
            }
        }
        self.broken.append(&mut found);
    }
}
