//! What a unit's change means for its job and for the units around it.
//!
//! A change comes from the engine itself (it gave a command) or from a helper's report. First the
//! unit's own job is looked at: is it there, or can it not get there any more? If the change is
//! none that the job was for, it was *unexpected*, and its neighbours follow as systemd has them
//! follow: what is bound to a unit that went is stopped, what a unit requires is started when it
//! came by itself. `OnFailure=` and `OnSuccess=` follow either way.
//!
//! **Restarts.** The type wishes, the engine decides: a unit that is down with a wish is due at
//! `restart_at`; then a start is queued that also restarts what depends on it. A stop by hand, the
//! start limit and a shutdown end the wish; the stop is sent to the helper even though the unit is
//! down, so that the helper, which repeats what it knows after each reconnection, forgets it too.
//!
//! **The start limit** counts starts of units that have a helper. The start that goes beyond it
//! fails, and with it the unit, until the limit is reset by hand.
//!
//! **Synchronisation.** A helper that came into contact reports all it knows and then says so.
//! What it has not reported is down. A pending command it has never seen is sent again, with its
//! sequence, whatever the unit is now: the helper answers. One it had accepted and now knows nothing of is not: it counts as interrupted.

use crate::api::{Backing, Cause, Effect, JobCause, Observed, UnitId};
use crate::graph::NONE;
use crate::job::Phase;
use crate::mutants::mutant;
use crate::rel::Rel;
use crate::transaction::Request;
use crate::{Engine, Timer};
use alloc::string::String;
use units::spec::{Action, UnitSpec};
use units::state::{ActiveState, JobMode, JobResult, JobVerb, Outcome};
use units::wire::helper::Verb;

/// In which way a unit is not where its job should have brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    /// It did not start: jobs that require it end.
    Start,
    /// It did not stop: starts that conflict with it end.
    Stop,
    /// It was started as asked and is not up: what needs it to be up already ends.
    NotUp,
}

/// How often a unit may be started because of others, and be stopped because of what it looks like beside them, within
/// [`OWN_JOBS_INTERVAL`]. systemd's bounds for what it starts and stops by itself.
const OWN_JOBS: u32 = 16;
/// Microseconds.
const OWN_JOBS_INTERVAL: u64 = 10_000_000;

/// The outcome of a command, where a report brought one.
type Hint = Option<(Verb, Outcome)>;

impl Engine {
    pub(crate) fn loaded(&mut self, spec: &UnitSpec, backing: Backing) {
        let (unit, busy) = self.arena.load(spec, backing);
        let it = self.arena.get(unit);
        // (Another limit may let what is upheld start sooner.)
        if it.active.is_up() || it.limit_hit {
            self.look.push_back(unit);
        }
        self.look.extend(self.arena.lost.drain(..));
        for name in busy {
            let text = [
                name.as_str(),
                " cannot become an alias of ",
                spec.id.as_str(),
            ];
            let text = [
                &text.concat(),
                " while a unit of that name is in use: stop it first",
            ];
            self.log(4, Some(unit), text.concat());
        }
    }

    /// A helper's report.
    pub(crate) fn report(&mut self, unit: u32, seen: &Observed) {
        let it = self.arena.at(unit);
        if it.backing == Backing::Engine {
            return;
        }
        it.heard = seen.seq;
        it.can_reload = Some(seen.can_reload);
        let pending = it.pending;
        if pending.is_some() && seen.seq < it.seq && !mutant!(24) {
            return;
        }
        let down = seen.active.is_down();
        let news = pending.is_some() || !it.active.is_down();
        let finished = seen.outcome != Outcome::Pending;
        if finished || pending == Some(Verb::Stop) && down {
            it.pending = None;
            it.outcome = seen.outcome;
        }
        it.seq = it.seq.max(seen.seq);
        if seen.invocation.0 != 0 {
            it.invocation = seen.invocation;
        }
        let to = if it.limit_hit && down {
            ActiveState::Failed
        } else {
            seen.active
        };
        self.touch_unit(unit);
        self.wish(unit, seen, news);
        let hint = pending
            .filter(|_| finished)
            .map(|verb| (verb, seen.outcome));
        self.set_state(unit, to, hint);
        // A command that a unit that is down was given keeps it from being at rest.
        if pending.is_some() && down {
            self.look.push_back(unit);
        }
    }

    /// Notes, or forgets, that another invocation is wished for. The wish counts when the end of
    /// the invocation is news: helpers repeat what they know after each reconnection, and by then
    /// the wish may have been granted or refused.
    fn wish(&mut self, unit: u32, seen: &Observed, news: bool) {
        let it = self.arena.get(unit);
        let Some(wish) = seen.restart.filter(|_| seen.active.is_down()) else {
            return self.forget_restart(unit);
        };
        let unwelcome = !news || self.record.shutting_down || it.limit_hit || it.pending.is_some();
        let has_job = self.arena.job(unit).is_some_and(|job| match job.verb {
            JobVerb::Start => job.phase != Phase::Running,
            JobVerb::Stop => job.phase == Phase::Running,
            verb => verb == JobVerb::Restart,
        });
        if it.restart_at.is_none() && !unwelcome && !has_job {
            self.restart_in(unit, wish.delay);
        }
    }

    fn restart_in(&mut self, unit: u32, delay: u64) {
        let delay = if mutant!(11) { 0 } else { delay };
        let at = self.now.saturating_add(delay);
        self.arena.at(unit).restart_at = Some(at);
        self.deadlines.insert((at, unit, Timer::Restart));
        self.touch_unit(unit);
    }

    pub(crate) fn forget_restart(&mut self, unit: u32) {
        if let Some(at) = self.arena.at(unit).restart_at.take() {
            self.deadlines.remove(&(at, unit, Timer::Restart));
            self.touch_unit(unit);
            // What it needed while it was to come back may be unneeded now.
            self.look.push_back(unit);
        }
    }

    pub(crate) fn restart_due(&mut self, unit: u32) {
        self.forget_restart(unit);
        let verb = self.arena.job(unit).map(|job| job.verb);
        let it = self.arena.at(unit);
        match verb {
            // The stop that waits is to reach the helper: see above. Until it runs, or is canceled.
            Some(JobVerb::Stop) => return self.restart_in(unit, 1_000_000),
            Some(JobVerb::Start | JobVerb::Restart) => return,
            _ if !it.active.is_down() => return,
            _ => it.restarts = it.restarts.saturating_add(1),
        }
        self.touch_unit(unit);
        self.wanted.push_back(Request {
            unit,
            verb: JobVerb::Start,
            mode: JobMode::RestartDependencies,
            manual: false,
            cause: JobCause::Restart,
        });
    }

    /// Counts a start. False, and the unit has failed, if it was one too many.
    pub(crate) fn within_limit(&mut self, unit: u32) -> bool {
        let now = self.now;
        let it = self.arena.at(unit);
        let limit = it.settings().start_limit;
        let (interval, burst) = (limit.interval, limit.burst);
        let (begun, count) = it.limit;
        let allowed = interval == 0 || burst == 0;
        if allowed || count == 0 || now.saturating_sub(begun) >= interval {
            it.limit = (now, 1);
        } else if count < burst + u32::from(mutant!(18)) {
            it.limit.1 += 1;
        } else {
            it.limit_hit = true;
            self.forget_restart(unit);
            self.touch_unit(unit);
            let name = self.arena.name(unit);
            let text = [
                name,
                " was started too often (StartLimitBurst=): not again until reset-failed",
            ];
            let text = text.concat();
            self.log(3, Some(unit), text.clone());
            self.act(unit, limit.action, Cause::StartLimit);
            self.end_job(unit, JobResult::Failed, text, true);
            self.set_state(unit, ActiveState::Failed, None);
            return false;
        }
        self.arena.at(unit).limit_hit = false;
        true
    }

    /// The unit is in this state now.
    pub(crate) fn set_state(&mut self, unit: u32, to: ActiveState, hint: Hint) {
        let now = self.now;
        let it = self.arena.at(unit);
        let from = core::mem::replace(&mut it.active, to);
        if from != to {
            it.since = now;
            it.note_change(from, to, now);
            self.touch_unit(unit);
            self.outbox.push(Effect::Changed {
                unit: UnitId(unit),
                from,
                to,
            });
        }
        let unexpected = self.settle_job(unit, hint);
        if from != to {
            self.follow(unit, from, to, unexpected);
        }
    }

    /// Ends the unit's job if its state, or a command's outcome, decides it. Answers whether the
    /// state is none that the job leads to.
    pub(crate) fn settle_job(&mut self, unit: u32, hint: Hint) -> bool {
        self.push_run(unit);
        let it = self.arena.get(unit);
        let Some(job) = self.arena.job(unit) else {
            return true;
        };
        let (is, running, idle) = (it.active, job.phase == Phase::Running, it.pending.is_none());
        let at_rest = is.is_down() && matches!(it.pending, None | Some(Verb::ResetFailed));
        let bad = matches!(hint, Some((_, Outcome::Failed | Outcome::Interrupted)));
        let of = hint.map(|(verb, _)| verb);
        let (result, unexpected) = match job.verb {
            JobVerb::Start | JobVerb::VerifyActive if is.is_up() => (Some(JobResult::Done), false),
            JobVerb::Start if running => {
                (start_result(hint, is, idle), is != ActiveState::Activating)
            }
            JobVerb::VerifyActive if running && is != ActiveState::Activating => {
                (Some(JobResult::Failed), true)
            }
            JobVerb::Stop if at_rest => (it.restart_at.is_none().then_some(JobResult::Done), false),
            // One whose turn has not come waits for it: helpers say again that a unit is down.
            JobVerb::Restart if at_rest => {
                let turn = running || job.blockers == 0;
                (turn.then_some(JobResult::Done), false)
            }
            JobVerb::Stop | JobVerb::Restart if running && !is.is_down() => {
                let stays = is != ActiveState::Deactivating;
                let failed = stays && (idle || bad && of == Some(Verb::Stop));
                (failed.then_some(JobResult::Failed), stays)
            }
            JobVerb::Reload if running => {
                let result = match hint {
                    Some((Verb::Reload, Outcome::Done)) => Some(JobResult::Done),
                    Some((Verb::Reload, _)) => Some(JobResult::Failed),
                    _ if is.is_down() => Some(result_of(is)),
                    _ => (idle && is == ActiveState::Active).then_some(JobResult::Done),
                };
                (result, is.is_down() || is == ActiveState::Deactivating)
            }
            _ => (None, false),
        };
        if let Some(result) = result {
            let interrupted = matches!(hint, Some((_, Outcome::Interrupted)));
            let why = if interrupted {
                "a step that is not repeated was interrupted"
            } else {
                ""
            };
            self.end_job(unit, result, String::from(why), true);
        }
        unexpected
    }

    /// What the units around it do when a unit has changed.
    fn follow(&mut self, unit: u32, from: ActiveState, to: ActiveState, unexpected: bool) {
        let goes = to.is_down() || to == ActiveState::Deactivating;
        let came_by_itself = unexpected && from.is_down() && !goes;
        let was_there = !from.is_down() && from != ActiveState::Deactivating;
        if came_by_itself {
            self.bring_up_what_it_needs(unit);
        }
        if unexpected && was_there && goes {
            self.stop_all(unit, Rel::BoundBy);
            self.stop_all(unit, Rel::PropagatesStopTo);
        }
        if to == ActiveState::Failed && !mutant!(25) {
            self.want_all(unit, Rel::OnFailure);
            let action = self.arena.get(unit).settings().failure_action;
            self.act(unit, action, Cause::Failed);
        }
        if to == ActiveState::Inactive && from != ActiveState::Failed {
            self.want_all(unit, Rel::OnSuccess);
            let action = self.arena.get(unit).settings().success_action;
            let action = if mutant!(33) { Action::None } else { action };
            self.act(unit, action, Cause::Succeeded);
        }
        if to.is_down() || to == ActiveState::Active {
            self.look.push_back(unit);
        }
    }

    fn bring_up_what_it_needs(&mut self, unit: u32) {
        for (rel, mode) in [
            (Rel::Requires, JobMode::Replace),
            (Rel::BindsTo, JobMode::Replace),
            (Rel::Upholds, JobMode::Replace),
            (Rel::Wants, JobMode::Fail),
        ] {
            for at in self.arena.range(unit, rel) {
                let other = self.arena.end(unit, at);
                let ordered = self.arena.has(unit, Rel::After, other);
                let goes = matches!(
                    self.active(other),
                    ActiveState::Inactive | ActiveState::Failed | ActiveState::Deactivating
                );
                if goes && !ordered {
                    self.ask(other, JobVerb::Start, mode, from(unit, rel));
                }
            }
        }
        self.stop_all(unit, Rel::Conflicts);
        self.stop_all(unit, Rel::ConflictedBy);
    }

    fn stop_all(&mut self, unit: u32, rel: Rel) {
        for at in self.arena.range(unit, rel) {
            let other = self.arena.end(unit, at);
            let state = self.active(other);
            if !state.is_down() && state != ActiveState::Deactivating {
                self.ask(other, JobVerb::Stop, JobMode::Replace, from(unit, rel));
            }
        }
    }

    /// Starts what is to be started on failure or success.
    pub(crate) fn want_all(&mut self, unit: u32, rel: Rel) {
        let it = self.arena.get(unit);
        let mode = if rel == Rel::OnFailure {
            it.settings().on_failure_mode
        } else {
            it.settings().on_success_mode
        };
        for at in self.arena.range(unit, rel) {
            let other = self.arena.end(unit, at);
            self.ask(other, JobVerb::Start, mode, from(unit, rel));
        }
    }

    /// Wants a job that nobody asked for. Starts are counted: `OnFailure=` may lead back to where
    /// it came from, through units that fail or end at once, and would never come to an end.
    pub(crate) fn ask(&mut self, unit: u32, verb: JobVerb, mode: JobMode, cause: JobCause) {
        if verb == JobVerb::Start && !self.may_follow_again(unit) {
            return;
        }
        let manual = false;
        self.wanted.push_back(Request {
            unit,
            verb,
            mode,
            manual,
            cause,
        });
    }

    /// Counts a start that nobody asked for, or a stop that may have been tried before. If it was one too many, the
    /// unit is looked at again when its time is over.
    pub(crate) fn may_follow_again(&mut self, unit: u32) -> bool {
        let now = self.now;
        let it = self.arena.at(unit);
        if now.saturating_sub(it.own_jobs.0) >= OWN_JOBS_INTERVAL {
            it.own_jobs = (now, 0);
        }
        it.own_jobs.1 = it.own_jobs.1.saturating_add(1);
        let (since, count) = it.own_jobs;
        if count == OWN_JOBS + 1 {
            let text =
                "started or stopped because of other units too often: left alone for ten seconds";
            self.log(4, Some(unit), String::from(text));
            self.look_at_time(unit, since.saturating_add(OWN_JOBS_INTERVAL));
        }
        count <= OWN_JOBS || mutant!(28) && count < 1000
    }

    /// What a unit's end means for the machine. While the machine goes down nothing: what ends then
    /// was stopped for that.
    pub(crate) fn act(&mut self, unit: u32, action: Action, cause: Cause) {
        if action != Action::None && !self.record.shutting_down {
            let unit = UnitId(unit);
            if mutant!(32) {
                return self.outbox.push(Effect::Act {
                    unit,
                    action,
                    cause,
                });
            }
            self.outbox.first.push(Effect::Act {
                unit,
                action,
                cause,
            });
        }
    }

    /// Ends the jobs that cannot do without this unit.
    pub(crate) fn doom(&mut self, unit: u32, doom: Doom) {
        let (rels, why): (&[Rel], _) = match doom {
            Doom::Start => (
                &[Rel::RequiredBy, Rel::RequisiteOf, Rel::BoundBy],
                " did not start",
            ),
            Doom::Stop => (
                &[Rel::ConflictedBy],
                ", which conflicts with it, did not stop",
            ),
            Doom::NotUp => (&[Rel::RequisiteOf], " is not active"),
        };
        for rel in rels {
            for at in self.arena.range(unit, *rel) {
                let other = self.arena.end(unit, at);
                let waits = match self.arena.job(other).map(|job| job.verb) {
                    Some(JobVerb::Start | JobVerb::VerifyActive) => true,
                    // There is nothing to stop: it is a start whose turn has not come.
                    Some(JobVerb::Restart) => self.arena.get(other).at_rest(),
                    _ => false,
                };
                if waits {
                    let text = [self.arena.name(unit), why].concat();
                    self.end_job(other, JobResult::Dependency, text, true);
                    self.blame(other, unit);
                }
            }
        }
    }

    /// A helper is in contact and has reported all it knows.
    pub(crate) fn synced(&mut self, unit_type: &str, reported: &[UnitId]) {
        let kind = self.arena.kind(unit_type);
        if let Some(kind) = self.arena.kind_at(kind) {
            kind.missing = false;
        }
        let mut known: alloc::vec::Vec<u32> = reported
            .iter()
            .map(|unit| self.arena.resolve(unit.0))
            .collect();
        known.sort_unstable();
        for unit in 0..self.arena.len() {
            let it = self.arena.get(unit);
            if it.kind != kind || it.backing != Backing::Helper || it.is_alias() {
                continue;
            }
            let here = known.binary_search(&unit).is_ok();
            match it.pending {
                Some(verb) if it.heard < it.seq => {
                    let invocation = it.invocation;
                    let seq = it.seq + u64::from(mutant!(15));
                    let unit = UnitId(unit);
                    self.outbox.push(Effect::Command {
                        unit,
                        invocation,
                        seq,
                        verb,
                    });
                }
                None if it.active.is_down() => {}
                pending if !here => self.gone(unit, pending),
                _ => {}
            }
        }
    }

    /// The unit's helper does not know it (any more).
    fn gone(&mut self, unit: u32, pending: Option<Verb>) {
        let it = self.arena.at(unit);
        it.pending = None;
        it.outcome = Outcome::Interrupted;
        let wanted_down = matches!(pending, Some(Verb::Stop | Verb::ResetFailed))
            || it.active == ActiveState::Deactivating;
        let to = if wanted_down {
            ActiveState::Inactive
        } else {
            ActiveState::Failed
        };
        self.touch_unit(unit);
        if !wanted_down {
            let text = "its helper knows nothing of it any more: it ended while nobody watched";
            self.log(4, Some(unit), String::from(text));
        }
        let hint = pending
            .filter(|_| !wanted_down)
            .map(|verb| (verb, Outcome::Interrupted));
        self.set_state(unit, to, hint);
    }

    /// There is no helper for a type: its jobs end, and what was up is out of reach.
    pub(crate) fn helper_missing(&mut self, unit_type: &str) {
        let kind = self.arena.kind(unit_type);
        if let Some(kind) = self.arena.kind_at(kind) {
            kind.missing = true;
        }
        for unit in 0..self.arena.len() {
            let it = self.arena.at(unit);
            if it.kind != kind || it.backing != Backing::Helper || it.is_alias() {
                continue;
            }
            let busy = it.pending.take().is_some();
            let down = it.active.is_down();
            let verb = self.arena.job(unit).map(|job| job.verb);
            if busy {
                self.touch_unit(unit);
            }
            if verb.is_some_and(|verb| verb != JobVerb::Stop) {
                let text = String::from("there is no helper for units of this type");
                self.end_job(unit, JobResult::Unsupported, text, true);
            }
            self.forget_restart(unit);
            if !down {
                self.set_state(unit, ActiveState::Failed, None);
            } else if verb == Some(JobVerb::Stop) {
                self.end(unit, JobResult::Done);
            }
        }
    }

    /// By hand: from failed to inactive, and the start limit from zero.
    pub(crate) fn reset_failed(&mut self, unit: u32) {
        if unit == NONE {
            return;
        }
        let it = self.arena.at(unit);
        it.limit = (0, 0);
        let hit = core::mem::replace(&mut it.limit_hit, false);
        let reset = it.active == ActiveState::Failed && it.restart_at.is_none();
        let tell = reset && it.pending.is_none() && it.backing == Backing::Helper;
        let known = it.seq != 0;
        self.touch_unit(unit);
        if tell && (known || hit) && !self.arena.is_unsupported(unit) {
            self.command(unit, Verb::ResetFailed);
        }
        if reset {
            self.set_state(unit, ActiveState::Inactive, None);
        }
    }
}

fn from(unit: u32, rel: Rel) -> JobCause {
    JobCause::Unit(UnitId(unit), rel)
}

/// What a running start has come to, if it is over and the unit is not up.
fn start_result(hint: Hint, is: ActiveState, idle: bool) -> Option<JobResult> {
    match hint {
        Some((Verb::Start, Outcome::Skipped)) => Some(JobResult::Skipped),
        Some((Verb::Start, Outcome::Failed | Outcome::Interrupted)) => Some(JobResult::Failed),
        Some((Verb::Start, _)) if is != ActiveState::Activating => Some(JobResult::Done),
        _ => (idle && is.is_down()).then(|| result_of(is)),
    }
}

/// What a job has come to whose unit went down on the way.
fn result_of(is: ActiveState) -> JobResult {
    if is == ActiveState::Failed {
        JobResult::Failed
    } else {
        JobResult::Done
    }
}
