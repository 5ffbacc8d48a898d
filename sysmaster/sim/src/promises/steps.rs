//! What is looked at after each step of the engine.

use super::graph::Graph;
use super::{Sight, Watch, appointments, is_alone};
use crate::world::Key;
use engine::api::{Observed, UnitId};
use engine::{JobView, Phase};
use std::collections::BTreeSet;
use units::name::UnitName;
use units::spec::{DepKind, LoadState};
use units::state::{ActiveState, JobMode, JobVerb, Micros};
use units::wire::helper::Verb;

/// Who goes down or is restarted with a unit, by what it says.
const GO_ALONG: [DepKind; 4] = [
    DepKind::Requires,
    DepKind::BindsTo,
    DepKind::Requisite,
    DepKind::PartOf,
];

/// What a start pulls in.
const PULLED_IN: [DepKind; 4] = [
    DepKind::Requires,
    DepKind::BindsTo,
    DepKind::Wants,
    DepKind::Upholds,
];

impl Watch {
    /// A step is over, and all its effects are carried out.
    pub fn after(&mut self, sight: &Sight<'_>) {
        self.note_tolerated();
        let mut found = Vec::new();
        self.check_answer(sight, &mut found);
        check_names(sight, &mut found);
        self.check_pulled_in(sight, &mut found);
        self.check_mode(&mut found);
        self.check_actions(sight, &mut found);
        self.check_failures(sight, &mut found);
        self.check_wish(sight, &mut found);
        self.check_sleep(sight, &mut found);
        self.check_jobs(sight, &mut found);
        self.check_store(sight, &mut found);
        self.broken.append(&mut found);
    }

    /// Whether a unit is kept up by another one: what the engine does for that, it wants in mode fail.
    pub(super) fn is_upheld(&self, unit: &UnitName) -> bool {
        let mut by = self.graph.to(unit, DepKind::Upholds);
        by.any(|other| !self.active(other).is_down())
    }

    /// A conflict may stay only where its stop does not matter to what is started, because it is the other unit
    /// that says so (`ConflictedBy`), and systemd drops it: see `transaction_minimize_impact` and
    /// `delete_one_unmergeable_job` there. It is told for each such pair when the step is over.
    pub(super) fn note_tolerated(&mut self) {
        let mut pairs = Vec::new();
        for other in self.step.started.keys() {
            for unit in self.graph.to(other, DepKind::Conflicts) {
                if self.is_left_to_conflict(unit, other) {
                    pairs.push((unit.clone(), other.clone()));
                }
            }
        }
        self.tolerated.extend(pairs);
    }

    /// Whether a unit may be up beside another one that it conflicts with.
    pub(super) fn is_tolerated(&self, unit: &UnitName, other: &UnitName) -> bool {
        let pair = (unit.clone(), other.clone());
        self.tolerated.contains(&pair) || self.is_left_to_conflict(unit, other)
    }

    /// Whether the transaction that starts the other one, in this step, leaves this one alone.
    fn is_left_to_conflict(&self, unit: &UnitName, other: &UnitName) -> bool {
        let Some(transaction) = self.step.started.get(other) else {
            return false;
        };
        // Mode fail neither stops what runs nor undoes what is queued.
        let gentle = match self.step.transaction == Some(*transaction) {
            true => self.step.asked_gently,
            // Who upholds it may have come up, or gone, in this very step.
            false => self.step.gentle || self.step.started.keys().any(|it| self.is_upheld(it)),
        };
        let stands = match self.job_of(unit) {
            Some(job) => job.verb != JobVerb::Stop,
            None => !self.active(unit).is_down(),
        };
        gentle && stands || self.cannot_be_stopped(unit)
    }

    /// Whether the stop of a unit that conflicts with what is started would go on to something that is wanted up as
    /// well, or whose stop was left out to break an ordering cycle, which is told. Then it is left out: it is for the
    /// sake of who is not asked for.
    fn cannot_be_stopped(&self, unit: &UnitName) -> bool {
        let stopped = self.closure([unit].into_iter(), |graph, unit| {
            let along = GO_ALONG.into_iter().flat_map(|kind| graph.to(unit, kind));
            along
                .chain(graph.of(unit, DepKind::PropagatesStopTo))
                .collect()
        });
        let asked = self.step.asked.as_ref().map(|(_, unit, _)| unit);
        let started = self.closure(self.step.started.keys().chain(asked), |graph, unit| {
            let kinds = PULLED_IN.into_iter();
            kinds.flat_map(|kind| graph.of(unit, kind)).collect()
        });
        let off_cycles = |unit: &&UnitName| self.step.off_cycles.contains(*unit);
        !stopped.is_disjoint(&started) || stopped.iter().any(off_cycles)
    }

    /// All units that are reached from these.
    pub(super) fn closure<'a>(
        &'a self,
        from: impl Iterator<Item = &'a UnitName>,
        next: impl Fn(&'a Graph, &'a UnitName) -> Vec<&'a UnitName>,
    ) -> BTreeSet<&'a UnitName> {
        let mut open: Vec<&UnitName> = from.collect();
        let mut all = BTreeSet::new();
        while let Some(unit) = open.pop() {
            if all.insert(unit) {
                open.extend(next(&self.graph, unit));
            }
        }
        all
    }

    fn check_answer(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let step = &self.step;
        if step.rejected && step.changes != 0 {
            found.push("refused: and yet something changed".into());
        }
        let Some((verb, unit, _)) = &step.asked else {
            return;
        };
        if step.rejected == step.accepted {
            found.push(format!("answer: not one for {} of {unit}", verb.as_str()));
        }
        let restarts = sight.unit(unit).map_or(0, |unit| unit.restarts);
        if step.accepted && *verb != JobVerb::Stop && restarts != 0 {
            found.push(format!("restarts: {unit} asked for, {restarts} counted"));
        }
    }

    /// Whether the unit is dealt with: it has a job that is not one of these, or had one.
    fn dealt_with(&self, unit: &UnitName) -> bool {
        self.job_of(unit).is_some() || self.step.ended.contains(unit)
    }

    fn check_pulled_in(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let asked = self.step.asked.as_ref();
        if asked.is_some_and(|(_, _, mode)| is_alone(*mode)) {
            return;
        }
        for id in &self.step.queued {
            let Some(job) = self.jobs.get(id) else {
                continue;
            };
            let unit = &job.unit;
            if self.excused(unit) && job.verb == JobVerb::Start {
                continue;
            }
            match job.verb {
                JobVerb::Start => self.check_start(sight, unit, found),
                JobVerb::Stop if job.rolls_back => {}
                JobVerb::Stop | JobVerb::Restart => self.check_stop(sight, unit, job.verb, found),
                JobVerb::Reload => {
                    for other in self.graph.of(unit, DepKind::PropagatesReloadTo) {
                        let reloads = sight
                            .unit(other)
                            .filter(|it| it.load == Some(&LoadState::Loaded))
                            .is_some_and(|it| it.active.is_up() && it.can_reload);
                        if reloads
                            && !self.dealt_with(other)
                            && !self.step.off_cycles.contains(other)
                        {
                            found.push(format!("reload: of {unit}, not of {other}"));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// What the mode of the request adds to what is pulled in.
    fn check_mode(&self, found: &mut Vec<String>) {
        let Some((_, unit, mode)) = self.step.asked.as_ref().filter(|_| self.step.accepted) else {
            return;
        };
        let kinds: &[DepKind] = match mode {
            JobMode::Triggering => &[DepKind::Triggers],
            JobMode::RestartDependencies => &GO_ALONG,
            _ => return,
        };
        for other in kinds.iter().flat_map(|kind| self.graph.to(unit, *kind)) {
            let up = self.active(other).is_up();
            if up && other != unit && !self.dealt_with(other) {
                found.push(format!("mode: {mode:?} of {unit} leaves {other}"));
            }
        }
    }

    fn check_start(&self, sight: &Sight<'_>, unit: &UnitName, found: &mut Vec<String>) {
        for kind in [DepKind::Requires, DepKind::BindsTo] {
            for other in self.graph.of(unit, kind) {
                if !self.active(other).is_up() && !self.dealt_with(other) {
                    found.push(format!("pull: start of {unit} without that of {other}"));
                }
            }
        }
        for other in self.graph.of(unit, DepKind::Conflicts) {
            let idle = sight.unit(other).is_none_or(|it| {
                it.active.is_down()
                    && it.restart_at.is_none()
                    && matches!(it.pending, None | Some(Verb::ResetFailed))
            });
            if !idle && !self.dealt_with(other) {
                found.push(format!("pull: start of {unit} without the stop of {other}"));
            }
        }
    }

    fn check_stop(
        &self,
        sight: &Sight<'_>,
        unit: &UnitName,
        verb: JobVerb,
        found: &mut Vec<String>,
    ) {
        let along = GO_ALONG
            .into_iter()
            .flat_map(|kind| self.graph.to(unit, kind));
        let propagated = self.graph.of(unit, DepKind::PropagatesStopTo);
        let propagated = propagated.filter(|_| verb == JobVerb::Stop);
        for other in along.chain(propagated) {
            let stays = sight.unit(other).is_some_and(|it| {
                matches!(
                    it.active,
                    ActiveState::Active | ActiveState::Reloading | ActiveState::Activating
                )
            });
            if stays && !self.dealt_with(other) {
                let verb = verb.as_str();
                found.push(format!("pull: {verb} of {unit} without that of {other}"));
            }
        }
    }

    fn check_failures(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        for unit in &self.step.failed {
            if self.shutting_down {
                break;
            }
            for other in self.graph.of(unit, DepKind::OnFailure) {
                let told = self.step.told.contains(other) || self.is_left_alone(sight, other);
                let up = self.active(other).is_up();
                let known = sight.loaded.contains_key(other);
                if known && !up && !told && !self.dealt_with(other) {
                    let text = format!("failure: {unit} failed, {other} was not started");
                    found.push(text);
                }
            }
        }
    }

    /// Whether a unit was started or stopped too often by others' ends within the last ten seconds.
    pub(super) fn is_left_alone(&self, sight: &Sight<'_>, unit: &UnitName) -> bool {
        let seen = self.units.get(unit);
        seen.is_some_and(|seen| seen.is_left_alone(sight.now))
    }

    /// A unit's end is reported: does it wish for another invocation, and is there no reason yet to
    /// refuse it?
    pub(super) fn note_wish(&mut self, sight: &Sight<'_>, unit: UnitId, observed: &Observed) {
        let (Some(wish), Some(unit)) = (observed.restart, sight.engine.unit(unit)) else {
            return;
        };
        let current = unit.pending.is_none() || observed.seq >= unit.seq;
        let stops = unit.pending == Some(Verb::Stop) || unit.active == ActiveState::Deactivating;
        let news = !unit.active.is_down();
        if current && news && !stops && unit.job.is_none() && observed.active.is_down() {
            self.step.wish = Some((unit.name.clone(), wish.delay));
        }
    }

    fn check_wish(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let Some((unit, delay)) = &self.step.wish else {
            return;
        };
        let Some(it) = sight.unit(unit).filter(|it| it.active.is_down()) else {
            return;
        };
        let refused = self.shutting_down || it.limit_hit || self.dealt_with(unit);
        if !refused && it.restart_at != Some(sight.now.saturating_add(*delay)) {
            let text = format!("wish: {unit} is to be restarted at {:?}", it.restart_at);
            found.push(text);
        }
    }

    /// What a suspended machine had before it, it has before it for as long.
    fn check_sleep(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let Some((span, before)) = &self.step.slept else {
            return;
        };
        let after = appointments(sight);
        for (what, at) in before {
            let wanted = at.saturating_add(*span);
            if after.get(what) != Some(&wanted) {
                let text = format!(
                    "sleep: {what} is due at {:?}, not {wanted}",
                    after.get(what)
                );
                found.push(text);
            }
        }
    }

    fn check_jobs(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let restarts = sight.engine.units().filter_map(|unit| unit.restart_at);
        let jobs = sight.engine.jobs().filter_map(|job| job.deadline);
        let next = restarts.chain(jobs).min();
        let have = sight.engine.next_deadline();
        // A unit is looked at again when its start limit, or what others may start of it, counts anew.
        let looks = |have: Micros| {
            let span = have.saturating_sub(self.latest);
            let limits = sight.loaded.values().map(|spec| spec.start_limit.interval);
            span <= limits.max().unwrap_or_default().max(10_000_000)
        };
        let first = have.filter(|have| next.is_none_or(|next| *have <= next));
        if next != have && !first.is_some_and(looks) {
            found.push(format!("deadline: next is {have:?}, not {next:?}"));
        }
        for job in sight.engine.jobs() {
            self.check_job(sight, &job, found);
        }
    }

    fn check_job(&self, sight: &Sight<'_>, job: &JobView, found: &mut Vec<String>) {
        let Some(unit) = sight.engine.unit(job.unit) else {
            return;
        };
        let name = unit.name;
        let what = format!("{} of {name}", job.verb.as_str());
        let waits = sight.engine.waiting_for(job.unit).count();
        if waits as u32 != job.blockers {
            found.push(format!("blockers: {what}: {}, not {waits}", job.blockers));
        }
        if job.phase == Phase::Waiting && waits == 0 {
            found.push(format!("stuck: {what} may run and does not"));
        }
        let moves = unit.pending.is_some()
            || matches!(
                unit.active,
                ActiveState::Activating | ActiveState::Deactivating | ActiveState::Reloading
            );
        if matches!(job.phase, Phase::Held | Phase::Running) && !moves {
            found.push(format!("stuck: {what} waits for nothing: {:?}", job.phase));
        }
        let Some(seen) = self.jobs.get(&job.id.0) else {
            return found.push(format!("record: {what} was never recorded"));
        };
        let slept = self.slept_since(job.since);
        let total = seen
            .timeout
            .map(|time| job.since.saturating_add(time).saturating_add(slept));
        let running = seen
            .running
            .zip(seen.running_timeout)
            .map(|(since, time)| since.saturating_add(time))
            .filter(|_| job.phase == Phase::Running);
        if let Some(at) = total.into_iter().chain(running).min()
            && job.deadline.is_none_or(|deadline| deadline > at)
        {
            let text = format!("timeout: {what} ends at {:?}, not {at}", job.deadline);
            found.push(text);
        }
    }

    fn check_store(&self, sight: &Sight<'_>, found: &mut Vec<String>) {
        let (mut units, mut jobs) = (0, Vec::new());
        for key in sight.store.keys() {
            match key {
                Key::Unit(_) => units += 1,
                Key::Job(id) => jobs.push(*id),
                Key::Engine | Key::Atomic(_) => {}
            }
        }
        let mut queued: Vec<u32> = sight.engine.jobs().map(|job| job.id.0).collect();
        queued.sort_unstable();
        if queued != jobs {
            found.push(format!("store: jobs {queued:?} queued, {jobs:?} stored"));
        }
        if units > sight.engine.units().count() {
            found.push(format!("store: {units} records of units"));
        }
    }
}

/// Each name of a unit that is loaded leads to it.
fn check_names(sight: &Sight<'_>, found: &mut Vec<String>) {
    for spec in sight.loaded.values() {
        for alias in &spec.names {
            let unit = sight.unit(alias).map(|unit| unit.name);
            if unit != Some(&spec.id) {
                found.push(format!("alias: {alias} of {} leads to {unit:?}", spec.id));
            }
        }
    }
}
