//! What is looked at when an effect comes out.

use super::{OFTEN, Seen, SeenJob, Sight, Step, Watch, is_alone};
use engine::api::{Backing, Cause, Effect, JobRecord, Record, UnitId};
use std::collections::BTreeSet;
use units::name::UnitName;
use units::spec::DepKind;
use units::state::{ActiveState, Invocation, JobMode, JobResult, JobVerb};
use units::wire::helper::Verb;

/// Whether a job brings its unit up, or finds it so.
fn comes_up(verb: JobVerb) -> bool {
    !matches!(verb, JobVerb::Stop | JobVerb::Reload)
}

impl Step {
    /// A transaction is to bring this job's unit up.
    fn comes_up(&mut self, record: &JobRecord) {
        let (unit, transaction) = (record.unit.clone(), record.transaction);
        self.started.insert(unit, transaction);
    }
}

impl Watch {
    /// An effect is about to be carried out.
    pub fn effect(&mut self, sight: &Sight<'_>, effect: &Effect) {
        self.count += 1;
        self.changes += 1;
        self.note_portion(effect);
        if !matches!(
            effect,
            Effect::Log { .. } | Effect::Queued { .. } | Effect::Rejected { .. }
        ) {
            self.step.changes += 1;
        }
        match effect {
            Effect::Record(Record::Atomic(record)) => self.atomic_recorded(record),
            Effect::Record(Record::Unit(record)) => self.end_recorded(sight, record),
            Effect::Closed {
                transaction,
                failed,
                stopped,
            } => self.closed(sight, *transaction, failed.is_some(), stopped),
            Effect::ForgetAtomic { transaction } => drop(self.atomics.remove(transaction)),
            Effect::Act {
                unit,
                action,
                cause,
            } => self.acts(sight, *unit, *action, *cause),
            Effect::Record(Record::Job(record)) => self.job_recorded(sight, record),
            Effect::Command {
                unit,
                invocation,
                seq,
                verb,
            } => self.commanded(sight, *unit, *invocation, *seq, *verb),
            Effect::Changed { unit, from, to } => self.changed(sight, *unit, *from, *to),
            Effect::JobEnded {
                job,
                unit,
                verb,
                result,
                ..
            } => self.job_ended(sight, job.0, *unit, *verb, *result),
            Effect::Queued { job, .. } => {
                self.step.accepted = true;
                // From now on: what follows in this very step may end an atomic start.
                if let Some(asked) = self.step.asked.clone() {
                    let transaction = self.step.transaction.unwrap_or_default();
                    self.others_may_need(&asked, transaction);
                }
                if let Some(job) = job {
                    self.queued(sight, job.0);
                }
            }
            Effect::Rejected { .. } => self.step.rejected = true,
            Effect::Log { unit, text, .. } => self.told(sight, *unit, text),
            _ => {}
        }
    }

    /// Effects come in portions: records first, then the rest.
    fn note_portion(&mut self, effect: &Effect) {
        match effect {
            Effect::Record(_) | Effect::ForgetUnit { .. } => {
                self.portion += u64::from(std::mem::take(&mut self.past_records));
            }
            Effect::ForgetJob { .. } => {}
            _ => self.past_records = true,
        }
    }

    fn job_recorded(&mut self, sight: &Sight<'_>, record: &JobRecord) {
        let (portion, id) = (self.portion, record.id.0);
        let mut new = self.new_job(record);
        let known = self.jobs.get(&id);
        if self.step.asked.is_some()
            && known.is_none_or(|job| job.transaction != record.transaction)
        {
            self.step.transaction.get_or_insert(record.transaction);
        }
        match self.jobs.get_mut(&id) {
            Some(job) => {
                if job.transaction != record.transaction {
                    self.step.joined.insert(record.unit.clone());
                }
                if job.verb != record.verb {
                    (job.verb, job.portion) = (record.verb, portion);
                    job.running = None;
                }
                if job.transaction != record.transaction && comes_up(record.verb) {
                    self.step.comes_up(record);
                }
                job.transaction = record.transaction;
                job.restarted |= record.verb == JobVerb::Restart;
                job.ignore_order = record.ignore_order;
                if !record.running {
                    job.running = None;
                } else if job.running.is_none() {
                    let spec = sight.loaded.get(&record.unit);
                    job.running_timeout = spec.and_then(|spec| spec.job_running_timeout);
                    job.running = Some(sight.now);
                }
            }
            None => {
                if let Some(spec) = sight.loaded.get(&new.unit) {
                    new.timeout = spec.job_timeout;
                    new.running_timeout = spec.job_running_timeout;
                }
                new.running = record.running.then_some(sight.now);
                if self.shutting_down && !record.irreversible && record.verb != JobVerb::Stop {
                    let text = format!("shutdown: {} of {} queued", record.verb.as_str(), new.unit);
                    self.fail(text);
                }
                self.step.queued.push(id);
                let times = self
                    .step
                    .caused
                    .entry((new.unit.clone(), record.cause.clone()));
                let times = times.or_default();
                *times += 1;
                if *times == OFTEN {
                    self.fail(format!("often: {} has {OFTEN} jobs in one step", new.unit));
                }
                if comes_up(record.verb) {
                    self.step.comes_up(record);
                }
                self.jobs.insert(id, new);
            }
        }
        if comes_up(record.verb) {
            self.started_by_others(&record.unit, record.transaction);
        }
        self.atomic_job(&record.unit, record.verb, record.transaction);
        // Whoever upholds it may be down when the step is over, or come up only now.
        self.step.gentle |= comes_up(record.verb) && self.is_upheld(&record.unit);
    }

    /// A client will be told that its job is queued: it must outlive the manager.
    fn queued(&mut self, sight: &Sight<'_>, job: u32) {
        let ended = !self.jobs.contains_key(&job);
        let stands = sight
            .job_record(job)
            .is_some_and(|record| record.transaction <= sight.engine_record().committed);
        if !ended && !stands {
            self.fail(format!("record: job {job} was confirmed and is not stored"));
        }
    }

    fn told(&mut self, sight: &Sight<'_>, unit: Option<UnitId>, text: &str) {
        let Some(unit) = unit.and_then(|unit| sight.engine.unit(unit)) else {
            return;
        };
        if text.contains("started too often (") {
            let name = unit.name.clone();
            self.ends(&name, Cause::StartLimit);
        }
        if text.contains("is deleted to break it") {
            self.step.off_cycles.insert(unit.name.clone());
            self.excuse(unit.name);
        }
        if text.contains("left alone") {
            self.seen(unit.name).left_alone = Some(sight.now);
        }
        if text.starts_with("cannot stop") {
            self.seen(unit.name).stop_refused = true;
        }
        if text.starts_with("cannot start") {
            self.seen(unit.name).start_refused = true;
        }
        self.step.told.insert(unit.name.clone());
    }

    fn job_ended(
        &mut self,
        sight: &Sight<'_>,
        job: u32,
        unit: UnitId,
        verb: JobVerb,
        result: JobResult,
    ) {
        self.jobs.remove(&job);
        let Some(unit) = sight.engine.unit(unit).map(|unit| unit.name.clone()) else {
            return;
        };
        let active = self.active(&unit);
        if active.is_down() {
            self.is_gone(&unit);
        }
        if matches!(result, JobResult::Timeout | JobResult::Dependency) {
            self.step.gentle |= self.fails_gently(sight, &unit);
        }
        if result == JobResult::Timeout {
            self.ends(&unit, Cause::JobTimeout);
        }
        let wrong = result == JobResult::Done
            && match verb {
                JobVerb::Start => active == ActiveState::Activating,
                JobVerb::VerifyActive => !active.is_up(),
                JobVerb::Stop => !active.is_down(),
                JobVerb::Reload => active == ActiveState::Reloading,
                _ => false,
            };
        if wrong {
            let text = format!("end: {} of {unit} done, it is {active:?}", verb.as_str());
            self.fail(text);
        }
        if result != JobResult::Done && matches!(verb, JobVerb::Stop | JobVerb::Restart) {
            self.excuse(&unit);
            self.seen(&unit).excused |= !active.is_down();
        }
        let portion = self.portion;
        // A job that makes room for another one takes nothing along.
        let room =
            result == JobResult::Canceled && (!self.step.cancels || self.job_of(&unit).is_some());
        if !room {
            self.seen(&unit).ended = Some((portion, verb, result));
        }
        if room && verb != JobVerb::Stop {
            self.go_on_unverified(sight, &unit);
            self.go_on_without(&unit);
        }
        self.step.ended.insert(unit);
    }

    /// A unit's job, which may have verified as well that it is up, was flushed. Jobs that the flush left alone
    /// (`IgnoreOnIsolate=`, or a start that a reload joined) go on without that, as in systemd, whose flush takes
    /// nothing along.
    fn go_on_unverified(&mut self, sight: &Sight<'_>, unit: &UnitName) {
        let Some((verb, _, JobMode::Flush | JobMode::Isolate)) = self.step.asked else {
            return;
        };
        let starts = matches!(verb, JobVerb::Start | JobVerb::Restart);
        let joined = self.step.transaction;
        let waiting: BTreeSet<_> = self.graph.to(unit, DepKind::Requisite).cloned().collect();
        let waits = |job: &&mut SeenJob| waiting.contains(&job.unit);
        for job in self.jobs.values_mut().filter(waits) {
            let spec = sight.loaded.get(&job.unit);
            let left_alone = spec.is_some_and(|spec| spec.ignore_on_isolate);
            // A start joins the start of another unit where it only verifies that one.
            let verified = self.graph.to(&job.unit, DepKind::Requisite).next();
            let joined = joined == Some(job.transaction) && (!starts || verified.is_some());
            if left_alone || joined {
                job.unverified.insert(unit.clone());
            }
        }
    }

    /// A unit's job gives way to a stop that takes nothing along: an atomic start is rolled back, or that is what was
    /// asked for.
    fn go_on_without(&mut self, unit: &UnitName) {
        let asked = self.step.asked.as_ref();
        let alone = asked.is_some_and(|(_, it, mode)| it == unit && is_alone(*mode));
        if alone || self.job_of(unit).is_some_and(|job| job.rolls_back) {
            let waiting: BTreeSet<_> = self.graph.to(unit, DepKind::Requisite).cloned().collect();
            let waits = |job: &&mut SeenJob| waiting.contains(&job.unit);
            for job in self.jobs.values_mut().filter(waits) {
                job.unverified.insert(unit.clone());
            }
        }
    }

    /// A unit is down. If nothing is to bring it up again, who conflicts with it is to mind that anew.
    fn is_gone(&mut self, unit: &UnitName) {
        if self.job_of(unit).is_none_or(|job| !comes_up(job.verb)) {
            self.tolerated
                .retain(|(one, other)| one != unit && other != unit);
        }
    }

    /// Whether what a unit's failure starts rather leaves a conflict than stops what runs.
    fn fails_gently(&self, sight: &Sight<'_>, unit: &UnitName) -> bool {
        let spec = sight.loaded.get(unit);
        spec.is_some_and(|spec| spec.on_failure_mode == JobMode::Fail)
    }

    fn changed(&mut self, sight: &Sight<'_>, unit: UnitId, from: ActiveState, to: ActiveState) {
        let Some(view) = sight.engine.unit(unit) else {
            return;
        };
        let unit = view.name.clone();
        if view.backing == Backing::Engine {
            match (from.is_down(), to) {
                (true, ActiveState::Active) => self.starts(&unit),
                (false, ActiveState::Inactive) => self.ordered(&unit, JobVerb::Stop),
                _ => {}
            }
        }
        let gentle = self.fails_gently(sight, &unit);
        let comes_back = self
            .job_of(&unit)
            .is_some_and(|job| job.verb != JobVerb::Stop);
        // (What follows from it may be recorded already.)
        let by_itself = self
            .job_of(&unit)
            .is_none_or(|job| job.born == self.portion);
        let count = self.count;
        let seen = self.seen(&unit);
        let was = std::mem::replace(&mut seen.active, to);
        if was.is_up() || to.is_up() {
            seen.was_up = count;
        }
        seen.stop_refused &= to.is_up();
        seen.start_refused &= to.is_down();
        if to.is_down() {
            seen.excused &= comes_back;
        } else if from.is_down() && by_itself {
            seen.excused = true;
        }
        if to == ActiveState::Failed {
            self.step.failed.push(unit.clone());
        }
        self.step.gentle |= from.is_down() && by_itself
            || to == ActiveState::Inactive && self.graph.of(&unit, DepKind::OnSuccess).count() > 0
            || to == ActiveState::Failed && gentle;
        if to.is_down() {
            self.is_gone(&unit);
        }
        self.ends_by(&unit, from, to);
        if was != from {
            let text = format!("change: {unit} from {from:?} to {to:?}, and it was {was:?}");
            self.fail(text);
        }
    }

    fn commanded(
        &mut self,
        sight: &Sight<'_>,
        unit: UnitId,
        invocation: Invocation,
        seq: u64,
        verb: Verb,
    ) {
        let Some(unit) = sight.engine.unit(unit).map(|unit| unit.name.clone()) else {
            return self.fail(format!("command: to nobody: {unit:?}"));
        };
        let stored = sight.unit_record(&unit).is_some_and(|record| {
            (record.seq, record.pending, record.invocation) == (seq, Some(verb), invocation)
        });
        if !stored {
            self.fail(format!("record: {verb:?} of {unit} commanded, not stored"));
        }
        if seq <= self.last_seq || seq >> 32 != u64::from(sight.epoch) {
            // Sent again, or recorded by a manager that died before it could send it.
            if verb == Verb::Start && *self.starts.entry(invocation.0).or_insert(seq) != seq {
                self.fail(format!("twice: {unit} repeated under another sequence"));
            }
            return;
        }
        self.last_seq = seq;
        match verb {
            Verb::Start => {
                if self.starts.insert(invocation.0, seq).is_some() {
                    self.fail(format!("twice: one invocation of {unit} started twice"));
                }
                self.count_start(sight, &unit);
                self.starts(&unit);
            }
            Verb::Stop => self.ordered(&unit, JobVerb::Stop),
            Verb::Reload => self.ordered(&unit, JobVerb::Reload),
            _ => {}
        }
    }

    fn count_start(&mut self, sight: &Sight<'_>, unit: &UnitName) {
        let Some(spec) = sight.loaded.get(unit) else {
            return self.fail(format!("load: {unit} started, never loaded"));
        };
        let limit = &spec.start_limit;
        let (interval, burst) = (limit.interval, limit.burst);
        let seen = self.seen(unit);
        let (begun, count) = seen.limit;
        let anew = count == 0 || sight.now.saturating_sub(begun) >= interval;
        seen.limit = if anew {
            (sight.now, 1)
        } else {
            (begun, count + 1)
        };
        if interval != 0 && burst != 0 && seen.limit.1 > burst {
            let text = format!("limit: start {} of {unit}", seen.limit.1);
            self.fail(text);
        }
    }

    /// A unit is being started: may it be, now?
    fn starts(&mut self, unit: &UnitName) {
        self.ordered(unit, JobVerb::Start);
        let mut found = Vec::new();
        let job = self.job_that(unit, JobVerb::Start);
        for other in self.graph.of(unit, DepKind::BindsTo) {
            if self.graph.has(unit, DepKind::After, other) && !self.active(other).is_up() {
                found.push(format!("bound: {unit} started while {other} is not up"));
            }
        }
        if let (Some(job), false) = (job, self.excused(unit)) {
            self.check_needs(unit, job, &mut found);
        }
        self.broken.append(&mut found);
    }

    fn check_needs(&self, unit: &UnitName, job: &SeenJob, found: &mut Vec<String>) {
        let none = Seen::default();
        let after = |other: &&UnitName| self.graph.has(unit, DepKind::After, other);
        let seen = |other: &UnitName| self.units.get(other).unwrap_or(&none);
        // The start that follows a restart's stop goes on without what failed meanwhile, as systemd's.
        for other in self.graph.of(unit, DepKind::Requisite).filter(after) {
            let it = seen(other);
            let unordered = self.job_of(other).is_some_and(|job| job.ignore_order);
            let excused = unordered || job.restarted || job.unverified.contains(other);
            if !it.active.is_up() && it.was_up < job.queued && !excused {
                found.push(format!("requisite: {unit} started, {other} was not up"));
            }
        }
        for kind in [DepKind::Requires, DepKind::BindsTo] {
            for other in self.graph.of(unit, kind).filter(after) {
                let it = seen(other);
                let failed = it.ended.is_some_and(|(when, verb, result)| {
                    verb == JobVerb::Start && !result.is_success() && when > job.born
                });
                if failed && !it.active.is_up() && !job.restarted {
                    found.push(format!("requires: {unit} started, {other} did not start"));
                }
            }
        }
        for other in self.graph.of(unit, DepKind::Conflicts) {
            let stops = self
                .job_of(other)
                .is_some_and(|job| matches!(job.verb, JobVerb::Stop | JobVerb::Restart));
            let up = !seen(other).active.is_down();
            let gone = seen(other).active == ActiveState::Deactivating;
            let excused = seen(other).excused || self.is_tolerated(unit, other);
            if up && !gone && !stops && !excused {
                found.push(format!("conflict: {unit} started while {other} is up"));
            }
        }
    }

    /// No job that goes before this one may be left, save those queued with this very effect.
    fn ordered(&mut self, unit: &UnitName, verb: JobVerb) {
        let goes_down = |verb| matches!(verb, JobVerb::Stop | JobVerb::Restart);
        let Some(ours) = self.job_that(unit, verb) else {
            if verb != JobVerb::Stop {
                self.fail(format!("reason: {} of {unit} without a job", verb.as_str()));
            }
            return;
        };
        if ours.ignore_order {
            return;
        }
        let counts = |job: &&SeenJob| !job.ignore_order && job.portion != self.portion;
        let mut found = Vec::new();
        for other in self.graph.of(unit, DepKind::After) {
            let first = self.job_of(other).filter(counts);
            if let (Some(job), false) = (first, goes_down(verb)) {
                found.push((other.clone(), job.verb));
            }
        }
        for other in self.graph.to(unit, DepKind::After) {
            let first = self.job_of(other).filter(counts);
            if let Some(job) = first.filter(|job| goes_down(job.verb)) {
                found.push((other.clone(), job.verb));
            }
        }
        for (other, theirs) in found {
            let (verb, theirs) = (verb.as_str(), theirs.as_str());
            let text = format!("order: {verb} of {unit} before the {theirs} of {other}");
            self.fail(text);
        }
    }
}
